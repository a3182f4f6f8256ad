"""Checks of a batch's tensors that read no values: types, dtypes, devices and shapes.

The functions `flat_...` also flatten the spatial dimensions. The checks that read values are in
`segloss.batch.value_checks`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from segloss.batch import remedies
from segloss.batch.keys import MAP_REMEDY
from segloss.batch.options import PixelOptions
from segloss.batch.pixel_batch import BatchNames, PixelBatch
from segloss.batch.stacked_heads import MOST_DIMENSIONS
from segloss.foundation.arguments import check_mapping
from segloss.foundation.ignore_index import IgnoreIndex, values_of, written

PREDICTED = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
"""The dtypes that predictions may have."""

_HARDLY_SUPPORTED = (torch.uint16, torch.uint32, torch.uint64)
"""Integer dtypes for which PyTorch lacks most operations."""


_IDS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
"""The dtypes that ids of components may have."""


def are_masks_of_pixels(pred: Any, target: Any, options: PixelOptions) -> bool:
    """Returns whether predictions and targets are (N, P): N masks, without an axis of channels.

    Networks that predict a mask for each object have such, of points that they draw (Mask2Former).
    """
    return (
        isinstance(pred, Tensor)
        and isinstance(target, Tensor)
        and pred.ndim == 2
        and target.shape == pred.shape
        and options.activation == "sigmoid"
        and options.n_classes == 2
    )


def with_channel_axis(values: Any) -> Any:
    """Returns a map (N, P) of masks as (N, 1, P), and anything else unchanged."""
    return values.unsqueeze(1) if isinstance(values, Tensor) and values.ndim == 2 else values


def check_prediction_shape(
    pred: Any, names: BatchNames, n_classes: int, activation: str, target: Any
) -> None:
    """Raises TypeError or ValueError for a wrong type, dtype, shape or number of channels.

    The target helps to tell the cause.
    """
    name = names.pred
    check_prediction(pred, name, target)
    if not 3 <= pred.ndim <= MOST_DIMENSIONS:
        raise ValueError(
            f"{name} must have the shape (N, C, *spatial) with 1 to 3 spatial dimensions, got "
            f"{tuple(pred.shape)}.{names.in_remedy(remedies.for_dimensions(pred))}"
        )
    channels = pred.shape[1]
    if channels != n_classes and (activation == "softmax" or n_classes > 2):
        raise ValueError(
            f"{name} must have one channel per class with {activation}: expected {n_classes} "
            f"channels (n_classes), got {channels} in the shape {tuple(pred.shape)}."
            f"{names.in_remedy(remedies.for_prediction_shape(pred, target, n_classes))}"
        )
    if channels == 0:
        raise ValueError(f"{name} must have at least one channel, got {tuple(pred.shape)}.")


def check_prediction(pred: Any, name: str, target: Any = None) -> None:
    """Raises TypeError for anything but a dense, floating-point tensor.

    The target, if it is given, helps to tell the cause.
    """
    if not isinstance(pred, Tensor):
        raise TypeError(
            f"{name} must be a tensor, got {type(pred).__name__}"
            f"{remedies.for_type(pred, has_gradient=True)}."
        )
    if pred.layout != torch.strided:
        raise TypeError(f"{name} must be dense, got {pred.layout}: pass {name}.to_dense().")
    if pred.dtype not in PREDICTED:
        allowed = ", ".join(str(dtype).removeprefix("torch.") for dtype in PREDICTED)
        raise TypeError(
            f"{name} must be floating-point ({allowed}), got {pred.dtype}"
            f"{remedies.named(remedies.for_prediction_dtype(pred.dtype, target), name, '')}."
        )


def check_companion(tensor: Any, name: str, pred: Tensor, pred_name: str) -> None:
    """Checks a target, weights, map or annotations: real, without grad, on `pred`'s device."""
    check_real(tensor, name)
    if tensor.requires_grad:
        raise TypeError(
            f"{name} must not require grad: no gradient flows into it. Pass {name}.detach()."
        )
    check_device(tensor, name, pred, pred_name)


def check_real(tensor: Any, name: str) -> None:
    """Raises TypeError for anything but a dense tensor of real numbers."""
    if not isinstance(tensor, Tensor):
        raise TypeError(
            f"{name} must be a tensor, got {type(tensor).__name__}{remedies.for_type(tensor)}."
        )
    if tensor.is_complex() or tensor.layout != torch.strided:
        raise TypeError(f"{name} must be real and dense, got {tensor.dtype}, {tensor.layout}.")


