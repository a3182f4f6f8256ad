"""The base class of transforms that compute maps of a mask."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

import torch
from torch import Tensor

from segloss.batch.keys import MissingKeyError
from segloss.batch.remedies import for_fractions, named
from segloss.batch.shape_checks import check_real
from segloss.batch.value_checks import check_labels_are_classes
from segloss.foundation.arguments import ChecksKeywords, check_integer, check_text, shown
from segloss.foundation.ignore_index import check_ignore_index, values_of
from segloss.foundation.map_libraries import Array, library

_FEW = 4
"""The least number of channels up to which a volume is taken for one-hot masks if it looks so."""

_IGNORED = -1
"""The label of ignored pixels in what `compute` gets."""


class MapTransform(ChecksKeywords):
    """A transform that adds maps (C, *spatial) of a mask (*spatial).

    A subclass defines `compute`.

    Args:
        mask_key: The name of the mask among the keywords.
        out_key: The name of the maps in the result.

    The mask is a label map (H, W) or (D, H, W) of whole numbers: a NumPy array, or a tensor on the
    CPU, of any dtype. The maps are an array if the mask is an array, otherwise a tensor.

    Raises:
        TypeError, ValueError: An argument is wrong; later, the mask is not a label map.
        MissingKeyError: There is no mask.
        ImportError: A library is not installed.
    """

    def __init__(self, mask_key: str, out_key: str) -> None:
        self.mask_key = check_text("mask_key", mask_key)
        self.out_key = check_text("out_key", out_key)
        if mask_key == out_key:
            raise ValueError(f"out_key must not be mask_key, {mask_key!r}: the mask would be lost.")

    def __call__(self, *samples: Any, **data: Any) -> dict[str, Any]:
        """Returns the keywords, with the maps added under `out_key`.

        Raises:
            TypeError: Something is passed without a keyword, or the mask is not an array or tensor.
            ValueError: The mask is not a label map.
            MissingKeyError: There is no mask.
        """
        if samples:
            remedy = "**sample" if isinstance(samples[0], Mapping) else f"{self.mask_key}=..."
            raise TypeError(
                f"{type(self).__name__}() takes keywords, such as {self.mask_key}=..., got "
                f"{shown(samples[0])}: pass {remedy}."
            )
        mask = data.get(self.mask_key)
        if mask is None:
            present = ", ".join(repr(key) for key in data) or "none"
            raise MissingKeyError(
                f"{type(self).__name__} needs the mask as {self.mask_key}=...; the keywords were: "
                f"{present}. Set mask_key= to the name of yours."
            )
        labels = self.checked(_label_map(mask, self.mask_key, self.most_channels))
        maps = self.compute(labels)
        return {**data, self.out_key: torch.from_numpy(maps) if isinstance(mask, Tensor) else maps}

    @property
    def most_channels(self) -> int:
        """The number of channels that one-hot masks of this transform's classes may have."""
        return _FEW

    def checked(self, labels: Array) -> Array:
        """Returns the labels for `compute`, after checking them."""
        return labels

    @abstractmethod
    def compute(self, labels: Array) -> Array:
        """Returns the maps `(C, *spatial)` of a label map `(*spatial)`."""
        raise NotImplementedError(f"{type(self).__name__} must define compute().")


class MaskMap(MapTransform):
    """A transform that adds maps (C, *spatial) of a mask, one per class.

    A subclass defines `compute`.

    Args:
        n_classes: The number of classes. For 2, there is one map, for the foreground; for more,
            there is one for each class, including the background (0).
        mask_key: The name of the mask among the keywords.
        out_key: The name of the maps in the result.
        ignore_index: The label of ignored pixels, such as 255, or a list of them, as in the loss.
            These pixels do not belong to a class, and `compute` gets -1 for them. None: no label is
            ignored.

    Raises:
        TypeError, ValueError, MissingKeyError, ImportError: As for `MapTransform`; or a label is
            neither a class, 0 to `n_classes` - 1, nor ignored.
    """

    def __init__(
        self,
        n_classes: int,
        mask_key: str,
        out_key: str,
        ignore_index: int | Sequence[int] | None = None,
    ) -> None:
        super().__init__(mask_key, out_key)
        self.n_classes = check_integer("n_classes", n_classes, 2)
        self.ignore_index = check_ignore_index(ignore_index)

    @property
    def most_channels(self) -> int:
        """The number of channels that one-hot masks of this transform's classes may have."""
        return max(_FEW, self.n_classes)

    def checked(self, labels: Array) -> Array:
        """Returns the labels, -1 for ignored pixels; raises ValueError if one is not a class."""
        numpy = library("numpy")
        ignored = numpy.isin(labels, values_of(self.ignore_index))
        kept = labels[~ignored]
        if kept.size and not 0 <= kept.min() <= kept.max() < self.n_classes:
            tensors = torch.from_numpy(labels.astype(numpy.int64)), torch.from_numpy(~ignored)
            check_labels_are_classes(*tensors, self.mask_key, self.n_classes, self.ignore_index)
        return numpy.where(ignored, _IGNORED, labels.astype("int32")) if ignored.any() else labels

    def class_labels(self) -> Sequence[int]:
        """Returns the classes that have a map."""
        return [1] if self.n_classes == 2 else range(self.n_classes)

    def zeros(self, labels: Array) -> Array:
        """Returns maps of zeros."""
        numpy = library("numpy")
        return numpy.zeros((len(self.class_labels()), *labels.shape), dtype=numpy.float32)


