"""The notebooks' module of segmentation-models-pytorch learns with a loss of segloss, like smp's.

The model is tiny and random; nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import segmentation_models_pytorch as smp
import torch
from example_parts.shapes import CLASSES
from programs.smp_notebook import Segmentation
from torch import Tensor, nn

from segloss import CompoundLoss, SegLoss
from segloss.terms import CrossEntropy, Dice
from tests.programs.comparison import assert_equal
from tests.programs.lightning_runs import Sample, ignoring, loader, shapes, trainer

MODEL: dict[str, Any] = {
    "arch": "unet",
    "encoder_name": "tu-test_efficientnet",
    "encoder_weights": None,
    "decoder_channels": (16, 16, 8, 8, 8),
}
SMP_DICE = Dice(smooth=0.0, region_reduction="batch", skip_absent_classes=True)
"""The Dice of smp, for batches with all classes."""

Loss = Callable[[Tensor, Tensor], Any]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """More would wait for each other longer than they compute."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def masks(number: int) -> list[Sample]:
    """Images with masks (1, H, W) of what is not background."""
    samples = shapes(number, "mask", side=64)
    return [{**sample, "mask": (sample["mask"] > 0).long()[None]} for sample in samples]


def module_with(loss: nn.Module | None = None) -> Segmentation:
    torch.manual_seed(0)
    module = Segmentation(**MODEL)
    if loss is not None:
        module.loss_fn = loss
    return module


def test_the_recipe_learns() -> None:
    module = module_with()
    first = trainer(max_epochs=1)
    first.fit(module, loader(masks(16)))
    last = trainer(max_epochs=10)
    last.fit(module, loader(masks(16)))
    assert last.callback_metrics["iou"] > first.callback_metrics["iou"] + 0.2


class Sum(nn.Module):
    """Losses added up, of masks of any dtype."""

    def __init__(self, *losses: Loss) -> None:
        super().__init__()
        self.losses = losses

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        is_mask = target.ndim == prediction.ndim
        target = target.to(prediction.dtype) if is_mask else target
        return sum(loss(prediction, target) for loss in self.losses)  # type: ignore[return-value]


BINARY = smp.losses.DiceLoss("binary", from_logits=True)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (Sum(BINARY), CompoundLoss(SMP_DICE)),
        (Sum(BINARY, smp.losses.SoftBCEWithLogitsLoss()), CompoundLoss(CrossEntropy() + SMP_DICE)),
        (
            Sum(BINARY, smp.losses.SoftBCEWithLogitsLoss()),
            SegLoss(from_logits=True, terms=CrossEntropy() + SMP_DICE).as_criterion(),
        ),
    ],
)
def test_training_is_that_with_the_losses_of_smp(theirs: nn.Module, ours: nn.Module) -> None:
    networks = []
    for loss in (theirs, ours):
        module = module_with(loss)
        trainer(max_steps=6, precision="64-true").fit(module, loader(masks(12)))
        networks.append(nn.utils.parameters_to_vector(module.parameters()).detach())
    torch.testing.assert_close(networks[1], networks[0], rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_masks_have_the_numbers_of_smp(share: float, dtype: torch.dtype) -> None:
    theirs = Sum(BINARY, smp.losses.SoftBCEWithLogitsLoss(pos_weight=torch.tensor([2.0])))
    ours = CompoundLoss(CrossEntropy() + SMP_DICE, pos_weight=2.0)
    mask = (torch.rand(3, 1, 24, 24) < share).to(dtype)
    assert_equal(ours, theirs, torch.randn(3, 1, 24, 24, dtype=dtype), mask)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("ignoring_some", [False, True])
@pytest.mark.parametrize("classes", [CLASSES, 40])
def test_classes_have_the_numbers_of_smp(
    classes: int, ignoring_some: bool, dtype: torch.dtype
) -> None:
    options = {"ignore_index": 255} if ignoring_some else {}
    dice = smp.losses.DiceLoss("multiclass", from_logits=True, **options)
    theirs = Sum(dice, nn.CrossEntropyLoss(**options))
    ours = CompoundLoss(CrossEntropy() + SMP_DICE, "multiclass", **options)
    labels = torch.randint(0, classes, (3, 24, 24))
    if ignoring_some:
        labels[0, :9], labels[1] = 255, 255
    assert_equal(ours, theirs, torch.randn(3, classes, 24, 24, dtype=dtype), labels)


def test_a_class_that_the_batch_lacks_counts_as_0_in_the_mean_of_smp() -> None:
    dice = smp.losses.DiceLoss("multiclass", from_logits=True)
    ours = CompoundLoss(SMP_DICE, "multiclass")
    labels = torch.randint(0, 3, (3, 24, 24))  # of four classes
    logits = torch.randn(3, 4, 24, 24, dtype=torch.float64)
    assert_equal(lambda x, y: 0.75 * ours(x, y), dice, logits, labels)


def test_a_notebook_of_classes_learns_with_ignored_pixels() -> None:
    torch.manual_seed(0)
    model = smp.create_model(**MODEL, classes=CLASSES)
    loss = CompoundLoss(mode="multiclass", ignore_index=255)
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    samples = ignoring(shapes(8, "mask"), "mask")
    images, labels = (torch.stack([each[key] for each in samples]) for key in ("image", "mask"))
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        value = loss(model(images), labels)
        value.backward()
        optimizer.step()
        losses.append(value.item())
    assert sum(losses[-5:]) < 0.6 * sum(losses[:5])