def check_device(tensor: Tensor, name: str, pred: Tensor, pred_name: str) -> None:
    """Raises ValueError if a tensor is not on the device of the predictions."""
    if tensor.device != pred.device:
        raise ValueError(
            f"{name} must be on the device of {pred_name} ({pred.device}), got {tensor.device}: "
            f"{remedies.for_device(tensor, pred)}."
        )


def check_channel_weights(
    class_weights: Tensor | None, pos_weight: Tensor | None, channels: int, activation: str
) -> None:
    """Raises ValueError if the weights do not fit the channels or the activation."""
    if pos_weight is not None and activation == "softmax":
        raise ValueError(
            "pos_weight belongs to binary cross-entropy, but activation is 'softmax': use "
            "class_weights, one weight per class."
        )
    if pos_weight is not None and len(pos_weight) not in (1, channels):
        raise ValueError(
            f"pos_weight must be one number or have one weight per channel: expected {channels}, "
            f"got {len(pos_weight)}."
        )
    if class_weights is not None and len(class_weights) != channels:
        raise ValueError(
            f"class_weights must have one weight per class: expected {channels}, got "
            f"{len(class_weights)}.{remedies.for_class_weights(class_weights.tolist(), channels)}"
        )


def check_annotated(annotated: Any, name: str, pred: Tensor, pred_name: str) -> None:
    """Raises TypeError or ValueError for anything but booleans (N, C)."""
    check_companion(annotated, name, pred, pred_name)
    if annotated.dtype != torch.bool:
        raise TypeError(
            f"{name} must be booleans, True where a class is annotated in a sample, got "
            f"{annotated.dtype}: pass {name}.bool()."
        )
    if annotated.shape != pred.shape[:2]:
        raise ValueError(
            f"{name} must have one entry for each sample and class of {pred_name}: expected "
            f"{tuple(pred.shape[:2])}, got {tuple(annotated.shape)}."
        )


def check_sample_weights(weights: Any, name: str, pred: Tensor, pred_name: str) -> None:
    """Raises TypeError or ValueError for anything but one real number for each sample, (N,)."""
    check_companion(weights, name, pred, pred_name)
    if not _has_shape(weights, pred.shape[:1]):
        raise ValueError(
            f"{name} must have one weight for each sample of {pred_name}: expected "
            f"{tuple(pred.shape[:1])}, got {tuple(weights.shape)}."
            f"{remedies.for_sample_weights(weights, pred)}"
        )


def check_ignored_values(pixels: PixelBatch, name: str, ignore_index: IgnoreIndex) -> None:
    """Raises ValueError if `ignore_index` would leave out every pixel of a dense target."""
    if not pixels.is_exclusive or pixels.is_label_map:
        return
    if not {0, 1}.isdisjoint(values_of(ignore_index)):
        raise ValueError(
            f"ignore_index={written(ignore_index)} would leave out every pixel of {name}, which is "
            "dense: pass a label map to ignore a class, target.argmax(1), or leave the class out "
            "with region_classes and class_weights."
        )


def check_maps(maps: Any, keys: Iterable[str], whose: str = "") -> Mapping[str, Tensor]:
    """Returns the argument `maps` after checking it; None becomes an empty mapping.

    Args:
        maps: The maps by name, or None.
        keys: The names of the maps that are needed.
        whose: The end of the words "maps must have ..." in the message.

    Raises:
        TypeError: `maps` is not a mapping.
        ValueError: A map is missing.
    """
    given = {} if maps is None else maps
    if not isinstance(given, Mapping):
        meant = ", ".join(f"{key!r}: ..." for key in keys)
        remedy = f": pass maps={{{meant}}}" if meant else ": the loss needs no map, so leave it out"
        check_mapping("maps", given, remedy)
    for key in keys:
        if key not in given:
            raise ValueError(
                f"maps must have {key!r}{whose}: pass maps={{{key!r}: ...}}. Its keys are: "
                f"{', '.join(map(str, given)) or 'none'}. {MAP_REMEDY}"
            )
    return given


