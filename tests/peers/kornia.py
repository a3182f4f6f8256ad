"""kornia's suites of segmentation losses (Apache-2.0, 0.9.0).

tests/losses: test_dice.py, test_tversky.py, test_focal_loss.py, test_lovaz_hinge.py,
test_lovaz_softmax.py and test_hd.py.
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
    Case,
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

IGNORED = (-100, 255)
REDUCTIONS = ("none", "mean", "sum")


def overlap(
    name: str,
    x: Tensor,
    y: Tensor,
    *,
    ignore_index: int | None = -100,
    eps: float = 1e-8,
    **options: Any,
) -> Tensor:
    """Their Dice and Tversky of the classes that a sample has, averaged over samples.

    An ignored sample costs 1. Their eps is added to the denominator only.
    """
    matters = eps > 1e-7 or options.get("beta") == 0
    loss = partial(
        getattr(functional, f"{name}_loss"),
        n_classes=x.shape[1],
        activation="softmax",
        skip_absent_classes=True,
        ignore_index=ignore_index,
        smooth=(0.0, eps) if matters else 0.0,
        **options,
    )
    costs = [
        loss(x[[i]], y[[i]])
        if ignore_index is None or bool((y[i] != ignore_index).any())
        else 1.0 + loss(x[[i]], y[[i]])
        for i in range(len(x))
    ]
    return torch.stack(costs).mean()


def micro_dice(
    x: Tensor, y: Tensor, *, ignore_index: int | None = -100, weight: Any = None
) -> Tensor:
    """Their default: the classes of each sample pooled."""
    loss = partial(
        functional.dice_loss,
        n_classes=x.shape[1],
        activation="softmax",
        region_reduction="sample_micro",
        region_classes=None if weight is None else [c for c, w in enumerate(weight) if w > 0],
        ignore_index=ignore_index,
        smooth=0.0,
    )
    return loss(x, y)


def almost(labels: Tensor, classes: int) -> Tensor:
    """Returns logits of 10 for the class of a label map, and of 1 for the others."""
    return 1 + 9 * as_masks(labels, classes)


def dice() -> Cases:
    name = "DiceLoss"
    smoke = partial(micro_dice, drawn(0, 2, 3, 3, 2).sigmoid(), drawn_labels(1, 3, 2, 3, 2))
    yield holds(f"{name} runs", lambda: bool(smoke().isfinite()))
    zeros = torch.zeros(2, 1, 2, dtype=torch.long)
    right = partial(micro_dice, almost(zeros, 3), zeros)
    yield values(f"{name} of a right prediction", right, 0.0, atol=1e-3)
    yield from wrong(name, functional.dice_loss)
    yield from four_pixels()
    empty = torch.zeros(2, 4, 1, dtype=torch.long)
    uniform = torch.zeros(2, 3, 4, 1, dtype=torch.float64)
    weighted = partial(micro_dice, uniform, empty, weight=[0.0, 1.0, 1.0])
    yield values(f"{name} of weighted classes", lambda: weighted() * 2 / 3, 2 / 3, atol=1e-3)
    for ignored in IGNORED:
        x, labels = half_right(ignored)
        ours = partial(micro_dice, x, labels, ignore_index=ignored)
        yield values(f"{name}, ignore_index={ignored}", ours, 0.5, atol=1e-3)
    yield holds(f"{name}, gradcheck", partial(checked, micro_dice))
    yield holds(f"{name} compiles", partial(compiles, micro_dice))
    module = segloss.DiceLoss("multiclass", smooth=0.0)
    yield same_as_module(name, module, partial(functional.dice_loss, smooth=0.0))


def half_right(ignored: int) -> tuple[Tensor, Tensor]:
    x = torch.zeros(2, 2, 1, 4, dtype=torch.float64)
    x[:, 0, :, 0] = 100
    x[:, 1, :, 1:] = 100
    labels = torch.zeros(2, 1, 4, dtype=torch.long)
    labels[..., 2:] = ignored
    return x, labels


def four_pixels() -> Cases:
    """Three pixels right and one wrong, all of class 0."""
    shown = torch.tensor([0, 0, 0, 1]).reshape(1, 4, 1)
    x, labels = almost(shown, 2), torch.zeros(1, 4, 1, dtype=torch.long)
    p = x.softmax(1)[0, 0].sum()
    pooled = partial(micro_dice, x, labels)
    yield values("DiceLoss, micro", pooled, 1 - 2 * p / 8, atol=1e-3)
    # both classes there, of which the second can't be hit, in their suite before 0.9
    both = partial(functional.dice_loss, x, labels, n_classes=2, activation="softmax", smooth=0.0)
    yield values("DiceLoss, macro", both, ((1 - 2 * p / (4 + p)) + 1) / 2, atol=1e-3)


def checked(loss: Callable[[Tensor, Tensor], Tensor], classes: int = 3) -> bool:
    x, labels = drawn(0, 2, classes, 3, 2), drawn_labels(1, classes, 2, 3, 2)
    labels[drawn(2, 2, 3, 2) > 0.8] = -100
    return torch.autograd.gradcheck(partial(loss, y=labels), (x.requires_grad_(),))


def compiles(loss: Callable[[Tensor, Tensor], Tensor]) -> bool:
    x, labels = drawn(0, 2, 3, 1, 2).float(), drawn_labels(1, 3, 2, 1, 2)
    optimised = torch.compile(loss, backend="eager")
    return torch.allclose(optimised(x, labels), loss(x, labels))


def same_as_module(name: str, module: torch.nn.Module, function: Callable[..., Tensor]) -> Case:
    x, labels = drawn(0, 2, 3, 3, 2), drawn_labels(1, 3, 2, 3, 2)
    of_classes = partial(function, n_classes=3, activation="softmax")
    return values(
        f"{name}, module and function", lambda: module(x, labels), lambda: of_classes(x, labels)
    )


def wrong(name: str, loss: Callable[..., Tensor]) -> Cases:
    one = torch.rand(1, 1, 1, 1)
    meta = torch.zeros(1, 1, 1, 1, device="meta")
    yield raises(f"{name}, too few axes", partial(loss, torch.rand(1, 1), torch.rand(1, 1, 1)))
    yield raises(f"{name}, shapes", partial(loss, one, torch.rand(1, 1, 1, 2)))
    yield raises(f"{name}, devices", partial(loss, one, meta))


EVEN = {"alpha": 0.5, "beta": 0.5}


def tversky() -> Cases:
    name = "TverskyLoss"
    loss = partial(overlap, "tversky")
    generator = torch.Generator().manual_seed(1206)
    x = torch.randn(2, 3, 4, 6, dtype=torch.float64, generator=generator) * 2
    labels = torch.randint(0, 3, (2, 4, 6), generator=generator)
    labels[1, :, :2] = 2
    expected = {(0.3, 0.7): 0.6015094950, (0.7, 0.3): 0.5990951811, (0.5, 0.5): 0.6037325821}
    for (alpha, beta), value in expected.items():
        ours = partial(loss, x.float().double(), labels, alpha=alpha, beta=beta)
        yield values(f"{name}, each class, {alpha}, {beta}", ours, value, rtol=0, atol=1e-7)
    yield from presence(name, loss)
    yield from of_absent_classes(name, loss)
    yield from as_dice(name, loss)
    yield from ignored_samples(name, loss)
    yield from large_and_small(name, loss)
    smoke = partial(loss, drawn(0, 2, 3, 3, 2), drawn_labels(1, 3, 2, 3, 2), **EVEN)
    yield holds(f"{name} runs", lambda: bool(smoke().isfinite()))
    yield raises(f"{name}, no tensor", partial(functional.tversky_loss, "no tensor", torch.rand(1)))
    yield from wrong(name, functional.tversky_loss)
    zeros = torch.zeros(2, 1, 2, dtype=torch.long)
    for ignored in (-100, None):
        right = partial(loss, almost(zeros, 3), zeros, ignore_index=ignored, **EVEN)
        yield values(f"{name} of a right prediction, {ignored}", right, 0.0, atol=1e-3)
    for ignored in IGNORED:
        half = half_right(ignored)
        ours = partial(loss, *half, ignore_index=ignored, **EVEN)
        yield values(f"{name}, ignore_index={ignored}", ours, 1 / 3, atol=1e-3)
    plain = partial(functional.tversky_loss, n_classes=3, activation="softmax", ignore_index=-100)
    yield holds(f"{name}, gradcheck", partial(checked, lambda x, y: plain(x, y, **EVEN)))
    for ignored_sample in (False, True):
        yield holds(f"{name} compiles, ignored sample {ignored_sample}", partial(compiles, plain))
    module = segloss.TverskyLoss("multiclass", alpha=0.3, beta=0.7)
    yield same_as_module(name, module, partial(functional.tversky_loss, alpha=0.3, beta=0.7))


def presence(name: str, loss: Callable[..., Tensor]) -> Cases:
    first = [[0.5, 0.25, 0.125, 0.5], [0.25, 0.5, 0.125, 0.25], [0.25, 0.25, 0.75, 0.25]]
    second = [[0.5, 0.25, 0.5, 0.25], [0.25, 0.5, 0.25, 0.5], [0.25] * 4]
    x = tensor([first, second]).log()[:, :, None]
    labels = torch.tensor([[[0, 1, 1, 0]], [[2, 2, 2, 2]]])
    for (alpha, beta), eps in product(
        [(0.3, 0.7), (0.7, 0.3), (0.5, 0.5), (1.0, 1.0)], (0.0, 0.25)
    ):
        score_0 = 1 / (1 + alpha * 0.375 + beta + eps)
        score_1 = 0.625 / (0.625 + alpha * 0.5 + beta * 1.375 + eps)
        score_2 = 1 / (1 + beta * 3 + eps)
        expected = 1 - ((score_0 + score_1) / 2 + score_2) / 2
        ours = partial(loss, x, labels, alpha=alpha, beta=beta, eps=eps)
        said = f"{name}, classes of a sample, {alpha}, {beta}, {eps}"
        yield values(said, ours, expected)


def of_absent_classes(name: str, loss: Callable[..., Tensor]) -> Cases:
    labels = torch.tensor([[[0, 1, 1, 0]]])
    shown = tensor([[[[2, 0, 1, 2]], [[0, 2, 2, 0]]]])

    def of_channels(channels: int) -> Tensor:
        x = torch.full((1, channels, 1, 4), -40.0, dtype=torch.float64)
        x[:, :2] = shown
        return loss(x, labels, alpha=0.3, beta=0.7)

    def same() -> bool:
        return all(torch.allclose(of_channels(c), of_channels(2)) for c in (3, 4))

    yield holds(f"{name}, unused channels", same)
    all_first = tensor([[[[100, 100]], [[-100, -100]], [[-100, -100]]]])
    for alpha, beta in [(0.3, 0.7), (1.0, 0.0), (0.0, 1.0)]:
        ours = partial(loss, all_first, torch.tensor([[[0, 1]]]), alpha=alpha, beta=beta)
        expected = 1 - 1 / (1 + alpha) / 2
        said = f"{name} of a class without a hit, {alpha}, {beta}"
        yield values(said, ours, expected)
    rare = torch.zeros(1, 128, 192, dtype=torch.long)
    rare[0, 0, 0] = 1
    exact = partial(loss, 40 * (2 * as_masks(rare, 3) - 1), rare, alpha=0.3, beta=0.7)
    yield values(f"{name} of a rare class", exact, 0.0, rtol=0, atol=1e-7)


def as_dice(name: str, loss: Callable[..., Tensor]) -> Cases:
    x = torch.arange(18, dtype=torch.float64).reshape(2, 3, 1, 3) / 4
    labels = torch.tensor([[[0, 1, 1]], [[2, 2, -100]]])

    def expected(logits: Tensor, eps: float) -> Tensor:
        p, samples = logits.softmax(1), []
        for sample, classes in enumerate(((0, 1), (2,))):
            kept = labels[sample] != -100
            losses = []
            for label in classes:
                q, g = p[sample, label] * kept, (labels[sample] == label).double()
                losses.append(1 - 2 * (q * g).sum() / ((q + g).sum() + 2 * eps))
            samples.append(torch.stack(losses).mean())
        return torch.stack(samples).mean()

    for eps in (0.0, 0.25):

        def same(eps: float = eps) -> bool:
            logits = x.clone().requires_grad_()
            pair = loss(logits, labels, eps=eps, **EVEN), expected(logits, eps)
            slopes = [torch.autograd.grad(value, logits, retain_graph=True)[0] for value in pair]
            return torch.allclose(*pair) and torch.allclose(*slopes)

        yield holds(f"{name} is Dice, {eps}", same)


def ignored_samples(name: str, loss: Callable[..., Tensor]) -> Cases:
    for ignored, eps in product((-100, 0, 255), (0.0, 1e-8)):
        labels = torch.tensor([[[1, ignored]], [[ignored, ignored]]])

        def right(ignored: int = ignored, labels: Tensor = labels, eps: float = eps) -> bool:
            x = torch.zeros(2, 3, 1, 2, dtype=torch.float64, requires_grad=True)
            ours = partial(loss, alpha=0.3, beta=0.7, eps=eps, ignore_index=ignored)
            value = ours(x, labels)
            value.backward()
            assert x.grad is not None
            slopes = bool((x.grad[1] == 0).all() and (x.grad[0, :, :, 1] == 0).all())
            some = bool((x.grad[0, :, :, 0] != 0).any())
            nothing = bool(ours(x[1:], labels[1:]) == 1)
            return slopes and some and nothing and abs(value.item() - (1 - 1 / 2.4 / 2)) < 1e-6

        yield holds(f"{name}, an ignored sample, {ignored}, {eps}", right)
    plain = partial(
        functional.tversky_loss,
        n_classes=3,
        activation="softmax",
        skip_absent_classes=True,
        ignore_index=-100,
    )
    labels = torch.tensor([[[1, -100]], [[-100, -100]]])
    x = (torch.arange(12, dtype=torch.float64).reshape(2, 3, 1, 2) / 4).requires_grad_()
    yield holds(
        f"{name}, gradcheck of absent and ignored",
        lambda: torch.autograd.gradcheck(lambda x: plain(x, labels), (x,)),
    )


def large_and_small(name: str, loss: Callable[..., Tensor]) -> Cases:
    for (size, ignored, rows), dtype in product(
        [(256, None, 0), (256, -100, 0), (512, -100, 8)], (torch.float16, torch.bfloat16)
    ):

        def near(
            size: int = size,
            ignored: int | None = ignored,
            rows: int = rows,
            dtype: torch.dtype = dtype,
        ) -> bool:
            x = torch.full((1, 2, size, size), -2.0, dtype=dtype)
            x[:, 0] = 2.0
            x.requires_grad_()
            labels = torch.zeros(1, size, size, dtype=torch.long)
            labels[:, :rows] = -100
            value = loss(x, labels, ignore_index=ignored, **EVEN)
            exact = loss(x.detach().double(), labels, ignore_index=ignored, **EVEN)
            value.backward()
            assert x.grad is not None
            slopes = bool(x.grad.isfinite().all() and (x.grad[:, :, :rows] == 0).all())
            return slopes and abs(value.item() - exact.item()) < 1e-2 * exact.item()

        yield holds(f"{name} of {size} x {size} pixels in {dtype}, {ignored}", near)
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        x = torch.zeros(1, 2, 128, 128, dtype=dtype)
        x[:, 0, :, ::2], x[:, 0, :, 1::2] = 20.0, 6.0
        labels = torch.zeros(1, 128, 128, dtype=torch.long)
        p = x.double().softmax(1)[:, 0]
        expected = 1 - p.sum() / (p.sum() + 0.5 * (1 - p).sum())
        ours = partial(loss, x, labels, **EVEN)
        yield values(f"{name}, a small ratio in {dtype}", ours, expected, rtol=1e-2)


def focal_of_masks(
    x: Tensor,
    y: Tensor,
    *,
    alpha: float | None = 0.25,
    gamma: float = 2.0,
    reduction: str = "none",
    pos_weight: Tensor | None = None,
    weight: Tensor | None = None,
    ignore_index: int | None = -100,
) -> Tensor:
    """Their loss of masks of any shape. Ignored pixels count in the mean's denominator."""
    shape = (*x.shape[:2], -1) if x.ndim > 2 else (len(x), x.shape[1], 1)
    pixels: Tensor
    if gamma == 0 and alpha is None:
        positive = None if pos_weight is None else pos_weight.flatten()
        pixels = functional.binary_cross_entropy(
            x.reshape(shape),
            y.reshape(shape),
            pos_weight=positive,
            ignore_index=ignore_index,
            reduction="none",
        ).reshape(x.shape)
    else:
        pixels = segloss.FocalLoss(
            "multilabel",
            gamma=gamma,
            alpha=alpha,
            ignore_index=ignore_index,
            reduction="none",
        )(x.reshape(shape), y.reshape(shape)).reshape(x.shape)
    if weight is not None:
        pixels = pixels * weight
    return pixels if reduction == "none" else getattr(pixels, reduction)()


