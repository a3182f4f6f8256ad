"""Likely mistakes: each message has the caller's names and a remedy, and the remedy mends the call.

`tests/batch/test_remedies.py` also compares the mended calls' values with PyTorch's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import segloss
from segloss import (
    BoundaryLoss,
    CompoundLoss,
    CutMix,
    DeepSupervision,
    DiceLoss,
    FocalLoss,
    LossWrapper,
    LovaszLoss,
    MixUp,
    MultiLoss,
    OhemCrossEntropyLoss,
    SegLoss,
    SignedDistanceMap,
    SkeletonMap,
    SkeletonRecallLoss,
    SoftClDiceLoss,
    TopK,
    TopKCrossEntropyLoss,
    build_loss,
    get_loss,
    use_backend,
)
from segloss import functional as fn
from segloss.terms import CrossEntropy, Dice, Focal

Call = Callable[[], Any]

_random = torch.Generator().manual_seed(0)


def rand(*shape: int) -> Tensor:
    return torch.randn(shape, generator=_random)


LOGITS, LOGITS4, LOGIT = rand(2, 3, 8, 12), rand(2, 4, 8, 12), rand(2, 1, 8, 12)
LABELS = torch.arange(192).reshape(2, 8, 12) % 3
LABELS4 = torch.arange(192).reshape(2, 8, 12) % 4
MASK = torch.arange(192).reshape(2, 1, 8, 12) % 2
ONE_HOT = F.one_hot(LABELS, 3).movedim(-1, 1)
ONE_HOT4 = F.one_hot(LABELS4, 4).movedim(-1, 1)
BOTH = torch.cat([1 - MASK, MASK], 1)
VOLUME, VOLUME_LABELS = rand(1, 3, 4, 6, 8), torch.arange(192).reshape(1, 4, 6, 8) % 3
QUARTER = LOGITS[..., ::4, ::4]
FRAMES, FRAME_LABELS = rand(2, 4, 3, 8, 12), torch.stack([LABELS] * 4, 1)
WEIGHTS = torch.ones(2, 1, 8, 12)
PIXELS = {"gt_polygons_image": LABELS}
SEG = {"seg": LOGITS}
PAIRS = [(LOGITS, LABELS)]
SAMPLE = {"mask": MASK[0, 0]}


def multi(**options: Any) -> SegLoss:
    """A loss of three classes."""
    return SegLoss(n_classes=3, **options)


def binary(**options: Any) -> SegLoss:
    """A loss of one mask."""
    return SegLoss(from_logits=True, **options)


def compound(*args: Any, **options: Any) -> CompoundLoss:
    return CompoundLoss(*args, mode="multiclass", **options)


def config(**arguments: Any) -> Any:
    return build_loss({"loss": {"_target_": "segloss.SegLoss", **arguments}})


def cross_entropy(**arguments: Any) -> Any:
    return build_loss({"loss": {"_target_": "torch.nn.CrossEntropyLoss", **arguments}})


def block(key: str = "loss_params", inner: str = "compound_loss", **more: Any) -> Any:
    entry = {"_target_": "segloss.SegLoss", **more.pop("entry", {})}
    return build_loss({key: {inner: {more.pop("list", "loss_list"): [entry], **more}}})


def maps_of(transform: Any, masks: Tensor = LABELS) -> Tensor:
    """The maps of each sample of a batch of masks."""
    return torch.stack([transform(mask=mask)[transform.out_key] for mask in masks])


def scheduled(weights: Any = ((0.0, 1.0),), thresholds: Any = (0, 10)) -> MultiLoss:
    return MultiLoss([binary()], [list(each) for each in weights], thresholds)


def at_epoch(epoch: float) -> MultiLoss:
    loss = scheduled()
    loss.set_epoch(epoch)
    return loss


def mixed(**entries: Any) -> dict[str, Any]:
    return {**PIXELS, "mixup_y_a": LABELS, "mixup_y_b": LABELS.flip(0), "mixup_lam": 0.5, **entries}


class Mistake(NamedTuple):
    """A call that fails, words of its message, and the call with the remedy followed."""

    wrong: Call
    words: tuple[str, ...]
    mended: Call


PROBABILITIES, MASKS = LOGITS[..., :3].sigmoid(), ONE_HOT[..., :3]
ANGLE, DEGREES = "gt_batch['gt_crossfield_angle']", torch.arange(192.0).reshape(2, 1, 8, 12) % 180
FIELD = rand(2, 4, 8, 12)

GT = "gt_batch['gt_polygons_image']"
PRED = "pred_batch['seg']"

SHAPES = {
    "height and width swapped": Mistake(
        lambda: multi()(LOGITS, LABELS.mT),
        ("target must match prediction", "pass target.mT"),
        lambda: multi()(LOGITS, LABELS.mT.mT),
    ),
    "height and width swapped, in a batch": Mistake(
        lambda: multi()(SEG, {"gt_polygons_image": LABELS.mT}),
        (f"{GT} must match {PRED}", f"pass {GT}.mT"),
        lambda: multi()(SEG, {"gt_polygons_image": LABELS.mT.mT}),
    ),
    "height and width swapped, in a function": Mistake(
        lambda: fn.cross_entropy(LOGITS, LABELS.mT),
        ("target must match pred of", "pass target.mT"),
        lambda: fn.cross_entropy(LOGITS, LABELS.mT.mT),
    ),
    "height and width of weights swapped": Mistake(
        lambda: compound()(LOGITS, LABELS, pixel_weights=WEIGHTS.mT),
        ("pixel_weights must match prediction", "pass pixel_weights.mT"),
        lambda: compound()(LOGITS, LABELS, pixel_weights=WEIGHTS.mT.mT),
    ),
    "depth last": Mistake(
        lambda: compound()(VOLUME, VOLUME_LABELS.movedim(1, -1)),
        ("target", "pass target.permute(0, 3, 1, 2)"),
        lambda: compound()(VOLUME, VOLUME_LABELS.movedim(1, -1).permute(0, 3, 1, 2)),
    ),
    "logits of a quarter": Mistake(
        lambda: compound()(QUARTER, LABELS),
        ("F.interpolate(prediction, (8, 12), mode='bilinear')",),
        lambda: compound()(F.interpolate(QUARTER, (8, 12), mode="bilinear"), LABELS),
    ),
    "logits of a quarter, in a function": Mistake(
        lambda: fn.dice_loss(QUARTER, LABELS, n_classes=3),
        ("F.interpolate(pred, (8, 12), mode='bilinear')",),
        lambda: fn.dice_loss(F.interpolate(QUARTER, (8, 12), mode="bilinear"), LABELS, n_classes=3),
    ),
    "logits of a quarter, wrapped": Mistake(
        lambda: LossWrapper(nn.CrossEntropyLoss())({"seg": QUARTER}, PIXELS),
        (f"F.interpolate({PRED}, (8, 12), mode='bilinear')",),
        lambda: LossWrapper(nn.CrossEntropyLoss())(F.interpolate(QUARTER, (8, 12)), PIXELS),
    ),
    "logits (N, H, W, C)": Mistake(
        lambda: multi()(LOGITS.movedim(1, -1), LABELS),
        ("prediction", "The channels are last: pass prediction.movedim(-1, 1)"),
        lambda: multi()(LOGITS.movedim(1, -1).movedim(-1, 1), LABELS),
    ),
    "logits (N, H, W, C), in a function": Mistake(
        lambda: fn.cross_entropy(LOGITS.movedim(1, -1), LABELS),
        ("pass pred.movedim(-1, 1)",),
        lambda: fn.cross_entropy(LOGITS.movedim(1, -1).movedim(-1, 1), LABELS),
    ),
    "one-hot masks (N, H, W, C)": Mistake(
        lambda: multi()(LOGITS, ONE_HOT.movedim(1, -1)),
        ("pass target.movedim(-1, 1)",),
        lambda: multi()(LOGITS, ONE_HOT.movedim(1, -1).movedim(-1, 1)),
    ),
    "a mask (N, H, W, 1)": Mistake(
        lambda: CompoundLoss()(LOGIT, MASK.movedim(1, -1)),
        ("pass target.movedim(-1, 1)",),
        lambda: CompoundLoss()(LOGIT, MASK.movedim(1, -1).movedim(-1, 1)),
    ),
    "no batch": Mistake(
        lambda: compound()(LOGITS[0], LABELS[0]),
        ("batch dimension", "pass prediction[None] and target[None]"),
        lambda: compound()(LOGITS[0][None], LABELS[0][None]),
    ),
    "no batch in the target": Mistake(
        lambda: fn.cross_entropy(LOGITS[:1], LABELS[0]),
        ("pass target[None]",),
        lambda: fn.cross_entropy(LOGITS[:1], LABELS[0][None]),
    ),
    "no channels in the logits": Mistake(
        lambda: CompoundLoss()(LOGIT[:, 0], MASK[:, 0]),
        ("pass prediction.unsqueeze(1)", "mode='binary'"),
        lambda: CompoundLoss()(LOGIT[:, 0].unsqueeze(1), MASK[:, 0]),
    ),
    "an image alone": Mistake(
        lambda: binary()(LOGIT[0, 0], MASK[0]),
        ("pass prediction[None, None]",),
        lambda: binary()(LOGIT[0, 0][None, None], MASK[:1]),
    ),
    "flat labels": Mistake(
        lambda: compound()(LOGITS, LABELS.flatten(1)),
        ("target are flat", "target.reshape((2, 8, 12))"),
        lambda: compound()(LOGITS, LABELS.flatten(1).reshape((2, 8, 12))),
    ),
    "a target of another batch": Mistake(
        lambda: compound()(LOGITS, LABELS[:1]),
        ("prediction has 2 samples, but target 1", "pass both from the same batch"),
        lambda: compound()(LOGITS[:1], LABELS[:1]),
    ),
    "a target of a larger batch": Mistake(
        lambda: compound()(LOGITS[:1], LABELS),
        ("prediction has 1 sample, but target 2", "pass both from the same batch"),
        lambda: compound()(LOGITS[:1], LABELS[:1]),
    ),
    "a map of another batch": Mistake(
        lambda: BoundaryLoss()(LOGIT, MASK, maps={"gt_distance_map": LOGIT[:1]}),
        ("prediction has 2 samples, but gt_distance_map 1", "pass both from the same batch"),
        lambda: BoundaryLoss()(LOGIT, MASK, maps={"gt_distance_map": LOGIT}),
    ),
    "one map for several classes": Mistake(
        lambda: BoundaryLoss("multiclass")(LOGITS, LABELS, maps={"gt_distance_map": LOGIT}),
        ("gt_distance_map must have the shape", "segloss.SignedDistanceMap(n_classes=3)"),
        lambda: BoundaryLoss("multiclass")(
            LOGITS, LABELS, maps={"gt_distance_map": maps_of(SignedDistanceMap(n_classes=3))}
        ),
    ),
    "one map for several classes in a batch": Mistake(
        lambda: multi(extra_terms={"skeleton_recall": 1.0})(
            SEG, {**PIXELS, "gt_skeleton": WEIGHTS}
        ),
        (f"gt_skeleton must have the shape of {PRED}", "segloss.SkeletonMap(n_classes=3)"),
        lambda: multi(extra_terms={"skeleton_recall": 1.0})(
            SEG, {**PIXELS, "gt_skeleton": maps_of(SkeletonMap(n_classes=3))}
        ),
    ),
    "a map without channels for several classes": Mistake(
        lambda: BoundaryLoss("multiclass")(LOGITS, LABELS, maps={"gt_distance_map": LOGIT[:, 0]}),
        ("gt_distance_map must have the shape", "segloss.SignedDistanceMap(n_classes=3)"),
        lambda: BoundaryLoss("multiclass")(
            LOGITS, LABELS, maps={"gt_distance_map": maps_of(SignedDistanceMap(n_classes=3))}
        ),
    ),
    "maps of two classes for one mask": Mistake(
        lambda: SkeletonRecallLoss()(LOGIT, MASK, maps={"gt_skeleton": BOTH}),
        ("gt_skeleton must have the shape", "segloss.SkeletonMap(n_classes=2)"),
        lambda: SkeletonRecallLoss()(
            LOGIT, MASK, maps={"gt_skeleton": maps_of(SkeletonMap(n_classes=2), MASK[:, 0])}
        ),
    ),
    "one map for independent channels": Mistake(
        lambda: BoundaryLoss("multilabel")(LOGITS, ONE_HOT, maps={"gt_distance_map": LOGIT}),
        ("gt_distance_map must have the shape", "of the mask of each channel"),
        lambda: BoundaryLoss("multilabel")(
            LOGITS,
            ONE_HOT,
            maps={
                "gt_distance_map": torch.cat(
                    [maps_of(SignedDistanceMap(), each) for each in ONE_HOT.unbind(1)], 1
                )
            },
        ),
    ),
    "an axis of size 1 in the logits": Mistake(
        lambda: compound()(LOGITS.unsqueeze(2), LABELS),
        ("prediction has an axis of size 1", "pass prediction.squeeze(2)"),
        lambda: compound()(LOGITS.unsqueeze(2).squeeze(2), LABELS),
    ),
    "an axis of size 1 in the logits, wrapped": Mistake(
        lambda: LossWrapper(nn.CrossEntropyLoss())(LOGITS.unsqueeze(2), LABELS),
        ("prediction has an axis of size 1", "pass prediction.squeeze(2)"),
        lambda: LossWrapper(nn.CrossEntropyLoss())(LOGITS.unsqueeze(2).squeeze(2), LABELS),
    ),
    "frames of videos": Mistake(
        lambda: multi()(FRAMES, FRAME_LABELS),
        ("frames are samples", "pass prediction.flatten(0, 1) and target.flatten(0, 1)"),
        lambda: multi()(FRAMES.flatten(0, 1), FRAME_LABELS.flatten(0, 1)),
    ),
    "frames of videos of any number": Mistake(
        lambda: compound()(FRAMES, FRAME_LABELS),
        ("frames are samples", "pass prediction.flatten(0, 1) and target.flatten(0, 1)"),
        lambda: compound()(FRAMES.flatten(0, 1), FRAME_LABELS.flatten(0, 1)),
    ),
    "two axes of size 1 in the labels": Mistake(
        lambda: compound()(LOGITS, LABELS[:, None, None]),
        ("target has an axis of size 1 too many", "pass target.squeeze(1)"),
        lambda: compound()(LOGITS, LABELS[:, None, None].squeeze(1)),
    ),
    "an axis of size 1 in one-hot masks": Mistake(
        lambda: compound()(LOGITS, ONE_HOT.unsqueeze(2)),
        ("target has an axis of size 1 too many", "pass target.squeeze(2)"),
        lambda: compound()(LOGITS, ONE_HOT.unsqueeze(2).squeeze(2)),
    ),
    "labels with channels for BCE": Mistake(
        lambda: LossWrapper(nn.BCEWithLogitsLoss())(LOGITS, LABELS.unsqueeze(1)),
        ("pass F.one_hot(target.squeeze(1).long(), 3).movedim(-1, 1)",),
        lambda: LossWrapper(nn.BCEWithLogitsLoss())(
            LOGITS, F.one_hot(LABELS.unsqueeze(1).squeeze(1).long(), 3).movedim(-1, 1)
        ),
    ),
    "one-hot masks for one channel": Mistake(
        lambda: CompoundLoss()(LOGIT, BOTH),
        ("target[:, 1:]",),
        lambda: CompoundLoss()(LOGIT, BOTH[:, 1:]),
    ),
    "one-hot masks without the background": Mistake(
        lambda: fn.dice_loss(LOGITS, ONE_HOT[:, 1:], n_classes=3),
        ("background", "torch.cat([1 - target.sum(1, keepdim=True), target], 1)"),
        lambda: fn.dice_loss(
            LOGITS,
            torch.cat([1 - ONE_HOT[:, 1:].sum(1, keepdim=True), ONE_HOT[:, 1:]], 1),
            n_classes=3,
        ),
    ),
    "one-hot masks of more classes": Mistake(
        lambda: compound()(LOGITS, ONE_HOT4),
        ("target", "the network needs 4 output channels (n_classes=4)"),
        lambda: compound()(LOGITS4, ONE_HOT4),
    ),
    "a label map beside sigmoid channels": Mistake(
        lambda: fn.dice_loss(LOGITS, LABELS),
        ("If classes exclude each other, set n_classes=3",),
        lambda: fn.dice_loss(LOGITS, LABELS, n_classes=3),
    ),
    "a channel too many": Mistake(
        lambda: multi()(LOGITS4, LABELS),
        ("prediction", "Set n_classes=4, or give the network 3 output channels"),
        lambda: SegLoss(n_classes=4)(LOGITS4, LABELS),
    ),
    "one channel for several classes": Mistake(
        lambda: multi()(LOGIT, MASK),
        ("in one sigmoid channel, set n_classes=2",),
        lambda: binary(n_classes=2)(LOGIT, MASK),
    ),
    "several channels in mode binary": Mistake(
        lambda: CompoundLoss()(LOGITS4, LABELS4),
        ("prediction has 4 channels", "set mode='multiclass'"),
        lambda: CompoundLoss(mode="multiclass")(LOGITS4, LABELS4),
    ),
    "one channel in mode multiclass": Mistake(
        lambda: compound()(LOGIT, MASK),
        ("prediction has 1 channel in", "set mode='binary'"),
        lambda: CompoundLoss(mode="binary")(LOGIT, MASK),
    ),
    "stacked heads": Mistake(
        lambda: compound()(torch.stack([LOGITS, LOGITS], 1), LABELS),
        ("pass prediction.unbind(1) to segloss.DeepSupervision",),
        lambda: DeepSupervision(compound())(torch.stack([LOGITS, LOGITS], 1).unbind(1), LABELS),
    ),
    "a mask without channels for BCE": Mistake(
        lambda: LossWrapper(nn.BCEWithLogitsLoss())(LOGIT, MASK[:, 0]),
        ("target lacks the axis of channels", "pass target.unsqueeze(1)"),
        lambda: LossWrapper(nn.BCEWithLogitsLoss())(LOGIT, MASK[:, 0].unsqueeze(1)),
    ),
    "labels for BCE": Mistake(
        lambda: LossWrapper(nn.BCEWithLogitsLoss())(LOGITS, LABELS),
        ("pass F.one_hot(target.long(), 3).movedim(-1, 1)",),
        lambda: LossWrapper(nn.BCEWithLogitsLoss())(
            LOGITS, F.one_hot(LABELS.long(), 3).movedim(-1, 1)
        ),
    ),
    **{
        f"weights of channels as {key} of {kind.__name__}": Mistake(
            lambda kind=kind, key=key: LossWrapper(kind(**{key: torch.ones(3)}))(
                PROBABILITIES, MASKS
            ),
            (f"{key} of '{kind.__name__}'", f"pass {key}.view(3, 1, 1)"),
            lambda kind=kind, key=key: LossWrapper(kind(**{key: torch.ones(3).view(3, 1, 1)}))(
                PROBABILITIES, MASKS
            ),
        )
        for kind, key in [
            (nn.BCEWithLogitsLoss, "pos_weight"),
            (nn.BCEWithLogitsLoss, "weight"),
            (nn.BCELoss, "weight"),
        ]
    },
    "weights of two channels for three": Mistake(
        lambda: LossWrapper(nn.BCELoss(torch.ones(2)))(PROBABILITIES, MASKS),
        ("weight of 'BCELoss' must have the shape (3, 1, 1)", "got (2,)"),
        lambda: LossWrapper(nn.BCELoss(torch.ones(3, 1, 1)))(PROBABILITIES, MASKS),
    ),
    "weights of classes as those of pixels": Mistake(
        lambda: multi()(SEG, {**PIXELS, "seg_loss_weights": torch.ones(3)}),
        ("gt_batch['seg_loss_weights']", "class_weights"),
        lambda: multi(class_weights=torch.ones(3))(SEG, PIXELS),
    ),
    "weights of samples of another batch": Mistake(
        lambda: compound()(LOGITS, LABELS, sample_weights=torch.ones(2, 1)),
        ("sample_weights", "pass sample_weights.flatten()"),
        lambda: compound()(LOGITS, LABELS, sample_weights=torch.ones(2, 1).flatten()),
    ),
    "Lovasz: channels last": Mistake(
        lambda: LovaszLoss("multiclass")(LOGITS.movedim(1, -1), LABELS),
        ("pass prediction.movedim(-1, 1)",),
        lambda: LovaszLoss("multiclass")(LOGITS, LABELS),
    ),
}

CALLS = {
    "tensors for a frame field": Mistake(
        lambda: segloss.CrossfieldAlignLoss()(FIELD, DEGREES),
        ("gt_batch must be a mapping", "a tensor of shape (2, 1, 8, 12)", "{'gt_crossfield_angle'"),
        lambda: segloss.CrossfieldAlignLoss()(
            FIELD, {"gt_polygons_image": BOTH, "gt_crossfield_angle": torch.deg2rad(DEGREES)}
        ),
    ),
    "a tensor for the gradients of masks": Mistake(
        lambda: segloss.SegCrossfieldLoss()(FIELD, {}),
        ("pred_batch must be a mapping", "a tensor of shape (2, 4, 8, 12)", "{'seg': ...}"),
        lambda: segloss.SegCrossfieldLoss()(
            *segloss.ComputeSegGrads()({"seg": MASK.float(), "crossfield": FIELD}, {})
        ),
    ),
    "a tensor for ComputeSegGrads": Mistake(
        lambda: segloss.ComputeSegGrads()(LOGIT, MASK),
        ("pred_batch must be a mapping", "pass {'seg': ...}"),
        lambda: segloss.ComputeSegGrads()({"seg": LOGIT}, MASK),
    ),
    "batches before the loss": Mistake(
        lambda: segloss.diagnose(PAIRS, multi(), quiet=True),
        ("[(a tensor of shape (2, 3, 8, 12), a tensor", "it comes first, diagnose(loss, batches)"),
        lambda: segloss.diagnose(multi(), PAIRS, quiet=True),
    ),
    "batches before the losses": Mistake(
        lambda: segloss.compute_norms(PAIRS, multi()),
        ("losses must be losses", "they come first, compute_norms(losses, batches)"),
        lambda: segloss.compute_norms(multi(), PAIRS),
    ),
    "mappings for norms": Mistake(
        lambda: segloss.compute_norms(multi(), [{"image": LOGITS, **PIXELS}]),
        ("{'image': a tensor of shape", "((model(batch['image']), batch) for batch in loader)"),
        lambda: segloss.compute_norms(
            multi(), ((batch["image"], batch) for batch in [{"image": LOGITS, **PIXELS}])
        ),
    ),
    "triples for norms": Mistake(
        lambda: segloss.compute_norms(multi(), [(LOGITS, LABELS, "name")]),
        ("(a tensor of shape (2, 3, 8, 12),", "((model(x), y) for x, y, *_ in loader)"),
        lambda: segloss.compute_norms(multi(), ((x, y) for x, y, *_ in [(LOGITS, LABELS, "name")])),
    ),
    "a map of a mask without a keyword": Mistake(
        lambda: SignedDistanceMap()(MASK[0, 0]),
        ("SignedDistanceMap() takes keywords", "pass mask=..."),
        lambda: SignedDistanceMap()(mask=MASK[0, 0]),
    ),
    "a map of a sample": Mistake(
        lambda: SkeletonMap()(SAMPLE),
        ("SkeletonMap() takes keywords", "pass **sample"),
        lambda: SkeletonMap()(**SAMPLE),
    ),
    "a map of a file": Mistake(
        lambda: SignedDistanceMap()(mask="mask.png"),
        ("mask must be a NumPy array", "read the image, numpy.asarray(PIL.Image.open(mask))"),
        lambda: SignedDistanceMap()(mask=MASK[0, 0].numpy()),
    ),
    **{
        f"a batch alone for {mix.__name__}": Mistake(
            lambda mix=mix: mix()({"image": LOGITS, **PIXELS}),
            ("images", f"pass the images and the batch, {mix.__name__}()(batch['image'], batch)"),
            lambda mix=mix: mix()(LOGITS, {"image": LOGITS, **PIXELS}),
        )
        for mix in (MixUp, CutMix)
    },
    **{
        f"a target alone for {mix.__name__}": Mistake(
            lambda mix=mix: mix(gt_key="mask")(LOGITS, LABELS),
            ("gt_batch must be a mapping", "{'mask': ...}"),
            lambda mix=mix: mix(gt_key="mask")(LOGITS, {"mask": LABELS}),
        )
        for mix in (MixUp, CutMix)
    },
    **{
        f"a prediction as an array, {door}": Mistake(
            lambda call=call: call(LOGITS.numpy()),
            ("the network's output itself, without .numpy()",),
            lambda call=call: call(LOGITS),
        )
        for door, call in {
            "SegLoss": lambda prediction: multi()(prediction, LABELS),
            "in a batch": lambda prediction: multi()({"seg": prediction}, PIXELS),
            "CompoundLoss": lambda prediction: compound()(prediction, LABELS),
            "LossWrapper": lambda prediction: LossWrapper(nn.CrossEntropyLoss())(
                prediction, LABELS
            ),
            "in a function": lambda prediction: fn.cross_entropy(prediction, LABELS),
            "LovaszLoss": lambda prediction: LovaszLoss("multiclass")(prediction, LABELS),
        }.items()
    },
}

TENSORS = {
    "an array": Mistake(
        lambda: compound()(LOGITS, LABELS.numpy()),
        ("target", "torch.as_tensor"),
        lambda: compound()(LOGITS, torch.as_tensor(LABELS.numpy())),
    ),
    "an array for a SegLoss": Mistake(
        lambda: multi()(LOGITS, LABELS.numpy()),
        ("gt_batch", "torch.as_tensor"),
        lambda: multi()(LOGITS, torch.as_tensor(LABELS.numpy())),
    ),
    "a list": Mistake(
        lambda: compound()(LOGITS, LABELS.tolist()),
        ("target", "torch.tensor"),
        lambda: compound()(LOGITS, torch.tensor(LABELS.tolist())),
    ),
    "several outputs": Mistake(
        lambda: multi()((LOGITS, LOGITS), LABELS),
        ("pred_batch", "segloss.DeepSupervision"),
        lambda: DeepSupervision(multi())((LOGITS, LOGITS), LABELS),
    ),
    "torchvision's output": Mistake(
        lambda: compound()({"out": LOGITS}, LABELS),
        ("prediction", "'out'"),
        lambda: compound()({"out": LOGITS}["out"], LABELS),
    ),
    "Hugging Face's output": Mistake(
        lambda: multi()({"logits": LOGITS}, LABELS),
        ("pred_batch must have the key 'seg'", "pred_key='logits'"),
        lambda: multi(pred_key="logits")({"logits": LOGITS}, LABELS),
    ),
    "another key": Mistake(
        lambda: multi()(SEG, {"mask": LABELS}),
        ("gt_batch must have the key 'gt_polygons_image'", "gt_key='mask'"),
        lambda: multi(gt_key="mask")(SEG, {"mask": LABELS}),
    ),
    "argmax": Mistake(
        lambda: multi()(LOGITS.argmax(1), LABELS),
        ("prediction", "before argmax"),
        lambda: multi()(LOGITS, LABELS),
    ),
    "argmax as numbers": Mistake(
        lambda: multi()(LOGITS.argmax(1).float(), LABELS),
        ("prediction", "before argmax"),
        lambda: multi()(LOGITS, LABELS),
    ),
    "arguments swapped": Mistake(
        lambda: fn.cross_entropy(LABELS, LOGITS),
        ("pred", "the predictions come first"),
        lambda: fn.cross_entropy(LOGITS, LABELS),
    ),
    "arguments swapped, of one mask": Mistake(
        lambda: CompoundLoss()(MASK.float(), LOGIT * 4),
        ("target", "If these are logits, the predictions come first"),
        lambda: CompoundLoss()(LOGIT * 4, MASK.float()),
    ),
    "complex numbers": Mistake(
        lambda: compound()(LOGITS + 0j, LABELS),
        ("prediction", "prediction.real"),
        lambda: compound()((LOGITS + 0j).real, LABELS),
    ),
    "a target that requires grad": Mistake(
        lambda: compound()(LOGITS, ONE_HOT.float().requires_grad_()),
        ("target", "target.detach()"),
        lambda: compound()(LOGITS, ONE_HOT.float().requires_grad_().detach()),
    ),
    "a target on another device": Mistake(
        lambda: compound()(LOGITS.to("meta"), LABELS),
        ("target must be on the device of prediction", "move it with .to('meta')"),
        lambda: compound()(LOGITS.to("meta"), LABELS.to("meta")),
    ),
    "a sparse prediction": Mistake(
        lambda: compound()(LOGITS.to_sparse(), LABELS),
        ("prediction.to_dense()",),
        lambda: compound()(LOGITS.to_sparse().to_dense(), LABELS),
    ),
    "a third tensor": Mistake(
        lambda: compound()(LOGITS, LABELS, WEIGHTS),
        ("CompoundLoss()", "pixel_weights=..."),
        lambda: compound()(LOGITS, LABELS, pixel_weights=WEIGHTS),
    ),
    "a third tensor for a SegLoss": Mistake(
        lambda: multi()(LOGITS, LABELS, WEIGHTS),
        ("normalize", "entries of gt_batch"),
        lambda: multi()(SEG, {**PIXELS, "seg_loss_weights": WEIGHTS}),
    ),
    "weights by keyword": Mistake(
        lambda: compound()(LOGITS, LABELS, weights=WEIGHTS),
        ("CompoundLoss()", "'weights'", "did you mean 'pixel_weights'?"),
        lambda: compound()(LOGITS, LABELS, pixel_weights=WEIGHTS),
    ),
    "weights by keyword for a SegLoss": Mistake(
        lambda: multi()(LOGITS, LABELS, pixel_weights=WEIGHTS),
        ("SegLoss()", "'pixel_weights'", "entries of gt_batch"),
        lambda: multi()(SEG, {**PIXELS, "seg_loss_weights": WEIGHTS}),
    ),
    "no map": Mistake(
        lambda: BoundaryLoss()(LOGIT, MASK),
        ("maps={'gt_distance_map': ...}", "SignedDistanceMap"),
        lambda: BoundaryLoss()(LOGIT, MASK, maps={"gt_distance_map": LOGIT}),
    ),
    "no mapping for a map": Mistake(
        lambda: binary(extra_terms={"boundary": 1.0})(LOGIT, MASK),
        ("gt_batch", "'gt_distance_map': ...", "SignedDistanceMap"),
        lambda: binary(extra_terms={"boundary": 1.0})(
            LOGIT, {"gt_polygons_image": MASK, "gt_distance_map": LOGIT}
        ),
    ),
}

VALUES = {
    "a mask of 0 and 255": Mistake(
        lambda: CompoundLoss()(LOGIT, MASK * 255),
        ("target", "target / 255"),
        lambda: CompoundLoss()(LOGIT, MASK * 255 / 255),
    ),
    "a mask of 0 and 255, in a batch": Mistake(
        lambda: binary()({"seg": LOGIT}, {"gt_polygons_image": MASK * 255}),
        (f"{GT} must hold values in [0, 1]", f"{GT} / 255"),
        lambda: binary()({"seg": LOGIT}, {"gt_polygons_image": MASK * 255 / 255}),
    ),
    "labels of 0 and 255": Mistake(
        lambda: compound()(LOGITS[:, :2], MASK[:, 0] * 255),
        ("target", "target // 255"),
        lambda: compound()(LOGITS[:, :2], MASK[:, 0] * 255 // 255),
    ),
    "a mask of -1 and 1": Mistake(
        lambda: CompoundLoss()(LOGIT, 2 * MASK - 1),
        ("(target + 1) / 2",),
        lambda: CompoundLoss()(LOGIT, (2 * MASK - 1 + 1) / 2),
    ),
    "labels that begin at 1": Mistake(
        lambda: compound()(LOGITS, LABELS + 1),
        ("these start at 1", "target - 1"),
        lambda: compound()(LOGITS, LABELS + 1 - 1),
    ),
    "a class too many": Mistake(
        lambda: multi()(LOGITS, LABELS4),
        ("target holds the label 3", "the network needs 4 output channels (n_classes=4)"),
        lambda: SegLoss(n_classes=4)(LOGITS4, LABELS4),
    ),
    "void pixels": Mistake(
        lambda: compound()(LOGITS, LABELS.masked_fill(LABELS == 1, 255)),
        ("target", "set ignore_index=255"),
        lambda: compound(ignore_index=255)(LOGITS, LABELS.masked_fill(LABELS == 1, 255)),
    ),
    "void pixels of -1": Mistake(
        lambda: fn.cross_entropy(LOGITS, LABELS.masked_fill(LABELS == 1, -1)),
        ("target", "set ignore_index=-1"),
        lambda: fn.cross_entropy(LOGITS, LABELS.masked_fill(LABELS == 1, -1), ignore_index=-1),
    ),
    "a mask after ToTensor": Mistake(
        lambda: compound()(LOGITS, LABELS / 255),
        ("target", "(255 * target).round()"),
        lambda: compound()(LOGITS, (255 * (LABELS / 255)).round()),
    ),
    "labels after interpolation": Mistake(
        lambda: compound()(LOGITS, LABELS + 0.5),
        ("target", "mode='nearest'"),
        lambda: compound()(LOGITS, F.interpolate(LABELS[:, None].float(), (8, 12), mode="nearest")),
    ),
    "an image in colour": Mistake(
        lambda: compound()(LOGITS, torch.stack([LABELS * 100] * 3, 1)),
        ("target", "map its colours to class indices"),
        lambda: compound()(LOGITS, torch.stack([LABELS * 100] * 3, 1)[:, 0] // 100),
    ),
    "an image with transparency": Mistake(
        lambda: compound()(LOGITS, torch.stack([LABELS * 100] * 4, -1)),
        ("target", "map its colours to class indices"),
        lambda: compound()(LOGITS, torch.stack([LABELS * 100] * 4, -1)[..., 0] // 100),
    ),
    "logits for probabilities": Mistake(
        lambda: SegLoss()(LOGIT, MASK),
        ("prediction must hold probabilities", "set from_logits=True"),
        lambda: SegLoss(from_logits=True)(LOGIT, MASK),
    ),
    "logits for BCELoss": Mistake(
        lambda: LossWrapper(nn.BCELoss())(LOGIT, MASK),
        ("pass prediction.sigmoid()",),
        lambda: LossWrapper(nn.BCELoss())(LOGIT.sigmoid(), MASK),
    ),
    "negative weights": Mistake(
        lambda: compound()(LOGITS, LABELS, pixel_weights=-WEIGHTS),
        ("pixel_weights", "give them the weight 0"),
        lambda: compound()(LOGITS, LABELS, pixel_weights=0 * WEIGHTS),
    ),
    "an ignored class of one-hot masks": Mistake(
        lambda: compound(ignore_index=0)(LOGITS, ONE_HOT),
        ("target", "target.argmax(1)"),
        lambda: compound(ignore_index=0)(LOGITS, ONE_HOT.argmax(1)),
    ),
    "a mask of three grey levels": Mistake(
        lambda: CompoundLoss()(LOGIT, LABELS * 127),
        ("target", "target / 255"),
        lambda: CompoundLoss()(LOGIT, LABELS * 127 / 255),
    ),
    "a map of an array with channels": Mistake(
        lambda: SignedDistanceMap()(mask=MASK[0].numpy()),
        ("mask must be a label map (H, W)", "mask.squeeze(0)"),
        lambda: SignedDistanceMap()(mask=MASK[0].squeeze(0).numpy()),
    ),
    "a map of a batch": Mistake(
        lambda: SignedDistanceMap()(mask=MASK),
        ("mask must be a label map (H, W)", "make the map of each sample"),
        lambda: [SignedDistanceMap()(mask=each.squeeze(0)) for each in MASK],
    ),
    "a map of one-hot masks": Mistake(
        lambda: SignedDistanceMap()(mask=ONE_HOT[0]),
        ("one-hot masks", "mask.argmax(0)"),
        lambda: SignedDistanceMap(3)(mask=ONE_HOT[0].argmax(0)),
    ),
    "a map of a mask of 0 and 255": Mistake(
        lambda: SignedDistanceMap()(mask=MASK[0, 0] * 255),
        ("mask holds the label 255, expected 0 to 1", "mask // 255"),
        lambda: SignedDistanceMap()(mask=MASK[0, 0] * 255 // 255),
    ),
    "a map of more classes": Mistake(
        lambda: SignedDistanceMap()(mask=LABELS[0]),
        ("mask holds the label 2, expected 0 to 1", "n_classes=3"),
        lambda: SignedDistanceMap(n_classes=3)(mask=LABELS[0]),
    ),
    "a map of a mask with void pixels": Mistake(
        lambda: SignedDistanceMap(3)(mask=LABELS[0].masked_fill(LABELS[0] == 1, 255)),
        ("mask holds the label 255", "set ignore_index=255"),
        lambda: SignedDistanceMap(3, ignore_index=255)(
            mask=LABELS[0].masked_fill(LABELS[0] == 1, 255)
        ),
    ),
}

FRAME_FIELD = {
    f"an angle {form}, {door}": Mistake(
        lambda call=call, angle=angle: call(angle),
        (ANGLE, "in radians", remedy),
        lambda call=call, angle=angle, mend=mend: call(mend(angle)),
    )
    for door, call in {
        "in a loss": lambda angle: segloss.CrossfieldAlignLoss()(
            {"crossfield": FIELD}, {"gt_polygons_image": BOTH, "gt_crossfield_angle": angle}
        ),
        "before a loss": lambda angle: segloss.compute_gt_field(
            {}, {"gt_crossfield_angle": angle.clone()}
        ),
    }.items()
    for form, angle, remedy, mend in [
        ("in degrees", DEGREES, f"torch.deg2rad({ANGLE})", torch.deg2rad),
        ("in degrees as ints", DEGREES.int(), f"torch.deg2rad({ANGLE})", torch.deg2rad),
        ("of 8 bits", DEGREES.byte(), f"{ANGLE} * math.pi / 255", lambda x: x * math.pi / 255),
    ]
}

NAMES: dict[str, Mistake] = {
    f"{made.__name__}({wrong}=...)": Mistake(
        lambda made=made, first=first, wrong=wrong, value=value: made(*first, **{wrong: value}),
        (made.__name__, repr(wrong), f"did you mean {right!r}?"),
        lambda made=made, first=first, right=right, value=value: made(*first, **{right: value}),
    )
    for made, first, wrong, right, value in [
        (SegLoss, (), "num_classes", "n_classes", 4),
        (SegLoss, (), "nclasses", "n_classes", 4),
        (SegLoss, (), "classes", "n_classes", 4),
        (SegLoss, (), "dice_cof", "dice_coef", 1.0),
        (SegLoss, (), "bce_weight", "bce_coef", 1.0),
        (SegLoss, (), "weight", "class_weights", [1.0, 2.0]),
        (SegLoss, (), "ignore_label", "ignore_index", 255),
        (SegLoss, (), "eps", "smooth", 1e-5),
        (SegLoss, (), "sigmoid", "activation", "sigmoid"),
        (SegLoss, (), "alpha", "tversky_alpha", 0.5),
        (CompoundLoss, (), "ignore_idx", "ignore_index", 255),
        (CompoundLoss, (), "weights", "class_weights", [1.0]),
        (CompoundLoss, (), "mod", "mode", "multiclass"),
        (MultiLoss, ([SegLoss()], [1.0]), "epoch_treshold", "epoch_thresholds", [1, 2]),
        (MultiLoss, ([SegLoss()], [1.0]), "milestones", "epoch_thresholds", [1, 2]),
        (MultiLoss, ([SegLoss()], [1.0]), "normalise_losses", "normalize_losses", False),
        (LossWrapper, (nn.MSELoss(),), "nam", "name", "mse"),
        (DeepSupervision, (SegLoss(),), "weight", "weights", [1.0]),
        (MixUp, (), "alhpa", "alpha", 1.0),
        (CutMix, (), "key", "gt_key", "mask"),
        (LovaszLoss, (), "per_imag", "per_image", True),
        (SoftClDiceLoss, (), "iters", "iterations", 3),
        (OhemCrossEntropyLoss, (), "thresh", "threshold", 0.5),
        (TopKCrossEntropyLoss, (), "ignore", "ignore_index", 255),
        (TopK, (), "K", "k", 5.0),
        (SignedDistanceMap, (), "num_classes", "n_classes", 3),
        (segloss.UncertaintyWeighting, (), "num_loss", "num_losses", 3),
    ]
} | {
    "DiceLoss(smoth=...)": Mistake(
        lambda: DiceLoss("multiclass", smoth=1.0),
        ("DiceLoss", "smoth", "did you mean 'smooth'?"),
        lambda: DiceLoss("multiclass", smooth=1.0),
    ),
    "FocalLoss(gama=...)": Mistake(
        lambda: FocalLoss("multiclass", gama=2.0),
        ("FocalLoss", "gama", "did you mean 'gamma'?"),
        lambda: FocalLoss("multiclass", gamma=2.0),
    ),
    "DiceLoss(include_background=...)": Mistake(
        lambda: DiceLoss("multiclass", include_background=False),
        ("DiceLoss", "include_background", "did you mean 'region_classes'?"),
        lambda: DiceLoss("multiclass", region_classes=[1, 2]),
    ),
    "Dice(smoth=...)": Mistake(
        lambda: Dice(smoth=1.0),
        ("Dice", "'smoth'", "did you mean 'smooth'?"),
        lambda: Dice(smooth=1.0),
    ),
    "Dice(1.0)": Mistake(
        lambda: Dice(1.0),
        ("Dice takes only keyword arguments", "smooth"),
        lambda: Dice(smooth=1.0),
    ),
    "seg_loss(num_classes=...)": Mistake(
        lambda: fn.seg_loss(LOGITS, LABELS, num_classes=3),
        ("seg_loss()", "'num_classes'", "did you mean 'n_classes'?"),
        lambda: fn.seg_loss(LOGITS, LABELS, n_classes=3),
    ),
    "cross_entropy(weight=...)": Mistake(
        lambda: fn.cross_entropy(LOGITS, LABELS, weight=[1.0, 2.0, 3.0]),
        ("cross_entropy()", "'weight'", "did you mean 'class_weights'?"),
        lambda: fn.cross_entropy(LOGITS, LABELS, class_weights=[1.0, 2.0, 3.0]),
    ),
    "dice_loss(smoth=...)": Mistake(
        lambda: fn.dice_loss(LOGITS, LABELS, n_classes=3, smoth=1.0),
        ("dice_loss()", "'smoth'", "did you mean 'smooth'?"),
        lambda: fn.dice_loss(LOGITS, LABELS, n_classes=3, smooth=1.0),
    ),
    "soft_confusion(num_classes=...)": Mistake(
        lambda: segloss.soft_confusion(LOGITS, LABELS, num_classes=3),
        ("soft_confusion()", "did you mean 'n_classes'?"),
        lambda: segloss.soft_confusion(LOGITS, LABELS, n_classes=3),
    ),
    "CompoundLoss(num_classes=...)": Mistake(
        lambda: compound(num_classes=3),
        ("CompoundLoss()", "'num_classes'", "so leave it out"),
        lambda: compound(),
    ),
    "CompoundLoss(lambda_dice=...)": Mistake(
        lambda: compound(lambda_dice=2.0),
        ("CompoundLoss()", "'lambda_dice'", "terms={'cross_entropy': 0.5, 'dice': 0.5}"),
        lambda: compound(terms={"cross_entropy": 1.0, "dice": 2.0}),
    ),
    "CompoundLoss(batch_dice=...)": Mistake(
        lambda: compound(batch_dice=True),
        ("CompoundLoss()", "'batch_dice'", "Dice(region_reduction=...)"),
        lambda: compound(CrossEntropy() + Dice(region_reduction="batch")),
    ),
    "CompoundLoss(name=...)": Mistake(
        lambda: compound(name="seg"),
        ("CompoundLoss()", "'name'", "LossWrapper(loss, name=...)"),
        lambda: LossWrapper(compound(), name="seg"),
    ),
    "LossWrapper(weight=...)": Mistake(
        lambda: LossWrapper(nn.CrossEntropyLoss(), weight=0.5),
        ("LossWrapper()", "'weight'", "MultiLoss([...], weights=[...])"),
        lambda: MultiLoss([nn.CrossEntropyLoss()], weights=[0.5]),
    ),
    "CrossEntropy(weight=...)": Mistake(
        lambda: CrossEntropy(weight=[1.0, 2.0, 3.0]),
        ("'weight'", "CompoundLoss(CrossEntropy(), class_weights=...)"),
        lambda: compound(CrossEntropy(), class_weights=[1.0, 2.0, 3.0]),
    ),
    "Dice(ignore_index=...)": Mistake(
        lambda: Dice(ignore_index=255),
        ("'ignore_index'", "CompoundLoss(Dice(), ignore_index=...)"),
        lambda: compound(Dice(), ignore_index=255),
    ),
    "a term by its short name": Mistake(
        lambda: compound({"ce": 1.0, "iou": 1.0}),
        ("'ce'", "did you mean 'cross_entropy'?"),
        lambda: compound({"cross_entropy": 1.0, "jaccard": 1.0}),
    ),
    "iou for a term": Mistake(
        lambda: compound({"iou": 1.0}),
        ("'iou'", "did you mean 'jaccard'?"),
        lambda: compound({"jaccard": 1.0}),
    ),
    "a loss by its short name": Mistake(
        lambda: get_loss("ce"),
        ("'ce'", "did you mean 'cross_entropy'?"),
        lambda: get_loss("cross_entropy"),
    ),
    "a loss by its class": Mistake(
        lambda: get_loss("DiceLoss"),
        ("'DiceLoss'", "did you mean 'soft_dice'?"),
        lambda: get_loss("soft_dice")("multiclass"),
    ),
    "a loss of its own among the terms": Mistake(
        lambda: multi(extra_terms={"lovasz": 1.0}),
        ("'lovasz'", "put a SegLoss and a LovaszLoss into a MultiLoss"),
        lambda: MultiLoss([multi(), LovaszLoss("multiclass")], [1.0, 1.0]),
    ),
    "an object of such a loss among the terms": Mistake(
        lambda: multi(extra_terms={"lov": {"term": LovaszLoss("multiclass"), "coef": 1.0}}),
        ("LovaszLoss", "put a SegLoss and a LovaszLoss into a MultiLoss"),
        lambda: MultiLoss([multi(), LovaszLoss("multiclass")], [1.0, 1.0]),
    ),
    "a loss by another name": Mistake(
        lambda: get_loss("dicee"),
        ("'dicee'", "did you mean 'dice'?"),
        lambda: get_loss("dice"),
    ),
    "a backend by another name": Mistake(
        lambda: use_backend("torc"),
        ("'torc'", "did you mean 'torch'?"),
        lambda: use_backend("torch"),
    ),
}

ARGUMENTS = {
    "mode='softmax'": Mistake(
        lambda: DiceLoss("softmax"),
        ("mode", "did you mean 'multiclass'?"),
        lambda: DiceLoss("multiclass"),
    ),
    "mode='multi-class'": Mistake(
        lambda: LovaszLoss("multi-class"),
        ("mode", "did you mean 'multiclass'?"),
        lambda: LovaszLoss("multiclass"),
    ),
    "mode=4": Mistake(
        lambda: DiceLoss(4),
        ("mode", "set mode='multiclass'"),
        lambda: DiceLoss(mode="multiclass"),
    ),
    "a mode as terms": Mistake(
        lambda: CompoundLoss("multiclass"),
        ("terms", "pass mode='multiclass'"),
        lambda: CompoundLoss(mode="multiclass"),
    ),
    "the label smoothing of PyTorch": Mistake(
        lambda: SegLoss(label_smoothing=0.1),
        ("label_smoothing", "set use_label_smooth=True, and smooth_factor to it"),
        lambda: SegLoss(use_label_smooth=True, smooth_factor=0.1),
    ),
    "another reduction of a SegLoss": Mistake(
        lambda: SegLoss(reduction="none"),
        ("reduction", "CompoundLoss(reduction=...)"),
        lambda: CompoundLoss(CrossEntropy(), reduction="none"),
    ),
    "a typo in the settings of norms": Mistake(
        lambda: MultiLoss([SegLoss()], normalization_params={"max_sample": 10}),
        ("normalization_params['max_sample']", "did you mean 'max_samples'?"),
        lambda: MultiLoss([SegLoss()], normalization_params={"max_samples": 10}),
    ),
    "norms of a network": Mistake(
        lambda: segloss.compute_norms(SegLoss(), nn.Conv2d(3, 1, 1)),
        ("batches", "Conv2d", "pass ((model(x), y) for x, y in loader)"),
        lambda: segloss.compute_norms(SegLoss(n_classes=4), [(LOGITS4, LABELS4)]),
    ),
    "norms of a loader of images": Mistake(
        lambda: segloss.compute_norms(SegLoss(), torch.utils.data.DataLoader([(LOGITS4, LABELS4)])),
        ("batches", "DataLoader", "pass ((model(x), y) for x, y in loader)"),
        lambda: segloss.compute_norms(SegLoss(n_classes=4), [(LOGITS4, LABELS4)]),
    ),
    "a typo in the weight of an entry": Mistake(
        lambda: block(entry={"wieght": 1.0}),
        ("loss_list[0].wieght", "did you mean 'weight'?"),
        lambda: block(entry={"weight": 1.0}),
    ),
    "one batch in place of a loader": Mistake(
        lambda: segloss.diagnose(SegLoss(n_classes=4), (LOGITS4, LABELS4), quiet=True),
        ("batches", "a tensor of shape", "pass a list of it, [batch]"),
        lambda: segloss.diagnose(SegLoss(n_classes=4), [(LOGITS4, LABELS4)], quiet=True),
    ),
    "a class of terms in a mixture": Mistake(
        lambda: 0.5 * Dice + 0.5 * CrossEntropy,
        ("Dice is a class", "an instance of it, Dice(...)"),
        lambda: 0.5 * Dice() + 0.5 * CrossEntropy(),
    ),
    "the number of classes as the name": Mistake(
        lambda: SegLoss(4),
        ("name", "n_classes=4"),
        lambda: SegLoss(n_classes=4),
    ),
    "n_classes='4'": Mistake(
        lambda: SegLoss(n_classes="4"),
        ("n_classes", "pass 4, without quotes"),
        lambda: SegLoss(n_classes=4),
    ),
    "n_classes=4.0": Mistake(
        lambda: SegLoss(n_classes=4.0),
        ("n_classes", "pass 4"),
        lambda: SegLoss(n_classes=4),
    ),
    "n_classes=1": Mistake(
        lambda: SegLoss(n_classes=1),
        ("n_classes", "is n_classes=2"),
        lambda: SegLoss(n_classes=2),
    ),
    "dice_coef='1'": Mistake(
        lambda: SegLoss(dice_coef="1"),
        ("dice_coef", "pass 1, without quotes"),
        lambda: SegLoss(dice_coef=1),
    ),
    "dice_coef=True": Mistake(
        lambda: SegLoss(dice_coef=True),
        ("dice_coef", "pass 1.0"),
        lambda: SegLoss(dice_coef=1.0),
    ),
    "dice_coef=[1.0]": Mistake(
        lambda: SegLoss(dice_coef=[1.0]),
        ("dice_coef", "pass 1.0"),
        lambda: SegLoss(dice_coef=1.0),
    ),
    "ignore_index='255'": Mistake(
        lambda: multi(ignore_index="255"),
        ("ignore_index", "pass 255"),
        lambda: multi(ignore_index=255),
    ),
    "from_logits=1": Mistake(
        lambda: SegLoss(from_logits=1),
        ("from_logits", "pass True"),
        lambda: SegLoss(from_logits=True),
    ),
    "use_label_smooth='true'": Mistake(
        lambda: SegLoss(use_label_smooth="true"),
        ("use_label_smooth", "pass True"),
        lambda: SegLoss(use_label_smooth=True),
    ),
    "activation='Softmax'": Mistake(
        lambda: SegLoss(activation="Softmax"),
        ("activation", "did you mean 'softmax'?"),
        lambda: SegLoss(activation="softmax"),
    ),
    "activation='multiclass'": Mistake(
        lambda: SegLoss(activation="multiclass"),
        ("activation", "did you mean 'softmax'?"),
        lambda: SegLoss(activation="softmax"),
    ),
    "reduction='avg'": Mistake(
        lambda: CompoundLoss(reduction="avg"),
        ("reduction", "did you mean 'mean'?"),
        lambda: CompoundLoss(reduction="mean"),
    ),
    "smooth_factor=10": Mistake(
        lambda: SegLoss(use_label_smooth=True, smooth_factor=10),
        ("smooth_factor must be in [0, 1], got 10",),
        lambda: SegLoss(use_label_smooth=True, smooth_factor=0.1),
    ),
    "region_classes=1": Mistake(
        lambda: multi(region_classes=1),
        ("region_classes", "pass [1]"),
        lambda: multi(region_classes=[1]),
    ),
    "region_classes of floats": Mistake(
        lambda: multi(region_classes=[1.0, 2.0]),
        ("region_classes[0] must be an int, got 1.0", "pass 1"),
        lambda: multi(region_classes=[1, 2]),
    ),
    "region_classes as a mask": Mistake(
        lambda: multi(region_classes=[False, True, True]),
        ("region_classes must hold class indices", "pass [1, 2]"),
        lambda: multi(region_classes=[1, 2]),
    ),
    "no region_classes": Mistake(
        lambda: multi(region_classes=[]),
        ("region_classes", "leave region_classes out for all classes"),
        lambda: multi(),
    ),
    "class_weights of four dimensions": Mistake(
        lambda: multi(class_weights=torch.ones(1, 3, 1, 1)),
        ("class_weights", "pass class_weights.flatten().tolist()"),
        lambda: multi(class_weights=torch.ones(1, 3, 1, 1).flatten().tolist()),
    ),
    "class_names as text": Mistake(
        lambda: multi(class_names="a, b, c"),
        ("class_names", "pass ['a', 'b', 'c']"),
        lambda: multi(class_names=["a", "b", "c"]),
    ),
    "use_label_smooth=0.1": Mistake(
        lambda: SegLoss(use_label_smooth=0.1),
        ("use_label_smooth=True, smooth_factor=0.1",),
        lambda: SegLoss(use_label_smooth=True, smooth_factor=0.1),
    ),
    "softmax of one channel": Mistake(
        lambda: fn.cross_entropy(LOGIT, MASK),
        ("pred", "one channel", "segloss.functional.binary_cross_entropy"),
        lambda: fn.binary_cross_entropy(LOGIT, MASK),
    ),
    "arguments of a function without keywords": Mistake(
        lambda: fn.focal_loss(LOGIT, MASK, 2.0),
        ("focal_loss() takes 2 positional arguments, got 3", "gamma=..."),
        lambda: fn.focal_loss(LOGIT, MASK, gamma=2.0),
    ),
    "arguments of a class for its name": Mistake(
        lambda: get_loss("jaccard", mode="multiclass"),
        ("'mode'", "get_loss('jaccard')(mode=...)"),
        lambda: get_loss("jaccard")(mode="multiclass"),
    ),
    "tensors for extra information": Mistake(
        lambda: segloss.per_class(LOGITS, LABELS),
        ("info", "value, info = loss(prediction, target)"),
        lambda: segloss.per_class(multi()(LOGITS, LABELS)[1], "dice"),
    ),
    "region_classes of another number": Mistake(
        lambda: multi(region_classes=[1, 3]),
        ("region_classes=[1, 3]", "3 classes (0 to 2)"),
        lambda: multi(region_classes=[1, 2]),
    ),
    "class_weights without the background": Mistake(
        lambda: multi(class_weights=[2, 5]),
        ("class_weights", "put it first: class_weights=[1, 2, 5]"),
        lambda: multi(class_weights=[1, 2, 5]),
    ),
    "class_weights as a mapping": Mistake(
        lambda: multi(class_weights={0: 1.0, 1: 2.0, 2: 5.0}),
        ("class_weights", "list(class_weights.values())"),
        lambda: multi(class_weights=list({0: 1.0, 1: 2.0, 2: 5.0}.values())),
    ),
    "class_weights of one mask": Mistake(
        lambda: binary(class_weights=[1, 3])(LOGIT, MASK),
        ("class_weights", "use pos_weight"),
        lambda: binary(pos_weight=3)(LOGIT, MASK),
    ),
    "pos_weight of several classes": Mistake(
        lambda: multi(pos_weight=3.0),
        ("pos_weight", "use class_weights"),
        lambda: multi(class_weights=[1, 3, 3]),
    ),
    "class_weights of a Dice loss": Mistake(
        lambda: DiceLoss("multiclass", class_weights=[1, 2, 3]),
        ("class_weights", "region_class_weights"),
        lambda: DiceLoss("multiclass", region_class_weights=[1, 2, 3]),
    ),
    "no term": Mistake(
        lambda: SegLoss(bce_coef=0, dice_coef=0),
        ("bce_coef", "must be above 0"),
        lambda: SegLoss(bce_coef=0, dice_coef=1),
    ),
    "terms in a list": Mistake(
        lambda: compound([CrossEntropy(), Dice()]),
        ("terms", "add them up, CrossEntropy() + Dice()"),
        lambda: compound(CrossEntropy() + Dice()),
    ),
    "the class of a term": Mistake(
        lambda: compound(Dice),
        ("terms", "Dice()"),
        lambda: compound(Dice()),
    ),
    "PyTorch's loss for a term": Mistake(
        lambda: compound(nn.CrossEntropyLoss()),
        ("terms", "did you mean 'CrossEntropy()'?"),
        lambda: compound(CrossEntropy()),
    ),
    "two terms as two arguments": Mistake(
        lambda: CompoundLoss(Dice(), CrossEntropy()),
        ("mode", "add up terms with +"),
        lambda: CompoundLoss(Dice() + CrossEntropy()),
    ),
    "a term that is called": Mistake(
        lambda: Dice()(LOGITS, LABELS),
        ("Dice() is a term", "CompoundLoss(Dice())"),
        lambda: compound(Dice())(LOGITS, LABELS),
    ),
    "a mixture that is called": Mistake(
        lambda: (Dice() + CrossEntropy())(LOGITS, LABELS),
        ("is a mixture of terms", "CompoundLoss(Dice() + CrossEntropy())"),
        lambda: compound(Dice() + CrossEntropy())(LOGITS, LABELS),
    ),
    "terms subtracted": Mistake(
        lambda: CrossEntropy() - Dice(),
        ("CrossEntropy() and Dice()", "0.5 * CrossEntropy() + 0.5 * Dice()"),
        lambda: 0.5 * CrossEntropy() + 0.5 * Dice(),
    ),
    "a term with a sign": Mistake(
        lambda: -Dice(),
        ("another operation on Dice()", "numbers above 0"),
        lambda: 1.0 * Dice(),
    ),
    "a term and a number": Mistake(
        lambda: Dice() + 1,
        ("another operation on Dice() and 1", "multiplied"),
        lambda: Dice() * 1,
    ),
    "a term and PyTorch's loss": Mistake(
        lambda: Dice() + nn.CrossEntropyLoss(),
        ("CrossEntropyLoss()", "did you mean 'CrossEntropy()'?"),
        lambda: Dice() + CrossEntropy(),
    ),
    "a term and the name of another": Mistake(
        lambda: Dice() + "focal",
        ("'focal'", "did you mean 'Focal()'?"),
        lambda: Dice() + Focal(),
    ),
    "a loss for a term": Mistake(
        lambda: compound(DiceLoss()),
        ("terms", "pass its term, Dice(...)"),
        lambda: compound(Dice()),
    ),
    "a fraction above 1 as a percentage": Mistake(
        lambda: TopKCrossEntropyLoss(k=1000),
        ("k, a percentage, must be in (0, 100]",),
        lambda: TopKCrossEntropyLoss(k=100),
    ),
    "the name of a term": Mistake(
        lambda: compound("dice"),
        ("terms", "pass {'dice': 1.0}"),
        lambda: compound({"dice": 1.0}),
    ),
    "losses in a mixture": Mistake(
        lambda: 0.5 * DiceLoss() + 0.5 * FocalLoss(),
        ("DiceLoss", "mix the terms", "CompoundLoss"),
        lambda: CompoundLoss(0.5 * Dice() + 0.5 * CrossEntropy()),
    ),
    "a SegLoss times a number": Mistake(
        lambda: 0.5 * SegLoss(),
        ("SegLoss is a loss", "MultiLoss([...], weights=[...])"),
        lambda: MultiLoss([SegLoss()], weights=[0.5]),
    ),
    "a loss of shapes times a number": Mistake(
        lambda: 0.5 * LovaszLoss(),
        ("LovaszLoss is a loss", "MultiLoss([...], weights=[...])"),
        lambda: MultiLoss([LovaszLoss()], weights=[0.5]),
    ),
    "a term twice": Mistake(
        lambda: Dice() + Dice(region_classes=[1]),
        ("dice", ".named("),
        lambda: Dice() + Dice(region_classes=[1]).named("lesions"),
    ),
    "extra_terms in a list": Mistake(
        lambda: SegLoss(extra_terms=["jaccard"]),
        ("extra_terms", "pass {'jaccard': 1.0}"),
        lambda: SegLoss(extra_terms={"jaccard": 1.0}),
    ),
    "an extra term by another name": Mistake(
        lambda: SegLoss(extra_terms={"jacard": 1.0}),
        ("extra_terms", "did you mean 'jaccard'?"),
        lambda: SegLoss(extra_terms={"jaccard": 1.0}),
    ),
    "an extra term without a coefficient": Mistake(
        lambda: SegLoss(extra_terms={"focal": {"gamma": 2.0}}),
        ("extra_terms['focal']", "'coef'"),
        lambda: SegLoss(extra_terms={"focal": {"gamma": 2.0, "coef": 1.0}}),
    ),
    "an extra term with a weight": Mistake(
        lambda: SegLoss(extra_terms={"focal": {"weight": 0.5}}),
        ("extra_terms['focal']", "'weight' (did you mean 'coef'?)"),
        lambda: SegLoss(extra_terms={"focal": {"coef": 0.5}}),
    ),
    "a name without its term": Mistake(
        lambda: SegLoss(extra_terms={"lesions": {"coef": 0.5, "smooth": 0.0}}),
        ("extra_terms['lesions']", "add the term's name, such as 'term': 'dice'"),
        lambda: SegLoss(extra_terms={"lesions": {"coef": 0.5, "smooth": 0.0, "term": "dice"}}),
    ),
    "a sum as text": Mistake(
        lambda: compound("0.5*dice + 0.5*cross_entropy"),
        ("terms", "{'cross_entropy': 0.5, 'dice': 0.5}", "without quotes"),
        lambda: compound({"cross_entropy": 0.5, "dice": 0.5}),
    ),
    "terms beside coefficients": Mistake(
        lambda: SegLoss(terms=Dice(), dice_coef=1.0),
        ("dice_coef", "set it in the terms"),
        lambda: SegLoss(terms=1.0 * Dice()),
    ),
    "a selector beyond the channels": Mistake(
        lambda: SegLoss(pred_channel_selector=5)(BOTH.float(), MASK),
        ("pred_channel_selector=5", "prediction has 2 channels (0 to 1)"),
        lambda: SegLoss(pred_channel_selector=1)(BOTH.float(), MASK),
    ),
    "a selector of a label map": Mistake(
        lambda: multi(gt_channel_selector=0)(LOGITS, LABELS),
        ("gt_channel_selector", "leave gt_channel_selector out"),
        lambda: multi()(LOGITS, LABELS),
    ),
    "a selector as text": Mistake(
        lambda: SegLoss(gt_channel_selector="first"),
        ("gt_channel_selector", "'0:2' or '1'"),
        lambda: SegLoss(gt_channel_selector="0:2"),
    ),
    "class_names of another number": Mistake(
        lambda: multi(class_names=["a", "b"])(LOGITS, LABELS),
        ("class_names", "3, got 2"),
        lambda: multi(class_names=["a", "b", "c"])(LOGITS, LABELS),
    ),
}

SEVERAL = {
    "a schedule without thresholds": Mistake(
        lambda: scheduled(thresholds=None),
        ("'seg'", "epoch_thresholds"),
        lambda: scheduled(thresholds=[0, 10]),
    ),
    "a schedule of another length": Mistake(
        lambda: scheduled(thresholds=[0, 5, 10]),
        ("'seg'", "expected 3", "got 2"),
        lambda: scheduled([[0.0, 0.5, 1.0]], [0, 5, 10]),
    ),
    "thresholds in a tensor": Mistake(
        lambda: scheduled(thresholds=torch.tensor([0, 10])),
        ("epoch_thresholds", "pass epoch_thresholds.tolist()"),
        lambda: scheduled(thresholds=torch.tensor([0, 10]).tolist()),
    ),
    "a schedule as a mapping": Mistake(
        lambda: MultiLoss([SegLoss()], [{0: 1.0, 10: 0.5}]),
        ("'seg'", "pass [1.0, 0.5], and epoch_thresholds=[0, 10]"),
        lambda: MultiLoss([SegLoss()], [[1.0, 0.5]], epoch_thresholds=[0, 10]),
    ),
    "the epoch for normalize": Mistake(
        lambda: scheduled()(LOGIT, MASK, 3),
        ("normalize", "pass epoch=3"),
        lambda: scheduled()(LOGIT, MASK, epoch=3),
    ),
    "weights in a tensor": Mistake(
        lambda: MultiLoss([SegLoss()], torch.tensor([1.0])),
        ("expected a list of 1", "pass weights.tolist()"),
        lambda: MultiLoss([SegLoss()], torch.tensor([1.0]).tolist()),
    ),
    "weights in a mapping": Mistake(
        lambda: MultiLoss([SegLoss()], {"seg": 1.0}),
        ("expected a list of 1", "pass list(weights.values())"),
        lambda: MultiLoss([SegLoss()], list({"seg": 1.0}.values())),
    ),
    "a combiner by name": Mistake(
        lambda: MultiLoss([SegLoss()], [1.0], combiner="uncertainty"),
        ("combiner", "UncertaintyWeighting(1)"),
        lambda: MultiLoss([SegLoss()], [1.0], combiner=segloss.UncertaintyWeighting(1)),
    ),
    "weights of other classes in PyTorch's loss": Mistake(
        lambda: LossWrapper(nn.CrossEntropyLoss(torch.ones(4)))(LOGITS, LABELS),
        ("The weight of 'CrossEntropyLoss'", "3 channels, got 4"),
        lambda: LossWrapper(nn.CrossEntropyLoss(torch.ones(3)))(LOGITS, LABELS),
    ),
    "thresholds that decrease": Mistake(
        lambda: scheduled(thresholds=[10, 0]),
        ("epoch_thresholds must increase",),
        lambda: scheduled(thresholds=[0, 10]),
    ),
    "no epoch": Mistake(
        lambda: scheduled()(LOGIT, MASK),
        ("call set_epoch(epoch)",),
        lambda: at_epoch(0)(LOGIT, MASK),
    ),
    "one weight for two losses": Mistake(
        lambda: MultiLoss([SegLoss("a"), SegLoss("b")], [1.0]),
        ("weights must have one weight per loss", "expected 2"),
        lambda: MultiLoss([SegLoss("a"), SegLoss("b")], [1.0, 1.0]),
    ),
    "a number as weights": Mistake(
        lambda: MultiLoss([SegLoss()], 1.0),
        ("weights", "pass [1.0]"),
        lambda: MultiLoss([SegLoss()], [1.0]),
    ),
    "one loss, not in a list": Mistake(
        lambda: MultiLoss(SegLoss(), [1.0]),
        ("loss_funcs", "pass [loss_funcs]"),
        lambda: MultiLoss([SegLoss()], [1.0]),
    ),
    "losses in a mapping": Mistake(
        lambda: MultiLoss({"a": SegLoss()}, [1.0]),
        ("loss_funcs", "list(loss_funcs.values())"),
        lambda: MultiLoss(list({"a": SegLoss("a")}.values()), [1.0]),
    ),
    "the same name twice": Mistake(
        lambda: MultiLoss([SegLoss(), SegLoss()], [1.0, 1.0]),
        ("['seg']", "set name="),
        lambda: MultiLoss([SegLoss(), SegLoss(name="second")], [1.0, 1.0]),
    ),
    "a MultiLoss in a MultiLoss": Mistake(
        lambda: MultiLoss([MultiLoss([SegLoss()], [1.0])], [1.0]),
        ("loss_funcs", "put its losses into this one"),
        lambda: MultiLoss([SegLoss()], [1.0]),
    ),
    "a class for a loss": Mistake(
        lambda: LossWrapper(nn.CrossEntropyLoss),
        ("loss_func", "CrossEntropyLoss()"),
        lambda: LossWrapper(nn.CrossEntropyLoss()),
    ),
    "a term for a loss": Mistake(
        lambda: LossWrapper(Dice()),
        ("loss_func", "pass CompoundLoss(Dice())"),
        lambda: LossWrapper(CompoundLoss(Dice())),
    ),
    "a mixture for a loss in a list": Mistake(
        lambda: MultiLoss([Dice() + CrossEntropy()], [1.0]),
        ("loss_funcs[0]", "pass CompoundLoss(Dice() + CrossEntropy())"),
        lambda: MultiLoss([CompoundLoss(Dice() + CrossEntropy())], [1.0]),
    ),
    "a mixture for a list of losses": Mistake(
        lambda: MultiLoss(Dice() + CrossEntropy(), [1.0]),
        ("loss_funcs", "pass [CompoundLoss(Dice() + CrossEntropy())]"),
        lambda: MultiLoss([CompoundLoss(Dice() + CrossEntropy())], [1.0]),
    ),
    "the name first": Mistake(
        lambda: LossWrapper("ce", nn.CrossEntropyLoss()),
        ("name must be a str", "the loss comes first"),
        lambda: LossWrapper(nn.CrossEntropyLoss(), "ce"),
    ),
    "a name for a loss in a list": Mistake(
        lambda: MultiLoss(["soft_dice"], [1.0]),
        ("loss_funcs[0]", "segloss.get_loss(name)"),
        lambda: MultiLoss([get_loss("soft_dice")()], [1.0]),
    ),
    "a class for a loss in a list": Mistake(
        lambda: MultiLoss([SegLoss], [1.0]),
        ("loss_funcs[0]", "SegLoss()"),
        lambda: MultiLoss([SegLoss()], [1.0]),
    ),
    "a wrapped SegLoss": Mistake(
        lambda: LossWrapper(SegLoss()),
        ("loss_func", "use it directly"),
        lambda: MultiLoss([SegLoss()], [1.0]),
    ),
    "a wrapped loss of each pixel": Mistake(
        lambda: LossWrapper(nn.CrossEntropyLoss(reduction="none"))(LOGITS, LABELS),
        ("'CrossEntropyLoss'", "reduction to 'mean'"),
        lambda: LossWrapper(nn.CrossEntropyLoss(reduction="mean"))(LOGITS, LABELS),
    ),
    "another dtype by name": Mistake(
        lambda: LossWrapper(nn.MSELoss(), target_dtype="flaot32"),
        ("target_dtype", "'float32'"),
        lambda: LossWrapper(nn.MSELoss(), target_dtype="float32"),
    ),
    "mixup without use_mixup": Mistake(
        lambda: multi()(SEG, mixed()),
        ("'seg'", "set use_mixup=True"),
        lambda: multi(use_mixup=True)(SEG, mixed()),
    ),
    "half of the keys of mixup": Mistake(
        lambda: multi(use_mixup=True)(SEG, {**PIXELS, "mixup_y_a": LABELS}),
        ("gt_batch", "mixup_y_b, mixup_lam missing"),
        lambda: multi(use_mixup=True)(SEG, mixed()),
    ),
    "a lambda above 1": Mistake(
        lambda: multi(use_mixup=True)(SEG, mixed(mixup_lam=1.5)),
        ("gt_batch['mixup_lam'] must be in [0, 1]",),
        lambda: multi(use_mixup=True)(SEG, mixed(mixup_lam=0.5)),
    ),
    "a norm over no samples": Mistake(
        lambda: multi().update_norm(LOGITS, LABELS, 0),
        ("nums must be a finite number above 0",),
        lambda: multi().update_norm(LOGITS, LABELS, 2),
    ),
    "weights of other scales": Mistake(
        lambda: DeepSupervision(multi(), [1.0, 0.5])([LOGITS], LABELS),
        ("'seg'", "1 predictions and 2 weights"),
        lambda: DeepSupervision(multi(), [1.0, 0.5])([LOGITS, LOGITS[..., ::2, ::2]], LABELS),
    ),
}

CONFIGS = {
    "compund_loss": Mistake(
        lambda: block(inner="compund_loss"),
        ("loss_params.compund_loss", "did you mean 'compound_loss'?"),
        lambda: block(inner="compound_loss"),
    ),
    "loss_param": Mistake(
        lambda: block("loss_param"),
        ("loss_param", "did you mean 'loss_params'?"),
        lambda: block("loss_params"),
    ),
    "losses_list": Mistake(
        lambda: block(list="losses_list"),
        ("loss_params.compound_loss.losses_list", "did you mean 'loss_list'?"),
        lambda: block(list="loss_list"),
    ),
    "epoch_treshold": Mistake(
        lambda: block(epoch_treshold=[1]),
        ("epoch_treshold", "did you mean 'epoch_thresholds'?"),
        lambda: block(epoch_thresholds=[1]),
    ),
    "target without underscores": Mistake(
        lambda: build_loss({"loss": {"target": "segloss.SegLoss"}}),
        ("loss", "did you mean '_target_'?"),
        lambda: build_loss({"loss": {"_target_": "segloss.SegLoss"}}),
    ),
    "a class by another name": Mistake(
        lambda: build_loss({"loss": {"_target_": "segloss.SegLos"}}),
        ("loss._target_", "did you mean 'segloss.SegLoss'?"),
        lambda: build_loss({"loss": {"_target_": "segloss.SegLoss"}}),
    ),
    **{
        f"_target_: {wrong}": Mistake(
            lambda wrong=wrong: build_loss({"loss": {"_target_": wrong}}),
            ("loss._target_", f"did you mean {right!r}?"),
            lambda right=right: build_loss({"loss": {"_target_": right}}),
        )
        for wrong, right in {
            "segloss.losses.SegLoss": "segloss.SegLoss",
            "segloss.IoULoss": "segloss.JaccardLoss",
            "pytorch_segloss.SegLoss": "segloss.SegLoss",
            "Segloss.SegLoss": "segloss.SegLoss",
            "nn.CrossEntropyLoss": "torch.nn.CrossEntropyLoss",
            "torch.nn.functional.cross_entropy": "torch.nn.CrossEntropyLoss",
        }.items()
    },
    "a tensor in a config": Mistake(
        lambda: cross_entropy(weight={"_target_": "torch.tensor", "data": [1.0, 2.0]}),
        ("loss.weight._target_", "write the list itself"),
        lambda: cross_entropy(weight=[1.0, 2.0]),
    ),
    "num_classes in a config": Mistake(
        lambda: config(num_classes=4),
        ("loss.num_classes", "did you mean 'n_classes'?"),
        lambda: config(n_classes=4),
    ),
    "n_classes: '4'": Mistake(
        lambda: config(n_classes="4"),
        ("loss.n_classes", "pass 4, without quotes"),
        lambda: config(n_classes=4),
    ),
    "ignore_index: '255'": Mistake(
        lambda: config(n_classes=4, ignore_index="255"),
        ("loss.ignore_index", "pass 255, without quotes"),
        lambda: config(n_classes=4, ignore_index=255),
    ),
    "ignore_index: 'None'": Mistake(
        lambda: config(ignore_index="None"),
        ("loss.ignore_index", "leave it out"),
        lambda: config(),
    ),
    "dice_coef: true": Mistake(
        lambda: config(dice_coef=True),
        ("loss.dice_coef", "pass 1.0"),
        lambda: config(dice_coef=1.0),
    ),
    "dice_coef: [1.0]": Mistake(
        lambda: config(dice_coef=[1.0]),
        ("loss.dice_coef", "pass 1.0"),
        lambda: config(dice_coef=1.0),
    ),
    "from_logits: 'True'": Mistake(
        lambda: config(from_logits="True"),
        ("loss.from_logits", "pass True, without quotes"),
        lambda: config(from_logits=True),
    ),
    "ignore_index: '255' of PyTorch's loss": Mistake(
        lambda: cross_entropy(ignore_index="255"),
        ("loss.ignore_index", "pass 255, without quotes"),
        lambda: cross_entropy(ignore_index=255),
    ),
    "label_smoothing: '0.1' of PyTorch's loss": Mistake(
        lambda: cross_entropy(label_smoothing="0.1"),
        ("loss.label_smoothing", "pass 0.1, without quotes"),
        lambda: cross_entropy(label_smoothing=0.1),
    ),
    "weight: '1'": Mistake(
        lambda: block(entry={"weight": "1"}),
        ("loss_list[0].weight", "pass 1, without quotes"),
        lambda: block(entry={"weight": 1}),
    ),
    "a schedule without thresholds in a config": Mistake(
        lambda: block(entry={"weight": [0.0, 1.0]}),
        ("loss_list[0].weight", "epoch_thresholds"),
        lambda: block(entry={"weight": [0.0, 1.0]}, epoch_thresholds=[0, 10]),
    ),
    "coef of a loss in a list": Mistake(
        lambda: block(entry={"coef": 0.5}),
        ("loss_list[0].coef", "the factor of a loss in the sum is its weight"),
        lambda: block(entry={"weight": 0.5}),
    ),
    "epoch_thresholds of a loss in a list": Mistake(
        lambda: block(entry={"weight": 0.5, "epoch_thresholds": [0, 10]}),
        ("loss_list[0].epoch_thresholds", "beside the list of losses"),
        lambda: block(entry={"weight": 0.5}, epoch_thresholds=[0, 10]),
    ),
    "the mode of the tutorial's Dice": Mistake(
        lambda: build_loss({"loss": {"_target_": "dice", "mode": "multiclass"}}),
        ("loss.mode", "did you mean the other loss of this name, segloss.DiceLoss?"),
        lambda: build_loss({"loss": {"_target_": "segloss.DiceLoss", "mode": "multiclass"}}),
    ),
    "a name as the loss": Mistake(
        lambda: build_loss("loss: soft_dice"),
        ("loss must be a mapping", "write loss: {_target_: soft_dice}"),
        lambda: build_loss("loss: {_target_: soft_dice}"),
    ),
    "losses without dashes": Mistake(
        lambda: build_loss("losses: {type: soft_dice}"),
        ("losses must be a list", "begin each entry with a dash"),
        lambda: build_loss("losses:\n- {type: soft_dice}"),
    ),
    "loss_list without dashes": Mistake(
        lambda: build_loss("loss_params: {compound_loss: {loss_list: {_target_: soft_dice}}}"),
        ("loss_list must be a list", "begin each entry with a dash"),
        lambda: build_loss("loss_params: {compound_loss: {loss_list: [{_target_: soft_dice}]}}"),
    ),
    "names with weights": Mistake(
        lambda: build_loss("losses: [{soft_dice: 0.5}]"),
        ("losses[0] must have the key type", "write {type: soft_dice, weight: 0.5}"),
        lambda: build_loss("losses: [{type: soft_dice, weight: 0.5}]"),
    ),
    "arguments beside the type": Mistake(
        lambda: build_loss("losses: [{type: soft_dice, mode: multiclass}]"),
        ("losses[0].mode", "belong in its params"),
        lambda: build_loss("losses: [{type: soft_dice, params: {mode: multiclass}}]"),
    ),
    "params beside a target": Mistake(
        lambda: config(params={"n_classes": 3}),
        ("loss.params", "write the arguments beside _target_"),
        lambda: config(n_classes=3),
    ),
    "class_weights: None": Mistake(
        lambda: config(n_classes=3, class_weights="None"),
        ("class_weights", "leave it out for its default"),
        lambda: config(n_classes=3),
    ),
    "class_weights in quotes": Mistake(
        lambda: config(n_classes=3, class_weights="[1, 2, 3]"),
        ("class_weights", "pass [1, 2, 3], without quotes"),
        lambda: config(n_classes=3, class_weights=[1, 2, 3]),
    ),
    "weight in quotes": Mistake(
        lambda: cross_entropy(weight="1,2,3"),
        ("loss.weight", "pass [1, 2, 3], without quotes"),
        lambda: cross_entropy(weight=[1, 2, 3]),
    ),
    "tabs": Mistake(
        lambda: build_loss("loss:\n\t_target_: soft_dice"),
        ("The config can't be read", "indent it with spaces, not with tabs"),
        lambda: build_loss("loss:\n  _target_: soft_dice"),
    ),
    "a target of nothing": Mistake(
        lambda: build_loss({"loss": {"_target_": None}}),
        ("loss must have a _target_, such as 'segloss.SegLoss', got None",),
        lambda: build_loss({"loss": {"_target_": "segloss.SegLoss"}}),
    ),
    "a class of one's own": Mistake(
        lambda: build_loss({"loss": {"_target_": "numpy.float64"}}),
        ("loss._target_", "allow=('numpy.',)"),
        lambda: config(),
    ),
    "no file": Mistake(
        lambda: build_loss("no_file.yaml"),
        ("'no_file.yaml'",),
        lambda: build_loss("loss: {_target_: segloss.SegLoss}"),
    ),
}

MISTAKES: dict[str, Mistake] = {
    **SHAPES,
    **CALLS,
    **TENSORS,
    **VALUES,
    **FRAME_FIELD,
    **NAMES,
    **ARGUMENTS,
    **SEVERAL,
    **CONFIGS,
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_message_names_the_callers_objects_and_the_remedy_mends_the_call(name: str) -> None:
    wrong, words, mended = MISTAKES[name]
    with pytest.raises((TypeError, ValueError, KeyError, OSError)) as caught:
        wrong()
    message = str(caught.value)
    assert [each for each in words if each not in message] == [], message
    mended()


def test_nobody_reads_names_of_objects_that_they_do_not_have() -> None:
    for mistake in SHAPES.values():
        with pytest.raises((TypeError, ValueError)) as caught:
            mistake.wrong()
        has_batch = any("_batch[" in words for words in mistake.words)
        assert has_batch or "_batch[" not in str(caught.value)
        assert "selector" not in str(caught.value)


def test_there_are_enough_of_them() -> None:
    groups = [SHAPES, CALLS, TENSORS, VALUES, FRAME_FIELD, NAMES, ARGUMENTS, SEVERAL, CONFIGS]
    assert len(MISTAKES) == sum(map(len, groups)) >= 100
