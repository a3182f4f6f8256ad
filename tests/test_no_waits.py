"""On a GPU, no step after the first waits for the host, or the host for the GPU.

Each loss takes two steps, forward and backward, with fake CUDA tensors; see support/waits.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import segloss
from segloss import CompoundLoss, DeepSupervision, LossWrapper, MultiLoss, SegLoss
from segloss import functional as F
from segloss.compat import nn4n, tutorial
from segloss.foundation.device_constants import buffer_on_device
from segloss.losses.term_losses import TERM_LOSSES
from segloss.sums import FocalSum, MapSum
from segloss.sums.plan import NAMED
from segloss.terms import TERMS
from tests.support.waits import MISSING, Waits, a_gpu, backward

pytestmark = pytest.mark.skipif(bool(MISSING), reason=MISSING)

Batch = dict[str, Tensor]
Make = Callable[[], Any]
Call = Callable[[Any, Batch], Tensor]


def batch(kind: str) -> Batch:
    """A batch on the GPU, with all that any term, loss or option reads from one."""
    channels = {"binary": 1, "multilabel": 3, "multiclass": 4}[kind]
    shape = (2, channels, 8, 8)
    labels = torch.empty(2, 8, 8, dtype=torch.int64, device="cuda")
    masks = torch.empty(shape, dtype=torch.uint8, device="cuda")
    return {
        "seg": torch.empty(shape, device="cuda", requires_grad=True),
        "gt_polygons_image": labels if kind == "multiclass" else masks,
        "gt_distance_map": torch.empty(shape, device="cuda"),
        "gt_skeleton": torch.empty(shape, device="cuda"),
    }


def waits_of(make: Make, call: Call, kind: str = "binary", *, to_gpu: bool = False) -> list[str]:
    """The waits of the second and third steps of a training."""
    loss, found = make(), []
    with a_gpu(*[loss] if to_gpu else []):
        for step in range(3):
            taken = batch(kind)
            with Waits() as waits:
                value = call(loss, taken)
                gradients = backward(value)
            assert any(gradient.shape == taken["seg"].shape for gradient in gradients)
            found += waits.found if step > 0 else []
    return found


def as_loss(loss: Any, batch: Batch, **more: Any) -> Tensor:
    """The total of a loss of batches."""
    value: Tensor = loss({"seg": batch["seg"]}, {**batch, **more})[0]
    return value


def as_criterion(loss: Any, batch: Batch) -> Tensor:
    """A loss of (prediction, target), with the maps that it needs."""
    maps = {"maps": batch} if getattr(loss, "map_keys", ()) else {}
    value: Tensor = loss(batch["seg"], batch["gt_polygons_image"], **maps).sum()
    return value


# The finder


FOUND: dict[str, Callable[[Tensor], Any]] = {
    "a number": lambda x: x.sum().item(),
    "a truth": lambda x: bool((x > 0).any()),
    "a comparison": lambda x: torch.equal(x, x),
    "a mask": lambda x: x[x > 0],
    "places": lambda x: x.nonzero(),
    "a list": lambda x: torch.tensor([1.0, 2.0], device=x.device),
    "a list as another": lambda x: x.new_tensor([1.0]),
    "a list as index": lambda x: x[[0, 1]],
    "a tensor that moves": lambda x: torch.zeros(3).to(x.device),
    "a tensor written": lambda x: x.copy_(torch.zeros(3)),
    "an entry": lambda x: x.__setitem__(0, 3.0),
    "a tensor fetched": lambda x: x.cpu(),
}


@pytest.mark.parametrize("name", FOUND)
def test_the_finder_finds(name: str) -> None:
    with a_gpu(), Waits() as waits:
        FOUND[name](torch.empty(3, device="cuda"))
    assert len(waits.found) == 1


NOT_FOUND: dict[str, Callable[[Tensor], Any]] = {
    "a factor": lambda x: 2.0 * x,
    "a factor in a CPU's tensor": lambda x: torch.tensor(2.0) * x,
    "a fill": lambda x: torch.full((), 3.0, device=x.device),
    "an entry that is filled": lambda x: x[0].fill_(3.0),
    "a choice": lambda x: torch.where(x > 0, x, 0),
    "an index of its own": lambda x: x[torch.arange(2, device=x.device)],
    "a number of the CPU": lambda x: torch.zeros(3).sum().item(),
}


@pytest.mark.parametrize("name", NOT_FOUND)
def test_the_finder_leaves(name: str) -> None:
    with a_gpu(), Waits() as waits:
        NOT_FOUND[name](torch.empty(3, device="cuda"))
    assert not waits.found


def test_the_first_step_reads_values_and_the_line_is_named() -> None:
    with a_gpu(), Waits() as waits:
        as_loss(SegLoss(n_classes=4), batch("multiclass"))
    assert waits.found
    assert all(" at segloss/" in found for found in waits.found)


# Terms


@pytest.mark.parametrize("kind", ["binary", "multilabel", "multiclass"])
def test_all_terms_in_a_loss_that_was_not_moved(kind: str) -> None:
    classes = {"n_classes": 4} if kind == "multiclass" else {"from_logits": True}
    terms = {f"a second {name}": {"term": name, "coef": 0.5} for name in TERMS}
    assert not waits_of(lambda: SegLoss(extra_terms=terms, **classes), as_loss, kind)


READINGS: dict[str, tuple[str, dict[str, Any], Callable[[Batch], dict[str, Tensor]]]] = {
    "several ignored values": ("multiclass", {"ignore_index": [0, 255]}, lambda _: {}),
    "weights of samples": (
        "multiclass",
        {},
        lambda _: {"sample_weights": torch.empty(2, device="cuda")},
    ),
    "one class against the rest": (
        "multilabel",
        {"ignore_index": 255},
        lambda batch: {"gt_polygons_image": torch.empty(2, 8, 8, dtype=torch.int64, device="cuda")},
    ),
}


@pytest.mark.parametrize("name", READINGS)
def test_a_batch_read_in_another_way(name: str) -> None:
    kind, options, others = READINGS[name]
    mixed = {"n_classes": 4} if kind == "multiclass" else {"n_classes": 3, "activation": "sigmoid"}

    def call(loss: Any, batch: Batch) -> Tensor:
        return as_loss(loss, batch, **others(batch))

    assert not waits_of(lambda: SegLoss(**mixed, **options), call, kind)


@pytest.mark.parametrize("kind", ["binary", "multiclass"])
@pytest.mark.parametrize("name", TERM_LOSSES)
def test_a_term_as_a_loss(name: str, kind: str) -> None:
    assert not waits_of(lambda: TERM_LOSSES[name](kind), as_criterion, kind)


@pytest.mark.parametrize("kind", ["binary", "multiclass"])
@pytest.mark.parametrize("name", F.__all__)
def test_a_function(name: str, kind: str) -> None:
    is_softmax, needs_maps = kind == "multiclass", name in ("boundary_loss", "skeleton_recall_loss")
    if name in ("cross_entropy", "binary_cross_entropy"):
        if is_softmax != (name == "cross_entropy"):
            pytest.skip("it is of the other activation")
        options: dict[str, Any] = {"class_weights": [1.0] * (4 if is_softmax else 1)}
    else:
        options = {"n_classes": 4} if is_softmax else {}

    def call(_: Any, batch: Batch) -> Tensor:
        given = {**options, "maps": batch} if needs_maps else options
        value: Tensor = getattr(F, name)(batch["seg"], batch["gt_polygons_image"], **given)
        return value

    assert not waits_of(lambda: None, call, kind)


@pytest.mark.parametrize("kind", ["binary", "multiclass"])
def test_soft_confusion(kind: str) -> None:
    sums = [*NAMED, MapSum("gt_skeleton"), FocalSum((2.0, 1.0), (0.5, 1.0))]

    def call(_: Any, batch: Batch) -> Tensor:
        confusion = segloss.soft_confusion(
            batch["seg"],
            batch["gt_polygons_image"],
            n_classes=4 if kind == "multiclass" else 2,
            sums=sums,
            class_weights=[1.0, 2.0, 3.0, 4.0] if kind == "multiclass" else [2.0],
            maps={"gt_skeleton": batch["gt_skeleton"]},
        )
        return torch.stack([each.sum() for each in confusion.sums.values()]).sum()

    assert not waits_of(lambda: None, call, kind)


def test_a_function_reads_the_values_of_the_first_batch_with_the_same_options() -> None:
    found = []
    with a_gpu():
        taken = batch("multiclass")
        for n_classes in (4, 4, None, 4):
            with Waits() as waits:
                F.cross_entropy(taken["seg"], taken["gt_polygons_image"], n_classes=n_classes)
                F.dice_loss(taken["seg"], taken["gt_polygons_image"], n_classes=4)
            found.append(len(waits.found) > 0)
            with Waits() as waits:
                F.dice_loss(taken["seg"], taken["gt_polygons_image"], n_classes=4, ignore_index=9)
            found.append(len(waits.found) > 0)
    assert found == [True, True, *[False] * 6]


def test_on_the_cpu_a_function_reads_the_values_of_each_batch() -> None:
    logits, target = torch.zeros(1, 1, 300, 300), torch.zeros(1, 1, 300, 300)
    for _ in range(2):
        F.dice_loss(logits, target)
    with pytest.raises(ValueError, match="must hold values in"):
        F.dice_loss(logits, target + 2)


# Options


ALPHA = {"focal": {"coef": 1.0, "alpha": [0.1, 0.2, 0.3, 0.4]}}
OPTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "class_weights": ("multiclass", {"class_weights": [1.0, 2.0, 3.0, 4.0]}),
    "pos_weight": ("multilabel", {"pos_weight": [1.0, 2.0, 3.0], "class_weights": [1.0, 2.0, 0.5]}),
    "region_classes": ("multiclass", {"region_classes": [1, 3], "tversky_focal_coef": 0.5}),
    "region_class_weights": ("multiclass", {"region_class_weights": [1.0, 2.0, 3.0, 4.0]}),
    "pooled": ("multiclass", {"region_reduction": "batch", "skip_absent_classes": True}),
    "micro": ("multilabel", {"region_reduction": "micro", "region_classes": [0, 2]}),
    "metric": ("multilabel", {"soft_labels": "metric"}),
    "ignore_index": ("multiclass", {"ignore_index": 255}),
    "smoothing": ("multiclass", {"use_label_smooth": True, "smooth_factor": 0.1}),
    "alpha of each class": ("multiclass", {"extra_terms": ALPHA}),
    "probabilities": ("multilabel", {"from_logits": False, "pos_weight": 2.0}),
    "list selectors": (
        "multilabel",
        {"pred_channel_selector": [2, 0], "gt_channel_selector": [True, False, True]},
    ),
    "slice selectors": (
        "multilabel",
        {"pred_channel_selector": "0:3:2", "gt_channel_selector": [0, -1]},
    ),
}


@pytest.mark.parametrize("to_gpu", [False, True])
@pytest.mark.parametrize("name", OPTIONS)
def test_an_option(name: str, to_gpu: bool) -> None:
    kind, options = OPTIONS[name]
    options = {"n_classes": 4 if kind == "multiclass" else 2, "from_logits": True, **options}
    assert not waits_of(lambda: SegLoss(**options), as_loss, kind, to_gpu=to_gpu)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
@pytest.mark.parametrize("kind", ["multilabel", "multiclass"])
def test_weighted_pixels_in_other_precisions(kind: str, dtype: torch.dtype) -> None:
    def call(loss: Any, batch: Batch) -> Tensor:
        weights = torch.empty(2, 1, 8, 8, device="cuda")
        return as_loss(loss, {**batch, "seg": batch["seg"].to(dtype)}, seg_loss_weights=weights)

    options: dict[str, Any] = {"n_classes": 4 if kind == "multiclass" else 2, "from_logits": True}
    assert not waits_of(lambda: SegLoss(ignore_index=255, **options), call, kind)


@pytest.mark.parametrize("merged", [False, True])
@pytest.mark.parametrize("kind", ["multilabel", "multiclass"])
def test_partial_labels(kind: str, merged: bool) -> None:
    is_softmax = kind == "multiclass"

    def call(loss: Any, batch: Batch) -> Tensor:
        annotated = torch.empty(batch["seg"].shape[:2], dtype=torch.bool, device="cuda")
        return as_loss(loss, batch, annotated=annotated)

    options: dict[str, Any] = {"n_classes": 4 if is_softmax else 2, "from_logits": True}
    if is_softmax:
        options |= {"merge_unannotated": merged, "bce_coef": 0.5 if merged else 0}
    assert not waits_of(lambda: SegLoss(ignore_index=255, **options), call, kind)


@pytest.mark.parametrize("mode", ["binary", "multilabel", "multiclass"])
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_a_compound_loss(mode: str, reduction: str) -> None:
    def make() -> CompoundLoss:
        terms = {"cross_entropy": 0.5, "dice": 0.5, "mcc": 0.1}
        weights = [1.0, 2.0, 3.0, 4.0][: {"binary": 1, "multilabel": 3}.get(mode, 4)]
        return CompoundLoss(terms, mode, class_weights=weights, reduction=reduction)

    assert not waits_of(make, as_criterion, mode)


# Several losses


def three_losses() -> list[Any]:
    """Two losses that share a pass, and one that can't, between them."""
    region = {"region_classes": [1, 2], "bce_coef": 0.0}
    others = [nn.CrossEntropyLoss(), SegLoss("region", n_classes=4, **region)]
    return [SegLoss(n_classes=4), *others]


