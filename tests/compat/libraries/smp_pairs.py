"""Losses of segmentation-models-pytorch, and ours."""

from __future__ import annotations

from functools import partial
from itertools import chain

import segmentation_models_pytorch
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

import segloss
from segloss import functional as ours
from tests.compat.libraries.batches import Form
from tests.compat.libraries.pairs import (
    BATCH,
    IGNORES,
    IGNORING,
    MODES,
    SOFT,
    Pair,
    Pairs,
    as_masks,
    class_weights,
    compound,
    kept_share,
    soft_masks,
    with_float_target,
)

smp = segmentation_models_pytorch.losses

LIKE_SMP = {"soft_labels": "metric", **BATCH}
UNSMOOTHED = {"smooth": 0.0, **LIKE_SMP}
HALVES = {"alpha": 0.5, "beta": 0.5, **LIKE_SMP}


def of_overlap(form: Form) -> Pairs:
    mode = MODES[form]
    pair = partial(Pair, form, takes=soft_masks(form))

    def of_present_classes(x: Tensor, y: Tensor) -> Tensor:
        loss = segloss.DiceLoss(mode, skip_absent_classes=True, **UNSMOOTHED)
        masks = as_masks(y, x.shape[1]) if form == "labels" else y
        return loss(x, y) * (masks.sum((0, 2, 3)) > 0).double().mean()

    yield "dice", pair(smp.DiceLoss(mode), segloss.DiceLoss(mode, **UNSMOOTHED))
    yield "dice", pair(smp.JaccardLoss(mode), segloss.JaccardLoss(mode, **LIKE_SMP))
    yield "absent classes", pair(smp.DiceLoss(mode), of_present_classes)
    smoothed = segloss.DiceLoss(mode, smooth=2.0, **LIKE_SMP)
    yield "smooth", pair(smp.DiceLoss(mode, smooth=1.0), smoothed)
    smoothed = segloss.JaccardLoss(mode, smooth=1.0, **LIKE_SMP)
    yield "smooth", pair(smp.JaccardLoss(mode, smooth=1.0), smoothed)
    smoothed = segloss.TverskyLoss(mode, smooth=1.0, **HALVES)
    yield "smooth", pair(smp.TverskyLoss(mode, smooth=1.0), smoothed)
    log_dice = segloss.LogDiceLoss(mode, smooth=2.0, **LIKE_SMP)
    yield "log dice", pair(smp.DiceLoss(mode, log_loss=True, smooth=1.0), log_dice)
    log_dice = segloss.LogDiceLoss(mode, smooth=1e-9, **LIKE_SMP)
    yield "log dice", pair(smp.DiceLoss(mode, log_loss=True), log_dice)
    logs = {"log": True, **LIKE_SMP}
    log_dice = segloss.DiceLoss(mode, smooth=0.0, **logs)
    yield "log loss", pair(smp.DiceLoss(mode, log_loss=True), log_dice)
    log_jaccard = segloss.JaccardLoss(mode, **logs)
    yield "log loss", pair(smp.JaccardLoss(mode, log_loss=True), log_jaccard)
    log_tversky = segloss.TverskyLoss(mode, alpha=0.2, beta=0.8, **logs)
    theirs = smp.TverskyLoss(mode, alpha=0.2, beta=0.8, log_loss=True)
    yield "log loss", pair(theirs, log_tversky)
    tversky = segloss.TverskyLoss(mode, alpha=0.2, beta=0.8, **LIKE_SMP)
    yield "tversky", pair(smp.TverskyLoss(mode, alpha=0.2, beta=0.8), tversky)
    theirs = smp.TverskyLoss(mode, alpha=0.2, beta=0.8, gamma=2.0)
    yield "tversky gamma", pair(theirs, lambda x, y: tversky(x, y) ** 2)
    if form == "mask":
        focal = segloss.FocalTverskyLoss(alpha=0.2, beta=0.8, gamma=2.0, **LIKE_SMP)
        yield "tversky gamma", pair(theirs, focal)


def ignoring(form: Form) -> Pairs:
    mode = MODES[form]
    pair = partial(Pair, form, takes=IGNORES)
    dice = segloss.DiceLoss(mode, **UNSMOOTHED, **IGNORING)
    yield "ignore_index", pair(smp.DiceLoss(mode, **IGNORING), dice)
    jaccard = segloss.JaccardLoss(mode, **LIKE_SMP, **IGNORING)
    yield "ignore_index", pair(smp.JaccardLoss(mode, **IGNORING), jaccard)
    tversky = segloss.TverskyLoss(mode, **HALVES, **IGNORING)
    yield "ignore_index", pair(smp.TverskyLoss(mode, **IGNORING), tversky)


