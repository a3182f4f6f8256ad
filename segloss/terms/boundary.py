"""The boundary term. It needs distances to the true boundary, which the data loader computes."""

from __future__ import annotations

from dataclasses import field

from torch import Tensor

from segloss.foundation.arguments import check_text
from segloss.sums.confusion import SoftConfusion
from segloss.sums.plan import MapSum, Sum
from segloss.terms.base import RegionTerm, mean

__all__ = ["Boundary"]


class Boundary(RegionTerm):
    r"""Boundary loss: the mean of the probability times a signed distance to the boundary.

    .. math:: \frac{\sum w\,p\,d}{\sum w}

    where d is negative inside the true region. So the loss of a good prediction is negative too:
    its minimum is the sum of w d over the true region divided by the sum of w. A class that is
    absent has a map of 0, and adds nothing to the loss. Use the term with another region term, and
    let its coefficient grow over the epochs: it then moves the boundary.

    Args:
        map_key: The key of the map in `gt_batch`, (N, C, *spatial), as
            `segloss.maps.SignedDistanceMap` computes it.
        **region: The arguments of `RegionTerm`, for the mean over cells.

    Source: Kervadec, Bouchtiba, Desrosiers, Granger, Dolz, Ben Ayed, "Boundary loss for highly
    unbalanced segmentation" (2019).

    Example:
        >>> import torch
        >>> from segloss import BoundaryLoss
        >>> distances = torch.tensor([[[1.0, 0.0, -1.0, 0.0]]])
        >>> loss = BoundaryLoss(map_key="distances")
        >>> logits = torch.tensor([[[-40.0, 40.0, 40.0, 40.0]]])
        >>> loss(logits, torch.tensor([[0, 1, 1, 1]]), maps={"distances": distances})
        tensor(-0.2500)
    """

    name = "boundary"
    map_key: str = "gt_distance_map"
    sum: MapSum = field(init=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set(sum=MapSum(check_text("map_key", self.map_key)))

    @property
    def sums(self) -> tuple[Sum, ...]:  # type: ignore[override]
        """The sums of the map."""
        return (self.sum,)

    def cell_loss(self, confusion: SoftConfusion) -> Tensor:
        """Returns the mean of p d over each cell's pixels."""
        return mean(confusion[self.sum.hit], confusion.pixel_weight)
