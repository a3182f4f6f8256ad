"""Mask2Former learns with the mask losses of segloss, and they are its own at equal settings.

The network is tiny and random; nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from example_parts.shapes import CLASSES, Shapes
from programs import mask2former
from torch import Tensor
from transformers import (
    Mask2FormerConfig,
    Mask2FormerForUniversalSegmentation,
    Mask2FormerImageProcessor,
    SwinConfig,
)

from segloss.terms import CrossEntropy, Dice
from segloss.training.huggingface import use_mask_losses


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """More would wait for each other longer than they compute."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def tiny_mask2former() -> Mask2FormerForUniversalSegmentation:
    """A Mask2Former with 122,000 parameters and losses of two layers."""
    torch.manual_seed(0)
    swin = SwinConfig(
        image_size=32,
        patch_size=2,
        embed_dim=8,
        depths=[1, 1, 1, 1],
        num_heads=[1, 1, 2, 2],
        window_size=2,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    config = Mask2FormerConfig(
        backbone_config=swin,
        hidden_dim=32,
        feature_size=32,
        mask_feature_size=32,
        num_attention_heads=2,
        encoder_layers=1,
        decoder_layers=2,
        encoder_feedforward_dim=32,
        dim_feedforward=32,
        num_queries=6,
        num_labels=CLASSES,
        train_num_points=128,
    )
    return Mask2FormerForUniversalSegmentation(config)


def objects(number: int) -> list[dict[str, Tensor]]:
    """Images, with a mask for each class in them."""
    samples = []
    for sample in Shapes(number, 32, "pixel_values", "labels"):
        labels = sample.pop("labels")
        classes = labels.unique()
        masks = torch.stack([labels == k for k in classes]).to(sample["pixel_values"].dtype)
        samples.append({**sample, "mask_labels": masks, "class_labels": classes})
    return samples


def mean_iou(model: Mask2FormerForUniversalSegmentation, samples: list[dict[str, Tensor]]) -> float:
    batch = mask2former.collate(samples)
    with torch.no_grad():
        outputs = model.eval()(batch["pixel_values"])
    sizes = [(32, 32)] * len(samples)
    maps = Mask2FormerImageProcessor().post_process_semantic_segmentation(outputs, sizes)
    scores = []
    for predicted, masks, classes in zip(
        maps, batch["mask_labels"], batch["class_labels"], strict=True
    ):
        for mask, k in zip(masks.bool(), classes, strict=True):
            p = predicted == k
            scores.append(float((p & mask).sum() / (p | mask).sum()))
    return sum(scores) / len(scores)


def test_the_recipe_learns(tmp_path: Path) -> None:
    model = tiny_mask2former()
    trainer = mask2former.trainer_of(
        model,
        objects(32),
        str(tmp_path),
        max_steps=120,
        learning_rate=2e-3,
        per_device_train_batch_size=4,
        use_cpu=True,
        report_to=[],
        disable_tqdm=True,
        save_strategy="no",
        logging_steps=1,
        dataloader_pin_memory=False,
    )
    assert set(model.criterion.mask_losses) == {"loss_mask", "loss_dice"}
    before = mean_iou(model, objects(8))
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])
    assert mean_iou(model, objects(8)) > before + 0.15


@pytest.fixture
def _float64() -> Iterator[None]:
    """Mask2Former draws points of the default dtype."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def loss_and_slopes(model: Any, batch: dict[str, Any]) -> list[Tensor]:
    """The model's loss, and its gradient by all of its parameters that have one."""
    torch.manual_seed(0)
    model.zero_grad()
    loss = model(**batch).loss
    loss.backward()
    return [loss.detach(), *(p.grad.clone() for p in model.parameters() if p.grad is not None)]


@pytest.mark.usefixtures("_float64")
@pytest.mark.parametrize("without_objects", [False, True])
def test_cross_entropy_and_dice_are_its_own_losses(without_objects: bool) -> None:
    model, samples = tiny_mask2former(), objects(3)
    if without_objects:
        samples[1]["mask_labels"] = samples[1]["mask_labels"][:0]
        samples[1]["class_labels"] = samples[1]["class_labels"][:0]
    batch = mask2former.collate(samples)
    expected = loss_and_slopes(model, batch)
    use_mask_losses(model, loss_mask=CrossEntropy(), loss_dice=Dice())
    torch.testing.assert_close(loss_and_slopes(model, batch), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.usefixtures("_float64")
def test_the_weights_are_those_of_its_configuration() -> None:
    model, batch = tiny_mask2former(), mask2former.collate(objects(3))
    use_mask_losses(model, loss_mask=CrossEntropy(), loss_dice=Dice())
    both, *_ = loss_and_slopes(model, batch)
    use_mask_losses(model, loss_mask=CrossEntropy() + Dice())
    assert model.config.mask_weight == model.config.dice_weight
    torch.testing.assert_close(loss_and_slopes(model, batch)[0], both)
