"""The scores in `extra_info`, beside the losses: one minus them, where that is a score."""

from __future__ import annotations

import pytest
import segmentation_models_pytorch as smp
import torch
from torch import Tensor

import segloss
from segloss import SegLoss, use_backend
from segloss.sums.confusion import SoftConfusion
from segloss.terms import TERMS, Boundary, Dice, Jaccard, LogDice, Overlap, Tversky
from segloss.terms.base import RegionTerm
from tests.support.kernels import BACKENDS

CLASSES = 4
SCORED = ["dice", "squared_dice", "jaccard", "tversky", "f_beta", "generalized_dice", "mcc"]


@pytest.fixture
def batch(multiclass) -> tuple[Tensor, Tensor]:
    logits, labels = multiclass
    return logits.float(), labels


def _info(terms, batch, **options) -> dict[str, Tensor]:
    return SegLoss(n_classes=CLASSES, terms=terms, **options)(*batch)[1]


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
        info = _info(term(smooth=0.0, region_reduction=reduction), (certain, labels))
    counts = smp.metrics.get_stats(mask, labels, mode="multiclass", num_classes=CLASSES)
    if reduction == "micro":
        expected = {"": metric(*counts, reduction="micro")}
    else:
        sums = counts if reduction == "sample" else [each.sum(0, keepdim=True) for each in counts]
        of_classes = metric(*sums, reduction="none").mean(0)
        expected = {f"/{c}": value for c, value in enumerate(of_classes)} | {"": of_classes.mean()}
    found = {key: value for key, value in info.items() if key.startswith(f"{term.name}_score")}
    assert found.keys() == {f"{term.name}_score{each}" for each in expected}
    for each, value in expected.items():
        assert found[f"{term.name}_score{each}"].item() == pytest.approx(value.item(), rel=1e-5)


@pytest.mark.parametrize("name", SCORED)
@pytest.mark.parametrize("annotated", [False, True], ids=["analytic", "autograd"])
def test_a_score_is_one_minus_its_loss(batch, name: str, annotated: bool) -> None:
    logits, labels = batch
    target = {"gt_polygons_image": labels}
    if annotated:
        target["annotated"] = torch.ones(len(logits), CLASSES, dtype=torch.bool)
    info = _info(TERMS[name](), (logits, target))
    losses = [key for key in info if "_score" not in key]
    assert len(info) == 2 * len(losses)
    for key in losses:
        score = info[key.replace(name, f"{name}_score")]
        assert score == 1 - info[key]
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
    info = _info(Dice(skip_absent_classes=True), (logits, labels.clamp(max=2)))
    assert info["dice_score/3"].isnan()
    assert info["dice_score"] == 1 - info["dice"]


def test_a_vector_of_the_classes_scores(batch) -> None:
    info = _info(Dice(), batch)
    scores = segloss.per_class(info, "dice_score")
    torch.testing.assert_close(scores, 1 - segloss.per_class(info, "dice"))


@pytest.mark.parametrize("lam", [0.3, torch.tensor([0.2, 0.7, 1.0])], ids=["batch", "samples"])
def test_mixed_scores_are_of_the_mixed_losses(batch, lam) -> None:
    logits, labels = batch
    mixed = {"mixup_y_a": labels, "mixup_y_b": labels.flip(0), "mixup_lam": lam}
    loss = SegLoss(n_classes=CLASSES, terms=Dice(), use_mixup=True)
    info = loss(logits, mixed)[1]
    if isinstance(lam, float):
        assert info["dice_score/1"].item() == pytest.approx(1 - info["dice/1"].item())
    else:
        assert not any("_score" in key for key in info)
