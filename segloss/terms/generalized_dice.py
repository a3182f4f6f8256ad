"""The generalised Dice term: classes are weighted by size, and added up before the division."""

from __future__ import annotations

import torch
from torch import Tensor

from segloss.foundation.arguments import check_choice, check_number
from segloss.sums.confusion import SoftConfusion
from segloss.terms.base import RegionTerm, share

__all__ = ["GeneralizedDice"]

_EXPONENTS = {"square": 2, "simple": 1, "uniform": 0}


class GeneralizedDice(RegionTerm):
    r"""Generalised Dice loss.

    .. math:: 1 - \frac{2 \sum_c v_c\,TP_c + s}{\sum_c v_c (\sum p_c + \sum g_c) + s}
        = \frac{\sum_c v_c (FP_c + FN_c)}{\sum_c v_c (2\,TP_c + FP_c + FN_c) + s},
        \quad v_c = \left(\sum g_c\right)^{-2}

    in [0, 1]: 0 for a perfect prediction; 1 if nothing is hit and s is 0. There is one value for
    each sample, or one for the batch if it is pooled. A class that is absent gets the largest
    weight of the classes that are present, instead of an infinite one.

    Args:
        weight_type: "square" for the weights above, "simple" for their square roots, or "uniform"
            for 1.
        smooth: The smoothing s, at least 0, on the scale of the weighted sums.
        **region: The arguments of `RegionTerm`, for the mean over cells. `region_class_weights`
            multiply the weights v.

    Source: Sudre, Li, Vercauteren, Ourselin, Cardoso, "Generalised Dice overlap as a deep learning
    loss function for highly unbalanced segmentations" (2017).

    Example:
        >>> import torch
        >>> from segloss import GeneralizedDiceLoss
        >>> GeneralizedDiceLoss("multiclass")(torch.zeros(1, 2, 4), torch.tensor([[0, 1, 1, 0]]))
        tensor(0.5000)
    """

    name = "generalized_dice"
    mixes_classes = True
    weight_type: str = "square"
    smooth: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("weight_type", self.weight_type, _EXPONENTS)
        self._set(smooth=check_number("smooth", self.smooth))

    def pooled_losses_and_weights(self, pooled: SoftConfusion) -> tuple[Tensor, Tensor]:
        """Returns the loss of each sample, (N, 1), and its weight: 1, or 0 if all is left out."""
        included = (self.cell_weights(pooled) > 0).any(1, keepdim=True)
        return self.cell_loss(pooled), included.to(pooled.actual)

    def cell_loss(self, confusion: SoftConfusion) -> Tensor:
        """Returns the loss of each sample, (N, 1)."""
        weights = self.cell_weights(confusion) * self._size_weights(confusion.actual)
        errors = confusion.false_positive + confusion.false_negative
        errors, correct = (
            (weights * values).sum(1, keepdim=True)
            for values in (errors, 2 * confusion.true_positive)
        )
        return share(errors, correct + self.smooth)

    def _size_weights(self, actual: Tensor) -> Tensor:
        absent = actual <= 0
        weights = actual.masked_fill(absent, torch.inf) ** -_EXPONENTS[self.weight_type]
        largest = weights.amax(1, keepdim=True)
        return torch.where(absent, torch.where(largest > 0, largest, 1), weights)
