"""Losses of masks of Detectron2 0.6 and of the models built on it (Apache-2.0, MIT), and ours.

The formulas are those of detectron2/modeling/meta_arch/semantic_seg.py and
modeling/roi_heads/mask_head.py, of projects/PointRend/point_rend/point_head.py, and of criterion.py
of MaskFormer and Mask2Former.
"""

from __future__ import annotations

from functools import partial

import torch.nn.functional as F
from torch import Tensor

import segloss
from segloss import functional as ours
from tests.compat.libraries.batches import IGNORED
from tests.compat.libraries.pairs import (
    IGNORES,
    IGNORING,
    SOFT,
    Pair,
    Pairs,
    compound_of_masks,
    with_float_target,
)


def dice(x: Tensor, y: Tensor) -> Tensor:
    """The sum of the masks' losses over their number: each sample is a matched mask."""
    p, g = x.sigmoid().flatten(1), y.to(x.dtype).flatten(1)
    cells = 1 - (2 * (p * g).sum(1) + 1) / (p.sum(1) + g.sum(1) + 1)
    return cells.sum() / max(len(x), 1)


def mask_loss(pixels: Tensor) -> Tensor:
    return pixels.flatten(1).mean(1).sum() / max(len(pixels), 1)


def cross_entropy(x: Tensor, y: Tensor) -> Tensor:
    return mask_loss(F.binary_cross_entropy_with_logits(x, y.to(x.dtype), reduction="none"))


def focal(x: Tensor, y: Tensor) -> Tensor:
    g, p = y.to(x.dtype), x.sigmoid()
    wrong = 1 - (p * g + (1 - p) * (1 - g))
    pixels = F.binary_cross_entropy_with_logits(x, g, reduction="none") * wrong**2
    return mask_loss((0.25 * g + 0.75 * (1 - g)) * pixels)


def of_masks() -> Pairs:
    pair = partial(Pair, "mask", takes=SOFT)
    yield (
        "mask",
        pair(with_float_target(F.binary_cross_entropy_with_logits), ours.binary_cross_entropy),
    )
    yield "dice", pair(dice, segloss.DiceLoss("binary", smooth=1.0))
    both = partial(compound_of_masks, bce_coef=5.0, dice_coef=5.0, smooth=1.0)
    yield "mask2former", pair(lambda x, y: 5 * cross_entropy(x, y) + 5 * dice(x, y), both)
    terms = 20 * segloss.terms.Focal(alpha=0.25) + segloss.terms.Dice(smooth=1.0)
    loss = partial(ours.seg_loss, from_logits=True, terms=terms)
    yield "maskformer", pair(lambda x, y: 20 * focal(x, y) + dice(x, y), loss)


def pairs() -> Pairs:
    theirs = partial(F.cross_entropy, ignore_index=IGNORED)
    weighted = partial(ours.seg_loss, bce_coef=0.5, dice_coef=0.0, **IGNORING)
    semantic = Pair(
        "labels",
        lambda x, y: 0.5 * theirs(x, y),
        lambda x, y: weighted(x, y, n_classes=x.shape[1]),
        IGNORES,
    )
    yield "semantic", semantic
    yield from of_masks()
