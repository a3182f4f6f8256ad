"""Small constants on a device, copied once, so that steps do not wait for copies.

A copy between a CPU and a GPU makes one wait for the other. So numbers that are the same in every
step are copied once, and cached on the device with the numbers themselves as keys. Numbers that
change from step to step are filled in by the device itself.
"""

from __future__ import annotations

import functools
from collections.abc import MutableMapping
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from segloss.foundation.tracing import is_traced


def on_device(numbers: tuple[float, ...], device: torch.device, dtype: torch.dtype) -> Tensor:
    """Returns the numbers as a cached vector. Never change it in place."""
    if is_traced():  # a tensor made by a tracer must not outlive it
        return torch.tensor(numbers, dtype=dtype, device=device)
    kept = _kept(numbers, device, dtype)
    if device.type == "cuda" and _is_capturing():
        _captured[id(kept)] = kept
    return kept


def buffer_on_device(numbers: Tensor, device: torch.device) -> Tensor:
    """Returns a module's numbers (K,) on a device; copies them only if they have changed.

    They are read on the CPU in each call, so any change is seen, and the module can stay there.
    """
    if not _travels(numbers, device):
        return numbers.to(device)
    return on_device(tuple(numbers.tolist()), device, numbers.dtype)


def filled_on_device(numbers: Tensor, device: torch.device) -> Tensor:
    """Returns a module's numbers (K,) on a device, filled in by the device without a copy.

    It is for numbers that change from step to step.
    """
    if not _travels(numbers, device):
        return numbers.to(device)
    each = (torch.full((), n, dtype=numbers.dtype, device=device) for n in numbers.tolist())
    return torch.stack([*each])


def comparable(numbers: Tensor | None) -> Any:
    """Returns a module's numbers (K,) in a form that `==` compares without a GPU sync."""
    if numbers is None or not numbers.is_cpu or is_traced():
        return None if numbers is None else id(numbers)
    return numbers.tolist()


def _travels(numbers: Tensor, device: torch.device) -> bool:
    """Returns whether numbers are on the CPU and eager code needs them on an accelerator."""
    return numbers.is_cpu and device.type != "cpu" and not is_traced()


def _is_capturing() -> bool:
    """Returns whether CUDA graph capture is on."""
    is_initialized: bool = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    return is_initialized and torch.cuda.is_current_stream_capturing()


def cached_value(number: Tensor) -> float | None:
    """Returns the value of a module's number (); reads it only if it has changed. None: unknown.

    Reads make the CPU wait for a GPU, so later steps do not read. Changes through a tensor's `data`
    go unnoticed, as they do for autograd.
    """
    if is_traced():
        return None
    if number.is_cpu:
        return number.item()
    if number.is_inference():  # it counts no changes
        return None
    version, value = _known.get(number, (-1, 0.0))
    if version != number._version:
        value = number.item()
        _known[number] = (number._version, value)
    return value


_known: MutableMapping[Tensor, tuple[int, float]] = WeakTensorKeyDictionary()
"""The version and the value of numbers on a GPU."""

_captured: dict[int, Tensor] = {}
"""The constants that CUDA graphs read. They must outlive the graphs, so they stay for good."""


@functools.lru_cache(maxsize=256)
def _kept(numbers: tuple[float, ...], device: torch.device, dtype: torch.dtype) -> Tensor:
    with torch.inference_mode(False):
        return torch.tensor(numbers, dtype=dtype).to(device)
