"""Options of single terms, and how SegLoss takes terms."""

from __future__ import annotations

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import segloss
from segloss import SegLoss, soft_confusion, use_backend
from segloss.sums.plan import NAMED
from segloss.terms import (
    MCC,
    TERMS,
    Boundary,
    Dice,
    Focal,
    GeneralizedDice,
    Jaccard,
    RegionTerm,
    Term,
    mean,
)
from segloss.terms.base import parameters_of
from segloss.terms.unified_focal import AsymmetricFocal, AsymmetricFocalTversky
from tests.support import textbook
from tests.support.kernels import BACKENDS
from tests.terms.test_every_term import Case, alone, value_and_gradient, value_of


def with_terms(terms: dict, **options) -> SegLoss:
    return SegLoss(bce_coef=0, dice_coef=0, extra_terms=terms, **options)


@pytest.mark.parametrize("kind", ["soft masks", "soft classes", "multilabel", "multiclass"])
@pytest.mark.parametrize("name", ["dice", "jaccard"])
def test_metric_losses_are_of_absolute_differences(name: str, kind: str) -> None:
    def of_differences(cell: textbook.Cell) -> Tensor:
        total, difference = cell.total(cell.p + cell.g), cell.total((cell.p - cell.g).abs())
        if name == "dice":
            return 1 - (total - difference + 1) / (total + 1)
        return 1 - (total - difference) / (total + difference)

    case = Case(kind, masked=True)
    loss = alone(name, **case.options, soft_labels="metric")
    expected = textbook.over_cells(of_differences)(case.book(), "mean").item()
    assert value_of(loss, case.logits, case).item() == pytest.approx(expected, rel=1e-9)


REGION_TERMS = [name for name, term in TERMS.items() if "soft_labels" in parameters_of(term)]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", ["binary", "multilabel", "multiclass", "two classes"])
@pytest.mark.parametrize("name", REGION_TERMS)
def test_for_hard_targets_metric_losses_are_the_plain_ones(
    name: str, kind: str, dtype: torch.dtype, backend: str
) -> None:
    case = Case(kind)
    case.logits = case.logits.to(dtype)
    targets = [case.target] if case.exclusive else [case.target, case.target.long()]
    for case.target in targets:
        with use_backend(backend):
            plain = value_and_gradient(alone(name, **case.options), case)
            metric = value_and_gradient(alone(name, **case.options, soft_labels="metric"), case)
        tolerance = {"rtol": 1e-12, "atol": 1e-14} if dtype == torch.float64 else {}
        torch.testing.assert_close(metric, plain, **tolerance)


def test_the_best_prediction_of_a_soft_target_is_the_target() -> None:
    target = torch.full((1, 1, 4, 4), 0.5)

    def best(soft_labels: str) -> float:
        grid = torch.linspace(0, 1, 101)
        loss = with_terms({Dice(smooth=0.0, soft_labels=soft_labels): 1.0}, from_logits=False)
        values = [loss(p * torch.ones(1, 1, 4, 4), target)[0].item() for p in grid]
        return grid[values.index(min(values))].item()

    assert best("metric") == pytest.approx(0.5)
    assert best("product") == pytest.approx(1.0)


@pytest.mark.parametrize("weight_type", ["square", "simple", "uniform"])
def test_generalized_dice_weights(weight_type: str) -> None:
    case = Case("multiclass", masked=True)
    loss = with_terms({GeneralizedDice(weight_type=weight_type): 1.0}, **case.options)
    expected = textbook.term("generalized_dice", case.book(), weight_type=weight_type).item()
    assert value_of(loss, case.logits, case).item() == pytest.approx(expected, rel=1e-9)


def test_generalized_dice_punishes_what_is_predicted_of_absent_classes() -> None:
    labels = torch.zeros(1, 4, 4, dtype=torch.long)
    labels[:, 0] = 1
    loss = with_terms({"generalized_dice": 1.0}, n_classes=3)
    right = torch.nn.functional.one_hot(labels, 3).movedim(-1, 1) * 8.0
    astray = right.clone()
    astray[:, 2, 3] = 16.0
    assert loss(right, labels)[0] < 0.01
    assert loss(astray, labels)[0] > 0.1


def test_mcc_of_what_has_no_correlation() -> None:
    absent = torch.zeros(1, 1, 2, 2)
    loss = with_terms({MCC(): 1.0}, from_logits=False)
    assert loss(torch.zeros(1, 1, 2, 2), absent)[0] == 0
    assert loss(torch.full((1, 1, 2, 2), 0.3), absent)[0] == 1


