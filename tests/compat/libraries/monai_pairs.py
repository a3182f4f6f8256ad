"""Losses of MONAI, and ours."""

from __future__ import annotations

from functools import partial
from itertools import chain

import monai.losses as monai
import numpy as np
import torch
from torch import Tensor

import segloss
from segloss.maps import SignedDistanceMap
from tests.compat.libraries.batches import Form
from tests.compat.libraries.pairs import (
    BATCH,
    IGNORES,
    IGNORING,
    MODES,
    SOFT,
    Loss,
    Pair,
    Pairs,
    as_masks,
    class_weights,
    compound,
    compound_of_masks,
    foreground,
    mean,
    mean_weight,
    soft_masks,
    with_channel,
    with_float_target,
)
from tests.support.versions import MONAI_1_5

SMOOTH = {"smooth": 1e-5}
UNSMOOTHED = {"smooth_nr": 0.0, "smooth_dr": 0.0}
OF_CLASSES = {"softmax": True, "to_onehot_y": True}
OF_MASKS = {"sigmoid": True}


def their(loss: type, form: Form, **options: object) -> Loss:
    """Makes a loss of MONAI that takes logits, and targets of any dtype."""
    if form == "labels":
        return with_channel(loss(**OF_CLASSES, **options))
    return with_float_target(loss(**OF_MASKS, **options))


def of_overlap(form: Form) -> Pairs:
    mode = MODES[form]
    pair = partial(Pair, form, takes=soft_masks(form))
    dice, tversky = partial(their, monai.DiceLoss, form), partial(their, monai.TverskyLoss, form)
    smoothed = {"smooth_nr": 1.0, "smooth_dr": 1.0}
    yield "dice", pair(dice(), segloss.DiceLoss(mode, **SMOOTH))
    yield "batch", pair(dice(batch=True), segloss.DiceLoss(mode, **SMOOTH, **BATCH))
    yield "smooth", pair(dice(**smoothed), segloss.DiceLoss(mode, smooth=1.0))
    halved = segloss.JaccardLoss(mode, smooth=0.5)
    yield "smooth", pair(dice(jaccard=True, **smoothed), halved)
    squared = segloss.SquaredDiceLoss(mode, smooth=1.0)
    yield "smooth", pair(dice(squared_pred=True, **smoothed), squared)
    for above, below in ((0.0, 1e-5), (0.0, 1.0), (0.5, 2.0), (1.0, 0.5)):
        apart = {"smooth_nr": above, "smooth_dr": below}
        both = segloss.DiceLoss(mode, smooth=(above, below))
        yield "smooth apart", pair(dice(**apart), both)
        halved = segloss.JaccardLoss(mode, smooth=(above / 2, below / 2))
        yield "smooth apart", pair(dice(jaccard=True, **apart), halved)
        squared = segloss.SquaredDiceLoss(mode, smooth=(above, below))
        yield "smooth apart", pair(dice(squared_pred=True, **apart), squared)
        ours = segloss.TverskyLoss(mode, alpha=0.5, beta=0.5, smooth=(above, below))
        yield "smooth apart", pair(tversky(**apart), ours)
    metric = segloss.DiceLoss(mode, soft_labels="metric", **SMOOTH)
    yield "soft_label", pair(dice(soft_label=True), metric)
    yield "soft_label", pair(dice(soft_label=False), segloss.DiceLoss(mode, **SMOOTH))
    cells = segloss.DiceLoss(mode, reduction="none", **SMOOTH)
    yield "reduction", pair(dice(reduction="sum"), lambda x, y: cells(x, y).sum())
    ours = segloss.TverskyLoss(mode, alpha=0.2, beta=0.8, **SMOOTH)
    yield "tversky", pair(tversky(alpha=0.2, beta=0.8), ours)


def of_correlation(form: Form) -> Pairs:
    for reduction in ("sample", "batch"):
        theirs = their(monai.MCCLoss, form, batch=reduction == "batch")
        ours = segloss.MCCLoss(MODES[form], region_reduction=reduction)
        yield "mcc", Pair(form, theirs, ours, soft_masks(form))


