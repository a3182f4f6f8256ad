"""Remedies for batches that a check has refused, read from their values and shapes.

A function returns the end of an error message: the likely causes, each with its remedy, or an empty
text if none is likely. It never offers a remedy that would spoil the training in a likely case.
Only failed checks call these functions, so they may read all values.

A remedy writes the predictions as `{pred}` and the target as `{target}`; `named` puts in what the
caller calls them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from segloss.batch.stacked_heads import MOST_DIMENSIONS, fits, may_be_heads
from segloss.foundation.dtypes import equals_any
from segloss.foundation.ignore_index import IgnoreIndex, values_of
from segloss.foundation.precision import rounding_slack
from segloss.foundation.printable import counted
from segloss.foundation.tracing import is_traced

_GREY = 64
"""The least whole number that is more likely a grey level or a marker than a class."""

_WHITE = 255
"""The value of white in images of 8 bits."""

_MODES = {3: "linear", 4: "bilinear", 5: "trilinear"}
"""The mode of `F.interpolate` for predictions, by their number of dimensions."""

_NO_BATCH = " A sample (C, H, W) lacks the batch dimension: pass {pred}[None] and {target}[None]."

_NOT_FINITE = " The network's output is not finite, and no option of the loss can fix that."

_HEADS = (
    " If {pred} stacks heads of deep supervision, (N, S, C, *spatial), pass {pred}.unbind(1) to "
    "segloss.DeepSupervision of this loss."
)

_TRANSFORMS = {
    "gt_distance_map": "SignedDistanceMap",
    "gt_skeleton": "SkeletonMap",
    "gt_distance": "DistanceMap",
}
"""The transforms that make maps, by the key that these have unless the caller names another."""

COMPONENTS = " Make them in the data loader with segloss.ComponentMap."

LARGE_IDS = (
    " Renumber the ids of each sample in the data loader: torch.unique(ids, "
    "return_inverse=True)[1]; 0 stays 0 if it occurs."
)
"""The remedy for wrong ids of components."""

FOR_MAPS = (
    " If it is scaled, check how: a mask without foreground has no largest distance to divide by."
)
"""The remedy for maps that are not finite."""

_FRAMES = (
    " If the second axis of {pred} is time, frames are samples: pass {pred}.flatten(0, 1) and "
    "{target}.flatten(0, 1)."
)

_COLOUR_CHANNELS = (3, 4)
"""The numbers of channels of images in colour, without and with transparency."""

_COLOURS = " An RGB image is not a label map: map its colours to class indices, (N, H, W)."


def named(remedy: str, pred: str, target: str) -> str:
    """Returns a remedy with the caller's names of the predictions and the target."""
    return remedy.replace("{pred}", pred).replace("{target}", target)


def for_labels(
    kept: Tensor,
    target: Tensor,
    classes: int,
    ignore_index: IgnoreIndex,
    can_ignore_several: bool = True,
) -> str:
    """Returns remedies for a label map with labels that are not classes.

    Args:
        kept: The labels of the pixels that count.
        target: The whole label map.
        classes: The number of classes.
        ignore_index: The loss's values for pixels to leave out, or None.
        can_ignore_several: True if the loss takes several of them.
    """
    levels = _levels(kept)
    wrong = [level for level in levels if not 0 <= level < classes]
    if not all(map(math.isfinite, levels)):
        return ""
    if not _are_whole(levels):
        return for_fractions(kept)
    if _are_grey_levels(levels, classes):
        return _for_grey_labels(levels, classes)
    if levels == list(range(1, classes + 1)):
        return " Labels start at 0, but these start at 1: subtract 1, {target} - 1."
    markers = [level for level in wrong if _is_marker(level, classes)]
    if len(wrong) == 1:
        return _for_one_label(wrong[0], levels, classes, _ignoring(wrong[0], ignore_index, target))
    if len(wrong) == len(markers) and can_ignore_several:
        return _if(_several_markers(markers, ignore_index, target))
    if len(wrong) == len(markers):
        return _if(
            f"{_listed(markers)} mark pixels to leave out, give them all one value, and set "
            "ignore_index to it"
        )
    return _if(
        f"all labels are classes, {_more_classes(wrong[-1])}",
        f"not, map them to 0 to {classes - 1} first",
    )


