"""Computed masks, weights and probabilities may lie outside their bounds by rounding."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import segloss
from segloss import (
    CompoundLoss,
    ComputeSegGrads,
    CrossfieldAlignLoss,
    CrossfieldSmoothLoss,
    DeepSupervision,
    LossWrapper,
    LovaszLoss,
    MultiLoss,
    SegEdgeInteriorLoss,
    SegLoss,
    SegLossWeights,
    TopKCrossEntropyLoss,
)
from segloss import functional as functions
from segloss.compat.tutorial import WeightedMSELoss
from segloss.terms import TERMS, Dice
from tests.support.kernels import BACKENDS

GT, W = "gt_polygons_image", "seg_loss_weights"

ABOVE = {
    torch.float16: 1.0009766,
    torch.bfloat16: 1.0078125,
    torch.float32: 1.0000002,
    torch.float64: 1.0000002,
}
"""Values that a computation in each dtype may give in place of 1."""

DTYPES = pytest.mark.parametrize("dtype", ABOVE)


@pytest.fixture(params=BACKENDS)
def each_backend(request) -> Iterator[str]:
    with segloss.use_backend(request.param):
        yield request.param


def rounded(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """The mask with 1 and 0 changed by a rounding error, up and down."""
    error = ABOVE[dtype] - 1
    return torch.where(mask > 0, 1 + error, -error).to(dtype)


def logits(*shape: int) -> Tensor:
    return torch.randn(shape)


# On every kernel


def terms() -> list[Any]:
    built = [*(term() for term in TERMS.values()), *(region(smooth=0.0) for region in (Dice,))]
    return [*built, *(Dice(region_reduction=each) for each in ("batch", "micro"))]


@DTYPES
@pytest.mark.parametrize("mode", ["binary", "multilabel", "multiclass"])
@pytest.mark.parametrize("term", terms(), ids=repr)
def test_a_rounded_mask_has_the_loss_of_the_mask(term, mode: str, dtype, each_backend) -> None:
    classes = 1 if mode == "binary" else 3
    pred = logits(2, classes, 60)
    mask = F.one_hot(torch.arange(120).reshape(2, 60) % 3, 3).movedim(-1, 1)[:, :classes].float()
    maps = {key: torch.rand(pred.shape) for key in ("gt_distance_map", "gt_skeleton")}
    check_close(
        CompoundLoss(term, mode),
        pred,
        rounded(mask, dtype),
        mask,
        8 * (ABOVE[dtype] - 1),
        maps=maps,
    )


@pytest.mark.parametrize("mode", ["binary", "multilabel", "multiclass"])
@pytest.mark.parametrize("term", terms(), ids=repr)
def test_a_weight_below_0_by_rounding_counts_as_0(term, mode: str, each_backend) -> None:
    classes = 1 if mode == "binary" else 3
    pred, labels = logits(3, classes, 40), torch.arange(120).reshape(3, 40) % max(classes, 2)
    mask = (
        labels if mode == "multiclass" else (labels.unsqueeze(1) == torch.arange(classes)[:, None])
    )
    weights = torch.rand(3, 1, 40)
    weights[:, :, ::3] = 0
    weights[2] = 0
    noisy = torch.where(weights == 0, -2.8e-15, weights)
    maps = {key: torch.rand(pred.shape) for key in ("gt_distance_map", "gt_skeleton")}
    loss = CompoundLoss(term, mode)
    value, gradient = of(loss, pred, mask, pixel_weights=noisy, maps=maps)
    right, right_gradient = of(loss, pred, mask, pixel_weights=weights, maps=maps)
    torch.testing.assert_close(value, right, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(gradient, right_gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("scale", [1.0, 40.0])
@pytest.mark.parametrize("term", terms(), ids=repr)
@DTYPES
def test_a_rounded_mask_never_gives_nan(term, scale: float, dtype, each_backend) -> None:
    """Not even where a sum would be 0 without the rounding: full, empty and perfect masks."""
    for mask in (torch.ones(2, 1, 50), torch.zeros(2, 1, 50), torch.eye(50)[None, :2].mT):
        mask = mask.reshape(-1, 1, 50)
        pred = scale * (2 * mask - 1)
        maps = {key: torch.rand(pred.shape) for key in ("gt_distance_map", "gt_skeleton")}
        value, gradient = of(CompoundLoss(term), pred, rounded(mask, dtype), maps=maps)
        assert value.isfinite()
        assert gradient.isfinite().all()


@DTYPES
def test_rounded_probabilities_have_the_loss_of_probabilities(dtype, each_backend) -> None:
    mask = torch.arange(120).reshape(2, 1, 60) % 2
    given = torch.where(mask > 0, ABOVE[dtype], 0.25).to(dtype)
    loss = SegLoss()
    assert_close(loss(given, mask)[0], loss(given.float().clamp(0, 1), mask)[0], 1e-5)


def of(loss: CompoundLoss, pred: Tensor, target: Tensor, **more: Any) -> tuple[Tensor, Tensor]:
    pred = pred.clone().requires_grad_()
    value = loss(pred, target, **more)
    return value.detach(), torch.autograd.grad(value, pred)[0]


def check_close(
    loss: CompoundLoss, pred: Tensor, target: Tensor, right: Tensor, error: float, **more: Any
) -> None:
    value, gradient = of(loss, pred, target, **more)
    expected, expected_gradient = of(loss, pred, right, **more)
    assert_close(value, expected, error)
    assert_close(gradient, expected_gradient, error)


def assert_close(value: Tensor, expected: Tensor, error: float) -> None:
    torch.testing.assert_close(value, expected, rtol=error, atol=error, check_dtype=False)


# Through every door


def frame(mask: Tensor) -> dict[str, Tensor]:
    return {GT: mask.expand(1, 3, 4, 4), "gt_crossfield_angle": torch.zeros(1, 1, 4, 4)}


def edges(seg: Tensor) -> Tensor:
    batch, _ = ComputeSegGrads()({"seg": seg.expand(1, 2, 4, 4)}, {})
    return SegEdgeInteriorLoss()(batch, {})[0]


PRED, ONES = torch.linspace(-2, 2, 16).reshape(1, 1, 4, 4), torch.ones(1, 1, 4, 4)
FIELD = torch.ones(1, 4, 4, 4)
FREQUENT = {"class_freq": torch.full((1, 1), 0.5)}

MASKS: dict[str, Callable[[Tensor], Any]] = {
    "SegLoss": lambda mask: SegLoss(from_logits=True)(PRED, mask)[0],
    "CompoundLoss": lambda mask: CompoundLoss(Dice())(PRED, mask),
    "functional": lambda mask: functions.dice_loss(PRED, mask),
    "soft_confusion": lambda mask: segloss.soft_confusion(PRED, mask).true_positive,
    "LossWrapper": lambda mask: LossWrapper(CompoundLoss(Dice()))(PRED, mask)[0],
    "BCEWithLogitsLoss": lambda mask: LossWrapper(nn.BCEWithLogitsLoss())(PRED, mask)[0],
    "BCELoss": lambda mask: LossWrapper(nn.BCELoss())(PRED.sigmoid(), mask)[0],
    "BCELoss of a dtype": lambda mask: LossWrapper(nn.BCELoss(), target_dtype="float32")(
        PRED.sigmoid(), mask
    )[0],
    "MultiLoss": lambda mask: MultiLoss([SegLoss(from_logits=True)], [1.0])(PRED, mask)[0],
    "DeepSupervision": lambda mask: DeepSupervision(SegLoss(from_logits=True))(
        [PRED, PRED[..., ::2]], mask
    )[0],
    "LovaszLoss": lambda mask: LovaszLoss("binary")(PRED, mask),
    "TopKCrossEntropyLoss": lambda mask: TopKCrossEntropyLoss("binary")(PRED, mask),
    "CrossfieldAlignLoss": lambda mask: CrossfieldAlignLoss()({"crossfield": FIELD}, frame(mask))[
        0
    ],
    "CrossfieldSmoothLoss": lambda mask: CrossfieldSmoothLoss()({"crossfield": FIELD}, frame(mask))[
        0
    ],
    "SegLossWeights": lambda mask: SegLossWeights(use_dist=False, use_size=False)(
        {}, {GT: mask, **FREQUENT}
    )[1][W],
}

PROBABILITIES: dict[str, Callable[[Tensor], Any]] = {
    "SegLoss": lambda p: SegLoss()(p, ONES)[0],
    "CompoundLoss": lambda p: CompoundLoss(Dice(), from_logits=False)(p, ONES),
    "functional": lambda p: functions.dice_loss(p, ONES, from_logits=False),
    "BCELoss": lambda p: LossWrapper(nn.BCELoss())(p, ONES)[0],
    "SegEdgeInteriorLoss": edges,
}

WEIGHTS: dict[str, Callable[[Tensor], Any]] = {
    "SegLoss": lambda w: SegLoss(from_logits=True)({"seg": PRED}, {GT: ONES, W: w})[0],
    "CompoundLoss": lambda w: CompoundLoss(Dice())(PRED, ONES, pixel_weights=w),
    "functional": lambda w: functions.dice_loss(PRED, ONES, pixel_weights=w),
    "LossWrapper": lambda w: LossWrapper(CompoundLoss(Dice()))({"seg": PRED}, {GT: ONES, W: w})[0],
    "WeightedMSELoss": lambda w: WeightedMSELoss()(PRED, ONES, w),
    "class_weights": lambda w: SegLoss(
        n_classes=16, activation="sigmoid", class_weights=w.flatten()
    )(PRED.reshape(1, 16, 1), ONES.reshape(1, 16, 1))[0],
}


@DTYPES
@pytest.mark.parametrize("door", MASKS)
def test_a_rounded_mask_is_taken_through_every_door(door: str, dtype) -> None:
    mask = (PRED > 0).float()
    error = ABOVE[dtype] - 1
    assert_close(MASKS[door](rounded(mask, dtype)), MASKS[door](mask), 40 * error)


@DTYPES
@pytest.mark.parametrize("door", PROBABILITIES)
def test_rounded_probabilities_are_taken_through_every_door(door: str, dtype) -> None:
    p = PRED.sigmoid()
    given = torch.where(PRED > 1, ABOVE[dtype], p).to(dtype)
    expected = PROBABILITIES[door](given.float().clamp(0, 1))
    assert_close(PROBABILITIES[door](given), expected, 10 * (ABOVE[dtype] - 1) + 1e-6)


@pytest.mark.parametrize("door", WEIGHTS)
def test_a_weight_below_0_by_rounding_is_taken_through_every_door(door: str) -> None:
    weights = PRED.sigmoid().clone()
    weights[..., 0] = 0
    expected = WEIGHTS[door](weights)
    weights[..., 0] = -2.8e-15
    assert_close(WEIGHTS[door](weights), expected, 1e-6)


@pytest.mark.parametrize("lam", [1.0000001, torch.tensor(1.0000002), torch.tensor(-1e-9)])
def test_a_rounded_lambda_is_taken(lam: float | Tensor) -> None:
    loss = SegLoss(from_logits=True, use_mixup=True)
    batch = {"mixup_y_a": ONES, "mixup_y_b": 1 - ONES, "mixup_lam": lam}
    first = ONES if lam > 0.5 else 1 - ONES
    assert_close(loss(PRED, batch)[0], loss(PRED, first)[0], 1e-5)


def test_the_slope_of_a_rounded_probability_is_kept_for_bce() -> None:
    p = torch.tensor([[[0.5, 1.0000002]]], requires_grad=True)
    LossWrapper(nn.BCELoss())(p, torch.tensor([[[1.0, 0.0]]]))[0].backward()
    assert p.grad is not None
    assert p.grad[0, 0, 1] > 1e6


# What is still refused, and how the message says it


@pytest.mark.parametrize("door", MASKS)
@pytest.mark.parametrize("value", [1.0001, -0.0001, torch.nan, torch.inf])
def test_a_mask_outside_by_more_is_refused_with_the_digits(door: str, value: float) -> None:
    mask = torch.where(PRED > 1, value, 0.0)
    with pytest.raises(ValueError, match=re.escape(f"{value:g}"[:6])):
        MASKS[door](mask)


@pytest.mark.parametrize("door", WEIGHTS)
@pytest.mark.parametrize("value", [-0.01, torch.nan, torch.inf])
def test_a_weight_below_0_by_more_is_refused(door: str, value: float) -> None:
    with pytest.raises(ValueError, match=re.escape(f"{value:g}")):
        WEIGHTS[door](torch.where(PRED > 1, value, 1.0))


@DTYPES
def test_the_slack_is_that_of_the_dtype(dtype) -> None:
    for narrower, above in ABOVE.items():
        mask = torch.full((1, 1, 4), above)
        if torch.finfo(narrower).eps > 16 * torch.finfo(dtype).eps and above > 1.0001:
            with pytest.raises(ValueError, match="must hold values in"):
                SegLoss()(torch.ones(1, 1, 4), mask.to(dtype))


@pytest.mark.parametrize("value", [1.0000305, 1 + 2e-5, 1.001])
def test_a_message_never_shows_1_for_a_value_above_1(value: float) -> None:
    calls: list[Callable[[], Any]] = [
        lambda: SegLoss()(torch.ones(1, 1, 4), torch.full((1, 1, 4), value)),
        lambda: SegLoss()(torch.full((1, 1, 4), value), torch.ones(1, 1, 4)),
        lambda: LossWrapper(nn.BCELoss())(torch.full((1, 1, 4), value), torch.ones(1, 1, 4)),
        lambda: SegLoss(use_label_smooth=True, smooth_factor=1 + 1e-9),
        lambda: SegLoss(use_mixup=True)(
            ONES, {"mixup_y_a": ONES, "mixup_y_b": ONES, "mixup_lam": value}
        ),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=r"got .*\b1\.0\d*[1-9]"):
            call()


# The order of batches


@pytest.mark.parametrize("n", [65_000, 70_000])
def test_a_rounded_mask_is_taken_whatever_came_before(n: int) -> None:
    pred, mask = torch.rand(1, 1, n), torch.ones(1, 1, n)
    exact, off = mask, mask * 1.0000002
    values = []
    for order in ((exact, off), (off, exact), (off, off)):
        loss = SegLoss()
        values.append({id(each): loss(pred, each)[0].item() for each in order})
    assert values[0][id(off)] == values[1][id(off)] == values[2][id(off)]