def of_generalized_dice(form: Form) -> Pairs:
    pair = partial(Pair, form, takes=soft_masks(form))
    theirs = partial(their, monai.GeneralizedDiceLoss, form)
    ours = partial(segloss.GeneralizedDiceLoss, MODES[form])
    for weight_type in ("square", "simple"):
        options = {"weight_type": weight_type}
        unsmoothed = theirs(w_type=weight_type, **UNSMOOTHED)
        yield "generalized dice", pair(unsmoothed, ours(**options))
        yield "generalized dice", pair(theirs(w_type=weight_type), ours(**options, **SMOOTH))
        pooled = theirs(w_type=weight_type, batch=True, **UNSMOOTHED)
        yield "generalized dice batch", pair(pooled, ours(**options, **BATCH))
        apart = theirs(w_type=weight_type, smooth_nr=0.0, smooth_dr=0.5)
        yield "generalized dice smooth", pair(apart, ours(**options, smooth=(0.0, 0.5)))
    uniform = theirs(w_type="uniform", **UNSMOOTHED)
    yield "generalized dice uniform", pair(uniform, ours(weight_type="uniform"))


def ignoring(form: Form) -> Pairs:
    mode = MODES[form]
    pair = partial(Pair, form, takes=IGNORES)
    options = {**SMOOTH, **IGNORING}
    dice = their(monai.DiceLoss, form, **IGNORING)
    tversky = their(monai.TverskyLoss, form, **IGNORING)
    halves = {"alpha": 0.5, "beta": 0.5}
    cells = segloss.DiceLoss(mode, reduction="none", **options)
    yield "ignore_index", pair(dice, segloss.DiceLoss(mode, **options))
    yield "ignore_index", pair(tversky, segloss.TverskyLoss(mode, **halves, **options))
    yield "ignore_index, all samples", pair(dice, lambda x, y: mean(cells(x, y)))
    cells_of_tversky = segloss.TverskyLoss(mode, reduction="none", **halves, **options)
    yield "ignore_index, all samples", pair(tversky, lambda x, y: mean(cells_of_tversky(x, y)))
    pooled = their(monai.DiceLoss, form, batch=True, **IGNORING)
    yield "ignore_index batch", pair(pooled, segloss.DiceLoss(mode, **options, **BATCH))
    if form == "labels":
        focal = with_channel(monai.FocalLoss(use_softmax=True, to_onehot_y=True, **IGNORING))
    else:
        focal = monai.FocalLoss(**IGNORING)
    yield "focal ignore_index", pair(focal, segloss.FocalLoss(mode, **IGNORING))


def of_several_channels(form: Form) -> Pairs:
    mode = MODES[form]
    pair = partial(Pair, form, takes=soft_masks(form))

    def without_background(x: Tensor, y: Tensor) -> Tensor:
        return segloss.DiceLoss(mode, classes=foreground(x), **SMOOTH)(x, y)

    def theirs(x: Tensor, y: Tensor) -> Tensor:
        return their(monai.DiceLoss, form, weight=class_weights(x))(x, y)

    def weighted(x: Tensor, y: Tensor) -> Tensor:
        loss = segloss.DiceLoss(mode, region_class_weights=class_weights(x), **SMOOTH)
        return loss(x, y) * mean_weight(x)

    yield (
        "background",
        pair(their(monai.DiceLoss, form, include_background=False), without_background),
    )
    yield "weight", pair(theirs, weighted)


