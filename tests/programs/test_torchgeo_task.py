"""The segmentation task of torchgeo learns with losses of segloss, with its losses' numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from example_parts.shapes import CLASSES
from torch import Tensor, nn

pytest.importorskip("torchgeo")
from lightning.pytorch.callbacks import ModelCheckpoint
from programs.torchgeo_task import CompoundTask
from torchgeo.trainers import SemanticSegmentationTask

from segloss import CompoundLoss, MultiLoss, SegLoss
from segloss.terms import CrossEntropy, Jaccard
from tests.programs.comparison import assert_equal
from tests.programs.lightning_runs import ignoring, loader, shapes, trainer

FCN: dict[str, Any] = {"model": "fcn", "num_filters": 8, "lr": 1e-2}
OF_CLASSES = {**FCN, "num_classes": CLASSES}
IOU = "val_MulticlassJaccardIndex"


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """More would wait for each other longer than they compute."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def fit(task: SemanticSegmentationTask, epochs: int = 1, **options: Any) -> dict[str, float]:
    """Trains the task with its own callbacks, and returns what it logs."""
    samples, validation = ignoring(shapes(24, "mask"), "mask"), shapes(8, "mask")
    run = trainer(max_epochs=epochs, **options)
    run.fit(task, loader(samples), loader(validation))
    return {key: float(value) for key, value in run.callback_metrics.items()}


def test_the_recipe_learns_and_ignores_what_the_metrics_ignore() -> None:
    task = CompoundTask(**OF_CLASSES, ignore_index=255)
    first, last = fit(task), fit(task, epochs=8)
    assert task.criterion.ignore_index == 255
    assert last["train_loss"] < 0.6 * first["train_loss"]
    assert last["val_loss"] < 0.6 * first["val_loss"]
    assert last[IOU] > first[IOU] + 0.1


def own_criterion(task: SemanticSegmentationTask, criterion: Any) -> SemanticSegmentationTask:
    task.criterion = criterion
    return task


def parameters_after(task: SemanticSegmentationTask) -> Tensor:
    fit(task, precision="64-true")
    return nn.utils.parameters_to_vector(task.model.parameters()).detach()


WEIGHTS = [1.0, 2.0, 3.0]
PAIRS: list[tuple[dict[str, Any], Callable[[], nn.Module]]] = [
    ({"loss": "ce"}, lambda: CompoundLoss(CrossEntropy(), "multiclass", ignore_index=255)),
    (
        {"loss": "ce", "class_weights": WEIGHTS},
        lambda: CompoundLoss(CrossEntropy(), "multiclass", ignore_index=255, class_weights=WEIGHTS),
    ),
]


@pytest.mark.parametrize(("theirs", "ours"), PAIRS)
def test_training_is_that_with_the_loss_of_torchgeo(
    theirs: dict[str, Any], ours: Callable[[], nn.Module]
) -> None:
    networks = []
    for criterion in (None, ours()):
        torch.manual_seed(0)
        task = SemanticSegmentationTask(**OF_CLASSES, ignore_index=255, **theirs)
        networks.append(parameters_after(own_criterion(task, criterion or task.criterion)))
    expected, parameters = networks
    torch.testing.assert_close(parameters, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("ignored", [None, 0])
@pytest.mark.parametrize("classes", [3, 40])
def test_jaccard_has_the_numbers_of_torchgeos(classes: int, ignored: int | None) -> None:
    """torchgeo leaves the ignored class out of the mean over classes, not its pixels."""
    task = SemanticSegmentationTask(
        **FCN, num_classes=classes, loss="jaccard", ignore_index=ignored
    )
    counted = [k for k in range(classes) if k != ignored]
    jaccard = Jaccard(region_classes=counted, region_reduction="batch", smooth=0.0)
    labels = torch.randint(0, classes, (3, 24, 24))
    torch.manual_seed(1)
    logits = torch.randn(3, classes, 24, 24, dtype=torch.float64)
    assert_equal(CompoundLoss(jaccard, "multiclass"), task.criterion, logits, labels)


RECOMMENDED = SegLoss(n_classes=CLASSES, terms="recommended", ignore_index=255)


@pytest.mark.parametrize(
    "criterion",
    [
        CompoundLoss(mode="multiclass", ignore_index=255),
        RECOMMENDED.as_criterion(),
        MultiLoss([RECOMMENDED], weights=[1.0]).as_criterion(),
    ],
)
def test_a_task_takes_each_loss_in_place_of_its_own(criterion: nn.Module) -> None:
    tasks = []
    for task_type in (CompoundTask, SemanticSegmentationTask):
        torch.manual_seed(0)
        tasks.append(task_type(**OF_CLASSES, ignore_index=255))
    task = own_criterion(tasks[1], criterion)
    expected = parameters_after(tasks[0])
    torch.testing.assert_close(parameters_after(task), expected, rtol=0, atol=1e-6)


class BinaryTask(SemanticSegmentationTask):
    """A task of one class: torchgeo drops the channel axis of its logits."""

    def configure_losses(self) -> None:
        loss = CompoundLoss()
        self.criterion = lambda logits, masks: loss(logits.unsqueeze(1), masks)


def test_a_binary_task_learns_with_the_axis_of_channels() -> None:
    task = BinaryTask(**FCN, task="binary")
    samples = shapes(24, "mask")
    for sample in samples:
        sample["mask"] = sample["mask"].clamp(max=1)
    losses = []
    for epochs in (1, 8):
        run = trainer(max_epochs=epochs)
        run.fit(task, loader(samples), loader(samples))
        losses.append(float(run.callback_metrics["train_loss"]))
    assert losses[1] < 0.6 * losses[0]


def test_a_checkpoint_of_the_recipe_has_its_loss(tmp_path: Path) -> None:
    task = CompoundTask(**OF_CLASSES, ignore_index=255)
    checkpoint = ModelCheckpoint(tmp_path, filename="last")
    fit(task, enable_checkpointing=True, callbacks=[checkpoint])
    loaded = CompoundTask.load_from_checkpoint(tmp_path / "last.ckpt")
    assert isinstance(loaded.criterion, CompoundLoss)
    assert loaded.criterion.ignore_index == 255
    for key, value in task.model.state_dict().items():
        assert torch.equal(loaded.model.state_dict()[key], value)