SIZES = {"none": (2, 3, 2), "mean": (), "sum": ()}


def has_size(ours: Callable[[], Tensor], size: tuple[int, ...]) -> bool:
    value = ours()
    return value.shape == size and bool(value.isfinite().all())


def binary_focal() -> Cases:
    name = "BinaryFocalLossWithLogits"
    x, y = drawn(0, 2, 3, 2).sigmoid(), drawn(1, 2, 3, 2).sigmoid()
    bce = F.binary_cross_entropy_with_logits
    plain = partial(focal_of_masks, alpha=None, gamma=0.0)
    for reduction, ignored in product(REDUCTIONS, (-100, None)):
        ours = partial(plain, x, y, reduction=reduction, ignore_index=ignored)
        expected = bce(x, y, reduction=reduction)
        yield values(f"{name} is cross-entropy, {reduction}, {ignored}", ours, expected)
    positive, weight = drawn(2, 3, 1).sigmoid(), drawn(3, 3, 1).sigmoid()
    for reduction in REDUCTIONS:
        options = {"pos_weight": positive, "weight": weight, "reduction": reduction}
        ours = partial(plain, x, y, **options)
        yield values(
            f"{name} is weighted cross-entropy, {reduction}",
            ours,
            bce(x, y, **options),
        )
    for (reduction, size), alpha, gamma in product(
        SIZES.items(), (None, 0.2, 0.5), (0.0, 1.0, 2.0)
    ):
        ours = partial(focal_of_masks, x, y, alpha=alpha, gamma=gamma, reduction=reduction)
        said = f"{name}, shape of {reduction}, alpha {alpha}, gamma {gamma}"
        yield holds(said, partial(has_size, ours, size))
    several = {"pos_weight": [None, (1, 2, 5)], "weight": [None, (0.2, 0.5, 0.8)]}
    for (reduction, size), positive_of, weight_of in product(SIZES.items(), *several.values()):
        said = f"{name}, shape of {reduction}, pos_weight {positive_of}, weight {weight_of}"
        # their weights of three numbers are those of channels here, where the last axis has two
        wide_x, wide_y = drawn(0, 2, 3, 2), drawn(1, 2, 3, 2).sigmoid()
        w = None if weight_of is None else tensor(weight_of).reshape(3, 1)
        q = None if positive_of is None else tensor(positive_of)
        ours = partial(pos_weighted_focal, wide_x, wide_y, q, w, reduction)
        yield holds(said, partial(has_size, ours, size))
    for (reduction, size), ignored in product(SIZES.items(), IGNORED):
        masked = y.masked_fill(drawn(4, 2, 3, 2) > 0.3, ignored)
        ours = partial(
            focal_of_masks,
            x,
            masked,
            alpha=0.8,
            gamma=0.5,
            reduction=reduction,
            ignore_index=ignored,
        )
        yield holds(
            f"{name}, shape of {reduction}, ignored {ignored}",
            partial(has_size, ours, size),
        )
    function = partial(functional.focal_loss, alpha=0.25)
    hard = drawn_labels(1, 2, 2, 3, 2).double()
    yield values(
        f"{name} compiles",
        lambda: torch.compile(function, backend="eager")(x, hard),
        lambda: function(x, hard),
    )
    for ignoring in (False, True):
        target = y.masked_fill(drawn(4, 2, 3, 2) > 0.8, -100) if ignoring else y
        leaf = x.clone().requires_grad_()
        loss = partial(function, target=target, ignore_index=-100)
        yield holds(
            f"{name}, gradcheck, ignored {ignoring}",
            partial(torch.autograd.gradcheck, loss, (leaf,)),
        )
    module = segloss.FocalLoss("multilabel", alpha=0.25)
    yield values(f"{name}, module and function", lambda: module(x, hard), lambda: function(x, hard))
    far = partial(focal_of_masks, tensor([[100, -100]]), tensor([[1, 0]]))
    yield values(f"{name} of far logits", far, [[0.0, 0.0]])


