"""Weights of losses that follow the epochs of a Trainer."""

from __future__ import annotations

import math
from typing import Any

from segloss.foundation.arguments import check_flag
from segloss.training.lightning.callback import Callback
from segloss.training.lightning.find import find_multi_losses


class LossSchedule(Callback):
    """Sets the epoch of every `MultiLoss` in the module, so that its weights follow the schedule.

    Args:
        fractional: Whether weights change with every batch, at epoch + batch / number of batches,
            rather than with every epoch.

    Validation finds the weights that training has last had.

    Raises:
        ValueError: The module has no loss, or `fractional` is set and nobody knows how many batches
            an epoch has.

    Example:
        >>> from lightning.pytorch import Trainer
        >>> from segloss.training.lightning import LossSchedule
        >>> trainer = Trainer(callbacks=[LossSchedule(fractional=True)], logger=False)
    """

    def __init__(self, fractional: bool = False) -> None:
        super().__init__()
        self.fractional = check_flag("fractional", fractional)

    def on_sanity_check_start(self, trainer: Any, pl_module: Any) -> None:
        """Sets the epoch that training will start with."""
        _set_epoch(pl_module, trainer.current_epoch)

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Sets the epoch."""
        _set_epoch(pl_module, trainer.current_epoch)

    def on_train_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        """Sets the fraction of the epoch, if asked to."""
        if self.fractional:
            batches = _known_batches(trainer)
            _set_epoch(pl_module, trainer.current_epoch + batch_idx / batches)


def _set_epoch(pl_module: Any, epoch: float) -> None:
    for multi_loss in find_multi_losses(pl_module).values():
        multi_loss.set_epoch(epoch)


def _known_batches(trainer: Any) -> int:
    batches = trainer.num_training_batches
    if not math.isfinite(batches):
        raise ValueError(
            "LossSchedule(fractional=True) needs the number of batches in an epoch, and the "
            "training data has no length: set Trainer(limit_train_batches=...) to a number, give "
            "the dataset a __len__, or use LossSchedule()."
        )
    return int(batches)
