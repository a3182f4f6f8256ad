"""Options of overlap terms: a logarithm, two smoothings, clipped hits, and classes pooled alone."""

from __future__ import annotations

import math
from itertools import cycle
from typing import Any

import pytest
import torch
from torch import Tensor

import segloss
from segloss import CompoundLoss, SegLoss
from segloss.terms import TERMS, CrossEntropy, Dice, Jaccard, LogDice, Overlap, Term
from tests.support.kernels import BACKENDS

WHOLE = ["generalized_wasserstein_dice"]  # without a value for each class, or for pooled classes
OVERLAPS = [n for n, term in TERMS.items() if issubclass(term, Overlap) and n not in WHOLE]
WITH_LOG = [name for name in OVERLAPS if name not in ("log_dice", "log_cosh_dice")]
FIXED = {"f_beta": {"beta": 2.0}, "focal_tversky": {"gamma": 1.0}}
OPTIONS: dict[str, dict[str, Any]] = {
    "log": {"log": True, "smooth": 0.0},
    "apart": {"smooth": (0.5, 2.0)},
    "clipped": {"clip_tp": 3.0},
    "pooled": {"region_reduction": "sample_micro"},
    "all": {
        "log": True,
        "smooth": (0.0, 2.0),
        "clip_tp": 3.0,
        "region_reduction": "sample_micro",
        "region_classes": [2, 0],
    },
}


@pytest.fixture
def logits() -> Tensor:
    return torch.randn(3, 4, 6, 5, dtype=torch.float64)


@pytest.fixture
def labels() -> Tensor:
    labels = torch.randint(0, 4, (3, 6, 5))
    labels[:, 0, :4] = torch.arange(4)
    return labels


def value_and_gradient(loss: Any, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    logits = logits.clone().requires_grad_()
    value = loss(logits, target)
    return value.detach(), torch.autograd.grad(value, logits)[0]


def of(term: Term) -> CompoundLoss:
    return CompoundLoss(term, "multiclass")


@pytest.mark.parametrize("name", WITH_LOG)
def test_the_log_of_a_term_is_minus_the_logarithm_of_its_score(name, logits, labels) -> None:
    options = {**FIXED.get(name, {}), "region_reduction": "sample_micro"}
    for sample in range(3):
        one = logits[sample : sample + 1], labels[sample : sample + 1]
        score = 1 - of(TERMS[name](**options))(*one)
        torch.testing.assert_close(of(TERMS[name](log=True, **options))(*one), -score.log())


def test_log_dice_is_the_log_of_dice(logits, labels) -> None:
    for smooth in (0.0, 1e-5, 1.0, (0.5, 2.0)):
        ours = value_and_gradient(of(LogDice(smooth=smooth)), logits, labels)
        assert ours[0] > 0
        torch.testing.assert_close(
            ours, value_and_gradient(of(Dice(log=True, smooth=smooth)), logits, labels)
        )


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ["log_dice", *WITH_LOG, *WHOLE])
def test_the_log_of_a_region_that_is_not_hit_is_finite_and_has_a_slope(name, backend) -> None:
    """The probabilities are 9e-14, and 0 in float32."""
    log = {} if name == "log_dice" else {"log": True}
    loss = CompoundLoss(TERMS[name](smooth=0.0, **FIXED.get(name, {}), **log))
    target = torch.tensor([[[0.0, 1.0, 1.0, 0.0]]])
    most = 1 - math.log(1e-7)
    with segloss.use_backend(backend):
        for margin in (-30.0, -200.0):
            missed = torch.full((1, 1, 4), margin)
            value, gradient = value_and_gradient(loss, missed, target)
            assert value.item() == pytest.approx(most, abs=1e-5)
            assert gradient.isfinite().all()
            assert margin < -100 or (gradient[target > 0] < 0).all()


def test_a_region_that_is_not_hit_is_learnt_where_smp_stops() -> None:
    smp = pytest.importorskip("segmentation_models_pytorch").losses
    target = torch.tensor([[[[0, 1, 1, 0]]]])
    missed = torch.full((1, 1, 1, 4), -20.0)
    ours = segloss.DiceLoss(log=True, smooth=0.0)
    theirs = smp.DiceLoss("binary", log_loss=True)
    value, gradient = value_and_gradient(ours, missed, target)
    their_value, their_gradient = value_and_gradient(theirs, missed, target)
    assert their_value.item() == pytest.approx(-math.log(1e-7))
    assert their_value < value < their_value + 1
    assert not their_gradient.any()
    assert (gradient[..., 1:3] < -0.01).all()