def of_some_classes(form: Form) -> Pairs:
    mode = MODES[form]
    pair = partial(Pair, form, takes=soft_masks(form))
    two = segloss.DiceLoss(mode, classes=[1, 3], **UNSMOOTHED)
    yield "classes", pair(smp.DiceLoss(mode, classes=[1, 3]), two)

    def theirs(x: Tensor, y: Tensor) -> Tensor:
        return smp.DiceLoss(mode, class_weights=class_weights(x))(x, y)

    def weighted(x: Tensor, y: Tensor) -> Tensor:
        return segloss.DiceLoss(mode, region_class_weights=class_weights(x), **UNSMOOTHED)(x, y)

    yield "classes", pair(theirs, weighted)


def of_pixels_of_masks(form: Form) -> Pairs:
    mode = MODES[form]
    pair = partial(Pair, form, takes=SOFT)
    focal = segloss.FocalLoss(mode, gamma=1.5, alpha=0.25)
    yield "focal", pair(smp.FocalLoss(mode, gamma=1.5, alpha=0.25), focal)
    theirs = smp.FocalLoss(mode, gamma=1.5, alpha=0.25, reduction="sum")
    yield "focal sum", pair(theirs, lambda x, y: focal(x, y) * y.numel() / y.shape[1])
    theirs = with_float_target(smp.SoftBCEWithLogitsLoss(smooth_factor=0.1))
    smoothed = partial(ours.binary_cross_entropy, label_smoothing=0.2)
    yield "binary smooth_factor", pair(theirs, smoothed)
    theirs = with_float_target(smp.SoftBCEWithLogitsLoss(**IGNORING))
    kept = partial(ours.binary_cross_entropy, **IGNORING)
    yield (
        "binary ignore_index",
        Pair(form, theirs, lambda x, y: kept(x, y) * kept_share(y), IGNORES),
    )


def of_pixels_of_one_mask() -> Pairs:
    kept = segloss.FocalLoss(**IGNORING)
    yield "focal ignore_index", Pair("mask", smp.FocalLoss("binary", **IGNORING), kept, IGNORES)
    theirs = with_float_target(smp.SoftBCEWithLogitsLoss(pos_weight=torch.tensor([3.0])))
    weighted = partial(ours.binary_cross_entropy, pos_weight=3.0)
    yield "pos_weight", Pair("mask", theirs, weighted, SOFT)
    mcc = segloss.MCCLoss(eps=1e-5, region_reduction="micro")
    yield "mcc", Pair("mask", lambda x, y: smp.MCCLoss()(x.sigmoid(), y), mcc, SOFT)


def of_pixels_of_classes() -> Pairs:
    focal = segloss.FocalLoss("multilabel", **IGNORING)
    theirs = smp.FocalLoss("multiclass", **IGNORING)
    yield "focal of classes", Pair("labels", theirs, focal, IGNORES)
    theirs = smp.FocalLoss("multiclass", reduction="sum")
    yield "focal sum", Pair("labels", theirs, lambda x, y: focal(x, y) * y.numel())
    smoothed = partial(ours.cross_entropy, label_smoothing=0.1, **IGNORING)
    theirs = smp.SoftCrossEntropyLoss(smooth_factor=0.1)
    yield "soft cross-entropy", Pair("labels", theirs, smoothed)
    theirs = smp.SoftCrossEntropyLoss(smooth_factor=0.1, **IGNORING)
    shared = Pair("labels", theirs, lambda x, y: smoothed(x, y) * kept_share(y), IGNORES)
    yield "soft cross-entropy ignore_index", shared


def of_lovasz(form: Form) -> Pairs:
    def theirs(x: Tensor, y: Tensor, **options: object) -> Tensor:
        """Theirs takes only float32; over no pixels it is 0, or an empty tensor."""
        return torch.as_tensor(smp.LovaszLoss(MODES[form], **options)(x.float(), y)).sum()

    for name, per_image in (("lovasz", False), ("lovasz per image", True)):
        options = {"per_image": per_image}
        ours = segloss.LovaszLoss(MODES[form], **options)
        yield name, Pair(form, partial(theirs, **options), ours, soft_masks(form))
    ours = segloss.LovaszLoss(MODES[form], **IGNORING)
    yield "lovasz ignore_index", Pair(form, partial(theirs, **IGNORING), ours, IGNORES)


def of_a_compound() -> Pairs:
    dice = smp.DiceLoss("multiclass")
    yield (
        "compound",
        Pair(
            "labels",
            lambda x, y: 0.3 * cross_entropy(x, y) + 0.7 * dice(x, y),
            partial(compound, bce_coef=0.3, dice_coef=0.7, smooth=0.0, **BATCH),
        ),
    )


def pairs() -> Pairs:
    for form in MODES:
        yield from chain(of_overlap(form), ignoring(form))
    for form in ("labels", "mask"):
        yield from of_lovasz(form)
    for form in ("labels", "masks"):
        yield from of_some_classes(form)
    for form in ("masks", "mask"):
        yield from of_pixels_of_masks(form)
    yield from chain(of_pixels_of_one_mask(), of_pixels_of_classes(), of_a_compound())
