"""A few numbers on a device, without a wait for it in every step.

A copy between a CPU and a GPU makes one wait for the other. So numbers that are the same in every
step travel once and are kept where they are needed: the numbers are the keys, and what changes is
another constant. Numbers that change from step to step are written by the device itself.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from segloss.tracing import is_traced


def on_device(numbers: tuple[float, ...], device: torch.device, dtype: torch.dtype) -> Tensor:
    """The numbers as a vector, which nobody may change in place."""
    if is_traced():  # a tensor of a tracer must not outlive it
        return torch.tensor(numbers, dtype=dtype, device=device)
    return _kept(numbers, device, dtype)


def moved(numbers: Tensor, device: torch.device) -> Tensor:
    """Returns a module's numbers (K,) on a device, to which they travel when they have changed.

    They are read on the CPU in each call, so any change is seen, and the module can stay there.
    """
    if numbers.device == device:
        return numbers
    if not numbers.is_cpu or is_traced():
        return numbers.to(device)
    return on_device(tuple(numbers.tolist()), device, numbers.dtype)


def written(numbers: Tensor, device: torch.device) -> Tensor:
    """Returns a module's numbers (K,) on a device, one of its kernels for each, and no copy.

    It is for numbers that change from step to step.
    """
    if numbers.device == device:
        return numbers
    if not numbers.is_cpu or is_traced():
        return numbers.to(device)
    each = (torch.full((), n, dtype=numbers.dtype, device=device) for n in numbers.tolist())
    return torch.stack([*each])


@functools.lru_cache(maxsize=256)
def _kept(numbers: tuple[float, ...], device: torch.device, dtype: torch.dtype) -> Tensor:
    with torch.inference_mode(False):
        return torch.tensor(numbers, dtype=dtype).to(device)