def for_fractions(labels: Tensor) -> str:
    """Returns remedies for a label map with fractions."""
    labels = labels.double()
    if _are_near_whole(labels):
        return " They differ from whole numbers by rounding: pass {target}.round()."
    if bool(((labels >= 0) & (labels <= 1)).all()) and _are_near_whole(labels * _WHITE):
        return (
            " They are multiples of 1/255, as torchvision's ToTensor makes them: load masks with "
            "PILToTensor, or pass (255 * {target}).round()."
        )
    return (
        " Interpolation makes fractions: resize label maps with mode='nearest'. Fractions as "
        "targets are dense, one channel per class, in the predictions' shape."
    )


def for_masks(
    kept: Tensor,
    target: Tensor,
    ignore_index: IgnoreIndex,
    can_ignore: bool,
    *,
    exclusive: bool = False,
) -> str:
    """Returns remedies for dense targets that are not in [0, 1].

    Args:
        kept: The values that count.
        target: The whole target.
        ignore_index: The loss's values for pixels to leave out, or None.
        can_ignore: True if the loss has the argument `ignore_index`.
        exclusive: True if the classes exclude each other.
    """
    levels = _levels(kept)
    if not all(map(math.isfinite, levels)):
        return ""
    slack = rounding_slack(target.dtype)
    wrong = [level for level in levels if not -slack <= level <= 1 + slack]
    if not wrong:  # outside by rounding in a wider dtype than that of the data
        return _for_soft_masks(levels[0], levels[-1])
    if levels == [-1, 1]:
        return _if("-1 is the background and 1 the foreground, pass ({target} + 1) / 2")
    ignoring = _ignoring(wrong[-1], ignore_index, target)
    if not can_ignore:
        ignoring = (
            "this loss can't leave them out; segloss.SegLoss and CompoundLoss can, with "
            f"ignore_index={wrong[-1]:g}"
        )
    ignoring = f"{wrong[-1]:g} marks pixels to leave out, {ignoring}"
    if len(wrong) == 1 and _is_marker(wrong[0], 2) and not _are_grey_levels(levels, 2):
        return _if(ignoring)
    are_markers = all(_is_marker(level, 2) for level in wrong) and not _are_grey_levels(levels, 2)
    if are_markers and can_ignore:
        return _if(_several_markers(wrong, ignore_index, target))
    if not _are_whole(levels):
        return _for_soft_masks(levels[0], levels[-1])
    if levels[0] < 0:
        return ""
    if levels[-1] >= _GREY:
        are_colours = exclusive and _are_colours_of_classes(target)
        grey = "" if are_colours and len(levels) > 2 else _for_grey_masks(levels, can_ignore)
        return grey + (_COLOURS if are_colours else "")
    if levels == [1, 2]:
        return " Masks hold 0 and 1, but these hold 1 and 2: subtract 1, {target} - 1."
    if levels == list(range(1, len(levels) + 1)):
        return _if(
            f"these are labels of {len(levels)} classes, pass a label map that starts at 0, "
            f"{{target}} - 1, and {_more_classes(levels[-1] - 1)}"
        )
    classes = f"these are labels of classes, pass a label map, and {_more_classes(levels[-1])}"
    return _if(classes, ignoring) if len(wrong) == 1 else _if(classes)


def for_probabilities(low: float, high: float) -> str:
    """Returns remedies for predictions that are not in [0, 1]."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return _NOT_FINITE
    if low > -0.25 and 0.75 < high < 1.25:
        return (
            " If these are logits, set from_logits=True; if they are probabilities that a bicubic "
            "resize has changed, clamp them, {pred}.clamp(0, 1)."
        )
    return " If these are logits, set from_logits=True, or pass their sigmoid or softmax."


def for_given_probabilities(low: float, high: float) -> str:
    """Returns the remedy for predictions that are not in [0, 1], of a loss that takes no logits."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return _NOT_FINITE
    return " Logits go through a sigmoid first: pass {pred}.sigmoid()."


def for_weights(low: float, of: str) -> str:
    """Returns the remedy for weights below 0, of "pixels" or "samples"."""
    return f" To leave {of} out, give them the weight 0." if -math.inf < low < 0 else ""


def for_components(values: Tensor) -> str:
    """Returns remedies for components that are not integers."""
    if values.dtype == torch.bool:
        return f" A mask does not tell components apart.{COMPONENTS}"
    if values.is_floating_point() and _are_whole_numbers(values):
        return " If these are ids that a transform has converted, pass them with .int()."
    return COMPONENTS