def pos_weighted_focal(
    x: Tensor, y: Tensor, pos_weight: Tensor | None, weight: Tensor | None, reduction: str
) -> Tensor:
    """Their weight of foreground multiplies what the target holds of it."""
    loss = segloss.FocalLoss("multilabel", alpha=0.8, gamma=0.5, reduction="none")
    positive = torch.ones(x.shape[1], dtype=x.dtype) if pos_weight is None else pos_weight
    at_0, at_1 = (loss(x, torch.full_like(x, value)) for value in (0.0, 1.0))
    pixels = positive.reshape(-1, 1) * y * at_1 + (1 - y) * at_0
    pixels = pixels if weight is None else pixels * weight
    return pixels if reduction == "none" else getattr(pixels, reduction)()


def focal(
    x: Tensor,
    y: Tensor,
    *,
    alpha: float | None,
    gamma: float = 2.0,
    reduction: str = "none",
    weight: Any = None,
    ignore_index: int = -100,
) -> Tensor:
    """Their loss of classes, each a channel that is 0 where the pixel has another class."""
    classes = x.shape[1]
    spatial = x.reshape(*x.shape[:2], -1)
    labels = y.reshape(len(y), -1)
    weights = torch.ones(classes, dtype=x.dtype) if weight is None else weight
    if alpha is not None:
        weights = weights * torch.tensor([1 - alpha, *[alpha] * (classes - 1)], dtype=x.dtype)
    pixels = functional.focal_loss(
        spatial,
        labels,
        n_classes=classes,
        activation="softmax",
        gamma=gamma,
        ignore_index=ignore_index,
        reduction="none",
        alpha=weights.tolist(),
    )
    channels = as_masks(labels.where(labels != ignore_index, 0), classes) == 1
    whole = pixels[:, None].where(channels, 0.0).reshape(x.shape)
    return whole if reduction == "none" else getattr(whole, reduction)()