def test_a_logarithm_continues_with_the_same_value_and_slope() -> None:
    def score(x: Tensor) -> Tensor:
        return segloss.JaccardLoss(log=True)(x, torch.ones(1, 1, 4, dtype=torch.float64))

    border = math.log(1e-7 / (1 - 1e-7))
    around = [torch.full((1, 1, 4), border + step, dtype=torch.float64) for step in (1e-6, -1e-6)]
    (above, its_slope), (below, other_slope) = (
        value_and_gradient(lambda x, _: score(x), x, x) for x in around
    )
    assert above.item() == pytest.approx(-math.log(1e-7) - 1e-6, abs=1e-10)
    torch.testing.assert_close(above, below, rtol=0, atol=3e-6)
    torch.testing.assert_close(its_slope, other_slope, rtol=1e-5, atol=0)


def test_an_absent_class_that_is_not_predicted_costs_what_the_two_smoothings_say() -> None:
    nothing, empty = torch.full((1, 1, 4), -200.0), torch.zeros(1, 1, 4)
    for smooth, expected in ((0.0, 0.0), ((0, 1e-5), 1.0), ((1.0, 4.0), 0.75), ((1, 1), 0.0)):
        assert segloss.DiceLoss(smooth=smooth)(nothing, empty).item() == pytest.approx(expected)
    assert Dice(smooth=(1, 1)) == Dice()  # two equal numbers are one, with a kernel's slopes
    assert Dice(smooth=(1, 1)).analytic_form() == Dice().analytic_form()


def test_two_smoothings_keep_the_digits_of_small_losses() -> None:
    """1 - (2 TP + 1) / (2 TP + FN + FP + 1 + d), where d is one part in ten million of it."""
    mask = torch.ones(1, 1, 100, dtype=torch.float64)
    logits = torch.full((1, 1, 100), 40.0)
    value = segloss.DiceLoss(smooth=(1.0, 1.0 + 2e-5))(logits, mask)
    assert value.item() == pytest.approx(2e-5 / 201.00002, rel=1e-6)


def test_clipped_hits_are_those_of_the_formula(logits, labels) -> None:
    p = logits.softmax(1)
    g = torch.nn.functional.one_hot(labels, 4).movedim(-1, 1)
    tp, size = (p * g).sum((2, 3)), (p + g).sum((2, 3))
    errors, clipped = size - 2 * tp, tp.clamp(min=1.5)
    assert (clipped != tp).any()
    assert (clipped == tp).any()
    expected = (errors / (2 * clipped + errors + 1)).mean()
    torch.testing.assert_close(of(Dice(clip_tp=1.5))(logits, labels), expected)


@pytest.mark.parametrize("name", ["dice", "focal_tversky", "squared_dice", "mcc", "boundary"])
def test_classes_pooled_in_each_sample_are_the_mean_of_single_samples(name, logits, labels) -> None:
    maps = {"gt_distance_map": torch.randn_like(logits)}
    term = TERMS[name](region_reduction="sample_micro", region_classes=[1, 3])
    pooled = TERMS[name](region_reduction="micro", region_classes=[1, 3])

    def loss_of(term: Term, some: slice) -> Tensor:
        own = {key: each[some] for key, each in maps.items()}
        return of(term)(logits[some], labels[some], maps=own)

    singles = [loss_of(pooled, slice(n, n + 1)) for n in range(3)]
    torch.testing.assert_close(loss_of(term, slice(None)), torch.stack(singles).mean())


def test_classes_pooled_in_each_sample_leave_out_samples_without_pixels(logits, labels) -> None:
    labels[1] = 255
    loss = segloss.DiceLoss("multiclass", region_reduction="sample_micro", ignore_index=255)
    kept = [0, 2]
    torch.testing.assert_close(loss(logits, labels), loss(logits[kept], labels[kept]))
    assert loss(logits, torch.full_like(labels, 255)) == 0
    assert loss(logits[:0], labels[:0]) == 0