def for_component_shape(what: str, ids: Tensor, pred: Tensor) -> str:
    """Returns remedies for ids of components that do not have the shape of the predictions."""
    samples, channels, *spatial = pred.shape
    if channels > 1 and ids.shape == (samples, *spatial):
        per_class = f"torch.stack([{what} * ({{target}} == c) for c in range({channels})], 1)"
        return f" Each class has a map of its own, which is 0 outside of the class: {per_class}."
    if channels == 2 and ids.shape == (samples, 1, *spatial):
        both = f"torch.cat([torch.zeros_like({what}), {what}], 1)"
        return f" If it is the foreground's, the background has no component: {both}."
    if channels > 2 and ids.shape == (samples, 1, *spatial):
        return f" segloss.ComponentMap(n_classes={channels}) makes a map for each class."
    return for_mask_shape(what, ids, pred)


def for_map_shape(key: str, values: Tensor, pred: Tensor, *, has_classes: bool) -> str:
    """Returns remedies for a map that does not have the shape of the predictions.

    Args:
        key: The key of the map.
        values: The map.
        pred: The predictions.
        has_classes: True if the channels are the classes of a label map.
    """
    samples, channels, *spatial = pred.shape
    if values.shape == pred.shape[1:]:
        return f" This is one sample's map: pass those of the batch, torch.stack([{key}, ...])."
    if values.ndim == pred.ndim and values.shape[:2] == pred.shape[:2]:
        return " Make the maps of the masks that the loss gets, after all crops and resizes."
    is_of_pixels = (len(values), *values.shape[2:]) == (samples, *spatial)
    if channels == 1 or not (is_of_pixels or values.shape == (samples, *spatial)):
        is_of_classes = is_of_pixels and values.ndim == pred.ndim
        return _transform(key, 2) if is_of_classes else for_mask_shape(key, values, pred)
    if has_classes:
        return _transform(key, channels)
    return " Make one map of the mask of each channel, and stack them along the channels."


def _transform(key: str, n_classes: int) -> str:
    """Returns the remedy for a map of another number of classes."""
    if key not in _TRANSFORMS:
        return f" Set n_classes={n_classes} in its transform."
    return f" Make it with segloss.{_TRANSFORMS[key]}(n_classes={n_classes})."


def _are_whole_numbers(values: Tensor) -> bool:
    """Returns whether all values are whole numbers, if they can be read."""
    if is_traced() or values.is_meta:
        return False
    return bool(torch.equal(values, values.round()))


def for_type(value: Any, *, has_gradient: bool = False) -> str:
    """Returns the remedy for an object that should be a tensor, for predictions with a gradient."""
    module = type(value).__module__.partition(".")[0]
    if module == "numpy" and has_gradient:
        return ": pass the network's output itself, without .numpy(), which has no gradient"
    if module == "numpy":
        return ": convert it with torch.as_tensor(...)"
    if module == "PIL":
        return ": convert it with torch.as_tensor(numpy.array(...))"
    if isinstance(value, Mapping):
        keys = ", ".join(repr(key) for key in list(value)[:5])
        return f": pass one of its entries ({keys})"
    if isinstance(value, Sequence) and any(isinstance(entry, Tensor) for entry in value):
        return ": pass one of its tensors, or all of them to segloss.DeepSupervision"
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return ": convert it with torch.tensor(...)"
    return ""


def for_prediction_dtype(dtype: torch.dtype, target: Any = None) -> str:
    """Returns the remedy for predictions that are not floating-point."""
    if dtype.is_floating_point:
        return ": pass {pred}.float()"
    if dtype.is_complex:
        return ": pass its real part, {pred}.real, or its magnitude, {pred}.abs()"
    if isinstance(target, Tensor) and target.is_floating_point():
        return ": the predictions come first, and the target second"
    return ": pass the network's output itself, before argmax or a threshold"


