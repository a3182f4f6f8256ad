"""Losses of mmsegmentation 1.2.2 (Apache-2.0), as formulas, and ours.

The formulas are those of mmseg/models/losses: cross_entropy_loss.py, dice_loss.py, focal_loss.py
and tversky_loss.py, on a CPU.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

import segloss
from segloss import functional as ours
from tests.compat.libraries.batches import IGNORED
from tests.compat.libraries.pairs import (
    IGNORES,
    IGNORING,
    Pair,
    Pairs,
    as_masks,
    class_weights,
    kept_share,
    mean_weight,
)


def weights_of(x: Tensor) -> Tensor:
    return torch.tensor(class_weights(x), dtype=x.dtype)


def cross_entropy(x: Tensor, y: Tensor, *, over_kept: bool, weighted: bool) -> Tensor:
    """The sum of the pixels' losses over their number: weights are not in the denominator."""
    weight = weights_of(x) if weighted else None
    total = F.cross_entropy(x, y, weight=weight, ignore_index=IGNORED, reduction="sum")
    return total / ((y != IGNORED).sum().clamp_min(1) if over_kept else y.numel())


def shares(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Probabilities, one-hot targets, in which ignored pixels are of the last class, and a mask."""
    kept = (y != IGNORED).unsqueeze(1).to(x.dtype)
    return x.softmax(1), as_masks(y.clamp(0, x.shape[1] - 1), x.shape[1]).to(x.dtype), kept


def weighted_mean(cells: Tensor, x: Tensor, weighted: bool) -> Tensor:
    """A mean over samples and classes; weights are not divided by their sum."""
    return (cells * weights_of(x) if weighted else cells).mean()


def dice(x: Tensor, y: Tensor, *, exponent: int, weighted: bool = False) -> Tensor:
    """Ignored pixels are left out of the numerator, not of the denominator."""
    p, g, kept = shares(x, y)
    numerator = 2 * (p * g * kept).flatten(2).sum(2) + 1
    denominator = (p**exponent + g**exponent).flatten(2).sum(2) + 1
    return weighted_mean(1 - numerator / denominator, x, weighted)


def tversky(x: Tensor, y: Tensor, *, weighted: bool = False) -> Tensor:
    p, g, kept = shares(x, y)
    pairs = (p * g, p * (1 - g), (1 - p) * g)
    tp, fp, fn = ((each * kept).flatten(2).sum(2) for each in pairs)
    return weighted_mean(1 - (tp + 1) / (tp + 0.3 * fp + 0.7 * fn + 1), x, weighted)


def focal(x: Tensor, y: Tensor, *, weighted: bool = False) -> Tensor:
    """Sigmoid channels against masks of the classes; ignored pixels stay in the denominator."""
    kept = (y != IGNORED).unsqueeze(1)
    g = as_masks(y.where(y != IGNORED, 0), x.shape[1]).to(x.dtype)
    wrong = (1 - x.sigmoid()) * g + x.sigmoid() * (1 - g)
    pixels = 0.5 * wrong**2 * F.binary_cross_entropy_with_logits(x, g, reduction="none") * kept
    return (pixels * weights_of(x).reshape(-1, 1, 1) if weighted else pixels).mean()


def of_pixels() -> Pairs:
    def mean_of_kept(x: Tensor, y: Tensor, options: dict[str, Any]) -> Tensor:
        """The mean weight of the pixels that count."""
        kept = y[y != IGNORED]
        return weights_of(x)[kept].sum() / max(kept.numel(), 1) if options else x.new_ones(())

    for weighted in (False, True):

        def same(x: Tensor, y: Tensor, weighted: bool = weighted) -> Tensor:
            options = {"class_weights": class_weights(x)} if weighted else {}
            value = ours.cross_entropy(x, y, **IGNORING, **options)
            return value * mean_of_kept(x, y, options)

        name = "cross-entropy weight" if weighted else "cross-entropy"
        for over_kept in (True, False):
            theirs = partial(cross_entropy, over_kept=over_kept, weighted=weighted)
            share = (lambda y: 1.0) if over_kept else kept_share
            value = lambda x, y, f=same, s=share: f(x, y) * s(y)  # noqa: E731
            place = name if over_kept else f"{name}, all pixels"
            yield place, Pair("labels", theirs, value, IGNORES)


def of_focal() -> Pairs:
    loss = segloss.FocalLoss("multilabel", alpha=0.5, **IGNORING)
    same = lambda x, y: loss(x, y) * kept_share(y)  # noqa: E731
    yield "focal", Pair("labels", focal, same, IGNORES)
    one = segloss.FocalLoss("binary", alpha=0.5, **IGNORING)

    def weighted(x: Tensor, y: Tensor) -> Tensor:
        masks = [(y == c).long().where(y != IGNORED, IGNORED) for c in range(x.shape[1])]
        channels = [one(x[:, [c]], mask) for c, mask in enumerate(masks)]
        return torch.stack(channels) @ weights_of(x) / x.shape[1] * kept_share(y)

    yield "focal weight", Pair("labels", partial(focal, weighted=True), weighted, IGNORES)


def of_regions() -> Pairs:
    losses: dict[str, tuple[Any, Any]] = {
        "dice": (partial(dice, exponent=2), segloss.SquaredDiceLoss),
        "dice of exponent 1": (partial(dice, exponent=1), segloss.DiceLoss),
        "tversky": (tversky, partial(segloss.TverskyLoss, smooth=1.0)),
    }
    for name, (theirs, module) in losses.items():
        yield name, Pair("labels", theirs, module("multiclass", **IGNORING), IGNORES)

        def weighted(x: Tensor, y: Tensor, module: Any = module) -> Tensor:
            loss = module("multiclass", region_class_weights=class_weights(x))
            return loss(x, y) * mean_weight(x)

        yield f"{name} weight", Pair("labels", partial(theirs, weighted=True), weighted)


def pairs() -> Pairs:
    yield from of_pixels()
    yield from of_focal()
    yield from of_regions()
