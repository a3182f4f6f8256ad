"""Relatives of cross-entropy, generalised Wasserstein Dice and symmetric unified focal loss."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import segloss
from segloss import CompoundLoss, SegLoss, use_backend
from segloss.terms import (
    BalancedCrossEntropy,
    CrossEntropy,
    Dice,
    GeneralizedCrossEntropy,
    GeneralizedWassersteinDice,
    MissedProbability,
    SymmetricCrossEntropy,
    Term,
    UnifiedFocal,
)
from tests.support.kernels import BACKENDS

DISTANCES = [[0.0, 2.0, 2.0], [2.0, 0.0, 1.0], [2.0, 0.5, 0.0]]


@pytest.fixture
def logits() -> Tensor:
    return torch.randn(3, 3, 6, 5, dtype=torch.float64)


@pytest.fixture
def labels() -> Tensor:
    return torch.randint(0, 3, (3, 6, 5))


def value_and_gradient(term: Term, mode: str, logits: Tensor, target: Tensor) -> Any:
    logits = logits.clone().requires_grad_()
    value = CompoundLoss(term, mode)(logits, target)
    return value.detach(), torch.autograd.grad(value, logits)[0]


@pytest.mark.parametrize("mode", ["multilabel", "multiclass"])
def test_generalized_cross_entropy_is_between_two_losses(mode, logits, labels) -> None:
    target = labels if mode == "multiclass" else (torch.rand(3, 3, 6, 5) < 0.4).double()
    given = mode, logits, target
    near_zero = value_and_gradient(GeneralizedCrossEntropy(exponent=1e-9), *given)
    torch.testing.assert_close(
        near_zero, value_and_gradient(CrossEntropy(), *given), rtol=1e-6, atol=1e-9
    )
    one = value_and_gradient(GeneralizedCrossEntropy(exponent=1.0), *given)
    torch.testing.assert_close(one, value_and_gradient(MissedProbability(), *given))


def test_a_confident_contradiction_has_a_bounded_loss_and_a_fading_gradient() -> None:
    """A wrong label, as the network is sure: cross-entropy keeps a slope of 1."""
    mask = torch.ones(1, 1, 1)
    for margin, most in ((-20.0, 1e-5), (-1e4, 0.0)):
        logits = torch.full((1, 1, 1), margin)
        value, gradient = value_and_gradient(GeneralizedCrossEntropy(), "binary", logits, mask)
        assert value.item() == pytest.approx(1 / 0.7, rel=1e-5)
        assert gradient.abs().item() <= most
        value, gradient = value_and_gradient(CrossEntropy(), "binary", logits, mask)
        assert gradient.item() == pytest.approx(-1)


def test_symmetric_cross_entropy_is_that_of_both_directions(logits, labels) -> None:
    p = logits.softmax(1)
    g = torch.nn.functional.one_hot(labels, 3).movedim(-1, 1).double()
    forward = -(g * p.log()).sum(1).mean()
    reverse = -(p * g.log().clamp(min=-6)).sum(1).mean()
    value, _ = value_and_gradient(
        SymmetricCrossEntropy(alpha=0.3, beta=0.7, log_zero=-6.0), "multiclass", logits, labels
    )
    torch.testing.assert_close(value, 0.3 * forward + 0.7 * reverse)
    _, info = SegLoss(n_classes=3, terms=SymmetricCrossEntropy())(logits, labels)
    assert set(info) == {"symmetric_cross_entropy_forward", "symmetric_cross_entropy_reverse"}


@pytest.mark.parametrize("balance", ["sample", "batch", "micro"])
def test_balanced_cross_entropy_weighs_each_side_by_the_share_of_the_other(balance: str) -> None:
    logits = torch.randn(3, 2, 40, dtype=torch.float64)
    mask = (torch.rand(3, 2, 40) < 0.2).double()
    dims = {"sample": (2,), "batch": (0, 2), "micro": (0, 1, 2)}[balance]
    share = mask.mean(dims, keepdim=True)
    weight = mask * (1 - share) + (1 - mask) * share
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, mask, weight)
    loss = segloss.BalancedCrossEntropyLoss("multilabel", balance=balance)
    torch.testing.assert_close(loss(logits, mask), expected)
    for pixels in (
        segloss.BalancedCrossEntropyLoss("multilabel", balance=balance, reduction="none"),
        segloss.HardPixelLoss(BalancedCrossEntropy(balance=balance), mode="multilabel"),
    ):
        with pytest.raises(ValueError, match="has no loss of a single pixel"):
            pixels(logits, mask)


@pytest.mark.parametrize("balance", ["sample", "batch", "micro"])
def test_balanced_cross_entropy_of_shards_adds_up(balance: str, logits, labels) -> None:
    term = BalancedCrossEntropy(balance=balance)
    parts = [
        term.statistics(segloss.soft_confusion(x, y, n_classes=3, sums=term.sums))
        for x, y in ((logits[:1], labels[:1]), (logits[1:], labels[1:]))
    ]
    summed = [a + b for a, b in zip(parts[0].tensors, parts[1].tensors, strict=True)]
    numerator, denominator = parts[0].finish(summed)
    whole, _ = value_and_gradient(term, "multiclass", logits, labels)
    torch.testing.assert_close(numerator / denominator, whole)


def test_the_wasserstein_dice_of_masks_is_the_dice_loss() -> None:
    logits, mask = torch.randn(2, 3, 50).double(), (torch.rand(2, 3, 50) < 0.4).double()
    for options in ({}, {"smooth": (0.5, 2.0)}, {"log": True}, {"clip_tp": 9.0}):
        given = {"smooth": 0.0, **options}
        ours = value_and_gradient(GeneralizedWassersteinDice(**given), "multilabel", logits, mask)
        if "clip_tp" not in options:
            expected = value_and_gradient(Dice(**given), "multilabel", logits, mask)
            torch.testing.assert_close(ours, expected)
        assert ours[1].any()


def test_the_wasserstein_dice_is_that_of_its_source(logits, labels) -> None:
    """Pixel by pixel; the largest distance counts as 1, and hits are of the foreground."""
    matrix = torch.tensor(DISTANCES, dtype=torch.float64) / 2
    values = []
    for x, y in zip(logits, labels, strict=True):
        distance = (matrix[y].movedim(-1, 0) * x.softmax(0)).sum(0)
        hits = (1 - distance)[y > 0].sum()
        values.append(1 - 2 * hits / (2 * hits + distance.sum()))
    loss = segloss.GeneralizedWassersteinDiceLoss("multiclass", distances=DISTANCES)
    torch.testing.assert_close(loss(logits, labels), torch.stack(values).mean())


def test_to_mistake_a_class_for_a_similar_one_costs_less() -> None:
    loss = segloss.GeneralizedWassersteinDiceLoss("multiclass", distances=DISTANCES)
    labels = torch.tensor([[0, 1, 2, 2]])
    confused = [[0, 2, 2, 2], [0, 0, 2, 2]]  # class 1 for class 2, or for the background
    near, far = (
        loss(40.0 * torch.nn.functional.one_hot(torch.tensor([p]), 3).mT.float(), labels)
        for p in confused
    )
    assert 0 < near < far


def test_symmetric_unified_focal_is_the_authors() -> None:
    """Their sums over classes of the pixels' mean, and their mean over classes of the regions'."""
    delta, gamma = 0.7, 0.4
    logits, labels = torch.randn(2, 2, 60).double(), torch.randint(0, 2, (2, 60))
    p = logits.softmax(1)
    g = torch.nn.functional.one_hot(labels, 2).mT.double()
    sides = torch.tensor([1 - delta, delta]).double().view(1, 2, 1)
    pixels = (sides * (1 - p) ** gamma * -g * p.log()).sum(1).mean()
    tp, fn, fp = (p * g).sum(2), ((1 - p) * g).sum(2), (p * (1 - g)).sum(2)
    score = tp / (tp + delta * fn + (1 - delta) * fp)
    regions = ((1 - score) ** (1 - gamma)).mean()
    term = UnifiedFocal(weight=0.3, delta=delta, gamma=gamma, symmetric=True)
    value, _ = value_and_gradient(term, "multiclass", logits, labels)
    torch.testing.assert_close(value, 0.3 * pixels + 0.7 * regions)


TERMS = {
    "generalized": GeneralizedCrossEntropy(),
    "symmetric": SymmetricCrossEntropy(),
    "balanced": BalancedCrossEntropy(balance="batch"),
    "wasserstein": GeneralizedWassersteinDice(distances=DISTANCES),
    "wasserstein by size": GeneralizedWassersteinDice(weight_type="inverse_size"),
    "unified": UnifiedFocal(symmetric=True),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", TERMS)
def test_every_kernel_has_the_loss_of_the_reference(name, backend) -> None:
    logits, labels = 3 * torch.randn(2, 3, 500), torch.randint(0, 4, (2, 500))
    labels[labels == 3] = 255
    mixture = 0.5 * TERMS[name] + 0.5 * Dice()
    results = []
    for each, dtype in (("reference", torch.float64), (backend, torch.float32)):
        x = logits.to(dtype).requires_grad_()
        with use_backend(each):
            value = CompoundLoss(mixture, "multiclass", ignore_index=255)(x, labels)
        results.append((value.detach().double(), torch.autograd.grad(value, x)[0].double()))
    torch.testing.assert_close(*results, rtol=2e-5, atol=1e-8)


@pytest.mark.parametrize("name", TERMS)
def test_terms_have_second_derivatives(name, logits, labels) -> None:
    loss = CompoundLoss(TERMS[name], "multiclass")
    x = logits[:1, :, :2].requires_grad_()
    assert torch.autograd.gradgradcheck(lambda x: loss(x, labels[:1, :2]), x, fast_mode=True)


BAD: list[tuple[Any, str]] = [
    (lambda: GeneralizedCrossEntropy(exponent=0.0), "exponent must be in"),
    (lambda: GeneralizedCrossEntropy(exponent=1.5), "exponent must be in"),
    (lambda: SymmetricCrossEntropy(log_zero=0.0), "log_zero must be below 0"),
    (lambda: SymmetricCrossEntropy(alpha=0, beta=0), "must not both be 0"),
    (lambda: SymmetricCrossEntropy(beta=-1), "beta must be"),
    (lambda: BalancedCrossEntropy(balance="class"), "balance must be one of 'sample'"),
    (lambda: UnifiedFocal(symmetric=1), "symmetric must be True or False"),
    (lambda: GeneralizedWassersteinDice(distances=[[0, 1]]), "square matrix"),
    (lambda: GeneralizedWassersteinDice(distances=3), "square matrix"),
    (
        lambda: GeneralizedWassersteinDice(distances=[[1, 0], [0, 1]]),
        "0 between a class and itself",
    ),
    (lambda: GeneralizedWassersteinDice(distances=[[0, 0], [0, 0]]), "above 0 between some"),
    (lambda: GeneralizedWassersteinDice(distances=[[0, -1], [1, 0]]), r"distances\[0\]\[1\] must"),
    (lambda: GeneralizedWassersteinDice(weight_type="GDL"), "weight_type must be one of"),
    (lambda: GeneralizedWassersteinDice(region_reduction="micro"), "mixes background"),
]


@pytest.mark.parametrize(("make", "words"), BAD)
def test_wrong_arguments_are_named(make, words: str) -> None:
    with pytest.raises((TypeError, ValueError), match=words):
        make()


@pytest.mark.parametrize(("mode", "expected"), [("multiclass", 4), ("multilabel", 2)])
def test_distances_must_fit_the_classes(mode: str, expected: int) -> None:
    loss = segloss.GeneralizedWassersteinDiceLoss(mode, distances=DISTANCES)
    target = torch.zeros(1, 5, dtype=torch.long) if mode == "multiclass" else torch.zeros(1, 4, 5)
    with pytest.raises(ValueError, match=rf"expected \({expected}, {expected}\), got \(3, 3\)"):
        loss(torch.zeros(1, 4, 5), target)
