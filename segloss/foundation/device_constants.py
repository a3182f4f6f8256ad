"""Transfers of a few numbers to or from a device, so that no step of a training waits for one.

A copy between a CPU and a GPU makes one wait for the other.

- `on_device` and `buffer_on_device` are for numbers that are the same in every step. They copy them
  once, and cache the copy with the numbers themselves as the key.
- `filled_on_device` and `fill` are for numbers that change from step to step. The device fills them
  in, and `known_values` knows them without reading.
- `cached_value` reads a number from a device, and `comparable` compares numbers without reading.

Threads share the caches. Every entry is complete when it is stored, in one operation, so a thread
that finds none, or an old one, at worst makes the same entry again.
"""

from __future__ import annotations

import functools
from collections.abc import MutableMapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from segloss.foundation.tracing import is_traced


def on_device(numbers: tuple[float, ...], device: torch.device, dtype: torch.dtype) -> Tensor:
    """Returns the numbers as a vector (K,) from the cache. Never change it in place."""
    if is_traced():  # a tensor that a tracer makes must not outlive the tracer
        return torch.tensor(numbers, dtype=dtype, device=device)
    vector = _cached_vector(numbers, device, dtype)
    if device.type == "cuda" and _is_capturing():
        _captured[id(vector)] = vector
    return vector


def buffer_on_device(numbers: Tensor, device: torch.device) -> Tensor:
    """Returns a module's numbers (K,) on a device, copied only if they have changed.

    Each call reads them on the CPU, so it notices any change, and the module can stay on the CPU.
    """
    if not _needs_copy(numbers, device):
        return numbers.to(device)
    return on_device(tuple(numbers.tolist()), device, numbers.dtype)


def filled_on_device(numbers: Tensor, device: torch.device) -> Tensor:
    """Returns a module's numbers (K,) on a device, filled in by the device without a copy.

    Use it for numbers that change from step to step, which would fill the cache.
    """
    if not _needs_copy(numbers, device):
        return numbers.to(device)
    scalars = (torch.full((), n, dtype=numbers.dtype, device=device) for n in numbers.tolist())
    return torch.stack([*scalars])


def fill(numbers: Tensor, values: Sequence[float]) -> None:
    """Sets a module's numbers (K,) on any device, without a copy."""
    for i, value in enumerate(values):
        numbers[i].fill_(value)
    if not (numbers.is_cpu or is_traced() or numbers.is_inference()):
        _read[numbers] = (numbers._version, tuple(values))


def known_values(numbers: Tensor) -> tuple[float, ...] | None:
    """Returns a module's numbers (K,), or None if a read would wait for their device.

    On a device, they are known if `fill` has set them and nothing has changed them since. They are
    unknown to a CUDA graph that is being captured, which reads them anew in every replay.
    """
    if is_traced() or numbers.is_meta:
        return None
    if numbers.is_cpu:
        return tuple(numbers.tolist())
    if numbers.is_inference() or (numbers.is_cuda and _is_capturing()):
        return None
    version, values = _read.get(numbers, (-1, ()))
    return values if version == numbers._version else None


def comparable(numbers: Tensor | None) -> Any:
    """Returns a value that `==` can compare in place of a module's numbers (K,), or None for None.

    On the CPU it is the list of the numbers. On a GPU, where a read would wait, and under a tracer
    it is the identity of the tensor.
    """
    if numbers is None:
        return None
    return numbers.tolist() if numbers.is_cpu and not is_traced() else id(numbers)


def cached_value(number: Tensor) -> float | None:
    """Returns the value of a module's number (), or None where it can't be read or cached.

    A read makes the CPU wait for a GPU, so a number on a GPU is read again only after a change.
    A change through the tensor's `data` goes unnoticed, as it does for autograd.
    """
    if is_traced():
        return None
    if number.is_cpu:
        return number.item()
    if number.is_inference():  # inference tensors do not count their changes
        return None
    version, values = _read.get(number, (-1, ()))
    if version != number._version:
        version = number._version  # before the value: a thread may change both
        values = (number.item(),)
        _read[number] = (version, values)
    return values[0]


_read: MutableMapping[Tensor, tuple[int, tuple[float, ...]]] = WeakTensorKeyDictionary()
"""The version and the values of numbers on a GPU that are known here."""

_captured: dict[int, Tensor] = {}
"""The vectors that CUDA graphs read. They must outlive the graphs, so they are never freed."""


@functools.lru_cache(maxsize=256)
def _cached_vector(numbers: tuple[float, ...], device: torch.device, dtype: torch.dtype) -> Tensor:
    with torch.inference_mode(False):
        return torch.tensor(numbers, dtype=dtype).to(device)


def _needs_copy(numbers: Tensor, device: torch.device) -> bool:
    """Returns whether numbers are on the CPU and eager code needs them on an accelerator."""
    return numbers.is_cpu and device.type != "cpu" and not is_traced()


def _is_capturing() -> bool:
    """Returns whether a CUDA graph is being captured."""
    is_initialized: bool = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    return is_initialized and torch.cuda.is_current_stream_capturing()
