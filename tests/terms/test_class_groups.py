"""Cells of groups of classes: coarse classes beside fine ones, and regions that overlap."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import segloss
from segloss import CompoundLoss, DiceLoss, MultiLoss, SegLoss, check_loss, soft_confusion
from segloss.config import build_loss
from segloss.sums import ClassGroupSum
from segloss.sums.kernels.registry import REFERENCE, kernel_for
from segloss.sums.plan import Plan, plan_of
from segloss.terms import (
    TERMS,
    CrossEntropy,
    Dice,
    Focal,
    RegionSizeL1,
    RegionTerm,
    SquaredDice,
    Tversky,
)
from tests.support.kernels import BACKENDS
from tests.support.ranks import on_ranks

CLASSES = 5
VEHICLES = {"vehicle": [1, 2, 3], "person": [4]}
TUMOUR = {"whole": [1, 2, 3], "core": [2, 3], "enhancing": [3]}
GROUPS: dict[str, dict[str, list[int]]] = {
    "apart": VEHICLES,
    "nested": TUMOUR,
    "one": {"foreground": [1, 2, 3, 4]},
    "more than classes": {f"{a}{b}": [a, b] for a in range(5) for b in range(a)},
    "all classes": {"all": [0, 1, 2, 3, 4], "one": [2]},
}
NEEDS_MORE = ("boundary", "generalized_wasserstein_dice", "skeleton_recall")
NAMES = [
    name
    for name, term in TERMS.items()
    if issubclass(term, RegionTerm) and name not in (*NEEDS_MORE, "unified_focal")
]


class Case:
    """A batch in float64 with weights; 255 marks ignored pixels, whose logits are NaN."""

    def __init__(self, kind: str = "labels", shape: tuple[int, ...] = (3, 7, 6)) -> None:
        torch.manual_seed(0)
        self.logits = 2 * torch.randn(shape[0], CLASSES, *shape[1:], dtype=torch.float64)
        self.labels = torch.randint(0, CLASSES, shape)
        self.one_hot = F.one_hot(self.labels, CLASSES).movedim(-1, 1).double()
        if kind == "soft":
            self.one_hot = 0.9 * self.one_hot + 0.1 * torch.rand_like(self.one_hot).softmax(1)
        self.target = self.labels if kind == "labels" else self.one_hot
        self.weights = torch.rand(shape[0], 1, *shape[1:], dtype=torch.float64)
        self.weights[:, :, :2] = 0

    def loss(self, term: Any, *, mode: str = "multiclass", **options: Any) -> tuple[Tensor, Tensor]:
        """Returns the loss and its gradient."""
        logits = self.logits.clone().requires_grad_()
        names = ("weights", "sample_weights", "maps")
        tensors = {name: options.pop(name) for name in names if name in options}
        weights = tensors.pop("weights", self.weights)
        loss = CompoundLoss(term, mode, **options)
        value = loss(logits, self.target, pixel_weights=weights, **tensors)
        return value, torch.autograd.grad(value.sum(), logits)[0]

    def by_hand(self, term: Any, groups: dict[str, list[int]]) -> tuple[Tensor, Tensor]:
        """Returns the loss of masks of groups and their probabilities, which are sums."""
        logits = self.logits.clone().requires_grad_()
        p, g = (
            torch.stack([values[:, classes].sum(1) for classes in groups.values()], 1)
            for values in (logits.softmax(1), self.one_hot)
        )
        loss = CompoundLoss(term, "multilabel", from_logits=False)
        with segloss.use_backend("reference"):
            value = loss(p, g.clamp(max=1), pixel_weights=self.weights)
        return value, torch.autograd.grad(value, logits)[0]


def assert_same(results: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> None:
    for result, each in zip(results, expected, strict=True):
        torch.testing.assert_close(result, each, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("groups", GROUPS)
@pytest.mark.parametrize("kind", ["labels", "masks", "soft"])
@pytest.mark.parametrize("name", NAMES)
def test_the_probability_of_a_group_is_the_sum_over_its_classes(
    name: str, kind: str, groups: str
) -> None:
    case, group = Case(kind), GROUPS[groups]
    if name == "mcc" and groups == "all classes":
        group = {"one": [2]}  # undefined where there is no background, and here by rounding
    for reduction in ("sample", "batch"):
        term = TERMS[name](region_groups=group, region_reduction=reduction)
        expected = case.by_hand(TERMS[name](region_reduction=reduction), group)
        assert_same(case.loss(term), expected)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", ["labels", "soft"])
@pytest.mark.parametrize("reduction", ["sample", "batch", "micro", "sample_micro"])
@pytest.mark.parametrize("soft_labels", ["product", "metric"])
def test_groups_take_the_place_of_classes_in_every_mean(
    soft_labels: str, reduction: str, kind: str, backend: str
) -> None:
    case, options = Case(kind), {"soft_labels": soft_labels, "region_reduction": reduction}
    if not reduction.endswith("micro"):
        options["region_class_weights"] = [1.0, 2.0, 0.5]
    expected = case.by_hand(Tversky(**options), TUMOUR)
    with segloss.use_backend(backend):
        assert_same(case.loss(Tversky(region_groups=TUMOUR, **options)), expected)


def test_dice_of_groups_is_the_textbooks() -> None:
    case = Case()
    scores = []
    for classes in TUMOUR.values():
        p = case.logits.softmax(1)[:, classes].sum(1)
        g = sum((case.labels == c).double() for c in classes)
        tp, size = (p * g).sum((1, 2)), (p + g).sum((1, 2))
        scores.append((2 * tp + 1) / (size + 1))
    value, _ = case.loss(Dice(region_groups=TUMOUR), weights=None)
    torch.testing.assert_close(value, 1 - torch.stack(scores).mean())


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_group_is_a_class_whose_logit_is_the_logsumexp(backend: str) -> None:
    """Two of three classes are merged: the softmax of two classes has the same probabilities."""
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 5, 4, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(0, 3, (2, 5, 4))
    merged = torch.stack([logits[:, 0], logits[:, 1:].logsumexp(1)], 1)
    expected = DiceLoss("multiclass")(merged, (labels > 0).long())
    with segloss.use_backend(backend):
        groups = {"background": [0], "foreground": [1, 2]}
        value = DiceLoss("multiclass", region_groups=groups)(logits, labels)
        gradients = [torch.autograd.grad(each, logits)[0] for each in (value, expected)]
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(*gradients)


def test_groups_of_one_class_are_the_classes() -> None:
    case = Case()
    alone = {str(c): [c] for c in (1, 3)}
    assert_same(case.loss(Dice(region_groups=alone)), case.loss(Dice(region_classes=[1, 3])))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_confident_prediction_keeps_its_digits(backend: str) -> None:
    """All classes of the group are likely, and 1 - p_G is 1e-15: a difference would lose it."""
    logits = torch.tensor([[0.0, 35.0, 35.0]]).unsqueeze(-1).repeat(1, 1, 4).requires_grad_()
    labels = torch.tensor([[1, 2, 1, 2]])
    with segloss.use_backend(backend):
        loss = DiceLoss("multiclass", region_groups={"both": [1, 2]}, smooth=0.0)
        value = loss(logits, labels)
        [gradient] = torch.autograd.grad(value, logits)
    exact = logits.detach().double().requires_grad_()
    q = torch.sigmoid(-(exact[:, 1:].logsumexp(1) - exact[:, 0])).sum()
    expected = q / (2 * (4 - q) + q)
    torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=0)
    [slope] = torch.autograd.grad(expected, exact)
    if backend != "reference":  # autograd's softmax has a difference of its own
        torch.testing.assert_close(gradient.double(), slope, rtol=1e-5, atol=0)


def test_a_loss_of_fine_and_coarse_classes_is_one_pass() -> None:
    case = Case()
    parts = [
        0.5 * Dice(),
        0.3 * Dice(region_groups=VEHICLES).named("coarse"),
        0.2 * CrossEntropy(),
        0.1 * Focal(),
        0.4 * Tversky(region_groups=TUMOUR, region_reduction="batch"),
    ]
    together = case.loss(parts[0] + parts[1] + parts[2] + parts[3] + parts[4])
    alone = [case.loss(part) for part in parts]
    assert_same(together, (sum(a for a, _ in alone), sum(b for _, b in alone)))


def test_components_and_groups_of_classes_share_a_pass() -> None:
    case = Case()
    ids = (torch.arange(CLASSES).reshape(1, -1, 1, 1) == case.labels.unsqueeze(1)).int()
    parts = [Dice(region_groups="components").named("blobs"), Dice(region_groups=VEHICLES)]
    maps = {"gt_components": ids}
    together = case.loss(parts[0] + parts[1], maps=maps)
    alone = [case.loss(part, maps=maps) for part in parts]
    assert_same(together, (alone[0][0] + alone[1][0], alone[0][1] + alone[1][1]))


@pytest.mark.parametrize("backend", BACKENDS)
def test_ignored_pixels_do_not_count(backend: str) -> None:
    case = Case()
    labels, logits = case.labels.clone(), case.logits.clone()
    labels[:, 3:], logits[:, :, 3:] = 255, torch.nan
    logits.requires_grad_()
    loss = DiceLoss("multiclass", region_groups=TUMOUR, ignore_index=255)
    with segloss.use_backend(backend):
        value = loss(logits, labels)
        [gradient] = torch.autograd.grad(value, logits)
    expected = loss(case.logits[:, :, :3], case.labels[:, :3])
    torch.testing.assert_close(value, expected)
    assert torch.equal(gradient[:, :, 3:], torch.zeros_like(gradient[:, :, 3:]))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", NAMES)
def test_a_loss_over_nothing_is_0(name: str, backend: str) -> None:
    term = TERMS[name](region_groups=VEHICLES)
    loss = CompoundLoss(term, "multiclass", ignore_index=255)
    with segloss.use_backend(backend):
        for shape, label in (((2, 4, 3), 255), ((0, 4, 3), 0), ((2, 0, 3), 0)):
            logits = torch.randn(shape[0], CLASSES, *shape[1:], requires_grad=True)
            value = loss(logits, torch.full(shape, label))
            value.backward()
            assert value == 0
            assert logits.grad.abs().sum() == 0


def test_a_group_without_pixels_can_be_skipped() -> None:
    case = Case()
    case.labels[0] = 0
    case.target = case.labels
    term = Dice(region_groups=VEHICLES, skip_absent_classes=True)
    cells, _ = case.loss(Dice(region_groups=VEHICLES), reduction="none")
    assert cells.shape == (3, 2)
    value, _ = case.loss(term)
    torch.testing.assert_close(value, cells[1:].mean())


def test_samples_have_weights() -> None:
    case = Case()
    weights = torch.tensor([2.0, 0.0, 1.0])
    value, _ = case.loss(Dice(region_groups=VEHICLES), sample_weights=weights)
    cells, _ = case.loss(Dice(region_groups=VEHICLES), reduction="none")
    torch.testing.assert_close(value, (2 * cells[0] + cells[2]).mean() / 3)
    pooled = Dice(region_groups=VEHICLES, region_reduction="batch")
    value, _ = case.loss(pooled, sample_weights=weights)
    order = torch.tensor([0, 0, 2])
    case.logits, case.target = case.logits[order], case.target[order]
    expected, _ = case.loss(pooled, weights=case.weights[order])
    torch.testing.assert_close(value, expected)


def test_probabilities_of_groups_are_sums_of_given_probabilities() -> None:
    case = Case()
    expected, _ = case.loss(Dice(region_groups=TUMOUR))
    p = case.logits.softmax(1)
    loss = CompoundLoss(Dice(region_groups=TUMOUR), "multiclass", from_logits=False)
    torch.testing.assert_close(loss(p, case.target, pixel_weights=case.weights), expected)


@pytest.mark.parametrize("spatial", [(30,), (6, 5), (4, 3, 5)])
def test_images_have_any_number_of_dimensions(spatial: tuple[int, ...]) -> None:
    case = Case(shape=(2, *spatial))
    loss = DiceLoss("multiclass", region_groups=TUMOUR)
    flat = loss(case.logits.flatten(2), case.labels.flatten(1))
    torch.testing.assert_close(loss(case.logits, case.labels), flat)


def test_an_image_of_many_classes_and_chunks() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(2, 40, 300, 310), torch.randint(0, 40, (2, 300, 310))
    groups = {"even": [*range(0, 40, 2)], "first": [*range(20)], "last": [39]}
    values, gradients = [], []
    for dtype, backend in ((torch.float32, "torch"), (torch.float64, "reference")):
        x = logits.to(dtype, copy=True).requires_grad_()
        with segloss.use_backend(backend):
            values.append(DiceLoss("multiclass", region_groups=groups)(x, labels))
            values[-1].backward()
        gradients.append(x.grad.double())
    torch.testing.assert_close(values[0].double(), values[1], rtol=1e-6, atol=0)
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-11)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_near(dtype: torch.dtype) -> None:
    case = Case()
    expected, _ = case.loss(Dice(region_groups=TUMOUR) + CrossEntropy())
    case.logits = case.logits.to(dtype)
    value, gradient = case.loss(Dice(region_groups=TUMOUR) + CrossEntropy())
    assert gradient.dtype == dtype  # of the logits
    assert value.item() == pytest.approx(expected.item(), abs=1e-2)


@pytest.mark.parametrize("kind", ["labels", "soft"])
@pytest.mark.parametrize("soft_labels", ["product", "metric"])
def test_derivatives_are_right(kind: str, soft_labels: str) -> None:
    case = Case(kind, (2, 3, 2))
    term = SquaredDice(region_groups=TUMOUR) + Dice(region_groups=VEHICLES, soft_labels=soft_labels)
    loss = CompoundLoss(term + CrossEntropy(), "multiclass")
    logits = case.logits.clone().requires_grad_()
    function: Callable[[Tensor], Tensor] = lambda x: loss(x, case.target)  # noqa: E731
    assert torch.autograd.gradcheck(function, logits, fast_mode=True)
    assert torch.autograd.gradgradcheck(function, logits, fast_mode=True)


@pytest.mark.parametrize(
    ("backend", "kind"), [("auto", "labels"), ("auto", "soft"), ("reference", "labels")]
)
def test_it_compiles_as_one_graph(backend: str, kind: str) -> None:
    case = Case(kind)
    logits = case.logits.float().requires_grad_()
    loss = CompoundLoss(Dice(region_groups=TUMOUR) + CrossEntropy(), "multiclass")
    expected = loss(logits, case.target)
    torch._dynamo.reset()
    with segloss.use_backend(backend):
        value = torch.compile(loss, fullgraph=True)(logits, case.target)
        [gradient] = torch.autograd.grad(value, logits)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected, logits)[0])


def test_it_can_be_exported() -> None:
    case = Case()
    loss = DiceLoss("multiclass", region_groups=TUMOUR)
    arguments = case.logits.float(), case.labels
    exported = torch.export.export(loss, arguments).module()
    torch.testing.assert_close(exported(*arguments), loss(*arguments))


def test_torch_func_differentiates_and_batches_it() -> None:
    case = Case()
    loss = DiceLoss("multiclass", region_groups=TUMOUR)

    def function(logits: Tensor, labels: Tensor) -> Tensor:
        return loss(logits[None], labels[None])

    each = [function(*sample) for sample in zip(case.logits, case.labels, strict=True)]
    batched = torch.func.vmap(function)(case.logits, case.labels)
    torch.testing.assert_close(batched, torch.stack(each))


def _batch(samples: slice) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    case = Case()
    return {"seg": case.logits[samples]}, {"gt_polygons_image": case.labels[samples]}


def _loss(**options: Any) -> SegLoss:
    return SegLoss(n_classes=CLASSES, region_groups=TUMOUR, region_reduction="batch", **options)


def _value_on_rank(rank: int, ranks: int) -> tuple[float, Tensor]:
    pred, gt = _batch(slice(0, 1) if rank == 0 else slice(1, 3))
    pred["seg"].requires_grad_()
    value, _ = _loss(sync_statistics=True)(pred, gt)
    value.backward()
    return float(value), pred["seg"].grad


def test_ranks_have_the_loss_of_the_batch(tmp_path) -> None:
    pred, gt = _batch(slice(None))
    pred["seg"].requires_grad_()
    expected, _ = _loss()(pred, gt)
    expected.backward()
    results = on_ranks(2, tmp_path, _value_on_rank)
    for value, _ in results:
        assert value == pytest.approx(expected.item(), rel=1e-12)
    gradients = torch.cat([gradient for _, gradient in results]) / 2  # as DDP averages
    torch.testing.assert_close(gradients, pred["seg"].grad)


def test_the_extra_information_has_the_names_of_the_groups() -> None:
    pred, gt = _batch(slice(None))
    names = ["road", "car", "bus", "lorry", "child"]
    terms = Dice(region_groups=VEHICLES) + Dice(region_classes=[4]).named("fine")
    _, info = SegLoss(n_classes=CLASSES, terms=terms, class_names=names)(pred, gt)
    assert list(info) == ["dice", "dice/vehicle", "dice/person", "fine", "fine/child"]
    mean = (info["dice/vehicle"] + info["dice/person"]) / 2
    torch.testing.assert_close(info["dice"], mean)
    torch.testing.assert_close(segloss.per_class(info, "dice").mean(), mean)
    one = SegLoss(n_classes=CLASSES, region_groups={"whole": [1, 2, 3]})
    assert list(one(pred, gt)[1]) == ["cross_entropy", "dice", "dice/whole"]


def test_a_multi_loss_has_fine_and_coarse_losses() -> None:
    pred, gt = _batch(slice(None))
    coarse = SegLoss("coarse", n_classes=CLASSES, bce_coef=0.0, region_groups=VEHICLES)
    fine = SegLoss("fine", n_classes=CLASSES)
    _, losses, _ = MultiLoss([coarse, fine], [1.0, 1.0])(pred, gt)
    for loss in (coarse, fine):
        torch.testing.assert_close(losses[loss.name], loss(pred, gt)[0].to(losses[loss.name]))


@pytest.mark.parametrize("merge", [False, True])
def test_a_group_with_a_class_that_is_not_annotated_is_left_out(merge: bool) -> None:
    pred, gt = _batch(slice(None))
    gt["gt_polygons_image"][0][gt["gt_polygons_image"][0] == 2] = 0
    annotated = torch.ones(3, CLASSES, dtype=torch.bool)
    annotated[0, 2] = False
    terms = Dice(region_groups=TUMOUR)
    loss = SegLoss(n_classes=CLASSES, terms=terms, merge_unannotated=merge)
    _, info = loss(pred, {**gt, "annotated": annotated})
    cells = CompoundLoss(terms, "multiclass", reduction="none")(
        pred["seg"], gt["gt_polygons_image"]
    )
    torch.testing.assert_close(info["dice/whole"], cells[1:, 0].mean())
    torch.testing.assert_close(info["dice/core"], cells[1:, 1].mean())
    torch.testing.assert_close(info["dice/enhancing"], cells[:, 2].mean())


def test_configs_and_functions_take_groups() -> None:
    pred, gt = _batch(slice(None))
    expected, _ = SegLoss(n_classes=CLASSES, region_groups=VEHICLES)(pred, gt)
    config = {"_target_": "segloss.SegLoss", "n_classes": CLASSES, "region_groups": VEHICLES}
    torch.testing.assert_close(build_loss({"loss": config})(pred, gt)[0], expected)
    terms = {"cross_entropy": 0.5, "dice": {"coef": 0.5, "region_groups": VEHICLES}}
    config = {"_target_": "segloss.SegLoss", "n_classes": CLASSES, "terms": terms}
    torch.testing.assert_close(build_loss({"loss": config})(pred, gt)[0], expected)
    labels = gt["gt_polygons_image"]
    value = segloss.functional.seg_loss(
        pred["seg"], labels, n_classes=CLASSES, from_logits=True, region_groups=VEHICLES
    )
    torch.testing.assert_close(value, expected)
    dice = segloss.functional.dice_loss(
        pred["seg"], labels, activation="softmax", n_classes=CLASSES, region_groups=VEHICLES
    )
    entropy = segloss.functional.cross_entropy(pred["seg"], labels)
    torch.testing.assert_close((dice + entropy) / 2, expected)


def test_terms_with_groups_are_values() -> None:
    term = Dice(region_groups=VEHICLES, smooth=0.0)
    assert repr(term) == ("Dice(smooth=0.0, region_groups={'vehicle': [1, 2, 3], 'person': [4]})")
    for same in (copy.deepcopy(term), pickle.loads(pickle.dumps(term))):
        assert same == term
        assert hash(same) == hash(term)
    turned = dict(reversed(VEHICLES.items()))
    assert Dice(region_groups=turned, smooth=0.0) != term  # weights follow the order
    with pytest.raises(TypeError):
        term.region_groups["road"] = [0]
    assert Dice(region_groups=VEHICLES).region_groups["vehicle"] == (1, 2, 3)


def test_the_sums_of_a_group_can_be_asked_for() -> None:
    case = Case()
    group = ClassGroupSum("region", (1, 2))
    confusion = soft_confusion(case.logits, case.labels, n_classes=CLASSES, sums=[group])
    p, g = (each[:, [1, 2]].sum(1) for each in (case.logits.softmax(1), case.one_hot))
    torch.testing.assert_close(confusion[group.key("true_positive")], (p * g).sum((1, 2)))
    term = Dice(region_groups={"pair": [1, 2]})
    numerator, denominator = term(confusion)
    torch.testing.assert_close(numerator / denominator, case.loss(term, weights=None)[0][None])
    plan = plan_of([group, ClassGroupSum("semimetric", (0, 4))])
    assert Plan.read(plan.text) == plan
    with pytest.raises(ValueError, match="out of range"):
        soft_confusion(
            case.logits, case.labels, n_classes=4 + 1, sums=[ClassGroupSum("region", (7,))]
        )
    with pytest.raises(ValueError, match="softmax"):
        soft_confusion(case.logits[:, :2], case.one_hot[:, :2], sums=[group])
    with pytest.raises(ValueError, match="cross_entropy"):
        ClassGroupSum("cross_entropy", (1,))


def test_kernels_have_no_formula_of_groups() -> None:
    assert Dice().analytic_form() is not None
    assert Dice(region_groups=VEHICLES).analytic_form() is None


def test_label_maps_need_no_dense_target() -> None:
    case = Case()
    loss = CompoundLoss(Dice(region_groups=TUMOUR), "multiclass")
    plan = loss._group.plan
    assert kernel_for(loss.pixels(case.logits, case.labels), plan).name == "torch"
    assert kernel_for(loss.pixels(case.logits, case.one_hot), plan) is REFERENCE


def test_check_loss_passes() -> None:
    for loss in (
        SegLoss(n_classes=4, region_groups=TUMOUR),
        DiceLoss("multiclass", region_groups={"both": [0, 1]}),
    ):
        report = check_loss(loss)
        assert report.passed, str(report)


REFUSED = [
    ({"region_groups": "vehicles"}, ("region_groups", "'components'", "mapping", "vehicles")),
    ({"region_groups": [[1, 2], [3]]}, ("region_groups", "mapping", "'vehicle'")),
    ({"region_groups": {}}, ("region_groups", "at least one group", "Leave it out")),
    ({"region_groups": {"a": []}}, ("region_groups['a']", "at least one class")),
    ({"region_groups": {"a": [1, 1]}}, ("region_groups['a']", "without duplicates", "[1, 1]")),
    ({"region_groups": {"a": [-1]}}, ("region_groups['a']", "at least 0", "-1")),
    ({"region_groups": {"a": [1.5]}}, ("region_groups['a']", "int", "1.5")),
    ({"region_groups": {"a": 1}}, ("region_groups['a']", "list of class indices", "1")),
    ({"region_groups": {"a": "12"}}, ("region_groups['a']", "list of class indices", "12")),
    ({"region_groups": {"a/b": [1]}}, ("region_groups", "'/'", "a/b")),
    ({"region_groups": {"": [1]}}, ("region_groups", "empty")),
    ({"region_groups": {1: [1]}}, ("region_groups", "str", "1")),
    ({"region_classes": [1]}, ("region_groups", "region_classes=None", "groups of one")),
    ({"region_class_weights": [1.0]}, ("region_class_weights", "expected 2", "vehicle, person")),
]


@pytest.mark.parametrize(("parameters", "words"), REFUSED)
def test_wrong_arguments_are_refused(parameters: dict[str, Any], words: tuple[str, ...]) -> None:
    with pytest.raises((TypeError, ValueError)) as error:
        Dice(**{"region_groups": VEHICLES, **parameters})
    assert all(word in str(error.value) for word in words), str(error.value)


def test_classes_beyond_the_prediction_are_refused() -> None:
    for make in (
        lambda: SegLoss(n_classes=4, region_groups=VEHICLES),
        lambda: DiceLoss("multiclass", region_groups=VEHICLES)(
            torch.randn(1, 4, 3), torch.zeros(1, 3, dtype=torch.long)
        ),
    ):
        with pytest.raises(ValueError, match=r"'person'\]=\[4\] is out of range.*4 classes"):
            make()


def test_sigmoid_channels_are_refused() -> None:
    loss = DiceLoss("multilabel", region_groups={"a": [0, 1]})
    with pytest.raises(ValueError, match="a channel and a mask of its own"):
        loss(torch.randn(1, 2, 3), torch.zeros(1, 2, 3))


@pytest.mark.parametrize("name", NEEDS_MORE)
def test_terms_without_sums_of_groups_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"region_groups=None.*Dice\(region_groups"):
        CompoundLoss(TERMS[name](region_groups=VEHICLES), "multiclass")


def test_sizes_that_are_always_equal_are_refused() -> None:
    halves = {"a": [0, 1], "b": [2]}
    loss = CompoundLoss(RegionSizeL1(region_groups=halves, region_reduction="micro"), "multiclass")
    with pytest.raises(ValueError, match="always 0"):
        loss(torch.randn(1, 3, 4), torch.zeros(1, 4, dtype=torch.long))


def test_a_mixture_of_different_cells_has_no_losses_of_cells() -> None:
    with pytest.raises(ValueError, match="region_groups"):
        CompoundLoss(Dice() + Tversky(region_groups=VEHICLES), "multiclass", reduction="none")
