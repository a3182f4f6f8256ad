"""A callback for weights of losses that follow the epochs of the Trainer."""

from __future__ import annotations

import math
from typing import Any

from segloss.foundation.arguments import check_flag
from segloss.foundation.installation.extras import needs
from segloss.losses.multi_loss import MultiLoss

with needs("segloss.training.huggingface", "huggingface"):
    from transformers import TrainerCallback

_ROUNDING = 1e-6
"""The greatest rounding error of the Trainer's epoch, a sum of an epoch and its steps."""


class LossSchedule(TrainerCallback):
    """Sets the epoch of a `MultiLoss`, so that its weights follow the schedule.

    Args:
        loss: The loss that the Trainer computes.
        fractional: True if weights change with every step; False: with every epoch.

    Raises:
        TypeError: `loss` is not a `MultiLoss`, or `fractional` is not a bool.

    Example:
        >>> from torch import nn
        >>> loss = MultiLoss([nn.L1Loss()], [[1.0, 0.0]], epoch_thresholds=[0, 10])
        >>> callback = LossSchedule(loss, fractional=True)  # for Trainer(callbacks=[callback])
    """

    def __init__(self, loss: MultiLoss, fractional: bool = False) -> None:
        if not isinstance(loss, MultiLoss):
            raise TypeError(f"loss must be a MultiLoss, which has a schedule, got {loss!r}.")
        self.loss = loss
        self.fractional = check_flag("fractional", fractional)

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Sets the epoch."""
        self.loss.set_epoch(math.floor((state.epoch or 0) + _ROUNDING))

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Sets the fraction of the epoch, if `fractional`."""
        if self.fractional:
            self.loss.set_epoch(state.epoch or 0)