def _label_map(mask: Any, name: str, most_channels: int) -> Array:
    """Returns the mask as an array (H, W) or (D, H, W) of whole numbers."""
    numpy = library("numpy")  # first: without it, `Tensor.numpy` fails too
    if isinstance(mask, Tensor):
        check_real(mask, name)
        if mask.device.type != "cpu":
            raise ValueError(f"{name} must be on the CPU, got {mask.device}: pass {name}.cpu().")
        if mask.dtype == torch.bfloat16:
            raise TypeError(
                f"{name} must have a dtype that NumPy has, got bfloat16: pass {name}.float()."
            )
        mask = mask.detach().numpy()
    if not isinstance(mask, numpy.ndarray):
        raise TypeError(
            f"{name} must be a NumPy array or a tensor, got {type(mask).__name__}: "
            f"{_reading(mask, name)}."
        )
    channels = _one_hot_axis(mask, most_channels)
    if channels is not None:
        raise ValueError(
            f"{name} must be a label map (H, W) or (D, H, W), got one-hot masks {mask.shape}: pass "
            f"{name}.argmax({channels})."
        )
    if mask.ndim not in (2, 3) or (mask.ndim == 3 and 1 in (mask.shape[0], mask.shape[-1])):
        raise ValueError(
            f"{name} must be a label map (H, W) or (D, H, W), without a channel axis, got "
            f"{mask.shape}{_axis_remedy(mask, name)}."
        )
    if mask.dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold numbers, got {mask.dtype}.")
    if mask.dtype.kind == "f" and not numpy.array_equal(mask, numpy.round(mask)):
        raise ValueError(
            f"{name} must hold whole numbers, the classes, got fractions or NaN."
            f"{named(for_fractions(torch.from_numpy(mask.astype(float))), name, name)}"
        )
    return mask


def _reading(mask: Any, name: str) -> str:
    """Returns the remedy for a mask that is not an array."""
    if isinstance(mask, (str, bytes, PathLike)):
        return f"read the image, numpy.asarray(PIL.Image.open({name}))"
    return f"pass numpy.asarray({name}), if it holds the labels"


def _one_hot_axis(mask: Array, most_channels: int) -> int | None:
    """Returns the axis of channels of one-hot masks; None for anything else.

    A volume with so few slices hardly has just one pixel of foreground in each of its columns,
    unless the slices are as small.
    """
    if mask.ndim not in (3, 4) or mask.dtype.kind not in "biuf":
        return None
    for axis, others in ((0, mask.shape[1:]), (-1, mask.shape[:-1])):
        is_image = mask.ndim == 4 or min(others) > most_channels
        if is_image and 2 <= mask.shape[axis] <= most_channels and _is_one_hot(mask, axis):
            return axis
    return None


def _is_one_hot(mask: Array, axis: int) -> bool:
    return bool(((mask == 0) | (mask == 1)).all() and (mask.sum(axis) == 1).all())


def _axis_remedy(mask: Array, name: str) -> str:
    """Returns the remedy for a mask of another number of dimensions."""
    shape = mask.shape
    if mask.ndim > 3 and shape[0] > 1:
        channels = f"; if the last axis is of channels, pass {name}.squeeze(-1)"
        is_volume = mask.ndim == 4 and shape[-1] == 1
        return f": if this is a batch, make the map of each sample{channels if is_volume else ''}"
    if mask.ndim > 3 and shape[:2] == (1, 1):
        return f": remove these axes with {name}.squeeze((0, 1))"
    if mask.ndim > 2 and 1 in (shape[0], shape[-1]):
        return f": remove the axis with {name}.squeeze({0 if shape[0] == 1 else -1})"
    return ""
