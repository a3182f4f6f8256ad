"""Mixtures: values made by arithmetic, printed as they are written, one for every door."""

from __future__ import annotations

import copy
import operator
import pickle
from typing import Any

import pytest
import torch

import segloss
from segloss import CompoundLoss, SegLoss, build_loss, functional, terms
from segloss.terms import (
    TERMS,
    CrossEntropy,
    Dice,
    Focal,
    FocalTversky,
    Jaccard,
    Mixture,
    Poly1,
    Tversky,
    UnifiedFocal,
)
from segloss.terms.base import parameters_of

WRITTEN = [
    "0.5 * CrossEntropy() + 0.3 * Dice(region_classes=[1, 2]) + 0.2 * FocalTversky()",
    "0.5 * (CrossEntropy() + Dice())",
    "0.5 * (CrossEntropy() + 0.25 * (Dice() + 2 * Jaccard(smooth=1.0)))",
    "2 * Focal(gamma=3.0, alpha=[0.25, 0.75])",
    "CrossEntropy() + Dice() + 0.5 * Dice(region_classes=[3]).named('lesions')",
    "(0.5 * Dice()).named('halved') + 0.1 * UnifiedFocal(weight=0.3, region_reduction='batch')",
    "1.0 * Tversky(alpha=0.1, region_class_weights=[1.0, 2.0], skip_absent_classes=True)",
]


@pytest.mark.parametrize("written", WRITTEN)
def test_it_is_printed_as_it_is_written(written: str) -> None:
    mixture = eval(written, vars(terms))  # noqa: S307
    assert repr(mixture) == written
    assert eval(repr(mixture), vars(terms)) == mixture  # noqa: S307


@pytest.mark.parametrize("name", TERMS)
def test_terms_are_printed_with_what_is_not_a_default(name: str) -> None:
    term = TERMS[name]()
    assert repr(term) == f"{type(term).__name__}()"
    if "region_reduction" in parameters_of(type(term)):
        changed = type(term)(region_reduction="batch", region_classes=(0, 1))
        expected = "(region_reduction='batch', region_classes=[0, 1])"
        assert repr(changed) == type(term).__name__ + expected
        assert changed != term
    assert eval(repr(term), vars(terms)) == term  # noqa: S307
    assert hash(TERMS[name]()) == hash(term)


def test_terms_can_be_summed_and_divided() -> None:
    terms = [0.5 * CrossEntropy(), 0.25 * Dice(), Jaccard()]
    assert sum(terms) == terms[0] + terms[1] + terms[2]
    assert sum([Dice()]) == 1.0 * Dice()
    assert (CrossEntropy() + Dice()) / 2 == 0.5 * CrossEntropy() + 0.5 * Dice()
    assert repr(Dice() / 4) == "0.25 * Dice()"


@pytest.mark.parametrize("divisor", [0, -1, float("nan"), float("inf")])
def test_a_divisor_is_a_finite_number_above_0(divisor: float) -> None:
    with pytest.raises(ValueError, match="A divisor must be a finite number above 0"):
        Dice() / divisor


@pytest.mark.parametrize("value", [0.0, 1, "focal", None, torch.ones(2)])
def test_only_terms_are_added_to_terms(value: Any) -> None:
    for add in (lambda: Dice() + value, lambda: value + Dice()):
        with pytest.raises(TypeError):
            add()


def test_nested_ones_are_equal_to_flat_ones() -> None:
    nested = 0.5 * (CrossEntropy() + 0.5 * (Dice() + Jaccard()))
    flat = 0.5 * CrossEntropy() + 0.25 * Dice() + 0.25 * Jaccard()
    assert nested == flat
    assert hash(nested) == hash(flat)
    assert nested != 0.5 * CrossEntropy() + 0.25 * Dice() + 0.26 * Jaccard()
    assert nested != 0.5 * CrossEntropy() + 0.25 * Dice() + 0.25 * Jaccard().named("iou")
    assert CrossEntropy() * 0.5 == 0.5 * CrossEntropy()


def test_arithmetic_makes_new_ones() -> None:
    first = 0.5 * CrossEntropy() + 0.5 * Dice()
    written = repr(first)
    _ = 2 * first + Jaccard()
    assert repr(first) == written
    assert first.coefficients == {"cross_entropy": 0.5, "dice": 0.5}


def test_terms_of_coefficient_0_are_left_out_and_composites_taken_apart() -> None:
    mixture = 0 * CrossEntropy() + 0.5 * Poly1(epsilon=3.0) + UnifiedFocal()
    assert mixture.coefficients == {
        "poly1_cross_entropy": 0.5,
        "poly1_missed_probability": 1.5,
        "unified_focal_pixels": 0.5,
        "unified_focal_tversky": 0.5,
    }


@pytest.mark.parametrize("written", WRITTEN)
def test_copies_and_pickles(written: str) -> None:
    mixture = eval(written, vars(terms))  # noqa: S307
    for twin in (copy.deepcopy(mixture), pickle.loads(pickle.dumps(mixture))):
        assert twin == mixture
        assert repr(twin) == written


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    labels = torch.randint(0, 3, (2, 9, 8))
    labels[0, :2] = 255
    return torch.randn(2, 3, 9, 8), labels


