"""A callback for weights of losses that follow the epochs of a Trainer."""

from __future__ import annotations

import math
from typing import Any

from segloss.foundation.arguments import check_flag
from segloss.training.lightning.callback import Callback
from segloss.training.lightning.find import find_multi_losses


class LossSchedule(Callback):
    """Sets the epoch of every `MultiLoss` in the module, so that its weights follow the schedule.

    Validation uses the last weights of training.

    Args:
        fractional: True if weights change with every batch, to the epoch + batch / number of
            batches; False: with every epoch.

    Raises:
        ValueError: The module has no loss, or `fractional` is True and the number of batches in an
            epoch is unknown.

    Example:
        >>> from lightning.pytorch import Trainer
        >>> from segloss.training.lightning import LossSchedule
        >>> trainer = Trainer(callbacks=[LossSchedule(fractional=True)], logger=False)
    """

    def __init__(self, fractional: bool = False) -> None:
        super().__init__()
        self.fractional = check_flag("fractional", fractional)

    def on_sanity_check_start(self, trainer: Any, pl_module: Any) -> None:
        """Sets the epoch in which training will start."""
        _set_epoch(pl_module, trainer.current_epoch)

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Sets the epoch."""
        _set_epoch(pl_module, trainer.current_epoch)

    def on_train_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        """Sets the fraction of the epoch, if `fractional`."""
        if self.fractional:
            fraction = batch_idx / _batches_in_epoch(trainer)
            _set_epoch(pl_module, trainer.current_epoch + fraction)


def _set_epoch(pl_module: Any, epoch: float) -> None:
    for multi_loss in find_multi_losses(pl_module).values():
        multi_loss.set_epoch(epoch)


def _batches_in_epoch(trainer: Any) -> int:
    """Returns the number of training batches in an epoch; raises ValueError if it is unknown."""
    batches = trainer.num_training_batches
    if not math.isfinite(batches):
        raise ValueError(
            "LossSchedule(fractional=True) needs the number of batches in an epoch, but the "
            "training data has no length: set Trainer(limit_train_batches=...) to a number, give "
            "the dataset a __len__, or use LossSchedule()."
        )
    return int(batches)
