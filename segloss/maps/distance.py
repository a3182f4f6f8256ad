"""The distance to the border of each class, without a sign."""

from __future__ import annotations

from collections.abc import Sequence

from segloss.foundation.map_libraries import Array, distance_to_border
from segloss.maps.border_map import BorderMap


class DistanceMap(BorderMap):
    r"""Adds the distance to the border of each class, for the Hausdorff distance loss.

    .. math:: d(x) = \begin{cases}
        \min_{y \in G} \lVert x - y \rVert & x \notin G \\
        \min_{y \notin G} \lVert x - y \rVert & x \in G \end{cases}

    with G the pixels of the class: the distance to the nearest pixel on the other side. It is at
    least one pixel. A class that is absent or fills the image has no border, and its map is 0. The
    edge of the image is not a border.

    Args:
        n_classes: The number of classes. 2: one map, of the foreground; more: one map for each.
        mask_key: The name of the mask among the keywords, (H, W) or (D, H, W).
        out_key: The name of the maps in the result, (C, *spatial), float32.
        spacing: The size of a pixel along each axis, or one number for all; None: 1, so that
            distances are in pixels.
        ignore_index: The label of ignored pixels, or a list of them, as in the loss: they are
            outside every class. None: no label is ignored.

    Raises:
        TypeError, ValueError: An argument is wrong; later, the mask is not a label map, holds
            a label that is neither a class nor ignored, or has another number of dimensions than
            `spacing`.
        MissingKeyError: There is no mask.
        ImportError: SciPy is not installed.

    Source: Karimi, Salcudean, "Reducing the Hausdorff distance in medical image segmentation with
    convolutional neural networks" (2019).

    Example:
        >>> import torch
        >>> mask = torch.tensor([[0, 0, 1, 1, 1, 1, 1, 0]])
        >>> DistanceMap()(mask=mask)["gt_distance"]
        tensor([[[2., 1., 1., 2., 3., 2., 1., 1.]]])
    """

    def __init__(
        self,
        n_classes: int = 2,
        *,
        mask_key: str = "mask",
        out_key: str = "gt_distance",
        spacing: float | Sequence[float] | None = None,
        ignore_index: int | Sequence[int] | None = None,
    ) -> None:
        super().__init__(n_classes, mask_key, out_key, spacing, ignore_index)

    def distances(self, inside: Array, spacing: Sequence[float]) -> Array:
        """Returns the distances to the border of a mask."""
        return distance_to_border(inside, spacing)
