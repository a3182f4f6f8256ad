"""Access to the tensors of a batch, which is a mapping or a bare tensor.

Only keys and types are checked here. `segloss.batch.assemble` checks the tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from segloss.batch import remedies

Batch = Tensor | Mapping[str, Any]
"""A mapping of names to tensors, or the tensor alone."""

_REMEDY = "Rename the key in the batch, or name yours in the loss"

MAP_REMEDY = (
    "Make it in the data loader (segloss.SignedDistanceMap, segloss.SkeletonMap, "
    "segloss.DistanceMap, segloss.ComponentMap), or name yours in the term (map_key, "
    "components_key)."
)
"""The remedy for a missing map of a term."""


class MissingKeyError(KeyError, ValueError):
    """A batch lacks a key that a loss needs."""

    def __str__(self) -> str:
        return str(self.args[0])  # KeyError would print the repr of the message


def take(batch: Any, key: str, batch_name: str, remedy: str | None = None) -> Tensor:
    """Returns the tensor under `key`, or `batch` itself if it is a bare tensor.

    Raises:
        MissingKeyError: The mapping lacks the key; the message lists its keys.
        TypeError: `batch` is neither a mapping nor a tensor, or the value is not a tensor.
    """
    if isinstance(batch, Tensor):
        return batch
    value = take_optional(batch, key, batch_name)
    if value is None:
        present = ", ".join(repr(name) for name in batch) or "none"
        raise MissingKeyError(
            f"{batch_name} must have the key {key!r}; its keys are: {present}. "
            f"{_remedy(batch, batch_name) if remedy is None else remedy}"
        )
    return value


def _remedy(batch: Mapping[str, Any], batch_name: str) -> str:
    """Returns the remedy for a missing prediction or target, which names the only candidate."""
    tensors = [name for name, value in batch.items() if isinstance(value, Tensor)]
    if len(tensors) != 1:
        return f"{_REMEDY} (pred_key, gt_key, weight_key)."
    argument = "pred_key" if batch_name == "pred_batch" else "gt_key"
    return f"{_REMEDY}, {argument}={tensors[0]!r}."


def take_optional(batch: Any, key: str, batch_name: str) -> Tensor | None:
    """Returns the tensor under `key`; None if the key is missing or `batch` is a bare tensor."""
    if isinstance(batch, Tensor):
        return None
    is_prediction = batch_name == "pred_batch"
    if not isinstance(batch, Mapping):
        raise TypeError(
            f"{batch_name} must be a mapping of names to tensors or a tensor, got "
            f"{type(batch).__name__}{remedies.for_type(batch, has_gradient=is_prediction)}."
        )
    value = batch.get(key)
    if value is not None and not isinstance(value, Tensor):
        raise TypeError(
            f"{batch_name}[{key!r}] must be a tensor, got {type(value).__name__}"
            f"{remedies.for_type(value, has_gradient=is_prediction)}."
        )
    return value


def check_same_shape(predictions: Tensor, targets: Tensor) -> None:
    """Raises ValueError if the shapes differ, because PyTorch would broadcast them silently."""
    for name, tensor in {"predictions": predictions, "targets": targets}.items():
        if not isinstance(tensor, Tensor):
            raise TypeError(
                f"{name} must be a tensor, got {type(tensor).__name__}{remedies.for_type(tensor)}."
            )
    if predictions.shape != targets.shape:
        raise ValueError(
            f"targets must have the shape of predictions, {tuple(predictions.shape)}, got "
            f"{tuple(targets.shape)}: PyTorch would broadcast them."
        )