@pytest.mark.parametrize("to_gpu", [False, True])
@pytest.mark.parametrize("weights", [[1.0, 0.5, 0.0], [1.0, [0.0, 1.0], [1.0, 0.5]]])
def test_a_multi_loss(weights: list[Any], to_gpu: bool) -> None:
    epochs = iter([0, 0.25, 0.5])

    def call(loss: MultiLoss, batch: Batch) -> Tensor:
        values = {"gt_polygons_image": batch["gt_polygons_image"]}
        return loss({"seg": batch["seg"]}, values, epoch=next(epochs))[0]

    def make() -> MultiLoss:
        return MultiLoss(three_losses(), weights, epoch_thresholds=[0, 10])

    assert not waits_of(make, call, "multiclass", to_gpu=to_gpu)


@pytest.mark.parametrize("to_gpu", [False, True])
def test_a_multi_loss_whose_epoch_is_set_in_each_step(to_gpu: bool) -> None:
    epochs = iter([0, 1, 2])

    def call(loss: MultiLoss, batch: Batch) -> Tensor:
        loss.set_epoch(next(epochs))
        return as_loss(loss, batch)

    def make() -> MultiLoss:
        return MultiLoss([SegLoss(from_logits=True)], [[0.0, 1.0]], epoch_thresholds=[0, 10])

    assert not waits_of(make, call, to_gpu=to_gpu)


