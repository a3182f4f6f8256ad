"""The term of Matthews' correlation coefficient, in which true negatives count."""

from __future__ import annotations

import torch
from torch import Tensor

from segloss.foundation.arguments import check_number
from segloss.sums.confusion import SoftConfusion
from segloss.terms.base import RegionTerm

__all__ = ["MCC"]


class MCC(RegionTerm):
    r"""Matthews' correlation coefficient as a loss.

    .. math:: 1 - \frac{TP\,TN - FP\,FN}{\sqrt{(TP + FP)(TP + FN)(TN + FP)(TN + FN)}}

    in [0, 2]: 0 for a perfect prediction, 1 for an uninformative one, 2 for the inverse. The
    denominator is 0 if a class is absent, or covers all pixels. Then the loss is 0 without errors
    and 1 with errors, and has no gradient; `skip_absent_classes` leaves out absent classes.

    Args:
        eps: The number that is added to each of the four counts, at least 0.
        **region: The arguments of `RegionTerm`, for the mean over cells.

    Source: Abhishek, Hamarneh, "Matthews correlation coefficient loss for deep convolutional
    networks" (2021).

    Example:
        >>> import torch
        >>> from segloss import MCCLoss
        >>> MCCLoss()(torch.zeros(1, 1, 4), torch.tensor([[0, 1, 1, 0]]))
        tensor(1.)
    """

    name = "mcc"
    eps: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set(eps=check_number("eps", self.eps))

    def cell_loss(self, confusion: SoftConfusion) -> Tensor:
        """Returns the loss of each cell."""
        tp, fp = confusion.true_positive + self.eps, confusion.false_positive + self.eps
        fn, tn = confusion.false_negative + self.eps, confusion.true_negative + self.eps
        product = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
        undefined = product <= 0
        correlation = (tp * tn - fp * fn) * product.masked_fill(undefined, 1).rsqrt()
        return torch.where(undefined, (fp + fn > 0).to(correlation), 1 - correlation)
