"""Assembles a `PixelBatch` from a user's tensors: checks them and flattens them.

Every mistake in a batch is found here, before anything is computed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from segloss.batch.options import PixelOptions
from segloss.batch.pixel_batch import BatchNames, PixelBatch
from segloss.batch.shape_checks import (
    check_annotated,
    check_channel_weights,
    check_companion,
    check_prediction_shape,
    flat_map,
    flat_target,
    flat_weight,
)
from segloss.batch.value_checks import ValueChecks, check_ignored_value, check_values, shared_checks
from segloss.foundation.arguments import (
    check_weights,
)
from segloss.foundation.device_constants import buffer_on_device
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
    annotated: Tensor | None = None,
    names: BatchNames | None = None,
    checks: ValueChecks | None = None,
) -> PixelBatch:
    """Checks a batch and brings it into the shape that the pass reads.

    Args:
        pred: Predictions (N, C, *spatial), floating-point.
        target: Dense (N, C, *spatial), or a label map (N, *spatial) or (N, 1, *spatial).
        options: The options that say how they are read.
        pixel_weights: Weights (N, *spatial), (N, 1, *spatial) or, for sigmoid, (N, C, *spatial).
        class_weights: Weights of the classes in the cross-entropy, (C,).
        pos_weight: Weights of the positive class in binary cross-entropy, (1 or C,).
        maps: Further maps by name, each (N, C, *spatial).
        annotated: Which channels are annotated in which samples, (N, C); with sigmoid, the others
            get weight 0.
        names: The names of these in messages; None: the names of the arguments.
        checks: Decides when values are read; None: always.

    Raises:
        TypeError: Something is not a tensor, has a wrong dtype, or requires grad.
        ValueError: Shapes or devices do not match, or values are out of range.
    """
    names = BatchNames() if names is None else names
    pred_name, target_name, weight_name, annotated_name = names
    activation = options.activation
    check_prediction_shape(pred, pred_name, options.n_classes, activation)
    check_companion(target, target_name, pred, pred_name)
    if class_weights is not None or pos_weight is not None:
        check_channel_weights(class_weights, pos_weight, pred.shape[1], activation)
    pixels = PixelBatch(
        pred.flatten(2),
        flat_target(target, target_name, pred, pred_name, activation),
        options,
        None
        if pixel_weights is None
        else flat_weight(pixel_weights, weight_name, pred, pred_name, activation),
        None if class_weights is None else buffer_on_device(class_weights, pred.device),
        None if pos_weight is None else buffer_on_device(pos_weight, pred.device),
        {key: flat_map(values, key, pred, pred_name) for key, values in maps.items()}
        if maps
        else None,
    )
    if annotated is not None:
        check_annotated(annotated, annotated_name, pred, pred_name)
        if activation == "sigmoid":
            pixels = pixels.replace(weight=_annotated_weight(annotated, pixels))
    if options.ignore_index is not None:
        check_ignored_value(pixels, target_name)
    check_values(pixels, names, ValueChecks() if checks is None else checks)
    return pixels


def pixel_batch_of_arguments(
    pred: Tensor,
    target: Tensor,
    *,
    n_classes: int = 2,
    from_logits: bool = True,
    activation: str | None = None,
    pixel_weights: Tensor | None = None,
    ignore_index: int | None = None,
    class_weights: Any = None,
    pos_weight: Any = None,
    label_smoothing: float = 0.0,
    maps: Mapping[str, Tensor] | None = None,
) -> PixelBatch:
    """Checks a function's arguments, and returns the batch that they describe.

    On the CPU values are read in every call; on an accelerator, in the first call with the same
    options only, by any function.
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
        checks=None if is_traced() else shared_checks(options),
    )


def _annotated_weight(annotated: Tensor, pixels: PixelBatch) -> Tensor:
    """Returns the pixels' weights (N, C, P), 0 in channels that are not annotated."""
    channels = annotated.unsqueeze(-1)
    if pixels.weight is None:
        return channels.expand(pixels.prediction.shape)
    return torch.where(channels, pixels.weight, torch.zeros_like(pixels.weight))
