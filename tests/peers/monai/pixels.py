"""MONAI's suites of focal losses (Apache-2.0, 1.6.1).

tests/losses: test_focal_loss.py, test_unified_focal_loss.py, test_nacl_loss.py, and the focal
losses in test_ignore_index_losses.py.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

import segloss
from segloss import functional
from tests.peers.case import (
    Cases,
    as_masks,
    cannot,
    drawn,
    drawn_labels,
    holds,
    raises,
    tensor,
    values,
)
from tests.peers.monai.overlaps import same_where_ignored, saved_and_loaded


def focal(
    x: Tensor,
    y: Tensor,
    *,
    include_background: bool = True,
    to_onehot_y: bool = False,
    gamma: float = 2.0,
    alpha: Any = None,
    weight: Any = None,
    use_softmax: bool = False,
    reduction: str = "mean",
    ignore_index: int | None = None,
) -> Tensor:
    """Their focal loss: of sigmoid channels, or after a softmax, over the number of classes."""
    classes = x.shape[1]
    options = {"gamma": gamma, "ignore_index": ignore_index}
    if use_softmax:
        alphas = [1 - alpha, *[alpha] * (classes - 1)] if isinstance(alpha, float) else alpha
        options |= {"activation": "softmax", "n_classes": classes, "alpha": alphas}
        value = functional.focal_loss(x, y.long() if to_onehot_y else y, **options)
        return value if ignore_index is not None else value / classes
    if to_onehot_y and classes > 1:
        kept = torch.ones_like(y).bool() if ignore_index is None else y != ignore_index
        masks = as_masks(y.where(kept, 0)[:, 0], classes)
        y = masks.where(kept, ignore_index or 0)
    if not include_background:
        x, y = x[:, 1:], y[:, 1:]
    if isinstance(alpha, list):  # linear in alpha, which may be above 1 there
        sides = [
            [functional.focal_loss(x[:, [c]], y[:, [c]], alpha=side, **options) for side in (0, 1)]
            for c in range(x.shape[1])
        ]
        channels = [a * fg + (1 - a) * bg for a, (bg, fg) in zip(alpha, sides, strict=True)]
        return torch.stack(channels).mean()
    options["alpha"] = alpha
    if reduction == "mean" and weight is None:
        return functional.focal_loss(x, y, **options)
    pixels = functional.focal_loss(x, y, reduction="none", **options)
    if weight is not None:
        pixels = pixels * tensor(weight).reshape(-1, *[1] * (pixels.ndim - 2))
    means = pixels.flatten(2).mean(2)  # theirs, before "sum" as well
    return {"none": pixels, "sum": means.sum(), "mean": means.mean()}[reduction]


def results() -> Cases:
    x = tensor([[[1, 1], [0.5, 0]]]).expand(1, 3, 2, 2)
    labels = torch.tensor([[[[0, 1], [2, 0]]]])
    pixels = [
        [[0.02266, 0.70187], [0.37741, 0.17329]],
        [[0.70187, 0.02266], [0.37741, 0.17329]],
        [[0.70187, 0.70187], [0.06757, 0.17329]],
    ]
    weights = [0.5, 0.1, 0.2]
    weighted = tensor([pixels]) * tensor(weights).reshape(3, 1, 1)
    rows: list[tuple[dict[str, Any], Tensor, Any]] = [
        ({"to_onehot_y": True}, labels, 0.34959),
        ({}, as_masks(labels[:, 0], 3), 0.34959),
        ({"to_onehot_y": True, "include_background": False}, labels, 0.36498),
        ({"to_onehot_y": True, "alpha": 0.8}, labels, 0.08423),
        ({"to_onehot_y": True, "reduction": "none"}, labels, [pixels]),
        ({"to_onehot_y": True, "weight": weights, "reduction": "none"}, labels, weighted),
        ({"to_onehot_y": True, "use_softmax": True}, labels, 0.16276),
        ({"to_onehot_y": True, "alpha": 0.8, "use_softmax": True}, labels, 0.08138),
    ]
    for number, (options, target, expected) in enumerate(rows):
        ours = partial(focal, x, target, **options)
        yield values(f"FocalLoss {number}: {options}", ours, expected, rtol=1e-4, atol=1e-4)


def is_cross_entropy(gamma: float, target: str, reduction: str = "mean") -> bool:
    """A focal loss with gamma 0 is binary cross-entropy, in a hundred draws there, ten here."""
    errors = []
    size = (128, 10) if target == "samples" else (128, 10, 8, 4)
    for seed in range(10):
        x = drawn(seed, *size).sigmoid()
        labels = drawn_labels(seed + 100, 10, size[0], *size[2:])
        masks = as_masks(labels, 10)
        if target == "masks":
            masks = drawn_labels(seed + 100, 2, *size).double()
        shaped = (x, masks) if x.ndim > 2 else (x[..., None], masks[..., None])
        ours = focal(*shaped, gamma=gamma, reduction=reduction)
        theirs = F.binary_cross_entropy_with_logits(*shaped, reduction=reduction)
        errors.append(float((ours - theirs).detach().abs().max()))
    return max(errors) < 1e-6


def consistency() -> Cases:
    name = "FocalLoss of gamma 0 is cross-entropy"
    for target in ("masks", "labels", "samples"):
        yield holds(f"{name}, {target}", partial(is_cross_entropy, 0.0, target))
    unreduced = partial(is_cross_entropy, 0.0, "masks", "none")
    yield holds(f"{name}, no reduction", unreduced)
    differs = partial(is_cross_entropy, 0.1, "samples")
    yield holds("FocalLoss of gamma 0.1 is not", lambda: not differs())


def right_predictions() -> Cases:
    """A sure and right prediction costs nothing, with and without alpha and a softmax."""
    square = torch.zeros(4, 4, dtype=torch.long)
    square[1:3, 1:3] = 1
    several = square.clone()
    several[1:3, 1:3] = torch.tensor([[1, 2], [3, 4]])
    maps = {
        "2D": (square[None], 2, 50, (False,)),
        "empty class": (torch.zeros_like(square)[None], 2, 500, (False,)),
        "six classes": (several[None], 6, 500, (False, True)),
        "3D": (square.expand(1, 3, 4, 4), 2, 500, (False, True)),
    }
    for place, (labels, classes, size, one_hot) in maps.items():
        masks = as_masks(labels, classes)
        x = size * (2 * masks - 1)
        for use_softmax, alpha, dense in product((True, False), (None, 0.5), one_hot):
            target = masks if dense else labels[:, None]
            options = {"use_softmax": use_softmax, "alpha": alpha, "to_onehot_y": not dense}
            ours = partial(focal, x, target, **options)
            yield values(f"FocalLoss of right {place}: {options}", ours, 0.0, atol=1e-3)


def foreground() -> Cases:
    x = torch.stack([torch.ones(5, 5), torch.zeros(5, 5)])[None].double()
    target = x.clone()
    target[:, :, 2, 2] = tensor([0, 1])
    for included, expected in ((True, 0.1116), (False, 0.1733)):
        ours = partial(focal, x, target, include_background=included)
        yield values(f"FocalLoss, include_background={included}", ours, expected, atol=1e-3)


def alphas() -> Cases:
    x, labels = drawn(0, 2, 3, 4, 4), drawn_labels(1, 3, 2, 1, 4, 4)
    several = partial(focal, x, labels, alpha=[0.1, 0.5, 2.0], to_onehot_y=True)
    for use_softmax in (True, False):
        ours = partial(several, use_softmax=use_softmax)
        positive = partial(lambda f: f().ndim == 0 and bool(f() > 0), ours)
        yield holds(f"FocalLoss, alpha of each class, softmax {use_softmax}", positive)
    few = partial(focal, x, labels, alpha=[0.1, 0.5], use_softmax=True, to_onehot_y=True)
    yield raises("FocalLoss, too few alphas", few)


def wrong() -> Cases:
    name, ones = "FocalLoss", torch.ones(1, 2, 3)
    loss = functional.focal_loss
    yield raises(f"{name}, reduction unknown", partial(loss, ones, ones, reduction="unknown"))
    yield raises(f"{name}, shapes", partial(loss, ones, torch.ones(1, 3)))
    dense = torch.ones(1, 4, 3, 3)
    for weights in ([1.0, 1.0, 2.0], [1.0] * 5, [1.0, 1.0, 1.0, -1.0]):
        module = partial(segloss.FocalLoss, "multilabel", class_weights=weights)
        yield raises(f"{name}, class weights {weights}", lambda m=module: m()(dense, dense))
    one = torch.ones(1, 1, 3)
    classes = segloss.FocalLoss("multiclass")
    yield raises(f"{name} of one channel, to_onehot_y", lambda: classes(one, one.long()))
    chosen = partial(segloss.FocalLoss, "binary", pred_channel_selector=[1])
    yield raises(f"{name} of one channel, include_background=False", lambda: chosen()(one, one))
    x, labels = drawn(0, 1, 3, 3), drawn_labels(1, 3, 1, 1, 3)
    without_alpha = partial(focal, x, labels, use_softmax=True, to_onehot_y=True)
    yield holds(
        f"{name} of a softmax without background has no alpha", lambda: bool(without_alpha() > 0)
    )
    for mode in ("multiclass", "multilabel"):
        yield from saved_and_loaded(
            f"{name}, {mode},",
            segloss.FocalLoss,
            "binary" if mode == "multilabel" else "multilabel",
        )


def unified() -> Cases:
    """Of two sigmoid classes: the foreground's channel, and its complement."""
    name = "AsymmetricUnifiedFocalLoss"
    diagonal = tensor([[[[1, 0], [0, 1]]]] * 2)
    ours = partial(functional.unified_focal_loss, weight=1 / 3, delta=0.7, gamma=0.5)
    for again in ("", ", again"):
        right = partial(ours, diagonal, diagonal, from_logits=False)
        yield values(f"{name} of a right prediction{again}", right, 0.0, atol=1e-4)
    yield raises(f"{name}, shapes", partial(ours, torch.ones(2, 2, 2), torch.ones(2, 2, 2, 2)))


