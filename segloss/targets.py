"""The pass's input: predictions, targets and weights of one batch, checked and brought into shape.

Everything wrong is found here, before a pixel is computed. What is done with the pixels is the
business of `segloss.sums`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from segloss.arguments import (
    check_choice,
    check_flag,
    check_integer,
    check_mapping,
    check_number,
    check_weights,
)
from segloss.constants import moved
from segloss.tracing import is_traced

ACTIVATIONS = ("sigmoid", "softmax")

_ROUNDING = 1e-6
"""How far probabilities may stand outside [0, 1]."""

_ALWAYS_CHECKED = 65_536
"""Up to so many elements, ranges of dense tensors are checked on every batch (on CPU)."""


PREDICTED = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
"""What predictions may be."""

_HARDLY_SUPPORTED = (torch.uint16, torch.uint32, torch.uint64)
"""Integers for which PyTorch lacks most operations."""


class PixelOptions(NamedTuple):
    """How pixels are read, whatever batch they are of.

    Attributes:
        n_classes: The number of classes; 2 also for any number of sigmoid channels.
        activation: "sigmoid" (channels independent) or "softmax" (channels are classes).
        from_logits: Whether predictions are logits, and not probabilities.
        ignore_index: The target's value that marks pixels to be left out, or None.
        label_smoothing: The smoothing of the cross-entropy's targets, in [0, 1].
    """

    n_classes: int
    activation: str
    from_logits: bool = True
    ignore_index: int | None = None
    label_smoothing: float = 0.0

    @classmethod
    def checked(
        cls,
        n_classes: Any,
        activation: Any = None,
        *,
        from_logits: Any = True,
        ignore_index: Any = None,
        label_smoothing: Any = 0.0,
    ) -> PixelOptions:
        """The options, checked under the names that arguments have everywhere.

        Raises:
            TypeError, ValueError: An option is wrong.
        """
        return cls(
            n_classes,
            resolve_activation(n_classes, activation),
            check_flag("from_logits", from_logits),
            None if ignore_index is None else check_integer("ignore_index", ignore_index),
            check_number("label_smoothing", label_smoothing, 0, 1),
        )


class Pixels:
    """One batch as the pass reads it, with the spatial dimensions flattened to P pixels.

    Args:
        prediction: Logits or probabilities, (N, C, P), in their own floating-point dtype.
        target: A label map (N, P), or dense (N, C, P), in its own dtype.
        options: How they are read.
        weight: Pixel weights (N, 1 or C, P), or None for 1 everywhere.
        class_weights: One weight per class of the cross-entropy, (C,), or None.
        pos_weight: The weight of the positive class of binary cross-entropy, (1 or C,), or None.
        maps: Further maps (N, C, P) by name, such as distances, in their own dtype.

    Attributes:
        is_exclusive: Whether the classes exclude each other.
        is_label_map: Whether the target holds class indices, and not one value per class.
        is_soft: Whether targets may lie between 0 and 1.
    """

    def __init__(
        self,
        prediction: Tensor,
        target: Tensor,
        options: PixelOptions,
        weight: Tensor | None = None,
        class_weights: Tensor | None = None,
        pos_weight: Tensor | None = None,
        maps: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.prediction, self.target, self.options = prediction, target, options
        self.weight, self.class_weights, self.pos_weight = weight, class_weights, pos_weight
        self.maps = {} if maps is None else maps
        self.is_exclusive = options.activation == "softmax"
        self.is_label_map = target.ndim < prediction.ndim
        self.is_soft = not self.is_label_map and target.is_floating_point()

    def replace(self, **tensors: Any) -> Pixels:
        """The same with other tensors."""
        names = ("prediction", "target", "weight", "class_weights", "pos_weight", "maps")
        given = {name: getattr(self, name) for name in names} | tensors
        return Pixels(options=self.options, **given)

    def tensors(self, map_keys: Sequence[str]) -> list[Tensor | None]:
        """All tensors: what the pass keeps for the backward pass."""
        fixed = [self.prediction, self.target, self.weight, self.class_weights, self.pos_weight]
        return [*fixed, *(self.maps[key] for key in map_keys)] if map_keys else fixed

    @classmethod
    def of(cls, tensors: Sequence[Any], map_keys: Sequence[str], options: PixelOptions) -> Pixels:
        """The pixels that these `tensors` were taken of."""
        prediction, target, weight, class_weights, pos_weight, *maps = tensors
        named = dict(zip(map_keys, maps, strict=True))
        return cls(prediction, target, options, weight, class_weights, pos_weight, named)

    def kept(self) -> Tensor | None:
        """Which pixels are not ignored, (N, 1 or C, P); None: all.

        With softmax a pixel is one unit: ignored in one channel of a dense target, it is ignored.
        """
        ignored = self.options.ignore_index
        if ignored is None:
            return None
        kept = self.target != ignored
        if self.is_label_map:
            return kept.unsqueeze(1)
        return kept.all(1, keepdim=True) if self.is_exclusive else kept

    def valid(self) -> Tensor | None:
        """Which pixels count, (N, 1 or C, P): those neither ignored nor of weight 0; None: all."""
        kept = self.kept()
        if self.weight is None:
            return kept
        weighted = self.weight != 0
        return weighted if kept is None else weighted & kept


class Names(NamedTuple):
    """What messages call the parts of a batch."""

    pred: str = "pred"
    target: str = "target"
    pixel_weights: str = "pixel_weights"
    annotated: str = "annotated"


class ValueChecks:
    """Decides when the checks that read values are due, so that they cost next to nothing.

    On CPU, labels and small tensors are checked in every batch, larger dense ones in the first
    batch of each shape; on an accelerator, whose queue a check would drain, in the first batch
    alone; never while compiling, exporting or under `torch.func`.
    """

    def __init__(self) -> None:
        self._passed: set[tuple[Any, ...]] = set()

    def due(self, role: str, tensor: Tensor, *, on_every_batch: bool = False) -> bool:
        """Whether to read the values of `tensor`, which plays the part `role`."""
        if is_traced() or tensor.numel() == 0 or tensor.is_meta:
            return False
        cheap = on_every_batch or tensor.numel() <= _ALWAYS_CHECKED
        if cheap and tensor.is_cpu:
            return True
        return _occasion(role, tensor) not in self._passed

    def passed(self, role: str, tensor: Tensor) -> None:
        """Notes that the values were read, and right."""
        if tensor.numel() > _ALWAYS_CHECKED or not tensor.is_cpu:
            self._passed.add(_occasion(role, tensor))


class _ChecksOfCalls(ValueChecks):
    """Those of functions, for which any batch on the CPU may be the first."""

    def passed(self, role: str, tensor: Tensor) -> None:
        """Notes that the values were read, and right, unless they are on the CPU."""
        if not tensor.is_cpu:
            super().passed(role, tensor)


@functools.lru_cache(maxsize=128)
def _kept_checks(options: PixelOptions) -> ValueChecks:
    """The checks that all calls with the same options share."""
    return _ChecksOfCalls()


def _occasion(role: str, tensor: Tensor) -> tuple[Any, ...]:
    """What is read once: on CPU a role in each shape, elsewhere a role."""
    on_cpu = tensor.device.type == "cpu"
    return (role, *tensor.shape) if on_cpu else (role, tensor.device.type)


def resolve_activation(n_classes: int, activation: str | None) -> str:
    """The activation that `n_classes` implies, or the one that is asked for.

    Raises:
        TypeError, ValueError: `n_classes` is no int of at least 2, or `activation` is unknown.
    """
    check_integer("n_classes", n_classes)
    if n_classes < 2:
        raise ValueError(
            f"n_classes must be at least 2, got {n_classes}: one foreground class against the "
            "background is n_classes=2, predicted in one sigmoid channel."
        )
    if activation is None:
        return "sigmoid" if n_classes == 2 else "softmax"
    return check_choice("activation", activation, ACTIVATIONS)


def as_pixels(
    pred: Tensor,
    target: Tensor,
    options: PixelOptions,
    *,
    pixel_weights: Tensor | None = None,
    class_weights: Tensor | None = None,
    pos_weight: Tensor | None = None,
    maps: Mapping[str, Tensor] | None = None,
    annotated: Tensor | None = None,
    names: Names | None = None,
    checks: ValueChecks | None = None,
) -> Pixels:
    """Checks a batch and brings it into the shape that the pass reads.

    Args:
        pred: Predictions (N, C, *spatial), floating-point.
        target: Dense (N, C, *spatial), or a label map (N, *spatial) or (N, 1, *spatial).
        options: How they are read.
        pixel_weights: Weights (N, *spatial), (N, 1, *spatial) or, for sigmoid, (N, C, *spatial).
        class_weights: Weights of the classes in the cross-entropy, (C,).
        pos_weight: Weights of the positive class in binary cross-entropy, (1 or C,).
        maps: Further maps by name, each (N, C, *spatial).
        annotated: Which channels are annotated in which samples, (N, C); with sigmoid, the others
            get weight 0.
        names: What messages call these; None: by the names of the arguments.
        checks: Decides when values are read; None: always.

    Raises:
        TypeError: Something is not a tensor, of a wrong dtype, or requires grad where it must not.
        ValueError: Shapes or devices do not match, or values are out of range.
    """
    names = Names() if names is None else names
    pred_name, target_name, weight_name, annotated_name = names
    activation = options.activation
    _check_prediction(pred, pred_name, options.n_classes, activation)
    check_companion(target, target_name, pred, pred_name)
    if class_weights is not None or pos_weight is not None:
        check_channel_weights(class_weights, pos_weight, pred.shape[1], activation)
    pixels = Pixels(
        pred.flatten(2),
        _flat_target(target, target_name, pred, pred_name, activation),
        options,
        None
        if pixel_weights is None
        else _flat_weight(pixel_weights, weight_name, pred, pred_name, activation),
        None if class_weights is None else moved(class_weights, pred.device),
        None if pos_weight is None else moved(pos_weight, pred.device),
        {key: _flat_map(values, key, pred, pred_name) for key, values in maps.items()}
        if maps
        else None,
    )
    if annotated is not None:
        _check_annotated(annotated, annotated_name, pred, pred_name)
        if activation == "sigmoid":
            pixels = pixels.replace(weight=_annotated_weight(annotated, pixels))
    if options.ignore_index is not None:
        _check_ignored_value(pixels, target_name)
    _check_values(pixels, names, ValueChecks() if checks is None else checks)
    return pixels


def pixels_of_arguments(
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
) -> Pixels:
    """The pixels that a function's arguments describe, all of them checked.

    On the CPU values are read in every call; on an accelerator, in the first call with the same
    options alone, by whichever function.
    """
    options = PixelOptions.checked(
        n_classes,
        activation,
        from_logits=from_logits,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
    )
    return as_pixels(
        pred,
        target,
        options,
        pixel_weights=pixel_weights,
        class_weights=check_weights("class_weights", class_weights),
        pos_weight=check_weights("pos_weight", pos_weight),
        maps=maps,
        checks=None if is_traced() else _kept_checks(options),
    )


def check_maps(maps: Any, keys: Iterable[str], whose: str = "") -> Mapping[str, Tensor]:
    """The maps of an argument.

    Raises:
        TypeError: They are no mapping.
        ValueError: One of `keys` is not there.
    """
    given = {} if maps is None else check_mapping("maps", maps)
    for key in keys:
        if key not in given:
            raise ValueError(
                f"maps must have {key!r}{whose}: pass maps={{{key!r}: ...}}. The maps that there "
                f"are: {', '.join(map(str, given)) or 'none'}."
            )
    return given


def check_prediction(pred: Any, name: str) -> None:
    """Checks what predictions of all kinds have in common."""
    if not isinstance(pred, Tensor):
        raise TypeError(f"{name} must be a tensor, got {type(pred).__name__}.")
    if pred.layout != torch.strided:
        raise TypeError(f"{name} must be dense, got {pred.layout}: pass {name}.to_dense().")
    if pred.dtype not in PREDICTED:
        known = ", ".join(str(dtype).removeprefix("torch.") for dtype in PREDICTED)
        raise TypeError(f"{name} must be floating-point ({known}), got {pred.dtype}.")


def _check_prediction(pred: Any, name: str, n_classes: int, activation: str) -> None:
    check_prediction(pred, name)
    if not 3 <= pred.ndim <= 5:
        raise ValueError(
            f"{name} must have the shape (N, C, *spatial) with 1 to 3 spatial dimensions, got "
            f"{tuple(pred.shape)}."
        )
    channels = pred.shape[1]
    if channels != n_classes and (activation == "softmax" or n_classes > 2):
        single = " Softmax over one channel is always 1: use activation='sigmoid'."
        raise ValueError(
            f"{name} must have one channel per class with {activation}: expected {n_classes} "
            f"channels (n_classes), got {channels} in the shape {tuple(pred.shape)}."
            f"{single if channels == 1 and activation == 'softmax' else ''}"
        )
    if channels == 0:
        raise ValueError(f"{name} must have at least one channel, got {tuple(pred.shape)}.")


def check_companion(tensor: Any, name: str, pred: Tensor, pred_name: str) -> None:
    """Checks what targets, weights and all other truths have in common."""
    check_real(tensor, name)
    if tensor.requires_grad:
        raise TypeError(
            f"{name} must not require grad: no gradient flows into it. Pass {name}.detach()."
        )
    check_device(tensor, name, pred, pred_name)


def check_real(tensor: Any, name: str) -> None:
    """Raises TypeError for what is no dense tensor of real numbers."""
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{name} must be a tensor, got {type(tensor).__name__}.")
    if tensor.is_complex() or tensor.layout != torch.strided:
        raise TypeError(f"{name} must be real and dense, got {tensor.dtype}, {tensor.layout}.")


def check_device(tensor: Tensor, name: str, pred: Tensor, pred_name: str) -> None:
    """Raises ValueError for a tensor that is not where the predictions are."""
    if tensor.device != pred.device:
        raise ValueError(
            f"{name} must be on the device of {pred_name} ({pred.device}), got {tensor.device}: "
            f"move it with .to({str(pred.device)!r})."
        )


def _flat_target(
    target: Tensor, name: str, pred: Tensor, pred_name: str, activation: str
) -> Tensor:
    """The target as (N, C, P) where it is dense, as (N, P) where it is a label map."""
    samples, spatial = pred.shape[0], pred.shape[2:]
    if target.dtype in _HARDLY_SUPPORTED:
        target = target.long()
    if target.shape == pred.shape:
        return target.flatten(2)
    if target.shape in ((samples, *spatial), (samples, 1, *spatial)):
        if activation == "softmax":
            return target.reshape(samples, spatial.numel())
        if pred.shape[1] == 1:
            return target.reshape(samples, 1, spatial.numel())
    label_map = f" or, as a label map, {(samples, *spatial)} or {(samples, 1, *spatial)}"
    has_labels = activation == "softmax" or pred.shape[1] == 1
    hint = "" if has_labels else " Channels are independent with sigmoid: one mask per channel."
    raise ValueError(
        f"{name} must match {pred_name} of shape {tuple(pred.shape)}: expected "
        f"{tuple(pred.shape)}{label_map if has_labels else ''}, got {tuple(target.shape)}.{hint} "
        "Use the channel selectors to pick channels."
    )


def _flat_weight(
    weight: Tensor, name: str, pred: Tensor, pred_name: str, activation: str
) -> Tensor:
    check_companion(weight, name, pred, pred_name)
    samples, channels, spatial = pred.shape[0], pred.shape[1], pred.shape[2:]
    if weight.shape in ((samples, *spatial), (samples, 1, *spatial)):
        return weight.reshape(samples, 1, spatial.numel())
    if weight.shape == pred.shape and activation == "sigmoid":
        return weight.flatten(2)
    each = f" or {(samples, channels, *spatial)}" if activation == "sigmoid" else ""
    raise ValueError(
        f"{name} must match {pred_name} of shape {tuple(pred.shape)}: expected "
        f"{(samples, 1, *spatial)}{each}, got {tuple(weight.shape)}."
    )


def _check_annotated(annotated: Any, name: str, pred: Tensor, pred_name: str) -> None:
    check_companion(annotated, name, pred, pred_name)
    if annotated.dtype != torch.bool:
        raise TypeError(
            f"{name} must be booleans, whether a class was annotated in a sample, got "
            f"{annotated.dtype}: pass {name}.bool()."
        )
    if annotated.shape != pred.shape[:2]:
        raise ValueError(
            f"{name} must have one entry for each sample and class of {pred_name}: expected "
            f"{tuple(pred.shape[:2])}, got {tuple(annotated.shape)}."
        )


def _annotated_weight(annotated: Tensor, pixels: Pixels) -> Tensor:
    """The pixels' weights (N, C, P), 0 in channels that are not annotated."""
    channels = annotated.unsqueeze(-1)
    if pixels.weight is None:
        return channels.expand(pixels.prediction.shape)
    return torch.where(channels, pixels.weight, torch.zeros_like(pixels.weight))


