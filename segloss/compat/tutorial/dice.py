"""The tutorial's Dice loss over all elements, alone and with binary cross-entropy."""

from __future__ import annotations

from torch import Tensor, nn

from segloss.batch.keys import check_same_shape
from segloss.foundation.arguments import check_number
from segloss.losses.compound_loss import CompoundLoss
from segloss.terms import CrossEntropy, Dice


class DiceLoss(nn.Module):
    r"""Dice loss over all elements together, for tensors of any shape.

    .. math:: 1 - \frac{2 \sum p g + s}{\sum p + \sum g + s}

    In [0, 1], and below 1 if s > 0. It is `SegLoss`'s Dice term with `region_reduction="micro"` on
    probabilities.

    Args:
        smooth: The smoothing s, at least 0.

    Raises:
        TypeError, ValueError: Shapes differ, or values are not in [0, 1].

    Example:
        >>> import torch
        >>> DiceLoss()(torch.tensor([0.5, 1.0]), torch.tensor([0.0, 1.0]))
        tensor(0.1429)
    """

    def __init__(self, smooth: float = 1.0) -> None:
        super().__init__()
        term = Dice(smooth=smooth, region_reduction="micro")
        self.loss = CompoundLoss(term, from_logits=False)

    def forward(self, predictions: Tensor, targets: Tensor) -> Tensor:
        """Returns the loss of probabilities and a mask of the same shape."""
        return _loss_of_elements(self.loss, predictions, targets)


class DiceBCELoss(nn.Module):
    r"""Weighted sum of Dice loss and binary cross-entropy, for logits of any shape.

    .. math:: w_\mathrm{dice}\,\mathrm{Dice} + w_\mathrm{bce}\,\overline{\mathrm{BCE}}

    Args:
        dice_weight: The weight of `DiceLoss`, at least 0.
        bce_weight: The weight of the mean binary cross-entropy, at least 0.
        smooth: The smoothing of the Dice loss, at least 0.

    Example:
        >>> import torch
        >>> DiceBCELoss()(torch.tensor([0.0, 0.0]), torch.tensor([0.0, 1.0]))
        tensor(0.5132)
    """

    def __init__(
        self, dice_weight: float = 0.5, bce_weight: float = 0.5, smooth: float = 1.0
    ) -> None:
        super().__init__()
        self.dice_weight = check_number("dice_weight", dice_weight)
        self.bce_weight = check_number("bce_weight", bce_weight)
        dice = Dice(smooth=smooth, region_reduction="micro")
        self.loss = CompoundLoss(self.dice_weight * dice + self.bce_weight * CrossEntropy())

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Returns the loss of logits and a mask of the same shape."""
        return _loss_of_elements(self.loss, logits, targets)


def _loss_of_elements(loss: CompoundLoss, predictions: Tensor, targets: Tensor) -> Tensor:
    """Returns the loss of tensors of any shape, as the pixels of one sample and channel."""
    check_same_shape(predictions, targets)
    result: Tensor = loss(predictions.reshape(1, 1, -1), targets.reshape(1, 1, -1))
    return result
