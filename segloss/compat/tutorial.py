"""The losses of a tutorial on custom losses, under its names and with its arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segloss.arguments import check_choice, check_integer, check_keys, check_mapping, check_number
from segloss.confusion import soft_confusion
from segloss.precision import arithmetic_dtype
from segloss.terms import Dice, total_mean


class DiceLoss(nn.Module):
    r"""Dice loss of all elements together, of any shape.

    .. math:: 1 - \frac{2 \sum p g + s}{\sum p + \sum g + s}

    in [0, 1). It is `SegLoss`'s Dice term with `region_reduction="micro"` on probabilities.

    Args:
        smooth: The smoothing s, at least 0.

    Raises:
        TypeError, ValueError: Shapes differ, or values are not in [0, 1].

    Example:
        >>> DiceLoss()(torch.tensor([0.5, 1.0]), torch.tensor([0.0, 1.0]))
        tensor(0.1429)
    """

    def __init__(self, smooth: float = 1.0) -> None:
        super().__init__()
        self.term = Dice(smooth=smooth, region_reduction="micro")

    def forward(self, predictions: Tensor, targets: Tensor) -> Tensor:
        """The loss of probabilities and a mask of the same shape."""
        return self._loss(predictions, targets, from_logits=False)

    def of_logits(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The loss of logits: more precise than that of their probabilities."""
        return self._loss(logits, targets, from_logits=True)

    def _loss(self, predictions: Tensor, targets: Tensor, from_logits: bool) -> Tensor:
        _check_same_shape(predictions, targets)
        confusion = soft_confusion(
            predictions.reshape(1, 1, -1),
            targets.reshape(1, 1, -1),
            from_logits=from_logits,
            sums=("region",),
        )
        return total_mean(*self.term(confusion)).to(arithmetic_dtype(predictions.dtype))


class DiceBCELoss(nn.Module):
    r"""Weighted sum of Dice loss and binary cross-entropy, of logits of any shape.

    Args:
        dice_weight: The weight of `DiceLoss`, at least 0.
        bce_weight: The weight of the mean binary cross-entropy, at least 0.
        smooth: The Dice loss's smoothing.

    Example:
        >>> DiceBCELoss()(torch.tensor([0.0, 0.0]), torch.tensor([0.0, 1.0]))
        tensor(0.5132)
    """

    def __init__(
        self, dice_weight: float = 0.5, bce_weight: float = 0.5, smooth: float = 1.0
    ) -> None:
        super().__init__()
        self.dice_weight = check_number("dice_weight", dice_weight)
        self.bce_weight = check_number("bce_weight", bce_weight)
        self.dice = DiceLoss(smooth=smooth)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The loss of logits and a mask of the same shape."""
        dice = self.dice.of_logits(logits, targets)
        precise = logits.to(dice.dtype)
        bce = F.binary_cross_entropy_with_logits(precise, targets.to(dice.dtype))
        return self.dice_weight * dice + self.bce_weight * bce


class CombinedLoss(nn.Module):
    """Weighted sum of mean squared and mean absolute error, with both as numbers for logging.

    Args:
        weights: The weights of "mse" and "l1"; None: 1 each.

    Example:
        >>> CombinedLoss({"mse": 0.7, "l1": 0.3})(torch.zeros(2), torch.full((2,), 0.5))
        (tensor(0.3250), {'mse': 0.25, 'l1': 0.5})
    """

    def __init__(self, weights: Mapping[str, float] | None = None) -> None:
        super().__init__()
        given = {"mse": 1.0, "l1": 1.0} if weights is None else check_mapping("weights", weights)
        check_keys("weights", given, ("mse", "l1"))
        self.weights = {
            name: check_number(f"weights[{name!r}]", given.get(name)) for name in ("mse", "l1")
        }

    def forward(self, predictions: Tensor, targets: Tensor) -> tuple[Tensor, dict[str, float]]:
        """The sum, and both errors."""
        _check_same_shape(predictions, targets)
        mse, l1 = F.mse_loss(predictions, targets), F.l1_loss(predictions, targets)
        total = self.weights["mse"] * mse + self.weights["l1"] * l1
        return total, {"mse": mse.item(), "l1": l1.item()}


class WeightedMSELoss(nn.Module):
    """Squared error with a weight for each element.

    Args:
        reduction: "mean" over all elements (not over the weights), "sum", or "none".

    Example:
        >>> WeightedMSELoss()(torch.zeros(2), torch.ones(2), torch.tensor([1.0, 3.0]))
        tensor(2.)
    """

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__()
        self.reduction = check_choice("reduction", reduction, ("mean", "sum", "none"))

    def forward(
        self, predictions: Tensor, targets: Tensor, weights: Tensor | None = None
    ) -> Tensor:
        """The error of predictions and targets of the same shape; weights may broadcast."""
        _check_same_shape(predictions, targets)
        error = (predictions - targets) ** 2
        if weights is not None:
            error = error * weights
        return error if self.reduction == "none" else getattr(error, self.reduction)()


class UncertaintyWeightedLoss(nn.Module):
    r"""Weights learned as the uncertainty of each task, in the tutorial's form.

    .. math:: \sum_i e^{-s_i} L_i + s_i

    It is twice `UncertaintyWeighting`, which has the halves of the paper and takes a vector: the
    minimum over :math:`s_i` is the same, the gradients are twice as large.

    Args:
        num_tasks: The number of tasks.

    Source: Kendall, Gal, Cipolla, "Multi-task learning using uncertainty to weigh losses" (2018).

    Example:
        >>> UncertaintyWeightedLoss(2)([torch.tensor(1.0), torch.tensor(3.0)])
        tensor(4., grad_fn=<...>)
    """

    def __init__(self, num_tasks: int) -> None:
        super().__init__()
        self.log_vars = nn.Parameter(torch.zeros(check_integer("num_tasks", num_tasks, 1)))

    def forward(self, losses: Sequence[Tensor]) -> Tensor:
        """The sum of the tasks' losses over their uncertainties."""
        if len(losses) != len(self.log_vars):
            raise ValueError(
                f"losses must be a list of num_tasks={len(self.log_vars)} losses, got "
                f"{len(losses)}."
            )
        return (torch.exp(-self.log_vars) * torch.stack(list(losses)) + self.log_vars).sum()


def _check_same_shape(predictions: Any, targets: Any) -> None:
    if predictions.shape != targets.shape:
        raise ValueError(
            f"targets must have the shape of predictions, {tuple(predictions.shape)}, got "
            f"{tuple(targets.shape)}: they would be broadcast."
        )
