"""MONAI's suites of losses of shapes (Apache-2.0, 1.6.1).

tests/losses: test_cldice_loss.py, test_hausdorff_loss.py and test_boundary_loss.py.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

import segloss
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
from tests.peers.monai.adapters import ONE_MASK, SIGMOID, SOFTMAX, TWO_SAMPLES, region


def mode_of(x: Tensor, options: dict[str, Any]) -> str:
    if options.get("softmax"):
        return "multiclass"
    return "binary" if x.shape[1] == 1 else "multilabel"


def cldice(
    x: Tensor, y: Tensor, *, reduction: str = "mean", smooth: float = 1.0, **options: Any
) -> Tensor:
    """Theirs pools the classes of a sample, with the background, and keeps samples apart."""
    if options.get("to_onehot_y"):
        y = as_masks(y[:, 0], x.shape[1])
    loss = segloss.SoftClDiceLoss(
        mode_of(x, options),
        smooth=smooth,
        classes=range(x.shape[1]) if options.get("softmax") else None,
        region_reduction="micro",
        from_logits=bool(options.get("sigmoid") or options.get("softmax")),
    )
    samples = torch.stack([loss(x[[i]], y[[i]]) for i in range(len(x))])
    return samples if reduction == "none" else getattr(samples, reduction)()


def dice_and_cldice(x: Tensor, y: Tensor, alpha: float = 0.5, smooth: float = 1.0) -> Tensor:
    dice = region("dice", x, y, smooth_nr=smooth, smooth_dr=smooth)
    return (1 - alpha) * dice + alpha * cldice(x, y, smooth=smooth)


EMPTY = [[0.0] * 3] * 3
OVERLAPPING = (
    tensor([[[[1, 1, 0], [1, 1, 0], [0, 0, 0]], EMPTY]]),
    tensor([[[[0, 1, 1], [0, 1, 1], [0, 0, 0]], EMPTY]]),
)
CHECKERS = tensor([[[[1, 0], [0, 1]], [[0, 1], [1, 0]]]])


def ones(*size: int) -> tuple[Tensor, Tensor]:
    return (torch.ones(size, dtype=torch.float64),) * 2


def skeletons() -> Cases:
    name, small = "SoftclDiceLoss", {"smooth": 1e-5}
    everything = {"2D": ones(2, 3, 8, 8), "3D": ones(2, 3, 8, 8, 8)}
    for place, batch in everything.items():
        yield values(f"{name} of ones, {place}", partial(cldice, *batch), 0.0, atol=1e-4)
    scores = tensor([[[[1, -1], [-1, 1]], [[0.5, 0.5], [0.5, 0.5]]]])
    logits = tensor([[[[2, 0], [0, 2]], [[-2, 0], [0, -2]]]])
    rows: list[tuple[dict[str, Any], Tensor, Tensor, float]] = [
        (SIGMOID, scores, CHECKERS, 0.192777),
        ({"softmax": True}, logits, CHECKERS, 0.148760),
        ({"to_onehot_y": True}, 0.1 + 0.8 * CHECKERS, torch.tensor([[[[0, 1], [1, 0]]]]), 0.052631),
    ]
    for options, x, y, expected in rows:
        ours = partial(cldice, x, y, **options, **small)
        yield values(f"{name}, {options}", ours, expected, rtol=1e-4, atol=1e-4)
    for reduction, size in {"mean": (), "sum": (), "none": (4,)}.items():
        ours = partial(cldice, *ones(4, 2, 8, 8), reduction=reduction)
        shaped = partial(lambda f, s: f().shape == s, ours, size)
        yield holds(f"{name}, shape of {reduction}", shaped)
    yield raises(
        f"{name}, shapes",
        partial(cldice, torch.ones(1, 3, 8, 8), torch.ones(1, 4, 8, 8)),
    )
    for wrong in ("sigmoid and softmax", 3):
        yield raises(
            f"{name}, mode {wrong}",
            lambda w=wrong: segloss.SoftClDiceLoss(w),
        )
    both = "SoftDiceclDiceLoss"
    for alpha, batch, expected, options in [
        (0.5, ones(2, 3, 8, 8), 0.0, {}),
        (0.5, OVERLAPPING, 0.624995, small),
        (0.0, OVERLAPPING, 0.250000, small),
        (1.0, OVERLAPPING, 0.999990, small),
    ]:
        ours = partial(dice_and_cldice, *batch, alpha, **options)
        said = f"{both}, alpha {alpha} of {tuple(batch[0].shape)}"
        yield values(said, ours, expected, rtol=1e-4, atol=1e-4)
    for target in ((2, 3, 8), (2, 2, 8, 8)):
        wrong_shape = partial(dice_and_cldice, torch.ones(2, 3, 8, 8), torch.ones(target))
        yield raises(f"{both}, a target {target}", wrong_shape)


def hausdorff(
    x: Tensor, y: Tensor, *, reduction: str = "mean", log: bool = False, **options: Any
) -> Tensor:
    """Their loss, or the logarithm of 1 more than it."""
    if options.get("to_onehot_y"):
        y = as_masks(y[:, 0], x.shape[1])
    background = options.get("include_background", True)
    loss = segloss.HausdorffDistanceLoss(
        mode_of(x, options),
        classes=range(0 if background else 1, x.shape[1]) if x.shape[1] > 1 else None,
        reduction="none",
        from_logits=bool(options.get("sigmoid") or options.get("softmax")),
    )
    cells = loss(x, y)
    value = cells if reduction == "none" else getattr(cells, reduction)()
    return value.log1p() if log else value


def distances() -> Cases:
    cube = (
        tensor([[[[[1, -1], [1, -1]], [[-1, 1], [-1, 1]]]]]),
        tensor([[[[[1, 0], [1, 0]], [[0, 0], [1, 1]]]]]),
    )
    two_masks = (
        tensor([[[[1, -1], [-1, 1]], [[1, -1], [-1, 1]]]]),
        tensor([[[[1, 0], [1, 1]], [[1, 0], [0, 1]]]]),
    )
    columns = (
        tensor([[[[-1], [0], [1]], [[1], [0], [-1]]], [[[0]] * 3] * 2]),
        tensor([[[[1], [0], [0]]], [[[1], [1], [0]]]]),
    )
    flat = tuple(each[:, :, None] for each in ONE_MASK)
    cells = [[0.407765, 0.407765], [0.5, 0.5]]
    of_classes = {"to_onehot_y": True, "sigmoid": True, "reduction": "none"}
    rows: list[tuple[dict[str, Any], tuple[Tensor, ...], Any]] = [
        (SIGMOID, ONE_MASK, 0.509329),
        (SIGMOID, flat, 0.509329),
        (SIGMOID, cube, 0.375718),
        (SIGMOID, two_masks, 0.326994),
        (SIGMOID, TWO_SAMPLES, 0.455082),
        (SIGMOID | {"include_background": False}, two_masks, 0.144659),
        (of_classes, columns, cells),
        (SOFTMAX, columns, 0.357016),
        (SOFTMAX | {"reduction": "sum"}, columns, 1.428062),
        (SIGMOID, ONE_MASK, 0.509329),
    ]
    for log in (False, True):
        name = "LogHausdorffDTLoss" if log else "HausdorffDTLoss"
        for number, (options, batch, value) in enumerate(rows):
            expected = tensor(value).log1p() if log else value
            ours = partial(hausdorff, *batch, log=log, **options)
            yield values(f"{name} {number}: {options}", ours, expected)
        for activation in (
            "tanh",
            "log_softmax",
            "tanh, batch",
            "tanh, batch, again",
            "tanh, apart",
        ):
            yield cannot(f"{name}, other_act={activation}")
        yield from wrong_arguments(name)


def wrong_arguments(name: str) -> Cases:
    x = torch.ones(1, 1, 2, 3)
    yield raises(f"{name}, shapes", partial(hausdorff, x, torch.ones(1, 4, 5, 6)))
    modes = ("sigmoid, softmax", "sigmoid, tanh", "softmax, tanh", "sigmoid, softmax, tanh")
    for wrong in modes:
        yield raises(
            f"{name}, mode {wrong}",
            lambda w=wrong: segloss.HausdorffDistanceLoss(w),
        )
    for wrong in ("unknown", None):
        yield raises(
            f"{name}, reduction {wrong}",
            lambda w=wrong: segloss.HausdorffDistanceLoss("binary", reduction=w),
        )
    one = torch.ones(1, 1, 1, 3)
    rows: dict[str, Callable[[], object]] = {
        "include_background=False": lambda: segloss.HausdorffDistanceLoss("binary", classes=[1])(
            one, one
        ),
        "softmax": lambda: segloss.HausdorffDistanceLoss("multiclass")(one, one),
        "to_onehot_y": lambda: segloss.HausdorffDistanceLoss("multiclass")(one, one.long()),
    }
    for option, loss in rows.items():
        yield raises(f"{name} of one channel, {option}", loss)


def distance_maps(masks: Tensor) -> Tensor:
    """Returns the maps of the data loader's transform, for masks (N, C, *spatial)."""
    pytest.importorskip("scipy")
    transform = segloss.SignedDistanceMap()
    maps = [transform(mask=mask)["gt_distance_map"] for mask in masks.flatten(0, 1).long()]
    return torch.stack(list(maps)).reshape(masks.shape)