def ignored() -> Cases:
    rows = torch.tensor([[[[255, 0, 1, 0], [1, 255, 0, 1]]]])

    def zeros() -> bool:
        x = torch.zeros(1, 3, 2, 4, dtype=torch.float64)
        loss = focal(x, rows, to_onehot_y=True, reduction="none", ignore_index=255)
        kept = (rows != 255).expand_as(loss)
        return bool((loss[~kept] == 0).all() and (loss[kept] > 0).all())

    yield holds("FocalLoss, ignored pixels are 0", zeros)
    unify = functional.unified_focal_loss
    softmax = {"activation": "softmax", "n_classes": 2}
    losses: dict[str, tuple[Callable[..., Tensor], Callable[..., Tensor]]] = {
        "FocalLoss": (focal, partial(focal, use_softmax=True, to_onehot_y=True)),
        "AsymmetricUnifiedFocalLoss": (unify, partial(unify, **softmax)),
    }
    for name, (of_mask, of_classes) in losses.items():
        yield from same_where_ignored(name, of_mask, classes=False)
        for case in same_where_ignored(name, of_classes, classes=True):
            if name == "FocalLoss" or "255" not in case.name:
                yield case
        x, y = drawn(0, 1, 1, 4, 4), drawn_labels(1, 2, 1, 1, 4, 4).double()
        plain = partial(of_mask, x, y)
        yield holds(f"{name} without ignore_index", lambda f=plain: bool(f().isfinite()))


def neighbours() -> Cases:
    for case in ("", "batch of four", "gaussian", "gaussian, sigma", "l2", "alpha", "3D"):
        yield cannot(f"NACLLoss {case}".strip())


def cases() -> Cases:
    yield from results()
    yield from consistency()
    yield from right_predictions()
    yield from foreground()
    yield from alphas()
    yield from wrong()
    yield from unified()
    yield from ignored()
    yield from neighbours()