def test_a_combiner_of_losses() -> None:
    def make() -> MultiLoss:
        return MultiLoss(three_losses(), [1.0, 1.0, 1.0], combiner=torch.max)

    assert not waits_of(make, as_loss, "multiclass")


def test_learned_weights() -> None:
    def call(_: Any, batch: Batch) -> Tensor:
        with torch.device("cuda"):
            combiner = segloss.UncertaintyWeighting(3)
        value: Tensor = combiner(batch["seg"].mean((0, 2, 3)))
        return value

    assert not waits_of(lambda: None, call, "multilabel")


@pytest.mark.parametrize("weights", [None, [1, 0.5, 0]])
def test_deep_supervision(weights: list[float] | None) -> None:
    def call(loss: Any, batch: Batch) -> Tensor:
        scales = [batch["seg"], batch["seg"][..., ::2, ::2], batch["seg"][..., :3, :3]]
        value: Tensor = loss(scales, batch)[0]
        return value

    def make() -> DeepSupervision:
        return DeepSupervision(SegLoss(n_classes=4, class_weights=[1.0, 2, 3, 4]), weights)

    assert not waits_of(make, call, "multiclass")


WRAPPED: dict[str, tuple[str, Make]] = {
    "cross-entropy": ("multiclass", nn.CrossEntropyLoss),
    "binary cross-entropy": ("multilabel", nn.BCEWithLogitsLoss),
    "probabilities": ("multilabel", nn.BCELoss),
    "error": ("multilabel", nn.MSELoss),
    "compound": ("multiclass", lambda: CompoundLoss({"dice": 1.0, "boundary": 0.1}, "multiclass")),
    "top k": ("multiclass", lambda: segloss.TopKCrossEntropyLoss(ignore_index=255)),
    "top k, weighted": (
        "multilabel",
        lambda: segloss.TopKCrossEntropyLoss(
            "multilabel", class_weights=[1.0, 2, 3], label_smoothing=0.1
        ),
    ),
    "lovasz": ("multiclass", lambda: segloss.LovaszLoss(ignore_index=255, classes=[0, 2])),
    "lovasz per image": (
        "binary",
        lambda: segloss.LovaszLoss("binary", per_image=True, class_weights=[2.0]),
    ),
    "ohem": ("multiclass", lambda: segloss.OhemCrossEntropyLoss(min_kept=3, ignore_index=255)),
    "hard pixels": (
        "multiclass",
        lambda: segloss.HardPixelLoss({"focal": 1.0}, segloss.TopK(20), ignore_index=255),
    ),
    "cldice": ("multiclass", lambda: segloss.SoftClDiceLoss("multiclass", ignore_index=255)),
    "hausdorff, one side": (
        "multiclass",
        lambda: segloss.HausdorffDistanceLoss(
            "multiclass", predicted_distance=False, map_key="gt_distance_map", ignore_index=255
        ),
    ),
    "dice": ("binary", tutorial.DiceLoss),
    "dice and cross-entropy": ("binary", tutorial.DiceBCELoss),
}