def focal_of_classes() -> Cases:
    name = "FocalLoss"
    yield from ignored_extremes(name)
    x, labels = drawn(0, 2, 3, 3, 2).sigmoid(), drawn_labels(1, 3, 2, 3, 2)
    sizes = SIZES | {"none": (2, 3, 3, 2)}
    for (reduction, size), alpha, gamma in product(
        sizes.items(), (None, 0.2, 0.5), (0.0, 1.0, 2.0)
    ):
        ours = partial(focal, x, labels, alpha=alpha, gamma=gamma, reduction=reduction)
        said = f"{name}, shape of {reduction}, alpha {alpha}, gamma {gamma}"
        yield holds(said, partial(has_size, ours, size))
    for reduction, size in {"none": (2, 3), "mean": (), "sum": ()}.items():
        ours = partial(
            focal, x[..., 0, 0], labels[:, 0, 0], alpha=0.1, gamma=1.5, reduction=reduction
        )
        yield holds(f"{name}, shape of {reduction} of samples", partial(has_size, ours, size))
    for (reduction, size), weight in product(sizes.items(), (None, (0.2, 0.5, 0.8))):
        weights = None if weight is None else tensor(weight)
        ours = partial(focal, x, labels, alpha=0.8, gamma=0.5, reduction=reduction, weight=weights)
        yield holds(
            f"{name}, shape of {reduction}, weight {weight}",
            partial(has_size, ours, size),
        )
    for ignored in IGNORED:
        masked = labels.masked_fill(drawn(4, 2, 3, 2) > 0.3, ignored)
        for reduction, size in sizes.items():
            ours = partial(
                focal, x, masked, alpha=0.8, gamma=0.5, reduction=reduction, ignore_index=ignored
            )
            yield holds(
                f"{name}, shape of {reduction}, ignored {ignored}",
                partial(has_size, ours, size),
            )
        extra = torch.cat([x, torch.full_like(x[:, :1], float("-inf"))], 1)
        of_extra = partial(focal, extra, masked.where(masked != ignored, 3), alpha=0.8, gamma=0.5)
        ours = partial(focal, x, masked, alpha=0.8, gamma=0.5, ignore_index=ignored)
        expected = lambda f=of_extra: f()[:, :-1]  # noqa: E731
        yield values(f"{name}, ignored {ignored} as a class of its own", ours, expected)
    plain = partial(functional.focal_loss, n_classes=3, activation="softmax", ignore_index=-100)
    yield holds(f"{name} compiles", partial(compiles, plain))
    yield holds(f"{name}, gradcheck", partial(checked, lambda x, y: plain(x, y)))
    yield same_as_module(name, segloss.FocalLoss("multiclass"), functional.focal_loss)


