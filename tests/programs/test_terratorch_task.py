"""The segmentation task of terratorch learns with losses of segloss, with its losses' numbers.

Beside mmsegmentation, terratorch imports its heads, and so `mmcv.ops`. With `mmcv-lite` it is
stubbed here: it must be compiled for the installed PyTorch, and nothing of it is used.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from example_parts.shapes import CLASSES
from torch import Tensor, nn

if find_spec("terratorch") is None:
    pytest.skip("terratorch is not installed", allow_module_level=True)

_IS_LITE = find_spec("mmcv") is not None and find_spec("mmcv._ext") is None
if _IS_LITE:
    sys.modules["mmcv.ops"] = mock.MagicMock()

from lightning.pytorch.callbacks import ModelCheckpoint  # noqa: E402
from programs.terratorch_task import MODEL, CompoundTask  # noqa: E402
from terratorch.cli_tools import build_lightning_cli  # noqa: E402
from terratorch.tasks import SemanticSegmentationTask  # noqa: E402
from terratorch.tasks.loss_handler import CombinedLoss  # noqa: E402

if _IS_LITE:
    del sys.modules["mmcv.ops"]

from segloss import CompoundLoss, MultiLoss, SegLoss  # noqa: E402
from segloss.terms import CrossEntropy, Dice  # noqa: E402
from tests.programs.comparison import assert_equal  # noqa: E402
from tests.programs.lightning_runs import ignoring, loader, shapes, trainer  # noqa: E402

OPTIONS: dict[str, Any] = {
    "model_args": MODEL,
    "model_factory": "EncoderDecoderFactory",
    "ignore_index": 255,
    "plot_on_val": False,
    "lr": 3e-3,
}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """More would wait for each other longer than they compute."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def fit(task: SemanticSegmentationTask, epochs: int = 1, **options: Any) -> dict[str, float]:
    samples, validation = ignoring(shapes(16, "mask"), "mask"), shapes(8, "mask")
    run = trainer(max_epochs=epochs, **options)
    run.fit(task, loader(samples), loader(validation))
    return {key: float(value) for key, value in run.callback_metrics.items()}


def parameters_after(loss: Any) -> Tensor:
    torch.manual_seed(0)
    task = SemanticSegmentationTask(**OPTIONS, loss=loss)
    fit(task, precision="64-true")
    return nn.utils.parameters_to_vector(task.model.parameters()).detach()


def test_the_recipe_learns() -> None:
    task = CompoundTask(**OPTIONS)
    first, last = fit(task), fit(task, epochs=12)
    assert last["train/loss"] < 0.7 * first["train/loss"]
    assert last["val/mIoU"] > first["val/mIoU"] + 0.1


def test_training_is_that_with_the_cross_entropy_of_terratorch() -> None:
    expected = parameters_after("ce")
    ours = parameters_after(CompoundLoss(CrossEntropy(), "multiclass", ignore_index=255))
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-6)


def test_a_compound_loss_has_the_numbers_of_two_losses_of_terratorch() -> None:
    """Theirs counts a class that no pixel of the batch has as 0, so each has all classes."""
    theirs: Any = SemanticSegmentationTask(**OPTIONS, loss={"ce": 0.3, "dice": 0.7}).criterion
    assert isinstance(theirs, CombinedLoss)
    dice = Dice(smooth=0.0, region_reduction="batch")
    ours = CompoundLoss(0.3 * CrossEntropy() + 0.7 * dice, "multiclass", ignore_index=255)
    labels = torch.randint(0, CLASSES, (3, 24, 24))
    labels[0, :9], labels[1] = 255, 255
    torch.manual_seed(1)
    logits = torch.randn(3, CLASSES, 24, 24, dtype=torch.float64)
    assert_equal(ours, lambda *batch: theirs(*batch)["loss"], logits, labels)


RECOMMENDED = SegLoss(n_classes=CLASSES, terms="recommended", ignore_index=255)


@pytest.mark.parametrize(
    "loss",
    [
        CompoundLoss(mode="multiclass", ignore_index=255),
        RECOMMENDED.as_criterion(),
        MultiLoss([RECOMMENDED], weights=[1.0]).as_criterion(),
    ],
)
def test_a_task_takes_each_loss_as_an_argument(loss: nn.Module) -> None:
    torch.manual_seed(0)
    task = CompoundTask(**OPTIONS)
    fit(task, precision="64-true")
    expected = nn.utils.parameters_to_vector(task.model.parameters()).detach()
    torch.testing.assert_close(parameters_after(loss), expected, rtol=0, atol=1e-6)


def test_the_command_line_trains_the_recipe_that_a_config_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = {"class_path": "programs.terratorch_task.CompoundTask", "init_args": OPTIONS}
    data = {
        "class_path": "tests.programs.lightning_runs.ShapesData",
        "init_args": {"label": "mask"},
    }
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    options = {"accelerator": "cpu", "max_epochs": 2, "callbacks": None, **quiet}
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"trainer": options, "model": task, "data": data}))
    monkeypatch.chdir(tmp_path)
    run = build_lightning_cli(["fit", "--config", str(config)])
    assert isinstance(run.model.criterion, CompoundLoss)
    assert run.model.criterion.ignore_index == 255
    assert run.trainer.global_step == 8


def test_auxiliary_heads_have_the_loss_too() -> None:
    from terratorch.models.model import AuxiliaryHead

    head = AuxiliaryHead("aux", "FCNDecoder", {"decoder_channels": 8})
    task = CompoundTask(aux_heads=[head], aux_loss={"aux": 0.5}, **OPTIONS)
    first, last = fit(task), fit(task, epochs=8)
    assert last["train/aux_epoch"] < first["train/aux_epoch"]
    assert last["train/loss"] < 0.8 * first["train/loss"]


def test_a_checkpoint_of_the_recipe_has_its_loss_and_resumes(tmp_path: Path) -> None:
    checkpoint = ModelCheckpoint(tmp_path, filename="last")
    fit(CompoundTask(**OPTIONS), enable_checkpointing=True, callbacks=[checkpoint])
    loaded = CompoundTask.load_from_checkpoint(tmp_path / "last.ckpt")
    assert isinstance(loaded.criterion, CompoundLoss)
    assert loaded.criterion.ignore_index == 255
    run = trainer(max_epochs=2)
    samples = shapes(8, "mask")
    run.fit(loaded, loader(samples), loader(samples), ckpt_path=tmp_path / "last.ckpt")
    assert run.current_epoch == 2


def test_a_checkpoint_of_a_task_that_was_given_the_loss_must_be_trusted(tmp_path: Path) -> None:
    loss = CompoundLoss(mode="multiclass", ignore_index=255)
    checkpoint = ModelCheckpoint(tmp_path, filename="last")
    task = SemanticSegmentationTask(**OPTIONS, loss=loss)
    fit(task, enable_checkpointing=True, callbacks=[checkpoint])
    loaded = SemanticSegmentationTask.load_from_checkpoint(
        tmp_path / "last.ckpt", weights_only=False
    )
    assert isinstance(loaded.criterion, CompoundLoss)