@pytest.mark.parametrize("name", WRAPPED)
def test_a_wrapped_loss(name: str) -> None:
    kind, make = WRAPPED[name]
    selector = [0, 2] if kind == "multilabel" and not name.startswith("top") else None
    options = {"pred_channel_selector": selector, "gt_channel_selector": selector}
    assert not waits_of(lambda: LossWrapper(make(), **options), as_loss, kind)


# Mixup


LAMBDAS: dict[str, Callable[[], Any]] = {
    "a number": lambda: 0.3,
    "a tensor of the CPU": lambda: torch.tensor(0.3),
    "a tensor of the GPU": lambda: torch.full((1,), 0.3, device="cuda"),
}


@pytest.mark.parametrize("index", [None, "cpu", "cuda"])
@pytest.mark.parametrize("lam", LAMBDAS)
def test_mixup(lam: str, index: str | None) -> None:
    def call(loss: Any, batch: Batch) -> Tensor:
        target = batch["gt_polygons_image"]
        mixed = {"mixup_y_a": target, "mixup_y_b": target, "mixup_lam": LAMBDAS[lam]()}
        if index is not None:
            mixed["mixup_index"] = torch.arange(2, device=index)
        return as_loss(loss, batch, **mixed)

    options = {"n_classes": 4, "use_mixup": True}
    assert not waits_of(lambda: SegLoss(**options), call, "multiclass")
    assert not waits_of(
        lambda: MultiLoss([SegLoss(**options)], [1.0]), call, "multiclass", to_gpu=True
    )