def ignored_extremes(name: str) -> Cases:
    """Whatever logits an ignored pixel has: they change neither value nor slopes."""
    largest = torch.finfo(torch.float64).max

    def same(x: Tensor, safe: Tensor, labels: Tensor, **options: Any) -> bool:
        results = []
        for logits in (x.requires_grad_(), safe.requires_grad_()):
            value = focal(logits, labels, **options)
            results.append((value.detach(), torch.autograd.grad(value.sum(), logits)[0]))
        return all(torch.allclose(*pair) for pair in zip(*results, strict=True))

    for reduction, gamma, weighted, spatial in product(
        REDUCTIONS, (0.0, 2.0), (False, True), (False, True)
    ):
        x, labels = tensor([[largest, -largest], [0, 0]]), torch.tensor([-100, 0])
        if spatial:
            x, labels = x.T.reshape(1, 2, 1, 2), labels.reshape(1, 1, 2)
        options: dict[str, Any] = {"reduction": reduction, "gamma": gamma, "alpha": None}
        if weighted:
            options |= {"weight": tensor([0.5, 1.5]), "alpha": 0.25}
        options_said = f"gamma {gamma}, weighted {weighted}, spatial {spatial}"
        said = f"{name}, ignored extremes, {reduction}, {options_said}"
        yield holds(said, partial(same, x, torch.zeros_like(x), labels, **options))
    for ignored in IGNORED:
        x = tensor([[largest, -largest]])
        options = {"alpha": None, "reduction": "sum", "ignore_index": ignored}
        everything = partial(same, x, torch.zeros_like(x), torch.tensor([ignored]), **options)
        yield holds(f"{name}, all ignored {ignored}, extremes", everything)
    for number in (float("inf"), float("-inf"), float("nan")):
        x, safe = tensor([[number, 0], [0.3, -0.2]]), tensor([[0, 0], [0.3, -0.2]])
        ours = partial(same, x, safe, torch.tensor([-100, 1]), alpha=0.25, reduction="sum")
        yield holds(f"{name}, ignored {number}", ours)

    def compiled() -> bool:
        x = tensor([[[largest], [-largest]]]).requires_grad_()
        loss = partial(functional.focal_loss, n_classes=2, activation="softmax", ignore_index=-100)
        value = torch.compile(loss, backend="eager")(x, torch.tensor([[-100]]))
        return bool(value == 0) and bool((torch.autograd.grad(value, x)[0] == 0).all())

    yield holds(f"{name} compiles, ignored extremes", compiled)


