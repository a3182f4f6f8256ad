"""Weights follow the epochs of the Trainer."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset

from segloss.training.lightning import LossSchedule
from tests.training.lightning.lightning_runs import Noise, lit_module, loader, trainer


def weights(package: ModuleType, schedule: LossSchedule, **options: Any) -> list[float]:
    """The weight of the second loss, which goes from 0 at epoch 0 to 1 at epoch 4, at each step."""
    module = lit_module(package)
    trainer(package, [schedule], **options).fit(module, loader(6))
    return [weight for _, weight in module.weights]


def test_weights_change_with_each_epoch(package: ModuleType) -> None:
    assert weights(package, LossSchedule(), max_epochs=3) == [0, 0, 0.25, 0.25, 0.5, 0.5]


def test_weights_change_with_each_batch(package: ModuleType) -> None:
    assert weights(package, LossSchedule(True), max_epochs=2) == [0, 0.125, 0.25, 0.375]


def test_a_fraction_is_of_the_batches_that_are_taken(package: ModuleType) -> None:
    found = weights(package, LossSchedule(True), max_epochs=2, limit_train_batches=1)
    assert found == [0, 0.25]


def test_validation_finds_weights_from_the_sanity_check_on(package: ModuleType) -> None:
    module, found = lit_module(package), []

    def validation_step(batch: Any, batch_idx: int) -> None:
        module.loss(module(batch["image"]), batch)
        found.append(module.loss.current_weights[1].item())

    module.validation_step = validation_step
    run = trainer(package, [LossSchedule(True)], max_epochs=2)
    run.fit(module, loader(6), loader(1))
    assert found == [0, 0.125, 0.375]


def test_without_it_a_schedule_is_an_error(package: ModuleType) -> None:
    with pytest.raises(ValueError, match="no epoch is known"):
        trainer(package, []).fit(lit_module(package), loader(6))


class Endless(IterableDataset[Any]):
    def __iter__(self) -> Any:
        noise = Noise(4)
        return (noise[i] for i in range(4))


def test_a_fraction_of_nobody_knows_how_many_is_refused(package: ModuleType) -> None:
    data = DataLoader(Endless(), 2)
    with pytest.raises(ValueError, match="the training data has no length"):
        trainer(package, [LossSchedule(True)]).fit(lit_module(package), data)
    trainer(package, [LossSchedule()]).fit(lit_module(package), data)


def test_a_resumed_run_goes_on_with_its_epoch(package: ModuleType, tmp_path: Any) -> None:
    first = trainer(package, [LossSchedule()])
    first.fit(lit_module(package), loader(6))
    first.save_checkpoint(tmp_path / "one.ckpt")
    module = lit_module(package)
    second = trainer(package, [LossSchedule()], max_epochs=2)
    second.fit(module, loader(6), ckpt_path=tmp_path / "one.ckpt")
    assert [weight for _, weight in module.weights] == [0.25, 0.25]


@pytest.mark.parametrize("loss", [torch.nn.Identity()])
def test_mistakes_are_named(loss: Any, package: ModuleType) -> None:
    with pytest.raises(TypeError, match="fractional must be True or False"):
        LossSchedule(1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="must have a MultiLoss or a Loss among its modules"):
        trainer(package, [LossSchedule()]).fit(lit_module(package, loss), loader(6))
