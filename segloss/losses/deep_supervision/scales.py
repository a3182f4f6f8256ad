"""The tensors of each scale: predictions and lists of targets are checked, others are resized."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from segloss.batch.keys import Batch
from segloss.batch.shape_checks import check_device


def check_scales(scales: Sequence[Any], name: str) -> None:
    """Raises TypeError or ValueError if predictions are not those of one batch, finest first."""
    if not scales:
        raise ValueError(f"{name} must hold one prediction per scale, got an empty list.")
    for index, prediction in enumerate(scales):
        if not isinstance(prediction, Tensor):
            raise TypeError(
                f"{name}[{index}] must be a tensor, got {type(prediction).__name__}: one "
                "prediction per scale is expected."
            )
        if prediction.ndim < 3:
            raise ValueError(
                f"{name}[{index}] must have the shape (N, C, *spatial), got "
                f"{tuple(prediction.shape)}."
            )
        _check_against_finest(prediction, scales[0], f"{name}[{index}]")


def _check_against_finest(prediction: Tensor, finest: Tensor, name: str) -> None:
    if prediction.ndim != finest.ndim or prediction.shape[0] != finest.shape[0]:
        raise ValueError(
            f"{name} must be of the same batch as the finest prediction, of shape "
            f"{tuple(finest.shape)}, got {tuple(prediction.shape)}."
        )
    check_device(prediction, name, finest, "the finest prediction")
    if 0 in prediction.shape[2:]:
        raise ValueError(f"{name} must have at least one pixel, got {tuple(prediction.shape)}.")
    sizes = zip(prediction.shape[2:], finest.shape[2:], strict=True)
    if any(size > limit for size, limit in sizes):
        raise ValueError(
            f"{name} must not be larger than the first prediction, of shape "
            f"{tuple(finest.shape)}, got {tuple(prediction.shape)}: sort them from the finest to "
            "the coarsest."
        )


def holds_scales(entry: Any) -> bool:
    """Returns whether an entry of a batch holds one tensor for each scale."""
    return isinstance(entry, (list, tuple))


def check_lists(gt_batch: Any, keys: Iterable[str], scales: Sequence[Tensor]) -> None:
    """Raises TypeError or ValueError if lists in a batch do not match the predictions.

    Args:
        gt_batch: A target, a list of targets, or a mapping with either, and others, under `keys`.
        keys: The keys of targets, weights and maps.
        scales: The predictions, finest first.
    """
    if holds_scales(gt_batch):
        _check_list(gt_batch, "gt_batch", scales)
    if not isinstance(gt_batch, Mapping):
        return
    for key in keys:
        if holds_scales(gt_batch.get(key)):
            _check_list(gt_batch[key], f"gt_batch[{key!r}]", scales)


def _check_list(entries: Sequence[Any], name: str, scales: Sequence[Tensor]) -> None:
    for index, entry in enumerate(entries):
        if not isinstance(entry, Tensor):
            raise TypeError(
                f"{name}[{index}] must be a tensor, got {type(entry).__name__}: a list holds one "
                "tensor per prediction, finest first."
            )
    if len(entries) != len(scales):
        raise ValueError(
            f"{name} must hold one tensor per prediction, got {len(entries)} for {len(scales)}"
            f"{_for_length(entries, name, scales)}."
        )
    for index, (entry, prediction) in enumerate(zip(entries, scales, strict=True)):
        if not _is_of_size(entry, prediction):
            samples, size = prediction.shape[0], prediction.shape[2:]
            raise ValueError(
                f"{name}[{index}] must have the size of prediction {index}, of shape "
                f"{tuple(prediction.shape)}: expected {(samples, *size)} or {(samples, 'C', *size)}"
                f", got {tuple(entry.shape)}{_for_sizes(entries, name, scales)}."
            )


def _is_of_size(entry: Tensor, prediction: Tensor) -> bool:
    """Returns whether an entry is (N, *spatial) or (N, C, *spatial) of a prediction."""
    size = prediction.shape[2:]
    if entry.ndim not in (prediction.ndim - 1, prediction.ndim):
        return False
    return entry.shape[0] == prediction.shape[0] and entry.shape[-len(size) :] == size


def _for_length(entries: Sequence[Tensor], name: str, scales: Sequence[Tensor]) -> str:
    """Returns the remedy for a list of another length than the predictions."""
    if len(scales) == 1 and len(entries) > 1 and _is_of_size(entries[0], scales[0]):
        return f": for the finest prediction alone, pass {name}[0]"
    finest = scales[0]
    samples = [entry.unsqueeze(0) for entry in entries]
    if len(entries) == len(finest) and all(_is_of_size(s, finest[:1]) for s in samples):
        return f": if it is a list of samples, pass torch.stack({name})"
    return ": pass the finest alone, which is resized to each prediction"


def _for_sizes(entries: Sequence[Tensor], name: str, scales: Sequence[Tensor]) -> str:
    """Returns the remedy for a list whose sizes are not those of the predictions."""
    if all(map(_is_of_size, reversed(entries), scales)):
        return f": sort them from the finest to the coarsest, pass {name}[::-1]"
    if _is_of_size(entries[0], scales[0]):
        return f": pass {name}[0] alone, which is resized to each prediction"
    return ""


def batch_at_scale(gt_batch: Any, keys: Iterable[str], scales: Sequence[Tensor], index: int) -> Any:
    """Returns the batch of one scale.

    Lists under `keys`, checked by `check_lists`, give their entry. Tensors of the finest
    prediction's size are resized. Others stay.
    """
    finest, size = scales[0], scales[index].shape[2:]
    if holds_scales(gt_batch):
        return gt_batch[index]
    if not isinstance(gt_batch, Mapping):
        return _resized(gt_batch, finest, size)
    lists = {key: gt_batch[key] for key in keys if holds_scales(gt_batch.get(key))}
    if not lists and finest.shape[2:] == size:
        return gt_batch
    return {
        key: value[index] if key in lists else _resized(value, finest, size)
        for key, value in gt_batch.items()
    }


def target_of(gt_batch: Batch | Sequence[Tensor], key: str) -> Any:
    """Returns the target of the finest scale, or None if there is none."""
    entry = gt_batch.get(key) if isinstance(gt_batch, Mapping) else gt_batch
    return (entry[0] if entry else None) if holds_scales(entry) else entry


def _resized(entry: Any, finest: Tensor, size: torch.Size) -> Any:
    """Returns an entry resized to `size` if it has the size of the finest prediction."""
    if finest.shape[2:] == size or not isinstance(entry, Tensor) or entry.ndim <= len(size):
        return entry
    if entry.shape[0] != finest.shape[0] or entry.shape[-len(size) :] != finest.shape[2:]:
        return entry
    return _nearest(entry, size)


def _nearest(tensor: Tensor, size: torch.Size) -> Tensor:
    """Returns a tensor resized to (..., *size) by taking the nearest pixel.

    Along each dimension, pixel i of `out` takes pixel floor((i + 1/2) in / out) of `in`. The
    computation is in integers, so it is exact.
    """
    for dim, length in zip(range(-len(size), 0), size, strict=True):
        old_length = tensor.shape[dim]
        if old_length != length:
            doubled = 2 * torch.arange(length, device=tensor.device) + 1
            index = torch.div(doubled * old_length, 2 * length, rounding_mode="floor")
            tensor = tensor.index_select(dim, index)
    return tensor
