"""A callback that logs the components of losses."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from segloss.foundation.arguments import check_flag, check_text
from segloss.losses.loss import Loss
from segloss.losses.multi_loss import MultiLoss
from segloss.training.lightning.callback import Callback
from segloss.training.lightning.find import find_losses, members


class LogLossComponents(Callback):
    """Logs each loss in the module, its weight and its norm, without computing anything again.

    - "loss/seg": the value of the loss "seg", divided by its norm if it is normalised, before its
      weight is applied; the parts of a loss are "loss/seg.part";
    - "loss/seg/weight": the current weight, if the loss is in a `MultiLoss`;
    - "loss/seg/norm": the norm.

    If two losses in the module have the same name, the path of their `MultiLoss` comes before the
    name. All ranks log the same keys on every step: a loss that was not computed keeps its last
    value, at first NaN.

    Args:
        prefix: The beginning of the keys.
        on_step: As in `LightningModule.log`.
        on_epoch: As in `LightningModule.log`: the mean over an epoch.
        sync_dist: True if values are means over all ranks; False: the first rank's values. All
            values are sent together, on every step that is logged, or on every step if `on_epoch`.

    Raises:
        TypeError, ValueError: An argument is wrong, or the module has no loss.

    Example:
        >>> from lightning.pytorch import Trainer
        >>> from segloss.training.lightning import LogLossComponents
        >>> trainer = Trainer(callbacks=[LogLossComponents()], logger=False)
    """

    def __init__(
        self,
        prefix: str = "loss",
        on_step: bool = True,
        on_epoch: bool = False,
        sync_dist: bool = True,
    ) -> None:
        super().__init__()
        self.prefix = check_text("prefix", prefix)
        self.on_step = check_flag("on_step", on_step)
        self.on_epoch = check_flag("on_epoch", on_epoch)
        self.sync_dist = check_flag("sync_dist", sync_dist)
        self._values: dict[str, Tensor] = {}
        self._handles: list[Any] = []
        self._active = False

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Registers listeners at the losses."""
        self._release()
        names = {loss: name for name, loss in _named(pl_module).items()}
        missing = torch.full((), torch.nan, device=pl_module.device)
        self._values = dict.fromkeys(names.values(), missing)
        for loss in find_losses(pl_module).values():
            paths = {
                member.name: names[member].removesuffix(member.name) for member in members(loss)
            }
            if isinstance(loss, MultiLoss):
                handle = loss.register_listener(partial(self._store, paths))
            else:
                handle = loss.register_forward_hook(partial(self._store_one, paths))
            self._handles.append(handle)

    def on_train_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        """Begins to store values."""
        self._active = True

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Logs the values of this step."""
        self._active = False
        values = self._components(pl_module)
        if self.sync_dist and trainer.world_size > 1 and (self.on_epoch or _is_logged(trainer)):
            stacked = torch.stack([*values.values()])
            means = trainer.strategy.reduce(stacked, reduce_op="mean")
            values = dict(zip(values, means, strict=True))
        pl_module.log_dict(values, on_step=self.on_step, on_epoch=self.on_epoch)

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Removes the listeners."""
        self._release()

    def _store(self, paths: dict[str, str], losses: dict[str, Tensor], infos: Any) -> None:
        """Stores values of losses, and of their parts, whose names begin with the loss's name."""
        if not self._active:
            return
        for key, value in losses.items():
            path = next(path for name, path in paths.items() if f"{key}.".startswith(f"{name}."))
            self._values[f"{path}{key}"] = value

    def _store_one(
        self, paths: dict[str, str], loss: Loss, inputs: Any, output: tuple[Tensor, Any]
    ) -> None:
        value, info = output
        parts = {key: part for key, part in info.items() if key.startswith(f"{loss.name}.")}
        self._store(paths, {loss.name: value.detach(), **parts}, [info])

    def _components(self, pl_module: Any) -> dict[str, Tensor]:
        """Returns the values, weights and norms by their keys, on the module's device."""
        values = {f"{self.prefix}/{name}": value for name, value in self._values.items()}
        weights = _weights(pl_module)
        for name, loss in _named(pl_module).items():
            weight = weights[loss]
            if weight is not None:
                values[f"{self.prefix}/{name}/weight"] = weight
            values[f"{self.prefix}/{name}/norm"] = loss.norm
        return {
            key: value.to(pl_module.device, torch.float32, copy=True)
            for key, value in values.items()
        }

    def _release(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._values.clear()


def _named(pl_module: Any) -> dict[str, Loss]:
    """Returns each loss by its name, with the path of its `MultiLoss` if the name is not unique."""
    found = [
        (path, member) for path, loss in find_losses(pl_module).items() for member in members(loss)
    ]
    names = [member.name for _, member in found]
    return {
        f"{path}/{member.name}" if names.count(member.name) > 1 else member.name: member
        for path, member in found
    }


def _weights(pl_module: Any) -> dict[Loss, Tensor | None]:
    """Returns the current weight of each loss, or None outside of a `MultiLoss`."""
    found = find_losses(pl_module).values()
    return {member: weight for loss in found for member, weight in members(loss).items()}


def _is_logged(trainer: Any) -> bool:
    """Returns whether the Trainer passes the values of this step to its loggers."""
    return bool(trainer.fast_dev_run or trainer._logger_connector.should_update_logs)