def for_prediction_shape(pred: Tensor, target: Any, n_classes: int) -> str:
    """Returns remedies for predictions with another number of channels than `n_classes`."""
    channels = pred.shape[1]
    if may_be_heads(pred, target) and pred.shape[2] == n_classes:
        return _HEADS
    if _are_frames(pred, target) and pred.shape[2] == n_classes:
        return _FRAMES
    if getattr(target, "shape", None) == pred.shape and _are_labels(pred, n_classes):
        return " These are labels: pass the network's output itself, before argmax or a threshold."
    if channels > 1 and pred.ndim > 3 and n_classes == pred.shape[-1] != pred.shape[-2]:
        return " The channels are last: pass {pred}.movedim(-1, 1)."
    if pred.ndim == 3 and pred.shape[0] == n_classes:
        return _NO_BATCH
    if channels == 1 and n_classes == 2:
        return " Softmax over one channel is always 1: use activation='sigmoid'."
    if channels == 1:
        return (
            f" For one foreground class, predicted in one sigmoid channel, set n_classes=2; for "
            f"{n_classes} classes, the network needs {n_classes} output channels."
        )
    if channels == 0:
        return ""
    return (
        f" Set n_classes={channels}, or give the network {n_classes} output channels, whichever is "
        "the number of classes, background included."
    )


def _are_labels(pred: Tensor, n_classes: int) -> bool:
    """Returns whether predictions are whole numbers from 0 to the last class."""
    if pred.numel() == 0 or not _are_whole_numbers(pred.detach()):
        return False
    return float(pred.min()) >= 0 and float(pred.max()) < n_classes


def for_dimensions(pred: Tensor) -> str:
    """Returns the remedy for predictions with too few or too many dimensions."""
    if pred.ndim == MOST_DIMENSIONS + 1:
        return _HEADS
    if pred.ndim == 2:
        return (
            " An image (H, W) lacks the dimensions of batch and channels: pass {pred}[None, None]. "
            "Masks of points (N, P), with sigmoid, need a target of their shape."
        )
    return " Pass the network's output without flattening it." if pred.ndim < 2 else ""


def for_mode(pred: Tensor, target: Any, mode: str) -> str:
    """Returns remedies for predictions whose channels do not fit the mode of a loss."""
    channels, shape = pred.shape[1], getattr(target, "shape", ())
    if mode != "binary":
        return ": for one foreground class in one sigmoid channel, set mode='binary'."
    if may_be_heads(pred, target) and pred.shape[2] == 1:
        return f".{_HEADS}"
    if pred.ndim > 3 and pred.shape[-1] == 1:
        return ": the channels are last, pass {pred}.movedim(-1, 1)."
    if pred.ndim == 3 and channels > 1 and shape in (pred.shape, (len(pred), 1, *pred.shape[1:])):
        return (
            ": masks (N, H, W) lack the channel axis, pass {pred}.unsqueeze(1) and a target "
            "(N, 1, H, W); for (N, C, L) set mode='multilabel'."
        )
    if shape != pred.shape:
        return ": for classes that exclude each other, set mode='multiclass'."
    return (
        ": set mode='multiclass' if classes exclude each other, and mode='multilabel' if the "
        "channels are independent."
    )


def for_target_shape(
    target: Tensor, pred: Tensor, n_classes: int, *, exclusive: bool, has_selectors: bool = False
) -> str:
    """Returns remedies for targets whose shape does not match the predictions'.

    Args:
        target: The target.
        pred: The predictions.
        n_classes: The loss's number of classes.
        exclusive: True if the classes exclude each other.
        has_selectors: True if the loss has channel selectors, and the caller may not have the
            tensors at hand, as in a config.
    """
    if target.shape in _label_map_shapes(pred):
        return _for_label_map(pred.shape[1], n_classes) + _for_masks_of_heads(pred, target)
    if exclusive and _has_axis_of_one(pred, target):
        return " {pred} has an axis of size 1 between channels and pixels: pass {pred}.squeeze(2)."
    if may_be_heads(pred, target):
        return _HEADS
    return _for_axes_or_size("{target}", target, pred) or _for_channels(
        target, pred, exclusive=exclusive, has_selectors=has_selectors
    )


def _has_axis_of_one(pred: Tensor, target: Tensor) -> bool:
    """Returns whether predictions (N, C, 1, *spatial) would fit a target without the axis."""
    if pred.ndim < 4 or pred.shape[2] != 1:
        return False
    return fits(target.shape, (*pred.shape[:2], *pred.shape[3:]))


def _are_frames(pred: Tensor, target: Any) -> bool:
    """Returns whether predictions are (N, T, C, H, W), and the target a label map (N, T, H, W)."""
    shape, size = tuple(getattr(target, "shape", ())), tuple(pred.shape)
    return len(size) == 5 and shape in ((*size[:2], *size[3:]), (*size[:2], 1, *size[3:]))


