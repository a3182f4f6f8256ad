"""The signed distance to the border of each class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from segloss.foundation.arguments import as_python, check_number, is_list
from segloss.maps.mask_map import Array, MaskMap, library


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
        >>> import torch
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
        self.spacing = check_spacing(spacing)

    def compute(self, labels: Array) -> Array:
        """Returns the signed distances (C, *spatial) of a label map (*spatial)."""
        spacing = spacing_of(self.spacing, labels, self.mask_key)
        maps = self.zeros(labels)
        for class_map, label in zip(maps, self.class_labels(), strict=True):
            inside = labels == label
            if inside.any() and not inside.all():
                class_map[:] = _signed_distance(inside, spacing)
        return maps

    def __repr__(self) -> str:
        return f"{type(self).__name__}(n_classes={self.n_classes}, spacing={self.spacing})"


def _signed_distance(inside: Array, spacing: Sequence[float]) -> Array:
    numpy, distance = library("numpy"), library("scipy.ndimage").distance_transform_edt
    depth = numpy.maximum(distance(inside, sampling=spacing) - min(spacing), 0)
    return distance(~inside, sampling=spacing) - depth  # one of the two is 0


def check_spacing(spacing: Any) -> float | list[float]:
    """Returns the checked spacing: one number for all axes, or a list of one for each."""
    spacing = 1.0 if spacing is None else as_python(spacing)
    if not is_list(spacing):
        return check_number("spacing", spacing, open_low=True)
    if not spacing:
        raise ValueError("spacing must have one number per axis, got an empty list.")
    return [check_number(f"spacing[{i}]", size, open_low=True) for i, size in enumerate(spacing)]


def spacing_of(spacing: float | list[float], labels: Array, name: str) -> list[float]:
    """Returns the spacing along each axis of a mask, whose name is `name` in messages."""
    if not isinstance(spacing, list):
        return [spacing] * labels.ndim
    if len(spacing) != labels.ndim:
        raise ValueError(
            f"spacing must have one number per axis of {name}, of shape {labels.shape}: expected "
            f"{labels.ndim}, got {len(spacing)}."
        )
    return spacing
