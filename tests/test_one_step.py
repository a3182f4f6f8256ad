"""Losses in one step, with slopes of their own, are those of the reference path."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

import segloss.confusion as confusion
from segloss import SegLoss, SoftDiceLoss
from segloss.confusion import native
from segloss.terms import TERMS, RegionTerm, mean, one_step

if not native.is_built():
    pytest.skip("there was no compiler where the package was built", allow_module_level=True)

MAPS = {"boundary": "signed_distance", "skeleton_recall": "skeleton"}
ALL = {"bce_coef": 0.3, "dice_coef": 0.5, "tversky_focal_coef": 0.7}


@pytest.fixture(autouse=True)
def auto() -> Iterator[None]:
    before = confusion.current_path()
    confusion.use_path("auto")
    yield
    confusion.use_path(before)


def batch_of(n_classes: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Float32 logits, and labels of which the last class is absent from the first sample."""
    channels = 2 if n_classes == 2 else n_classes
    logits = 2 * torch.randn(3, channels, 9, 7)
    if n_classes == 2:
        target = torch.rand(3, 2, 9, 7).gt(0.6).long()
        target[0, 1] = 0
    else:
        target = torch.randint(0, n_classes, (3, 9, 7))
        target[0] = target[0].clamp(max=n_classes - 2)
    maps = {key: torch.rand(logits.shape) for key in MAPS.values()}
    return {"seg": logits}, {"gt_polygons_image": target, **maps}


def results(loss: SegLoss, batches: Any, path: str) -> tuple[Tensor, Tensor, dict[str, Any]]:
    confusion.use_path(path)
    pred, gt = batches
    logits = pred["seg"].clone().requires_grad_()
    value, info = loss({"seg": logits}, gt)
    (3 * value).backward()
    assert logits.grad is not None
    return value.detach(), logits.grad, info


def assert_same(loss: SegLoss, batches: Any) -> None:
    value, gradient, info = results(loss, batches, "auto")
    expected, expected_gradient, expected_info = results(loss, batches, "reference")
    torch.testing.assert_close(value, expected, rtol=1e-6, atol=1e-7)
    scale = expected_gradient.abs().max().item()
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-4, atol=2e-6 * scale)
    assert info.keys() == expected_info.keys()
    for name, item in info.items():
        torch.testing.assert_close(
            item, expected_info[name], rtol=1e-6, atol=1e-7, equal_nan=True, msg=name
        )


@pytest.fixture
def steps(monkeypatch) -> list[one_step.OneStep]:
    """The steps that were taken."""
    taken: list[one_step.OneStep] = []
    call = one_step.OneStep.__call__

    def noted(self: one_step.OneStep, pixels: Any) -> Any:
        taken.append(self)
        return call(self, pixels)

    monkeypatch.setattr(one_step.OneStep, "__call__", noted)
    return taken


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("skip_absent_classes", [False, True])
@pytest.mark.parametrize("region_classes", [None, [1], [1, 0]])
@pytest.mark.parametrize("region_reduction", ["sample", "batch", "micro"])
def test_averages_of_all_kinds(
    region_reduction, region_classes, skip_absent_classes, n_classes, steps
) -> None:
    loss = SegLoss(
        n_classes=n_classes,
        from_logits=True,
        region_reduction=region_reduction,
        region_classes=region_classes,
        skip_absent_classes=skip_absent_classes,
        extra_terms={"jaccard": 0.2, "f_beta": {"coef": 0.1, "beta": 2.0}},
        **ALL,
    )
    assert_same(loss, batch_of(n_classes))
    assert len(steps) == 1
    assert steps[0].others is None


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("name", TERMS)
def test_each_term_beside_the_usual_ones(name: str, n_classes: int, steps) -> None:
    options = {"map_key": MAPS[name]} if name in MAPS else {}
    further = {"one more": {"term": name, "coef": 0.4, **options}}
    loss = SegLoss(n_classes=n_classes, from_logits=True, extra_terms=further, **ALL)
    assert_same(loss, batch_of(n_classes))
    assert len(steps) == 1


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("name", TERMS)
def test_each_term_alone(name: str, n_classes: int) -> None:
    options = {"map_key": MAPS[name]} if name in MAPS else {}
    terms = {"alone": {"term": name, "coef": 0.4, **options}}
    loss = SegLoss(
        n_classes=n_classes, from_logits=True, bce_coef=0, dice_coef=0, extra_terms=terms
    )
    assert_same(loss, batch_of(n_classes))


@pytest.mark.parametrize("n_classes", [2, 4])
def test_weights_of_classes_and_cells_that_differ(n_classes: int, steps) -> None:
    count = 2 if n_classes == 2 else 4
    weights = torch.rand(count) + 0.1
    loss = SegLoss(
        n_classes=n_classes,
        from_logits=True,
        class_weights=weights,
        use_label_smooth=True,
        smooth_factor=0.1,
        extra_terms={
            "weighted": {"term": "dice", "coef": 0.3, "region_class_weights": weights.tolist()},
            "pooled": {"term": "tversky", "coef": 0.3, "region_reduction": "batch"},
        },
        **ALL,
    )
    assert_same(loss, batch_of(n_classes))
    assert steps[0].others is not None


