"""Mixup: the blending of images, and the loss of a blended batch."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from segloss import LossWrapper, MissingKeyError, MixUp, SegLoss

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
        (True, mixed(mixup_lam=torch.rand(2)), ValueError, "single number"),
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
