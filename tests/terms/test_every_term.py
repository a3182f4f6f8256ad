"""All terms at once: each is what its source says, however it is computed, read or split.

A new term is one entry of `textbook.BOOK`: its formula and its range.
"""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import segloss
from segloss import SegLoss
from segloss.compat import tutorial
from segloss.sums.kernels.registry import KERNELS
from segloss.sums.plan import Plan, Sum, check_sums
from segloss.terms import TERMS, Dice, Focal, PixelTerm, RegionTerm, total_mean
from segloss.terms.base import parameters_of
from tests.support import textbook
from tests.support.kernels import BACKENDS

KINDS = ("binary", "multilabel", "multiclass", "soft masks", "soft classes", "two classes")


class Case:
    """A batch of one kind, with logits in float64, and the options that go with it."""

    def __init__(self, kind: str, masked: bool = False, samples: int = 3) -> None:
        self.kind = kind
        self.exclusive = kind in ("multiclass", "soft classes", "two classes")
        channels = {"binary": 1, "two classes": 2}.get(kind, 4)
        shape = (samples, channels, 6, 5)
        self.logits = torch.randn(shape, dtype=torch.float64)
        if kind == "soft masks":
            self.target = torch.rand(shape, dtype=torch.float64)
        elif kind == "soft classes":
            self.target = torch.randn(shape, dtype=torch.float64).softmax(1)
        elif self.exclusive:
            self.target = torch.randint(0, channels, (samples, 6, 5))
            self.target[:, 0, :channels] = torch.arange(channels)  # each class in each sample
        else:
            self.target = (torch.rand(shape) > 0.6).double()
            self.target[:, :, 0, 0] = 1
        self.options: dict[str, Any] = {"n_classes": 4 if self.exclusive else 2}
        if kind == "two classes":
            self.options = {"n_classes": 2, "activation": "softmax"}
        self.options["from_logits"] = True
        self.weights = None
        if masked:
            self.weights = torch.rand(samples, 1, 6, 5).double()
            self.weights[:, :, 3] = 0
        self.maps = {
            "gt_distance_map": 2 * torch.rand(shape, dtype=torch.float64) - 1,
            "gt_skeleton": (torch.rand(shape) > 0.7).double(),
        }

    def batch(self) -> dict[str, Tensor]:
        weights = {} if self.weights is None else {"seg_loss_weights": self.weights}
        return {"gt_polygons_image": self.target, **weights, **self.maps}

    def part(self, samples: slice) -> Case:
        part = copy.copy(self)
        part.logits, part.target = self.logits[samples], self.target[samples]
        part.weights = None if self.weights is None else self.weights[samples]
        part.maps = {key: m[samples] for key, m in self.maps.items()}
        return part

    def book(self) -> textbook.Batch:
        return textbook.batch_of(
            self.logits,
            self.target,
            activation="softmax" if self.exclusive else "sigmoid",
            pixel_weights=self.weights,
            maps=self.maps,
        )


def alone(name: str, **options: Any) -> SegLoss:
    """A loss of one term."""
    return SegLoss(bce_coef=0, dice_coef=0, extra_terms={name: 1.0}, **options)


def value_of(loss: SegLoss, logits: Tensor, case: Case) -> Tensor:
    return loss({"seg": logits}, case.batch())[0]


def value_and_gradient(loss: SegLoss, case: Case) -> tuple[Tensor, Tensor]:
    logits = case.logits.clone().requires_grad_()
    value = value_of(loss, logits, case)
    return value.detach(), torch.autograd.grad(value, logits)[0]


def test_every_term_is_here() -> None:
    assert set(TERMS) == set(textbook.BOOK)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", TERMS)
def test_a_term_is_what_its_source_says(name: str, kind: str, masked: bool) -> None:
    case = Case(kind, masked)
    expected = textbook.term(name, case.book()).item()
    value = value_of(alone(name, **case.options), case.logits, case)
    assert value.item() == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", TERMS)
def test_both_paths_agree(name: str, kind: str, masked: bool) -> None:
    case = Case(kind, masked)
    loss = alone(name, **case.options)
    fast = value_and_gradient(loss, case)
    with segloss.use_backend("reference"):
        slow = value_and_gradient(loss, case)
    torch.testing.assert_close(fast, slow, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", TERMS)
def test_gradients_are_those_of_differences(name: str, kind: str) -> None:
    case = Case(kind, masked=True, samples=2)
    loss = alone(name, **case.options)
    logits = case.logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: value_of(loss, x, case), (logits,), fast_mode=True)


