"""Cases of the peers' own test suites.

A case is an input, arguments in the peer's words, and an expected number or property. An adapter
translates the arguments into public calls of segloss. A case without an adapter stands in
`inexpressible.py` with its reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor


class Case(NamedTuple):
    """A case of a peer's suite: its name, and its check through segloss, or None."""

    name: str
    check: Callable[[], None] | None


Cases = Iterator[Case]


def values(
    name: str,
    ours: Callable[[], Tensor],
    expected: Any,
    *,
    rtol: float = 1e-5,
    atol: float = 1e-6,
) -> Case:
    """A case whose result has the peer's numbers and shape, within the peer's tolerance."""

    def check() -> None:
        number = expected() if callable(expected) else expected
        target = torch.as_tensor(number, dtype=torch.float64)
        result = ours().detach()
        assert result.shape == target.shape
        torch.testing.assert_close(result.double(), target, rtol=rtol, atol=atol)

    return Case(name, check)


def holds(name: str, ours: Callable[[], bool]) -> Case:
    """A case whose expectation is a property, not a number."""

    def check() -> None:
        assert ours()

    return Case(name, check)


def raises(name: str, ours: Callable[[], object]) -> Case:
    """A case in which the arguments or the batch are wrong."""

    def check() -> None:
        with pytest.raises((ValueError, TypeError)):
            ours()

    return Case(name, check)


def cannot(name: str) -> Case:
    """A case that can't be expressed with segloss; `inexpressible.py` has the reason."""
    return Case(name, None)


def tensor(data: Any) -> Tensor:
    """Returns numbers as a float64 tensor."""
    return torch.tensor(data, dtype=torch.float64)


def drawn(seed: int, *shape: int) -> Tensor:
    """Returns numbers of a standard normal distribution."""
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def drawn_labels(seed: int, classes: int, *shape: int) -> Tensor:
    """Returns a label map of random classes."""
    return torch.randint(classes, shape, generator=torch.Generator().manual_seed(seed))


def as_masks(labels: Tensor, classes: int) -> Tensor:
    """Returns the classes of a label map (N, *spatial) as masks (N, C, *spatial)."""
    return torch.nn.functional.one_hot(labels.long(), classes).movedim(-1, 1).double()