def _flat_map(values: Tensor, name: str, pred: Tensor, pred_name: str) -> Tensor:
    check_companion(values, name, pred, pred_name)
    if values.shape != pred.shape:
        raise ValueError(
            f"{name} must have the shape of {pred_name}, one map for each channel: expected "
            f"{tuple(pred.shape)}, got {tuple(values.shape)}."
        )
    return values.flatten(2)


def _check_ignored_value(pixels: Pixels, name: str) -> None:
    ignored = pixels.options.ignore_index
    if pixels.is_exclusive and not pixels.is_label_map and ignored in (0, 1):
        raise ValueError(
            f"ignore_index={ignored} would leave out every pixel of {name}, which is "
            "dense: pass a label map to ignore a class, or leave it out with region_classes and "
            "class_weights."
        )


def check_channel_weights(
    class_weights: Tensor | None, pos_weight: Tensor | None, channels: int, activation: str
) -> None:
    """Raises ValueError if the weights do not fit so many channels, or the activation."""
    if pos_weight is not None and activation == "softmax":
        raise ValueError(
            "pos_weight belongs to binary cross-entropy, and activation is 'softmax': use "
            "class_weights."
        )
    if pos_weight is not None and len(pos_weight) not in (1, channels):
        raise ValueError(
            f"pos_weight must be one number or have one weight per channel: expected {channels}, "
            f"got {len(pos_weight)}."
        )
    if class_weights is not None and len(class_weights) != channels:
        hint = " To weight the positive class, use pos_weight." if channels == 1 else ""
        raise ValueError(
            f"class_weights must have one weight per class: expected {channels}, got "
            f"{len(class_weights)}.{hint}"
        )


