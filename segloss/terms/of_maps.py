"""Terms of a map beside the target, which is computed once for each image in the data loader."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from segloss.arguments import check_number, check_text
from segloss.confusion import MapSum, SoftConfusion
from segloss.terms.term import RegionTerm, mean

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from segloss.terms.term import RegionOptions


class Boundary(RegionTerm):
    r"""Boundary loss: the mean of the probability times a signed distance to the boundary.

    .. math:: \frac{\sum w\,p\,d}{\sum w}

    where d is negative inside of the true region, so the loss is too for good predictions: its
    least value is the mean of the negative distances. It knows no classes that are absent, whose
    map is 0. Beside another region term, with a coefficient that grows over the epochs, it moves
    the boundary.

    Args:
        map_key: The key of the map in `gt_batch`, (N, C, *spatial), which
            `segloss.maps.SignedDistanceMap` makes.
        **region: How the cells are averaged; see `RegionTerm`.

    Source: Kervadec, Bouchtiba, Desrosiers, Granger, Dolz, Ben Ayed, "Boundary loss for highly
    unbalanced segmentation" (2019).
    """

    name = "boundary"

    def __init__(
        self, *, map_key: str = "gt_distance_map", **region: Unpack[RegionOptions]
    ) -> None:
        super().__init__(**region)
        self.maps = (check_text("map_key", map_key),)
        self.sum = MapSum(map_key)
        self.sums = (self.sum.group, "counts")

    def cell_loss(self, confusion: SoftConfusion) -> Tensor:
        """The mean of p d of each cell."""
        hit, _, _ = self.sum.names
        return mean(confusion[hit], confusion.pixel_weight)


class SkeletonRecall(RegionTerm):
    r"""Skeleton recall loss: the part of the true region's skeleton that is not predicted.

    .. math:: 1 - \frac{\sum w\,p\,k + s}{\sum w\,k + s} = \frac{\sum w (1 - p) k}{\sum w\,k + s}

    in [0, 1]: 0 where all of the skeleton k is predicted, and where there is none. It keeps thin
    structures connected, and goes beside a loss that punishes false positives.

    Args:
        map_key: The key of the skeletons in `gt_batch`, (N, C, *spatial), which
            `segloss.maps.SkeletonMap` makes.
        smooth: The smoothing s, at least 0.
        **region: How the cells are averaged; see `RegionTerm`.

    Source: Kirchhoff, Rokuss, Roy, Kovacs, Ulrich, Wald, Zenk, Vollmuth, Kleesiek, Isensee,
    Maier-Hein, "Skeleton recall loss for connectivity conserving and resource efficient
    segmentation of thin tubular structures" (2024).
    """

    name = "skeleton_recall"

    def __init__(
        self,
        *,
        map_key: str = "gt_skeleton",
        smooth: float = 0.0,
        **region: Unpack[RegionOptions],
    ) -> None:
        super().__init__(**region)
        self.smooth = check_number("smooth", smooth)
        self.maps = (check_text("map_key", map_key),)
        self.sum = MapSum(map_key)
        self.sums = (self.sum.group, "counts")

    def cell_loss(self, confusion: SoftConfusion) -> Tensor:
        """The missed part of each cell's skeleton."""
        _, missed, total = self.sum.names
        return mean(confusion[missed], confusion[total] + self.smooth)
