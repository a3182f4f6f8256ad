"""Terms in closed form, with slopes of their own, are those that autograd takes of the sums."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from segloss import SegLoss, use_backend
from segloss.sums.kernels.registry import current_backend
from segloss.terms import TERMS, CrossEntropy, Dice, Focal, Overlap, RegionTerm, mean
from segloss.terms.mixture.group import MixtureGroup
from tests.support.kernels import DEVICE

MAPS = {"boundary": "signed_distance", "skeleton_recall": "skeleton"}
ALL = {"bce_coef": 0.3, "dice_coef": 0.5, "tversky_focal_coef": 0.7}


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


def results(loss: SegLoss, batches: Any, backend: str) -> tuple[Tensor, Tensor, dict[str, Any]]:
    pred, gt = batches
    logits = pred["seg"].to(DEVICE, copy=True).requires_grad_()
    with use_backend(backend):
        value, info = loss({"seg": logits}, {key: each.to(DEVICE) for key, each in gt.items()})
        (3 * value).backward()
    assert logits.grad is not None
    info = {name: item.cpu() for name, item in info.items()}
    return value.detach().cpu(), logits.grad.cpu(), info


def assert_same(loss: SegLoss, batches: Any) -> None:
    value, gradient, info = results(loss, batches, current_backend())
    expected, expected_gradient, expected_info = results(loss, batches, "reference")
    torch.testing.assert_close(value, expected, rtol=1e-6, atol=1e-7)
    scale = expected_gradient.abs().max().item()
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-4, atol=2e-6 * scale)
    assert info.keys() == expected_info.keys()
    for name, item in info.items():
        torch.testing.assert_close(
            item, expected_info[name], rtol=1e-6, atol=1e-7, equal_nan=True, msg=name
        )


def closed(loss: SegLoss) -> set[str]:
    """The names of the terms that have a closed form."""
    return {part.name for part in loss.mixture.components if part.term.analytic_form() is not None}


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("skip_absent_classes", [False, True])
@pytest.mark.parametrize("region_classes", [None, [1], [1, 0]])
@pytest.mark.parametrize("region_reduction", ["sample", "batch", "micro"])
def test_averages_of_all_kinds(
    region_reduction, region_classes, skip_absent_classes, n_classes
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
    assert closed(loss) == set(loss.mixture.terms)


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("name", TERMS)
def test_each_term_beside_the_usual_ones(name: str, n_classes: int) -> None:
    options = {"map_key": MAPS[name]} if name in MAPS else {}
    further = {"one more": {"term": name, "coef": 0.4, **options}}
    loss = SegLoss(n_classes=n_classes, from_logits=True, extra_terms=further, **ALL)
    assert_same(loss, batch_of(n_classes))


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
def test_weights_of_classes_and_cells_that_differ(n_classes: int) -> None:
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
    assert closed(loss) == set(loss.mixture.terms)


@pytest.mark.parametrize("n_classes", [2, 4])
def test_all_pixels_ignored(n_classes: int) -> None:
    pred, gt = batch_of(n_classes)
    gt["gt_polygons_image"] = torch.full_like(gt["gt_polygons_image"], 255)
    loss = SegLoss(
        n_classes=n_classes, from_logits=True, ignore_index=255, extra_terms={"mcc": 0.2}, **ALL
    )
    value, gradient, _ = results(loss, (pred, gt), current_backend())
    assert value == 0
    assert gradient.count_nonzero() == 0


@pytest.mark.parametrize("n_classes", [2, 4])
def test_a_perfect_prediction_has_a_finite_gradient(n_classes: int) -> None:
    _, gt = batch_of(n_classes)
    target = gt["gt_polygons_image"]
    hot = target if n_classes == 2 else torch.nn.functional.one_hot(target, 4).movedim(-1, 1)
    loss = SegLoss(n_classes=n_classes, from_logits=True, **ALL)
    value, gradient, _ = results(loss, ({"seg": 1e4 * (2.0 * hot - 1)}, gt), current_backend())
    assert value == pytest.approx(0, abs=1e-9)
    assert gradient.isfinite().all()


class Learned(RegionTerm):
    """A term with a parameter of its own."""

    name = "learned"
    factor: nn.Parameter

    def cell_loss(self, confusion: Any) -> Tensor:
        return self.factor * mean(confusion.false_positive, confusion.predicted)


def test_a_term_with_parameters_has_their_gradients() -> None:
    factor = nn.Parameter(torch.tensor(2.0, dtype=torch.float64))
    loss = SegLoss(from_logits=True, extra_terms={Learned(factor=factor): 0.5})
    assert list(loss.parameters()) == [factor]
    value, _ = loss(*batch_of(2))
    value.backward()
    assert factor.grad is not None
    assert factor.grad > 0
    twin = copy.deepcopy(loss)
    [parameter] = twin.parameters()
    assert twin.mixture.terms["learned"].factor is parameter
    assert parameter is not factor


class Constant(RegionTerm):
    """A term that no prediction changes."""

    name = "constant"

    def cell_loss(self, confusion: Any) -> Tensor:
        return torch.ones_like(confusion.actual)


class ConstantOfMore(Constant):
    """The same, of sums that nothing else asks for."""

    sums = ("region", "squared_error")


@pytest.mark.parametrize("term", [Constant(), ConstantOfMore()])
@pytest.mark.parametrize("options", [{}, {"bce_coef": 0, "dice_coef": 0}])
def test_a_term_that_predictions_do_not_change(term: RegionTerm, options) -> None:
    loss = SegLoss(from_logits=True, extra_terms={term: 0.5}, **options)
    if options:
        assert loss(*batch_of(2))[0] == 0.5
    else:
        assert_same(loss, batch_of(2))


class Halved(Dice):
    """A Dice loss that is something else."""

    name = "halved"

    def cell_loss(self, confusion: Any) -> Tensor:
        return super().cell_loss(confusion) / 2


class Cubed(Overlap):
    """An overlap of its own numbers, which has a closed form by itself."""

    name = "cubed"

    @property
    def exponent(self) -> float:
        return 3.0

    def weights(self) -> tuple[float, float, float]:
        return (1.5, 0.5, 0.7)


class DoubledFocal(Focal):
    """A focal loss that is something else."""

    name = "doubled"

    def pixels(self, confusion: Any) -> tuple[Tensor, Tensor]:
        losses, weights = super().pixels(confusion)
        return 2 * losses, weights


@pytest.mark.parametrize("n_classes", [2, 4])
def test_subclasses_are_what_they_say(n_classes: int) -> None:
    terms = {Halved(): 0.3, Cubed(): 0.4, DoubledFocal(): 0.2}
    loss = SegLoss(n_classes=n_classes, from_logits=True, extra_terms=terms)
    assert closed(loss) == {"cross_entropy", "dice", "cubed"}
    assert_same(loss, batch_of(n_classes))
    _, _, info = results(loss, batch_of(n_classes), current_backend())
    torch.testing.assert_close(info["halved"], info["dice"] / 2)


@pytest.mark.parametrize("n_classes", [2, 4])
def test_several_losses_keep_their_slopes_apart(n_classes: int) -> None:
    pred, gt = batch_of(n_classes)
    mixtures = [
        0.5 * CrossEntropy() + 0.5 * Dice(region_reduction="micro"),
        0.3 * Dice(region_classes=[1]) + 0.7 * Focal(),
        Dice(skip_absent_classes=True) + 0.1 * TERMS["mcc"](),
    ]
    group = MixtureGroup(mixtures)
    from segloss.batch.assemble import as_pixel_batch
    from segloss.batch.options import PixelOptions
    from segloss.terms.mixture.evaluate import evaluate

    logits = pred["seg"].requires_grad_()
    options = PixelOptions(n_classes, "sigmoid" if n_classes == 2 else "softmax")
    pixels = as_pixel_batch(logits, gt["gt_polygons_image"], options)
    together = evaluate(group, pixels)
    for place, mixture in enumerate(mixtures):
        alone = evaluate(MixtureGroup([mixture]), pixels)
        torch.testing.assert_close(together[place], alone, rtol=1e-6, atol=1e-8)
        ours = torch.autograd.grad(together[place], logits, retain_graph=True)[0]
        expected = torch.autograd.grad(alone, logits)[0]
        torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-9)


def test_copies_and_pickles_are_equal_and_give_the_same_bits() -> None:
    loss = SegLoss(from_logits=True, extra_terms={"mcc": 0.3}, **ALL)
    batches = batch_of(2)
    expected = results(loss, batches, current_backend())[0]
    for twin in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        assert torch.equal(results(twin, batches, current_backend())[0], expected)
        assert twin.mixture == loss.mixture


CHANGES = {
    "coefficients": {"dice_coef": 2.0},
    "smoothing": {"smooth": 50.0},
    "reduction": {"region_reduction": "micro"},
    "absent classes": {"skip_absent_classes": True},
    "classes": {"region_classes": [1]},
    "exponent": {"tversky_gamma": 2.0},
    "a term gone": {"tversky_focal_coef": 0.0},
    "a term more": {"extra_terms": {"mcc": 0.3}},
}


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("name", CHANGES)
def test_a_loss_with_another_mixture_is_a_new_one_on_every_kernel(name, n_classes) -> None:
    loss = SegLoss(n_classes=n_classes, from_logits=True, **ALL)
    batches = batch_of(n_classes)
    before = results(loss, batches, current_backend())[0]
    fresh = SegLoss(n_classes=n_classes, from_logits=True, **{**ALL, **CHANGES[name]})
    loss.mixture = fresh.mixture
    for backend in ("auto", "torch", "reference"):
        value, gradient, info = results(loss, batches, backend)
        expected, expected_gradient, expected_info = results(fresh, batches, backend)
        assert torch.equal(value, expected)
        assert torch.equal(gradient, expected_gradient)
        assert info.keys() == expected_info.keys()
        assert not torch.isclose(value, before)
    assert_same(loss, batches)


def test_terms_and_mixtures_can_not_be_changed() -> None:
    loss = SegLoss(from_logits=True, **ALL)
    dice = loss.mixture.terms["dice"]
    for attribute in ("smooth", "region_classes", "region_reduction", "anything"):
        with pytest.raises(AttributeError, match="cannot assign"):
            setattr(dice, attribute, 1)
    with pytest.raises(AttributeError, match="cannot assign"):
        loss.mixture.entries = ()  # type: ignore[misc]
    batches = batch_of(2)
    before = results(loss, batches, current_backend())[0]
    loss.mixture.coefficients["dice"] = 99.0  # type: ignore[index]
    loss.mixture.terms.clear()  # type: ignore[attr-defined]
    assert torch.equal(results(loss, batches, current_backend())[0], before)
    assert_same(loss, batches)


def test_a_mixture_that_does_not_fit_the_classes_is_refused_and_changes_nothing() -> None:
    loss = SegLoss(n_classes=3)
    before = loss.mixture
    with pytest.raises(ValueError, match="region_classes=\\[20000\\] is out of range"):
        loss.mixture = 1.0 * Dice(region_classes=[20000])
    assert loss.mixture is before
    binary = SegLoss(from_logits=True)
    binary.mixture = 1.0 * Dice(region_classes=[20000])
    with pytest.raises(ValueError, match="region_classes=\\[20000\\] is out of range"):
        binary(*batch_of(2))


def test_without_gradients_no_slopes_are_taken(monkeypatch) -> None:
    loss = SegLoss(from_logits=True, extra_terms={"mcc": 0.3}, **ALL)
    monkeypatch.setattr(torch.autograd, "grad", lambda *_: pytest.fail("a gradient was taken"))
    with torch.no_grad():
        value, _ = loss(*batch_of(2))
    assert not value.requires_grad
