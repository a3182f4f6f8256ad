"""Transforms for the data loader that compute the maps of some losses: distances and skeletons.

They work like Albumentations' transforms: called with keywords, they return the keywords and one
more entry. Run them on the CPU, after all transforms that bend, crop or scale the mask. They need
NumPy, SciPy and scikit-image: `pip install "pytorch-segloss[maps]"`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from segloss.batch.keys import MissingKeyError
from segloss.batch.remedies import for_fractions
from segloss.batch.shape_checks import check_real
from segloss.foundation.arguments import as_python, check_integer, check_number, check_text, is_list

Array = Any
"""A NumPy array."""


class MaskMap:
    """A transform that adds maps (C, *spatial) of a mask, one per class.

    A subclass defines `compute`.

    Args:
        n_classes: The number of classes. For 2, there is one map, for the foreground; for more,
            there is one for each class, including the background (0).
        mask_key: The name of the mask among the keywords.
        out_key: The name of the maps in the result.

    The mask is a label map (H, W) or (D, H, W) of whole numbers: a NumPy array, or a tensor on the
    CPU, of any dtype. Labels outside 0 to `n_classes` - 1, such as 255, do not belong to a class.
    The maps are float32: an array if the mask is an array, otherwise a tensor.

    Raises:
        TypeError, ValueError: An argument is wrong; later, the mask is not a label map.
        MissingKeyError: There is no mask.
        ImportError: A library is not installed.
    """

    def __init__(self, n_classes: int, mask_key: str, out_key: str) -> None:
        self.n_classes = check_integer("n_classes", n_classes, 2)
        self.mask_key = check_text("mask_key", mask_key)
        self.out_key = check_text("out_key", out_key)
        if mask_key == out_key:
            raise ValueError(f"out_key must not be mask_key, {mask_key!r}: the mask would be lost.")

    def __call__(self, **data: Any) -> dict[str, Any]:
        """Returns the keywords, with the maps added under `out_key`."""
        mask = data.get(self.mask_key)
        if mask is None:
            present = ", ".join(repr(key) for key in data) or "none"
            raise MissingKeyError(
                f"{type(self).__name__} needs the mask as {self.mask_key}=...; the keywords were: "
                f"{present}. Set mask_key= to the name of yours."
            )
        maps = self.compute(_label_map(mask, self.mask_key))
        return {**data, self.out_key: torch.from_numpy(maps) if isinstance(mask, Tensor) else maps}

    @abstractmethod
    def compute(self, labels: Array) -> Array:
        """Returns the maps (C, *spatial), float32, of a label map (*spatial)."""
        raise NotImplementedError(f"{type(self).__name__} must define compute().")

    def _class_labels(self) -> Sequence[int]:
        """Returns the classes that have a map."""
        return [1] if self.n_classes == 2 else range(self.n_classes)

    def _zeros(self, labels: Array) -> Array:
        """Returns maps of zeros."""
        numpy = _library("numpy")
        return numpy.zeros((len(self._class_labels()), *labels.shape), dtype=numpy.float32)


class SignedDistanceMap(MaskMap):
    r"""Adds the signed distance to the border of each class, for the boundary loss.

    .. math:: \phi(x) = \begin{cases}
        \min_{y \in G} \lVert x - y \rVert & x \notin G \\
        d - \min_{y \notin G} \lVert x - y \rVert & x \in G \end{cases}

    with G the pixels of the class and d one pixel. So the pixels inside the border are 0, pixels
    outside are at least d, and the innermost pixels have the lowest values. A class that is absent
    or fills the image has no border, and its map is 0. The edge of the image is not a border.

    Args:
        n_classes: The number of classes. 2: one map, of the foreground; more: one map for each.
        mask_key: The name of the mask among the keywords, (H, W) or (D, H, W).
        out_key: The name of the maps in the result, (C, *spatial), float32.
        spacing: The size of a pixel along each axis, or one number for all; None: 1, so that
            distances are in pixels. d is the smallest of them: with a larger d, pixels inside
            could be positive. So if pixels are not cubes, pixels inside the border are 0 only along
            the finest axis; along another they are d minus its spacing, which is below 0.

    Pixels whose label is not a class are outside every class.

    Raises:
        TypeError, ValueError: An argument is wrong; later, the mask is not a label map, or has
            another number of dimensions than `spacing`.
        MissingKeyError: There is no mask.
        ImportError: SciPy is not installed.

    Source: Kervadec et al., "Boundary loss for highly unbalanced segmentation" (2019).

    Example:
        >>> mask = torch.tensor([[0, 0, 1, 1, 1, 1, 1, 0]])
        >>> SignedDistanceMap()(mask=mask)["gt_distance_map"]
        tensor([[[ 2.,  1.,  0., -1., -2., -1.,  0.,  1.]]])
    """

    def __init__(
        self,
        n_classes: int = 2,
        *,
        mask_key: str = "mask",
        out_key: str = "gt_distance_map",
        spacing: float | Sequence[float] | None = None,
    ) -> None:
        super().__init__(n_classes, mask_key, out_key)
        self.spacing = _check_spacing(spacing)

    def compute(self, labels: Array) -> Array:
        """Returns the signed distances (C, *spatial) of a label map (*spatial)."""
        spacing = self._spacing_of(labels)
        maps = self._zeros(labels)
        for class_map, label in zip(maps, self._class_labels(), strict=True):
            inside = labels == label
            if inside.any() and not inside.all():
                class_map[:] = _signed_distance(inside, spacing)
        return maps

    def _spacing_of(self, labels: Array) -> list[float]:
        """Returns the spacing along each axis of the mask."""
        if not isinstance(self.spacing, list):
            return [self.spacing] * labels.ndim
        if len(self.spacing) != labels.ndim:
            raise ValueError(
                f"spacing must have one number per axis of {self.mask_key}, of shape "
                f"{labels.shape}: expected {labels.ndim}, got {len(self.spacing)}."
            )
        return self.spacing

    def __repr__(self) -> str:
        return f"{type(self).__name__}(n_classes={self.n_classes}, spacing={self.spacing})"


class SkeletonMap(MaskMap):
    """Adds the skeleton of the mask, a few pixels wide, for the skeleton recall loss.

    The foreground is the union of all classes except the background. Its skeleton is dilated by
    `radius` pixels, and each pixel of it keeps the class that it has in the mask. So the maps are 1
    along the middle of thin structures, and 0 elsewhere; the background's map is 0.

    Args:
        n_classes: The number of classes. 2: one map, of the foreground; more: one map for each.
        mask_key: The name of the mask among the keywords, (H, W) or (D, H, W).
        out_key: The name of the maps in the result, (C, *spatial), float32, 0 or 1.
        radius: The radius of the dilation, in steps from pixel to pixel along the axes; 0: no
            dilation. The paper uses 2.

    Pixels whose label is not a class do not count as foreground. A blob of a few pixels may have no
    skeleton.

    Raises:
        TypeError, ValueError: An argument is wrong; later, the mask is not a label map.
        MissingKeyError: There is no mask.
        ImportError: SciPy or scikit-image is not installed.

    Source: Kirchhoff et al., "Skeleton Recall Loss for connectivity conserving and resource
    efficient segmentation of thin tubular structures" (2024).

    Example:
        >>> mask = torch.zeros(9, 30, dtype=torch.uint8)
        >>> mask[:, 5:25] = 1
        >>> sample = SkeletonMap(radius=1)(mask=mask)
        >>> sample["gt_skeleton"].shape, sample["gt_skeleton"][0, :, 15]
        (torch.Size([1, 9, 30]), tensor([0., 0., 0., 1., 1., 1., 0., 0., 0.]))
    """

    def __init__(
        self,
        n_classes: int = 2,
        *,
        mask_key: str = "mask",
        out_key: str = "gt_skeleton",
        radius: int = 2,
    ) -> None:
        super().__init__(n_classes, mask_key, out_key)
        self.radius = check_integer("radius", radius, 0)

    def compute(self, labels: Array) -> Array:
        """Returns the skeletons (C, *spatial) of a label map (*spatial)."""
        maps = self._zeros(labels)
        foreground = (labels > 0) & (labels < self.n_classes)
        if not foreground.any():
            return maps
        skeleton = _skeleton(foreground, self.radius)
        for class_map, label in zip(maps, self._class_labels(), strict=True):
            class_map[:] = skeleton & foreground & (labels == label)
        return maps

    def __repr__(self) -> str:
        return f"{type(self).__name__}(n_classes={self.n_classes}, radius={self.radius})"


def _signed_distance(inside: Array, spacing: Sequence[float]) -> Array:
    numpy, distance = _library("numpy"), _library("scipy.ndimage").distance_transform_edt
    depth = numpy.maximum(distance(inside, sampling=spacing) - min(spacing), 0)
    return distance(~inside, sampling=spacing) - depth  # one of the two is 0


def _skeleton(foreground: Array, radius: int) -> Array:
    skeleton = _library("skimage.morphology").skeletonize(foreground) > 0
    if radius == 0:
        return skeleton
    return _library("scipy.ndimage").binary_dilation(skeleton, iterations=radius)


def _label_map(mask: Any, name: str) -> Array:
    """Returns the mask as an array (H, W) or (D, H, W) of whole numbers."""
    if isinstance(mask, Tensor):
        check_real(mask, name)
        if mask.device.type != "cpu":
            raise ValueError(f"{name} must be on the CPU, got {mask.device}: pass {name}.cpu().")
        if mask.dtype == torch.bfloat16:
            raise TypeError(
                f"{name} must have a dtype that NumPy has, got bfloat16: pass {name}.float()."
            )
        mask = mask.detach().numpy()
    numpy = _library("numpy")
    if not isinstance(mask, numpy.ndarray):
        raise TypeError(
            f"{name} must be a NumPy array or a tensor, got {type(mask).__name__}: "
            f"pass numpy.asarray({name}), if it holds the labels."
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
            f"{for_fractions(torch.from_numpy(mask.astype(float)))}"
        )
    return mask


def _axis_remedy(mask: Array, name: str) -> str:
    """Returns the remedy for a mask of another number of dimensions."""
    if 1 in mask.shape:
        return f": remove the axis with {name}.squeeze()"
    return ": call it for each sample" if mask.ndim > 3 else ""


def _check_spacing(spacing: Any) -> float | list[float]:
    """Returns the checked spacing: one number for all axes, or a list of one for each."""
    spacing = 1.0 if spacing is None else as_python(spacing)
    if not is_list(spacing):
        return check_number("spacing", spacing, open_low=True)
    if not spacing:
        raise ValueError("spacing must have one number per axis, got an empty list.")
    return [check_number(f"spacing[{i}]", size, open_low=True) for i, size in enumerate(spacing)]


def _library(module: str) -> Any:
    """Returns a module of an optional dependency."""
    try:
        return import_module(module)
    except ImportError as error:
        raise ImportError(
            f"Maps of masks need {module}, which can't be imported ({error}): "
            'pip install "pytorch-segloss[maps]".'
        ) from error