@pytest.mark.parametrize(
    "mix", [segloss.MixUp(), segloss.MixUp(per_sample=True), segloss.CutMix()], ids=repr
)
def test_images_that_are_mixed(mix: segloss.MixUp | segloss.CutMix) -> None:
    with a_gpu():
        taken, images = batch("multiclass"), torch.empty(2, 3, 8, 8, device="cuda")
        with Waits() as waits:
            mixed, _ = mix(images, taken)
        assert mixed.shape == images.shape
    assert not waits.found


# Frame fields


FIELD_LOSSES: dict[str, Make] = {
    "align": segloss.CrossfieldAlignLoss,
    "align90": segloss.CrossfieldAlign90Loss,
    "smooth": segloss.CrossfieldSmoothLoss,
    "seg_crossfield": segloss.SegCrossfieldLoss,
    "seg_edge_interior": segloss.SegEdgeInteriorLoss,
}


def fields(seg: Tensor) -> tuple[Batch, Batch]:
    """Predictions and truths of frame fields; `seg` has 3 channels."""
    one = torch.empty(2, 1, 8, 8, device="cuda")
    pred = {"seg": seg, "crossfield": torch.cat([seg, seg[:, :1]], 1)}
    masks, frequency = torch.empty(2, 3, 8, 8, device="cuda"), torch.empty(2, 3, device="cuda")
    truths = {"gt_crossfield_angle": one, "distances": one, "sizes": one, "class_freq": frequency}
    return pred, {"gt_polygons_image": masks, **truths}