@pytest.mark.parametrize("kind", ["multilabel", "multiclass"])
@pytest.mark.parametrize("name", TERMS)
def test_values_stay_in_the_range(name: str, kind: str) -> None:
    _, low, high, _ = textbook.BOOK[name]
    for scale in (0.1, 3.0, 30.0, 1e4):
        case = Case(kind)
        value = value_of(alone(name, **case.options), scale * case.logits, case).item()
        assert low - 1e-12 <= value <= high + 1e-12


def half(kind: str, confident: float) -> Case:
    """A batch whose classes are half of the pixels each, predicted so confidently."""
    case = Case(kind)
    mask = (torch.arange(30).reshape(6, 5) % 2).double().expand(3, 1, 6, 5)
    case.target = mask[:, 0].long() if case.exclusive else mask
    sign = torch.cat([1 - 2 * mask, 2 * mask - 1], 1) if case.exclusive else 2 * mask - 1
    case.logits = confident * sign
    masks = torch.cat([1 - mask, mask], 1) if case.exclusive else mask
    case.maps = {"gt_distance_map": 1 - 2 * masks, "gt_skeleton": masks}
    return case


@pytest.mark.parametrize("kind", ["binary", "two classes"])
@pytest.mark.parametrize("name", TERMS)
def test_the_limits_of_perfect_and_worst_predictions(name: str, kind: str) -> None:
    _, least, _, worst = textbook.BOOK[name]
    perfect = value_and_gradient(alone(name, **half(kind, 40.0).options), half(kind, 40.0))
    expected = -0.5 if name == "boundary" else least
    assert perfect[0].item() == pytest.approx(expected, abs=1e-7)
    assert perfect[1].isfinite().all()
    wrong = value_of(alone(name, **half(kind, 0).options), half(kind, -40.0).logits, half(kind, 0))
    if math.isfinite(worst):
        smoothing = 0.05 if name.endswith("dice") else 1e-9
        assert wrong.item() == pytest.approx(worst, abs=smoothing)
    else:
        assert wrong.item() > perfect[0].item() + 0.4


@pytest.mark.parametrize("region_reduction", ["sample", "batch"])
@pytest.mark.parametrize("kind", ["multilabel", "multiclass"])
@pytest.mark.parametrize("name", TERMS)
def test_empty_absent_and_ignored(name: str, kind: str, region_reduction: str) -> None:
    case = Case(kind)
    loss = alone(name, **case.options, region_reduction=region_reduction)
    absent = copy.copy(case)
    absent.target = torch.where(case.target == 1, 0, case.target)
    for value, gradient in (value_and_gradient(loss, absent), value_and_gradient(loss, case)):
        assert value.isfinite()
        assert gradient.isfinite().all()
    nothing = copy.copy(case)
    nothing.weights = torch.zeros(3, 1, 6, 5)
    value, gradient = value_and_gradient(loss, nothing)
    assert value.item() == 0
    assert not gradient.any()


@pytest.mark.parametrize("kind", ["multilabel", "multiclass"])
@pytest.mark.parametrize("name", TERMS)
def test_pixels_that_are_left_out_leave_no_trace(name: str, kind: str) -> None:
    case = Case(kind)
    case.weights = torch.ones(3, 1, 6, 5, dtype=torch.float64)
    case.weights[:, :, 3] = 0
    kept = copy.copy(case)
    rows = torch.tensor([0, 1, 2, 4, 5])
    kept.logits, kept.weights = case.logits[..., rows, :], None
    kept.target = case.target[..., rows, :]
    kept.maps = {key: m[..., rows, :] for key, m in case.maps.items()}
    loss = alone(name, **case.options)
    expected, expected_gradient = value_and_gradient(loss, kept)
    case.logits[..., 3, :] = torch.nan
    for m in case.maps.values():
        m[..., 3, :] = torch.nan
    value, gradient = value_and_gradient(loss, case)
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(gradient[..., rows, :], expected_gradient, rtol=1e-10, atol=1e-14)
    assert not gradient[..., 3, :].any()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", TERMS)