def _for_axes_or_size(what: str, tensor: Tensor, pred: Tensor) -> str:
    """Returns the remedy for axes or sizes that do not match the predictions'."""
    if _are_frames(pred, tensor):
        return _FRAMES
    return (
        _for_axes(what, tensor, pred)
        or _for_size(tensor, pred)
        or _for_flat(what, tensor, pred)
        or _for_samples(what, tensor, pred)
    )


def for_class_weights(weights: Sequence[float], channels: int) -> str:
    """Returns remedies for another number of class weights than channels."""
    if channels == 1:
        return (
            " To weight the positive class, use pos_weight, the ratio of its weight to that of the "
            "background."
        )
    if len(weights) == channels - 1:
        listed = ", ".join(f"{weight:g}" for weight in weights)
        return f" If the background's is missing, put it first: class_weights=[1, {listed}]."
    return " The order is that of the prediction's channels, background included."


def for_weight_shape(name: str, weight: Tensor, pred: Tensor) -> str:
    """Returns remedies for pixel weights whose shape does not match the predictions'."""
    if weight.ndim == 1 and len(weight) == pred.shape[1]:
        return " Weights of classes are the argument class_weights of the loss."
    if weight.ndim == 1 and len(weight) == len(pred):
        return " Weights of samples are sample_weights (in a batch, under sample_weight_key)."
    if weight.shape != pred.shape:
        return (
            _for_axes(name, weight, pred)
            or _for_flat(name, weight, pred)
            or _for_weight_size(name, weight, pred)
        )
    return (
        " Softmax takes one weight per pixel: use class_weights for weights of classes, or take "
        f"the weight of each pixel's class, {name}.gather(1, {{target}}.unsqueeze(1))."
    )


def _for_weight_size(name: str, weight: Tensor, pred: Tensor) -> str:
    """Returns the remedy for weights (N, 1, *spatial) of another size than the predictions."""
    if weight.ndim != pred.ndim or tuple(weight.shape[:2]) != (len(pred), 1):
        return ""
    return f" Resize the weights: F.interpolate({name}, {tuple(pred.shape[2:])})."


def for_sample_weights(weights: Tensor, pred: Tensor) -> str:
    """Returns remedies for weights of samples that are not (N,)."""
    samples = pred.shape[0]
    if weights.ndim > 1 and weights.numel() == samples == weights.shape[0]:
        return " Weights of samples have one axis: pass sample_weights.flatten()."
    if weights.ndim == 0:
        return " One weight for all samples changes nothing: leave sample_weights out."
    if weights.ndim == 1 and weights.shape[0] == pred.shape[1]:
        return " Weights of classes are class_weights and region_class_weights."
    if weights.ndim > 2 and weights.shape[2:] == pred.shape[2:]:
        return " Weights of pixels are pixel_weights (in a batch, under weight_key)."
    return ""


def for_mask_shape(what: str, tensor: Tensor, pred: Tensor) -> str:
    """Returns remedies for maps or masks that must have the shape of the predictions."""
    channels = pred.shape[1]
    if channels == 1 and tensor.shape == (len(pred), *pred.shape[2:]):
        return f" {what} lacks the axis of channels: pass {what}.unsqueeze(1)."
    if tensor.shape in _label_map_shapes(pred):
        labels = f"{what}.squeeze(1)" if tensor.ndim == pred.ndim else what
        one_hot = f"pass F.one_hot({labels}.long(), {channels}).movedim(-1, 1)."
        heads = _for_masks_of_heads(pred, tensor)
        return f" A label map is not one mask per channel: {one_hot}{heads}"
    if may_be_heads(pred, tensor):
        return _HEADS
    return _for_axes_or_size(what, tensor, pred) or _for_channels(tensor, pred, exclusive=False)


def for_label_map_shape(target: Tensor, pred: Tensor) -> str:
    """Returns remedies for targets that must be label maps (N, *spatial)."""
    if target.shape == pred.shape:
        return " One-hot masks are not a label map: pass {target}.argmax(1)."
    return for_target_shape(target, pred, pred.shape[1], exclusive=True)


