"""Mixup: the blending of images, and the loss of a blended batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from segloss import (
    CompoundLoss,
    CutMix,
    DeepSupervision,
    LossWrapper,
    MissingKeyError,
    MixUp,
    MultiLoss,
    SegLoss,
    soft_confusion,
)
from segloss.terms import MCC, CrossEntropy, Dice, Focal, FocalTversky

GT, W = "gt_polygons_image", "seg_loss_weights"


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("target", [torch.randint(0, 5, (6, 4, 4)), torch.rand(6, 2, 4, 4)])
def test_images_are_blended_with_a_permutation_of_the_batch(target: torch.Tensor) -> None:
    images = torch.arange(6.0).reshape(6, 1, 1, 1).expand(6, 3, 4, 4)
    blended, batch = MixUp(alpha=0.8)(images, {GT: target, "name": "x"}, generator())
    lam = batch["mixup_lam"]
    assert 0 < lam < 1
    partner = ((blended - lam * images) / (1 - lam)).round()
    order = partner[:, 0, 0, 0].long()
    assert sorted(order.tolist()) == list(range(6))
    assert order.tolist() != list(range(6))
    assert torch.equal(batch["mixup_y_a"], target)
    assert torch.equal(batch["mixup_y_b"], target[order])
    assert batch["name"] == "x"


def test_lambda_is_of_the_beta_distribution() -> None:
    """Mean 1/2 and variance 1 / (4 (2 alpha + 1))."""
    images, source = torch.zeros(2, 1, 1), generator()
    mixup = MixUp(alpha=0.5)
    draws = torch.stack([mixup(images, {GT: images}, source)[1]["mixup_lam"] for _ in range(4000)])
    assert draws.mean().item() == pytest.approx(0.5, abs=0.02)
    assert draws.var().item() == pytest.approx(1 / 8, abs=0.01)


def test_a_generator_or_the_global_seed_makes_it_repeatable() -> None:
    images = torch.rand(4, 1, 3)
    for make in (lambda: generator(7), lambda: torch.manual_seed(7) and None):
        runs = [MixUp()(images, {GT: images}, make())[0] for _ in range(2)]
        assert torch.equal(*runs)


def test_the_batch_itself_is_left_alone() -> None:
    images, batch = torch.rand(4, 1, 3), {GT: torch.rand(4, 1, 3)}
    MixUp()(images, batch)
    assert list(batch) == [GT]


def test_pixel_weights_follow_their_targets() -> None:
    """The second target's loss has the second target's weights."""
    images, target, weights = torch.rand(4, 1, 9), torch.rand(4, 1, 9), torch.rand(4, 1, 9)
    loss = SegLoss(use_mixup=True, from_logits=True)
    images, batch = loss.mixup(images, {GT: target, W: weights}, generator())
    order = [next(i for i in range(4) if torch.equal(target[i], y)) for y in batch["mixup_y_b"]]
    lam = batch["mixup_lam"]
    plain = SegLoss(from_logits=True)
    value_a = plain(images, {GT: target, W: weights})[0]
    value_b = plain(images, {GT: target[order], W: weights[order]})[0]
    torch.testing.assert_close(loss(images, batch)[0], lam * value_a + (1 - lam) * value_b)


def test_losses_of_other_targets_find_their_partners() -> None:
    """One mixup serves the losses of a MultiLoss, whatever key each of them reads."""
    body, edges = torch.rand(4, 1, 9), torch.rand(4, 1, 9)
    images, batch = MixUp()(torch.rand(4, 1, 9), {GT: body, "edges": edges}, generator())
    order, lam = batch["mixup_index"], batch["mixup_lam"]
    plain = SegLoss(gt_key="edges")
    expected = lam * plain(images, {"edges": edges})[0]
    expected += (1 - lam) * plain(images, {"edges": edges[order]})[0]
    value, _ = SegLoss(gt_key="edges", use_mixup=True)(images, batch)
    torch.testing.assert_close(value, expected)


def test_a_wrapped_loss_takes_mixup_too() -> None:
    logits, y_a, y_b = torch.rand(2, 3, 4), torch.randint(0, 3, (2, 4)), torch.randint(0, 3, (2, 4))
    ce = nn.CrossEntropyLoss()
    batch = {"mixup_y_a": y_a, "mixup_y_b": y_b, "mixup_lam": 0.3}
    value, _ = LossWrapper(ce, use_mixup=True)({"seg": logits}, batch)
    torch.testing.assert_close(value, 0.3 * ce(logits, y_a) + 0.7 * ce(logits, y_b))


def test_without_the_keys_the_loss_is_the_plain_one() -> None:
    pred, gt = torch.rand(2, 1, 4), {GT: torch.rand(2, 1, 4)}
    assert torch.equal(SegLoss(use_mixup=True)(pred, gt)[0], SegLoss()(pred, gt)[0])


def test_nothing_depends_on_train_or_eval_mode() -> None:
    pred, y = torch.rand(2, 1, 4), torch.rand(2, 1, 4)
    gt = {GT: y, "mixup_y_a": y, "mixup_y_b": y.flip(0), "mixup_lam": 0.5}
    loss = SegLoss(use_mixup=True)
    assert torch.equal(loss.train()(pred, gt)[0], loss.eval()(pred, gt)[0])


def test_extra_information_is_blended() -> None:
    pred, y = torch.rand(2, 1, 4), torch.rand(2, 1, 4)
    gt = {GT: y, "mixup_y_a": y, "mixup_y_b": y.flip(0), "mixup_lam": 0.25}
    value, extra = SegLoss(use_mixup=True)(pred, gt)
    torch.testing.assert_close((0.5 * extra["cross_entropy"] + 0.5 * extra["dice"]).float(), value)


def mixed(**changes) -> dict:
    y = torch.zeros(2, 1, 4)
    batch = {GT: y, "mixup_y_a": y, "mixup_y_b": y, "mixup_lam": 0.5, **changes}
    return {key: value for key, value in batch.items() if value is not None}


@pytest.mark.parametrize(
    ("use_mixup", "batch", "kind", "words"),
    [
        (False, mixed(), ValueError, "set use_mixup=True"),
        (True, mixed(mixup_lam=None), MissingKeyError, "mixup_lam missing; its keys are"),
        (True, mixed(mixup_lam=1.5), ValueError, r"mixup_lam.* must be in \[0, 1\], got 1.5"),
        (True, mixed(mixup_lam=torch.tensor(-1.0)), ValueError, r"in \[0, 1\], got -1"),
        (True, mixed(mixup_lam=torch.rand(3)), ValueError, "one for each of the 2 samples"),
        (True, mixed(mixup_lam="half"), TypeError, "must be a number"),
    ],
)
def test_wrong_mixed_batches_are_refused(use_mixup, batch, kind, words: str) -> None:
    with pytest.raises(kind, match=words):
        SegLoss(use_mixup=use_mixup)(torch.rand(2, 1, 4), batch)


def test_wrong_uses_of_mixup_are_refused() -> None:
    images = torch.rand(2, 1, 4)
    with pytest.raises(ValueError, match="alpha must be a finite number above 0, got 0"):
        MixUp(0.0)
    with pytest.raises(TypeError, match=r"to be blended, got torch\.uint8"):
        MixUp()(images.byte(), {GT: images})
    with pytest.raises(MissingKeyError, match="'gt_polygons_image'; its keys are: 'm'"):
        MixUp()(images, {"m": images})
    with pytest.raises(ValueError, match="the same number of samples, got 2 and 3"):
        MixUp()(images, {GT: torch.rand(3, 1, 4)})
    with pytest.raises(TypeError, match="gt_batch must be a mapping"):
        MixUp()(images, images)


TERMS = {
    "cross-entropy": CrossEntropy(),
    "dice": Dice(),
    "classes": Dice(region_classes=[0, 2], region_class_weights=[1.0, 3.0]),
    "absent": FocalTversky(skip_absent_classes=True),
    "all": 0.4 * CrossEntropy() + 0.3 * Dice() + 0.2 * MCC() + 0.1 * Focal(),
}
LAMBDAS = torch.tensor([0.9, 0.0, 0.35])


def mixup_batch(lam: Any, **changes: Any) -> tuple[Tensor, dict[str, Any]]:
    logits = torch.randn(3, 4, 6, 5, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(90).reshape(3, 6, 5) % 4
    labels[0, :2] = 255
    index = torch.tensor([1, 2, 0])
    both = {"mixup_y_a": labels, "mixup_y_b": labels[index], "mixup_index": index}
    return logits.requires_grad_(), {GT: labels, **both, "mixup_lam": lam, **changes}


@pytest.mark.parametrize("name", TERMS)
def test_each_sample_has_its_own_lambda(name: str) -> None:
    """The numerators of a mean blend by sample; the number of pixels or cells stays."""
    loss = SegLoss(n_classes=4, ignore_index=255, terms=TERMS[name], use_mixup=True)
    logits, gt = mixup_batch(LAMBDAS)
    value, info = loss(logits, gt)
    expected = torch.zeros((), dtype=torch.float64)
    for labels, lam in ((gt["mixup_y_a"], LAMBDAS), (gt["mixup_y_b"], 1 - LAMBDAS)):
        confusion = soft_confusion(
            logits.double(),
            labels,
            n_classes=4,
            ignore_index=255,
            sums=["cross_entropy", "region", "true_negative", *Focal().sums],
        )
        for coefficient, term, _ in loss.mixture.components:
            losses, weights = term.losses_and_weights(confusion)
            shares = lam.double().reshape(-1, *[1] * (losses.ndim - 1))
            expected = expected + coefficient * (shares * weights * losses).sum() / weights.sum()
    torch.testing.assert_close(value.double(), expected, rtol=1e-6, atol=0)
    gradients = [
        torch.autograd.grad(each, logits, retain_graph=True)[0] for each in (value, expected)
    ]
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-8)
    total = sum(loss.mixture.coefficients[key] * v for key, v in info.items() if "/" not in key)
    torch.testing.assert_close(total, expected.detach(), rtol=1e-6, atol=0)


LOSSES: dict[str, Callable[[], Any]] = {
    "seg": lambda: SegLoss(n_classes=4, ignore_index=255, use_mixup=True),
    "multi": lambda: MultiLoss(
        [
            SegLoss(n_classes=4, ignore_index=255, use_mixup=True),
            SegLoss("b", n_classes=4, ignore_index=255, use_mixup=True, terms=MCC()),
        ],
        [1.0, 0.5],
    ),
    "deep": lambda: DeepSupervision(SegLoss(n_classes=4, ignore_index=255, use_mixup=True)),
}


@pytest.mark.parametrize("name", LOSSES)
def test_equal_lambdas_are_one_lambda(name: str) -> None:
    loss = LOSSES[name]()
    value = loss(*mixup_batch(torch.full((3,), 0.25)))
    torch.testing.assert_close(value[0], loss(*mixup_batch(0.25))[0])


@pytest.mark.parametrize("lam", [[0.9, 0.0, 0.35], (0.9, 0.0, 0.35), LAMBDAS.reshape(3, 1, 1, 1)])
def test_lambdas_have_one_number_for_each_sample(lam: Any) -> None:
    loss = LOSSES["seg"]()
    assert torch.equal(loss(*mixup_batch(lam))[0], loss(*mixup_batch(LAMBDAS))[0])


def test_any_other_loss_is_the_mean_over_its_samples() -> None:
    l1 = LossWrapper(nn.L1Loss(), use_mixup=True)
    pred, y, index = torch.rand(3, 1, 4), torch.rand(3, 1, 4), torch.tensor([2, 0, 1])
    mixed = {"mixup_y_a": y, "mixup_y_b": y[index], "mixup_index": index, "mixup_lam": LAMBDAS}
    value = l1(pred, {GT: y, **mixed})[0]
    of_samples = [(pred - each).abs().mean((1, 2)) for each in (y, y[index])]
    torch.testing.assert_close(
        value, (LAMBDAS * of_samples[0] + (1 - LAMBDAS) * of_samples[1]).mean()
    )


@pytest.mark.parametrize("reduction", ["batch", "micro"])
def test_pooled_terms_refuse_a_lambda_for_each_sample(reduction: str) -> None:
    loss = SegLoss(n_classes=4, ignore_index=255, use_mixup=True, region_reduction=reduction)
    with pytest.raises(ValueError, match=r"Dice.*pools.*region_reduction='sample'"):
        loss(*mixup_batch(LAMBDAS))


@pytest.mark.parametrize("name", LOSSES)
def test_a_norm_over_one_batch_is_its_loss(name: str) -> None:
    logits, gt = mixup_batch(LAMBDAS)
    gt = {key: value.clamp(max=3) if key != "mixup_index" else value for key, value in gt.items()}
    loss = LOSSES[name]()
    loss.update_norm(logits, gt, 3)
    normalized = torch.ones(()) if name != "multi" else torch.tensor(1.5)
    torch.testing.assert_close(loss(logits, gt)[0], normalized)


def test_mixup_draws_a_lambda_for_each_sample() -> None:
    images, labels = torch.rand(4, 3, 5, 6), torch.randint(0, 3, (4, 5, 6))
    mix = MixUp(0.5, per_sample=True)
    blended, batch = mix(images, {GT: labels}, torch.Generator().manual_seed(1))
    lam, index = batch["mixup_lam"], batch["mixup_index"]
    assert lam.shape == (4,)
    assert len(set(lam.tolist())) == 4
    factor = lam.reshape(4, 1, 1, 1)
    torch.testing.assert_close(blended, factor * images + (1 - factor) * images[index])
    assert repr(mix) == "MixUp(alpha=0.5, per_sample=True)"
    value, _ = SegLoss(n_classes=3, use_mixup=True)(torch.randn(4, 3, 5, 6), batch)
    assert value.isfinite()


def wrapped_terms(**options: Any) -> LossWrapper:
    loss = CompoundLoss(mode="multiclass", ignore_index=255, **options)
    return LossWrapper(loss, use_mixup=True)


def test_terms_in_a_wrapper_have_the_lambdas_of_samples_too() -> None:
    for lam in (LAMBDAS, torch.ones(3), torch.zeros(3)):
        logits, gt = mixup_batch(lam)
        value = wrapped_terms(terms=0.5 * CrossEntropy() + 0.5 * Dice())(logits, gt)[0]
        torch.testing.assert_close(value, LOSSES["seg"]()(logits, gt)[0])
    pooled = wrapped_terms(terms=Dice(region_reduction="batch"))
    with pytest.raises(ValueError, match="region_reduction='sample'"):
        pooled(*mixup_batch(LAMBDAS))


def test_a_lambda_of_0_or_1_leaves_nothing_of_the_other_target() -> None:
    def ratio(prediction: Tensor, target: Tensor) -> Tensor:
        return prediction.sum() / target.sum()

    loss = LossWrapper(ratio, use_mixup=True)
    pred = torch.rand(2, 1, 4, requires_grad=True)
    y_a, y_b = torch.ones(2, 1, 4), torch.ones(2, 1, 4)
    y_b[0] = 0  # of which the loss is infinite
    mixed = {"mixup_y_a": y_a, "mixup_y_b": y_b, "mixup_lam": torch.tensor([1.0, 0.5])}
    value = loss(pred, {GT: y_a, **mixed})[0]
    value.backward()
    torch.testing.assert_close(value, pred.sum() / 8)
    assert pred.grad is not None
    assert pred.grad.isfinite().all()
    for lam in (torch.ones(2), torch.zeros(2)):
        first = loss(pred, {GT: y_a, "mixup_y_a": y_a, "mixup_y_b": y_a, "mixup_lam": lam})[0]
        torch.testing.assert_close(first, pred.sum() / 8)


@pytest.mark.parametrize("mix", [MixUp(), CutMix()], ids=repr)
def test_images_are_mixed_once(mix: MixUp | CutMix) -> None:
    images, batch = MixUp()(torch.rand(2, 1, 4), {GT: torch.rand(2, 1, 4)})
    with pytest.raises(ValueError, match="mix the images once, or with CutMix first"):
        mix(images, batch)
    images, batch = CutMix()(torch.rand(2, 1, 4), {GT: torch.rand(2, 1, 4)})
    assert "mixup_lam" in MixUp()(images, batch)[1]


def test_lambdas_may_be_numpys_and_targets_lists_of_scales() -> None:
    lam = np.asarray(LAMBDAS)
    logits, gt = mixup_batch(lam)
    assert torch.equal(LOSSES["seg"]()(logits, gt)[0], LOSSES["seg"]()(*mixup_batch(LAMBDAS))[0])
    lists = {key: [gt[key]] for key in (GT, "mixup_y_a", "mixup_y_b")}
    value = LOSSES["deep"]()([logits], {**lists, "mixup_lam": LAMBDAS})[0]
    torch.testing.assert_close(value, LOSSES["deep"]()(*mixup_batch(LAMBDAS))[0])


def test_norms_refuse_lambdas_of_samples_for_pooled_terms() -> None:
    loss = SegLoss(n_classes=4, ignore_index=255, use_mixup=True, region_reduction="batch")
    with pytest.raises(ValueError, match="region_reduction='sample'"):
        loss.update_norm(*mixup_batch(LAMBDAS), 3)
    assert loss.norm_count == 0