def _check_values(pixels: Pixels, names: Names, checks: ValueChecks) -> None:
    pred_name, target_name, weight_name, _ = names
    weight, target, prediction = pixels.weight, pixels.target, pixels.prediction
    if weight is not None and checks.due("weight", weight):
        _check_weight_values(weight, pixels.kept(), weight_name)
        checks.passed("weight", weight)
    if pixels.is_label_map and checks.due("labels", target, on_every_batch=True):
        _check_labels(pixels, target_name)
        checks.passed("labels", target)
    if not pixels.is_label_map and checks.due("target", target):
        _check_target_values(pixels, target_name)
        checks.passed("target", target)
    if not pixels.options.from_logits and checks.due("prediction", prediction):
        _check_probabilities(prediction, pixels.valid(), pred_name)
        checks.passed("prediction", prediction)
    for key, values in pixels.maps.items():
        check_finite_values(values, key, checks, kept=pixels.valid)


def check_finite_values(
    tensor: Tensor,
    name: str,
    checks: ValueChecks,
    *,
    kept: Callable[[], Tensor | None] = lambda: None,
) -> None:
    """Raises ValueError where values that are kept are not finite, if that is due to be read."""
    if not checks.due(name, tensor):
        return
    low, high = _extremes(tensor.detach(), kept())
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError(f"{name} must hold finite numbers, got values from {low:g} to {high:g}.")
    checks.passed(name, tensor)


