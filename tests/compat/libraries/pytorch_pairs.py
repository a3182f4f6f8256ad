"""Losses of PyTorch, and ours."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from segloss import functional as ours
from tests.compat.libraries.batches import Form
from tests.compat.libraries.pairs import (
    IGNORES,
    IGNORING,
    SOFT,
    Pair,
    Pairs,
    class_weights,
    compound,
    with_float_target,
)


def of_classes() -> Pairs:
    yield "cross_entropy", Pair("labels", F.cross_entropy, ours.cross_entropy, SOFT)
    alone = partial(compound, dice_coef=0.0)
    yield "cross_entropy", Pair("labels", F.cross_entropy, alone, SOFT)

    def theirs(x: Tensor, y: Tensor, **options: object) -> Tensor:
        weight = torch.tensor(class_weights(x), dtype=x.dtype)
        return F.cross_entropy(x, y, weight=weight, label_smoothing=0.1, **options)

    def weighted(x: Tensor, y: Tensor, **options: object) -> Tensor:
        weights = class_weights(x)
        return ours.cross_entropy(x, y, class_weights=weights, label_smoothing=0.1, **options)

    yield "cross_entropy", Pair("labels", theirs, weighted, SOFT)
    kept = partial(ours.cross_entropy, **IGNORING)
    yield "ignore_index", Pair("labels", partial(F.cross_entropy, **IGNORING), kept, IGNORES)
    both = Pair("labels", partial(theirs, **IGNORING), partial(weighted, **IGNORING), IGNORES)
    yield "ignore_index", both


def of_masks(form: Form) -> Pairs:
    pair = partial(Pair, form, takes=SOFT)
    binary = with_float_target(F.binary_cross_entropy_with_logits)
    yield "binary", pair(binary, ours.binary_cross_entropy)
    yield "binary", pair(binary, partial(compound, n_classes=2, from_logits=True, dice_coef=0.0))

    def with_pos_weight(x: Tensor, y: Tensor) -> Tensor:
        weight = torch.tensor(class_weights(x), dtype=x.dtype).reshape(-1, 1, 1)
        return F.binary_cross_entropy_with_logits(x, y.to(x.dtype), pos_weight=weight)

    def our_pos_weight(x: Tensor, y: Tensor) -> Tensor:
        return ours.binary_cross_entropy(x, y, pos_weight=class_weights(x))

    yield "binary", pair(with_pos_weight, our_pos_weight)

    def pixel_weights(x: Tensor) -> Tensor:
        return torch.linspace(0.5, 1.0, x.shape[3], dtype=x.dtype).expand(1, 1, *x.shape[2:])

    def with_weight(x: Tensor, y: Tensor) -> Tensor:
        weight = pixel_weights(x)
        return F.binary_cross_entropy_with_logits(x, y.to(x.dtype), weight=weight)

    def our_pixel_weights(x: Tensor, y: Tensor) -> Tensor:
        weights = pixel_weights(x)
        value = ours.binary_cross_entropy(x, y, pixel_weights=weights.expand(len(x), -1, -1, -1))
        return value * weights.mean()

    yield "binary weight", pair(with_weight, our_pixel_weights)


def pairs() -> Pairs:
    yield from of_classes()
    for form in ("masks", "mask"):
        yield from of_masks(form)