def lovasz(mode: str, **options: Any) -> Callable[..., Tensor]:
    """Theirs is per image, and of all classes."""
    if mode == "multiclass":
        options.setdefault("classes", "all")
    return segloss.LovaszLoss(mode, per_image=True, **options)


def berman(errors: Tensor, right: Tensor) -> Tensor:
    """Returns the Lovasz extension of the Jaccard loss, for errors and a mask, both flat."""
    errors, order = errors.sort(descending=True)
    mask = right[order].double()
    intersection = mask.sum() - mask.cumsum(0)
    union = mask.sum() + (1 - mask).cumsum(0)
    jaccard = 1 - intersection / union
    return errors @ torch.diff(jaccard, prepend=jaccard.new_zeros(1))


def lovasz_hinge() -> Cases:
    name = "LovaszHingeLoss"
    x, y = drawn(0, 2, 1, 16, 24), drawn_labels(1, 2, 2, 16, 24)

    def run(x: Tensor, y: Tensor) -> Tensor:
        return lovasz("binary")(x, y)

    one = drawn(0, 2, 1, 1, 1), torch.zeros(2, 1, 1, dtype=torch.long)
    yield holds(f"{name} runs", lambda: bool(run(*one).isfinite()))
    meta = torch.zeros(1, 1, 1, device="meta")
    yield raises(f"{name}, shapes", partial(run, torch.rand(1, 1, 1, 2), torch.rand(1, 1, 1)))
    yield raises(f"{name}, devices", partial(run, torch.rand(1, 1, 1, 1), meta))
    yield raises(
        f"{name} of five classes",
        partial(run, drawn(0, 2, 5, 3, 2), drawn_labels(1, 5, 2, 3, 2)),
    )
    sure = partial(run, torch.ones(2, 1, 1, 2), torch.ones(2, 1, 2, dtype=torch.long))
    yield values(f"{name} of a right prediction", sure, 0.0)

    def keeps_type(dtype: torch.dtype) -> bool:
        return run(x.to(dtype), y).dtype == dtype

    yield holds(f"{name}, float64 in and out", partial(keeps_type, torch.float64))

    def default_type() -> bool:
        expected = run(x, y)
        torch.set_default_dtype(torch.float64)
        try:
            return torch.equal(run(x, y), expected)
        finally:
            torch.set_default_dtype(torch.float32)

    yield holds(f"{name}, the default dtype does not matter", default_type)

    def reference(logits: Tensor) -> Tensor:
        signs = 2 * y.double() - 1
        errors = (1 - logits[:, 0] * signs).relu().flatten(1)
        return torch.stack(
            [berman(*pair) for pair in zip(errors, y.flatten(1), strict=True)]
        ).mean()

    def right() -> bool:
        logits = x.clone().requires_grad_()
        pair = run(logits, y), reference(logits)
        slopes = [torch.autograd.grad(value, logits)[0] for value in pair]
        return torch.allclose(*pair, rtol=1e-12) and torch.allclose(*slopes, rtol=1e-12, atol=1e-15)

    yield holds(f"{name} is the formula, with its slopes", right)
    small, zeros = drawn(2, 2, 1, 3, 2).sigmoid().requires_grad_(), torch.zeros(2, 3, 2)
    yield holds(
        f"{name}, gradcheck",
        lambda: torch.autograd.gradcheck(lambda x: run(x, zeros), (small,)),
    )
    yield holds(
        f"{name} compiles",
        lambda: torch.allclose(torch.compile(run, backend="eager")(x, y), run(x, y)),
    )
    yield holds(f"{name}, twice the same", lambda: torch.equal(run(x, y), run(x, y)))


