"""What must hold of any batch: identities between terms, and what may not change a loss."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from segloss import SegLoss, per_class, soft_confusion
from segloss.terms import Dice, FBeta, Jaccard, LogDice, SquaredDice, Term, Tversky, total_mean

EXAMPLES = settings(max_examples=60, deadline=None)


class Batch(NamedTuple):
    """Logits in float64, a target, pixel weights and the arguments that fit them."""

    logits: Tensor
    target: Tensor
    weights: Tensor
    arguments: dict[str, Any]


@st.composite
def any_batch(draw, exclusive: bool | None = None) -> Batch:
    torch.manual_seed(draw(st.integers(0, 2**31)))
    exclusive = draw(st.booleans()) if exclusive is None else exclusive
    classes = draw(st.integers(2 if exclusive else 1, 5))
    samples = draw(st.integers(1, 4))
    spatial = draw(st.lists(st.integers(1, 6), min_size=1, max_size=3))
    scale = draw(st.sampled_from([0.1, 2.0, 20.0]))
    logits = scale * torch.randn(samples, classes, *spatial, dtype=torch.float64)
    if exclusive:
        target = torch.randint(0, classes, (samples, *spatial))
    else:
        target = torch.rand(samples, classes, *spatial, dtype=torch.float64)
        target = target.round() if draw(st.booleans()) else target
    weights = torch.rand(samples, 1, *spatial, dtype=torch.float64) + 0.01
    n_classes = classes if exclusive else 2
    activation = "softmax" if exclusive else "sigmoid"
    return Batch(logits, target, weights, {"n_classes": n_classes, "activation": activation})


def value(term: Term, batch: Batch) -> Tensor:
    confusion = soft_confusion(
        batch.logits,
        batch.target,
        pixel_weights=batch.weights,
        sums=term.sums,
        **batch.arguments,
    )
    return total_mean(*term(confusion))


def outcome(loss: SegLoss, batch: Batch, **more: Any) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """The value, the gradient and the extra information."""
    logits = batch.logits.clone().requires_grad_()
    truths = {"gt_polygons_image": batch.target, "seg_loss_weights": batch.weights, **more}
    result, info = loss({"seg": logits}, truths)
    return result.detach(), torch.autograd.grad(result, logits)[0], info


def seg_loss(batch: Batch, **options: Any) -> SegLoss:
    terms = {"jaccard": 0.2, "focal": 0.3, "squared_dice": 0.1, "generalized_dice": 0.1}
    return SegLoss(
        tversky_focal_coef=0.3, extra_terms=terms, from_logits=True, **batch.arguments, **options
    )


REDUCTIONS = st.sampled_from(["sample", "batch", "micro", "sample_micro"])


@EXAMPLES
@given(any_batch(), REDUCTIONS)
def test_scores_are_between_0_and_1(batch: Batch, reduction: str) -> None:
    for term in (
        Dice(smooth=0, region_reduction=reduction),
        Jaccard(region_reduction=reduction),
        Tversky(region_reduction=reduction),
        SquaredDice(smooth=0, region_reduction=reduction),
    ):
        assert 0 <= value(term, batch).item() <= 1


@EXAMPLES
@given(any_batch(), REDUCTIONS, st.sampled_from(["product", "metric"]))
def test_identities_between_overlaps(batch: Batch, reduction: str, soft: str) -> None:
    options: Any = {"region_reduction": reduction, "soft_labels": soft}
    dice = value(Dice(smooth=0, **options), batch)
    same = [Tversky(alpha=0.5, beta=0.5, **options), FBeta(beta=1.0, **options)]
    for term in same:
        torch.testing.assert_close(value(term, batch), dice, rtol=1e-12, atol=1e-14)
    jaccard = value(Jaccard(**options), batch)
    torch.testing.assert_close(
        value(Tversky(alpha=1.0, beta=1.0, **options), batch), jaccard, rtol=1e-12, atol=1e-14
    )
    assert jaccard >= dice - 1e-14
    if reduction == "micro":
        torch.testing.assert_close(jaccard, 2 * dice / (1 + dice), rtol=1e-12, atol=1e-14)
        smooth = Dice(smooth=1.0, **options), LogDice(smooth=1.0, **options)
        plain, logged = (value(term, batch) for term in smooth)
        torch.testing.assert_close(logged, -torch.log(1 - plain), rtol=1e-9, atol=1e-12)


@EXAMPLES
@given(any_batch(), REDUCTIONS, st.floats(1e-3, 1e3))
def test_scaling_all_pixel_weights_changes_nothing(
    batch: Batch, reduction: str, scale: float
) -> None:
    loss = SegLoss(
        tversky_focal_coef=0.3,
        smooth=0,
        extra_terms={"focal": 0.3, "mcc": 0.1},
        from_logits=True,
        region_reduction=reduction,
        **batch.arguments,
    )
    expected, gradient, _ = outcome(loss, batch)
    scaled = outcome(loss, batch._replace(weights=scale * batch.weights))
    torch.testing.assert_close(scaled[0], expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(scaled[1], gradient, rtol=1e-8, atol=1e-12)


@EXAMPLES
@given(any_batch(), st.randoms(use_true_random=False))
def test_permuting_classes_permutes_their_values(batch: Batch, random: Any) -> None:
    classes = batch.logits.shape[1]
    order = list(range(classes))
    random.shuffle(order)
    if batch.arguments["activation"] == "softmax":
        inverse = torch.empty(classes, dtype=torch.long)
        inverse[torch.tensor(order)] = torch.arange(classes)
        target = inverse[batch.target]
    else:
        target = batch.target[:, order]
    permuted = batch._replace(logits=batch.logits[:, order], target=target)
    loss = seg_loss(batch)
    expected, gradient, info = outcome(loss, batch)
    result, result_gradient, result_info = outcome(loss, permuted)
    torch.testing.assert_close(result, expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(result_gradient, gradient[:, order], rtol=1e-8, atol=1e-12)
    for name in ("dice", "jaccard", "focal_tversky"):
        torch.testing.assert_close(
            per_class(result_info, name),
            per_class(info, name)[order],
            rtol=1e-10,
            atol=1e-12,
            equal_nan=True,
        )


@EXAMPLES
@given(any_batch(), st.randoms(use_true_random=False))
def test_permuting_samples_changes_nothing(batch: Batch, random: Any) -> None:
    order = list(range(len(batch.logits)))
    random.shuffle(order)
    permuted = Batch(*(part[order] for part in batch[:3]), batch.arguments)
    loss = seg_loss(batch, region_reduction="batch")
    expected, gradient, _ = outcome(loss, batch)
    result, result_gradient, _ = outcome(loss, permuted)
    torch.testing.assert_close(result, expected, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(result_gradient, gradient[order], rtol=1e-10, atol=1e-14)


@EXAMPLES
@given(any_batch())
def test_splitting_a_batch_and_pooling_the_sums_gives_the_same(batch: Batch) -> None:
    groups = ("region", "cross_entropy", "squared_error")

    def sums(part: Batch) -> dict[str, Tensor]:
        confusion = soft_confusion(
            part.logits, part.target, pixel_weights=part.weights, sums=groups, **part.arguments
        )
        return {name: each.sum(0) for name, each in confusion.sums.items()}

    whole = sums(batch)
    parts = [
        sums(Batch(*(each[i : i + 1] for each in batch[:3]), batch.arguments))
        for i in range(len(batch.logits))
    ]
    for name, expected in whole.items():
        pooled = torch.stack([part[name] for part in parts]).sum(0)
        torch.testing.assert_close(pooled, expected, rtol=1e-11, atol=1e-12)


@EXAMPLES
@given(any_batch())
def test_no_smoothing_and_no_mixing_are_the_identity(batch: Batch) -> None:
    expected, gradient, _ = outcome(seg_loss(batch), batch)
    smoothed = seg_loss(batch, use_label_smooth=True, smooth_factor=0.0)
    assert torch.equal(outcome(smoothed, batch)[0], expected)
    mixed = seg_loss(batch, use_mixup=True)
    other = batch.target.flip(0)
    keys = {"mixup_y_a": batch.target, "mixup_y_b": other, "mixup_lam": 1.0}
    result, result_gradient, _ = outcome(mixed, batch, **keys)
    torch.testing.assert_close(result, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(result_gradient, gradient, rtol=1e-10, atol=1e-14)


HOSTILE = st.sampled_from([float("nan"), float("inf"), -float("inf"), 1e30])


@EXAMPLES
@given(any_batch(), HOSTILE, st.booleans())
def test_pixels_that_are_left_out_can_hold_anything(
    batch: Batch, hostile: float, by_index: bool
) -> None:
    out = torch.rand(len(batch.logits), 1, *batch.logits.shape[2:]) < 0.4
    over_classes = out.expand_as(batch.logits)
    target_out = out[:, 0] if batch.target.ndim < batch.logits.ndim else over_classes
    if by_index:
        loss = seg_loss(batch, ignore_index=255)
        clean = batch._replace(target=batch.target.masked_fill(target_out, 255))
    else:
        loss = seg_loss(batch)
        clean = batch._replace(weights=batch.weights.masked_fill(out, 0))
    expected, gradient, _ = outcome(loss, clean)
    dirty = clean._replace(logits=clean.logits.masked_fill(over_classes, hostile))
    result, result_gradient, _ = outcome(loss, dirty)
    assert torch.equal(result, expected)
    assert torch.equal(result_gradient, gradient)
    assert not gradient[over_classes].any()


@EXAMPLES
@given(any_batch(exclusive=True), st.floats(-30, 30))
def test_softmax_does_not_see_a_shift_of_all_classes(batch: Batch, shift: float) -> None:
    loss = seg_loss(batch)
    expected, gradient, _ = outcome(loss, batch)
    moved = outcome(loss, batch._replace(logits=batch.logits + shift))
    torch.testing.assert_close(moved[0], expected, rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(moved[1], gradient, rtol=1e-6, atol=1e-10)
    assert gradient.sum(1).abs().max().item() < 1e-9


@EXAMPLES
@given(any_batch(exclusive=False))
def test_a_channel_and_its_complement_have_one_cross_entropy(batch: Batch) -> None:
    options: Any = {"bce_coef": 1.0, "dice_coef": 0.0, "extra_terms": {"focal": 0.5, "mcc": 0.5}}
    loss = SegLoss(from_logits=True, **options)
    expected, gradient, _ = outcome(loss, batch)
    complement = batch._replace(logits=-batch.logits, target=1 - batch.target)
    result, result_gradient, _ = outcome(loss, complement)
    torch.testing.assert_close(result, expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(result_gradient, -gradient, rtol=1e-7, atol=1e-11)


def test_the_identity_of_two_softmax_classes_and_one_sigmoid_channel() -> None:
    logits, mask = torch.randn(2, 1, 9, dtype=torch.float64), torch.randint(0, 2, (2, 1, 9))
    pair = torch.cat([torch.zeros_like(logits), logits], 1)
    for terms in ({"focal": 1.0}, {"poly1": 1.0}, {"jaccard": 1.0}, {"mcc": 1.0}):
        one = SegLoss(bce_coef=0, dice_coef=0, extra_terms=terms, from_logits=True)
        options: Any = {"region_classes": [1]}
        two = SegLoss(
            bce_coef=0,
            dice_coef=0,
            extra_terms=terms,
            activation="softmax",
            from_logits=True,
            **options,
        )
        assert two(pair, mask[:, 0])[0].item() == pytest.approx(one(logits, mask)[0].item())
