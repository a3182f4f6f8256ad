"""Turns the content of a file, or an array, into a mask of whole numbers, and checks it.

The meaning of the numbers, such as classes or the ignored value, is left to `classes.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segloss.tools.suggest.files import Content
from segloss.tools.suggest.pixels import one_hot
from segloss.tools.suggest.pixels.colours import is_colour, number_of, numbers_of_pixels
from segloss.tools.suggest.tiles import largest_change, longest_first, numbers_of, tiles

Mask = NDArray[np.integer[Any]]
"""Whole numbers within 32 bits, (*spatial), or (channels, *spatial) with one file per class."""

MOST_LABELS = 256
"""A mask with more different numbers than this is taken for an image, unless regions are solid."""

_SUSPICIOUS_LABELS = 32
_SUSPICIOUS_CHANGE = 0.5
"""A mask with more labels than the first number, and with a larger share of neighbours that differ
than the second, is taken for an image. In most label maps, fewer than one in ten differ."""

_SPREAD_LABELS, _MANY, _SPREAD_CHANGE = 64, 16, 0.2
"""With more labels than the first number, of which the second number has less than half of the
pixels, fewer neighbours may differ."""

_SOLID_CHANGE = 0.3
"""With more labels than `MOST_LABELS`, such as numbered objects, fewer neighbours may differ."""

_ROUNDING = 1e-3
"""Labels that were scaled, as in NIfTI, are at most this far from a whole number."""

_SOFT = (
    "for a soft mask of one class, set values='soft' (--values soft), which takes the upper half "
    "of the range"
)
_ARGMAX = "of scores or probabilities of several classes, take the argmax"

WHITE, HALF = 255, 127
"""The range of a soft mask after reading: its foreground lies above the second number."""


class ImageError(ValueError):
    """The content is an image, not a mask."""


@dataclass(frozen=True)
class Reading:
    """The way to read masks.

    Attributes:
        least: The smallest valid number: 0, or an ignore value below it.
        soft: True: numbers between two ends are read as 0 to `WHITE`.
        as_colours: True: a palette's colours are read in place of its indices.
        is_volume: True: the axes of an array are spatial, even if they look like classes.
        is_mask: True: it is a mask, even if it looks like an image.
    """

    least: int = 0
    soft: bool = False
    as_colours: bool = False
    is_volume: bool = False
    is_mask: bool = False


@dataclass(frozen=True)
class Loaded:
    """A mask, with the findings of the reader.

    Attributes:
        mask: The mask.
        one_hot: True if the file is a one-hot array.
        palette: The colour of each index that the mask holds, as a number; empty without a palette.
        lossy: True if the compression of the file changes numbers.
    """

    mask: Mask
    one_hot: bool = False
    palette: dict[int, int] = field(default_factory=dict)
    lossy: bool = False


def load_mask(content: Content, how: Reading) -> Loaded:
    """Returns the mask in the content of a file.

    Raises:
        ValueError: The content is an image, has fractions, or holds a number below `least`.
    """
    array = content.array
    if array.size == 0:
        raise ValueError("it has no pixels")
    if content.palette is not None and how.as_colours:
        array, content = content.palette[array], Content(array, colour=True)
    if _is_colour_image(array, content.colour):
        array = numbers_of_pixels(array)
    array, is_one_hot = _without_classes_axis(array, content.colour, how)
    if not 1 <= array.ndim <= 3:
        raise ValueError(
            f"it must have one to three dimensions, but has the shape {array.shape}: save each "
            "volume or time step in its own file, and classes as one label map or one-hot"
        )
    mask = _as_grey(array) if how.soft else _as_whole(array)
    if not how.is_mask:
        _check_not_image(mask)
    _check_least(mask, how.least)
    return Loaded(mask, is_one_hot, _used(content.palette, mask), content.lossy)


def content_of(array: Any) -> Content:
    """Returns an array, or a tensor, as a content that does not say what its axes are.

    Raises:
        ValueError: It is several arrays, such as an image and its mask, or holds no numbers.
    """
    if isinstance(array, Tensor):
        array = _dense(array)
    try:
        found = np.asarray(None if isinstance(array, tuple) else array)
    except (TypeError, ValueError):  # several arrays of different shapes
        found = np.asarray(None)
    if found.dtype == object:
        raise ValueError(
            f"it must be an array, but is a {type(array).__name__}: pass the masks alone, for "
            "example (mask for image, mask in dataset)"
        )
    return Content(found)


def _dense(tensor: Tensor) -> Tensor:
    """Returns a tensor that NumPy can read."""
    if tensor.is_meta:
        raise ValueError("it is a meta tensor, which has no numbers: pass a tensor on a device")
    tensor = tensor.detach().to_dense().cpu()
    return tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor


def _is_colour_image(array: NDArray[Any], colour: bool | None) -> bool:
    if colour is not None or array.ndim < 3:
        return bool(colour)
    is_one_hot = one_hot.class_axis(array, may_lack_background=False) is not None
    return array.shape[-1] in (3, 4) and array.dtype == np.uint8 and not is_one_hot


def _without_classes_axis(
    array: NDArray[Any], colour: bool | None, how: Reading
) -> tuple[NDArray[Any], bool]:
    """Returns the labels of a one-hot array, and whether it is one; other arrays stay."""
    if (
        array.ndim in (3, 4)
        and array.shape.count(1) == 1
        and 1 in (array.shape[0], array.shape[-1])
    ):
        array = array.squeeze()
    if how.is_volume and array.ndim <= 3:
        return array, False
    says_nothing = colour is None or array.ndim == 4
    axis = one_hot.class_axis(array, may_lack_background=says_nothing)
    if axis is not None:
        return one_hot.labels_of(array, axis), True
    if colour is None and one_hot.may_be_classes(array):
        raise ValueError(
            f"its shape {array.shape} is that of a few slices, or of a few classes that overlap: "
            "set layout='classes' (--layout classes) for a class in each channel, or "
            "layout='labels' (--layout labels) for a volume"
        )
    return array, False


def _used(palette: NDArray[Any] | None, mask: Mask) -> dict[int, int]:
    if palette is None:
        return {}
    indices = [int(i) for i in numbers_of(mask)[0] if i < len(palette)]
    return {index: number_of(palette[index]) for index in indices}


def _as_whole(array: NDArray[Any]) -> Mask:
    """Returns the numbers as integers of as few bytes as they need; integers stay as they are."""
    if array.dtype.kind not in "biuf":
        raise ValueError(f"it must hold numbers, but holds {array.dtype}")
    if array.dtype.kind == "f":
        _check_whole(array)
    low, high = round(float(array.min())), round(float(array.max()))
    if max(abs(low), abs(high)) > np.iinfo(np.int32).max:
        raise ValueError(f"it holds {array.max():g}, which is not a label")
    if array.dtype.kind in "iu" and array.dtype.isnative and array.dtype.itemsize <= 4:
        return array
    mask = np.empty(array.shape, np.result_type(np.min_scalar_type(low), np.min_scalar_type(high)))
    for lines in tiles(array):
        mask[lines] = np.rint(array[lines])
    return mask


def _check_least(mask: Mask, least: int) -> None:
    """Raises ValueError for labels below the smallest valid number."""
    if mask.min() >= least:
        return
    below = [value for value in numbers_of(longest_first(mask))[0].tolist() if value < least]
    if len(below) > 1:
        raise ValueError(
            f"it holds {len(below)} numbers below 0, from {below[0]} on, but labels count from 0: "
            "pass the folder of the masks"
        )
    raise ValueError(
        f"it holds {below[0]}, but labels count from 0: if this marks pixels to leave out, "
        f"set ignore_index={below[0]} (--ignore-index {below[0]})"
    )


def _check_whole(array: NDArray[Any]) -> None:
    for lines in tiles(array):
        part = array[lines]
        if not np.isfinite(part).all():
            raise ValueError(
                "it holds NaN or infinity, but labels are whole numbers: if these pixels are to be "
                "left out, save them as 255, for example by numpy.nan_to_num(mask, nan=255)"
            )
        fractions = part[np.abs(part - np.rint(part)) > _ROUNDING]
        if fractions.size:
            is_soft = array.min() >= 0 and array.max() <= 1
            remedy = f"{_SOFT}; {_ARGMAX}" if is_soft else f"{_ARGMAX}; {_SOFT}"
            raise (ValueError if is_soft else ImageError)(
                f"it holds fractions, such as {fractions[0]:.4g}, but labels are whole numbers: "
                f"{remedy}"
            )


def _as_grey(array: NDArray[Any]) -> Mask:
    """Returns a soft mask in 0 to `WHITE`; its own white is 1, 255 or the end of 16 bits."""
    if array.dtype.kind not in "biuf" or (array.dtype.kind == "f" and not np.isfinite(array).all()):
        raise ValueError("a soft mask must hold finite numbers")
    low, high = float(array.min()), float(array.max())
    if low < 0 or high > 65535 or is_colour(int(high)):
        raise ValueError(
            f"a soft mask must be grey, from 0 to 1, 255 or 65,535, but holds {low:g} to {high:g}"
        )
    white = next(end for end in (1, 255, 65535) if high <= end)
    mask = np.empty(array.shape, np.uint8)
    for lines in tiles(array):
        mask[lines] = np.rint(array[lines].astype(np.float64) * (WHITE / white))
    return mask


def _check_not_image(mask: Mask) -> None:
    mask = longest_first(mask)
    values, pixels = numbers_of(mask)
    count = len(values)
    if count <= _SUSPICIOUS_LABELS:
        return
    change = largest_change(mask)
    if count > MOST_LABELS:
        is_image = change > _SOLID_CHANGE or is_colour(int(values[-1]))
    else:
        spread = count > _SPREAD_LABELS and np.sort(pixels)[-_MANY:].sum() < mask.size / 2
        is_image = change > (_SPREAD_CHANGE if spread else _SUSPICIOUS_CHANGE)
    if is_image:
        raise ImageError(_image_text(values, change))


def _image_text(values: NDArray[Any], change: float) -> str:
    count = len(values)
    if not is_colour(int(values[-1])):
        return (
            f"it is an image, not a mask: it holds {count} different numbers, and from one pixel "
            f"to the next they change {change:.0%} of the time"
            + (f" ({_SOFT})" if values[0] >= 0 and values[-1] <= WHITE else "")
        )
    if count > MOST_LABELS:
        return f"it is a colour image, not a mask: it has {count:,} colours"
    return (
        f"it is a colour image, of {count} colours, which change from one pixel to the next "
        f"{change:.0%} of the time: masks have few colours in solid regions"
    )
