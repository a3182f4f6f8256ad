"""nnU-Net's form of the Dice loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from segloss.sums.confusion import SoftConfusion
from segloss.terms import Dice


class NegativeDice(Dice):
    r"""The negative Dice score, as in nnU-Net: the Dice loss minus 1.

    .. math:: -\frac{2\,TP + s}{\sum p + \sum g + s}

    in [-1, 0): -1 for a perfect prediction. In contrast to `Dice`, a cell whose pixels are all
    ignored counts as perfect, and stays in the mean.

    Args:
        smooth: The smoothing s, at least 0.
        **region: The arguments of `RegionTerm`, for the mean over cells.

    Source: `MemoryEfficientSoftDiceLoss` of nnU-Net, Isensee et al. (2021).

    Example:
        >>> from segloss import CompoundLoss
        >>> loss = CompoundLoss(NegativeDice(), "binary")
        >>> loss(torch.zeros(1, 1, 4), torch.tensor([[0, 1, 1, 0]]))
        tensor(-0.5000)
    """

    log: ClassVar[bool] = False  # type: ignore[misc]
    smooth: float | Sequence[float] = 1e-5

    def cell_loss(self, confusion: SoftConfusion) -> Tensor:
        """Returns the loss of each cell."""
        return super().cell_loss(confusion) - 1

    def cell_weights(self, confusion: SoftConfusion) -> Tensor:
        """Returns 1 for each cell."""
        return torch.ones_like(super().cell_weights(confusion))