def test_shards_add_up(name: str, kind: str) -> None:
    case = Case(kind, masked=True)
    loss = alone(name, **case.options)
    ratios = []
    for samples in (slice(0, 1), slice(1, 3)):
        part = case.part(samples)
        plan = [
            each for part in loss.mixture.components for each in check_sums(part.term.sums).sums
        ]
        confusion = segloss.soft_confusion(
            part.logits,
            part.target,
            pixel_weights=part.weights,
            sums=plan,
            maps=part.maps,
            **case.options,
        )
        ratios.append([each.term(confusion) for each in loss.mixture.components])
    total = sum(
        each.coefficient * total_mean(first[0] + second[0], first[1] + second[1])
        for each, first, second in zip(loss.mixture.components, *ratios, strict=True)
    )
    whole = value_of(loss, case.logits, case)
    torch.testing.assert_close(total, whole, rtol=1e-12, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", ["binary", "multiclass"])
@pytest.mark.parametrize("name", TERMS)
def test_lower_precision(name: str, kind: str, dtype: torch.dtype) -> None:
    case = Case(kind)
    loss = alone(name, **case.options)
    case.logits = case.logits.to(dtype)
    precise = copy.copy(case)
    precise.logits = case.logits.double()
    value, gradient = value_and_gradient(loss, case)
    expected, expected_gradient = value_and_gradient(loss, precise)
    assert value.dtype == torch.float32
    assert gradient.dtype == dtype
    torch.testing.assert_close(value.double(), expected, rtol=2e-6, atol=1e-7)
    tolerance = {"rtol": 2 * torch.finfo(dtype).eps + 2e-5, "atol": 1e-7}
    torch.testing.assert_close(gradient.double(), expected_gradient, **tolerance)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(value_of(loss, case.logits, case), value, rtol=1e-6, atol=0)


@pytest.mark.parametrize("kind", ["multilabel", "multiclass"])
def test_compiled_without_a_break(kind: str) -> None:
    case = Case(kind)
    terms = {name: 1 + place / 10 for place, name in enumerate(TERMS)}
    loss = SegLoss(bce_coef=0, dice_coef=0, extra_terms=terms, **case.options)
    logits = case.logits.clone().requires_grad_()

    def values(logits: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        value, info = loss({"seg": logits}, case.batch())
        return value, {**info}

    torch._dynamo.reset()
    value, info = torch.compile(values, fullgraph=True, backend="aot_eager")(logits)
    (gradient,) = torch.autograd.grad(value, logits)
    torch.testing.assert_close((value.detach(), gradient), value_and_gradient(loss, case))
    torch.testing.assert_close(info, values(logits)[1])


@pytest.mark.parametrize("name", TERMS)
def test_memory_layout_does_not_matter(name: str) -> None:
    case = Case("multiclass")
    loss = alone(name, **case.options)
    expected, expected_gradient = value_and_gradient(loss, case)
    case.logits = case.logits.to(memory_format=torch.channels_last)
    value, gradient = value_and_gradient(loss, case)
    assert gradient.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close((value, gradient), (expected, expected_gradient))


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in TERMS
        if "region_classes" in parameters_of(TERMS[name]) and not issubclass(TERMS[name], PixelTerm)
    ],
)
def test_class_selection(name: str) -> None:
    case, chosen = Case("multilabel"), [1, 3]
    loss = alone(name, **case.options, region_classes=chosen)
    few = copy.copy(case)
    few.logits, few.target = case.logits[:, chosen], case.target[:, chosen]
    few.maps = {key: m[:, chosen] for key, m in case.maps.items()}
    by_region = {
        key: value for key, value in loss.mixture.terms.items() if isinstance(value, RegionTerm)
    }
    value_of(loss, case.logits, case)
    _, info = loss({"seg": case.logits}, case.batch())
    _, expected = alone(name, **case.options)({"seg": few.logits}, few.batch())
    assert by_region
    for key in by_region:
        torch.testing.assert_close(info[key], expected[key])