def boundary(
    x: Tensor,
    y: Tensor,
    *,
    include_background: bool = True,
    batch: bool = False,
    reduction: str = "mean",
    **options: Any,
) -> Tensor:
    if options.get("to_onehot_y"):
        y = as_masks(y[:, 0] if y.ndim == x.ndim else y, x.shape[1])
    chosen = range(0 if include_background else 1, x.shape[1])
    loss = segloss.BoundaryLoss(
        mode_of(x, options),
        from_logits=bool(options.get("sigmoid") or options.get("softmax")),
        region_classes=chosen,
        reduction="none",
    )
    cells = loss(x, y, maps={"gt_distance_map": distance_maps(y)})
    cells = cells.mean(0) if batch else cells
    return cells if reduction == "none" else getattr(cells, reduction)()


def borders() -> Cases:
    name = "BoundaryLoss"
    x, y = tensor([[[[2, -2], [-2, 2]]]]), CHECKERS[:, :1]
    volume = (x[:, :, None].expand(1, 1, 2, 2, 2), y[:, :, None].expand(1, 1, 2, 2, 2))
    logits = tensor([[[[2, 0], [0, 2]], [[-2, 0], [0, -2]]]])
    labels = torch.tensor([[[[0, 0], [0, 1]]]])
    rows: dict[str, tuple[dict[str, Any], Tensor, Tensor]] = {
        "2D": (SIGMOID, x, y),
        "3D": (SIGMOID, *volume),
        "softmax": ({"softmax": True}, logits, CHECKERS),
        "labels": (SOFTMAX, logits, labels),
        "no reduction": (SIGMOID | {"reduction": "none"}, x, y),
        "sum": (SIGMOID | {"reduction": "sum"}, x, y),
        "foreground": (
            SIGMOID | {"include_background": False},
            torch.cat([x, -x], 1),
            CHECKERS,
        ),
    }
    for place, (options, scores, target) in rows.items():
        ours = partial(boundary, scores, target, **options)
        yield holds(f"{name}, {place}", lambda f=ours: bool(f().isfinite().all()))
    yield cannot(f"{name}, other_act=tanh")
    right = partial(boundary, OVERLAPPING[0], OVERLAPPING[0])
    shifted = partial(boundary, *OVERLAPPING)
    yield holds(f"{name} of a right prediction is less", lambda: bool(right() < shifted()))
    sizes = {"mean": (), "sum": (), "none": (4, 2)}
    for background, (reduction, size) in product((True, False), sizes.items()):
        if background or reduction == "none":
            batch = ones(4, 2 if background else 3, 8, 8)
            ours = partial(boundary, *batch, include_background=background, reduction=reduction)
            said = f"{name}, shape of {reduction}, include_background={background}"
            yield holds(said, partial(lambda f, s: f().shape == s, ours, size))
    yield from borders_of_one_channel(name)
    yield from properties_of_borders(name)