@pytest.mark.parametrize("n_classes", [2, 4])
def test_all_pixels_ignored(n_classes: int) -> None:
    pred, gt = batch_of(n_classes)
    gt["gt_polygons_image"] = torch.full_like(gt["gt_polygons_image"], 255)
    loss = SegLoss(
        n_classes=n_classes, from_logits=True, ignore_index=255, extra_terms={"mcc": 0.2}, **ALL
    )
    value, gradient, _ = results(loss, (pred, gt), "auto")
    assert value == 0
    assert gradient.count_nonzero() == 0


@pytest.mark.parametrize("n_classes", [2, 4])
def test_a_perfect_prediction_has_a_finite_gradient(n_classes: int) -> None:
    _, gt = batch_of(n_classes)
    target = gt["gt_polygons_image"]
    hot = target if n_classes == 2 else torch.nn.functional.one_hot(target, 4).movedim(-1, 1)
    loss = SegLoss(n_classes=n_classes, from_logits=True, **ALL)
    value, gradient, _ = results(loss, ({"seg": 1e4 * (2.0 * hot - 1)}, gt), "auto")
    assert value == pytest.approx(0, abs=1e-9)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("n_classes", [2, 4])
def test_second_derivatives_are_those_of_the_reference(n_classes: int) -> None:
    pred, gt = batch_of(n_classes)
    loss = SegLoss(n_classes=n_classes, from_logits=True, extra_terms={"mcc": 0.2}, **ALL)
    seconds = []
    for path in ("auto", "reference"):
        confusion.use_path(path)
        logits = pred["seg"].clone().requires_grad_()
        [slope] = torch.autograd.grad(loss({"seg": logits}, gt)[0], logits, create_graph=True)
        seconds.append(torch.autograd.grad(slope.square().sum(), logits)[0])
    torch.testing.assert_close(*seconds, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("n_classes", [2, 4])
def test_a_batch_of_gradients_is_that_of_single_ones(n_classes: int) -> None:
    pred, gt = batch_of(n_classes)
    logits = pred["seg"].requires_grad_()
    value, _ = SegLoss(n_classes=n_classes, from_logits=True, **ALL)(pred, gt)
    factors = torch.tensor([1.0, 2.0])
    [together] = torch.autograd.grad(
        value, logits, factors, is_grads_batched=True, retain_graph=True
    )
    [single] = torch.autograd.grad(value, logits)
    torch.testing.assert_close(together, torch.stack([single, 2 * single]), rtol=1e-4, atol=1e-8)


class Learned(RegionTerm):
    """A term with a parameter of its own."""

    name = "learned"

    def __init__(self) -> None:
        super().__init__()
        self.factor = torch.nn.Parameter(torch.tensor(2.0, dtype=torch.float64))

    def cell_loss(self, confusion: Any) -> Tensor:
        return self.factor * mean(confusion.false_positive, confusion.predicted)


def test_a_term_with_parameters_has_their_gradients(steps) -> None:
    term = Learned()
    loss = SegLoss(from_logits=True, extra_terms={term: 0.5})
    value, _ = loss(*batch_of(2))
    value.backward()
    assert term.factor.grad is not None
    assert term.factor.grad > 0
    assert steps == []


class Constant(RegionTerm):
    """A term that no prediction changes."""

    name = "constant"

    def cell_loss(self, confusion: Any) -> Tensor:
        return torch.ones_like(confusion.actual)


def test_a_term_that_predictions_do_not_change() -> None:
    assert_same(SegLoss(from_logits=True, extra_terms={Constant(): 0.5}), batch_of(2))


def test_such_a_term_of_sums_that_nothing_else_asks_for(monkeypatch) -> None:
    counts: list[int] = []
    gradient = native.NativeKernel.gradient

    def counted(self: native.NativeKernel, slopes: Tensor) -> Tensor:
        counts.append(len(slopes))
        return gradient(self, slopes)

    monkeypatch.setattr(native.NativeKernel, "gradient", counted)
    term = Constant()
    term.sums = ("region", "squared_error")
    assert_same(SegLoss(from_logits=True, extra_terms={term: 0.5}), batch_of(2))
    assert counts == [len(native.SLOPES) + 1]


def test_copies_and_pickles_take_steps_of_their_own(steps) -> None:
    loss = SegLoss(from_logits=True, extra_terms={"mcc": 0.3}, **ALL)
    batches = batch_of(2)
    expected = results(loss, batches, "auto")[0]
    for twin in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        assert torch.equal(results(twin, batches, "auto")[0], expected)
    assert len({id(step) for step in steps}) == 3


def test_a_term_that_is_changed_later_is_taken_as_it_is() -> None:
    loss, batches = SegLoss(from_logits=True, **ALL), batch_of(2)
    before = results(loss, batches, "auto")[0]
    loss.compound.terms["dice"].smooth = 50.0
    loss.compound.terms["focal_tversky"].exponent = 2.0
    assert not torch.isclose(results(loss, batches, "auto")[0], before)
    assert_same(loss, batches)


def test_without_gradients_no_slopes_are_taken(monkeypatch) -> None:
    loss = SegLoss(from_logits=True, extra_terms={"mcc": 0.3}, **ALL)
    monkeypatch.setattr(torch.autograd, "grad", lambda *_: pytest.fail("a gradient was taken"))
    with torch.no_grad():
        loss(*batch_of(2))


def test_losses_of_one_term_take_it_too(steps) -> None:
    logits, mask = torch.randn(2, 1, 8, 8, requires_grad=True), torch.ones(2, 8, 8).long()
    SoftDiceLoss()(logits, mask).backward()
    assert len(steps) == 1
