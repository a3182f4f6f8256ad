"""Nested batches: mappings, lists and tuples of tensors, or a single tensor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor


def map_tensors(batch: Any, change: Callable[[Tensor], Any]) -> Any:
    """Returns the batch with every tensor replaced by `change(tensor)`; mappings become dicts."""
    if isinstance(batch, Tensor):
        return change(batch)
    if isinstance(batch, Mapping):
        return {key: map_tensors(value, change) for key, value in batch.items()}
    if type(batch) in (list, tuple):
        return type(batch)(map_tensors(value, change) for value in batch)
    return batch


def tensors_in(batch: Any) -> list[Tensor]:
    """Returns the tensors of a batch, in their order."""
    found: list[Tensor] = []
    map_tensors(batch, found.append)
    return found


def copied(tensor: Tensor) -> Tensor:
    """Returns a copy with the same strides, without a history."""
    if 0 in tensor.stride():
        return tensor.detach().clone()
    copy = torch.empty_strided(
        tensor.shape, tensor.stride(), dtype=tensor.dtype, device=tensor.device
    )
    return copy.copy_(tensor.detach())


def in_dtype(batch: Any, dtype: torch.dtype) -> Any:
    """Returns the batch with its floating-point tensors in another dtype."""
    return map_tensors(batch, lambda t: t.to(dtype) if t.is_floating_point() else t)


def described(batch: Any) -> str:
    """Returns the dtypes and shapes in words."""
    if isinstance(batch, Tensor):
        return f"{str(batch.dtype).removeprefix('torch.')} {tuple(batch.shape)}"
    if isinstance(batch, Mapping):
        return "{" + ", ".join(f"{key!r}: {described(value)}" for key, value in batch.items()) + "}"
    if isinstance(batch, (list, tuple)):
        return "[" + ", ".join(map(described, batch)) + "]"
    return type(batch).__name__