def check_label_range(
    labels: Tensor, name: str, classes: int, ignore_index: int | None, checks: ValueChecks
) -> None:
    """Raises ValueError for labels of no class, if they are due to be read."""
    if not checks.due("label range", labels):
        return
    low, high = _extremes(labels, None if ignore_index is None else labels != ignore_index)
    _check_extremes(low, high, name, classes, ignore_index)
    checks.passed("label range", labels)


def _check_extremes(
    low: float, high: float, name: str, classes: int, ignore_index: int | None
) -> None:
    if not (low >= 0 and high < classes):
        value = low if not low >= 0 else high
        raise ValueError(
            f"{name} holds the label {value:g}, expected 0 to {classes - 1} for {classes} classes."
            f"{_ignore_hint(ignore_index, value, value)}"
        )


def check_weight_range(weight: Tensor, name: str, checks: ValueChecks) -> None:
    """Raises ValueError for weights that are negative or not finite, if that is due to be read."""
    if checks.due(name, weight):
        _check_weight_values(weight, None, name)
        checks.passed(name, weight)


def _check_weight_values(weight: Tensor, kept: Tensor | None, name: str) -> None:
    low, high = _extremes(weight, kept)
    if not (low >= 0 and high < math.inf):
        raise ValueError(
            f"{name} must hold finite numbers of at least 0, got values from {low:g} to {high:g}."
        )


