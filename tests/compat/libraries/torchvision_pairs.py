"""Losses of torchvision and of its reference training of segmentation, and ours."""

from __future__ import annotations

from functools import partial

import torch.nn.functional as F
import torchvision.ops
from torch import Tensor

import segloss
from tests.compat.libraries.batches import IGNORED, Form
from tests.compat.libraries.pairs import (
    IGNORES,
    IGNORING,
    MODES,
    SOFT,
    Pair,
    Pairs,
    with_float_target,
)


def of_masks(form: Form) -> Pairs:
    for alpha in (-1, 0.25):
        options = {"alpha": None if alpha < 0 else alpha, "soft_targets": "interpolated"}
        focal = segloss.FocalLoss(MODES[form], alpha=options["alpha"])
        theirs = partial(torchvision.ops.sigmoid_focal_loss, alpha=alpha)
        mean = with_float_target(partial(theirs, reduction="mean"))
        total = with_float_target(partial(theirs, reduction="sum"))
        yield "focal", Pair(form, mean, focal, SOFT)
        yield "focal soft", Pair(form, mean, segloss.FocalLoss(MODES[form], **options))
        summed = segloss.FocalLoss(MODES[form], reduction="sum", **options)
        yield "focal sum", Pair(form, total, summed)


def auxiliary(x: Tensor) -> Tensor:
    """The prediction of a second head."""
    return 0.5 * x.flip(2)


def reference(x: Tensor, y: Tensor) -> Tensor:
    """The criterion of references/segmentation/train.py, torchvision 0.29."""
    heads = {"out": x, "aux": auxiliary(x)}
    losses = {name: F.cross_entropy(each, y, ignore_index=IGNORED) for name, each in heads.items()}
    return losses["out"] + 0.5 * losses["aux"]


def of_classes() -> Pairs:
    def supervised(x: Tensor, y: Tensor) -> Tensor:
        loss = segloss.SegLoss(n_classes=x.shape[1], bce_coef=1.0, dice_coef=0.0, **IGNORING)
        return segloss.DeepSupervision(loss, [1.0, 0.5]).as_criterion()([x, auxiliary(x)], y)

    yield "reference", Pair("labels", reference, supervised, IGNORES)


def pairs() -> Pairs:
    for form in ("masks", "mask"):
        yield from of_masks(form)
    yield from of_classes()