PROBABILITIES = tensor([[[[0.6, 0.21, 0.12]], [[0.29, 0.68, 0.19]], [[0.11, 0.11, 0.69]]]])
EACH = torch.tensor([[[0, 1, 2]]])


def weighted_lovasz(x: Tensor, y: Tensor, weight: Any = None) -> Tensor:
    """Their weights multiply the classes' losses, and are not divided by their sum."""
    classes = x.shape[1]
    if weight is None:
        return lovasz("multiclass")(x, y)
    parts = [float(w) * lovasz("multiclass", classes=[c])(x, y) for c, w in enumerate(weight)]
    return torch.stack(parts).sum() / classes


def lovasz_softmax() -> Cases:
    name = "LovaszSoftmaxLoss"
    run = weighted_lovasz
    yield holds(
        f"{name} runs",
        lambda: bool(run(drawn(0, 2, 3, 1, 1), drawn_labels(1, 3, 2, 1, 1)).isfinite()),
    )
    for said, size, target in [
        ("one axis", (1,), (1,)),
        ("no target axes", (1, 1, 1, 1), (1,)),
        ("one channel", (1, 1, 1, 1), (1, 1, 1)),
        ("shapes", (1, 2, 1, 1), (1, 1, 2)),
    ]:
        ours = partial(
            lambda x, y: lovasz("multiclass")(x, y), torch.rand(size), torch.zeros(target)
        )
        yield raises(f"{name}, {said}", ours)
    meta = torch.zeros(1, 1, 1, device="meta")
    yield raises(f"{name}, devices", partial(run, torch.rand(1, 2, 1, 1), meta))
    yield raises(
        f"{name} of one mask",
        partial(run, drawn(0, 2, 1, 3, 2), drawn_labels(1, 1, 2, 3, 2)),
    )
    ones = torch.ones(2, 1, 2, dtype=torch.long)
    sure = torch.zeros(2, 2, 1, 2, dtype=torch.float64)
    sure[:, 1] = 100
    yield values(f"{name} of a right prediction", partial(run, sure, ones), 0.0, atol=1e-3)
    half = partial(run, sure.flip(1), ones, [1.0, 0.0])
    yield values(f"{name}, weight", half, 0.5, rtol=1e-3)
    absent = torch.zeros_like(EACH)
    rows = {
        "all classes": (PROBABILITIES, EACH, [0.4, 0.32, 0.31]),
        "absent classes": (PROBABILITIES, absent, [0.69, 0.68, 0.69]),
        "one pixel": (PROBABILITIES[..., :1], EACH[..., :1], [0.4, 0.29, 0.11]),
    }
    for (said, (p, labels, losses)), weight in product(rows.items(), (None, [1.0, 2.0, 3.0])):
        expected = (tensor(losses) * tensor(weight or [1.0] * 3)).mean()
        yield values(f"{name} of {said}, {weight}", partial(run, p.log(), labels, weight), expected)
    yield from permuted_classes(name)
    slopes = [
        [-0.08, 0.0476, 0.0276],
        [0.058, -0.0725333333, 0.0437],
        [0.022, 0.0249333333, -0.0713],
    ]

    def slope() -> Tensor:
        x = PROBABILITIES.log().requires_grad_()
        return torch.autograd.grad(run(x, EACH), x)[0]

    yield values(f"{name}, slopes", slope, tensor(slopes)[None, :, None])
    compiled = partial(torch.compile(run, backend="eager"), PROBABILITIES.log(), EACH)
    yield values(f"{name} compiles", compiled, 1.03 / 3)
    x, y = drawn(0, 2, 4, 3, 2).requires_grad_(), drawn_labels(1, 4, 2, 3, 2)
    yield holds(f"{name}, gradcheck", lambda: torch.autograd.gradcheck(lambda x: run(x, y), (x,)))
    yield holds(f"{name}, twice the same", lambda: torch.equal(run(x, y), run(x, y)))


