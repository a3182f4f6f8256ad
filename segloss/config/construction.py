"""Bounds on what the constructors of losses make from the numbers in a config.

A few characters, such as `sigmas: [2000, 8000]`, can stand for kernels of gigabytes. Each operation
of PyTorch in a constructor is therefore tried on the meta device first, where tensors have shapes
but no memory; and the numbers for classes of other libraries are bounded, which bounds their loops.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from segloss.foundation.arguments import is_list, shown

MAX_BYTES = 64 * 2**20
"""Bytes of all tensors that a constructor makes. The losses of the libraries make a few thousand
with their defaults."""

MAX_OPERATIONS = 500
"""Operations of PyTorch in a constructor. Each takes at least 0.2 milliseconds on both devices."""

MAX_NUMBER = 1e6
"""The largest magnitude of a number for a class of another library. No loss needs larger sizes,
weights or exponents, and loops over them would take seconds."""

_LISTED = 3


def construct(
    target: Callable[..., Any],
    args: Iterable[Any],
    keywords: Mapping[str, Any],
    *,
    given: Mapping[str, Any],
    remedy: str,
) -> Any:
    """Calls a class within the bounds.

    Args:
        target: The class.
        args: The positional arguments.
        keywords: The keyword arguments.
        given: The arguments by the names that messages use, as the config has them.
        remedy: The remedy if the class may make more, for messages.

    Raises:
        ValueError: The class makes too much, or is from another library and gets a number that is
            too large.
    """
    numbers = list(_numbers(given, ""))
    if not target.__module__.startswith(("segloss.", "torch.")):
        for name, number in numbers:
            if abs(number) > MAX_NUMBER:
                raise ValueError(
                    f"{name} must be between -{MAX_NUMBER:,.0f} and {MAX_NUMBER:,.0f}, got "
                    f"{shown(number)}. {remedy}"
                )
    with _Allocation() as allocation:
        try:
            return target(*args, **keywords)
        except Exception:
            if not allocation.excess:
                raise
        largest = sorted(numbers, key=lambda named: -abs(named[1]))[:_LISTED]
        listed = ", ".join(f"{name} = {shown(number)}" for name, number in largest)
        raise ValueError(
            f"{getattr(target, '__name__', target)} must not make {allocation.excess}; the largest "
            f"of its numbers are {listed or 'its defaults'}: give smaller ones. {remedy}"
        )


class _Allocation(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts what operations make before they make it, and refuses what is beyond the bounds.

    Attributes:
        excess: The bound that was reached, in words; empty: none.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.excess = ""
        self._operations = self._bytes = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        self._operations += 1
        self._bytes += _bytes_made(func, args, kwargs)
        if self._operations > MAX_OPERATIONS:
            self.excess = f"more than {MAX_OPERATIONS:,} operations"
        if self._bytes > MAX_BYTES:
            self.excess = f"tensors of more than {MAX_BYTES // 2**20} MiB"
        if self.excess:
            raise ValueError(self.excess)
        return func(*args, **kwargs)


def _bytes_made(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> int:
    """Returns by how much the tensors of an operation grow the memory, from the meta device.

    An operation whose shapes depend on values counts as 0: it gives no more than it gets.
    """
    given = tree_map(_as_meta, (args, dict(kwargs)))
    if any(argument.name == "device" for argument in func._schema.arguments):
        given[1]["device"] = torch.device("meta")
    before = _sizes(given)
    try:
        made = func(*given[0], **given[1])
    except Exception:  # the operation itself raises its error, if it is one
        return 0
    after = _sizes((given, made))
    return sum(size - before.get(storage, 0) for storage, size in after.items())


def _as_meta(value: Any) -> Any:
    return value.to("meta") if isinstance(value, Tensor) else value


def _sizes(tree: Any) -> dict[int, int]:
    """Returns the bytes of the tensors' storages, each once."""
    storages = [leaf.untyped_storage() for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]
    return {storage._cdata: storage.nbytes() for storage in storages}


def _numbers(value: Any, name: str) -> Iterator[tuple[str, float]]:
    """Yields the numbers in arguments, and the name of each."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        yield name, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _numbers(item, f"{name}.{key}" if name else str(key))
    elif is_list(value):
        for i, item in enumerate(value):
            yield from _numbers(item, f"{name}[{i}]")
