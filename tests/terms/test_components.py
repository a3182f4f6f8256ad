"""Cells of connected components: a small object counts as much as a large one."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import segloss
from segloss import (
    ComponentMap,
    CompoundLoss,
    CutMix,
    DeepSupervision,
    MixUp,
    MultiLoss,
    SegLoss,
    check_loss,
)
from segloss.config import build_loss
from segloss.sums.kernels.registry import KERNELS, REFERENCE, kernel_for
from segloss.sums.plan import COUNTS, CROSS_ENTROPY, REGION, plan_of
from segloss.terms import TERMS, CrossEntropy, Dice, Focal, RegionTerm, Term, Tversky
from tests.support.kernels import BACKENDS
from tests.support.ranks import on_ranks

KEY = "gt_components"
KINDS = ("binary", "multilabel", "multiclass", "soft masks", "soft classes")
PARTITIONS = ("component", "nearest")
PER_CLASS = [
    name
    for name, term in TERMS.items()
    if issubclass(term, RegionTerm) and name not in ("generalized_dice", "unified_focal")
]


class Case:
    """A batch in float64 whose classes have several components, none in the last sample."""

    def __init__(self, kind: str, partition: str = "component", seed: int = 0) -> None:
        generator = np.random.default_rng(seed)
        torch.manual_seed(seed)
        self.exclusive = kind in ("multiclass", "soft classes")
        self.mode = {"soft masks": "multilabel", "soft classes": "multiclass"}.get(kind, kind)
        channels = 1 if kind == "binary" else 3
        shape = (3, channels, 13, 12)
        labels = generator.integers(0, channels if self.exclusive else 2, (3, 13, 12))
        labels = np.where(generator.random((3, 13, 12)) > 0.4, 0, labels)
        labels[2] = 0
        self.logits = torch.randn(shape, dtype=torch.float64)
        self.labels = torch.from_numpy(labels)
        if self.exclusive:
            one_hot = F.one_hot(self.labels, 3).movedim(-1, 1).double()
            ids = [ComponentMap(3, partition=partition)(mask=each)[KEY] for each in self.labels]
            self.target = self.labels
        else:
            one_hot = torch.stack([(self.labels * (c + 1)) % 2 for c in range(channels)], 1)
            to_ids = ComponentMap(partition=partition)
            ids = [torch.cat([to_ids(mask=c)[KEY] for c in sample]) for sample in one_hot]
            self.target = one_hot.double()
        self.ids = torch.stack(ids)
        if kind == "soft masks":
            self.target = 0.9 * self.target + 0.05
        if kind == "soft classes":
            self.target = 0.9 * one_hot + 0.1 / 3
        self.maps = {
            "gt_distance_map": torch.randn(shape, dtype=torch.float64),
            "gt_skeleton": (torch.rand(shape) > 0.7).double(),
            KEY: self.ids,
        }
        self.weights = torch.rand(3, 1, 13, 12).double()
        self.weights[:, :, 4:6] = 0

    def loss(self, term: Any, **tensors: Any) -> tuple[Tensor, Tensor]:
        logits = self.logits.clone().requires_grad_()
        loss = CompoundLoss(term, self.mode)
        tensors = {"maps": self.maps, "pixel_weights": self.weights, **tensors}
        value = loss(logits, self.target, **tensors)
        return value, torch.autograd.grad(value, logits)[0]


def by_loop(case: Case, term: Term, weights: Tensor) -> tuple[Tensor, Tensor]:
    """The mean over samples and classes of the mean over components, in a loop over components.

    For each component the plain loss sees the sample with weight 0 on the other components.
    """
    logits = case.logits.clone().requires_grad_()
    losses = []
    for n in range(len(logits)):
        for c in range(logits.shape[1]):
            ids = case.ids[n, c]
            counted = ids[weights[n, 0] > 0].unique()
            components = [int(each) for each in counted if each > 0] or [0]
            of_components = []
            for component in components:
                keep = (ids == 0) | (ids == component)
                plain = CompoundLoss(term, case.mode, reduction="none")
                one = slice(n, n + 1)
                maps = {key: values[one] for key, values in case.maps.items()}
                of_classes = plain(
                    logits[one], case.target[one], maps=maps, pixel_weights=weights[one] * keep
                )
                of_components.append(of_classes[0, c])
            losses.append(torch.stack(of_components).mean())
    value = torch.stack(losses).mean()
    return value, torch.autograd.grad(value, logits)[0]


@pytest.mark.parametrize(
    ("kind", "partition"), [*product(KINDS, PARTITIONS[:1]), ("multiclass", PARTITIONS[1])]
)
@pytest.mark.parametrize("name", PER_CLASS)
def test_the_loss_is_that_of_a_loop_over_components(name: str, kind: str, partition: str) -> None:
    case = Case(kind, partition)
    if name in ("region_size_kl", "generalized_wasserstein_dice") and case.exclusive:
        pytest.skip("it compares classes with each other, and refuses components")
    expected, slope = by_loop(case, TERMS[name](), case.weights)
    value, gradient = case.loss(TERMS[name](region_groups="components"))
    torch.testing.assert_close(value, expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(gradient, slope, rtol=1e-8, atol=1e-11)


def test_blob_dice_is_the_formula_of_the_paper() -> None:
    """TP and FN of the component, and the false positives of the whole image."""
    p = torch.tensor([0.9, 0.8, 0.3, 0.1, 0.6, 0.2], dtype=torch.float64)
    mask = torch.tensor([1, 1, 0, 0, 1, 0])
    ids = torch.tensor([1, 1, 0, 0, 2, 0])

    def dice(inside: list[int]) -> float:
        tp = float(p[inside].sum())
        fn, fp = len(inside) - tp, float(p[mask == 0].sum())
        return 1 - 2 * tp / (2 * tp + fp + fn)

    loss = CompoundLoss(Dice(smooth=0.0, region_groups="components"), from_logits=False)
    value = loss(p[None, None], mask[None, None], maps={KEY: ids[None, None]})
    assert value.item() == pytest.approx((dice([0, 1]) + dice([4])) / 2, rel=1e-14)


def test_every_component_counts_is_the_mean_over_regions() -> None:
    """With "nearest", all counts of a component are those of its region."""
    p = torch.tensor([0.9, 0.8, 0.3, 0.1, 0.6, 0.2], dtype=torch.float64)
    mask = torch.tensor([1, 1, 0, 0, 1, 0])
    ids = ComponentMap(partition="nearest")(mask=mask[None])[KEY][0]
    assert ids.tolist() == [[1, 1, 1, 2, 2, 2]]

    def dice(region: slice) -> float:
        probability, truth = p[region], mask[region].double()
        return 1 - 2 * float((probability * truth).sum() / (probability.sum() + truth.sum()))

    loss = CompoundLoss(Dice(smooth=0.0, region_groups="components"), from_logits=False)
    value = loss(p[None, None], mask[None, None], maps={KEY: ids[None]})
    expected = (dice(slice(0, 3)) + dice(slice(3, 6))) / 2
    assert value.item() == pytest.approx(expected, rel=1e-14)


def two_discs(prediction_of: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    mask = torch.zeros(64, 64, dtype=torch.long)
    mask[4:44, 4:44] = 1
    mask[56:60, 56:60] = 1
    ids = ComponentMap()(mask=mask)[KEY][None]
    logits = 12.0 * (2 * prediction_of(ids[0, 0].long()).double() - 1)
    return logits[None, None], mask[None, None], ids


def test_a_missed_small_lesion_costs_as_much_as_a_missed_large_one() -> None:
    plain, components = Dice(), Dice(region_groups="components")

    def lost(term: Term, component: int) -> float:
        logits, mask, ids = two_discs(lambda each: (each > 0) & (each != component))
        return float(CompoundLoss(term)(logits, mask, maps={KEY: ids}))

    assert lost(plain, 1) > 0.9
    assert lost(plain, 2) < 0.01  # 16 of 1,616 pixels
    assert lost(components, 1) == pytest.approx(0.5, abs=0.01)
    assert lost(components, 2) == pytest.approx(0.5, abs=0.04)


def test_a_sample_without_components_costs_its_false_positives() -> None:
    logits = torch.randn(2, 1, 8, 8, dtype=torch.float64)
    mask, ids = torch.zeros(2, 1, 8, 8), torch.zeros(2, 1, 8, 8, dtype=torch.uint8)
    value = CompoundLoss(Dice(region_groups="components"))(logits, mask, maps={KEY: ids})
    torch.testing.assert_close(value, CompoundLoss(Dice())(logits, mask))
    assert value > 0.5


def test_one_component_is_the_plain_loss() -> None:
    case = Case("binary")
    ids = (case.target > 0).to(torch.int32)
    value, gradient = case.loss(Dice(region_groups="components"), maps={KEY: ids})
    expected, slope = case.loss(Dice())
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(gradient, slope)


def test_a_component_whose_pixels_are_all_ignored_does_not_count() -> None:
    case = Case("binary")
    last = case.ids[0].max()
    target = case.target.masked_fill(case.ids == last, 255)
    logits = case.logits
    loss = CompoundLoss(Dice(region_groups="components"), ignore_index=255)
    value = loss(logits, target, maps={KEY: case.ids})
    without = case.ids.masked_fill(case.ids == last, 0)
    torch.testing.assert_close(value, loss(logits, target, maps={KEY: without}))


@pytest.mark.parametrize("backend", BACKENDS)
def test_without_pixels_that_count_the_loss_is_0(backend: str) -> None:
    loss = CompoundLoss(Dice(region_groups="components") + CrossEntropy(), ignore_index=255)
    for shape in ((2, 1, 6, 5), (0, 1, 6, 5), (2, 1, 0, 5)):
        logits = torch.randn(shape, requires_grad=True)
        target, ids = torch.full(shape, 255), torch.ones(shape, dtype=torch.int16)
        with segloss.use_backend(backend):
            value = loss(logits, target, maps={KEY: ids})
            [gradient] = torch.autograd.grad(value, logits)
        assert value == 0
        assert not gradient.any()


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "int32", "int64"])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", ["binary", "multilabel", "multiclass"])
def test_every_kernel_has_the_same_loss(kind: str, backend: str, dtype: str) -> None:
    case = Case(kind)
    term = Dice(region_groups="components") + CrossEntropy() + Dice().named("plain")
    case.maps[KEY] = case.ids.to(getattr(torch, dtype))
    with segloss.use_backend("reference"):
        expected, slope = case.loss(term)
    case.logits = case.logits.float()
    with segloss.use_backend(backend):
        value, gradient = case.loss(term)
    torch.testing.assert_close(value, expected.float(), rtol=2e-6, atol=1e-6)
    torch.testing.assert_close(gradient, slope.float(), rtol=2e-4, atol=1e-7)


@pytest.mark.parametrize("layout", ["contiguous", "channels last"])
@pytest.mark.parametrize("pixels", [7, 255, 256, 700, 5000])
@pytest.mark.parametrize("exclusive", [False, True])
def test_runs_of_any_length_are_summed_by_group(exclusive: bool, pixels: int, layout: str) -> None:
    torch.manual_seed(pixels)
    logits = 4 * torch.randn(2, 5, pixels)
    logits[0, 0, ::50] = -torch.inf
    lengths = torch.randint(1, 60, (2, 5, pixels))
    ids = torch.stack(
        [
            torch.stack(
                [
                    torch.arange(pixels).remainder(9).repeat_interleave(lengths[n, c])[:pixels]
                    for c in range(5)
                ]
            )
            for n in range(2)
        ]
    ).short()
    target = torch.randint(1, 5, (2, pixels)) if exclusive else torch.rand(2, 5, pixels).round()
    if not exclusive:
        target[0, 0, ::50] = 0
    if layout == "channels last":
        logits, ids = (each.transpose(1, 2).contiguous().transpose(1, 2) for each in (logits, ids))
    for ignored, weights in ((None, None), (1, None), (None, torch.rand(2, 1, pixels).round())):
        batch = segloss.batch.assemble.as_pixel_batch(
            logits,
            target,
            segloss.batch.options.PixelOptions(
                5 if exclusive else 2,
                "softmax" if exclusive else "sigmoid",
                ignore_index=ignored,
                label_smoothing=0.0,
            ),
            pixel_weights=weights,
            maps={KEY: ids},
            group_key=KEY,
        )
        for sums in ([REGION, CROSS_ENTROPY], [REGION], [COUNTS], [CROSS_ENTROPY]):
            plan = plan_of(sums, KEY)
            expected = REFERENCE.sums(batch.replace(prediction=logits.double()), plan)
            slopes = torch.rand(expected.shape, generator=torch.Generator().manual_seed(0)).double()
            for kernel in KERNELS[:-1]:
                if kernel.why_not_here() or kernel.supports(batch, plan):
                    continue
                found = kernel.sums(batch, plan)
                torch.testing.assert_close(found, expected, rtol=2e-6, atol=2e-4)
                if sums == [COUNTS]:
                    continue
                gradient = kernel.gradient(batch, plan, slopes)
                slope = REFERENCE.gradient(batch.replace(prediction=logits.double()), plan, slopes)
                torch.testing.assert_close(gradient.double(), slope, rtol=1e-4, atol=4e-6)


def test_the_compiled_kernel_serves_components() -> None:
    [cpu] = [kernel for kernel in KERNELS if kernel.name == "cpu"]
    if cpu.why_not_here():
        pytest.skip(cpu.why_not_here())
    case = Case("binary")
    loss = CompoundLoss(Dice(region_groups="components"))
    pixels = loss.pixels(case.logits.float(), case.target, maps=case.maps)
    assert kernel_for(pixels, plan_of([REGION], KEY)) is cpu


@pytest.mark.parametrize("kind", ["binary", "multiclass", "soft classes"])
def test_derivatives_are_right(kind: str) -> None:
    case = Case(kind)
    loss = CompoundLoss(Dice(region_groups="components") + CrossEntropy(), case.mode)
    crop = (slice(1, 3), slice(None), slice(0, 4), slice(0, 4))
    target = case.target[crop if case.target.ndim == 4 else (crop[0], *crop[2:])]

    def function(logits: Tensor) -> Tensor:
        return loss(logits, target, maps={KEY: case.ids[crop]})

    logits = case.logits[crop].clone().requires_grad_()
    assert torch.autograd.gradcheck(function, logits, fast_mode=True)
    assert torch.autograd.gradgradcheck(function, logits, fast_mode=True)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_near(dtype: torch.dtype) -> None:
    case = Case("multilabel")
    expected, _ = case.loss(Dice(region_groups="components"))
    case.logits = case.logits.to(dtype)
    value, gradient = case.loss(Dice(region_groups="components"))
    assert gradient.dtype == dtype
    assert value.item() == pytest.approx(expected.item(), abs=4e-3)


@pytest.mark.parametrize("spatial", [(30,), (6, 5), (4, 3, 5)])
def test_images_have_any_number_of_dimensions(spatial: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    logits, mask = torch.randn(2, 1, *spatial), torch.randint(0, 2, (2, 1, *spatial))
    ids = (mask.flatten(2).cumsum(2) * mask.flatten(2)).reshape(mask.shape)  # a component a pixel
    loss = CompoundLoss(Dice(region_groups="components"))
    flat = loss(logits.flatten(2), mask.flatten(2), maps={KEY: ids.flatten(2)})
    torch.testing.assert_close(loss(logits, mask, maps={KEY: ids}), flat)


def test_reduction_none_has_a_mean_over_components_per_sample_and_class() -> None:
    case = Case("multilabel")
    loss = CompoundLoss(Dice(region_groups="components"), "multilabel", reduction="none")
    cells = loss(case.logits, case.target, maps=case.maps)
    assert cells.shape == (3, 3)
    value = CompoundLoss(Dice(region_groups="components"), "multilabel")
    torch.testing.assert_close(cells.mean(), value(case.logits, case.target, maps=case.maps))


def test_classes_and_weights_of_classes_apply_to_the_means() -> None:
    case = Case("multilabel")
    cells = CompoundLoss(Dice(region_groups="components"), "multilabel", reduction="none")(
        case.logits, case.target, maps=case.maps
    )
    term = Dice(region_groups="components", region_classes=[2, 0], region_class_weights=[3.0, 1.0])
    value = CompoundLoss(term, "multilabel")(case.logits, case.target, maps=case.maps)
    torch.testing.assert_close(value, (3 * cells[:, 2] + cells[:, 0]).sum() / 12)


def test_samples_without_the_class_can_be_skipped() -> None:
    case = Case("binary")
    cells = CompoundLoss(Dice(region_groups="components"), reduction="none")(
        case.logits, case.target, maps=case.maps
    )
    term = Dice(region_groups="components", skip_absent_classes=True)
    value = CompoundLoss(term)(case.logits, case.target, maps=case.maps)
    torch.testing.assert_close(value, cells[:2].mean())


@pytest.mark.parametrize(
    ("backend", "dtype"),
    [("auto", torch.uint8), ("auto", torch.int64), ("reference", torch.int16)],
)
def test_it_compiles_as_one_graph(backend: str, dtype: torch.dtype) -> None:
    case = Case("binary")
    logits = case.logits.float().requires_grad_()
    loss = CompoundLoss(Dice(region_groups="components") + CrossEntropy())

    def function(logits: Tensor, target: Tensor, ids: Tensor) -> Tensor:
        return loss(logits, target, maps={KEY: ids})

    arguments = logits, case.target, case.ids.to(dtype)
    expected = function(*arguments)
    torch._dynamo.reset()
    with segloss.use_backend(backend):
        value = torch.compile(function, fullgraph=True)(*arguments)
        [gradient] = torch.autograd.grad(value, logits)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected, logits)[0])


def test_torch_func_differentiates_and_batches_it() -> None:
    case = Case("binary")
    loss = CompoundLoss(Dice(region_groups="components"))

    def function(logits: Tensor, target: Tensor, ids: Tensor) -> Tensor:
        return loss(logits[None], target[None], maps={KEY: ids[None]})

    samples = zip(case.logits, case.target, case.ids, strict=True)
    each = [function(*sample) for sample in samples]
    batched = torch.func.vmap(function)(case.logits, case.target, case.ids)
    torch.testing.assert_close(batched, torch.stack(each))
    gradient = torch.func.grad(function)(case.logits[0], case.target[0], case.ids[0])
    _, whole = case.loss(Dice(region_groups="components"), pixel_weights=None)
    torch.testing.assert_close(gradient / 3, whole[0])


def _batch(samples: slice) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    case = Case("binary")
    gt = {"gt_polygons_image": case.target[samples], KEY: case.ids[samples]}
    return {"seg": case.logits[samples]}, gt


def _value_on_rank(rank: int, ranks: int) -> tuple[float, Tensor]:
    pred, gt = _batch(slice(0, 1) if rank == 0 else slice(1, 3))
    pred["seg"].requires_grad_()
    loss = SegLoss(from_logits=True, region_groups="components", sync_statistics=True)
    value, _ = loss(pred, gt)
    value.backward()
    return float(value), pred["seg"].grad


def test_ranks_with_different_numbers_of_components_have_the_loss_of_the_batch(tmp_path) -> None:
    pred, gt = _batch(slice(None))
    pred["seg"].requires_grad_()
    expected, _ = SegLoss(from_logits=True, region_groups="components")(pred, gt)
    expected.backward()
    results = on_ranks(2, tmp_path, _value_on_rank)
    for value, _ in results:
        assert value == pytest.approx(expected.item(), rel=1e-12)
    gradients = torch.cat([gradient for _, gradient in results]) / 2  # as DDP averages
    torch.testing.assert_close(gradients, pred["seg"].grad)


def test_seg_loss_reads_the_map_from_the_batch_and_reports_the_terms() -> None:
    case = Case("multiclass")
    loss = SegLoss(n_classes=3, region_groups="components", region_classes=[1, 2])
    gt_batch = {"gt_polygons_image": case.target, KEY: case.ids}
    value, info = loss({"seg": case.logits}, gt_batch)
    expected = CompoundLoss(
        0.5 * CrossEntropy() + 0.5 * Dice(region_groups="components", region_classes=[1, 2]),
        "multiclass",
    )(case.logits, case.target, maps=case.maps)
    torch.testing.assert_close(value, expected)
    assert list(info) == ["cross_entropy", "dice", "dice/1", "dice/2"]


def test_a_multi_loss_may_group_by_two_maps() -> None:
    case, other = Case("binary"), Case("binary", "nearest")
    options = {"from_logits": True, "bce_coef": 0.0, "region_groups": "components"}
    blobs = SegLoss("blobs", **options)
    regions = SegLoss("regions", **options, components_key="regions")
    plain = SegLoss("plain", from_logits=True)
    pred, gt = {"seg": case.logits}, {"gt_polygons_image": case.target}
    gt |= {KEY: case.ids, "regions": other.ids}
    _, losses, _ = MultiLoss([blobs, regions, plain], [1.0, 1.0, 1.0])(pred, gt)
    for loss in (blobs, regions, plain):
        torch.testing.assert_close(
            losses[loss.name], loss(pred, gt)[0].double().to(losses[loss.name])
        )


def test_functions_take_components() -> None:
    case = Case("binary")
    value = segloss.functional.tversky_loss(
        case.logits, case.target, maps=case.maps, region_groups="components"
    )
    expected, _ = case.loss(Tversky(region_groups="components"), pixel_weights=None)
    torch.testing.assert_close(value, expected)


def test_a_config_names_components() -> None:
    case = Case("binary")
    terms = {"cross_entropy": 0.5, "dice": {"coef": 0.5, "region_groups": "components"}}
    config = {"loss": {"_target_": "segloss.SegLoss", "from_logits": True, "terms": terms}}
    gt_batch = {"gt_polygons_image": case.target, KEY: case.ids}
    value, _ = build_loss(config)({"seg": case.logits}, gt_batch)
    loss = SegLoss(from_logits=True, region_groups="components")
    torch.testing.assert_close(value, loss({"seg": case.logits}, gt_batch)[0])


def test_mixup_takes_the_partners_components() -> None:
    case = Case("binary")
    loss = SegLoss(from_logits=True, region_groups="components", use_mixup=True)
    batch = {"gt_polygons_image": case.target, KEY: case.ids}
    _, mixed = MixUp()(torch.rand(3, 3, 13, 12), batch, torch.Generator().manual_seed(1))
    index, lam = mixed["mixup_index"], mixed["mixup_lam"]
    partners = {key: values[index] for key, values in batch.items()}
    own, other = (loss({"seg": case.logits}, each)[0] for each in (batch, partners))
    value, _ = loss({"seg": case.logits}, mixed)
    torch.testing.assert_close(value, lam * own + (1 - lam) * other, check_dtype=False)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int64])
def test_cutmix_keeps_the_components_of_two_images_apart(dtype: torch.dtype) -> None:
    ids = torch.arange(1, 5).reshape(4, 1, 1).expand(4, 1, 64).to(dtype).clone()
    ids[:, :, ::7] = 0
    images = torch.rand(4, 1, 64)
    batch = {"gt_polygons_image": torch.arange(4).reshape(4, 1).expand(4, 64), KEY: ids}
    _, mixed = CutMix()(images, batch, torch.Generator().manual_seed(3))
    origin, found = mixed["gt_polygons_image"], mixed[KEY][:, 0]
    assert (found[:, ::7] == 0).all()
    for n in range(4):
        inside = found[n] > 0
        own, pasted = found[n][inside & (origin[n] == n)], found[n][inside & (origin[n] != n)]
        assert set(own.tolist()).isdisjoint(pasted.tolist())
        assert (own == n + 1).all()
    assert any((origin[n] != n).any() for n in range(4))


def test_scales_of_deep_supervision_have_their_components() -> None:
    case = Case("binary")
    inner = SegLoss(from_logits=True, region_groups="components")
    coarse = case.logits[..., ::2, ::2]
    gt_batch = {"gt_polygons_image": case.target, KEY: case.ids}
    value, _ = DeepSupervision(inner, weights=[1.0, 1.0])({"seg": [case.logits, coarse]}, gt_batch)
    lists = {key: [each, _nearest(each, coarse)] for key, each in gt_batch.items()}
    expected, _ = DeepSupervision(inner, weights=[1.0, 1.0])({"seg": [case.logits, coarse]}, lists)
    torch.testing.assert_close(value, expected)


def _nearest(values: Tensor, like: Tensor) -> Tensor:
    resized = F.interpolate(values.double(), size=like.shape[2:], mode="nearest-exact")
    return resized.to(values.dtype)


def test_ids_that_are_no_components_reach_no_memory() -> None:
    """A map whose values were not read may hold anything: such pixels belong to no component."""
    shape = (1, 1, 300, 300)
    logits, target = torch.randn(shape), torch.randint(0, 2, shape)
    loss = CompoundLoss(Dice(region_groups="components"))
    ids = torch.randint(0, 5, shape, dtype=torch.int16)
    loss(logits, target, maps={KEY: ids})
    for backend in BACKENDS:
        with segloss.use_backend(backend):
            wrong = ids.masked_fill(ids == 4, -300)
            value = loss(logits, target, maps={KEY: wrong})
            expected = loss(logits, target, maps={KEY: wrong.clamp(min=0)})
            torch.testing.assert_close(value, expected)


def test_check_loss_passes() -> None:
    for loss in (
        SegLoss(from_logits=True, region_groups="components"),
        CompoundLoss(Dice(region_groups="components"), "multiclass"),
    ):
        report = check_loss(loss)
        assert report.passed, str(report)


REFUSED = [
    ({"region_groups": "lesions"}, ("region_groups", "components", "lesions")),
    ({"region_reduction": "batch"}, ("region_groups", "'batch'", "'sample'")),
    ({"region_reduction": "micro"}, ("region_groups", "'micro'", "'sample'")),
    ({"components_key": ""}, ("components_key",)),
]


@pytest.mark.parametrize(("parameters", "words"), REFUSED)
def test_wrong_arguments_are_refused(parameters: dict[str, Any], words: tuple[str, ...]) -> None:
    with pytest.raises((TypeError, ValueError)) as error:
        Dice(**{"region_groups": "components", **parameters})
    assert all(word in str(error.value) for word in words)


def test_terms_that_compare_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="compares classes"):
        TERMS["generalized_dice"](region_groups="components")
    with pytest.raises(ValueError, match="compares the classes"):
        SegLoss(n_classes=3, terms=TERMS["region_size_kl"](region_groups="components"))


class Pooled(RegionTerm):
    """A term of a user with one loss for all classes."""

    name = "pooled"

    def pooled_losses_and_weights(self, pooled: Any) -> tuple[Tensor, Tensor]:
        losses = (pooled.false_positive / pooled.pixel_weight).sum(1, keepdim=True)
        return losses, torch.ones_like(losses)


def test_a_users_term_with_one_loss_for_all_classes_is_refused() -> None:
    case = Case("multilabel")
    with pytest.raises(ValueError, match="one loss for several classes"):
        case.loss(Pooled(region_groups="components"))


def test_two_maps_in_one_loss_are_refused() -> None:
    terms = Dice(region_groups="components") + Tversky(
        region_groups="components", components_key="other"
    )
    with pytest.raises(ValueError, match="MultiLoss"):
        CompoundLoss(terms)


def test_a_focal_sum_is_shared_with_components() -> None:
    case = Case("multiclass")
    value, _ = case.loss(Dice(region_groups="components") + Focal())
    parts = [case.loss(each)[0] for each in (Dice(region_groups="components"), Focal())]
    torch.testing.assert_close(value, sum(parts))


WRONG = [
    (lambda ids: ids.float(), TypeError, ("gt_components", "float32", ".int()")),
    (lambda ids: ids > 0, TypeError, ("gt_components", "bool", "ComponentMap")),
    (lambda ids: ids - 1, ValueError, ("gt_components", "-1", "ComponentMap")),
    (lambda ids: ids[:, 0], ValueError, ("gt_components", "(3, 1, 13, 12)", "(3, 13, 12)")),
    (lambda ids: None, TypeError, ("gt_components", "NoneType")),
]


@pytest.mark.parametrize(("change", "error", "words"), WRONG)
def test_wrong_maps_are_refused(change: Any, error: type[Exception], words: Any) -> None:
    case = Case("binary")
    loss = CompoundLoss(Dice(region_groups="components"))
    with pytest.raises(error) as raised:
        loss(case.logits, case.target, maps={KEY: change(case.ids)})
    assert all(word in str(raised.value) for word in words)


def test_a_missing_map_is_refused_with_its_transform() -> None:
    case = Case("binary")
    loss = SegLoss(from_logits=True, region_groups="components")
    with pytest.raises(segloss.MissingKeyError, match="ComponentMap"):
        loss({"seg": case.logits}, {"gt_polygons_image": case.target})
