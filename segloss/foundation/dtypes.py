"""Comparisons of tensors with whole numbers that their dtype may not be able to hold.

PyTorch converts the number to the dtype of the tensor first: -100 becomes 156 in uint8, and 2049
becomes 2048 in float16. So `tensor == number` marks the wrong elements.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor


def can_hold(dtype: torch.dtype, number: float) -> bool:
    """Returns whether a dtype has exactly this number; True for fractions if it has fractions."""
    if dtype == torch.bool:
        return number in (0, 1)
    if isinstance(number, float):
        if not number.is_integer():
            return dtype.is_floating_point
        number = int(number)
    if not dtype.is_floating_point:
        limits = torch.iinfo(dtype)
        return limits.min <= number <= limits.max
    digits = 1 - int(math.log2(torch.finfo(dtype).eps))
    unused = max(0, abs(number).bit_length() - digits)
    return number % (1 << unused) == 0 and abs(number) <= torch.finfo(dtype).max


def equals_any(tensor: Tensor, numbers: Iterable[float]) -> Tensor:
    """Returns a mask of the elements that are equal to one of the numbers."""
    found = torch.zeros_like(tensor, dtype=torch.bool)
    for number in numbers:
        if can_hold(tensor.dtype, number):
            found = found | (tensor == number)
    return found
