"""Losses of nnU-Net, and ours. Theirs have 1 added: their Dice is the negative score."""

from __future__ import annotations

import warnings
from functools import partial
from itertools import chain

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

import segloss
from segloss import DeepSupervision, TopKCrossEntropyLoss
from segloss.terms import CrossEntropy
from tests.compat.libraries.batches import IGNORED, Form
from tests.compat.libraries.pairs import (
    BATCH,
    IGNORES,
    IGNORING,
    SOFT,
    Loss,
    Pair,
    Pairs,
    class_weights,
    compound,
    compound_of_masks,
    foreground,
    mean,
    with_channel,
)

pytest.importorskip("nnunetv2")
from nnunetv2.training.loss.compound_losses import DC_and_BCE_loss, DC_and_CE_loss
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss, SoftDiceLoss
from nnunetv2.training.loss.robust_ce_loss import TopKLoss


def their_dice(**options: object) -> dict[str, object]:
    return {"batch_dice": False, "do_bg": False, "smooth": 1e-5, "ddp": False, **options}


def theirs(
    dice_class: type = MemoryEfficientSoftDiceLoss,
    weight_dice: float = 1.0,
    weight_ce: float = 1.0,
    ignore_label: int | None = None,
    **dice: object,
) -> Loss:
    """Makes their trainer's loss of classes, plus the weight of Dice."""
    loss = DC_and_CE_loss(
        their_dice(**dice),
        {},
        weight_ce=weight_ce,
        weight_dice=weight_dice,
        ignore_label=ignore_label,
        dice_class=dice_class,
    )
    return with_channel(lambda x, y: weight_dice + loss(x, y))


def ours(x: Tensor, y: Tensor, **options: object) -> Tensor:
    return compound(x, y, **{"region_classes": foreground(x), **options})


def of_classes() -> Pairs:
    pair = partial(Pair, "labels")
    yield "dice and ce", pair(theirs(), ours)
    yield "dice and ce", pair(theirs(SoftDiceLoss), ours)
    yield "batch_dice", pair(theirs(batch_dice=True), partial(ours, **BATCH))
    yield "do_bg", pair(theirs(do_bg=True), partial(ours, region_classes=None))
    for smooth in (0.0, 1.0):
        yield "smooth", pair(theirs(smooth=smooth), partial(ours, smooth=smooth))
    for clip_tp in (0.5, 20.0):
        clipped = segloss.terms.Dice(smooth=1e-5, clip_tp=clip_tp)
        loss = segloss.CompoundLoss(CrossEntropy() + clipped, "multiclass")
        yield "clip_tp", pair(theirs(SoftDiceLoss, do_bg=True, clip_tp=clip_tp), loss)
    weighted = theirs(weight_ce=0.5, weight_dice=2.0)
    yield "weights", pair(weighted, partial(ours, bce_coef=0.5, dice_coef=2.0))

    def with_ce_kwargs(x: Tensor, y: Tensor) -> Tensor:
        ce = {"weight": torch.tensor(class_weights(x), dtype=x.dtype), "label_smoothing": 0.1}
        loss = DC_and_CE_loss(their_dice(), ce, dice_class=MemoryEfficientSoftDiceLoss)
        return 1 + loss(x, y.unsqueeze(1))

    def with_class_weights(x: Tensor, y: Tensor) -> Tensor:
        smoothing = {"use_label_smooth": True, "smooth_factor": 0.1}
        return ours(x, y, class_weights=class_weights(x), **smoothing)

    yield "ce_kwargs", pair(with_ce_kwargs, with_class_weights)


def ignoring() -> Pairs:
    pair = partial(Pair, "labels", takes=IGNORES)
    loss = theirs(ignore_label=IGNORED)
    yield "ignore_label", pair(loss, partial(ours, **IGNORING))

    def over_all_samples(x: Tensor, y: Tensor) -> Tensor:
        options = {"classes": foreground(x), "smooth": 1e-5, **IGNORING}
        dice = segloss.DiceLoss("multiclass", reduction="none", **options)
        return segloss.functional.cross_entropy(x, y, **IGNORING) + mean(dice(x, y))

    yield "ignore_label, all samples", pair(loss, over_all_samples)
    pooled = theirs(ignore_label=IGNORED, batch_dice=True)
    yield "ignore_label batch_dice", pair(pooled, partial(ours, **IGNORING, **BATCH))


