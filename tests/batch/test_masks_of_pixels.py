"""Masks of pixels (N, P), as networks that predict a mask for each object draw them, on every door.

They count as (N, 1, P), in value and gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from segloss import (
    CompoundLoss,
    DiceLoss,
    LossWrapper,
    LovaszLoss,
    MultiLoss,
    SegLoss,
    TopKCrossEntropyLoss,
    functional,
    soft_confusion,
)
from segloss.terms import Boundary, CrossEntropy, Dice, FocalTversky

GT = "gt_polygons_image"
MIXTURE = CrossEntropy() + 0.5 * Dice() + 0.2 * FocalTversky(region_reduction="batch")
Door = Callable[[Tensor, Tensor], Tensor]


def of_batches(loss: Any) -> Door:
    return lambda pred, target: loss({"seg": pred}, {GT: target})[0]


DOORS: dict[str, Door] = {
    "CompoundLoss": CompoundLoss(MIXTURE, ignore_index=255),
    "each sample": lambda p, t: CompoundLoss(Dice(), ignore_index=255, reduction="none")(p, t),
    "multilabel": CompoundLoss(MIXTURE, "multilabel", ignore_index=255, pos_weight=2.0),
    "DiceLoss": DiceLoss(ignore_index=255),
    "LovaszLoss": LovaszLoss("binary", ignore_index=255),
    "TopKCrossEntropyLoss": TopKCrossEntropyLoss("binary", k=50, ignore_index=255),
    "SegLoss": of_batches(SegLoss(from_logits=True, terms=MIXTURE, ignore_index=255)),
    "MultiLoss": of_batches(
        MultiLoss(
            [
                SegLoss("a", from_logits=True, terms=MIXTURE, ignore_index=255),
                SegLoss("b", from_logits=True, ignore_index=255),
                LossWrapper(CompoundLoss(MIXTURE, ignore_index=255), "c"),
            ],
            [1.0, 0.5, 2.0],
        )
    ),
    "seg_loss": lambda p, t: functional.seg_loss(p, t, terms=MIXTURE, ignore_index=255),
    "dice_loss": lambda p, t: functional.dice_loss(p, t, ignore_index=255),
    "binary_cross_entropy": lambda p, t: functional.binary_cross_entropy(p, t, ignore_index=255),
    "soft_confusion": lambda p, t: soft_confusion(p, t, ignore_index=255).true_positive.sum(),
}


def masks(
    number: int = 4, pixels: int = 9, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor]:
    """Logits, and soft targets as bilinear sampling makes them, with an ignored mask and pixels."""
    torch.manual_seed(0)
    target = torch.rand(number, pixels).mul(2).clamp(0, 1).to(dtype)
    target[:, :2] = 255
    target[:1] = 255
    return 3 * torch.randn(number, pixels, dtype=dtype), target


def value_and_gradient(loss: Door, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    logits = logits.clone().requires_grad_()
    value = loss(logits, target)
    [gradient] = torch.autograd.grad(value.sum(), logits)
    return value.detach(), gradient


BATCHES = {
    "float64": masks(),
    "float32": masks(dtype=torch.float32),
    "float16": masks(dtype=torch.float16),
    "many": masks(100, 3),
    "one pixel": masks(3, 1),
    "as many masks as pixels": masks(6, 6),
    "one mask": masks(1, 7),
    "no mask": masks(0, 7),
    "no pixel": masks(3, 0),
}


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("door", DOORS)
def test_they_are_masks_of_one_channel(door: str, batch: str) -> None:
    logits, target = BATCHES[batch]
    value, gradient = value_and_gradient(DOORS[door], logits, target)
    expected, slopes = value_and_gradient(DOORS[door], logits.unsqueeze(1), target.unsqueeze(1))
    assert gradient.shape == logits.shape
    assert gradient.isfinite().all()
    torch.testing.assert_close(value, expected, rtol=0, atol=0)
    torch.testing.assert_close(gradient, slopes.squeeze(1), rtol=0, atol=0)
    if not logits.numel():
        assert not value.any()


def test_dice_is_a_mean_over_masks_that_count() -> None:
    logits, target = masks()
    kept = target != 255
    p = logits.sigmoid() * kept
    g = target * kept
    dice = 1 - (2 * (p * g).sum(1) + 1) / (p.sum(1) + g.sum(1) + 1)
    torch.testing.assert_close(DiceLoss(ignore_index=255)(logits, target), dice[1:].mean())
    unreduced = DiceLoss(ignore_index=255, reduction="none")(logits, target)
    torch.testing.assert_close(unreduced, dice.unsqueeze(1))


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64])
def test_targets_are_of_any_dtype(dtype: torch.dtype) -> None:
    logits, _ = masks()
    target = (logits > 1).to(dtype)
    torch.testing.assert_close(DiceLoss()(logits, target), DiceLoss()(logits, target.double()))


def test_weights_and_maps_have_their_shape() -> None:
    logits, target = masks()
    weights, distances = torch.rand(4, 9), torch.randn(4, 9, dtype=torch.float64)
    loss = CompoundLoss(CrossEntropy() + Dice() + Boundary(), ignore_index=255)
    options = {"pixel_weights": weights, "maps": {"gt_distance_map": distances}}
    channels = {
        "pixel_weights": weights.unsqueeze(1),
        "maps": {"gt_distance_map": distances.unsqueeze(1)},
    }
    expected = loss(logits.unsqueeze(1), target.unsqueeze(1), **channels)
    assert torch.equal(loss(logits, target, **options), expected)


def test_any_layout_of_memory() -> None:
    logits, target = masks(6, 6)
    loss = CompoundLoss(MIXTURE, ignore_index=255)
    expected = value_and_gradient(loss, logits, target)
    strided = value_and_gradient(loss, logits.t().contiguous().t(), target.t().contiguous().t())
    torch.testing.assert_close(strided, expected)


REFUSED: dict[str, tuple[Door, Tensor, Tensor, str]] = {
    "softmax has classes": (
        CompoundLoss(Dice(), "multiclass"),
        torch.zeros(4, 3),
        torch.zeros(4, 3),
        r"\(N, C, \*spatial\)",
    ),
    "so have n_classes": (
        of_batches(SegLoss(n_classes=4)),
        torch.zeros(4, 3),
        torch.zeros(4, 3),
        r"\(N, C, \*spatial\)",
    ),
    "a target of another shape": (
        CompoundLoss(Dice()),
        torch.zeros(4, 3),
        torch.zeros(4, 1, 3),
        r"Masks of points \(N, P\), with sigmoid, need a target of their shape",
    ),
    "probabilities outside": (
        CompoundLoss(Dice(), from_logits=False),
        torch.full((4, 3), 2.0),
        torch.zeros(4, 3),
        "set from_logits=True",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_others_are_refused(name: str) -> None:
    loss, pred, target, words = REFUSED[name]
    with pytest.raises(ValueError, match=words):
        loss(pred, target)
