"""One-hot arrays: a channel of 0 and 1 for each class, on the first axis or on the last."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST_CHANNELS = 256
_MOST_WITHOUT_BACKGROUND = 16
_LONGER = 4
"""Spatial sides are longer than the axis of classes without a background by this factor."""

_AMBIGUOUS = 4
"""An axis of two to this many binary slices may as well hold classes."""


def class_axis(array: NDArray[Any], *, may_lack_background: bool) -> int | None:
    """Returns the axis of the classes of a one-hot array, 0 or -1; None if it is not one-hot.

    Along that axis, each pixel has exactly one 1. Without a channel for the background, some pixels
    have none; then every channel holds a class, and sides are much longer than the axis.
    """
    if array.ndim not in (3, 4) or not _is_binary(array):
        return None
    for axis in (0, -1):
        count = array.shape[axis]
        if 2 <= count <= MOST_CHANNELS:
            ones = np.count_nonzero(array, axis=axis)
            if (ones == 1).all() or (
                may_lack_background and ones.max() == 1 and _holds_classes(array, axis)
            ):
                return axis
    return None


def labels_of(array: NDArray[Any], axis: int) -> NDArray[Any]:
    """Returns the labels of a one-hot array; without a background's channel, it gets label 0."""
    marked = np.moveaxis(array, axis, 0) != 0
    labels: NDArray[Any] = marked.argmax(0)
    if not marked.any(0).all():
        labels = np.where(marked.any(0), labels + 1, 0)
    smallest: NDArray[Any] = labels.astype(np.uint16 if len(marked) > 255 else np.uint8)
    return smallest


def may_be_classes(array: NDArray[Any]) -> bool:
    """Returns whether a 3D array is as likely a few classes that overlap as a few slices."""
    if array.ndim != 3 or not _is_binary(array):
        return False
    first, *middle, last = array.shape
    sides = sorted((first, *middle, last))
    return (
        2 <= min(first, last) == sides[0] <= _AMBIGUOUS
        and sides[1] >= 4 * sides[0]
        and bool(array.any())
    )


def _is_binary(array: NDArray[Any]) -> bool:
    if array.dtype == bool:
        return True
    if array.dtype.kind not in "iuf":
        return False
    high = array.max()
    return bool(high > 0 and array.min() == 0 and ((array == 0) | (array == high)).all())


def _holds_classes(array: NDArray[Any], axis: int) -> bool:
    """Returns whether every channel holds something, and there are few for the sides."""
    channels = np.moveaxis(array, axis, 0)
    count = len(channels)
    return (
        count <= _MOST_WITHOUT_BACKGROUND
        and _LONGER * count <= min(channels.shape[1:])
        and all(channel.any() for channel in channels)
    )
