"""The losses of SegFormer in transformers (Apache-2.0), modeling_segformer.py, and ours.

Its logits are first resized to the labels, which the formulas do as well.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from segloss import functional as ours
from tests.compat.libraries.batches import IGNORED
from tests.compat.libraries.pairs import IGNORES, IGNORING, Pair, Pairs, kept_share


def resized(x: Tensor, y: Tensor) -> Tensor:
    size = y.shape[-2:]
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False) if len(x) else x


def of_classes(x: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(resized(x, y), y, ignore_index=IGNORED)


def of_one_label(x: Tensor, y: Tensor) -> Tensor:
    """Ignored pixels stay in the denominator."""
    kept = ((y >= 0) & (y != IGNORED)).to(x.dtype)
    pixels = F.binary_cross_entropy_with_logits(resized(x, y), y.to(x.dtype), reduction="none")
    return (pixels * kept).mean()


def pairs() -> Pairs:
    def same(x: Tensor, y: Tensor) -> Tensor:
        return ours.cross_entropy(resized(x, y), y, **IGNORING)

    def one_label(x: Tensor, y: Tensor) -> Tensor:
        return ours.binary_cross_entropy(resized(x, y), y, **IGNORING) * kept_share(y)

    yield "classes", Pair("labels", of_classes, same, IGNORES)
    yield "one label", Pair("mask", of_one_label, one_label, IGNORES)