def of_regions(form: Form) -> Pairs:
    def their_regions(x: Tensor, y: Tensor) -> Tensor:
        return 1 + DC_and_BCE_loss({}, their_dice(do_bg=True))(x, y.to(x.dtype))

    yield "regions", Pair(form, their_regions, compound_of_masks, SOFT)

    def their_regions_ignoring(x: Tensor, y: Tensor) -> Tensor:
        ignored = (y == IGNORED).any(1, keepdim=True)
        target = torch.cat([y.where(~ignored, 0), ignored], 1).to(x.dtype)
        return 1 + DC_and_BCE_loss({}, their_dice(do_bg=True), use_ignore_label=True)(x, target)

    def weighted(x: Tensor, y: Tensor) -> Tensor:
        weights = (y != IGNORED).all(1, keepdim=True).to(x.dtype)
        options = {"bce_coef": float(x.shape[1]), "dice_coef": 1.0, "smooth": 1e-5}
        loss = segloss.SegLoss(from_logits=True, **options)
        target = y.where(weights > 0, 0)
        batch = {"gt_polygons_image": target, "seg_loss_weights": weights}
        return loss({"seg": x}, batch)[0]

    yield "regions use_ignore_label", Pair(form, their_regions_ignoring, weighted, IGNORES)


def of_regions_of_classes() -> Pairs:
    def groups(x: Tensor) -> dict[str, list[int]]:
        return {"whole": foreground(x), "core": foreground(x)[-1:]}

    def their_dice_of_sums(x: Tensor, y: Tensor, batch_dice: bool = False) -> Tensor:
        def probabilities(x: Tensor) -> Tensor:
            return torch.stack([x.softmax(1)[:, of].sum(1) for of in groups(x).values()], 1)

        masks = [sum((y == c).to(x) for c in of) for of in groups(x).values()]
        options = their_dice(do_bg=True, batch_dice=batch_dice)
        return 1 + SoftDiceLoss(probabilities, **options)(x, torch.stack(masks, 1))

    def ours_of_groups(x: Tensor, y: Tensor, **options: str) -> Tensor:
        options |= {"region_groups": groups(x), "smooth": 1e-5}
        return segloss.DiceLoss("multiclass", **options)(x, y)

    yield "regions of classes", Pair("labels", their_dice_of_sums, ours_of_groups)
    pooled = partial(their_dice_of_sums, batch_dice=True)
    yield "regions of classes", Pair("labels", pooled, partial(ours_of_groups, **BATCH))


def of_the_worst_pixels() -> Pairs:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nnU-Net's use of an argument that PyTorch deprecates
        plain, kept = with_channel(TopKLoss(k=20)), with_channel(TopKLoss(k=20, **IGNORING))
    yield "topk", Pair("labels", plain, TopKCrossEntropyLoss(k=20))
    topk = TopKCrossEntropyLoss(k=20, **IGNORING)
    yield "topk ignore_index", Pair("labels", kept, topk, IGNORES)


def of_scales() -> Pairs:
    weights = [2 / 3, 1 / 3]
    theirs = DeepSupervisionWrapper(nn.CrossEntropyLoss(), weights)
    ours = DeepSupervision(segloss.CompoundLoss(CrossEntropy(), "multiclass"), weights)

    def scales(x: Tensor) -> list[Tensor]:
        return [x, x[..., ::2, ::2]]

    def targets(x: Tensor, y: Tensor) -> list[Tensor]:
        size = scales(x)[1].shape[2:]
        smaller = interpolate(y.unsqueeze(1).double(), size, mode="nearest-exact")
        return [y, smaller.squeeze(1).long()]

    def with_targets(x: Tensor, y: Tensor) -> Tensor:
        return theirs(scales(x), targets(x, y))

    for target in (targets, lambda x, y: y):  # one for each scale, or the finest, resized
        pair = Pair("labels", with_targets, lambda x, y, of=target: ours(scales(x), of(x, y))[0])
        yield "deep supervision", pair


def pairs() -> Pairs:
    yield from of_regions_of_classes()
    yield from chain(of_classes(), ignoring(), of_the_worst_pixels(), of_scales())
    for form in ("masks", "mask"):
        yield from of_regions(form)
