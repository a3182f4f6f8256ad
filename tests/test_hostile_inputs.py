"""Wrong inputs of every public entry point: each has one error that names what is wrong."""

from __future__ import annotations

import copy
import math
import types
from collections.abc import Callable
from typing import Any, NamedTuple

import brain_tissue
import building_footprints
import numpy as np
import pytest
import torch
from torch import nn

import segloss
from segloss import (
    BoundaryLoss,
    ComponentMap,
    ComputeSegGrads,
    CrossfieldAlign90Loss,
    CrossfieldAlignLoss,
    CrossfieldSmoothLoss,
    CutMix,
    DeepSupervision,
    DiceLoss,
    DistanceMap,
    FocalLoss,
    HardPixelLoss,
    HausdorffDistanceLoss,
    Loss,
    LossWrapper,
    LovaszLoss,
    MissingKeyError,
    MixUp,
    MultiLoss,
    OhemCrossEntropyLoss,
    SegCrossfieldLoss,
    SegEdgeInteriorLoss,
    SegLoss,
    SegLossWeights,
    SignedDistanceMap,
    SkeletonMap,
    SkeletonRecallLoss,
    SoftClDiceLoss,
    Threshold,
    TopK,
    TopKCrossEntropyLoss,
    UncertaintyWeighting,
    UNetWeightMap,
    assert_loss,
    build_compound_loss_from_config,
    build_loss,
    build_loss_from_config,
    check_loss,
    compute_gt_field,
    compute_norms,
    get_loss,
    list_losses,
    per_class,
    register_loss,
    soft_confusion,
    terms,
)
from segloss import functional as F
from segloss.compat import nn4n, perceptrain, tutorial
from segloss.compat.tutorial import DiceBCELoss
from segloss.losses.loss import Criterion
from segloss.losses.term_losses import TERM_LOSSES, TermLoss
from segloss.sums import MapSum
from segloss.tools.check import LossReport
from segloss.training import huggingface, lightning

Words = tuple[str, ...]
Call = Callable[..., Any]


class Wrong(NamedTuple):
    """A call, the error that it must raise, and what the message must contain."""

    call: Call
    kind: type[Exception]
    words: Words