@pytest.mark.parametrize("name", TERMS)
def test_channel_selectors(name: str) -> None:
    case = Case("multilabel")
    one = copy.copy(case)
    one.logits, one.target = case.logits[:, 2:3], case.target[:, 2:3]
    one.maps = {key: m[:, 2:3] for key, m in case.maps.items()}
    expected = value_of(alone(name, **case.options), one.logits, one)
    selected = alone(name, **case.options, pred_channel_selector=2, gt_channel_selector=2)
    torch.testing.assert_close(value_of(selected, case.logits, case), expected)


@pytest.mark.parametrize("name", TERMS)
def test_copies_and_pickles(name: str) -> None:
    case = Case("binary")
    loss = alone(name, **case.options)
    expected = value_of(loss, case.logits, case)
    for twin in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        assert torch.equal(value_of(twin, case.logits, case), expected)


@pytest.fixture
def plans(monkeypatch) -> list[Plan]:
    """The plans that kernels are asked for."""
    asked: list[Plan] = []
    for kernel in {type(kernel) for kernel in KERNELS}:

        def noted(self: Any, pixels: Any, plan: Plan, sums: Any = kernel.sums) -> Tensor:
            asked.append(plan)
            return sums(self, pixels, plan)

        monkeypatch.setattr(kernel, "sums", noted)
    return asked


@pytest.mark.parametrize("name", TERMS)
def test_a_loss_asks_for_no_sum_that_its_terms_do_not_use(name: str, plans) -> None:
    case = Case("binary")
    value_of(alone(name, **case.options), case.logits.float(), case)
    [plan] = plans
    needed = {"counts"}
    if name in ("cross_entropy", "poly1", "symmetric_cross_entropy"):
        needed |= {"cross_entropy"}
    if name == "squared_dice":
        needed |= {"squared_error"}
    if name in ("mcc", "unified_focal", "region_size_kl"):
        needed |= {"true_negative"}
    if name == "region_size_kl":
        needed |= {"float64"}
    with_parameters = {
        "focal": 1,
        "unified_focal": 1,
        "boundary": 1,
        "skeleton_recall": 1,
        "generalized_cross_entropy": 1,
        "balanced_cross_entropy": 2,
        "generalized_wasserstein_dice": 1,
    }
    if name not in {"cross_entropy", *with_parameters} - {"unified_focal"}:
        needed |= {"region"}
    if name == "cross_entropy":
        needed -= {"counts"}
    others = {each.name for each in plan.sums if type(each) is not Sum}
    assert {each.name for each in plan.sums} - others == needed
    assert len(others) == with_parameters.get(name, 0)


P, G = torch.rand(2, 1, 8), torch.ones(2, 1, 8)

LOSSES: dict[str, tuple[Callable[[], Any], set[str]]] = {
    "SegLoss": (lambda: segloss.SegLoss()(P, G), {"counts", "region", "cross_entropy"}),
    "DiceLoss": (lambda: tutorial.DiceLoss()(P, G), {"counts", "region"}),
    "DiceBCELoss": (lambda: tutorial.DiceBCELoss()(P, G), {"counts", "region", "cross_entropy"}),
    "CompoundLoss": (lambda: segloss.CompoundLoss(Focal() + Dice())(P, G), {"counts", "region"}),
    "a function": (lambda: segloss.functional.jaccard_loss(P, G), {"counts", "region"}),
    "another": (lambda: segloss.functional.binary_cross_entropy(P, G), {"cross_entropy"}),
    "wrapped": (
        lambda: segloss.LossWrapper(segloss.DiceLoss())(P, G),
        {"counts", "region"},
    ),
    "MultiLoss": (
        lambda: segloss.MultiLoss([segloss.SegLoss(dice_coef=0)], [1.0])(P, G),
        {"cross_entropy"},
    ),
    "DeepSupervision": (
        lambda: segloss.DeepSupervision(segloss.SegLoss(bce_coef=0))(P, G),
        {"counts", "region"},
    ),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", LOSSES)
def test_no_loss_asks_for_more(name: str, backend: str, plans) -> None:
    run, needed = LOSSES[name]
    with segloss.use_backend(backend):
        run()
    [plan] = plans
    focal = {each.name for each in plan.focals}
    assert {each.name for each in plan.sums} - focal == needed


@pytest.mark.parametrize("name", TERMS)
def test_documentation(name: str) -> None:
    text = TERMS[name].__doc__ or ""
    assert ".. math::" in text
    assert "Source:" in text or name in ("cross_entropy",)
    assert "in [" in text or name == "boundary"