def of_masks(form: Form) -> Pairs:
    mode = MODES[form]
    pair = partial(Pair, form, takes=SOFT)
    given = segloss.DiceLoss(mode, from_logits=False, **SMOOTH)
    dice = monai.DiceLoss()
    probabilities = pair(lambda x, y: dice(x.sigmoid(), y), lambda x, y: given(x.sigmoid(), y))
    yield "probabilities", probabilities
    for alpha in (None, 0.25):
        focal = segloss.FocalLoss(mode, gamma=1.5, alpha=alpha)
        yield "focal", pair(monai.FocalLoss(gamma=1.5, alpha=alpha), focal)
    theirs = monai.FocalLoss(reduction="sum")
    focal = segloss.FocalLoss(mode)
    yield "focal sum", pair(theirs, lambda x, y: focal(x, y) * y.shape[0] * y.shape[1])


def of_one_mask() -> Pairs:
    yield (
        "dice ce of one mask",
        Pair("mask", monai.DiceCELoss(sigmoid=True), compound_of_masks, SOFT),
    )

    def weighted(x: Tensor, y: Tensor) -> Tensor:
        return monai.DiceCELoss(sigmoid=True, weight=torch.tensor([3.0], dtype=x.dtype))(x, y)

    ours = partial(compound_of_masks, pos_weight=3.0)
    yield "dice ce of one mask", Pair("mask", weighted, ours, SOFT)


def of_classes() -> Pairs:
    def focal_of_classes(x: Tensor, y: Tensor) -> Tensor:
        return segloss.FocalLoss("multiclass")(x, y) / x.shape[1]

    def focal_with_alpha(x: Tensor, y: Tensor) -> Tensor:
        alpha = [0.75, *[0.25 for _ in foreground(x)]]
        return segloss.FocalLoss("multiclass", alpha=alpha)(x, y) / x.shape[1]

    options = {"use_softmax": True, "to_onehot_y": True}
    yield (
        "softmax focal",
        Pair("labels", with_channel(monai.FocalLoss(**options)), focal_of_classes),
    )
    theirs = with_channel(monai.FocalLoss(alpha=0.25, **options))
    yield "softmax focal alpha", Pair("labels", theirs, focal_with_alpha)
    theirs = with_channel(monai.FocalLoss(reduction="sum", **options))
    summed = segloss.FocalLoss("multiclass")
    yield "focal sum", Pair("labels", theirs, lambda x, y: summed(x, y) * y.shape[0])
    theirs = their(monai.DiceCELoss, "labels", lambda_dice=0.7, lambda_ce=0.3, label_smoothing=0.1)
    smoothing = {"use_label_smooth": True, "smooth_factor": 0.1}
    ours = partial(compound, bce_coef=0.3, dice_coef=0.7, **smoothing)
    yield "dice ce", Pair("labels", theirs, ours)

    def theirs_weighted(x: Tensor, y: Tensor) -> Tensor:
        weight = torch.tensor(class_weights(x), dtype=x.dtype)
        return their(monai.DiceCELoss, "labels", weight=weight)(x, y)

    def ours_weighted(x: Tensor, y: Tensor) -> Tensor:
        weights = class_weights(x)
        weights_of_both = {"class_weights": weights, "region_class_weights": weights}
        return compound(x, y, dice_coef=mean_weight(x), **weights_of_both)

    yield "dice ce weight", Pair("labels", theirs_weighted, ours_weighted)
    dice, focal = segloss.DiceLoss("multiclass", **SMOOTH), segloss.FocalLoss("multilabel")
    theirs = their(monai.DiceFocalLoss, "labels", lambda_focal=0.5)
    both = Pair("labels", theirs, lambda x, y: dice(x, y) + 0.5 * focal(x, y))
    yield "dice focal", both


def of_two_classes() -> Pairs:
    def theirs(x: Tensor, y: Tensor) -> Tensor:
        loss = monai.AsymmetricUnifiedFocalLoss(to_onehot_y=True)
        return loss(x.softmax(1), y.unsqueeze(1))

    ours = segloss.UnifiedFocalLoss("multiclass", weight=1 / 3, delta=0.7, gamma=0.5)
    yield "unified focal", Pair("two classes", theirs, lambda x, y: 0.75 * ours(x, y))


