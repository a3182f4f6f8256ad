"""The term of Matthews' correlation coefficient, in which true negatives count."""

from __future__ import annotations

import torch
from torch import Tensor

from segloss.foundation.arguments import check_number
from segloss.sums.confusion import SoftConfusion
from segloss.terms.base import RegionTerm, mean

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

    With R the root and C the numerator, the loss is computed as
    :math:`S\,(TP\,TN\,(FP + FN) + FP\,FN\,(TP + TN)) / (R (R + |C|))`, where S is the sum of the
    counts, or as 2 minus this if C is negative. So near 0 and near 2 it is not a difference of
    nearly equal numbers.

    Source: Abhishek, Hamarneh, "Matthews correlation coefficient loss for deep convolutional
    networks" (2021).

    Example:
        >>> import torch
        >>> from segloss import MCCLoss
        >>> MCCLoss()(torch.zeros(1, 1, 4), torch.tensor([[0, 1, 1, 0]]))
        tensor(1.)
    """

    name = "mcc"
    counts_true_negatives = True
    has_score = True
    eps: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set(eps=check_number("eps", self.eps))

    def cell_loss(self, confusion: SoftConfusion) -> Tensor:
        """Returns the loss of each cell."""
        tp, fp = confusion.true_positive + self.eps, confusion.false_positive + self.eps
        fn, tn = confusion.false_negative + self.eps, confusion.true_negative + self.eps
        size = tp + fp + fn + tn
        tp, fp, fn, tn = (mean(count, size) for count in (tp, fp, fn, tn))
        product = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
        undefined = product <= 0
        root = product.masked_fill(undefined, 1).sqrt()
        covariance = tp * tn - fp * fn
        errors = tp * tn * (fp + fn) + fp * fn * (tp + tn)
        is_better = covariance >= 0  # than a random prediction
        gap = errors / (root * (root + torch.where(is_better, covariance, -covariance)))
        loss = torch.where(is_better, gap, 2 - gap)
        return torch.where(undefined, (fp + fn > 0).to(loss), loss)
