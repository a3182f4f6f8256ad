"""A SegFormer learns in the Trainer of Hugging Face, and accumulated micro-batches are one batch.

The network is tiny and random; nothing is downloaded.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from example_parts.shapes import CLASSES, Shapes
from programs import huggingface
from torch import Tensor, nn
from transformers import (
    SegformerConfig,
    SegformerForSemanticSegmentation,
    Trainer,
    TrainingArguments,
)

from segloss import CompoundLoss, SegLoss
from segloss.terms import CrossEntropy
from segloss.training.huggingface import IgnoreIndexCollator, as_compute_loss_func
from tests.support.ranks import on_ranks

COLLATOR = IgnoreIndexCollator(255)

QUIET: dict[str, Any] = {
    "use_cpu": True,
    "report_to": [],
    "disable_tqdm": True,
    "save_strategy": "no",
    "logging_steps": 1,
    "dataloader_pin_memory": False,
}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """More would wait for each other longer than they compute."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def tiny_segformer(**options: Any) -> SegformerForSemanticSegmentation:
    """A SegFormer with 32,000 parameters; its logits are a quarter of the images' size."""
    torch.manual_seed(0)
    return SegformerForSemanticSegmentation(
        SegformerConfig(
            num_labels=CLASSES,
            depths=[1, 1, 1, 1],
            hidden_sizes=[8, 16, 16, 16],
            num_attention_heads=[1, 2, 2, 2],
            decoder_hidden_size=16,
            **options,
        )
    )


def ignoring(samples: list[dict[str, Tensor]]) -> list[dict[str, Tensor]]:
    """The samples with ignored pixels: none, some, most or all, by turns."""
    for sample, rows in zip(samples, [0, 9, 30, 32, 0, 20], strict=False):
        sample["labels"][:rows] = 255
    return samples


def shapes(number: int) -> list[dict[str, Tensor]]:
    return list(Shapes(number, 32, "pixel_values", "labels"))


def mean_iou(prediction: Any) -> dict[str, float]:
    """The score for `compute_metrics`, of logits at a quarter of the labels' size."""
    logits, labels = (torch.as_tensor(each) for each in prediction)
    predicted = F.interpolate(logits, labels.shape[-2:], mode="bilinear").argmax(1)
    counted = labels >= 0
    scores = []
    for k in range(CLASSES):
        p, y = (predicted == k)[counted], (labels == k)[counted]
        scores.append(float((p & y).sum() / (p | y).sum()))
    return {"mean_iou": sum(scores) / CLASSES}


def test_the_recipe_learns(tmp_path: Path) -> None:
    trainer = huggingface.trainer_of(
        tiny_segformer(),
        ignoring(shapes(24)),
        str(tmp_path),
        max_steps=60,
        learning_rate=3e-3,
        gradient_accumulation_steps=2,
        per_device_train_batch_size=4,
        **QUIET,
    )
    trainer.compute_metrics = mean_iou
    before = trainer.evaluate(shapes(8))
    trainer.train()
    after = trainer.evaluate(shapes(8))
    assert after["eval_loss"] < 0.8 * before["eval_loss"]
    assert after["eval_mean_iou"] > before["eval_mean_iou"] + 0.15
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


class Plain(nn.Module):
    """A SegFormer without what sees the other samples of a batch, or is random."""

    def __init__(self) -> None:
        super().__init__()
        model = tiny_segformer(
            drop_path_rate=0.0,
            classifier_dropout_prob=0.0,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        ).double()
        model.decode_head.batch_norm = nn.Identity()  # it averages over the micro-batch
        self.segformer = model

    def forward(self, pixel_values: Tensor, labels: Tensor | None = None) -> Any:
        return self.segformer(pixel_values=pixel_values.double())


def one_step(
    folder: Path, loss: Any, batch: int, accumulate: int, collator: Any = None, **options: Any
) -> Plain:
    """The network after one step of the Trainer on six samples, of the gradient itself."""
    model = Plain()
    settings = {"optim": "sgd", "lr_scheduler_type": "constant", "max_grad_norm": 0, **QUIET}
    Trainer(
        model,
        TrainingArguments(
            str(folder),
            max_steps=1,
            learning_rate=1.0,
            per_device_train_batch_size=batch,
            gradient_accumulation_steps=accumulate,
            **settings,
            **options,
        ),
        train_dataset=ignoring(shapes(6)),
        data_collator=collator,
        compute_loss_func=as_compute_loss_func(loss),
    ).train()
    return model


LOSSES = {
    "SegLoss": SegLoss(n_classes=CLASSES, bce_coef=1, dice_coef=0, ignore_index=255),
    "CompoundLoss": CompoundLoss(CrossEntropy(), "multiclass", ignore_index=255),
    "PyTorch's": nn.CrossEntropyLoss(ignore_index=255),
}


@pytest.mark.parametrize(("batch", "accumulate"), [(6, 1), (3, 2), (2, 3), (1, 6), (4, 2)])
@pytest.mark.parametrize("name", LOSSES)
def test_accumulated_micro_batches_are_one_batch(
    name: str, batch: int, accumulate: int, tmp_path: Path
) -> None:
    assert_is_one_batch(one_step(tmp_path, LOSSES[name], batch, accumulate, COLLATOR))


def assert_is_one_batch(model: Plain) -> None:
    """The weights are those after a step of PyTorch's cross-entropy of all six samples."""
    expected, samples = Plain(), ignoring(shapes(6))
    images, labels = (
        torch.stack([sample[key] for sample in samples]) for key in ("pixel_values", "labels")
    )
    logits = F.interpolate(expected(images).logits, labels.shape[-2:], mode="bilinear")
    F.cross_entropy(logits, labels, ignore_index=255).backward()
    for parameter, before in zip(model.parameters(), expected.parameters(), strict=True):
        step = before.grad if before.grad is not None else torch.zeros_like(before)
        torch.testing.assert_close(parameter, before - step, rtol=0, atol=1e-6)


def on_a_rank(folder: Path, rank: int, ranks: int) -> dict[str, Tensor]:
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(ranks))
    return one_step(folder, LOSSES["SegLoss"], 1, 3, COLLATOR, ddp_backend="gloo").state_dict()


def test_so_are_those_of_two_processes(tmp_path: Path) -> None:
    for weights in on_ranks(2, tmp_path, partial(on_a_rank, tmp_path / "out")):
        model = Plain()
        model.load_state_dict(weights)
        assert_is_one_batch(model)


def test_without_the_collator_it_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"labels hold 255.*IgnoreIndexCollator\(255\)"):
        one_step(tmp_path, LOSSES["SegLoss"], 2, 3)


def test_the_loss_is_segformers_own_at_equal_settings() -> None:
    model = tiny_segformer().eval()
    batch = COLLATOR(ignoring(shapes(6)))
    labels = batch["labels"].where(batch["labels"] >= 0, 255)
    own = model(pixel_values=batch["pixel_values"], labels=labels)
    [slopes] = torch.autograd.grad(own.loss, [model.decode_head.classifier.weight])
    outputs = model(pixel_values=batch["pixel_values"])
    value = as_compute_loss_func(LOSSES["CompoundLoss"])(outputs, batch["labels"])
    [gradient] = torch.autograd.grad(value, [model.decode_head.classifier.weight])
    torch.testing.assert_close(value, own.loss, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(gradient, slopes, rtol=1e-6, atol=1e-6)