def _check_target_values(pixels: Pixels, name: str) -> None:
    low, high = _extremes(pixels.target, pixels.valid())
    if not (low >= 0 and high <= 1):
        raise ValueError(
            f"{name} must hold values in [0, 1], got values from {low:g} to {high:g}."
            f"{_ignore_hint(pixels.options.ignore_index, low, high)}"
        )


def _check_probabilities(prediction: Tensor, valid: Tensor | None, name: str) -> None:
    low, high = _extremes(prediction.detach(), valid)
    if not (low >= -_ROUNDING and high <= 1 + _ROUNDING):
        raise ValueError(
            f"{name} must hold probabilities, in [0, 1], got values from {low:g} to {high:g}. If "
            "these are logits, set from_logits=True."
        )


def check_unit_range(
    tensor: Tensor, name: str, checks: ValueChecks, *, probabilities: bool = False
) -> None:
    """Raises ValueError where values are not in [0, 1], if that is due to be read.

    Probabilities may stand outside by rounding.
    """
    if not checks.due(name, tensor):
        return
    low, high = _extremes(tensor.detach(), None)
    slack = _ROUNDING if probabilities else 0.0
    if not (low >= -slack and high <= 1 + slack):
        raise ValueError(
            f"{name} must hold {'probabilities' if probabilities else 'values'} in [0, 1], got "
            f"values from {low:g} to {high:g}."
            + (" Logits go through a sigmoid first." if probabilities else "")
        )
    checks.passed(name, tensor)


