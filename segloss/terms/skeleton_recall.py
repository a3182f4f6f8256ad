"""The skeleton recall term, which keeps thin structures connected."""

from __future__ import annotations

from dataclasses import field

from torch import Tensor

from segloss.foundation.arguments import check_number, check_text
from segloss.sums.confusion import SoftConfusion
from segloss.sums.plan import MapSum, Sum
from segloss.terms.base import RegionTerm, mean

__all__ = ["SkeletonRecall"]


class SkeletonRecall(RegionTerm):
    r"""Skeleton recall loss: the part of the true region's skeleton that is not predicted.

    .. math:: 1 - \frac{\sum w\,p\,k + s}{\sum w\,k + s} = \frac{\sum w (1 - p) k}{\sum w\,k + s}

    in [0, 1]: 0 if the whole skeleton k is predicted, or if there is none. It keeps thin structures
    connected; combine it with a loss that penalises false positives.

    Args:
        map_key: The key of the skeletons in `gt_batch`, (N, C, *spatial), as
            `segloss.maps.SkeletonMap` computes them.
        smooth: The smoothing s, at least 0.
        **region: The arguments of `RegionTerm`, for the mean over cells.

    Source: Kirchhoff, Rokuss, Roy, Kovacs, Ulrich, Wald, Zenk, Vollmuth, Kleesiek, Isensee,
    Maier-Hein, "Skeleton recall loss for connectivity conserving and resource efficient
    segmentation of thin tubular structures" (2024).

    Example:
        >>> import torch
        >>> from segloss import SkeletonRecallLoss
        >>> skeleton = torch.tensor([[[0.0, 1.0, 1.0, 0.0]]])
        >>> loss = SkeletonRecallLoss(map_key="skeleton")
        >>> logits = torch.tensor([[[0.0, 40.0, 0.0, 0.0]]])
        >>> loss(logits, torch.tensor([[0, 1, 1, 1]]), maps={"skeleton": skeleton})
        tensor(0.2500)
    """

    name = "skeleton_recall"
    map_key: str = "gt_skeleton"
    smooth: float = 0.0
    sum: MapSum = field(init=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set(smooth=check_number("smooth", self.smooth))
        self._set(sum=MapSum(check_text("map_key", self.map_key)))

    @property
    def sums(self) -> tuple[Sum, ...]:  # type: ignore[override]
        """The sums of the map."""
        return (self.sum,)

    def cell_loss(self, confusion: SoftConfusion) -> Tensor:
        """Returns the missed share of the skeleton in each cell, a (sample, class) pair."""
        return mean(confusion[self.sum.missed], confusion[self.sum.total] + self.smooth)
