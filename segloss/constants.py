"""Python numbers as tensors, each of which travels to a device once.

A copy from pageable memory makes a GPU's queue run dry, so what is the same in every step is kept
where it is needed. Numbers are the keys: what changes is another constant.
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


@functools.lru_cache(maxsize=256)
def _kept(numbers: tuple[float, ...], device: torch.device, dtype: torch.dtype) -> Tensor:
    with torch.inference_mode(False):
        return torch.tensor(numbers, dtype=dtype).to(device)