def for_device(tensor: Tensor, pred: Tensor) -> str:
    """Returns the remedy for a tensor on another device than the predictions."""
    move = f"move it with .to({str(pred.device)!r})"
    if pred.is_cpu and not tensor.is_meta:
        return f"{move}, or the network to {tensor.device}"
    return move


def _levels(values: Tensor) -> list[float]:
    """Returns the distinct values in order."""
    return sorted({float(value) for value in torch.unique(values.detach()).tolist()})


def _are_whole(levels: Sequence[float]) -> bool:
    return all(level.is_integer() for level in levels)


def _are_near_whole(values: Tensor) -> bool:
    """Returns whether values differ from whole numbers by rounding."""
    slack = rounding_slack(torch.float32) * values.abs().clamp(min=1)
    return bool(((values - values.round()).abs() <= slack).all())


def _are_grey_levels(levels: Sequence[float], classes: int) -> bool:
    """Returns whether labels look like the pixels of an image of 8 bits, such as 0 and 255."""
    if levels[0] < 0 or not max(_GREY, classes) <= levels[-1] <= _WHITE:
        return False
    if classes == 2 and len([level for level in levels if level > 0]) == 1:
        return True
    return len([level for level in levels if level >= max(_GREY, classes)]) > 1


def _is_marker(level: float, classes: int) -> bool:
    """Returns whether a label looks like a mark of pixels to leave out, such as 255 or -100."""
    return level < 0 or level >= max(_GREY, classes + 1)


def _if(*causes: str) -> str:
    """Returns the sentence of causes with their remedies."""
    return f" I{'; i'.join(f'f {cause}' for cause in causes)}."


def _ignoring(marker: float, ignore_index: IgnoreIndex, target: Tensor) -> str:
    """Returns the remedy for a marker, which depends on the markers that the loss has already."""
    if ignore_index is None:
        return f"set ignore_index={marker:g}"
    known = values_of(ignore_index)
    present = _present(known, target)
    if present:
        return f"give them the value {present[0]}, which is left out already"
    values = "the value" if len(known) == 1 else "the values"
    return f"set ignore_index={marker:g}, since no pixel has {values} {_listed(known)}"


def _several_markers(markers: Sequence[float], ignore_index: IgnoreIndex, target: Tensor) -> str:
    """Returns the cause and the remedy for several markers of pixels to leave out."""
    present = _present(values_of(ignore_index), target)
    every = ", ".join(f"{level:g}" for level in sorted({*markers, *present}))
    return f"{_listed(markers)} mark pixels to leave out, set ignore_index=[{every}]"


def _present(values: Sequence[int], target: Tensor) -> list[int]:
    """Returns the values that a target holds."""
    return [value for value in values if bool(equals_any(target, (value,)).any())]


def _listed(values: Sequence[float]) -> str:
    return " and ".join(f"{value:g}" for value in values)


def _more_classes(label: float) -> str:
    """Returns the remedy for a label that is a class, though the loss has fewer classes."""
    return f"the network needs {label + 1:g} output channels (n_classes={label + 1:g})"


def _for_one_label(label: float, levels: Sequence[float], classes: int, ignoring: str) -> str:
    """Returns remedies for a label map with one label that is not a class."""
    causes = []
    if label == classes and levels[0] > 0:
        causes.append("labels start at 1, subtract 1, {target} - 1")
    if not _is_marker(label, classes):
        causes.append(f"{label:g} is a class, {_more_classes(label)}")
    causes.append(f"{label:g} marks pixels to leave out, {ignoring}")
    if _GREY <= label <= _WHITE and set(levels) <= {0, label}:
        causes.append("it is a grey level of an image, map each level to the index of its class")
    return _if(*causes)


def _for_grey_labels(levels: Sequence[float], classes: int) -> str:
    """Returns remedies for labels that look like grey levels."""
    high = levels[-1]
    if classes == 2 and len(levels) <= 2:
        return f" These look like an image of black and white: divide it, {{target}} // {high:g}."
    if classes == 2:
        return " These look like grey levels of an image: threshold it, {target} > 127."
    return (
        " These look like grey levels of an image: map each level to the index of its class, 0 to "
        f"{classes - 1}."
    )


