"""The losses of masks of SAM 2 (Apache-2.0), training/loss_fns.py, as formulas, and ours."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

import segloss
from segloss import functional as ours
from segloss.terms import Dice, Focal
from tests.compat.libraries.detectron2_pairs import focal
from tests.compat.libraries.pairs import SOFT, Pair, Pairs

MASKS = {"from_logits": True, "terms": 20 * Focal(alpha=0.25) + Dice(smooth=1.0)}


def dice(x: Tensor, y: Tensor) -> Tensor:
    """Sizes less the distance, over the sizes: for soft masks too, 0 if the two are the same."""
    p, g = x.sigmoid().flatten(1), y.to(x.dtype).flatten(1)
    sizes = p.sum(1) + g.sum(1)
    cells = 1 - (sizes - (p - g).abs().sum(1) + 1) / (sizes + 1)
    return cells.sum() / max(len(x), 1)


def masks(x: Tensor, y: Tensor) -> Tensor:
    """20 times focal and Dice, of one predicted mask of each object."""
    return 20 * focal(x, y) + dice(x, y)


def candidates(x: Tensor) -> Tensor:
    """Three predicted masks of each object, (N, 3, H, W)."""
    return torch.cat([x, 0.5 * x.flip(2), x.roll(1, 3) - 1], 1)


def best_of(x: Tensor, y: Tensor, loss: object) -> Tensor:
    """The mean over objects of the least loss of an object's masks."""
    assert callable(loss)
    masks = candidates(x)
    costs = [
        torch.stack([loss(masks[[i], [m]][:, None], y[[i]]) for m in range(masks.shape[1])]).min()
        for i in range(len(x))
    ]
    return torch.stack(costs).mean() if costs else x.sum()


def present(x: Tensor, y: Tensor) -> Tensor:
    """Objects without a pixel cost nothing, and are counted."""
    there = (y > 0).flatten(1).any(1)
    return masks(x[there], y[there]) * there.sum() / max(len(x), 1)


def pairs() -> Pairs:
    pair = partial(Pair, "mask", takes=SOFT)
    yield "dice", pair(dice, segloss.DiceLoss("binary", smooth=1.0, soft_labels="metric"))
    mine = partial(ours.seg_loss, **MASKS)
    yield "masks", pair(masks, mine)
    best = partial(best_of, loss=mine)
    yield "best mask", Pair("mask", partial(best_of, loss=masks), best)

    def of_present(x: Tensor, y: Tensor) -> Tensor:
        there = (y > 0).flatten(1).any(1)
        return mine(x[there], y[there]) * there.double().sum() / max(len(x), 1)

    yield "objects that are there", Pair("mask", present, of_present)
