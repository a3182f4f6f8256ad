"""Losses of kornia, and ours."""

from __future__ import annotations

from functools import partial

import kornia.losses as kornia
from torch import Tensor

import segloss
from tests.compat.libraries.batches import Form
from tests.compat.libraries.pairs import (
    IGNORES,
    IGNORING,
    MODES,
    SOFT,
    Pair,
    Pairs,
    class_weights,
    foreground,
    kept_share,
    mean_weight,
    with_float_target,
)

FOCAL = {"gamma": 2.0, "reduction": "mean"}


def of_masks(form: Form) -> Pairs:
    theirs = partial(kornia.binary_focal_loss_with_logits, alpha=0.25, **FOCAL)
    focal = segloss.FocalLoss(MODES[form], alpha=0.25)
    yield "binary focal", Pair(form, with_float_target(theirs), focal, SOFT)
    kept = segloss.FocalLoss(MODES[form], alpha=0.25, **IGNORING)
    theirs = with_float_target(partial(theirs, **IGNORING))
    shared = Pair(form, theirs, lambda x, y: kept(x, y) * kept_share(y), IGNORES)
    yield "binary focal ignore_index", shared


def of_classes() -> Pairs:
    pair, ignoring = partial(Pair, "labels"), partial(Pair, "labels", takes=IGNORES)

    def focal(x: Tensor, y: Tensor, **options: object) -> Tensor:
        return segloss.FocalLoss("multiclass", **options)(x, y) / x.shape[1]

    def focal_with_alpha(x: Tensor, y: Tensor) -> Tensor:
        return focal(x, y, alpha=[0.75, *[0.25 for _ in foreground(x)]])

    yield "focal", pair(partial(kornia.focal_loss, alpha=None, **FOCAL), focal)
    yield "focal", pair(partial(kornia.focal_loss, alpha=0.25, **FOCAL), focal_with_alpha)
    theirs = partial(kornia.focal_loss, alpha=None, **FOCAL, **IGNORING)
    kept = partial(focal, **IGNORING)
    yield "focal ignore_index", ignoring(theirs, lambda x, y: kept(x, y) * kept_share(y))
    options = {"skip_absent_classes": True, **IGNORING}
    dice = segloss.DiceLoss("multiclass", smooth=0.0, **options)
    yield "dice", ignoring(partial(kornia.dice_loss, average="macro", **IGNORING), dice)
    theirs = partial(kornia.tversky_loss, alpha=0.3, beta=0.7, **IGNORING)
    yield "dice", ignoring(theirs, segloss.TverskyLoss("multiclass", **options))
    for eps in (1e-8, 1.0):
        pooled = {"smooth": (0.0, eps), "region_reduction": "sample_micro", **IGNORING}
        micro = segloss.DiceLoss("multiclass", **pooled)
        theirs = partial(kornia.dice_loss, average="micro", eps=eps, **IGNORING)
        yield "dice micro", ignoring(theirs, micro)
    theirs = partial(kornia.dice_loss, average="macro", eps=1.0, **IGNORING)
    dice = segloss.DiceLoss("multiclass", smooth=(0.0, 1.0), **options)
    yield "eps", ignoring(theirs, dice)
    theirs = partial(kornia.tversky_loss, alpha=0.3, beta=0.7, eps=1.0, **IGNORING)
    tversky = segloss.TverskyLoss("multiclass", smooth=(0.0, 1.0), **options)
    yield "eps", ignoring(theirs, tversky)


def of_lovasz() -> Pairs:
    hinge = segloss.LovaszLoss("binary", per_image=True)
    theirs = kornia.lovasz_hinge_loss
    yield "lovasz hinge", Pair("mask", lambda x, y: theirs(x, y.squeeze(1)), hinge, SOFT)
    options = {"per_image": True, "classes": "all"}
    yield (
        "lovasz softmax",
        Pair("labels", kornia.lovasz_softmax_loss, segloss.LovaszLoss(**options)),
    )

    def weighted(x: Tensor, y: Tensor) -> Tensor:
        weights = class_weights(x)
        ours = segloss.LovaszLoss(class_weights=weights, **options)
        return ours(x, y) * mean_weight(x)

    def weighted_there(x: Tensor, y: Tensor) -> Tensor:
        return kornia.lovasz_softmax_loss(x, y, x.new_tensor(class_weights(x)))

    yield "lovasz weight", Pair("labels", weighted_there, weighted)


def pairs() -> Pairs:
    yield from of_classes()
    yield from of_lovasz()
    for form in ("masks", "mask"):
        yield from of_masks(form)