@pytest.mark.parametrize("kind", ["binary", "soft masks"])
def test_focal_alpha_weights_the_foreground(kind: str) -> None:
    case = Case(kind, masked=True)
    one = value_of(with_terms({Focal(alpha=0.25): 1.0}, **case.options), case.logits, case)
    pair = value_of(with_terms({Focal(alpha=[0.75, 0.25]): 1.0}, **case.options), case.logits, case)
    book = textbook.term("focal", case.book(), alpha=[0.75, 0.25]).item()
    assert one.item() == pair.item() == pytest.approx(book, rel=1e-9)


@pytest.mark.parametrize("kind", ["multiclass", "soft classes"])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 3.3])
def test_softmax_focal_with_a_weight_per_class(kind: str, gamma: float) -> None:
    case, alpha = Case(kind), [0.1, 0.4, 1.0, 2.0]
    loss = with_terms({Focal(gamma=gamma, alpha=alpha): 1.0}, **case.options)
    expected = textbook.term("focal", case.book(), gamma=gamma, alpha=alpha).item()
    assert value_of(loss, case.logits, case).item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("margin", [8.0, 14.0, 20.0])
def test_a_focal_loss_of_confident_pixels_keeps_its_digits(margin: float) -> None:
    for kind in ("binary", "multiclass"):
        case = Case(kind)
        sign = (
            2
            * (
                case.target
                if kind == "binary"
                else torch.nn.functional.one_hot(case.target, 4).movedim(-1, 1)
            )
            - 1
        )
        case.logits = (margin * sign / (1 if kind == "binary" else 2)).double()
        precise = value_and_gradient(alone("focal", **case.options), case)
        case.logits = case.logits.float()
        value, gradient = value_and_gradient(alone("focal", **case.options), case)
        torch.testing.assert_close(value.double(), precise[0], rtol=1e-5, atol=0)
        torch.testing.assert_close(gradient.double(), precise[1], rtol=1e-5, atol=0)


def test_terms_have_parameters_and_classes_of_their_own() -> None:
    case = Case("multiclass")
    objects = SegLoss(
        n_classes=4, dice_coef=0, extra_terms={Dice(region_classes=[1, 2, 3], smooth=0.5): 0.7}
    )
    mapping = SegLoss(
        n_classes=4,
        dice_coef=0,
        extra_terms={"dice": {"coef": 0.7, "region_classes": [1, 2, 3], "smooth": 0.5}},
    )
    assert value_of(objects, case.logits, case) == value_of(mapping, case.logits, case)
    _, info = mapping({"seg": case.logits}, case.batch())
    assert segloss.per_class(info, "dice").shape == (3,)


def test_a_term_may_come_twice_under_another_name() -> None:
    case = Case("multiclass")
    loss = SegLoss(
        n_classes=4, extra_terms={"lesions": {"term": "dice", "coef": 0.5, "region_classes": [3]}}
    )
    _, info = loss({"seg": case.logits}, case.batch())
    assert {"dice", "lesions", "lesions/3"} <= set(info)
    twice = SegLoss(n_classes=4, extra_terms={"lesions": {"term": Dice(), "coef": 0.5}})
    assert set(twice.mixture.terms) == {"cross_entropy", "dice", "lesions"}


def test_composites_are_taken_apart() -> None:
    loss = with_terms({"poly1": {"coef": 0.5, "epsilon": 3.0}, "unified_focal": 1.0})
    assert loss.mixture.coefficients == {
        "poly1_cross_entropy": 0.5,
        "poly1_missed_probability": 1.5,
        "unified_focal_pixels": 0.5,
        "unified_focal_tversky": 0.5,
    }


@pytest.mark.parametrize(
    ("terms", "error", "message"),
    [
        ({"jacard": 0.2}, ValueError, "did you mean 'jaccard'"),
        ({"jaccard": {"smooth": 1.0}}, ValueError, "must have the key 'coef'"),
        ({"focal": {"coef": 1.0, "gama": 2}}, ValueError, "gama is unknown.*did you mean 'gamma'"),
        ({"dice": 0.5}, ValueError, "must not repeat a term.*'term': 'dice'"),
        ({"jaccard": -1}, ValueError, r"extra_terms\['jaccard'\] must be"),
        ({"x": {"coef": 1, "term": Jaccard(), "smooth": 2}}, ValueError, "leave out: smooth"),
        ({"focal": {"coef": 1.0, "alpha": 2.0}}, ValueError, r"alpha must be in \[0, 1\]"),
        ({"unified_focal": {"coef": 1.0, "gamma": 1}}, ValueError, "gamma must be below 1"),
        (["jaccard"], TypeError, "extra_terms must be a mapping"),
    ],
)
def test_wrong_terms_are_refused(terms, error, message: str) -> None:
    with pytest.raises(error, match=message):
        SegLoss(extra_terms=terms)


