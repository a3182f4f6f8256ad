"""The losses of a tutorial on custom losses, under its names and with its arguments.

Its `DiceLoss` and `DiceBCELoss` are in `segloss.compat.tutorial.dice`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segloss.batch.keys import check_same_shape
from segloss.batch.shape_checks import check_real
from segloss.batch.value_checks import ValueChecks, check_weight_range
from segloss.foundation.arguments import (
    check_choice,
    check_integer,
    check_keys,
    check_mapping,
    check_number,
    is_list,
    shown,
)
from segloss.foundation.gradients import weighted
from segloss.losses.combiners import MAX_LOSSES, UncertaintyWeighting


class CombinedLoss(nn.Module):
    """Weighted sum of mean squared and mean absolute error, which also returns both for logging.

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
        """Returns the weighted sum, and both errors as floats."""
        check_same_shape(predictions, targets)
        mse, l1 = F.mse_loss(predictions, targets), F.l1_loss(predictions, targets)
        terms = [
            weighted(error, weight, predictions)
            for weight, error in zip(self.weights.values(), (mse, l1), strict=True)
        ]
        return torch.stack(terms).sum(), {"mse": mse.item(), "l1": l1.item()}


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
        self._checks = ValueChecks()

    def forward(
        self, predictions: Tensor, targets: Tensor, weights: Tensor | None = None
    ) -> Tensor:
        """Returns the error of predictions and targets of one shape; weights may broadcast."""
        check_same_shape(predictions, targets)
        difference = predictions - targets
        if weights is not None:
            _check_broadcast(weights, difference)
            check_weight_range(weights, "weights", self._checks, of="pixels")
            difference = difference.masked_fill(weights == 0, 0)  # even where it is NaN
        error = difference**2 if weights is None else difference**2 * weights
        return error if self.reduction == "none" else getattr(error, self.reduction)()


class UncertaintyWeightedLoss(UncertaintyWeighting):
    r"""Sum of the losses of tasks, weighted by learned uncertainties, in the tutorial's form.

    .. math:: \sum_i e^{-s_i} L_i + s_i

    It is twice `UncertaintyWeighting`, which has the factors 1/2 of the paper and takes a vector.
    The minimum is at the same :math:`s_i`, and the gradients are twice as large.

    Args:
        num_tasks: The number of tasks.

    Source: Kendall, Gal, Cipolla, "Multi-task learning using uncertainty to weigh losses" (2018).

    Example:
        >>> UncertaintyWeightedLoss(2)([torch.tensor(1.0), torch.tensor(3.0)])
        tensor(4., grad_fn=<...>)
    """

    def __init__(self, num_tasks: int) -> None:
        super().__init__(check_integer("num_tasks", num_tasks, 1, MAX_LOSSES))

    def forward(self, losses: Sequence[Tensor]) -> Tensor:  # type: ignore[override]
        """Returns the sum of the weighted losses and the log-variances, from a list of losses."""
        if not is_list(losses):
            raise TypeError(f"losses must be a list of tensors, got {shown(losses)}.")
        if len(losses) != len(self.log_vars):
            raise ValueError(
                f"losses must be a list of num_tasks={len(self.log_vars)} losses, got "
                f"{len(losses)}."
            )
        for i, loss in enumerate(losses):
            _check_task(loss, f"losses[{i}]")
        return 2 * super().forward(torch.stack(list(losses)))


def _check_broadcast(weights: Any, error: Tensor) -> None:
    check_real(weights, "weights")
    sizes = zip(reversed(weights.shape), reversed(error.shape), strict=False)
    if weights.ndim > error.ndim or any(given not in (1, size) for given, size in sizes):
        raise ValueError(
            f"weights must have the predictions' shape, {tuple(error.shape)}, or one that "
            f"broadcasts to it, got {tuple(weights.shape)}."
        )


def _check_task(loss: Any, name: str) -> None:
    if not isinstance(loss, Tensor):
        raise TypeError(f"{name} must be a tensor, got {type(loss).__name__}.")
    if loss.ndim > 0:
        raise ValueError(f"{name} must be a scalar, got the shape {tuple(loss.shape)}.")
