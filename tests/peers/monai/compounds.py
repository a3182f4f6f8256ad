"""MONAI's suites of compound losses and of deep supervision (Apache-2.0, 1.6.1).

tests/losses: test_dice_ce_loss.py, test_dice_focal_loss.py, test_generalized_dice_focal_loss.py,
test_ds_loss.py and test_masked_loss.py.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

import torch
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
from tests.peers.monai.adapters import RIGHT, region
from tests.peers.monai.overlaps import saved_and_loaded
from tests.peers.monai.pixels import focal

SURE = (tensor([[[100, 100, 0], [0, 0, 1]], [[1, 0, 1], [0, 1, 0]]]), RIGHT[1])
ONE_HOT = as_masks(RIGHT[1][:, 0], 2)


def dice_ce(
    x: Tensor,
    y: Tensor,
    *,
    include_background: bool = True,
    weight: list[float] | None = None,
    lambda_dice: float = 1.0,
    lambda_ce: float = 1.0,
) -> Tensor:
    """Their Dice of the scores as they are, and cross-entropy of their softmax, both weighted."""
    masks = as_masks(y[:, 0], x.shape[1]) if y.shape[1] == 1 else y
    counted = slice(0 if include_background else 1, None)
    weights = None if weight is None else weight[counted]
    dice = region("dice", x[:, counted], masks[:, counted], weight=weights)
    return lambda_dice * dice + lambda_ce * functional.cross_entropy(x, y, class_weights=weight)


def dice_ce_of_mask(x: Tensor, y: Tensor, pos_weight: float) -> Tensor:
    options = {"from_logits": True, "bce_coef": 1.0, "dice_coef": 1.0, "smooth": 1e-5}
    return functional.seg_loss(x, y, pos_weight=pos_weight, **options)


def dice_and_cross_entropy() -> Cases:
    foreground: dict[str, Any] = {"include_background": False, "weight": [1.0, 1.0]}
    rows: list[tuple[dict[str, Any], tuple[Tensor, Tensor], float]] = [
        ({}, RIGHT, 0.3133),
        ({}, (RIGHT[0], ONE_HOT), 0.3133),
        ({}, (RIGHT[0], ONE_HOT.to(torch.uint8)), 0.3133),
        (foreground, SURE, 0.2088),
        (foreground | {"lambda_dice": 1.0, "lambda_ce": 2.0}, SURE, 0.4176),
        (foreground | {"weight": [0.0, 1.0]}, SURE, 0.3133),
    ]
    for number, (options, batch, expected) in enumerate(rows):
        ours = partial(dice_ce, *batch, **options)
        yield values(f"DiceCELoss {number}: {options}", ours, expected, rtol=1e-4, atol=1e-4)
    mask = (tensor([[[0.8, 0.6, 0.0]], [[0.0, 0.0, 0.9]]]), RIGHT[1])
    ours = partial(dice_ce_of_mask, *mask, 0.5)
    yield values("DiceCELoss of one mask", ours, 1.445239, rtol=1e-4, atol=1e-4)
    yield from wrong_shapes("DiceCELoss")
    yield from saved_and_loaded("DiceCELoss", partial(segloss.DiceLoss, smooth=1e-5))


def wrong_shapes(name: str) -> Cases:
    for x, y in [((1, 2, 3), (1, 2, 5)), ((1, 2, 3), (1, 1, 2, 3)), ((1, 3, 4, 4), (1, 2, 4, 4))]:
        ours = partial(functional.seg_loss, torch.ones(x), torch.ones(y), n_classes=x[1])
        yield raises(f"{name}, {x} and {y}", ours)


WEIGHTS = {"": None, "weights": [1.0, 1.0, 2.0], "a tuple": (3, 2.0, 1)}
COEFFICIENTS = (0.5, 1.0, 1.5)
REDUCTIONS = ("sum", "mean", "none")


def textbook(cells: Tensor, x: Tensor, y: Tensor, coefficient: float, **options: Any) -> Tensor:
    """Their sum of a region loss and a focal loss: the parts after their own reductions."""
    reduction, weight = options["reduction"], options["weight"]
    p = x.sigmoid()
    alpha = options.get("alpha")
    right = p * y + (1 - p) * (1 - y)
    pixels = -((1 - right) ** options["gamma"]) * right.log()
    if alpha is not None:
        pixels = pixels * (alpha * y + (1 - alpha) * (1 - y))
    if weight is not None:
        factor = tensor(weight)
        cells = cells * factor if options["weighted_cells"] else cells
        pixels = pixels * factor.reshape(-1, 1, 1)
    if reduction == "none":
        return cells[..., None, None] + coefficient * pixels
    means = pixels.flatten(2).mean(2)
    return getattr(cells, reduction)() + coefficient * getattr(means, reduction)()


def dice_cells(p: Tensor, y: Tensor) -> Tensor:
    tp, sizes = (p * y).flatten(2).sum(2), (p + y).flatten(2).sum(2)
    return 1 - (2 * tp + 1e-5) / (sizes + 1e-5)


def generalized_cells(p: Tensor, y: Tensor) -> Tensor:
    tp, sizes, g = ((a).flatten(2).sum(2) for a in (p * y, p + y, y))
    w = 1 / g**2
    w = w.where(w.isfinite(), w.where(w.isfinite(), 0).amax(1, keepdim=True))
    return 1 - (2 * (w * tp).sum(1, keepdim=True) + 1e-5) / (
        (w * sizes).sum(1, keepdim=True) + 1e-5
    )


def compound(
    part: str, x: Tensor, y: Tensor, coefficient: float, *, softmax: bool, **options: Any
) -> Tensor:
    """A region loss and a focal loss with coefficients, in their reductions."""
    reduction, weight = options["reduction"], options["weight"]
    for_cells = {"weight": weight} if options["weighted_cells"] else {}
    cells = region(part, x, y, softmax=softmax, reduction=reduction, **for_cells)
    if reduction == "none":
        cells = cells[..., None, None]
    names = ("reduction", "weight", "gamma", "alpha")
    return cells + coefficient * focal(x, y, **{k: options[k] for k in names if k in options})


def region_and_focal(name: str, part: str, cells: Callable[[Tensor, Tensor], Tensor]) -> Cases:
    """Probabilities for the region loss, which the focal loss takes as logits, as they test it."""
    weighted_cells = part == "dice"
    x, y = drawn(0, 3, 3, 5, 5).sigmoid(), drawn_labels(1, 2, 3, 3, 5, 5).double()
    for reduction, (said, weight), coefficient in product(
        REDUCTIONS, WEIGHTS.items(), COEFFICIENTS
    ):
        options = {
            "reduction": reduction,
            "weight": weight,
            "gamma": 1.0,
            "weighted_cells": weighted_cells,
        }
        ours = partial(compound, part, x, y, coefficient, softmax=False, **options)
        expected = partial(textbook, cells(x, y), x, y, coefficient, **options)
        yield values(
            f"{name}, {reduction}, {said}, {coefficient}",
            ours,
            expected,
            rtol=1e-7,
        )
        if part == "dice" and coefficient == 0.5:
            with_alpha = options | {"alpha": 0.25}
            ours = partial(compound, part, x, y, coefficient, softmax=False, **with_alpha)
            expected = partial(textbook, cells(x, y), x, y, coefficient, **with_alpha)
            yield values(
                f"{name}, {reduction}, {said}, alpha",
                ours,
                expected,
                rtol=1e-7,
            )


def without_background(name: str, part: str, cells: Callable[[Tensor, Tensor], Tensor]) -> Cases:
    """Foreground channels of a softmax for Dice, of probabilities for generalised Dice."""
    softmax = part == "dice"
    x, labels = drawn(2, 3, 3, 5, 5), drawn_labels(3, 3, 3, 5, 5)
    x = x if softmax else x.sigmoid()
    y = as_masks(labels, 3)
    one_weight = {} if softmax else {"one": 2.0}
    weights = {**one_weight, "weights": [1.0, 2.0], "a tuple": (2.0, 1)}
    for reduction, (said, weight), coefficient in product(
        REDUCTIONS, weights.items(), COEFFICIENTS
    ):
        yield one_foreground(
            f"{name} of foreground, {reduction}, {said}, {coefficient}",
            part,
            x,
            y,
            cells,
            reduction,
            [weight, weight] if isinstance(weight, float) else weight,
            coefficient,
        )
    if softmax:
        two, masks = drawn(4, 3, 2, 5, 5), as_masks(drawn_labels(5, 2, 3, 5, 5), 2)
        for reduction, coefficient in product(REDUCTIONS, COEFFICIENTS):
            yield one_foreground(
                f"{name} of one foreground class, {reduction}, {coefficient}",
                part,
                two,
                masks,
                cells,
                reduction,
                [2.0],
                coefficient,
            )


def one_foreground(
    name: str,
    part: str,
    x: Tensor,
    y: Tensor,
    cells: Any,
    reduction: str,
    weight: Any,
    coefficient: float,
) -> Any:
    softmax = part == "dice"
    options = {"reduction": reduction, "weight": weight, "gamma": 2.0, "weighted_cells": softmax}

    def ours() -> Tensor:
        kept = {"weight": weight} if softmax else {}
        inner = region(
            part, x, y, softmax=softmax, include_background=False, reduction=reduction, **kept
        )
        if reduction == "none":
            inner = inner[..., None, None]
        return inner + coefficient * focal(x[:, 1:], y[:, 1:], reduction=reduction, weight=weight)

    p = x.softmax(1) if softmax else x
    expected = partial(
        textbook, cells(p[:, 1:], y[:, 1:]), x[:, 1:], y[:, 1:], coefficient, **options
    )
    return values(name, ours, expected, rtol=1e-7)


def dice_and_focal() -> Cases:
    losses = {
        "DiceFocalLoss": ("dice", dice_cells, segloss.DiceLoss),
        "GeneralizedDiceFocalLoss": (
            "generalized_dice",
            generalized_cells,
            segloss.GeneralizedDiceLoss,
        ),
    }
    for name, (part, cells, module) in losses.items():
        yield from region_and_focal(name, part, cells)
        yield from without_background(name, part, cells)
        yield from wrong_shapes(name)
        yield raises(f"{name}, a coefficient below 0", partial(segloss.SegLoss, dice_coef=-1.0))
        both = partial(WithFocal, module)
        yield from saved_and_loaded(name, both)


class WithFocal(torch.nn.Module):
    """A region loss and the focal loss, as one module of (prediction, target)."""

    def __init__(self, module: Callable[[str], Any], mode: str) -> None:
        super().__init__()
        self.parts = torch.nn.ModuleList([module(mode), segloss.FocalLoss(mode)])

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.parts[0](x, y) + self.parts[1](x, y)


HEADS = [
    tensor([[[[1, 1, 0], [0, 0, 1]], [[1, 0, 1], [0, 1, 0]]]]),
    tensor([[[[1, 1], [0, 0]], [[1, 0], [0, 1]]]]),
    tensor([[[[1], [0]], [[1], [0]]]]),
]
FINEST = torch.tensor([[[[1, 0, 1], [0, 1, 0]]]])
EVEN = [1.0, 1.0, 1.0]
TWO = [1.0, 0.5, 0.5]


class OfScores(torch.nn.Module):
    """Their compound losses of scores: Dice as they are, cross-entropy or focal of logits."""

    def __init__(self, other: str) -> None:
        super().__init__()
        self.other = other

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        dice = region("dice", x, y, to_onehot_y=True)
        if self.other == "cross-entropy":
            return dice + functional.cross_entropy(x, y)
        return dice + focal(x, y, to_onehot_y=True) if self.other == "focal" else dice


def deep_supervision() -> Cases:
    name = "DeepSupervisionLoss"
    rows: list[tuple[str, Any, list[Tensor], float]] = [
        ("cross-entropy", "monai", HEADS[:1], 0.606557),
        ("cross-entropy", "monai", HEADS, 1.78144),
        ("cross-entropy", EVEN, HEADS, 3.5529),
        ("cross-entropy", TWO, HEADS, 2.07973),
        ("cross-entropy", [0.1, 0.2, 0.3], HEADS, 0.76924),
        ("", "monai", HEADS[:1], 0.166666),
        ("", "monai", HEADS, 0.666665),
        ("focal", "monai", HEADS[:1], 0.32124),
        ("focal", "monai", HEADS, 1.06452),
    ]
    for other, weights, heads, expected in rows:
        said = f"{name} of Dice {other}, {weights}, {len(heads)} heads"
        ours = partial(supervised, OfScores(other), weights, heads)
        yield values(said, ours, expected, rtol=1e-4, atol=1e-4)
    loss = segloss.DeepSupervision(segloss.DiceLoss("multilabel"), "monai").as_criterion()
    yield raises(f"{name}, shapes", partial(loss, torch.ones(1, 2, 3), torch.ones(1, 1, 2, 3)))
    unreduced = segloss.DiceLoss("multilabel", reduction="none")
    without = segloss.DeepSupervision(unreduced, "monai").as_criterion()
    heads = [drawn(0, 2, 2, 8, 8), drawn(1, 2, 2, 4, 4)]
    yield raises(
        f"{name} of a loss without a reduction",
        partial(without, heads, torch.ones(2, 2, 8, 8)),
    )
    supervise = segloss.DeepSupervision(segloss.DiceLoss("binary"), "monai")
    yield from saved_and_loaded(name, lambda mode: supervise.as_criterion())


def supervised(loss: torch.nn.Module, weights: Any, heads: list[Tensor]) -> Tensor:
    wrapped = segloss.LossWrapper(loss)
    return segloss.DeepSupervision(wrapped, weights).as_criterion()(heads, FINEST)


def masked() -> Cases:
    name = "MaskedLoss"
    yield cannot(f"{name} of DiceFocalLoss of logits without an activation")
    zeros = torch.zeros(3, 1, 2, 2)
    mask = torch.ones(3, 3, 2, 2)
    ours = partial(functional.dice_loss, zeros, zeros, pixel_weights=mask)
    yield raises(f"{name}, a mask with other channels", ours)
    yield raises(
        f"{name}, a target with other channels",
        partial(
            functional.dice_loss,
            torch.zeros(3, 3, 2, 2),
            torch.zeros(3, 2, 2, 2),
            pixel_weights=mask,
        ),
    )
    yield raises(f"{name} of something else than a loss", lambda: segloss.LossWrapper([]))

    def is_one() -> bool:
        x, y = drawn(0, 3, 3, 5, 5), drawn_labels(1, 3, 3, 5, 5)
        loss = segloss.SegLoss(n_classes=3, bce_coef=1.0).as_criterion()
        program = torch.export.export(loss, (x, y)).module()
        return torch.allclose(program(x, y), loss(x, y))

    yield holds(f"{name} is saved and loaded", is_one)


def cases() -> Cases:
    yield from dice_and_cross_entropy()
    yield from dice_and_focal()
    yield from deep_supervision()
    yield from masked()