def permuted_classes(name: str) -> Cases:
    x = tensor([[[[1.2, -0.3, 0.7]], [[0.1, 1.4, -0.2]], [[-0.8, 0.2, 1.6]]]])
    for order, absent, weighted in product(
        [(2, 0, 1), (1, 2, 0), (0, 2, 1)], (False, True), (False, True)
    ):
        permutation = torch.tensor(order)
        labels = torch.zeros_like(EACH) if absent else EACH
        weight = tensor([1, 2, 3]) if weighted else None

        def same(
            permutation: Tensor = permutation, labels: Tensor = labels, weight: Any = weight
        ) -> bool:
            logits = x.clone().requires_grad_()
            other = None if weight is None else weight[permutation]
            pair = (
                weighted_lovasz(logits, labels, weight),
                weighted_lovasz(logits[:, permutation], permutation.argsort()[labels], other),
            )
            slopes = [torch.autograd.grad(value, logits)[0] for value in pair]
            return torch.allclose(*pair) and torch.allclose(*slopes)

        said = f"{name}, classes in the order {order}, absent {absent}, weighted {weighted}"
        yield holds(said, same)


def hausdorff() -> Cases:
    """Theirs is by erosion, ours by distance transforms: other numbers, the same properties."""

    def run(x: Tensor, y: Tensor, **options: Any) -> Tensor:
        classes = x.shape[1]
        loss = segloss.HausdorffDistanceLoss("multiclass", classes=range(classes), **options)
        return loss(x, y)

    for axes, reduction in product((2, 3), ("mean", "none", "sum")):
        x, y = drawn(0, 2, 3, *[10] * axes), drawn_labels(1, 2, 2, 1, *[10] * axes)
        ours = partial(run, x, y, reduction="none")
        finite = partial(
            lambda f, r: bool((f() if r == "none" else getattr(f(), r)()).isfinite().all()),
            ours,
            reduction,
        )
        yield holds(f"HausdorffERLoss{axes}D runs, {reduction}", finite)
    for said, size, target in [
        ("too few axes", (1, 2), (1, 1, 1, 2)),
        ("a class that is not there", (1, 2, 1, 1), None),
        ("shapes", (1, 2, 1, 1), (1, 1, 1, 2)),
        ("3D, too few axes", (1, 2), (1, 1, 1, 2)),
        ("3D, a class that is not there", (1, 2, 1, 1, 1), None),
    ]:
        y = torch.zeros(target).long() if target else torch.full((1, 1, *size[2:]), 5)
        yield raises(f"HausdorffERLoss, {said}", partial(run, torch.rand(size), y))
    for said in (
        "numbers, 2D",
        "numbers of every erosion",
        "numbers, 3D",
        "slopes at a tie, 2D",
        "slopes at a tie, 3D",
    ):
        yield cannot(f"HausdorffERLoss, {said}")
    for axes in (2, 3):
        x, y = drawn(0, 2, 3, *[5] * axes).requires_grad_(), drawn_labels(1, 2, 2, 1, *[5] * axes)
        ours = partial(torch.autograd.gradcheck, partial(run, y=y), (x,))
        yield holds(f"HausdorffERLoss{axes}D, gradcheck", ours)


def cases() -> Cases:
    yield from dice()
    yield from tversky()
    yield from binary_focal()
    yield from focal_of_classes()
    yield from lovasz_hinge()
    yield from lovasz_softmax()
    yield from hausdorff()