def _for_grey_masks(levels: Sequence[float], can_ignore: bool) -> str:
    """Returns remedies for masks that look like images of 8 bits."""
    divisor = levels[-1] if levels[-1] > _WHITE or len(levels) <= 2 else _WHITE
    text = (
        f" Masks are in [0, 1], but these look like an image: divide it, {{target}} / {divisor:g}."
    )
    if len(levels) != 3 or levels[0] != 0 or not can_ignore:
        return text
    return text + _if(
        f"{levels[1]:g} marks pixels to leave out, map the three levels to 0, 255 and 1 instead, "
        "and set ignore_index=255"
    )


def _for_soft_masks(low: float, high: float) -> str:
    """Returns remedies for soft masks that are not in [0, 1]."""
    if low >= -0.5 and high <= 1.5:
        return " Bicubic interpolation can leave [0, 1]: clamp its result, {target}.clamp(0, 1)."
    if low >= 0 and _GREY <= high <= _WHITE + 0.5:
        return " Masks are in [0, 1], but these look like an image: divide it, {target} / 255."
    if low < 0 < high:
        return _if(
            "these are logits, the predictions come first and the target second",
            "masks went through the normalisation of images, normalise images only",
        )
    return ""


def _label_map_shapes(pred: Tensor) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return (len(pred), *pred.shape[2:]), (len(pred), 1, *pred.shape[2:])


def _for_axes(what: str, tensor: Tensor, pred: Tensor) -> str:
    """Returns the remedy for axes that are missing or in another order."""
    samples, channels, *spatial = pred.shape
    shape, size = tuple(tensor.shape), tuple(spatial)
    if pred.ndim > 3 and shape in _channels_first(pred.shape):
        return " The channels of {pred} are last: pass {pred}.movedim(-1, 1)."
    if shape == (samples, 1, channels, *size):
        return " {pred} lacks the axis of channels: pass {pred}.unsqueeze(1)."
    if pred.ndim == 3 and shape == (channels, *size):
        return _NO_BATCH
    if samples == 1 and shape in (size, (channels, *size)):
        return f" {what} lacks the batch dimension: pass {what}[None]."
    if len(shape) > 3 and shape[:-1] == (samples, *size):
        return _for_channels_last(what, tensor, pred)
    for axis in range(1, len(shape)):
        rest = (*shape[:axis], *shape[axis + 1 :])
        if len(shape) == pred.ndim + 1 and shape[axis] == 1 and fits(rest, pred.shape):
            return f" {what} has an axis of size 1 too many: pass {what}.squeeze({axis})."
    swapped = (*size[:-2], *size[:-3:-1])
    if size != swapped == shape[-len(size) :]:
        return f" Height and width of {what} are swapped: pass {what}.mT."
    return _for_order(what, shape, size)


def _for_order(what: str, shape: Sequence[int], size: Sequence[int]) -> str:
    """Returns the remedy for spatial axes in another order, such as (N, H, W, D)."""
    leading, found = tuple(shape[: -len(size)]), shape[-len(size) :]
    if len(size) != 3 or len(shape) < 4 or len(set(size)) < 3 or sorted(found) != sorted(size):
        return ""
    axes = [found.index(each) + len(leading) for each in size]
    order = (*range(len(leading)), *axes)
    return f" The spatial axes of {what} are in another order: pass {what}.permute{order}."


def _for_masks_of_heads(pred: Tensor, target: Tensor) -> str:
    """Returns the remedy for stacked heads whose masks look like a label map of 0 and 1."""
    if not may_be_heads(pred, target) or is_traced() or target.is_meta:
        return ""
    return _HEADS if all(0 <= level <= 1 for level in _levels(target)) else ""


def _channels_first(shape: Sequence[int]) -> list[tuple[int, ...]]:
    """Returns the shapes of labels and masks for predictions (N, *spatial, C)."""
    samples, *size, channels = shape
    return [(samples, *size), (samples, 1, *size), (samples, channels, *size)]


def _for_channels_last(what: str, tensor: Tensor, pred: Tensor) -> str:
    """Returns the remedy for a tensor (N, *spatial, K)."""
    last = tensor.shape[-1]
    if last in _COLOUR_CHANNELS and last != pred.shape[1] and _are_colours(tensor):
        return _COLOURS
    return f" The channels of {what} are last: pass {what}.movedim(-1, 1)."


def _are_colours(tensor: Tensor) -> bool:
    """Returns whether values exceed 1, as in an image of 8 bits."""
    if is_traced() or tensor.is_meta or tensor.numel() == 0:
        return False
    return float(tensor.max()) > 1