@pytest.mark.parametrize("name", FIELD_LOSSES)
def test_a_loss_of_frame_fields(name: str) -> None:
    before = [segloss.ComputeSegGrads(), segloss.compute_gt_field, segloss.SegLossWeights()]

    def make() -> MultiLoss:
        return MultiLoss([FIELD_LOSSES[name]()], [1.0], pre_processes=before)

    def call(loss: Any, batch: Batch) -> Tensor:
        value: Tensor = loss(*fields(batch["seg"]))[0]
        return value

    assert not waits_of(make, call, "multilabel")


# Wrappers of other libraries, and other losses


@pytest.mark.parametrize("items", [None, 100, "cpu", "cuda"])
def test_hugging_faces_trainer(items: Any) -> None:
    huggingface = pytest.importorskip("segloss.training.huggingface")

    def call(loss: Any, batch: Batch) -> Tensor:
        count = torch.full((), 100, device=items) if isinstance(items, str) else items
        return loss({"logits": batch["seg"]}, batch["gt_polygons_image"], count)

    def make() -> Any:
        return huggingface.as_compute_loss_func(SegLoss(n_classes=4))

    assert not waits_of(make, call, "multiclass")


OF_STATES: dict[str, Make] = {
    "FiringRateLoss": nn4n.FiringRateLoss,
    "FiringRateDistLoss": lambda: nn4n.FiringRateDistLoss("max_ad"),
    "RNNConnectivityLoss": lambda: nn4n.RNNConnectivityLoss("hidden"),
    "StatePredictionLoss": nn4n.StatePredictionLoss,
    "EntropyLoss": nn4n.EntropyLoss,
    "HebbianLoss": nn4n.HebbianLoss,
}


@pytest.mark.parametrize("name", OF_STATES)
def test_a_loss_of_activity(name: str) -> None:
    def call(loss: Any, batch: Batch) -> Tensor:
        states = batch["seg"].flatten(2)
        if name == "RNNConnectivityLoss":
            return loss({"hidden": states})
        more = [torch.empty(64, 64, device="cuda")] if name == "HebbianLoss" else []
        return loss(states, *more)

    assert not waits_of(OF_STATES[name], call, "multilabel")


def test_every_loss_is_here() -> None:
    of_pixels = {"HardPixelLoss", "LovaszLoss", "OhemCrossEntropyLoss", "TopKCrossEntropyLoss"}
    of_shapes = {"HausdorffDistanceLoss", "SoftClDiceLoss"}
    of_others = {"Loss", "SegLoss", "CompoundLoss", "MultiLoss", *of_pixels, *of_shapes}
    of_terms = {loss.__name__ for loss in TERM_LOSSES.values()}
    of_fields = {make.__name__ for make in FIELD_LOSSES.values()}
    named = {name for name in dir(segloss) if name.endswith("Loss")}
    assert named == of_others | of_terms | of_fields
    assert set(nn4n.__all__) == {"CompositeLoss", *OF_STATES}


# What travels


def test_numbers_of_a_module_travel_when_they_have_changed() -> None:
    weights, device = torch.tensor([1.0, 2.0]), torch.device("meta")
    there = buffer_on_device(weights, device)
    assert buffer_on_device(weights, device) is there
    weights[0] = 3.0
    assert buffer_on_device(weights, device) is not there
    assert buffer_on_device(there, device) is there


def test_a_norm_on_the_gpu_is_read_when_it_has_changed() -> None:
    loss, found = SegLoss(), []
    with a_gpu(loss):
        for has_changed in (False, False, True, False):
            if has_changed:
                loss.norm.fill_(2.0)
            with Waits() as waits:
                as_loss(loss, batch("binary"))
            found.append(len(waits.found))
    first, *later = found
    assert first > 0
    assert later == [0, 1, 0]
