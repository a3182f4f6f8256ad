"""The skeleton of thin structures."""

from __future__ import annotations

from collections.abc import Sequence

from segloss.foundation.arguments import check_integer
from segloss.foundation.map_libraries import Array, library
from segloss.maps.mask_map import MaskMap


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
        ignore_index: The label of ignored pixels, or a list of them, as in the loss: they do not
            count as foreground. None: no label is ignored.

    A blob of a few pixels may have no skeleton.

    Raises:
        TypeError, ValueError: An argument is wrong; later, the mask is not a label map, or holds
            a label that is neither a class nor ignored.
        MissingKeyError: There is no mask.
        ImportError: SciPy or scikit-image is not installed.

    Source: Kirchhoff et al., "Skeleton Recall Loss for connectivity conserving and resource
    efficient segmentation of thin tubular structures" (2024).

    Example:
        >>> import torch
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
        ignore_index: int | Sequence[int] | None = None,
    ) -> None:
        super().__init__(n_classes, mask_key, out_key, ignore_index)
        self.radius = check_integer("radius", radius, 0)

    def compute(self, labels: Array) -> Array:
        """Returns the skeletons `(C, *spatial)` of a label map `(*spatial)`."""
        maps = self.zeros(labels)
        foreground = (labels > 0) & (labels < self.n_classes)
        if not foreground.any():
            return maps
        skeleton = _skeleton(foreground, self.radius)
        for class_map, label in zip(maps, self.class_labels(), strict=True):
            class_map[:] = skeleton & foreground & (labels == label)
        return maps

    def __repr__(self) -> str:
        return f"{type(self).__name__}(n_classes={self.n_classes}, radius={self.radius})"


def _skeleton(foreground: Array, radius: int) -> Array:
    skeleton = library("skimage.morphology").skeletonize(foreground) > 0
    if radius == 0:
        return skeleton
    return library("scipy.ndimage").binary_dilation(skeleton, iterations=radius)