def flat_target(target: Tensor, names: BatchNames, pred: Tensor, options: PixelOptions) -> Tensor:
    """Returns a dense target as (N, C, P), and a label map as (N, P)."""
    samples, spatial, activation = pred.shape[0], pred.shape[2:], options.activation
    if target.dtype in _HARDLY_SUPPORTED:
        target = target.long()
    if _has_shape(target, pred.shape):
        return target.flatten(2)
    if _is_of_pixels(target, pred):
        if pred.shape[1] == 1 and activation == "sigmoid":
            return target.flatten(1).unsqueeze(1)
        if activation == "softmax" or options.one_against_rest:
            return target.flatten(1)
    label_map = f" or, as a label map, {(samples, *spatial)} or {(samples, 1, *spatial)}"
    has_labels = activation == "softmax" or pred.shape[1] == 1 or options.one_against_rest
    remedy = remedies.for_target_shape(
        target,
        pred,
        options.n_classes,
        exclusive=activation == "softmax",
        has_selectors=names.are_keys,
    )
    raise ValueError(
        f"{names.target} must match {names.pred} of shape {tuple(pred.shape)}: expected "
        f"{tuple(pred.shape)}{label_map if has_labels else ''}, got {tuple(target.shape)}."
        f"{names.in_remedy(remedy)}"
    )


def flat_weight(weight: Tensor, names: BatchNames, pred: Tensor, activation: str) -> Tensor:
    """Returns pixel weights as (N, 1 or C, P)."""
    name = names.pixel_weights
    check_companion(weight, name, pred, names.pred)
    samples, channels, spatial = pred.shape[0], pred.shape[1], pred.shape[2:]
    if _is_of_pixels(weight, pred):
        return weight.flatten(1).unsqueeze(1)
    if _has_shape(weight, pred.shape) and activation == "sigmoid":
        return weight.flatten(2)
    per_channel = f" or {(samples, channels, *spatial)}" if activation == "sigmoid" else ""
    raise ValueError(
        f"{name} must match {names.pred} of shape {tuple(pred.shape)}: expected "
        f"{(samples, 1, *spatial)}{per_channel}, got {tuple(weight.shape)}."
        f"{names.in_remedy(remedies.for_weight_shape(name, weight, pred))}"
    )


def check_components(values: Any, name: str) -> None:
    """Raises TypeError for anything but a tensor of whole numbers, the ids of components."""
    if not isinstance(values, Tensor):
        raise TypeError(
            f"{name} must be a tensor, got {type(values).__name__}{remedies.for_type(values)}."
        )
    if values.dtype not in _IDS:
        allowed = ", ".join(str(dtype).removeprefix("torch.") for dtype in _IDS)
        raise TypeError(
            f"{name} must hold the ids of components, 0 where there is none, in an integer dtype "
            f"({allowed}), got {values.dtype}.{remedies.for_components(values)}"
        )


def flat_map(
    values: Tensor,
    name: str,
    pred: Tensor,
    names: BatchNames,
    *,
    has_classes: bool,
    are_components: bool = False,
) -> Tensor:
    """Returns a map as (N, C, P); `has_classes` says if the channels are those of a label map."""
    check_companion(values, name, pred, names.pred)
    if not _has_shape(values, pred.shape):
        if are_components:
            remedy = remedies.for_component_shape(name, values, pred)
        else:
            remedy = remedies.for_map_shape(name, values, pred, has_classes=has_classes)
        raise ValueError(
            f"{name} must have the shape of {names.pred}, one map for each channel: expected "
            f"{tuple(pred.shape)}, got {tuple(values.shape)}.{names.in_remedy(remedy)}"
        )
    return values.flatten(2)


def _is_of_pixels(tensor: Tensor, pred: Tensor) -> bool:
    """Returns whether a tensor has one value for each pixel: (N, *spatial) or (N, 1, *spatial)."""
    samples, spatial = pred.shape[0], pred.shape[2:]
    return _has_shape(tensor, (samples, *spatial)) or _has_shape(tensor, (samples, 1, *spatial))


def _has_shape(tensor: Tensor, shape: Sequence[int]) -> bool:
    """Returns whether a tensor has a shape, without comparing sizes of different dimensions.

    Tuples of different lengths are compared entry by entry too, and an exporter takes the result of
    each comparison, such as height against channels, as a condition on later batches.
    """
    return tensor.ndim == len(shape) and tensor.shape == shape
