"""A LightningModule learns and logs the terms of its loss, on one process and on two."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from example_parts.shapes import CLASSES
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from programs.lightning_module import Segmentation
from torch import Tensor, nn

from segloss import CompoundLoss, MultiLoss, SegLoss
from tests.programs.lightning_runs import ignoring, loader, network, shapes, trainer

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """More would wait for each other longer than they compute."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def accuracy(model: nn.Module) -> float:
    samples = shapes(8, "label")
    predicted = model(torch.stack([sample["image"] for sample in samples])).argmax(1)
    labels = torch.stack([sample["label"] for sample in samples])
    found = [(predicted == k)[labels == k].float().mean() for k in range(CLASSES)]
    return float(torch.stack(found).mean())


def test_the_recipe_learns_and_logs_its_terms() -> None:
    module = Segmentation(network(), CLASSES, ignore_index=255)
    before = accuracy(module.model)
    run = trainer(max_epochs=1)
    samples = ignoring(shapes(24, "label"), "label")
    run.fit(module, loader(samples))
    first = dict(run.callback_metrics)
    classes = [f"dice/{k}" for k in range(CLASSES)]
    assert set(first) == {"loss", "cross_entropy", "dice", *classes}
    run.fit_loop.max_epochs = 12
    run.fit(module, loader(samples))
    last = run.callback_metrics
    assert last["loss"] < 0.8 * first["loss"]
    assert last["cross_entropy"] < 0.8 * first["cross_entropy"]
    assert last["dice"] < 0.8 * first["dice"]
    assert accuracy(module.model) > before + 0.15


class Step(LightningModule):
    """A module whose training step gets the result of its loss, and returns what it must."""

    def __init__(self, loss: nn.Module, step: Callable[[LightningModule, Any], Any]) -> None:
        super().__init__()
        self.model, self.loss, self.step = network(), loss, step

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Any:
        return self.step(self, self.loss(self.model(batch["image"]), batch["label"]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def log_and_return(module: LightningModule, loss: Tensor) -> Tensor:
    module.log("loss", loss)
    return loss


def log_all(module: LightningModule, result: Any) -> Tensor:
    total, losses, infos = result
    module.log_dict(losses)
    for info in infos.values():
        module.log_dict(info)
    return total  # type: ignore[no-any-return]


def fitted(module: LightningModule) -> Tensor:
    trainer(max_steps=2).fit(module, loader(shapes(8, "label")))
    return nn.utils.parameters_to_vector(module.parameters()).detach()


@pytest.mark.parametrize(
    ("loss", "step"),
    [
        (CompoundLoss(mode="multiclass"), log_and_return),
        (SegLoss(n_classes=CLASSES, terms="recommended"), lambda module, result: result[0]),
        (SegLoss(n_classes=CLASSES, terms="recommended"), lambda module, result: result.value),
        (SegLoss(n_classes=CLASSES, terms="recommended"), lambda module, result: {"loss": result}),
        (SegLoss(n_classes=CLASSES, terms="recommended").as_criterion(), log_and_return),
        (MultiLoss([SegLoss(n_classes=CLASSES, terms="recommended")], weights=[1.0]), log_all),
    ],
)
def test_each_loss_trains_the_module_in_the_same_way(
    loss: nn.Module, step: Callable[[LightningModule, Any], Any]
) -> None:
    expected = fitted(
        Step(SegLoss(n_classes=CLASSES, terms="recommended"), lambda module, result: result.mean())
    )
    torch.testing.assert_close(fitted(Step(loss, step)), expected, rtol=0, atol=1e-6)


def test_a_step_that_returns_the_pair_is_told_to_return_a_tensor() -> None:
    module = Step(SegLoss(n_classes=CLASSES, terms="recommended"), lambda module, result: result)
    with pytest.raises(MisconfigurationException, match="must return a Tensor"):
        fitted(module)


def test_a_module_that_is_optimised_by_hand_takes_the_pair() -> None:
    def step(module: LightningModule, result: Any) -> None:
        optimizer: Any = module.optimizers()
        optimizer.zero_grad()
        module.manual_backward(result)
        optimizer.step()

    module = Step(SegLoss(n_classes=CLASSES, terms="recommended"), step)
    module.automatic_optimization = False
    expected = fitted(Step(CompoundLoss(mode="multiclass"), log_and_return))
    torch.testing.assert_close(fitted(module), expected, rtol=0, atol=1e-6)


def test_two_processes_train_the_network_of_one(tmp_path: Path) -> None:
    path = os.pathsep.join([str(ROOT), str(ROOT / "examples"), os.environ.get("PYTHONPATH", "")])
    for devices in (1, 2):
        folder = tmp_path / str(devices)
        folder.mkdir()
        subprocess.run(  # noqa: S603
            [sys.executable, "-m", "tests.programs.lightning_runs", str(devices), str(folder)],
            check=True,
            env={**os.environ, "PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": ""},
            cwd=ROOT,
            timeout=120,
        )
    [alone] = (torch.load(tmp_path / "1" / "0.pt"),)
    for rank in range(2):
        together = torch.load(tmp_path / "2" / f"{rank}.pt")
        torch.testing.assert_close(together, alone, rtol=0, atol=1e-6)