def test_classes_pooled_in_each_sample_give_one_loss_of_each_without_a_reduction(
    logits, labels
) -> None:
    options = {"region_reduction": "sample_micro", "log": True}
    cells = segloss.JaccardLoss("multiclass", reduction="none", **options)(logits, labels)
    assert cells.shape == (3, 1)
    mean = segloss.JaccardLoss("multiclass", **options)(logits, labels)
    torch.testing.assert_close(cells.mean(), mean)


def test_classes_pooled_in_each_sample_take_a_mixup_lam_for_each(logits, labels) -> None:
    loss = SegLoss(n_classes=4, terms=Dice(region_reduction="sample_micro"), use_mixup=True)
    lam = torch.tensor([0.2, 0.5, 1.0])
    batch = {"mixup_y_a": labels, "mixup_y_b": labels.flip(0), "mixup_lam": lam}
    value, _ = loss({"seg": logits}, {"gt_polygons_image": labels, **batch})
    cells = segloss.DiceLoss("multiclass", region_reduction="sample_micro", reduction="none")
    a, b = cells(logits, labels)[:, 0], cells(logits, labels.flip(0))[:, 0]
    torch.testing.assert_close(value, (lam * a + (1 - lam) * b).mean(), check_dtype=False)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("name", OVERLAPS)
def test_every_kernel_has_the_values_of_float64(name, option, dtype, backend) -> None:
    """In one mixture with terms that kernels compute, and terms that autograd does."""
    given = dict(OPTIONS[option])
    if name in ("log_dice", "log_cosh_dice"):
        given.pop("log", None)
    term = 0.3 * CrossEntropy() + TERMS[name](**given).named("mine") + 0.5 * Jaccard()
    logits, labels = torch.randn(2, 3, 40).to(dtype), torch.randint(0, 3, (2, 40))
    loss = CompoundLoss(term, "multiclass")
    with segloss.use_backend("reference"):
        expected = value_and_gradient(loss, logits.double(), labels)
    with segloss.use_backend(backend):
        value, gradient = value_and_gradient(loss, logits, labels)
    torch.testing.assert_close(value.double(), expected[0], rtol=2e-6, atol=1e-7)
    tolerance = {"rtol": 2e-5 + 2 * torch.finfo(dtype).eps, "atol": 1e-6}
    torch.testing.assert_close(gradient.double(), expected[1], **tolerance)


@pytest.mark.parametrize(
    ("options", "spatial"),
    list(zip(OPTIONS.values(), cycle([(7,), (4, 5), (2, 3, 4)]), strict=False)),
)
def test_options_are_compiled_without_a_break(options: dict, spatial: tuple[int, ...]) -> None:
    loss = of(Jaccard(**options))
    torch._dynamo.reset()
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    logits, labels = torch.randn(2, 3, *spatial), torch.randint(0, 3, (2, *spatial))
    expected = value_and_gradient(loss, logits, labels)
    torch.testing.assert_close(value_and_gradient(compiled, logits, labels), expected)


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("name", OVERLAPS)
def test_options_have_the_gradients_of_differences(name, option, logits, labels) -> None:
    given = dict(OPTIONS[option])
    if name in ("log_dice", "log_cosh_dice"):
        given.pop("log", None)
    loss = of(TERMS[name](**given))
    assert torch.autograd.gradcheck(
        lambda x: loss(x, labels[:2]), logits[:2].requires_grad_(), fast_mode=True
    )
    if name != "dice":
        return
    assert torch.autograd.gradgradcheck(
        lambda x: loss(x, labels[:1, :2]), logits[:1, :, :2].detach().requires_grad_()
    )


def test_options_come_from_a_config(logits, labels) -> None:
    loss = segloss.build_loss("""
        loss:
          _target_: segloss.SegLoss
          n_classes: 4
          terms:
            jaccard: {coef: 0.5, log: true}
            dice: {coef: 0.5, smooth: [0, 1.0e-5], clip_tp: 1, region_reduction: sample_micro}
    """)
    dice = Dice(smooth=(0.0, 1e-5), clip_tp=1.0, region_reduction="sample_micro")
    terms = 0.5 * Jaccard(log=True) + 0.5 * dice
    assert loss.mixture == terms
    built, _ = loss(logits, labels)
    torch.testing.assert_close(built, SegLoss(n_classes=4, terms=terms)(logits, labels)[0])