def logits(classes: int = 3, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.linspace(-2, 2, 2 * classes * 16).reshape(2, classes, 4, 4).to(dtype)


def labels(classes: int = 3) -> torch.Tensor:
    return torch.arange(32).reshape(2, 4, 4) % classes


def masks(channels: int = 1) -> torch.Tensor:
    return (torch.arange(2 * channels * 16).reshape(2, channels, 4, 4) % 2).float()


def put(tensor: torch.Tensor, value: float) -> torch.Tensor:
    """The tensor with one value replaced."""
    tensor = tensor.clone()
    tensor.flatten()[5] = value
    return tensor


def sparse(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.to_sparse()


NAN, INF = math.nan, math.inf

# Batches of SegLoss with three classes: what differs from a right one

SEG, TRUTH, WEIGHTS = "pred_batch['seg']", "gt_batch['gt_polygons_image']", "gt_batch['seg_loss_w"
ANNOTATED = "gt_batch['annotated']"
MIXED = {"mixup_y_a": labels(), "mixup_y_b": labels(), "mixup_lam": 0.5}

MAPS = {"gt_distance_map": logits(), "gt_skeleton": logits().sigmoid()}

BATCHES: dict[str, tuple[dict[str, Any], type[Exception], Words]] = {
    "no prediction": ({"seg": None}, MissingKeyError, ("pred_batch", "'seg'", "its keys are")),
    "no target": ({"gt": None}, MissingKeyError, ("gt_batch", "'gt_polygons_image'", "keys")),
    "array prediction": ({"seg": np.zeros((2, 3, 4, 4))}, TypeError, (SEG, "tensor", "ndarray")),
    "list prediction": ({"seg": [[1.0]]}, TypeError, (SEG, "tensor", "list")),
    "array target": ({"gt": np.zeros((2, 4, 4))}, TypeError, (TRUTH, "tensor", "ndarray")),
    "text target": ({"gt": "mask"}, TypeError, (TRUTH, "tensor", "str")),
    "array weights": ({"w": np.ones((2, 1, 4, 4))}, TypeError, (WEIGHTS, "tensor", "ndarray")),
    "complex prediction": (
        {"seg": logits().to(torch.complex64)},
        TypeError,
        (SEG, "floating-point", "complex64"),
    ),
    "bool prediction": ({"seg": logits() > 0}, TypeError, (SEG, "floating-point", "bool")),
    "int8 prediction": ({"seg": logits().to(torch.int8)}, TypeError, (SEG, "floating", "int8")),
    "sparse prediction": ({"seg": sparse(logits())}, TypeError, (SEG, "dense", "sparse")),
    "quantised prediction": (
        {"seg": torch.quantize_per_tensor(logits(), 0.1, 0, torch.qint8)},
        TypeError,
        (SEG, "floating-point", "qint8"),
    ),
    "float8 prediction": (
        {"seg": logits().to(torch.float8_e4m3fn)},
        TypeError,
        (SEG, "float16", "float8_e4m3fn"),
    ),
    "scalar prediction": ({"seg": torch.tensor(1.0)}, ValueError, (SEG, "(N, C, *spatial)", "()")),
    "prediction without pixels": ({"seg": logits()[..., 0, 0]}, ValueError, (SEG, "(2, 3)")),
    "prediction of 7 dimensions": (
        {"seg": logits()[..., None, None, None]},
        ValueError,
        (SEG, "1 to 3 spatial", "4, 4, 1, 1, 1)"),
    ),
    "another number of channels": (
        {"seg": logits(4)},
        ValueError,
        (SEG, "expected 3", "got 4", "n_classes"),
    ),
    "one channel": ({"seg": logits(1)}, ValueError, (SEG, "expected 3", "got 1", "sigmoid")),
    "no channel": ({"seg": logits()[:, :0]}, ValueError, (SEG, "expected 3", "got 0")),
    "complex target": (
        {"gt": labels().to(torch.complex64)},
        TypeError,
        (TRUTH, "real and dense", "complex64"),
    ),
    "sparse target": ({"gt": sparse(labels())}, TypeError, (TRUTH, "real and dense", "sparse")),
    "target with a gradient": (
        {"gt": labels().float().requires_grad_()},
        TypeError,
        (TRUTH, "require grad", ".detach()"),
    ),
    "target elsewhere": (
        {"gt": labels().to("meta")},
        ValueError,
        (TRUTH, "device", "cpu", "meta", ".to("),
    ),
    "target of other pixels": (
        {"gt": labels()[:, :3]},
        ValueError,
        (TRUTH, "(2, 3, 4, 4)", "got (2, 3, 4)"),
    ),
    "target of other samples": ({"gt": labels()[:1]}, ValueError, (TRUTH, "got (1, 4, 4)")),
    "target of two channels": (
        {"gt": masks(2)},
        ValueError,
        (TRUTH, "got (2, 2, 4, 4)", "the background's channel"),
    ),
    "label above": ({"gt": put(labels(), 3)}, ValueError, (TRUTH, "label 3", "0 to 2")),
    "label below": ({"gt": put(labels(), -1)}, ValueError, (TRUTH, "label -1", "ignore_index=-1")),
    "label 255": ({"gt": put(labels(), 255)}, ValueError, (TRUTH, "label 255", "ignore_index=255")),
    "NaN label": ({"gt": put(labels().float(), NAN)}, ValueError, (TRUTH, "label nan", "0 to 2")),
    "infinite label": ({"gt": put(labels().float(), INF)}, ValueError, (TRUTH, "label inf")),
    "fraction of a label": (
        {"gt": put(labels().float(), 0.5)},
        ValueError,
        (TRUTH, "whole numbers", "fractions"),
    ),
    "dense target above": ({"gt": put(masks(3), 1.5)}, ValueError, (TRUTH, "[0, 1]", "1.5")),
    "dense target of 255": (
        {"gt": masks(3) * 255},
        ValueError,
        (TRUTH, "[0, 1]", "255", "/ 255"),
    ),
    "dense NaN": ({"gt": put(masks(3), NAN)}, ValueError, (TRUTH, "[0, 1]", "nan")),
    "negative weight": ({"w": put(masks(), -1)}, ValueError, (WEIGHTS, "at least 0", "-1")),
    "NaN weight": ({"w": put(masks(), NAN)}, ValueError, (WEIGHTS, "finite", "nan")),
    "infinite weight": ({"w": put(masks(), INF)}, ValueError, (WEIGHTS, "finite", "inf")),
    "weights of two channels": ({"w": masks(2)}, ValueError, (WEIGHTS, "(2, 1, 4, 4)", "(2, 2, 4")),
    "weights of classes": ({"w": masks(3)}, ValueError, (WEIGHTS, "(2, 1, 4, 4)", "(2, 3, 4, 4)")),
    "weights of other pixels": ({"w": masks()[..., 1:]}, ValueError, (WEIGHTS, "got (2, 1, 4, 3)")),
    "weights with a gradient": (
        {"w": masks().requires_grad_()},
        TypeError,
        (WEIGHTS, "require grad", ".detach()"),
    ),
    "weights elsewhere": ({"w": masks().to("meta")}, ValueError, (WEIGHTS, "device", "meta")),
    "sparse weights": ({"w": sparse(masks())}, TypeError, (WEIGHTS, "dense", "sparse")),
    "complex weights": (
        {"w": masks().to(torch.complex64)},
        TypeError,
        (WEIGHTS, "real", "complex"),
    ),
    "annotated of numbers": (
        {"annotated": torch.ones(2, 3)},
        TypeError,
        (ANNOTATED, "booleans", "float32", ".bool()"),
    ),
    "annotated of pixels": (
        {"annotated": torch.ones(2, 3, 4, 4, dtype=torch.bool)},
        ValueError,
        (ANNOTATED, "(2, 3)", "(2, 3, 4, 4)"),
    ),
    "annotated of other classes": (
        {"annotated": torch.ones(2, 4, dtype=torch.bool)},
        ValueError,
        (ANNOTATED, "(2, 3)", "(2, 4)"),
    ),
    "annotated list": ({"annotated": [True]}, TypeError, (ANNOTATED, "tensor", "list")),
    "annotated elsewhere": (
        {"annotated": torch.ones(2, 3, dtype=torch.bool, device="meta")},
        ValueError,
        (ANNOTATED, "device", "meta"),
    ),
    "annotated with cross-entropy": (
        {"annotated": torch.ones(2, 3, dtype=torch.bool)},
        ValueError,
        (ANNOTATED, "cross_entropy", "merge_unannotated=True"),
    ),
    "mixup that is not asked for": (MIXED, ValueError, ("gt_batch", "mixup_lam", "use_mixup=True")),
    "mixup without lambda": (
        {**MIXED, "mixup_lam": None},
        MissingKeyError,
        ("gt_batch", "all the keys of mixup", "mixup_lam missing"),
    ),
    "mixup without a partner": (
        {**MIXED, "mixup_y_b": None},
        MissingKeyError,
        ("gt_batch", "mixup_y_b missing"),
    ),
    "lambda above 1": ({**MIXED, "mixup_lam": 1.5}, ValueError, ("gt_batch['mixup_lam']", "1.5")),
    "NaN lambda": ({**MIXED, "mixup_lam": NAN}, ValueError, ("gt_batch['mixup_lam']", "nan")),
    "lambdas of other samples": (
        {**MIXED, "mixup_lam": torch.tensor([0.5, 0.5, 0.5])},
        ValueError,
        ("gt_batch['mixup_lam']", "each of the 2 samples", "(3,)"),
    ),
    "tensor lambda below 0": (
        {**MIXED, "mixup_lam": torch.tensor(-0.1)},
        ValueError,
        ("gt_batch['mixup_lam']", "[0, 1]", "-0.1"),
    ),
    "lambda of text": (
        {**MIXED, "mixup_lam": "half"},
        TypeError,
        ("gt_batch['mixup_lam']", "half"),
    ),
    "complex lambda": (
        {**MIXED, "mixup_lam": torch.tensor(0.5 + 1j)},
        TypeError,
        ("gt_batch['mixup_lam']", "number", "complex"),
    ),
}

MIXUP_BATCHES: dict[str, tuple[dict[str, Any], type[Exception], Words]] = {
    "partners of other pixels": (
        {**MIXED, "mixup_y_b": labels()[:, :3]},
        ValueError,
        (TRUTH, "got (2, 3, 4)"),
    ),
    "partners that are no tensor": (
        {**MIXED, "mixup_y_b": [[1]]},
        TypeError,
        (TRUTH, "tensor", "list"),
    ),
    "partners of a wrong label": (
        {**MIXED, "mixup_y_a": put(labels(), 9)},
        ValueError,
        ("label 9",),
    ),
    "index of text": (
        {**MIXED, "mixup_index": "01"},
        TypeError,
        ("gt_batch['mixup_index']", "str"),
    ),
    "index of fractions": (
        {**MIXED, "mixup_index": torch.tensor([0.0, 1.0])},
        TypeError,
        ("gt_batch['mixup_index']", "integers", "float32"),
    ),
    "index out of range": (
        {**MIXED, "mixup_index": torch.tensor([0, 2])},
        ValueError,
        ("gt_batch['mixup_index']", "0 to 1"),
    ),
    "index of other samples": (
        {**MIXED, "mixup_index": torch.tensor([0, 1, 2])},
        ValueError,
        ("gt_batch['mixup_index']", "(2,)", "(3,)"),
    ),
}


def batches(changes: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A right batch for three classes, with changes; None leaves out."""
    entries = {"seg": logits(), "gt": labels(), **changes}
    keys = {"gt": "gt_polygons_image", "w": "seg_loss_weights"}
    pred = {key: entries.pop(key) for key in ("seg", "crossfield") if key in entries}
    gt = {keys.get(key, key): value for key, value in entries.items()}
    return tuple({k: v for k, v in b.items() if v is not None} for b in (pred, gt))


# Losses with a state, and what of it must not change


def ready(loss: Loss | MultiLoss) -> Any:
    """The loss after a batch, with gradients at its parameters."""
    if isinstance(loss, MultiLoss):
        loss.set_epoch(3)
    loss.update_norm(*batches({}), nums=2)
    for parameter in loss.parameters():
        parameter.grad = torch.ones_like(parameter)
    return loss


def state(thing: Any) -> list[Any]:
    """All that a call might change, as it is now."""
    if not isinstance(thing, nn.Module):
        return [copy.deepcopy(vars(thing))] if hasattr(thing, "__dict__") else []
    entries = sorted(thing.state_dict().items())
    tensors = [(key, v.tolist() if isinstance(v, torch.Tensor) else v) for key, v in entries]
    grads = [None if p.grad is None else p.grad.tolist() for p in thing.parameters()]
    infos = [dict(m.extra_info) for m in thing.modules() if isinstance(m, Loss)]
    knows = [m._knows_weights for m in thing.modules() if isinstance(m, MultiLoss)]
    return [repr(part) for part in (tensors, grads, infos, knows)]


class Learned(nn.Module):
    """A loss with a parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, prediction, target):
        return self.scale * prediction.square().mean()


def several(**options: Any) -> MultiLoss:
    learned = LossWrapper(Learned(), name="learned")
    seg = SegLoss(n_classes=3, **options)
    return MultiLoss([seg, learned], [1.0, [0.0, 1.0]], [0, 10])


STATEFUL: dict[str, Callable[[], Any]] = {
    "SegLoss": lambda: SegLoss(n_classes=3),
    "MultiLoss": several,
    "DeepSupervision": lambda: DeepSupervision(SegLoss(n_classes=3)),
}

HOW: dict[str, Call] = {
    "forward": lambda loss, pred, gt: loss(pred, gt),
    "update_norm": lambda loss, pred, gt: loss.update_norm(pred, gt, 2),
}


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("made", STATEFUL)
@pytest.mark.parametrize("name", BATCHES)
def test_wrong_batches_are_refused_and_change_nothing(name: str, made: str, how: str) -> None:
    changes, kind, words = BATCHES[name]
    loss = ready(STATEFUL[made]())
    check_refused(lambda: HOW[how](loss, *batches(changes)), loss, kind, words, made, name)


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("name", MIXUP_BATCHES)
def test_wrong_mixed_batches_are_refused_and_change_nothing(name: str, how: str) -> None:
    changes, kind, words = MIXUP_BATCHES[name]
    for loss in (SegLoss(n_classes=3, use_mixup=True), several(use_mixup=True)):
        if isinstance(loss, MultiLoss):
            loss.loss_funcs[1].use_mixup = True
        ready(loss)
        check_refused(lambda loss=loss: HOW[how](loss, *batches(changes)), loss, kind, words)


def check_refused(call: Call, thing: Any, kind: type[Exception], words: Words, *where: str) -> None:
    before = state(thing)
    with pytest.raises(kind) as caught:
        call()
    message = str(caught.value)
    assert type(caught.value) in (kind, ValueError, TypeError, MissingKeyError)
    for word in words:
        assert word in message, (*where, word, message)
    assert state(thing) == before


# All other entry points

P, T = logits(1), masks()
PROBABILITIES = torch.full((2, 1, 4, 4), 0.5)
FIELD = torch.zeros(2, 4, 4, 4)
FRAME = {"gt_polygons_image": masks(3), "gt_crossfield_angle": torch.zeros(2, 1, 4, 4)}
FREQUENT = {"gt_polygons_image": masks(3), "class_freq": torch.full((2, 3), 0.1)}


def returning(value: Any) -> Call:
    return lambda *_: value


def with_norm_of_0() -> LossWrapper:
    loss = LossWrapper(nn.L1Loss(), name="n")
    loss.update_norm(P, P, 2)
    return loss


def multi(**options: Any) -> MultiLoss:
    return MultiLoss([SegLoss(n_classes=3)], [1.0], **options)


def on_batch(loss: Any) -> Call:
    return lambda: loss(*batches({}))


def frame(loss: Any, pred: dict[str, Any], gt: dict[str, Any]) -> Call:
    return lambda: loss({"crossfield": FIELD, **pred}, {**FRAME, **gt})


def edges(pred: dict[str, Any]) -> Call:
    seg = torch.full((2, 2, 4, 4), 0.5)
    added, _ = ComputeSegGrads()({"seg": seg}, {})
    return lambda: SegEdgeInteriorLoss("e")({**added, **pred}, {})


def frequent(gt: dict[str, Any], **options: Any) -> Call:
    weights = SegLossWeights(**{"use_dist": False, "use_size": False, **options})
    return lambda: weights({}, {**FREQUENT, **gt})


def composite(inputs: Any, **entry: Any) -> Call:
    return lambda: nn4n.CompositeLoss({"a": {"type": "mse", **entry}})(inputs)


def grad_weighted(metrics: Any) -> Call:
    model = nn.Linear(1, 1)
    loss = perceptrain.GradWeightedLoss({"a": 1}, returning((None, metrics)), None, {"a": 1.0}, "a")
    return lambda: loss({"a": 1}, model)


def other_state() -> Any:
    return MultiLoss([LossWrapper(nn.L1Loss(), name="l1")], [1.0]).state_dict()


def example(module: Any, *arguments: str) -> Call:
    return lambda: module.main(list(arguments))


TERM_LOSS_ROWS: dict[str, tuple[Callable[[Any], Call], type[Exception], Words]] = {
    "mode": (lambda loss: lambda: loss("multi"), ValueError, ("mode", "'binary'", "'multi'")),
    "parameter": (lambda loss: lambda: loss(gama=1), TypeError, ("gama", "unexpected keyword")),
    "from_logits": (
        lambda loss: lambda: loss(from_logits=1),
        TypeError,
        ("from_logits", "1 (int)"),
    ),
    "ignore_index": (
        lambda loss: lambda: loss(ignore_index=0.5),
        TypeError,
        ("ignore_index", "0.5"),
    ),
    "reduction": (lambda loss: lambda: loss(reduction="max"), ValueError, ("reduction", "'max'")),
    "channels": (
        lambda loss: lambda: loss("binary")(logits(), labels()),
        ValueError,
        ("prediction", "3 channels", "'binary'"),
    ),
    "array": (
        lambda loss: lambda: loss("multiclass")(logits().numpy(), labels()),
        TypeError,
        ("prediction", "tensor", "ndarray"),
    ),
    "label": (
        lambda loss: lambda: loss("multiclass")(logits(), labels() + 5, maps=MAPS),
        ValueError,
        ("target", "0 to 2", "7"),
    ),
    "sizes": (
        lambda loss: lambda: loss("multiclass")(logits(), labels()[:, :2], maps=MAPS),
        ValueError,
        ("target", "(2, 3, 4, 4)", "(2, 2, 4)"),
    ),
    "logits for probabilities": (
        lambda loss: lambda: loss("multiclass", from_logits=False)(logits(), labels(), maps=MAPS),
        ValueError,
        ("prediction", "[0, 1]", "from_logits=True"),
    ),
    "weights": (
        lambda loss: (
            lambda: loss("multiclass")(logits(), labels(), pixel_weights=-masks(), maps=MAPS)
        ),
        ValueError,
        ("pixel_weights", "at least 0", "-1"),
    ),
}
"""What every term's own loss refuses."""

WRONG: dict[str, Wrong] = {
    # Loss, LossWrapper
    "Loss without compute": Wrong(
        lambda: Loss("x")(P, T), NotImplementedError, ("Loss must define compute()",)
    ),
    "pred_batch of a list": Wrong(
        lambda: SegLoss()([P], T), TypeError, ("pred_batch", "mapping", "list")
    ),
    "gt_batch of None": Wrong(lambda: SegLoss()(P, None), TypeError, ("gt_batch", "NoneType")),
    "wrapped: no scalar": Wrong(
        lambda: LossWrapper(nn.MSELoss(reduction="none"))(P, T),
        ValueError,
        ("'MSELoss'", "scalar", "(2, 1, 4, 4)", "reduction"),
    ),
    "wrapped: a number": Wrong(
        lambda: LossWrapper(returning(1.0), name="n")(P, T), TypeError, ("'n'", "tensor", "float")
    ),
    "wrapped: None": Wrong(
        lambda: LossWrapper(returning(None), name="n")(P, T), TypeError, ("'n'", "NoneType")
    ),
    "wrapped: complex": Wrong(
        lambda: LossWrapper(returning(torch.tensor(1j)), name="n")(P, T),
        TypeError,
        ("'n'", "floating-point", "complex"),
    ),
    "wrapped: whole numbers": Wrong(
        lambda: LossWrapper(returning(torch.tensor(1)), name="n")(P, T),
        TypeError,
        ("'n'", "floating-point", "int64"),
    ),
    "wrapped: other shapes": Wrong(
        lambda: LossWrapper(nn.L1Loss())(P, T[:1]),
        ValueError,
        ("target", "prediction", "(2, 1", "(1, 1"),
    ),
    "wrapped: selector": Wrong(
        lambda: LossWrapper(nn.L1Loss(), gt_channel_selector=3)(P, T),
        ValueError,
        ("gt_channel_selector=3", "target", "1 channel"),
    ),
    "wrapped: target elsewhere": Wrong(
        lambda: LossWrapper(nn.L1Loss())(P, T.to("meta")), ValueError, ("target", "device", "meta")
    ),
    "diagnosis of a loss that says nothing": Wrong(
        lambda: segloss.diagnose(nn.L1Loss(), [T]), TypeError, ("loss", "SegLoss", "L1Loss()")
    ),
    "wrapped: a class": Wrong(
        lambda: LossWrapper(nn.L1Loss), TypeError, ("loss_func", "L1Loss()", "instance")
    ),
    "wrapped: cross-entropy of fractions": Wrong(
        lambda: LossWrapper(nn.CrossEntropyLoss())(logits(), put(labels().float(), 0.5)),
        ValueError,
        ("target", "whole numbers", "fractions"),
    ),
    "wrapped: cross-entropy of other pixels": Wrong(
        lambda: LossWrapper(nn.CrossEntropyLoss())(logits(), labels()[:, :3]),
        ValueError,
        ("target", "(2, 4, 4)", "(2, 3, 4)"),
    ),
    "wrapped: cross-entropy of a wrong label": Wrong(
        lambda: LossWrapper(nn.CrossEntropyLoss())(logits(), put(labels(), 7)),
        ValueError,
        ("target", "label 7", "0 to 2"),
    ),
    "wrapped: logits for BCELoss": Wrong(
        lambda: LossWrapper(nn.BCELoss())(4 * P, T), ValueError, ("prediction", "[0, 1]", "Logits")
    ),
    "wrapped: labels for BCELoss": Wrong(
        lambda: LossWrapper(nn.BCELoss())(PROBABILITIES, 2 * T),
        ValueError,
        ("target", "[0, 1]", "2"),
    ),
    "wrapped: complex target": Wrong(
        lambda: LossWrapper(nn.L1Loss())(P, T.to(torch.complex64)),
        TypeError,
        ("target", "complex64"),
    ),
    "wrapped: sparse prediction": Wrong(
        lambda: LossWrapper(nn.L1Loss())(sparse(P), T), TypeError, ("prediction", "dense", "sparse")
    ),
    # norms
    "norm of no samples": Wrong(lambda: SegLoss().update_norm(P, T, 0), ValueError, ("nums", "0")),
    "norm of NaN samples": Wrong(lambda: SegLoss().update_norm(P, T, NAN), ValueError, ("nums",)),
    "norm of text": Wrong(lambda: SegLoss().update_norm(P, T, "2"), TypeError, ("nums", "'2'")),
    "norm of a loss of 0": Wrong(
        lambda: compute_norms(LossWrapper(nn.L1Loss(), name="n"), [(P, P)]),
        ValueError,
        ("norm of 'n'", "above 1e-09", "normalize=False"),
    ),
    "use of a norm of 0": Wrong(
        lambda: with_norm_of_0()(P, T), ValueError, ("norm of 'n'", "above 1e-09", "got 0")
    ),
    "norm over no pixel": Wrong(
        lambda: compute_norms(SegLoss(ignore_index=2), [(P, labels(1)[:, None] + 2)]),
        ValueError,
        ("norm of 'seg'", "pixels that count", "ignored"),
    ),
    "norm of a NaN loss": Wrong(
        lambda: LossWrapper(returning(torch.tensor(NAN)), name="n").update_norm(P, T, 1),
        ValueError,
        ("norm of 'n'", "finite", "the loss nan"),
    ),
    "world size of text": Wrong(lambda: SegLoss().sync("2"), TypeError, ("world_size", "'2'")),
    "world size of 0": Wrong(lambda: SegLoss().sync(0), ValueError, ("world_size", "at least 1")),
    "normalize of text": Wrong(
        lambda: SegLoss()(P, T, normalize="no"), TypeError, ("normalize", "'no'")
    ),
    "criterion of a module": Wrong(
        lambda: Criterion(nn.L1Loss()), TypeError, ("loss", "MultiLoss", "L1Loss()")
    ),
    "criterion without a target": Wrong(
        lambda: SegLoss().as_criterion()(P, None), TypeError, ("gt_batch", "NoneType")
    ),
    # SegLoss
    "probabilities above 1": Wrong(
        lambda: SegLoss()(P, T),
        ValueError,
        ("prediction", "probabilities", "[0, 1]", "from_logits=True"),
    ),
    "NaN probabilities": Wrong(
        lambda: SegLoss()(put(PROBABILITIES, NAN), T), ValueError, ("prediction", "[0, 1]", "nan")
    ),
    "prediction's selector": Wrong(
        lambda: SegLoss(pred_channel_selector=1)(PROBABILITIES, T),
        ValueError,
        ("pred_channel_selector=1", "prediction", "1 channel"),
    ),
    "target's selector": Wrong(
        lambda: SegLoss(gt_channel_selector="1:4")(PROBABILITIES, T),
        ValueError,
        ("gt_channel_selector", "target", "1 channel"),
    ),
    "target's selector without channels": Wrong(
        lambda: SegLoss(gt_channel_selector=0)(PROBABILITIES, T[:, 0]),
        ValueError,
        ("gt_channel_selector=0", "target", "(2, 4, 4)"),
    ),
    "selector of bools of another length": Wrong(
        lambda: SegLoss(gt_channel_selector=[True, False])(PROBABILITIES, T),
        ValueError,
        ("gt_channel_selector=[True, False]", "1 channel"),
    ),
    "weights' selector": Wrong(
        lambda: SegLoss(gt_channel_selector=0)(
            {"seg": PROBABILITIES}, {"gt_polygons_image": T, "seg_loss_weights": masks(2)}
        ),
        ValueError,
        (WEIGHTS, "(2, 2, 4, 4)", "(2, 1, 4, 4)"),
    ),
    "scalar weights with a selector": Wrong(
        lambda: SegLoss(gt_channel_selector=0)(
            {"seg": PROBABILITIES}, {"gt_polygons_image": T, "seg_loss_weights": torch.tensor(1.0)}
        ),
        ValueError,
        (WEIGHTS, "got ()"),
    ),
    "map of a term missing": Wrong(
        lambda: SegLoss(extra_terms={"boundary": 1})(
            {"seg": P.sigmoid()}, {"gt_polygons_image": T}
        ),
        MissingKeyError,
        ("gt_batch", "'gt_distance_map'", "its keys are"),
    ),
    "map of a bare target": Wrong(
        lambda: SegLoss(extra_terms={"boundary": 1})(P.sigmoid(), T),
        TypeError,
        ("gt_batch", "mapping", "gt_distance_map"),
    ),
    "map of other pixels": Wrong(
        lambda: SegLoss(extra_terms={"boundary": 1})(
            P.sigmoid(), {"gt_polygons_image": T, "gt_distance_map": T[..., 1:]}
        ),
        ValueError,
        ("gt_distance_map", "(2, 1, 4, 4)", "(2, 1, 4, 3)"),
    ),
    "NaN map": Wrong(
        lambda: SegLoss(extra_terms={"boundary": 1})(
            P.sigmoid(), {"gt_polygons_image": T, "gt_distance_map": put(T, NAN)}
        ),
        ValueError,
        ("gt_distance_map", "finite", "NaN"),
    ),
    "class weights of other classes": Wrong(
        lambda: SegLoss(class_weights=[1, 2])(PROBABILITIES, T),
        ValueError,
        ("class_weights", "expected 1", "got 2", "pos_weight"),
    ),
    "classes out of range": Wrong(
        lambda: SegLoss(region_classes=[1])(PROBABILITIES, T),
        ValueError,
        ("region_classes=[1]", "1 classes"),
    ),
    "everything merged and smoothed": Wrong(
        lambda: SegLoss(
            n_classes=3, merge_unannotated=True, use_label_smooth=True, smooth_factor=0.1
        ),
        ValueError,
        ("merge_unannotated", "smooth_factor"),
    ),
    "no term": Wrong(
        lambda: SegLoss(bce_coef=0, dice_coef=0), ValueError, ("bce_coef", "dice_coef", "above 0")
    ),
    "unknown term": Wrong(
        lambda: SegLoss(extra_terms={"jacard": 1}), ValueError, ("extra_terms", "'jaccard'")
    ),
    "term with an unknown parameter": Wrong(
        lambda: SegLoss(extra_terms={"a": {"term": "dice", "coef": 1, "smoth": 1}}),
        ValueError,
        ("extra_terms['a'].smoth", "'smooth'"),
    ),
    "unhashable term": Wrong(
        lambda: SegLoss(extra_terms={"a": {"term": [], "coef": 1}}),
        ValueError,
        ("extra_terms", "dice", "[]"),
    ),
    "term of a name with a dot": Wrong(
        lambda: SegLoss(extra_terms={"a.b": {"term": "dice", "coef": 1}}),
        ValueError,
        ("extra_terms", "'a.b'", "dot"),
    ),
    # MultiLoss
    "no losses": Wrong(lambda: MultiLoss([], []), ValueError, ("loss_funcs", "at least one")),
    "losses of one name": Wrong(
        lambda: MultiLoss([nn.L1Loss(), nn.L1Loss()], [1, 1]), ValueError, ("unique", "L1Loss")
    ),
    "weights of other losses": Wrong(
        lambda: MultiLoss([nn.L1Loss()], [1, 1]), ValueError, ("weights", "expected 1", "got 2")
    ),
    "loss of a class": Wrong(
        lambda: MultiLoss([nn.L1Loss], [1]), TypeError, ("L1Loss()", "loss_f")
    ),
    "nested MultiLoss": Wrong(
        lambda: MultiLoss([multi()], [1]), TypeError, ("loss_funcs", "Multi")
    ),
    "schedule without an epoch": Wrong(
        lambda: MultiLoss([nn.L1Loss()], [[0, 1]], [0, 9])(P, T),
        ValueError,
        ("epoch", "set_epoch(epoch)"),
    ),
    "combiner of a vector": Wrong(
        on_batch(multi(combiner=lambda losses: losses.repeat(2))),
        ValueError,
        ("combiner", "scalar", "(2,)"),
    ),
    "combiner of a number": Wrong(
        on_batch(multi(combiner=returning(1.0))), ValueError, ("combiner", "scalar", "1.0")
    ),
    "combiner for other losses": Wrong(
        lambda: multi(combiner=UncertaintyWeighting(3)),
        ValueError,
        ("combiner", "UncertaintyWeighting(3)", "UncertaintyWeighting(1)"),
    ),
    "combiner of other losses": Wrong(
        lambda: UncertaintyWeighting(3)(torch.ones(1)),
        ValueError,
        ("losses", "num_losses=3", "(1,)"),
    ),
    "pre-process of None": Wrong(
        on_batch(multi(pre_processes=[returning(None)])),
        TypeError,
        ("pre-process", "(pred_batch, gt_batch)", "NoneType"),
    ),
    "pre-process of one": Wrong(
        on_batch(multi(pre_processes=[returning(({},))])), TypeError, ("pre-process", "tuple")
    ),
    "pre-process of nonsense": Wrong(
        on_batch(multi(pre_processes=[returning((1, "b"))])),
        TypeError,
        ("pre-process", "mappings", "int", "str"),
    ),
    "pre-process of bare tensors": Wrong(
        lambda: multi(pre_processes=[ComputeSegGrads()])(logits(), labels()),
        TypeError,
        ("pre_processes", "mappings", "Tensor"),
    ),
    "not finite": Wrong(
        lambda: MultiLoss(
            [LossWrapper(returning(torch.tensor(NAN)), name="n")], [1], check_finite=True
        )(P, T),
        FloatingPointError,
        ("loss n is not finite", "rank 0"),
    ),
    # DeepSupervision
    "no scales": Wrong(
        lambda: DeepSupervision(SegLoss())([], T), ValueError, ("pred_batch", "empty list")
    ),
    "scales and weights": Wrong(
        lambda: DeepSupervision(SegLoss(), [1, 0.5])([PROBABILITIES], T),
        ValueError,
        ("weights", "1 predictions", "2 weights"),
    ),
    "scale of None": Wrong(
        lambda: DeepSupervision(SegLoss())([PROBABILITIES, None], T),
        TypeError,
        ("pred_batch[1]", "tensor", "NoneType"),
    ),
    "scales in the wrong order": Wrong(
        lambda: DeepSupervision(SegLoss())([PROBABILITIES[..., :2], PROBABILITIES], T),
        ValueError,
        ("pred_batch[1]", "larger", "finest"),
    ),
    "scales of other samples": Wrong(
        lambda: DeepSupervision(SegLoss())({"seg": [PROBABILITIES, PROBABILITIES[:1]]}, T),
        ValueError,
        ("pred_batch['seg'][1]", "same batch"),
    ),
    "scales elsewhere": Wrong(
        lambda: DeepSupervision(SegLoss())([PROBABILITIES, PROBABILITIES[..., :2].to("meta")], T),
        ValueError,
        ("pred_batch[1]", "device", "meta"),
    ),
    "scale of no pixels": Wrong(
        lambda: DeepSupervision(SegLoss())([PROBABILITIES, PROBABILITIES[..., :0]], T),
        ValueError,
        ("pred_batch[1]", "at least one pixel", "(2, 1, 4, 0)"),
    ),
    "deep MultiLoss": Wrong(
        lambda: DeepSupervision(multi()), TypeError, ("loss", "MultiLoss", "DeepSupervision")
    ),
    # losses of single terms
    "term: no tensor": Wrong(
        lambda: DiceLoss()(np.zeros((1, 1, 4)), T), TypeError, ("prediction", "ndarray")
    ),
    "term: another mode": Wrong(
        lambda: DiceLoss()(logits(), labels()),
        ValueError,
        ("prediction", "3 channels", "mode="),
    ),
    "term: one class": Wrong(
        lambda: FocalLoss("multiclass")(P, T), ValueError, ("prediction", "1 channel", "binary")
    ),
    "term: label": Wrong(
        lambda: FocalLoss("multiclass")(logits(), put(labels(), 5)),
        ValueError,
        ("target", "label 5"),
    ),
    "term: weights": Wrong(
        lambda: DiceLoss()(P, T, pixel_weights=-T), ValueError, ("pixel_weights", "at least 0")
    ),
    "term: weights of a list": Wrong(
        lambda: DiceLoss()(P, T, pixel_weights=[1.0]), TypeError, ("pixel_weights", "list")
    ),
    "term: no maps": Wrong(
        lambda: BoundaryLoss()(P, T), ValueError, ("maps", "'gt_distance_map'", "BoundaryLoss")
    ),
    "term: maps of a list": Wrong(
        lambda: SkeletonRecallLoss()(P, T, maps=[T]), TypeError, ("maps", "mapping", "list")
    ),
    "term: map of a list": Wrong(
        lambda: SkeletonRecallLoss()(P, T, maps={"gt_skeleton": [1]}),
        TypeError,
        ("gt_skeleton", "tensor", "list"),
    ),
    "term: alpha of three": Wrong(
        lambda: FocalLoss(alpha=[1, 2, 3])(P, T), ValueError, ("alpha", "expected 2", "got 3")
    ),
    "top k: no tensor": Wrong(
        lambda: TopKCrossEntropyLoss()(None, labels()), TypeError, ("prediction", "NoneType")
    ),
    "top k: one class": Wrong(
        lambda: TopKCrossEntropyLoss()(P, T), ValueError, ("prediction", "1 channel", "binary")
    ),
    "hard pixels: selection": Wrong(
        lambda: HardPixelLoss(select=0.7), TypeError, ("select", "Threshold(0.7)", "0.7")
    ),
    "hard pixels: region term": Wrong(
        lambda: HardPixelLoss({"dice": 1.0}), ValueError, ("terms", "Dice()", "MultiLoss")
    ),
    "hard pixels: one class": Wrong(
        lambda: OhemCrossEntropyLoss()(P, T), ValueError, ("prediction", "1 channel", "binary")
    ),
    "Threshold: 70 percent": Wrong(
        lambda: Threshold(70), ValueError, ("threshold", "(0, 1]", "70")
    ),
    "TopK: all and more": Wrong(lambda: TopK(101), ValueError, ("k", "(0, 100]", "101")),
    "top k: label": Wrong(
        lambda: TopKCrossEntropyLoss()(logits(), put(labels(), 3)),
        ValueError,
        ("target", "label 3"),
    ),
    "clDice: no tensor": Wrong(
        lambda: SoftClDiceLoss()(None, T), TypeError, ("prediction", "NoneType")
    ),
    "clDice: points": Wrong(
        lambda: SoftClDiceLoss()(P.flatten(1), T.flatten(1)),
        ValueError,
        ("prediction", "spatial", "(2, 16)"),
    ),
    "clDice: label": Wrong(
        lambda: SoftClDiceLoss("multiclass")(logits(), put(labels(), 3)),
        ValueError,
        ("target", "label 3"),
    ),
    "clDice: class": Wrong(
        lambda: SoftClDiceLoss("multiclass", classes=[3])(logits(), labels()),
        ValueError,
        ("classes=[3]", "3 classes"),
    ),
    "clDice: a class twice": Wrong(
        lambda: SoftClDiceLoss("multiclass", classes=[1, 1]),
        ValueError,
        ("classes must name at least one class, without duplicates", "[1, 1]"),
    ),
    "Lovasz: a class twice": Wrong(
        lambda: LovaszLoss(classes=[1, 1]),
        ValueError,
        ("classes must name at least one class, without duplicates", "[1, 1]"),
    ),
    "Hausdorff: no maps": Wrong(
        lambda: HausdorffDistanceLoss(map_key="d")(P, T), ValueError, ("maps", "'d'", "none")
    ),
    "Hausdorff: map of a list": Wrong(
        lambda: HausdorffDistanceLoss(map_key="d")(P, T, maps={"d": [1]}),
        TypeError,
        ("d", "tensor", "list"),
    ),
    "Lovasz: one class": Wrong(
        lambda: LovaszLoss()(P, T), ValueError, ("prediction", "1 channel", "set mode='binary'")
    ),
    "Lovasz: label": Wrong(
        lambda: LovaszLoss()(logits(), put(labels(), 3)), ValueError, ("target", "label 3")
    ),
    "Lovasz: class": Wrong(
        lambda: LovaszLoss(classes=[3])(logits(), labels()), ValueError, ("classes", "0 to 2", "3")
    ),
    "Lovasz: weights of samples": Wrong(
        lambda: LovaszLoss("binary")(P, T, sample_weights=torch.ones(3)),
        ValueError,
        ("sample_weights", "(2,)", "(3,)"),
    ),
    "Lovasz: ranks": Wrong(
        lambda: LovaszLoss(sync_statistics=True), ValueError, ("sync_statistics", "per_image=True")
    ),
    "tutorial.DiceLoss: other shapes": Wrong(
        lambda: tutorial.DiceLoss()(T, T[:1]),
        ValueError,
        ("targets", "(2, 1, 4, 4)", "(1, 1, 4, 4)"),
    ),
    "tutorial.DiceLoss: logits": Wrong(
        lambda: tutorial.DiceLoss()(P, T), ValueError, ("[0, 1]", "-2")
    ),
    "tutorial.DiceLoss: lists": Wrong(
        lambda: tutorial.DiceLoss()([0.5], [1]), TypeError, ("predictions", "tensor", "list")
    ),
    "DiceBCELoss: arrays": Wrong(
        lambda: DiceBCELoss()(P, T.numpy()), TypeError, ("targets", "tensor", "ndarray")
    ),
    "DiceBCELoss: whole numbers": Wrong(
        lambda: DiceBCELoss()(T.long(), T), TypeError, ("floating-point", "int64")
    ),
    # functions
    "function: classes": Wrong(
        lambda: F.dice_loss(P, T, n_classes=1), ValueError, ("n_classes", "at least 2", "1")
    ),
    "function: no tensor": Wrong(lambda: F.dice_loss([1.0], T), TypeError, ("pred", "list")),
    "function: reduction": Wrong(
        lambda: F.jaccard_loss(P, T, reduction="max"), ValueError, ("reduction", "'mean'", "'max'")
    ),
    "function: unknown option": Wrong(lambda: F.tversky_loss(P, T, alfa=0.3), TypeError, ("alfa",)),
    "function: from_logits": Wrong(
        lambda: F.dice_loss(P, T, from_logits="yes"), TypeError, ("from_logits", "'yes'")
    ),
    "function: ignore_index": Wrong(
        lambda: F.dice_loss(P, T, ignore_index=0.5), TypeError, ("ignore_index", "0.5")
    ),
    "function: gamma": Wrong(
        lambda: F.focal_tversky_loss(P, T, gamma=0), ValueError, ("gamma", "above 0", "0")
    ),
    "function: cross-entropy's channels": Wrong(
        lambda: F.cross_entropy(logits(), labels(), n_classes=4),
        ValueError,
        ("pred", "expected 4", "got 3"),
    ),
    "function: cross-entropy's smoothing": Wrong(
        lambda: F.cross_entropy(logits(), labels(), label_smoothing=2),
        ValueError,
        ("label_smoothing", "[0, 1]", "2"),
    ),
    "function: positive weights": Wrong(
        lambda: F.binary_cross_entropy(P, T, pos_weight=[1, 2]),
        ValueError,
        ("pos_weight", "expected 1", "got 2"),
    ),
    "function: weights that are no numbers": Wrong(
        lambda: F.binary_cross_entropy(P, T, class_weights="even"),
        TypeError,
        ("class_weights", "number", "'even'"),
    ),
    "function: negative coefficient": Wrong(
        lambda: F.seg_loss(P, T, bce_coef=-1), ValueError, ("bce_coef", "at least 0", "-1")
    ),
    "function: cells that are pooled": Wrong(
        lambda: F.seg_loss(P, T, reduction="none", region_reduction="batch"),
        ValueError,
        ("reduction='none'", "region_reduction='sample'"),
    ),
    "confusion: unknown sums": Wrong(
        lambda: soft_confusion(P, T, sums=["regoin"]), ValueError, ("sums", "'region'")
    ),
    "confusion: sums of text": Wrong(
        lambda: soft_confusion(P, T, sums="region"), TypeError, ("sums", "list", "'region'")
    ),
    "confusion: sums of numbers": Wrong(
        lambda: soft_confusion(P, T, sums=[3]), ValueError, ("sums", "3")
    ),
    "confusion: malformed focal sum": Wrong(
        lambda: soft_confusion(P, T, sums=["focal"]), ValueError, ("sums", "'focal'", "FocalSum")
    ),
    "confusion: no map": Wrong(
        lambda: soft_confusion(P, T, sums=[MapSum("m")]), ValueError, ("maps", "'m'", "none")
    ),
    "confusion: maps of a list": Wrong(
        lambda: soft_confusion(P, T, sums=[MapSum("m")], maps=[T]), TypeError, ("maps", "mapping")
    ),
    "confusion: a sum that is not there": Wrong(
        lambda: soft_confusion(P, T, sums=["region"])["squared_error"],
        KeyError,
        ("squared_error", "Request it"),
    ),
    "confusion: label map for channels": Wrong(
        lambda: soft_confusion(logits(2), T), ValueError, ("target", "(2, 2, 4, 4)", "one mask per")
    ),
    # terms
    "term object: reduction": Wrong(
        lambda: terms.Dice(region_reduction="mean"), ValueError, ("region_reduction", "'mean'")
    ),
    "term object: classes twice": Wrong(
        lambda: terms.Jaccard(region_classes=[1, 1]),
        ValueError,
        ("region_classes", "without duplicates"),
    ),
    "term object: weights of micro": Wrong(
        lambda: terms.Dice(region_reduction="micro", region_class_weights=[1, 2]),
        ValueError,
        ("region_class_weights", "'micro'"),
    ),
    "term object: weights of micro per sample": Wrong(
        lambda: terms.Jaccard(region_reduction="sample_micro", region_class_weights=[1, 2]),
        ValueError,
        ("region_class_weights", "'sample_micro'"),
    ),
    "term object: three smoothings": Wrong(
        lambda: terms.Dice(smooth=(0, 0, 1)), ValueError, ("smooth", "two")
    ),
    "term object: logarithm": Wrong(lambda: terms.Dice(log="yes"), TypeError, ("log", "'yes'")),
    "term object: least hits": Wrong(
        lambda: terms.Dice(clip_tp=-1.0), ValueError, ("clip_tp", "-1")
    ),
    "SegLoss: two smoothings": Wrong(
        lambda: SegLoss(smooth=[1.0, -1.0]), ValueError, ("smooth[1]", "denominator", "-1")
    ),
    "term object: exponent": Wrong(
        lambda: terms.UnifiedFocal(gamma=1.0), ValueError, ("gamma", "below 1")
    ),
    "term object: sums of others": Wrong(
        lambda: terms.CrossEntropy()(soft_confusion(P, T, sums=["region"])),
        KeyError,
        ("cross_entropy", "was not computed"),
    ),
    "term object: no sums": Wrong(
        lambda: terms.Dice()(P), TypeError, ("confusion", "SoftConfusion", "Tensor")
    ),
    "mixture: nothing": Wrong(
        lambda: segloss.CompoundLoss(0 * terms.Dice()), ValueError, ("above 0", "0 * Dice()")
    ),
    "mixture: twice": Wrong(
        lambda: terms.Dice() + 0.5 * terms.Dice(), ValueError, ("must not repeat", "dice", "named(")
    ),
    "mixture: a coefficient below 0": Wrong(
        lambda: -1 * terms.Dice(), ValueError, ("coefficient", "at least 0", "-1")
    ),
    "mixture: a coefficient that is text": Wrong(
        lambda: terms.Dice() * "2", TypeError, ("coefficient", "number", "'2'")
    ),
    "mixture: a name for two": Wrong(
        lambda: (terms.Dice() + terms.Jaccard()).named("x"), ValueError, ("one term", "has 2")
    ),
    "mixture: a name with a dot": Wrong(
        lambda: terms.Dice().named("a.b"), ValueError, ("name of a term", "dot", "'a.b'")
    ),
    "mixture: no mixture": Wrong(
        lambda: segloss.CompoundLoss("dice"), TypeError, ("terms", "0.5 * CrossEntropy()", "'dice'")
    ),
    "mixture: an unknown term": Wrong(
        lambda: segloss.CompoundLoss({"dise": 1.0}), ValueError, ("terms", "'dise'", "'dice'")
    ),
    "mixture: beside coefficients": Wrong(
        lambda: segloss.SegLoss(terms=terms.Dice(), dice_coef=1.0),
        ValueError,
        ("terms", "dice_coef", "whole mixture"),
    ),
    "mixture: changed in place": Wrong(
        lambda: setattr(segloss.SegLoss().mixture.terms["dice"], "smooth", 2.0),
        AttributeError,
        ("cannot assign", "smooth"),
    ),
    "backend: unknown": Wrong(
        lambda: segloss.use_backend("slow"), ValueError, ("name", "'auto'", "'reference'", "'slow'")
    ),
    # frame fields
    "field missing": Wrong(
        lambda: CrossfieldSmoothLoss()({"seg": P}, FRAME),
        MissingKeyError,
        ("'crossfield'", "pred_b"),
    ),
    "field of three channels": Wrong(
        frame(CrossfieldAlignLoss(), {"crossfield": FIELD[:, :3]}, {}),
        ValueError,
        ("pred_batch['crossfield']", "(N, 4, H, W)", "(2, 3, 4, 4)"),
    ),
    "field of volumes": Wrong(
        frame(CrossfieldAlignLoss(), {"crossfield": FIELD[..., None]}, {}),
        ValueError,
        ("pred_batch['crossfield']", "(2, 4, 4, 4, 1)"),
    ),
    "complex field": Wrong(
        frame(CrossfieldAlignLoss(), {"crossfield": FIELD.to(torch.complex64)}, {}),
        TypeError,
        ("pred_batch['crossfield']", "real"),
    ),
    "sparse field": Wrong(
        frame(CrossfieldSmoothLoss(), {"crossfield": sparse(FIELD)}, {}),
        TypeError,
        ("pred_batch['crossfield']", "dense"),
    ),
    "field of bools": Wrong(
        frame(CrossfieldSmoothLoss(), {"crossfield": FIELD > 0}, {}),
        TypeError,
        ("pred_batch['crossfield']", "floating-point", "bool"),
    ),
    "no angle": Wrong(
        frame(CrossfieldAlignLoss(), {}, {"gt_crossfield_angle": None}),
        MissingKeyError,
        ("gt_batch", "'gt_field'", "'gt_crossfield_angle'"),
    ),
    "NaN angle": Wrong(
        frame(CrossfieldAlignLoss(), {}, {"gt_crossfield_angle": torch.full((2, 1, 4, 4), NAN)}),
        ValueError,
        ("gt_batch['gt_crossfield_angle']", "finite", "NaN"),
    ),
    "angle of other pixels": Wrong(
        frame(CrossfieldAlignLoss(), {}, {"gt_crossfield_angle": torch.zeros(2, 1, 4, 3)}),
        ValueError,
        ("gt_batch['gt_crossfield_angle']", "(2, 4, 4)", "(2, 1, 4, 3)"),
    ),
    "angle with a gradient": Wrong(
        frame(
            CrossfieldAlignLoss(),
            {},
            {"gt_crossfield_angle": torch.zeros(2, 1, 4, 4, requires_grad=True)},
        ),
        TypeError,
        ("gt_batch['gt_crossfield_angle']", "require grad"),
    ),
    "masks of two channels": Wrong(
        frame(CrossfieldAlign90Loss(), {}, {"gt_polygons_image": masks(2)}),
        ValueError,
        (TRUTH, "at least 3", "(2, 2, 4, 4)"),
    ),
    "masks of 255": Wrong(
        frame(CrossfieldSmoothLoss(), {}, {"gt_polygons_image": masks(3) * 255}),
        ValueError,
        (TRUTH, "[0, 1]", "255"),
    ),
    "masks elsewhere": Wrong(
        frame(CrossfieldSmoothLoss(), {}, {"gt_polygons_image": masks(3).to("meta")}),
        ValueError,
        (TRUTH, "device", "meta"),
    ),
    "no gradients": Wrong(
        frame(SegCrossfieldLoss(), {"seg": masks(2)}, {}),
        MissingKeyError,
        ("'seg_grads_normed'", "ComputeSegGrads"),
    ),
    "channel out of range": Wrong(
        lambda: SegCrossfieldLoss(pred_channel=2)(
            {"crossfield": FIELD, **ComputeSegGrads()({"seg": masks(2)}, {})[0]}, {}
        ),
        ValueError,
        ("pred_channel=2", "2 channels"),
    ),
    "gradients of another shape": Wrong(
        frame(
            SegCrossfieldLoss(),
            {f"seg_{k}": torch.zeros(4) for k in ("grads", "grads_normed", "grad_norm")},
            {},
        ),
        ValueError,
        ("pred_batch['seg_grads_normed']", "(N, C, 2, H, W)", "(4,)"),
    ),
    "edges of logits": Wrong(
        edges({"seg": logits(2)}), ValueError, (SEG, "probabilities", "[0, 1]", "sigmoid")
    ),
    "edges of other pixels": Wrong(
        edges({"seg_grad_norm": torch.zeros(2, 2, 3, 3)}),
        ValueError,
        ("seg_grad_norm", "(2, 4, 4)"),
    ),
    "gradients of nothing": Wrong(
        lambda: ComputeSegGrads()({}, {}), MissingKeyError, ("pred_batch", "'seg'")
    ),
    "gradients of a bare tensor": Wrong(
        lambda: ComputeSegGrads()(masks(2), {}), TypeError, ("pred_batch", "mapping", "a tensor of")
    ),
    "gradients of an image of no pixels": Wrong(
        lambda: ComputeSegGrads()({"seg": masks(2)[..., :0]}, {}),
        ValueError,
        (SEG, "at least one pixel", "(2, 2, 4, 0)"),
    ),
    "angle of nothing": Wrong(
        lambda: compute_gt_field({}, {}), MissingKeyError, ("gt_batch", "'gt_crossfield_angle'")
    ),
    "angle of a bare tensor": Wrong(
        lambda: compute_gt_field({}, masks()), TypeError, ("gt_batch", "mapping", "a tensor of")
    ),
    "frequencies of other masks": Wrong(
        frequent({"class_freq": torch.ones(2, 2)}), ValueError, ("class_freq", "(2, 3)", "(2, 2)")
    ),
    "frequencies of 0": Wrong(
        frequent({"class_freq": torch.zeros(2, 3)}), ValueError, ("class_freq", "above 0", "[0, 1]")
    ),
    "complex frequencies": Wrong(
        frequent({"class_freq": torch.zeros(2, 3, dtype=torch.complex64)}),
        TypeError,
        ("class_freq", "real", "complex64"),
    ),
    "no distances": Wrong(
        frequent({}, use_dist=True), MissingKeyError, ("gt_batch", "'distances'")
    ),
    "NaN distances": Wrong(
        frequent({"distances": torch.full((2, 1, 4, 4), NAN)}, use_dist=True),
        ValueError,
        ("gt_batch['distances']", "finite", "NaN"),
    ),
    "sizes of 0": Wrong(
        frequent({"sizes": torch.zeros(2, 1, 4, 4)}, use_size=True),
        ValueError,
        ("'sizes'", "above 0"),
    ),
    # maps, mixup
    "map: no mask": Wrong(
        lambda: SignedDistanceMap()(image=T), MissingKeyError, ("mask=", "'image'", "mask_key=")
    ),
    "map: distance of fractions": Wrong(
        lambda: DistanceMap()(mask=T[0, 0] / 2), ValueError, ("mask", "whole", "fractions")
    ),
    "map: weights of a label": Wrong(
        lambda: UNetWeightMap(class_weights={0: "1"}), TypeError, ("class_weights[0]", "'1'")
    ),
    "map: weights of a spacing": Wrong(
        lambda: UNetWeightMap(spacing=[1, 1, 1])(mask=T[0, 0].long()),
        ValueError,
        ("spacing", "expected 2", "got 3"),
    ),
    "map: list": Wrong(lambda: SkeletonMap()(mask=[[1]]), TypeError, ("mask", "NumPy", "list")),
    "map: channels": Wrong(
        lambda: SkeletonMap()(mask=T[0]), ValueError, ("mask", "(H, W)", "(1, 4, 4)", "squeeze(0)")
    ),
    "map: fractions": Wrong(
        lambda: SignedDistanceMap()(mask=T[0, 0] / 2), ValueError, ("mask", "whole", "fractions")
    ),
    "map: complex": Wrong(
        lambda: SignedDistanceMap()(mask=np.zeros((4, 4), complex)), TypeError, ("mask", "complex")
    ),
    "map: elsewhere": Wrong(
        lambda: SkeletonMap()(mask=T[0, 0].to("meta")), ValueError, ("mask", "CPU", "meta")
    ),
    "map: sparse": Wrong(
        lambda: SkeletonMap()(mask=sparse(T[0, 0])), TypeError, ("mask", "dense", "sparse")
    ),
    "map: bfloat16": Wrong(
        lambda: SkeletonMap()(mask=T[0, 0].bfloat16()), TypeError, ("mask", "bfloat16", ".float()")
    ),
    "map: spacing": Wrong(
        lambda: SignedDistanceMap(spacing=[1, 1, 1])(mask=T[0, 0]),
        ValueError,
        ("spacing", "expected 2", "got 3"),
    ),
    "groups of classes: unknown word": Wrong(
        lambda: SegLoss(n_classes=3, region_groups="classes"),
        ValueError,
        ("region_groups", "'components'", "mapping", "'classes'"),
    ),
    "groups of classes: list": Wrong(
        lambda: DiceLoss("multiclass", region_groups=[[1, 2]]),
        ValueError,
        ("region_groups", "{'vehicle': [1, 2, 3]}", "[[1, 2]]"),
    ),
    "groups of classes: none": Wrong(
        lambda: SegLoss(n_classes=3, region_groups={}),
        ValueError,
        ("region_groups", "at least one group", "Leave it out"),
    ),
    "groups of classes: empty group": Wrong(
        lambda: SegLoss(n_classes=3, region_groups={"a": []}),
        ValueError,
        ("region_groups['a']", "at least one class", "[]"),
    ),
    "groups of classes: out of range": Wrong(
        lambda: SegLoss(n_classes=3, region_groups={"a": [1, 3]}),
        ValueError,
        ("region_groups['a']=[1, 3]", "3 classes (0 to 2)"),
    ),
    "groups of classes: name": Wrong(
        lambda: SegLoss(n_classes=3, region_groups={"a/b": [1]}),
        ValueError,
        ("region_groups", "'/'", "'a/b'"),
    ),
    "groups of classes: sigmoid": Wrong(
        lambda: F.dice_loss(logits(), masks(3), region_groups={"a": [1, 2]}),
        ValueError,
        ("region_groups['a']", "'sigmoid'", "a channel and a mask of its own"),
    ),
    "groups of classes: classes": Wrong(
        lambda: SegLoss(n_classes=3, region_groups={"a": [1]}, region_classes=[1]),
        ValueError,
        ("region_groups", "region_classes=None", "groups of one"),
    ),
    "groups of classes: weights": Wrong(
        lambda: SegLoss(n_classes=3, region_groups={"a": [1]}, region_class_weights=[1, 2, 3]),
        ValueError,
        ("region_class_weights", "expected 1 (a)", "got 3"),
    ),
    "groups of classes: maps": Wrong(
        lambda: BoundaryLoss("multiclass", region_groups={"a": [1]}),
        ValueError,
        ("Boundary", "map 'gt_distance_map'", "region_groups=None", "Dice(region_groups=...)"),
    ),
    "groups of classes: sum": Wrong(
        lambda: segloss.sums.ClassGroupSum("regions", (1,)), ValueError, ("'regions'", "'region'")
    ),
    "map: partition": Wrong(
        lambda: ComponentMap(partition="regions"), ValueError, ("partition", "nearest", "regions")
    ),
    "map: connectivity": Wrong(
        lambda: ComponentMap(connectivity=3)(mask=T[0, 0]), ValueError, ("connectivity", "2", "3")
    ),
    "map: too many components": Wrong(
        lambda: ComponentMap(connectivity=1, dtype="uint8")(mask=np.indices((32, 32)).sum(0) % 2),
        ValueError,
        ("512 components", "'uint8'", "255", "'int32'"),
    ),
    "map: one name": Wrong(
        lambda: SkeletonMap(mask_key="a", out_key="a"), ValueError, ("out_key", "'a'")
    ),
    "mixup: whole numbers": Wrong(
        lambda: MixUp()(labels(), {"gt_polygons_image": labels()}), TypeError, ("images", "int64")
    ),
    "mixup: list": Wrong(lambda: MixUp()([1], {}), TypeError, ("images", "list")),
    "mixup: no target": Wrong(
        lambda: MixUp()(P, {"mask": T}),
        MissingKeyError,
        ("gt_batch", "'gt_polygons_image'", "'mask'"),
    ),
    "mixup: bare target": Wrong(
        lambda: MixUp()(P, T), TypeError, ("gt_batch", "mapping", "a tensor of")
    ),
    "mixup: other samples": Wrong(
        lambda: MixUp()(P, {"gt_polygons_image": T[:1]}), ValueError, ("images", "2 and 1")
    ),
    "cutmix: whole numbers": Wrong(
        lambda: CutMix()(labels(), {"gt_polygons_image": labels()}), TypeError, ("images", "int64")
    ),
    "cutmix: targets of other pixels": Wrong(
        lambda: CutMix()(P, {"gt_polygons_image": T[..., :1]}), ValueError, ("images", "pixels")
    ),
    "per_class: another term": Wrong(
        lambda: per_class({"dice": torch.tensor(0.5)}, "jaccard"), KeyError, ("'jaccard'", "dice")
    ),
    "mixup: scalars": Wrong(
        lambda: MixUp()(torch.tensor(1.0), {"gt_polygons_image": torch.tensor(1)}),
        ValueError,
        ("images", "(N, ...)", "()"),
    ),
    "mixup: a seed": Wrong(
        lambda: MixUp()(P, {"gt_polygons_image": T}, generator=3),
        TypeError,
        ("generator", "torch.Generator", "3"),
    ),
    # configs, registry
    "config: number": Wrong(lambda: build_loss(3), TypeError, ("cfg", "mapping", "3")),
    "config: no file": Wrong(
        lambda: build_loss_from_config("nowhere.yaml"), FileNotFoundError, ("nowhere.yaml",)
    ),
    "config: no list": Wrong(
        lambda: build_compound_loss_from_config({}), ValueError, ("compound_loss", "neither")
    ),
    "config: unknown key": Wrong(
        lambda: build_compound_loss_from_config({"loss_list": [], "wieght": 1}),
        ValueError,
        ("compound_loss.wieght", "unknown"),
    ),
    "registry: unknown": Wrong(lambda: get_loss("dise"), ValueError, ("'dise'", "'dice'")),
    "registry: list": Wrong(lambda: get_loss([]), TypeError, ("name", "str", "[]")),
    "registry: function": Wrong(
        lambda: register_loss("f")(len), TypeError, ("register_loss", "nn.Module", "len")
    ),
    "registry: no name": Wrong(lambda: register_loss(""), ValueError, ("name", "empty")),
    "registry: override": Wrong(
        lambda: register_loss("f", override="yes"), TypeError, ("override", "'yes'")
    ),
    "registry: arguments": Wrong(lambda: list_losses("all"), TypeError, ("list_losses",)),
    # activity
    "activity: list": Wrong(lambda: nn4n.FiringRateLoss()([1]), TypeError, ("state", "list")),
    "activity: whole numbers": Wrong(
        lambda: nn4n.FiringRateLoss()(labels()), TypeError, ("state", "floating-point", "int64")
    ),
    "activity: one unit": Wrong(
        lambda: nn4n.FiringRateDistLoss()(P[..., :1]), ValueError, ("state", "at least 2 units")
    ),
    "activity: empty": Wrong(
        lambda: nn4n.FiringRateLoss()(P[:0]), ValueError, ("state", "empty", "(0, 1, 4, 4)")
    ),
    "activity: steps": Wrong(
        lambda: nn4n.StatePredictionLoss(5)(P[:, 0]), ValueError, ("state", "tau=5")
    ),
    "activity: weights": Wrong(
        lambda: nn4n.HebbianLoss()(P, P), ValueError, ("weights", "(4, 4)", "(2, 1, 4, 4)")
    ),
    "activity: weights of a list": Wrong(
        lambda: nn4n.HebbianLoss()(P, [[1]]), TypeError, ("weights", "tensor", "list")
    ),
    "activity: entropy of a scalar": Wrong(
        lambda: nn4n.EntropyLoss()(torch.tensor(1.0)),
        ValueError,
        ("state", "1 dimensions", "()"),
    ),
    "activity: no layer": Wrong(
        lambda: nn4n.RNNConnectivityLoss()(nn.Linear(1, 1)), ValueError, ("model", "'input'")
    ),
    # interfaces of other packages
    "combined: other shapes": Wrong(
        lambda: tutorial.CombinedLoss()(P, T[:1]), ValueError, ("targets", "(1, 1, 4, 4)")
    ),
    "combined: lists": Wrong(
        lambda: tutorial.CombinedLoss()([1.0], [1.0]), TypeError, ("predictions", "tensor", "list")
    ),
    "weighted error: weights": Wrong(
        lambda: tutorial.WeightedMSELoss()(P, T, torch.ones(3)), ValueError, ("weights", "(3,)")
    ),
    "weighted error: weights of a list": Wrong(
        lambda: tutorial.WeightedMSELoss()(P, T, [1.0]), TypeError, ("weights", "tensor", "list")
    ),
    "weighted error: NaN weights": Wrong(
        lambda: tutorial.WeightedMSELoss()(P, T, torch.tensor(NAN)), ValueError, ("weights", "nan")
    ),
    "tasks: another number": Wrong(
        lambda: tutorial.UncertaintyWeightedLoss(2)([torch.tensor(1.0)]),
        ValueError,
        ("losses", "num_tasks=2", "1"),
    ),
    "tasks: numbers": Wrong(
        lambda: tutorial.UncertaintyWeightedLoss(1)([1.0]),
        TypeError,
        ("losses[0]", "tensor", "float"),
    ),
    "tasks: vectors": Wrong(
        lambda: tutorial.UncertaintyWeightedLoss(1)([torch.ones(2)]),
        ValueError,
        ("losses[0]", "scalar", "(2,)"),
    ),
    "tasks: no list": Wrong(
        lambda: tutorial.UncertaintyWeightedLoss(1)(3), TypeError, ("losses", "list", "3")
    ),
    "combiner: list": Wrong(
        lambda: UncertaintyWeighting(1)([1.0]), TypeError, ("losses", "tensor", "list")
    ),
    "composite: no input": Wrong(composite({}), MissingKeyError, ("loss_input_dict['a']", "none")),
    "composite: no target": Wrong(
        composite({"a": {"input": P}}), MissingKeyError, ("loss_input_dict['a']", "'target'")
    ),
    "composite: list": Wrong(composite([P]), TypeError, ("loss_input_dict", "mapping")),
    "composite: type": Wrong(composite({}, type="msse"), ValueError, ("loss_cfg['a']", "'mse'")),
    "composite: parameter": Wrong(
        composite({}, type="fr", params={"metrc": 1}),
        TypeError,
        ("loss_cfg['a']['params']", "metrc"),
    ),
    "composite: lambda": Wrong(
        composite({}, **{"lambda": -1}), ValueError, ("loss_cfg['a']['lambda']", "-1")
    ),
    "composite: name with a dot": Wrong(
        lambda: nn4n.CompositeLoss({"a.b": {"type": "fr"}}),
        ValueError,
        ("loss_cfg", "'a.b'", "dot"),
    ),
    "composite: name of a number": Wrong(
        lambda: nn4n.CompositeLoss({3: {"type": "fr"}}), TypeError, ("loss_cfg", "str", "3")
    ),
    "composite: no scalar": Wrong(
        composite({"a": {"input": P, "target": T}}, params={"reduction": "none"}),
        ValueError,
        ("'a'", "scalar", "(2, 1, 4, 4)"),
    ),
    "loss function: batch": Wrong(
        lambda: perceptrain.mse_loss(3, nn.Identity()),
        TypeError,
        ("batch", "(input, target)", "int"),
    ),
    "loss function: unpack": Wrong(
        lambda: perceptrain.as_loss_fn(nn.L1Loss(), unpack=returning(1))(P, nn.Identity()),
        TypeError,
        ("unpack", "(input, target)", "int"),
    ),
    "loss function: unpack that can't be called": Wrong(
        lambda: perceptrain.as_loss_fn(nn.L1Loss(), unpack=3),
        TypeError,
        ("unpack", "function", "3"),
    ),
    "loss function: a class": Wrong(
        lambda: perceptrain.as_loss_fn(nn.L1Loss), TypeError, ("loss", "L1Loss()")
    ),
    "loss function: residuals": Wrong(
        lambda: perceptrain.mse_loss({}, returning({})), ValueError, ("model", "residual", "empty")
    ),
    "loss function: other shapes": Wrong(
        lambda: perceptrain.mse_loss((P, T[:1]), nn.Identity()),
        ValueError,
        ("(1, 1, 4, 4)", "broadcast"),
    ),
    "loss function: name": Wrong(
        lambda: perceptrain.get_loss_fn("msee"), ValueError, ("loss_fn", "'mse'", "'msee'")
    ),
    "loss function: number": Wrong(
        lambda: perceptrain.get_loss_fn(3), ValueError, ("loss_fn", "3")
    ),
    "loss function: list": Wrong(
        lambda: perceptrain.get_loss_fn([]), ValueError, ("loss_fn", "[]")
    ),
    "gradient weights: other metrics": Wrong(
        grad_weighted({"b": P.mean()}), ValueError, ("unweighted_loss_function", "'a'", "'b'")
    ),
    "gradient weights: no mapping": Wrong(
        grad_weighted(None), TypeError, ("unweighted_loss_function", "mapping", "None")
    ),
    "gradient weights: vectors": Wrong(
        grad_weighted({"a": P}), ValueError, ("metrics['a']", "scalar", "(2, 1, 4, 4)")
    ),
    "gradient weights: text": Wrong(
        lambda: perceptrain.GradWeightedLoss({}, len, None, {"a": "x"}, "a"),
        TypeError,
        ("metric_weights['a']", "'x'"),
    ),
    # the terms' own losses
    **{
        f"{loss.__name__}: {what}": Wrong(call(loss), kind, words)
        for loss in TERM_LOSSES.values()
        for what, (call, kind, words) in TERM_LOSS_ROWS.items()
    },
    "term loss: no term": Wrong(TermLoss, TypeError, ("TermLoss", "term_type")),
    "Poly1Loss: classes": Wrong(
        lambda: segloss.Poly1Loss(classes=[1]), ValueError, ("classes", "[1]", "Poly1Loss")
    ),
    "MCCLoss: classes twice": Wrong(
        lambda: segloss.MCCLoss(classes=[1], region_classes=[0]), ValueError, ("classes", "once")
    ),
    "JaccardLoss: a class twice": Wrong(
        lambda: segloss.JaccardLoss(classes=[0, 0]), ValueError, ("classes", "[0, 0]")
    ),
    "GeneralizedCrossEntropyLoss: exponent": Wrong(
        lambda: segloss.GeneralizedCrossEntropyLoss(exponent=0), ValueError, ("exponent", "got 0")
    ),
    "SymmetricCrossEntropyLoss: logarithm": Wrong(
        lambda: segloss.SymmetricCrossEntropyLoss(log_zero=4.0), ValueError, ("log_zero", "got 4")
    ),
    "BalancedCrossEntropyLoss: balance": Wrong(
        lambda: segloss.BalancedCrossEntropyLoss(balance="batches"),
        ValueError,
        ("balance", "did you mean 'batch'"),
    ),
    "GeneralizedWassersteinDiceLoss: distances": Wrong(
        lambda: segloss.GeneralizedWassersteinDiceLoss(distances=[0, 1]),
        ValueError,
        ("distances", "square matrix"),
    ),
    "LogDiceLoss: no such class": Wrong(
        lambda: segloss.LogDiceLoss("multiclass", classes=[7])(logits(), labels()),
        ValueError,
        ("region_classes=[7]", "3 classes"),
    ),
    "FBetaLoss: beta": Wrong(lambda: segloss.FBetaLoss(beta=0), ValueError, ("beta", "above 0")),
    "TverskyLoss: alpha": Wrong(
        lambda: segloss.TverskyLoss(alpha=-1), ValueError, ("alpha", "at least 0", "-1")
    ),
    "FocalTverskyLoss: gamma": Wrong(
        lambda: segloss.FocalTverskyLoss(gamma=NAN), ValueError, ("gamma", "nan")
    ),
    "UnifiedFocalLoss: gamma": Wrong(
        lambda: segloss.UnifiedFocalLoss(gamma=2), ValueError, ("gamma", "[0, 1]", "2")
    ),
    "LogCoshDiceLoss: smooth": Wrong(
        lambda: segloss.LogCoshDiceLoss(smooth="a"), TypeError, ("smooth", "number", "'a'")
    ),
    "SquaredDiceLoss: soft labels": Wrong(
        lambda: segloss.SquaredDiceLoss(soft_labels="x"), ValueError, ("soft_labels", "'x'")
    ),
    "GeneralizedDiceLoss: reduction": Wrong(
        lambda: segloss.GeneralizedDiceLoss(region_reduction="all"),
        ValueError,
        ("region_reduction", "'batch'", "'all'"),
    ),
    "RegionSizeL1Loss: skip": Wrong(
        lambda: segloss.RegionSizeL1Loss(skip_absent_classes=1),
        TypeError,
        ("skip_absent_classes", "1 (int)"),
    ),
    "RegionSizeKLLoss: weights": Wrong(
        lambda: segloss.RegionSizeKLLoss("multiclass", region_class_weights=[1.0, 1.0])(
            logits(), labels()
        ),
        ValueError,
        ("region_class_weights", "3", "2"),
    ),
    # what runs over batches, and callbacks
    "norms: no loss": Wrong(
        lambda: compute_norms(None, []), TypeError, ("losses", "a loss", "None")
    ),
    "norms: none at all": Wrong(lambda: compute_norms([], []), TypeError, ("losses", "[]")),
    "norms: another's loss": Wrong(
        lambda: compute_norms(nn.L1Loss(), []), TypeError, ("losses", "L1Loss()", "LossWrapper")
    ),
    "norms: no batches": Wrong(
        lambda: compute_norms(LossWrapper(nn.L1Loss()), 3), TypeError, ("batches", "pairs", "3")
    ),
    "norms: no pairs": Wrong(
        lambda: compute_norms(LossWrapper(nn.L1Loss()), [logits()]),
        TypeError,
        ("batches", "pairs", "(2, 3, 4, 4)"),
    ),
    "norms: nothing": Wrong(
        lambda: compute_norms(LossWrapper(nn.L1Loss()), []), ValueError, ("min_samples=1", "got 0")
    ),
    "norms: limits": Wrong(
        lambda: compute_norms(LossWrapper(nn.L1Loss()), [], 3, 4),
        ValueError,
        ("min_samples", "max_samples=3", "4"),
    ),
    "without_trace: no model": Wrong(
        lambda: segloss.without_trace(None).__enter__(), TypeError, ("model", "nn.Module", "None")
    ),
    "norms callback: none": Wrong(
        lambda: lightning.ComputeWeightNormLossesCallback(max_samples=0),
        ValueError,
        ("max_samples", "at least 1", "0"),
    ),
    "norms callback: text": Wrong(
        lambda: lightning.FrameFieldComputeWeightNormLossesCallback(min_samples="a"),
        TypeError,
        ("min_samples", "int", "'a'"),
    ),
    "schedule callback: model": Wrong(
        lambda: lightning.LossSchedule(nn.L1Loss()),
        TypeError,
        ("fractional", "L1Loss"),
    ),
    "log callback: prefix": Wrong(
        lambda: lightning.LogLossComponents(prefix=""),
        ValueError,
        ("prefix", "empty"),
    ),
    "collator of a text": Wrong(
        lambda: huggingface.IgnoreIndexCollator("255"), TypeError, ("ignore_index", "'255'")
    ),
    "collator of a class": Wrong(
        lambda: huggingface.IgnoreIndexCollator(255, dict), TypeError, ("collate", "dict")
    ),
    "labels that the Trainer counts": Wrong(
        lambda: huggingface.as_compute_loss_func(SegLoss(n_classes=3, ignore_index=255))(
            {"logits": logits()}, labels().clamp(max=1) * 255, 1000
        ),
        ValueError,
        ("labels hold 255", "IgnoreIndexCollator(255)"),
    ),
    "ignore_index of a text": Wrong(
        lambda: LossWrapper(nn.L1Loss(), ignore_index="255"), TypeError, ("ignore_index", "'255'")
    ),
    "model without masks": Wrong(
        lambda: huggingface.use_mask_losses(nn.Conv2d(1, 1, 1), loss_mask={"dice": 1}),
        TypeError,
        ("model", "Conv2d", "Mask2FormerForUniversalSegmentation", "as_compute_loss_func"),
    ),
    "trainer: a class": Wrong(
        lambda: huggingface.as_compute_loss_func(nn.L1Loss), TypeError, ("loss", "L1Loss")
    ),
    "trainer: no labels": Wrong(
        lambda: huggingface.as_compute_loss_func(SegLoss(n_classes=3))({"logits": P}, None),
        TypeError,
        ("labels", "tensor", "NoneType"),
    ),
    "trainer: no logits": Wrong(
        lambda: huggingface.as_compute_loss_func(SegLoss(n_classes=3))({}, labels()),
        TypeError,
        ("outputs", "logits", "dict"),
    ),
    "trainer: a count that is none": Wrong(
        lambda: huggingface.as_compute_loss_func(SegLoss(n_classes=3))(
            {"logits": logits()}, labels(), "32"
        ),
        TypeError,
        ("num_items_in_batch", "'32'"),
    ),
    "trainer's schedule: no MultiLoss": Wrong(
        lambda: huggingface.LossSchedule(nn.L1Loss()), TypeError, ("MultiLoss", "L1Loss")
    ),
    # checks of losses
    "check: no loss": Wrong(lambda: check_loss(3), TypeError, ("loss", "3")),
    "check: no example": Wrong(
        lambda: check_loss(nn.L1Loss(), 3), TypeError, ("example", "tuple", "int")
    ),
    "check: no such check in a report": Wrong(
        lambda: LossReport("mine", "none", [])["scalar"], KeyError, ("scalar",)
    ),
    "check: one class": Wrong(
        lambda: check_loss(nn.L1Loss(), n_classes=1), ValueError, ("n_classes", "at least 2", "1")
    ),
    "check: no such check": Wrong(
        lambda: assert_loss(nn.L1Loss(), checks=["scaler"]), ValueError, ("'scaler'", "'scalar'")
    ),
    "custom loss: shape": Wrong(
        lambda: tutorial.test_custom_loss(nn.L1Loss(), "a"), TypeError, ("input_shape", "'a'")
    ),
    "custom loss: negative": Wrong(
        lambda: tutorial.test_custom_loss(nn.L1Loss(), (-1,)), ValueError, ("input_shape[0]", "-1")
    ),
    # suggestions
    "suggest: no folder": Wrong(
        lambda: segloss.suggest("/nowhere/at/all"), FileNotFoundError, ("'/nowhere/at/all'",)
    ),
    "suggest: number": Wrong(lambda: segloss.suggest(3), TypeError, ("masks", "folder", "3")),
    # the examples' command lines
    "example: no such field": Wrong(
        example(brain_tissue, "training.epoch=1"), SystemExit, ("training.epoch", "training.epochs")
    ),
    "example: no override": Wrong(
        example(brain_tissue, "epochs"), SystemExit, ("override", "field=value", "'epochs'")
    ),
    "example: text for a number": Wrong(
        example(building_footprints, "training.epochs=two"), SystemExit, ("training.epochs=two",)
    ),
    "example: no config": Wrong(
        example(building_footprints, "--config", "nowhere.yaml"), SystemExit, ("nowhere.yaml",)
    ),
    "example: a folder as config": Wrong(
        example(brain_tissue, "--config", "/"), SystemExit, ("config file", "'/'")
    ),
    "example: nothing to resume": Wrong(
        example(building_footprints, "--resume", "--output", "/nowhere/at/all"),
        SystemExit,
        ("resume",),
    ),
    "example: a wrong term": Wrong(
        example(
            brain_tissue,
            "+loss_params.compound_loss.loss_list.0.dice_cof=1",
            "--output",
            "/dev/null/x",
        ),
        SystemExit,
        ("dice_cof", "dice_coef"),
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_inputs_are_refused(name: str) -> None:
    wrong = WRONG[name]
    with pytest.raises(wrong.kind) as caught:
        wrong.call()
    assert not isinstance(caught.value, RuntimeError) or wrong.kind is NotImplementedError
    for word in wrong.words:
        assert word in str(caught.value), (word, str(caught.value))


# States

STATES: dict[str, tuple[Call, type[Exception], Words]] = {
    "epoch of text": (lambda loss: loss.set_epoch("3"), TypeError, ("epoch", "'3'")),
    "epoch of NaN": (lambda loss: loss.set_epoch(NAN), ValueError, ("epoch", "finite", "nan")),
    "epoch that no float holds": (lambda loss: loss.set_epoch(10**400), ValueError, ("epoch",)),
    "epoch in forward": (
        lambda loss: loss(*batches({}), epoch=INF),
        ValueError,
        ("epoch", "finite", "inf"),
    ),
    "epoch with a wrong batch": (
        lambda loss: loss(*batches({"gt": put(labels(), 9)}), epoch=9),
        ValueError,
        (TRUTH, "label 9"),
    ),
    "epoch with wrong normalize": (
        lambda loss: loss(*batches({}), normalize=3, epoch=9),
        TypeError,
        ("normalize", "3"),
    ),
    "samples below 0": (
        lambda loss: loss.update_norm(*batches({}), -1),
        ValueError,
        ("nums", "above 0", "-1"),
    ),
    "samples of a list": (
        lambda loss: loss.update_norm(*batches({}), [2]),
        TypeError,
        ("nums", "number", "[2]"),
    ),
    "ranks of a fraction": (lambda loss: loss.sync(1.5), TypeError, ("world_size", "1.5")),
    "no ranks": (lambda loss: loss.sync(0), ValueError, ("world_size", "at least 1", "0")),
    "checkpoint of other losses": (
        lambda loss: loss.load_state_dict(other_state()),
        ValueError,
        ("checkpoint", "losses", "l1", "seg, learned"),
    ),
    "checkpoint of another order": (
        lambda loss: loss.load_state_dict(
            {**loss.state_dict(), "_extra_state": {"losses": ["learned", "seg"]}}
        ),
        ValueError,
        ("checkpoint", "seg, learned", "learned, seg"),
    ),
    "checkpoint without names": (
        lambda loss: loss.load_state_dict({**loss.state_dict(), "_extra_state": 3}),
        ValueError,
        ("checkpoint", "losses", "3"),
    ),
    "checkpoint of other weights": (
        lambda loss: loss.load_state_dict(
            {**loss.state_dict(), "current_weights": torch.ones(3, dtype=torch.float64)}
        ),
        RuntimeError,
        ("current_weights", "size mismatch"),
    ),
    "checkpoint of NaN norms": (
        lambda loss: loss.load_state_dict(
            {**loss.state_dict(), "loss_funcs.1.norm": torch.tensor(NAN, dtype=torch.float64)}
        ),
        ValueError,
        ("norm", "'learned'", "nan"),
    ),
    "checkpoint of norms of 0": (
        lambda loss: loss.load_state_dict(
            {**loss.state_dict(), "loss_funcs.0.norm": torch.zeros((), dtype=torch.float64)}
        ),
        ValueError,
        ("norm", "'seg'", "0"),
    ),
    "a loss that raises last": (
        lambda loss: loss.update_norm({"seg": logits()}, {}, 2),
        MissingKeyError,
        ("gt_batch", "none"),
    ),
}


@pytest.mark.parametrize("name", STATES)
def test_wrong_calls_change_no_state(name: str) -> None:
    call, kind, words = STATES[name]
    loss = ready(several())
    before = state(loss)
    with pytest.raises(kind) as caught:
        call(loss)
    for word in words:
        assert word in str(caught.value), (word, str(caught.value))
    assert state(loss) == before


def test_an_empty_batch_is_a_loss_of_nothing() -> None:
    prediction = logits()[:0].requires_grad_()
    loss, _ = SegLoss(n_classes=3)(prediction, labels()[:0])
    loss.backward()
    assert loss.item() == 0
    empty = SegLoss(n_classes=3)
    empty.update_norm(prediction, labels()[:0], 1)
    assert (empty.norm, empty.norm_count) == (1, 0)


def names_in(code: types.CodeType) -> set[str]:
    """The names that a function's code looks up, its inner functions included."""
    inner = [each for each in code.co_consts if isinstance(each, types.CodeType)]
    return set(code.co_names).union(*map(names_in, inner))


def test_a_row_calls_every_public_name() -> None:
    calls = [wrong.call for wrong in WRONG.values()]
    called = set().union(*(names_in(call.__code__) for call in calls if hasattr(call, "__code__")))
    public = {*F.__all__, *segloss.__all__, *lightning.__all__, *huggingface.__all__}
    without_arguments = {
        "MissingKeyError",
        "SoftConfusion",
        "backends",
        "functional",
        "list_losses",
        "recommended",
    }
    of_terms = {f"{name}_loss" for name in F.TERM_FUNCTIONS}  # the test below calls each
    assert public - called - without_arguments - of_terms == set()


@pytest.mark.parametrize("name", F.TERM_FUNCTIONS)
def test_every_function_of_a_term_refuses_what_is_wrong(name: str) -> None:
    function = F.TERM_FUNCTIONS[name]
    logits, mask = torch.zeros(1, 1, 4), torch.zeros(1, 1, 4)
    maps = {"gt_distance_map": logits, "gt_skeleton": logits}
    with pytest.raises(TypeError, match=rf"{name}_loss\(\) got an unexpected .* 'regoin_classes'"):
        function(logits, mask, regoin_classes=[1])
    with pytest.raises(ValueError, match="target must match pred"):
        function(logits, torch.zeros(1, 2, 5), maps=maps)
    with pytest.raises(TypeError, match="pred must be a tensor"):
        function([0.0], mask, maps=maps)
    with pytest.raises(ValueError, match="reduction must be one of"):
        function(logits, mask, maps=maps, reduction="max")