def test_alpha_must_fit_the_classes() -> None:
    with pytest.raises(
        ValueError, match="one weight for each class with softmax: expected 4, got 2"
    ):
        SegLoss(n_classes=4, extra_terms={Focal(alpha=0.25): 1.0})
    loss = SegLoss(extra_terms={Focal(alpha=[1, 2, 3]): 1.0}, from_logits=True)
    with pytest.raises(ValueError, match="expected 2, got 3"):
        loss(torch.zeros(1, 1, 4), torch.zeros(1, 1, 4))


def test_missing_maps_are_named() -> None:
    loss = SegLoss(extra_terms={"boundary": 0.1}, from_logits=True)
    logits, mask = torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4)
    with pytest.raises(KeyError, match="gt_distance_map"):
        loss({"seg": logits}, {"gt_polygons_image": mask})
    with pytest.raises(TypeError, match="must be a mapping with the maps gt_distance_map"):
        loss(logits, mask)
    with pytest.raises(ValueError, match="one map for each channel"):
        loss({"seg": logits}, {"gt_polygons_image": mask, "gt_distance_map": mask[:, :, :2]})


@pytest.mark.parametrize("pooled", ["micro", "sample_micro"])
def test_micro_is_refused_where_background_and_foreground_differ(pooled: str) -> None:
    with pytest.raises(ValueError, match="mixes background and foreground"):
        AsymmetricFocalTversky(region_reduction=pooled)


def test_maps_of_two_terms_are_read_by_each() -> None:
    case = Case("multilabel")
    case.maps["other"] = torch.randn_like(case.logits)
    terms = {Boundary(): 1.0, "mine": {"term": Boundary(map_key="other"), "coef": 1.0}}
    loss = with_terms(terms, **case.options)
    _, info = loss({"seg": case.logits}, case.batch())
    p = case.logits.sigmoid()
    torch.testing.assert_close(info["boundary"], (p * case.maps["gt_distance_map"]).mean())
    torch.testing.assert_close(info["mine"], (p * case.maps["other"]).mean())


def test_a_term_of_ones_own() -> None:
    class Specificity(RegionTerm):
        name = "specificity"

        def cell_loss(self, confusion):
            return mean(confusion.false_positive, confusion.pixel_weight - confusion.actual)

    case = Case("multilabel")
    loss = with_terms({Specificity(): 1.0}, **case.options)
    p = case.logits.sigmoid()
    expected = ((p * (1 - case.target)).sum((2, 3)) / (1 - case.target).sum((2, 3))).mean()
    torch.testing.assert_close(value_of(loss, case.logits, case), expected)
    assert "region_reduction" in parameters_of(Specificity)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("logit", [-300.0, -40.0, -17.0, -5.0, 0.0, 5.0, 17.0, 40.0, 300.0])
def test_the_divergence_of_sizes_is_finite_and_right_far_from_the_truth(
    logit: float, dtype: torch.dtype
) -> None:
    mask = torch.zeros(1, 1, 32, 32)
    mask[..., :16] = 1
    logits = torch.full((1, 1, 32, 32), logit, dtype=dtype, requires_grad=True)
    value, _ = with_terms({"region_size_kl": 1.0}, from_logits=True)(logits, mask)
    value.backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    if abs(logit) < 300:
        p = torch.tensor(logit, dtype=torch.float64)
        expected = -0.5 * F.logsigmoid(p) - 0.5 * F.logsigmoid(-p) - math.log(2)
        tolerance = 1e-5 if logit <= 5 else 0.05  # true negatives are a difference
        torch.testing.assert_close(value.double(), expected, rtol=tolerance, atol=1e-6)


def test_few_false_positives_beside_many_misses_keep_their_digits() -> None:
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., :32] = 1
    confusion = soft_confusion(torch.full((1, 1, 64, 64), -17.0), mask)
    expected = 2048 / (1 + math.exp(17))
    assert confusion.false_positive.item() == pytest.approx(expected, rel=1e-6)
    assert confusion.true_positive.item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("kind", ["multilabel", "multiclass"])
def test_mcc_adds_eps_to_each_count(kind: str) -> None:
    case = Case(kind, masked=True)
    loss = with_terms({MCC(eps=3.0): 1.0}, **case.options)
    book = textbook.term("mcc", case.book(), eps=3.0).item()
    assert value_of(loss, case.logits, case).item() == pytest.approx(book, rel=1e-9)


def test_a_term_that_is_not_of_regions_has_a_mean_of_its_cells() -> None:
    class Excess(Term):
        name = "excess"
        sums = ("counts", "region")

        def losses_and_weights(self, confusion):
            return confusion.false_positive, confusion.actual + 1

    case = Case("multilabel")
    p, g = case.logits.sigmoid(), case.target
    excess, weights = (p * (1 - g)).sum((2, 3)), g.sum((2, 3)) + 1
    expected = (excess * weights).sum() / weights.sum()
    value = value_of(with_terms({Excess(): 1.0}, **case.options), case.logits, case)
    torch.testing.assert_close(value, expected)


