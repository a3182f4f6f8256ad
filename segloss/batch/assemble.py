"""Assembles a `PixelBatch` from a user's tensors: checks them, and flattens them.

Every mistake in a batch is found here, before anything is computed. The checks are in
`segloss.batch.shape_checks` and `segloss.batch.value_checks`; the tensors come from a mapping by
`segloss.batch.keys`, or are a function's arguments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from segloss.batch.options import PixelOptions
from segloss.batch.pixel_batch import BatchNames, PixelBatch
from segloss.batch.shape_checks import (
    are_masks_of_pixels,
    check_annotated,
    check_channel_weights,
    check_companion,
    check_components,
    check_ignored_values,
    check_prediction_shape,
    check_sample_weights,
    flat_map,
    flat_target,
    flat_weight,
    with_channel_axis,
)
from segloss.batch.value_checks import ValueChecks, check_values, shared_checks
from segloss.foundation.arguments import check_weights
from segloss.foundation.device_constants import buffer_on_device
from segloss.foundation.ignore_index import with_one_value
from segloss.foundation.tracing import is_traced


def as_pixel_batch(
    pred: Tensor,
    target: Tensor,
    options: PixelOptions,
    *,
    pixel_weights: Tensor | None = None,
    class_weights: Tensor | None = None,
    pos_weight: Tensor | None = None,
    maps: Mapping[str, Tensor] | None = None,
    group_key: str | None = None,
    annotated: Tensor | None = None,
    sample_weights: Tensor | None = None,
    names: BatchNames | None = None,
    checks: ValueChecks | None = None,
) -> PixelBatch:
    """Checks a batch, and returns it in the shape that the pass over the pixels reads.

    Args:
        pred: Predictions (N, C, *spatial), floating-point; for sigmoid also (N, P), with a target
            (N, P): N masks of P pixels each, without an axis of channels.
        target: Dense (N, C, *spatial), or a label map (N, *spatial) or (N, 1, *spatial).
        options: The options that fix how both are read.
        pixel_weights: Weights (N, *spatial), (N, 1, *spatial) or, for sigmoid, (N, C, *spatial).
        class_weights: Weights of the classes in the cross-entropy, (C,).
        pos_weight: Weights of the positive class in binary cross-entropy, (1 or C,).
        maps: Maps by name, each (N, C, *spatial).
        group_key: The name of the map that holds the ids of components, or None.
        annotated: Booleans (N, C): True where a channel is annotated in a sample. With sigmoid,
            the other channels get weight 0.
        sample_weights: Weights of the samples in the means of terms, (N,). The pixels of a sample
            of weight 0 get weight 0.
        names: The names of the tensors in messages; None: the names of the arguments.
        checks: Decides when values are read; None: in every call.

    Raises:
        TypeError: An argument is not a tensor, has a wrong dtype, or requires grad.
        ValueError: Shapes or devices do not match, or values are out of range.
    """
    names = BatchNames() if names is None else names
    activation = options.activation
    if are_masks_of_pixels(pred, target, options):
        pred, target = pred.unsqueeze(1), target.unsqueeze(1)
        maps = {key: with_channel_axis(values) for key, values in (maps or {}).items()}
    check_prediction_shape(pred, names, options.n_classes, activation, target)
    check_companion(target, names.target, pred, names.pred)
    if class_weights is not None or pos_weight is not None:
        check_channel_weights(class_weights, pos_weight, pred.shape[1], activation)
    if class_weights is not None:
        class_weights = buffer_on_device(class_weights, pred.device)
    if pos_weight is not None:
        pos_weight = buffer_on_device(pos_weight, pred.device)
    target = plain_tensor(flat_target(target, names, pred, options))
    weight = None
    if pixel_weights is not None:
        weight = flat_weight(pixel_weights, names, pred, activation)
        weight = plain_tensor(weight)
    if group_key is not None:
        check_components(maps[group_key] if maps else None, group_key)
    if maps:
        has_classes = activation == "softmax" or target.ndim == 2
        maps = {
            key: plain_tensor(
                flat_map(
                    values,
                    key,
                    pred,
                    names,
                    has_classes=has_classes,
                    are_components=key == group_key,
                )
            )
            for key, values in maps.items()
        }
    ignored = options.ignore_index
    if isinstance(ignored, tuple):
        target, value = with_one_value(target, ignored)
        options = options.replace(ignore_index=value)
    pixels = PixelBatch(
        plain_tensor(pred).flatten(2), target, options, weight, class_weights, pos_weight, maps
    )
    if annotated is not None:
        check_annotated(annotated, names.annotated, pred, names.pred)
        if activation == "sigmoid":
            pixels = pixels.replace(weight=_annotated_weight(plain_tensor(annotated), pixels))
    if sample_weights is not None:
        check_sample_weights(sample_weights, names.sample_weights, pred, names.pred)
        sample_weights = plain_tensor(sample_weights)
        pixels = pixels.replace(
            sample_weights=sample_weights, weight=_sample_weight(sample_weights, pixels)
        )
    if ignored is not None:
        check_ignored_values(pixels, names.target, ignored)
    check_values(pixels, names, ValueChecks() if checks is None else checks, ignored, group_key)
    return pixels


def pixel_batch_of_arguments(
    pred: Tensor,
    target: Tensor,
    *,
    n_classes: int = 2,
    from_logits: bool = True,
    activation: str | None = None,
    pixel_weights: Tensor | None = None,
    ignore_index: int | Sequence[int] | None = None,
    class_weights: Any = None,
    pos_weight: Any = None,
    label_smoothing: float = 0.0,
    maps: Mapping[str, Tensor] | None = None,
    group_key: str | None = None,
    sample_weights: Tensor | None = None,
) -> PixelBatch:
    """Checks the arguments of a function, and returns the batch that they describe.

    On the CPU, values are read in every call. On an accelerator, they are read only in the first
    call with the same options, whichever function is called.
    """
    options = PixelOptions.checked(
        n_classes,
        activation,
        from_logits=from_logits,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
    )
    return as_pixel_batch(
        pred,
        target,
        options,
        pixel_weights=pixel_weights,
        class_weights=check_weights("class_weights", class_weights),
        pos_weight=check_weights("pos_weight", pos_weight),
        maps=maps,
        group_key=group_key,
        sample_weights=sample_weights,
        checks=None if is_traced() else shared_checks(options),
    )


def plain_tensor(tensor: Tensor) -> Tensor:
    """Returns a tensor without the class that a library has given it to carry metadata.

    Such a class, such as MONAI's `MetaTensor`, runs Python code in each operation. A tensor whose
    class computes differently, such as a distributed tensor, is returned unchanged.
    """
    if type(tensor) is Tensor or type(tensor).__torch_dispatch__ != Tensor.__torch_dispatch__:
        return tensor
    return tensor.as_subclass(Tensor)


def _annotated_weight(annotated: Tensor, pixels: PixelBatch) -> Tensor:
    """Returns the pixel weights (N, C, P), 0 in channels that are not annotated."""
    return _weight_where(annotated.unsqueeze(-1), pixels, pixels.prediction)


def _sample_weight(sample_weights: Tensor, pixels: PixelBatch) -> Tensor:
    """Returns the pixel weights (N, 1 or C, P), 0 in samples of weight 0, whatever they hold."""
    counts = (sample_weights != 0).reshape(-1, 1, 1)
    return _weight_where(counts, pixels, pixels.prediction[:, :1])


def _weight_where(counts: Tensor, pixels: PixelBatch, like: Tensor) -> Tensor:
    """Returns the pixel weights, or 1 of the shape of `like`; 0 where a mask is False."""
    if pixels.weight is None:
        return counts.expand(like.shape)
    return torch.where(counts, pixels.weight, torch.zeros_like(pixels.weight))