def of_wasserstein_distances() -> Pairs:
    """Distances of a row of classes: neighbours are alike."""

    def distances(x: Tensor) -> list[list[float]]:
        classes = range(x.shape[1])
        return [[abs(a - b) ** 0.5 if a and b else float(a != b) for a in classes] for b in classes]

    for mode, weight_type in (("default", "foreground"), ("GDL", "inverse_size")):
        for above, below in ((1e-5, 1e-5), (0.0, 0.5)):

            def theirs(x: Tensor, y: Tensor, mode: str = mode, n: float = above, d: float = below):
                matrix = torch.tensor(distances(x), dtype=x.dtype)
                loss = monai.GeneralizedWassersteinDiceLoss(matrix, mode, smooth_nr=n, smooth_dr=d)
                return loss(x, y)

            def ours(
                x: Tensor, y: Tensor, kind: str = weight_type, n: float = above, d: float = below
            ):
                options = {"distances": distances(x), "weight_type": kind, "smooth": (n, d)}
                return segloss.GeneralizedWassersteinDiceLoss("multiclass", **options)(x, y)

            yield "wasserstein", Pair("labels", theirs, ours)


def of_the_border(form: Form) -> Pairs:
    def distances(masks: Tensor) -> Tensor:
        to_distances = SignedDistanceMap(2)
        maps = torch.zeros(masks.shape)
        for at in np.ndindex(*masks.shape[:2]):
            mapped = to_distances(mask=masks[at].numpy().astype(np.uint8))
            maps[at] = torch.as_tensor(mapped["gt_distance_map"])[0]
        return maps

    def ours(x: Tensor, y: Tensor) -> Tensor:
        masks = as_masks(y, x.shape[1]) if form == "labels" else y
        return segloss.BoundaryLoss(MODES[form])(x, y, maps={"gt_distance_map": distances(masks)})

    yield "boundary", Pair(form, their(monai.BoundaryLoss, form), ours)


def of_skeletons(form: Form) -> Pairs:
    mode = MODES[form]
    options = {"smooth": 1e-12, "include_background": form != "labels"}
    micro = segloss.SoftClDiceLoss(mode, region_reduction="micro")

    def of_each_sample(x: Tensor, y: Tensor) -> Tensor:
        values = [micro(x[i : i + 1], y[i : i + 1]) for i in range(len(x))]
        return torch.stack(values).mean() if values else micro(x, y)

    yield "cldice", Pair(form, their(monai.SoftclDiceLoss, form, **options), of_each_sample)
    both = their(monai.SoftDiceclDiceLoss, form, alpha=0.3, **options)
    if form == "mask":
        dice, cldice = segloss.DiceLoss(smooth=1.0), segloss.SoftClDiceLoss()
        yield "dice cldice", Pair(form, both, lambda x, y: 0.7 * dice(x, y) + 0.3 * cldice(x, y))


def of_distances(form: Form) -> Pairs:
    for reduction in ("sample", "batch") if form == "labels" else ("sample",):
        options = {"include_background": form != "labels", "batch": reduction == "batch"}
        theirs = their(monai.HausdorffDTLoss, form, **options)
        ours = segloss.HausdorffDistanceLoss(MODES[form], region_reduction=reduction)
        yield "hausdorff", Pair(form, theirs, ours, soft_masks(form))


def of_monai_1_6() -> Pairs:
    for form in MODES:
        yield from chain(of_correlation(form), of_the_border(form))
        yield from chain(of_skeletons(form), of_distances(form))
    for form in ("labels", "mask"):
        yield from ignoring(form)
    yield from of_two_classes()


def pairs() -> Pairs:
    for form in MODES:
        yield from chain(of_overlap(form), of_generalized_dice(form))
    for form in ("labels", "masks"):
        yield from of_several_channels(form)
    for form in ("masks", "mask"):
        yield from of_masks(form)
    yield from chain(of_one_mask(), of_classes(), of_wasserstein_distances())
    if not MONAI_1_5:
        yield from of_monai_1_6()
