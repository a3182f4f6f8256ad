"""The weights of scales: numbers, or the name of a library whose weights are meant."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from segloss.foundation.arguments import check_choice, check_weights

Weights = str | tuple[float, ...] | None
"""The weights of a `DeepSupervision`: a name, one number for each scale, or None."""


def check_scale_weights(weights: Any) -> Weights:
    """Returns the argument `weights` after checking it.

    Raises:
        TypeError, ValueError: It is neither a known name nor numbers of at least 0, not all 0.
    """
    if isinstance(weights, str):
        return check_choice("weights", weights, _LIBRARIES)
    checked = check_weights("weights", weights)
    return None if checked is None else tuple(checked.tolist())


def weights_of_scales(weights: Weights, count: int) -> Sequence[float]:
    """Returns the weights of `count` scales, or the given ones, whose number may differ."""
    if weights is None:
        return _shares(_halves(count))
    return _LIBRARIES[weights](count) if isinstance(weights, str) else weights


def _halves(count: int) -> list[float]:
    return [0.5**scale for scale in range(count)]


def _shares(weights: Sequence[float]) -> list[float]:
    total = sum(weights)
    return [weight / total for weight in weights]


def _nnunet(count: int) -> list[float]:
    """Returns halves without the coarsest of several scales, over their sum."""
    return _shares([*_halves(count - 1), 0.0]) if count > 1 else [1.0]


def _monai(count: int) -> list[float]:
    """Returns halves, but at least 1/16, as they are."""
    return [max(weight, 1 / 16) for weight in _halves(count)]


_LIBRARIES: dict[str, Callable[[int], list[float]]] = {"nnunet": _nnunet, "monai": _monai}
"""The default weights of libraries."""
