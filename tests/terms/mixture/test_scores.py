"""`SegLoss.scores`: one minus the losses in `extra_info`, where that is a score."""

from __future__ import annotations

import pytest
import segmentation_models_pytorch as smp
import torch
from torch import Tensor

import segloss
from segloss import SegLoss, use_backend
from segloss.sums.confusion import SoftConfusion
from segloss.terms import TERMS, Boundary, CrossEntropy, Dice, Jaccard, LogDice, Overlap, Tversky
from segloss.terms.base import RegionTerm
from tests.support.kernels import BACKENDS

CLASSES = 4
SCORED = ["dice", "squared_dice", "jaccard", "tversky", "f_beta", "generalized_dice", "mcc"]


@pytest.fixture
def batch(multiclass) -> tuple[Tensor, Tensor]:
    logits, labels = multiclass
    return logits.float(), labels


def _scores(terms, batch, **options) -> dict[str, Tensor]:
    loss = SegLoss(n_classes=CLASSES, terms=terms, **options)
    return loss.scores(loss(*batch)[1])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("reduction", ["sample", "batch", "micro"])
@pytest.mark.parametrize(
    ("term", "metric"), [(Dice, smp.metrics.f1_score), (Jaccard, smp.metrics.iou_score)]
)
def test_the_scores_of_a_certain_prediction_are_those_of_its_mask(
    batch, backend: str, reduction: str, term: type[Overlap], metric
) -> None:
    logits, labels = batch
    mask = logits.argmax(1)
    certain = 80.0 * torch.nn.functional.one_hot(mask, CLASSES).movedim(-1, 1)
    with use_backend(backend):
        found = _scores(term(smooth=0.0, region_reduction=reduction), (certain, labels))
    counts = smp.metrics.get_stats(mask, labels, mode="multiclass", num_classes=CLASSES)
    if reduction == "micro":
        expected = {"": metric(*counts, reduction="micro")}
    else:
        sums = counts if reduction == "sample" else [each.sum(0, keepdim=True) for each in counts]
        of_classes = metric(*sums, reduction="none").mean(0)
        expected = {f"/{c}": value for c, value in enumerate(of_classes)} | {"": of_classes.mean()}
    assert found.keys() == {f"{term.name}_score{each}" for each in expected}
    for each, value in expected.items():
        assert found[f"{term.name}_score{each}"].item() == pytest.approx(value.item(), rel=1e-5)


@pytest.mark.parametrize("name", SCORED)
def test_a_score_is_one_minus_its_loss(batch, name: str) -> None:
    loss = SegLoss(
        n_classes=CLASSES, terms=CrossEntropy() + TERMS[name](), class_names=list("abcd")
    )
    _, info = loss(batch[0].requires_grad_(), batch[1])
    scores = loss.scores(info)
    losses = [key for key in info if key.startswith(name)]
    assert list(scores) == [key.replace(name, f"{name}_score") for key in losses]
    for key, score in zip(losses, scores.values(), strict=True):
        assert score == 1 - info[key]
        assert score.ndim == 0
        assert not score.requires_grad


@pytest.mark.parametrize("term", [Dice(log=True), LogDice(), Tversky(), Boundary()])
def test_only_one_minus_a_score_has_one(term: RegionTerm) -> None:
    assert term.has_score == isinstance(term, Tversky)
    assert not TERMS["focal_tversky"]().has_score
    assert TERMS["focal_tversky"](gamma=1.0).has_score
    assert not TERMS["cross_entropy"]().has_score


def test_another_formula_is_no_score() -> None:
    class Halved(Dice):
        name = "halved"

        def cell_loss(self, confusion: SoftConfusion) -> Tensor:
            return super().cell_loss(confusion) / 2

    class Shaped(Dice):
        name = "shaped"

        def shape(self, loss: Tensor) -> Tensor:
            return loss.square()

    assert not Halved().has_score
    assert not Shaped().has_score


def test_a_class_without_a_cell_has_no_score(batch) -> None:
    logits, labels = batch
    scores = _scores(Dice(skip_absent_classes=True), (logits, labels.clamp(max=2)))
    assert scores["dice_score/3"].isnan()
    torch.testing.assert_close(
        segloss.per_class(scores, "dice_score").nanmean(), scores["dice_score"]
    )


def test_two_terms_of_a_kind_have_scores_by_their_names(batch) -> None:
    terms = CrossEntropy() + Dice() + Dice(region_classes=[2]).named("dice_of_lesions")
    scores = _scores(terms, batch)
    of_classes = [f"dice_score/{index}" for index in range(CLASSES)]
    of_lesions = ["dice_of_lesions_score", "dice_of_lesions_score/2"]
    assert list(scores) == ["dice_score", *of_classes, *of_lesions]
    assert scores["dice_of_lesions_score"] == scores["dice_score/2"]


def test_a_loss_without_scores_has_none(batch) -> None:
    assert _scores(CrossEntropy() + TERMS["focal_tversky"](), batch) == {}


@pytest.mark.parametrize("lam", [0.3, torch.tensor([0.2, 0.7, 1.0])], ids=["batch", "samples"])
def test_mixed_scores_are_of_the_mixed_losses(batch, lam) -> None:
    logits, labels = batch
    mixed = {"mixup_y_a": labels, "mixup_y_b": labels.flip(0), "mixup_lam": lam}
    loss = SegLoss(n_classes=CLASSES, terms=Dice(), use_mixup=True)
    value, info = loss(logits, mixed)
    assert loss.scores(info)["dice_score"].item() == pytest.approx(1 - value.item())