def test_all_spellings_are_one_loss(batch) -> None:
    logits, labels = batch
    mixture = 0.5 * CrossEntropy() + 0.3 * Dice(region_classes=[1, 2]) + 0.2 * FocalTversky()
    mapping = {
        "cross_entropy": 0.5,
        "dice": {"coef": 0.3, "region_classes": [1, 2]},
        "focal_tversky": 0.2,
    }
    options: dict[str, Any] = {"n_classes": 3, "ignore_index": 255}
    losses = [
        SegLoss(terms=mixture, **options),
        SegLoss(terms=mapping, **options),
        SegLoss(
            bce_coef=0.5,
            dice_coef=0,
            tversky_focal_coef=0.2,
            extra_terms={"dice": {"coef": 0.3, "region_classes": [1, 2]}},
            **options,
        ),
        build_loss(
            "loss: {_target_: segloss.SegLoss, n_classes: 3, ignore_index: 255, terms: {"
            "cross_entropy: 0.5, dice: {coef: 0.3, region_classes: [1, 2]}, focal_tversky: 0.2}}"
        ),
    ]
    values = [loss(logits, labels)[0] for loss in losses]
    values.append(CompoundLoss(mixture, "multiclass", ignore_index=255)(logits, labels))
    values.append(CompoundLoss(mapping, "multiclass", ignore_index=255)(logits, labels))
    values.append(functional.seg_loss(logits, labels, terms=mixture, **options))
    for value in values[1:]:
        torch.testing.assert_close(value, values[0], rtol=1e-6, atol=0)
    assert losses[0].mixture == losses[1].mixture == mixture


def test_names_reach_extra_info(batch) -> None:
    logits, labels = batch
    mixture = Dice() + 0.5 * Dice(region_classes=[2]).named("lesions")
    _, info = SegLoss(n_classes=3, terms=mixture, ignore_index=255)(logits, labels)
    assert list(info) == ["dice", "dice/0", "dice/1", "dice/2", "lesions", "lesions/2"]


def test_a_single_term_is_a_mixture(batch) -> None:
    logits, labels = batch
    value = CompoundLoss(Jaccard(), mode="multiclass", ignore_index=255)(logits, labels)
    expected = segloss.JaccardLoss("multiclass", ignore_index=255)(logits, labels)
    assert torch.equal(value, expected)


def test_its_documented_defaults_can_stand_beside_it() -> None:
    loss = SegLoss(terms=Dice(), dice_coef=0.5, smooth=1, region_classes=None, extra_terms=None)
    assert loss.mixture == Mixture.of(Dice())


def test_values_of_a_term_are_checked_when_it_is_made() -> None:
    for make in (
        lambda: Dice(smooth=-1),
        lambda: FocalTversky(gamma=0),
        lambda: Tversky(alpha=0, beta=0),
        lambda: Focal(alpha=[]),
        lambda: Dice(region_reduction="mean"),
    ):
        with pytest.raises(ValueError, match="must"):
            make()


@pytest.mark.parametrize("term", [*terms.TERMS.values()])
def test_a_term_says_which_parameters_it_takes(term: Any) -> None:
    names = parameters_of(term)
    expected = rf"\({', '.join(names)}\); got" if names else "takes no arguments; got"
    with pytest.raises(TypeError, match=expected):
        term(unheard_of=1)
    with pytest.raises(TypeError, match=expected):
        term(1.0)
    for name in names:
        with pytest.raises(TypeError, match=rf"{name}x' \(did you mean '{name}'"):
            term(**{f"{name}x": 1})


def test_parameters_of_ones_own_are_fields() -> None:
    class Scaled(Dice):
        name = "scaled"
        factor: float = 2.0

        def shape(self, loss: torch.Tensor) -> torch.Tensor:
            return self.factor * loss

    assert parameters_of(Scaled)[0] == "factor"
    assert repr(Scaled(factor=3.0)) == "Scaled(factor=3.0)"
    logits, mask = torch.randn(2, 1, 8), torch.ones(2, 8).long()
    plain, scaled = (CompoundLoss(t)(logits, mask) for t in (Dice(), Scaled(factor=3.0)))
    torch.testing.assert_close(scaled, 3 * plain)


def test_the_name_of_a_term_is_not_that_of_a_class() -> None:
    with pytest.raises(ValueError, match=r"must not hold '/', got 'dice/1'"):
        SegLoss(n_classes=4, extra_terms={"dice/1": {"term": "jaccard", "coef": 1.0}})


@pytest.mark.parametrize(
    "kind", [*TERMS.values(), Mixture, SegLoss, CompoundLoss, segloss.DiceLoss]
)
@pytest.mark.parametrize("operation", [operator.add, operator.sub, operator.mul, operator.truediv])
def test_classes_are_not_combined_in_place_of_instances(kind: Any, operation: Any) -> None:
    for operands in ((0.5, kind), (kind, 0.5), (kind, kind)):
        with pytest.raises(TypeError, match=rf"an instance of it, {kind.__name__}\(\.\.\.\)"):
            operation(*operands)
    assert isinstance(None, kind | None)