def test_a_sample_without_pixels_does_not_count_in_the_divergence_of_sizes() -> None:
    logits, labels = torch.randn(2, 3, 8, dtype=torch.float64), torch.arange(16).reshape(2, 8) % 3
    loss = with_terms({"region_size_kl": 1.0}, n_classes=3, ignore_index=255)
    alone_, _ = loss({"seg": logits[:1]}, {"gt_polygons_image": labels[:1]})
    labels[1] = 255
    both, _ = loss({"seg": logits}, {"gt_polygons_image": labels})
    torch.testing.assert_close(both, alone_)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("f_beta", {"beta": 0}, "beta must be a finite number above 0"),
        ("log_dice", {"smooth": -1}, "smooth must be"),
        ("dice", {"smooth": [0.0]}, "smooth must be a number, or two"),
        ("dice", {"smooth": [0.0, 1.0, 2.0]}, "smooth must be a number, or two"),
        ("jaccard", {"smooth": [-1.0, 1.0]}, r"^smooth\[0\], of the numerator, must be"),
        ("tversky", {"smooth": [1.0, math.inf]}, r"^smooth\[1\], of the denominator, must"),
        ("f_beta", {"smooth": "1"}, "smooth must be a number"),
        ("dice", {"log": 1}, "log must be True or False"),
        ("squared_dice", {"clip_tp": -1}, "clip_tp must be"),
        ("skeleton_recall", {"smooth": -1}, "smooth must be"),
        ("skeleton_recall", {"map_key": ""}, "map_key must not be empty"),
        ("boundary", {"map_key": 3}, "map_key must be a str"),
        ("mcc", {"eps": -1}, "eps must be"),
        ("focal", {"gamma": -1}, "gamma must be"),
        ("poly1", {"epsilon": math.nan}, "epsilon must be"),
        ("tversky", {"alpha": -1}, "alpha must be"),
        ("generalized_dice", {"smooth": -1}, "^smooth must be"),
        ("tversky", {"beta": -1}, "beta must be"),
        ("focal_tversky", {"gamma": -1}, "gamma must be"),
        *(
            ("unified_focal", {key: value}, f"{key} must be")
            for key in ("weight", "delta", "gamma")
            for value in (-0.1, 1.1)
        ),
    ],
)
def test_parameters_out_of_range_are_named(name: str, options: dict, words: str) -> None:
    with pytest.raises((TypeError, ValueError), match=words):
        TERMS[name](**options)


@pytest.mark.parametrize("part", [AsymmetricFocal, AsymmetricFocalTversky])
@pytest.mark.parametrize("key", ["delta", "gamma"])
def test_parts_of_the_unified_focal_check_their_parameters(part: type[Term], key: str) -> None:
    with pytest.raises(ValueError, match=f"{key} must be"):
        part(**{key: -0.1})
    if (part, key) != (AsymmetricFocal, "gamma"):
        with pytest.raises(ValueError, match=f"{key} must be"):
            part(**{key: 1.1})


MIXTURES = {
    "focal": {"focal": 0.5},
    "weighted focal": {"focal": {"coef": 0.5, "gamma": 1.5}},
    "squared dice": {"squared_dice": 0.4},
    "unified focal": {"unified_focal": 0.3},
    "maps": {"boundary": 0.1, "skeleton_recall": 0.2},
    "all": {name: 0.1 for name in TERMS if name not in ("cross_entropy", "dice", "focal_tversky")},
}


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("mixture", MIXTURES)
@pytest.mark.parametrize("kind", ["multilabel", "multiclass", "soft masks"])
def test_terms_beside_each_other_are_those_of_the_reference_path(
    kind: str, mixture: str, smoothing: float
) -> None:
    case = Case(kind)
    terms = copy.deepcopy(MIXTURES[mixture])
    if mixture == "weighted focal":
        terms["focal"]["alpha"] = [0.3, 0.2, 0.4, 0.1] if kind == "multiclass" else 0.3
    loss = SegLoss(
        tversky_focal_coef=0.3,
        use_label_smooth=smoothing > 0,
        smooth_factor=smoothing,
        extra_terms=terms,
        **case.options,
    )
    fused = value_and_gradient(loss, case)
    with use_backend("reference"):
        expected = value_and_gradient(loss, case)
    torch.testing.assert_close(fused, expected, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_sums_are_those_that_were_asked_for(n_classes: int) -> None:
    labels = torch.randint(0, n_classes, (2, 9))
    logits = torch.randn(2, 1 if n_classes == 2 else n_classes, 9)
    always = {"actual", "pixel_weight"}
    for group in ("region", "cross_entropy", "squared_error"):
        confusion = soft_confusion(logits, labels, n_classes=n_classes, sums=(group,))
        assert set(confusion.sums) <= {row.key for row in NAMED[group].rows} | always
