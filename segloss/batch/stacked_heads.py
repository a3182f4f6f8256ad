"""Heads of deep supervision in one tensor (N, S, C, *spatial), as MONAI's DynUNet stacks them.

Such a tensor looks like a prediction with one more spatial dimension. The target tells them apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

MOST_DIMENSIONS = 5
"""The number of dimensions of predictions (N, C, *spatial) with three spatial dimensions."""


def fits(target: Sequence[int], prediction: Sequence[int]) -> bool:
    """Returns whether a target's shape is one for predictions (N, C, *spatial)."""
    samples, channels, *spatial = prediction
    kinds = ([samples, *spatial], [samples, 1, *spatial], [samples, channels, *spatial])
    return list(target) in kinds


def may_be_heads(prediction: Tensor, target: Any) -> bool:
    """Returns whether a prediction may be two or more heads of the target's size."""
    shape = prediction.shape
    if prediction.ndim > MOST_DIMENSIONS:
        return True
    if prediction.ndim < 4 or shape[1] < 2 or not isinstance(target, Tensor):
        return False
    return fits(target.shape, (shape[0], *shape[2:]))
