"""Checks that the memory of tensors was not freed, as FSDP, offloading and hooks may do."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor


def check_memory(tensor: Tensor) -> None:
    """Raises RuntimeError if the storage of a tensor is too small for its elements."""
    last = tensor.storage_offset()
    for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
        last += (size - 1) * stride
    needed, held = (last + 1) * tensor.itemsize, tensor.untyped_storage().nbytes()
    if needed > held:
        raise RuntimeError(
            f"A tensor of shape {tuple(tensor.shape)} needs {needed} bytes, but its storage has "
            f"{held}: it was freed or resized before the loss or its backward pass had used it. "
            "Keep predictions, targets and weights until then."
        )


def check_all(tensors: Iterable[Tensor | None]) -> None:
    """Raises RuntimeError if the storage of one of the tensors is too small."""
    for tensor in tensors:
        if tensor is not None and tensor.numel() > 0:
            check_memory(tensor)
