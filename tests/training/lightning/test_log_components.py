"""Each loss, weight and norm is in the logs, with the value that training has computed."""

from __future__ import annotations

import csv
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from segloss import LossWrapper, MultiLoss
from segloss.training.lightning import (
    ComputeWeightNormLossesCallback,
    LogLossComponents,
    LossSchedule,
)
from tests.training.lightning.lightning_runs import lit_module, loader, multi_loss, trainer

KEYS = {
    "loss/seg",
    "loss/seg/weight",
    "loss/seg/norm",
    "loss/l1",
    "loss/l1/weight",
    "loss/l1/norm",
}


def recording(package: ModuleType, loss: nn.Module | None = None) -> Any:
    """A module that keeps the losses that its training steps computed."""
    module = lit_module(package, loss)
    module.computed = []

    def training_step(batch: Any, batch_idx: int) -> Any:
        total, losses, _ = module.loss(module(batch["image"]), batch)
        module.computed.append({name: value.item() for name, value in losses.items()})
        return total

    module.training_step = training_step
    return module


def callbacks(**options: Any) -> list[Any]:
    norms = ComputeWeightNormLossesCallback(6)
    return [norms, LossSchedule(fractional=True), LogLossComponents(**options)]


def csv_rows(folder: Path) -> list[dict[str, str]]:
    (file,) = folder.rglob("metrics.csv")
    with file.open() as lines:
        return list(csv.DictReader(lines))


def test_the_csv_has_them_for_every_step(package: ModuleType, tmp_path: Path) -> None:
    module, logger = recording(package), package.loggers.CSVLogger(tmp_path)
    trainer(package, callbacks(), logger=logger).fit(module, loader())
    rows = csv_rows(tmp_path)
    assert set(rows[0]) >= KEYS
    for name in ("seg", "l1"):
        logged = [float(row[f"loss/{name}"]) for row in rows]
        assert logged == pytest.approx([each[name] for each in module.computed])
    assert [float(row["loss/l1/weight"]) for row in rows] == [0, 0.0625, 0.125, 0.1875]
    norm = module.loss.loss_funcs[0].norm.item()
    assert [float(row["loss/seg/norm"]) for row in rows] == pytest.approx([norm] * 4)


def test_tensorboard_has_them(package: ModuleType, tmp_path: Path) -> None:
    module, logger = recording(package), package.loggers.TensorBoardLogger(tmp_path)
    trainer(package, callbacks(), logger=logger).fit(module, loader())
    events = EventAccumulator(logger.log_dir).Reload()
    assert set(events.Tags()["scalars"]) >= KEYS
    logged = [event.value for event in events.Scalars("loss/seg")]
    assert logged == pytest.approx([each["seg"] for each in module.computed])


def test_an_epoch_has_the_mean(package: ModuleType) -> None:
    module = recording(package)
    run = trainer(package, callbacks(on_step=False, on_epoch=True, prefix="train"))
    run.fit(module, loader())
    mean = sum(each["seg"] for each in module.computed) / 4
    assert run.callback_metrics["train/seg"].item() == pytest.approx(mean)


def test_validation_does_not_show(package: ModuleType) -> None:
    module = recording(package)
    module.validating = LossWrapper(nn.L1Loss(), "validating")

    def validation_step(batch: Any, batch_idx: int) -> None:
        for loss in (module.loss, module.validating):
            loss(module(batch["image"]) + 100, batch)

    module.validation_step = validation_step
    run = trainer(package, callbacks(), max_epochs=2)
    run.fit(module, loader(), loader(2))
    assert run.callback_metrics["loss/l1"].item() == pytest.approx(module.computed[-1]["l1"])
    assert run.callback_metrics["loss/validating"].isnan()


def test_a_vector_of_losses_is_logged_too(package: ModuleType) -> None:
    module = lit_module(package)

    def training_step(batch: Any, batch_idx: int) -> Any:
        return module.loss.losses(module(batch["image"]), batch).sum()

    module.training_step = training_step
    run = trainer(package, callbacks())
    run.fit(module, loader())
    assert run.callback_metrics["loss/seg"] > 0


class Parts(LossWrapper):
    def compute(self, pred_batch: Any, gt_batch: Any) -> Any:
        self.extra_info["parted.half"] = torch.tensor(0.5)
        return super().compute(pred_batch, gt_batch)


def test_parts_of_a_loss_are_logged(package: ModuleType) -> None:
    loss = MultiLoss([Parts(nn.L1Loss(), "parted")], [1])
    run = trainer(package, [LogLossComponents()])
    run.fit(recording(package, loss), loader())
    assert run.callback_metrics["loss/parted.half"] == 0.5


def test_losses_of_one_name_are_told_apart_by_their_place(package: ModuleType) -> None:
    module = lit_module(package)
    module.further = MultiLoss([LossWrapper(nn.L1Loss(), "l1")], [2.0])
    module.alone = LossWrapper(nn.MSELoss(), "mse")
    run = trainer(package, [LossSchedule(), LogLossComponents()])
    run.fit(module, loader())
    found = run.callback_metrics
    assert found["loss/further/l1/weight"] == 2
    assert {"loss/loss/l1", "loss/seg", "loss/mse/norm"} <= set(found)
    assert "loss/mse/weight" not in found
    assert found["loss/further/l1"].isnan()  # no step has computed it


def test_a_loss_in_a_criterion_is_found(package: ModuleType) -> None:
    module = lit_module(package)
    module.criterion = multi_loss().as_criterion()
    del module.loss

    def training_step(batch: Any, batch_idx: int) -> Any:
        return module.criterion(module(batch["image"]), batch)

    module.training_step = training_step
    run = trainer(package, callbacks())
    run.fit(module, loader())
    assert set(run.callback_metrics) >= KEYS


def test_nothing_listens_after_the_run(package: ModuleType) -> None:
    module = recording(package)
    trainer(package, callbacks()).fit(module, loader())
    assert not any(loss._forward_hooks for loss in module.loss.loss_funcs)


@pytest.mark.parametrize(
    ("options", "error"),
    [({"prefix": ""}, ValueError), ({"on_step": 1}, TypeError), ({"sync_dist": None}, TypeError)],
)
def test_mistakes_are_named(options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error, match=f"{next(iter(options))} must"):
        LogLossComponents(**options)
