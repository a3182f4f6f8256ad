"""Terms: values of cells, reductions, masks, limits."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from segloss import SoftConfusion, soft_confusion
from segloss.terms import (
    CrossEntropy,
    Dice,
    FocalTversky,
    Jaccard,
    Tversky,
    total_mean,
)
from tests.support import naive

REGION_TERMS = {term.name: term for term in (Dice, Jaccard, Tversky, FocalTversky)}


def value(term, confusion: SoftConfusion) -> Tensor:
    return total_mean(*term(confusion))


def confusion_of_counts(tp: float, fp: float, fn: float) -> SoftConfusion:
    counts = {
        "true_positive": tp,
        "false_positive": fp,
        "false_negative": fn,
        "actual": tp + fn,
        "pixel_weight": 10.0,
    }
    return SoftConfusion({k: torch.tensor([[v]], dtype=torch.float64) for k, v in counts.items()})


TEXTBOOK = [
    (Dice(), naive.dice, {}),
    (Dice(smooth=0.5), naive.dice, {"smooth": 0.5}),
    (Jaccard(), naive.jaccard, {}),
    (Jaccard(smooth=2.0), naive.jaccard, {"smooth": 2.0}),
    (Tversky(), naive.tversky, {}),
    (Tversky(alpha=0.6, beta=0.4), naive.tversky, {"alpha": 0.6, "beta": 0.4}),
    (FocalTversky(), naive.focal_tversky, {}),
    (FocalTversky(gamma=2.0), naive.focal_tversky, {"gamma": 2.0}),
]


@pytest.mark.parametrize(("term", "textbook", "parameters"), TEXTBOOK)
def test_a_cell_is_the_textbooks(term, textbook, parameters) -> None:
    cell = {"tp": 3.0, "fp": 1.5, "fn": 0.5}
    expected = textbook(cell, **parameters)
    assert value(term, confusion_of_counts(**cell)).item() == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("name", REGION_TERMS)
def test_a_perfect_prediction_costs_nothing(name: str) -> None:
    counts = torch.tensor([4.0, 0.0, 0.0], dtype=torch.float64, requires_grad=True)
    tp, fp, fn = counts
    sums = {"true_positive": tp, "false_positive": fp, "false_negative": fn, "actual": tp + fn}
    sums |= {"pixel_weight": torch.ones((), dtype=torch.float64)}
    loss = value(REGION_TERMS[name](), SoftConfusion({k: v.reshape(1, 1) for k, v in sums.items()}))
    loss.backward()
    assert loss.item() == 0
    assert counts.grad is not None
    assert counts.grad.isfinite().all()


def test_focal_tversky_has_no_gradient_at_perfection() -> None:
    wrong = torch.zeros((1, 1), dtype=torch.float64, requires_grad=True)
    sums = {"true_positive": torch.ones_like(wrong), "false_positive": wrong}
    sums |= {"false_negative": wrong, "actual": torch.ones_like(wrong), "pixel_weight": wrong + 1}
    value(FocalTversky(), SoftConfusion(sums)).backward()
    assert wrong.grad is not None
    assert wrong.grad.item() == 0


@pytest.mark.parametrize("name", REGION_TERMS)
def test_nothing_predicted_where_nothing_is_counts_as_perfect(name: str) -> None:
    term = REGION_TERMS[name](**({"smooth": 0.0} if name in ("dice", "jaccard") else {}))
    assert value(term, confusion_of_counts(0, 0, 0)).item() == 0


@pytest.mark.parametrize("name", ["jaccard", "tversky", "focal_tversky"])
def test_the_worst_prediction_costs_one(name: str) -> None:
    assert value(REGION_TERMS[name](), confusion_of_counts(0, 3, 4)).item() == 1


def test_negative_rounding_can_not_make_focal_tversky_nan() -> None:
    """A subtraction of sums in float32 would give -1e-7 here, and a negative base to 0.75."""
    logits = torch.full((1, 1, 1000), 40.0, requires_grad=True)
    confusion = soft_confusion(logits, torch.ones(1, 1, 1000))
    loss = value(FocalTversky(), confusion)
    loss.backward()
    assert 0 <= loss.item() < 1e-10
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def region_batch() -> tuple[SoftConfusion, list[list[dict[str, float]]]]:
    logits = torch.randn(3, 4, 20, dtype=torch.float64)
    labels = torch.randint(0, 3, (3, 20))  # class 3 never occurs
    labels[0] = labels[0].clamp(max=1)  # class 2 is absent from the first sample
    g = naive.tensor(naive.one_hot(labels.numpy(), 4))
    return soft_confusion(logits, labels, n_classes=4), naive.cells(logits.softmax(1), g)


def test_sample_reduction_is_the_mean_over_all_cells() -> None:
    confusion, table = region_batch()
    assert value(Dice(), confusion).item() == pytest.approx(naive.region_mean(table, naive.dice))


def test_batch_reduction_is_the_mean_over_classes_of_pooled_sums() -> None:
    confusion, table = region_batch()
    expected = sum(naive.dice(cell) for cell in naive.pool(table)) / 4
    assert value(Dice(region_reduction="batch"), confusion).item() == pytest.approx(expected)


def test_micro_reduction_is_one_value_of_everything_pooled() -> None:
    confusion, table = region_batch()
    pooled = naive.pool(table)
    cell = {key: sum(row[key] for row in pooled) for key in pooled[0]}
    term = Dice(region_reduction="micro")
    assert value(term, confusion).item() == pytest.approx(naive.dice(cell))


def test_selected_classes_are_weighted_in_the_mean() -> None:
    confusion, table = region_batch()
    term = Dice(region_classes=[1, 2], region_class_weights=[1.0, 3.0])
    cells = [naive.dice(row[1]) + 3 * naive.dice(row[2]) for row in table]
    assert value(term, confusion).item() == pytest.approx(sum(cells) / (3 * 4))


def test_absent_classes_are_left_out_of_numerator_and_denominator() -> None:
    confusion, table = region_batch()
    present = [cell for row in table for cell in row if cell["tp"] + cell["fn"] > 0]
    assert len(present) == 8
    expected = sum(naive.tversky(cell) for cell in present) / 8
    assert value(Tversky(skip_absent_classes=True), confusion).item() == pytest.approx(expected)


def test_absence_is_judged_on_the_pooled_sums_for_the_batch_reduction() -> None:
    confusion, table = region_batch()
    term = Tversky(skip_absent_classes=True, region_reduction="batch")
    expected = sum(naive.tversky(cell) for cell in naive.pool(table)[:3]) / 3
    assert value(term, confusion).item() == pytest.approx(expected)


def test_cells_without_a_pixel_are_left_out() -> None:
    logits, mask = torch.randn(2, 1, 8, dtype=torch.float64), torch.randint(0, 2, (2, 1, 8))
    weights = torch.tensor([1.0, 0.0]).reshape(2, 1, 1).expand(2, 1, 8)
    confusion = soft_confusion(logits, mask, pixel_weights=weights)
    first = soft_confusion(logits[:1], mask[:1])
    assert value(Dice(), confusion).item() == pytest.approx(value(Dice(), first).item())


@pytest.mark.parametrize("term", [CrossEntropy(), Dice(), FocalTversky()])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_batch_without_a_counted_pixel_costs_nothing(term, n_classes: int) -> None:
    channels = 1 if n_classes == 2 else 3
    logits = torch.randn(2, channels, 8, requires_grad=True)
    labels = torch.full((2, 8), 255)
    loss = value(term, soft_confusion(logits, labels, n_classes=n_classes, ignore_index=255))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_the_parts_per_class_sum_to_the_term() -> None:
    confusion, table = region_batch()
    numerator, denominator = Dice()(confusion)
    assert (numerator / denominator).tolist() == pytest.approx(
        [sum(naive.dice(row[c]) for row in table) / 3 for c in range(4)]
    )


@pytest.mark.parametrize("near", [1e-5, 1e-3, 0.1])
@pytest.mark.parametrize("name", REGION_TERMS)
def test_gradients_of_terms_pass_gradcheck(name: str, near: float) -> None:
    """Also next to a perfect prediction."""
    target = torch.randint(0, 2, (2, 1, 6)).double()
    p = (target * (1 - 2 * near) + near).requires_grad_()
    term = REGION_TERMS[name]()

    def loss(p: Tensor) -> Tensor:
        return value(term, soft_confusion(p, target, from_logits=False, sums=("region",)))

    assert torch.autograd.gradcheck(loss, p, eps=1e-3 * near, rtol=1e-4)


def test_the_gradient_of_focal_tversky_is_exact_next_to_perfection() -> None:
    """gamma E^(gamma - 1) dE, with E the Tversky loss, at margins where float32 has no 1 - p."""
    for margin in (5.0, 12.0, 20.0, 30.0):
        logits = torch.full((1, 1, 3), margin, requires_grad=True)
        value(FocalTversky(), soft_confusion(logits, torch.ones(1, 1, 3))).backward()
        miss = 1 / (1 + math.exp(margin))
        hit = 1 - miss
        error = 0.7 * miss / (hit + 0.7 * miss)
        slope = 0.75 * error**-0.25 * -0.7 / (hit + 0.7 * miss) ** 2 * miss * hit / 3
        assert logits.grad is not None
        assert logits.grad.flatten().tolist() == pytest.approx([slope] * 3, rel=1e-5)


BAD = [
    (lambda: Dice(smooth=-1.0), ValueError, "smooth must be .* at least 0, got -1"),
    (lambda: Dice(smooth=math.nan), ValueError, "smooth must be a finite number"),
    (lambda: Dice(smooth="1"), TypeError, "smooth must be a number, got '1'"),
    (lambda: Tversky(alpha=0, beta=0), ValueError, "must not both be 0"),
    (lambda: FocalTversky(gamma=0.0), ValueError, "gamma must be .*above 0, got 0"),
    (lambda: Dice(region_reduction="mean"), ValueError, "one of 'sample', 'batch', 'micro'"),
    (lambda: Dice(region_classes=3), TypeError, "region_classes must be a list"),
    (lambda: Dice(region_classes=[1, 1]), ValueError, "without duplicates"),
    (lambda: Dice(region_classes=[]), ValueError, "at least one class"),
    (lambda: Dice(region_classes=[-1]), ValueError, "at least 0, got -1"),
    (lambda: Dice(skip_absent_classes=1), TypeError, "skip_absent_classes must be True or False"),
    (
        lambda: Dice(region_classes=[1], region_class_weights=[1.0, 2.0]),
        ValueError,
        "expected 1, got 2",
    ),
    (
        lambda: Dice(region_reduction="micro", region_class_weights=[1.0]),
        ValueError,
        "needs a mean over classes",
    ),
    (lambda: Dice(region_class_weights=[0.0, 0.0]), ValueError, "at least one weight above 0"),
    (lambda: Dice(region_class_weights=[1.0, -1.0]), ValueError, r"region_class_weights\[1\]"),
]


@pytest.mark.parametrize(("make", "kind", "words"), BAD)
def test_wrong_parameters_are_refused_when_a_term_is_made(make, kind, words: str) -> None:
    with pytest.raises(kind, match=words):
        make()


def test_classes_out_of_range_are_refused_when_a_term_is_used() -> None:
    confusion, _ = region_batch()
    with pytest.raises(ValueError, match=r"region_classes=\[7\] is out of range: .* 4 classes"):
        Dice(region_classes=[7])(confusion)
    with pytest.raises(ValueError, match="expected 4, got 2"):
        Dice(region_class_weights=[1.0, 2.0])(confusion)