def borders_of_one_channel(name: str) -> Cases:
    """A warning there, an error here."""
    one = torch.ones(1, 1, 4, 4)
    maps = {"gt_distance_map": distance_maps(one)}
    several = partial(segloss.BoundaryLoss, "multiclass")
    chosen = partial(segloss.BoundaryLoss, "binary", region_classes=[1])
    yield raises(f"{name} of one channel, softmax", lambda: several()(one, one, maps=maps))
    yield raises(
        f"{name} of one channel, to_onehot_y", lambda: several()(one, one.long(), maps=maps)
    )
    yield raises(f"{name} of one channel, foreground", lambda: chosen()(one, one, maps=maps))


def properties_of_borders(name: str) -> Cases:
    labels = partial(boundary, drawn(0, 2, 3, 4, 4), drawn_labels(1, 3, 2, 4, 4), **SOFTMAX)
    yield holds(f"{name} of labels without a channel", lambda: bool(labels().isfinite()))
    for place, mask in {"empty": torch.zeros(1, 1, 4, 4), "full": torch.ones(1, 1, 4, 4)}.items():
        yield values(
            f"{name}, the map of an {place} mask",
            partial(distance_maps, mask),
            torch.zeros(1, 1, 4, 4),
        )
    x, y = torch.stack([CHECKERS[0, :1], CHECKERS[0, 1:]]), TWO_SAMPLES[1]
    pooled = partial(boundary, x, y, batch=True, reduction="none")
    apart = partial(boundary, x, y, reduction="none")
    yield values(f"{name}, batch", pooled, lambda: apart().mean(0))
    yield raises(
        f"{name}, shapes",
        lambda: segloss.BoundaryLoss("binary")(torch.ones(1, 1, 2, 3), torch.ones(1, 4, 5, 6)),
    )
    for wrong in (
        "sigmoid, softmax",
        "sigmoid, tanh",
        "softmax, tanh",
        "sigmoid, softmax, tanh",
        3,
    ):
        yield raises(f"{name}, mode {wrong}", partial(segloss.BoundaryLoss, wrong))
    yield raises(f"{name}, reduction unknown", partial(segloss.BoundaryLoss, reduction="unknown"))
    empty = (
        tensor([[[[0.9] * 3] * 3, [[0.1] * 3] * 3]]),
        torch.stack([torch.ones(1, 3, 3), torch.zeros(1, 3, 3)], 1),
    )
    yield holds(f"{name} of an empty class", lambda: bool(boundary(*empty).isfinite()))
    four = torch.ones(1, 1, 2, 2, 2, 2)
    yield raises(
        f"{name} of four axes",
        lambda: segloss.BoundaryLoss("binary")(four, four, maps={"gt_distance_map": four}),
    )
    dot = torch.zeros(1, 1, 3, 3)
    dot[0, 0, 1, 1] = 1

    def of_a_dot() -> bool:
        there = distance_maps(dot)
        return bool(there[dot == 1] == 0) and bool((there[dot == 0] > 0).all())

    yield holds(f"{name}, the map of a dot", of_a_dot)

    def has_slope() -> bool:
        scores = drawn(0, 2, 2, 8, 8).requires_grad_()
        boundary(scores, torch.ones(2, 2, 8, 8), sigmoid=True).backward()
        return scores.grad is not None and bool(scores.grad.isfinite().all())

    yield holds(f"{name} has a slope", has_slope)
    pair = tensor([[[[2, -2], [-2, 2]]]]), CHECKERS[:, :1]

    def differ() -> bool:
        return bool((boundary(*pair, sigmoid=True) - hausdorff(*pair, sigmoid=True)).abs() > 1e-3)

    yield holds(f"{name} is not Hausdorff's", differ)


def cases() -> Cases:
    yield from skeletons()
    yield from distances()
    yield from borders()