def _are_colours_of_classes(target: Tensor) -> bool:
    """Returns whether a dense target (N, C, ...) looks like an image, not like one-hot masks."""
    if target.shape[1] not in _COLOUR_CHANNELS:
        return False
    return not bool((target.sum(1) == target.max()).all())


def _for_label_map(channels: int, n_classes: int) -> str:
    """Returns remedies for a label map beside sigmoid channels."""
    exclusive = "activation='softmax'" if n_classes == channels else f"n_classes={channels}"
    return " Channels are independent with sigmoid." + _if(
        f"classes exclude each other, set {exclusive}",
        "each channel is one class against the rest, set activation='sigmoid'",
        "neither, pass one mask per channel",
    )


def _for_size(target: Tensor, pred: Tensor) -> str:
    """Returns the remedy for predictions and targets of different sizes."""
    channels, dims = pred.shape[1], pred.ndim - 2
    size = tuple(target.shape[-dims:])
    if target.ndim not in (pred.ndim - 1, pred.ndim) or size == tuple(pred.shape[2:]):
        return ""
    if target.ndim == pred.ndim and target.shape[1] not in (1, channels):
        last = target.shape[-1] in (1, 3, 4, channels)
        return _for_channels_last("{target}", target, pred) if last else ""
    if len(target) != len(pred):
        return ""
    return (
        f" Resize the predictions, not the labels: F.interpolate({{pred}}, {size}, "
        f"mode={_MODES[pred.ndim]!r})."
    )


def _for_flat(what: str, tensor: Tensor, pred: Tensor) -> str:
    """Returns the remedy for a tensor whose pixels are in one axis."""
    samples, _, *spatial = pred.shape
    pixels = math.prod(spatial)
    shapes = {
        (samples, pixels): (samples, *spatial),
        (samples, 1, pixels): (samples, *spatial),
        (samples * pixels,): (samples, *spatial),
        (samples, pred.shape[1], pixels): tuple(pred.shape),
    }
    shape = shapes.get(tuple(tensor.shape))
    return "" if shape is None else f" The pixels of {what} are flat: pass {what}.reshape({shape})."


def _for_samples(what: str, tensor: Tensor, pred: Tensor) -> str:
    """Returns the remedy for another number of samples than the predictions have."""
    same_rest = [tuple(pred.shape[1:]), tuple(pred.shape[2:]), (1, *pred.shape[2:])]
    if tensor.ndim == 0 or len(tensor) == len(pred) or tuple(tensor.shape[1:]) not in same_rest:
        return ""
    return (
        f" {{pred}} has {counted(len(pred), 'sample')}, but {what} {len(tensor)}: pass both from "
        "the same batch, with a sample for each prediction."
    )


def _for_channels(
    target: Tensor, pred: Tensor, *, exclusive: bool, has_selectors: bool = False
) -> str:
    """Returns remedies for a dense target with another number of channels."""
    if target.ndim != pred.ndim or (len(target), *target.shape[2:]) != (len(pred), *pred.shape[2:]):
        return ""
    found, expected = target.shape[1], pred.shape[1]
    if found in _COLOUR_CHANNELS and _are_colours(target):
        return _COLOURS
    if found > expected and exclusive:
        return _if(
            f"all channels are classes, {_more_classes(found - 1)}",
            "not, take the channels that it predicts, {target}[:, [...]]"
            f"{_selector('gt', '[...]', has_selectors)}",
        )
    if found > expected:
        channels = "1:" if found == expected + 1 else "[...]"
        return (
            f" Take the channels that the network predicts, {{target}}[:, {channels}]"
            f"{_selector('gt', channels, has_selectors)}; the first channel of one-hot masks is "
            "the background."
        )
    if exclusive and found == expected - 1:
        return (
            " With softmax, the target needs the background's channel, too: pass "
            "torch.cat([1 - {target}.sum(1, keepdim=True), {target}], 1)."
        )
    return (
        " Take the channels that the target has, {pred}[:, [...]]"
        f"{_selector('pred', '[...]', has_selectors)}; with softmax, the target needs the "
        "background's channel, too."
    )


def _selector(of: str, channels: str, has_selectors: bool) -> str:
    """Returns the words for a selector, if the loss has one."""
    value = repr(channels) if channels.endswith(":") else channels
    return (
        f", or use the channel selectors ({of}_channel_selector={value})" if has_selectors else ""
    )
