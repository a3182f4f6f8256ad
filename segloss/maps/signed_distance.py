"""The signed distance to the border of each class."""

from __future__ import annotations

from collections.abc import Sequence

from segloss.foundation.map_libraries import Array, distance_to_border, library
from segloss.maps.border_map import BorderMap


class SignedDistanceMap(BorderMap):
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
        ignore_index: The label of ignored pixels, or a list of them, as in the loss: they are
            outside every class. None: no label is ignored.

    Raises:
        TypeError, ValueError: An argument is wrong; later, the mask is not a label map, holds
            a label that is neither a class nor ignored, or has another number of dimensions than
            `spacing`.
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
        ignore_index: int | Sequence[int] | None = None,
    ) -> None:
        super().__init__(n_classes, mask_key, out_key, spacing, ignore_index)

    def distances(self, inside: Array, spacing: Sequence[float]) -> Array:
        """Returns the signed distances to the border of a mask."""
        numpy, distance = library("numpy"), distance_to_border(inside, spacing)
        return numpy.where(inside, numpy.minimum(min(spacing) - distance, 0), distance)