def _extremes(tensor: Tensor, kept: Tensor | None) -> tuple[float, float]:
    """The least and the largest of the values that are kept; (0, 0) where none is."""
    if tensor.dtype == torch.bool:
        return 0.0, 1.0
    if kept is None:
        values = tensor
    else:
        shape = torch.broadcast_shapes(tensor.shape, kept.shape)  # type: ignore[no-untyped-call]
        values = tensor.expand(shape)[kept.expand(shape)]
    if values.numel() == 0:
        return 0.0, 0.0
    low, high = torch.aminmax(values)
    return float(low), float(high)


def _check_labels(pixels: Pixels, name: str) -> None:
    target, classes = pixels.target, pixels.prediction.shape[1]
    valid = pixels.valid()
    valid = None if valid is None else valid.squeeze(1)
    low, high = _extremes(target, valid)
    _check_extremes(low, high, name, classes, pixels.options.ignore_index)
    if target.is_floating_point():
        kept = target if valid is None else target[valid]
        if not torch.equal(kept, kept.round()):
            raise ValueError(
                f"{name} must hold whole numbers as a label map, got fractions: class indices are "
                "expected here; one value per class is a dense target of the predictions' shape."
            )


def _ignore_hint(ignore_index: int | None, low: float, high: float) -> str:
    """Suggests ignore_index where a value looks like a mark, such as 255 or -100."""
    if ignore_index is not None:
        return f" (Pixels of ignore_index={ignore_index} are left out already.)"
    outlier = high if high > 1 else low
    if not outlier.is_integer():
        return ""
    return f" If {outlier:g} marks pixels to leave out, set ignore_index={outlier:g}."
