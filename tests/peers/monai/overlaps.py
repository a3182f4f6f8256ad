"""MONAI's suites of losses of regions (Apache-2.0, 1.6.1).

tests/losses: test_dice_loss.py, test_masked_dice_loss.py, test_generalized_dice_loss.py,
test_tversky_loss.py, test_mcc_loss.py and test_generalized_wasserstein_dice_loss.py.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial
from itertools import pairwise, product
from typing import Any

import torch
from torch import Tensor

import segloss
from segloss import functional
from tests.peers.case import Cases, cannot, drawn, drawn_labels, holds, raises, tensor, values
from tests.peers.monai.adapters import (
    EMPTY,
    LABELS,
    ONE_MASK,
    RIGHT,
    SIGMOID,
    SOFT,
    SOFTMAX,
    TWO_CLASSES,
    TWO_SAMPLES,
    region,
    smooth,
)

Row = tuple[dict[str, Any], tuple[Tensor, Tensor], Any]

SUM, NONE = {"reduction": "sum"}, {"reduction": "none"}
SIGMOID_OF_CLASSES = SIGMOID | LABELS
FOREGROUND: dict[str, Any] = {"include_background": False, **LABELS}


def rows_of(name: str, loss: str, rows: list[Row], rtol: float = 1e-5) -> Cases:
    for number, (options, batch, expected) in enumerate(rows):
        yield values(
            f"{name} {number}: {said(options)}",
            partial(region, loss, *batch, **options),
            expected,
            rtol=rtol,
            atol=1e-6,
        )


def said(options: dict[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in options.items())


def wrong_shapes_and_options(name: str, loss: str) -> Cases:
    """A target of another shape, both activations, and reductions that nobody has."""
    ours = getattr(functional, f"{loss}_loss")
    ones = torch.ones(1, 1, 3)
    yield raises(f"{name}, shapes", partial(ours, torch.ones(1, 2, 3), torch.ones(4, 5, 6)))
    both = partial(ours, ones, ones, activation="sigmoid and softmax")
    yield raises(f"{name}, two activations", both)
    for wrong in ("unknown", None):
        yield raises(f"{name}, reduction {wrong}", partial(ours, ones, ones, reduction=wrong))


def one_channel(name: str, module: Callable[..., Any]) -> Cases:
    """Options of classes make no sense for one channel: a warning there, an error here."""
    ones = torch.ones(1, 1, 3)
    losses: dict[str, Callable[[], object]] = {
        "include_background=False": lambda: module("binary", classes=[1])(ones, ones),
        "softmax": lambda: module("multiclass")(ones, ones),
        "to_onehot_y": lambda: module("multiclass", from_logits=False)(ones, ones.long()),
    }
    for option, loss in losses.items():
        yield raises(f"{name} of one channel, {option}", loss)


def saved_and_loaded(name: str, module: Callable[..., Any], mode: str = "binary") -> Cases:
    """TorchScript there; an exported program here."""

    def same() -> bool:
        batch = drawn(0, 2, 1, 8, 8), torch.ones(2, 1, 8, 8)
        loss = module(mode)
        file = io.BytesIO()
        torch.export.save(torch.export.export(loss, batch, strict=False), file)
        file.seek(0)
        return torch.allclose(torch.export.load(file).module()(*batch), loss(*batch))

    yield holds(f"{name} is saved and loaded", same)


FIRST_ROWS: list[Row] = [
    (SIGMOID | smooth(1e-6), ONE_MASK, 0.307576),
    (SIGMOID | smooth(1e-4), TWO_SAMPLES, 0.416657),
    (smooth(1e-4) | {"soft_label": True}, SOFT, 0.0),
    (smooth(1e-4) | {"soft_label": False}, SOFT, 0.307773),
    (FOREGROUND | smooth(0), RIGHT, 0.0),
    (SIGMOID_OF_CLASSES | smooth(1e-4), TWO_CLASSES, 0.435050),
]
CELLS = [[0.296529, 0.415136], [0.599976, 0.428559]]
SOFTMAX_ROWS: list[Row] = [
    (SOFTMAX | smooth(1e-4), TWO_CLASSES, 0.383713),
    (SOFTMAX | smooth(1e-4) | SUM, TWO_CLASSES, 1.534853),
]


def dice() -> Cases:
    cells: Row = (SIGMOID_OF_CLASSES | smooth(1e-4) | NONE, TWO_CLASSES, CELLS)
    yield from rows_of("DiceLoss", "dice", [*FIRST_ROWS, cells, *SOFTMAX_ROWS])
    yield from rows_of("DiceLoss, squared_pred", "squared_dice", [(SIGMOID, ONE_MASK, 0.178337)])
    yield from rows_of("DiceLoss, jaccard", "jaccard", [(SIGMOID, ONE_MASK, 0.470451)])
    for activation, more in [
        ("tanh", ""),
        ("log_softmax", ""),
        ("tanh", ", batch"),
        ("tanh", ", batch, smooth_nr=0"),
        ("tanh", ", smooth_nr=0"),
        ("log_softmax", ", weight"),
    ]:
        yield cannot(f"DiceLoss, other_act={activation}{more}")
    yield from wrong_shapes_and_options("DiceLoss", "dice")
    yield from one_channel("DiceLoss", segloss.DiceLoss)
    yield from saved_and_loaded("DiceLoss", segloss.DiceLoss)


def masked_dice() -> Cases:
    """Their mask multiplies logits and targets: masked logits and labels are 0, not left out."""
    ones = torch.ones(1, 1, 1, dtype=torch.float64)
    both = tensor([[[[1, 1], [1, 1]]], [[[1, 1], [0, 0]]]])
    everything = SIGMOID_OF_CLASSES | smooth(1e-4)
    small = smooth(1e-5) | SIGMOID
    rows: list[tuple[str, dict[str, Any], tuple[Tensor, Tensor], Tensor, Any]] = [
        ("dice", SIGMOID | smooth(1e-6), ONE_MASK, tensor([[[[0, 0], [1, 1]]]]), 0.5),
        ("dice", SIGMOID | smooth(1e-4), TWO_SAMPLES, both, 0.422969),
        ("dice", FOREGROUND | smooth(0), RIGHT, tensor([[[1, 1, 1]], [[0, 1, 0]]]), 0.0),
        ("dice", everything, TWO_CLASSES, tensor([[[1, 1, 0]]]), 0.47033),
        ("dice", everything | NONE, TWO_CLASSES, ones, CELLS),
        *[("dice", options, batch, ones, value) for options, batch, value in SOFTMAX_ROWS],
        ("dice", SIGMOID | smooth(1e-6), ONE_MASK, ones[..., None], 0.307576),
        ("squared_dice", small, ONE_MASK, ones[..., None], 0.178337),
        ("jaccard", small, ONE_MASK, ones[..., None], 0.470451),
    ]
    for number, (loss, options, batch, mask, expected) in enumerate(rows):
        masked = partial(of_masked, loss, *batch, mask, **options)
        yield values(f"MaskedDiceLoss {number}: {loss}, {said(options)}", masked, expected)
    yield from wrong_shapes_and_options("MaskedDiceLoss", "dice")
    yield from one_channel("MaskedDiceLoss", segloss.DiceLoss)


def of_masked(loss: str, x: Tensor, y: Tensor, mask: Tensor, **options: Any) -> Tensor:
    return region(loss, x * mask, y * mask, **options)


def generalized_dice() -> Cases:
    name, loss = "GeneralizedDiceLoss", "generalized_dice"
    simple = SOFTMAX | smooth(0) | {"weight_type": "simple"}
    confident = (
        tensor([[[0, 10, 10, 10], [10, 0, 0, 0]]]),
        tensor([[[1, 1, 0, 0]]]),
    )
    absent = FOREGROUND | smooth(1e-8) | {"skip_absent_classes": True}
    rows: list[Row] = [
        (SIGMOID | smooth(1e-6), ONE_MASK, 0.307576),
        (SIGMOID | smooth(1e-4), TWO_SAMPLES, 0.416597),
        (smooth(1e-4) | {"soft_label": True}, SOFT, 0.0),
        (smooth(1e-4) | {"soft_label": False}, SOFT, 0.307748),
        (FOREGROUND | smooth(0), RIGHT, 0.0),
        (SIGMOID_OF_CLASSES | smooth(1e-4), TWO_CLASSES, 0.469964),
        (SOFTMAX | smooth(1e-4), TWO_CLASSES, 0.414507),
        (SOFTMAX | smooth(1e-4) | SUM, TWO_CLASSES, 0.829015),
        (SOFTMAX | smooth(1e-4) | NONE, TWO_CLASSES, [[0.273476], [0.555539]]),
        (absent, EMPTY, 0.0),
        (simple, confident, 0.250023),
    ]
    yield from rows_of(name, loss, rows)
    for activation in ("tanh", "log_softmax"):
        yield cannot(f"{name}, other_act={activation}")
    yield from wrong_shapes_and_options(name, loss)
    yield from one_channel(name, segloss.GeneralizedDiceLoss)
    for mark, batch in (("has a slope", (1, 1, 1, 3)), ("batch=True has a slope", (2, 3, 3, 3))):
        differentiable = partial(has_slope, loss, *batch, pooled="batch" in mark)
        yield holds(f"{name} {mark}", differentiable)
    yield from saved_and_loaded(name, segloss.GeneralizedDiceLoss)


def has_slope(loss: str, *size: int, pooled: bool) -> bool:
    x = torch.full(size, 0.0 if pooled else 1.0, requires_grad=True)
    target = x.detach().clone()
    value = region(loss, x, target, batch=pooled)
    value.backward()
    return x.grad is not None and bool(x.grad.isfinite().all())


def tversky() -> Cases:
    name, even = "TverskyLoss", {"alpha": 0.5, "beta": 0.5}
    pooled = SIGMOID_OF_CLASSES | {"batch": True}
    apart = FOREGROUND | {"smooth_nr": 0, "smooth_dr": 1e-3}
    cells = [[0.210961, 0.295339], [0.599952, 0.428547]]
    low, high = {"alpha": 0.3, "beta": 0.7}, {"alpha": 0.7, "beta": 0.3}
    rows: list[Row] = [
        *FIRST_ROWS[:5],
        (apart, RIGHT, 0.000999),
        FIRST_ROWS[5],
        (pooled, TWO_CLASSES, 0.422979),
        (SIGMOID_OF_CLASSES | smooth(1e-4) | SUM, TWO_CLASSES, 1.74013),
        SOFTMAX_ROWS[0],
        (SOFTMAX | smooth(1e-4) | NONE, TWO_CLASSES, cells),
        (SIGMOID | smooth(1e-6) | low, ONE_MASK, 0.3589),
        (SIGMOID | smooth(1e-6) | high, ONE_MASK, 0.247366),
    ]
    with_weights = [(even | options, batch, value) for options, batch, value in rows]
    yield from rows_of(name, "tversky", with_weights, rtol=1e-4)
    for activation in ("tanh", "tanh, batch", "log_softmax"):
        yield cannot(f"{name}, other_act={activation}")
    for case in wrong_shapes_and_options(name, "tversky"):
        if "activations" not in case.name:
            yield case
    yield from one_channel(name, segloss.TverskyLoss)
    yield from saved_and_loaded(name, segloss.TverskyLoss)


def mcc() -> Cases:
    name = "MCCLoss"
    diagonal = tensor([[[[1, 0], [0, 1]]]])
    everything = torch.ones(1, 1, 3, 3, dtype=torch.float64)
    nothing = torch.zeros_like(everything)
    pooled = SIGMOID_OF_CLASSES | {"batch": True}
    rows: list[Row] = [
        (SIGMOID, ONE_MASK, 0.733197),
        (SIGMOID, TWO_SAMPLES, 1.0),
        ({}, (diagonal, diagonal), 0.0),
        ({}, (1 - diagonal, diagonal), 2.0),
        (FOREGROUND, RIGHT, 0.0),
        (SIGMOID_OF_CLASSES, TWO_CLASSES, 0.836617),
        (pooled, TWO_CLASSES, 0.845961),
        (SIGMOID_OF_CLASSES | SUM, TWO_CLASSES, 3.346468),
        (SOFTMAX, TWO_CLASSES, 0.730736),
        (SOFTMAX | NONE, TWO_CLASSES, [[0.461472, 0.461472], [1.0, 1.0]]),
        ({}, (everything, everything), 0.0),
        ({}, (nothing, nothing), 0.0),
    ]
    yield from rows_of(name, "mcc", rows, rtol=1e-4)
    yield cannot(f"{name}, other_act=tanh")
    yield from wrong_shapes_and_options(name, "mcc")
    wrong = partial(functional.mcc_loss, *ONE_MASK, activation=torch.tanh)
    yield raises(f"{name}, an activation of a wrong type", wrong)
    yield from one_channel(name, segloss.MCCLoss)
    yield from saved_and_loaded(name, segloss.MCCLoss)


SQUARE = torch.zeros(4, 4, dtype=torch.long).index_put(
    (torch.tensor([1, 1, 2, 2]), torch.tensor([1, 2, 1, 2])), torch.tensor(1)
)
CORNER = torch.zeros(4, 4, dtype=torch.long)
CORNER[:2, :2] = 1
WEIGHTINGS = ("default", "GDL")


def sure(labels: Tensor) -> Tensor:
    """Returns logits of 1000 for a label map's class."""
    return 1000 * torch.nn.functional.one_hot(labels, 2).movedim(-1, 1).double()


def distance(x: Tensor, y: Tensor, weighting: str = "default", **options: Any) -> Tensor:
    """Their generalised Wasserstein Dice loss between classes that are 1 apart."""
    return functional.generalized_wasserstein_dice_loss(
        x,
        y,
        n_classes=2,
        activation="softmax",
        distances=[[0.0, 1.0], [1.0, 0.0]],
        weight_type="inverse_size" if weighting == "GDL" else "foreground",
        smooth=1e-5,
        **options,
    )


def wasserstein() -> Cases:
    name = "GeneralizedWassersteinDiceLoss"
    square, empty = SQUARE[None], torch.zeros_like(SQUARE)[None]
    cube = SQUARE.expand(1, 3, 4, 4)
    for weighting in WEIGHTINGS:
        ours = partial(distance, weighting=weighting)
        near = {"atol": 1e-3}
        for place, labels in {"2D": square, "empty class": empty, "3D": cube}.items():
            good, poor = (
                partial(ours, sure(labels), labels),
                partial(ours, sure(1 - labels), labels),
            )
            yield values(f"{name}, {place}, right, {weighting}", good, 0.0, **near)
            yield values(f"{name}, {place}, wrong, {weighting}", poor, 1.0, **near)
        channel = partial(ours, sure(square), square[:, None])
        yield values(f"{name}, target with a channel, {weighting}", channel, 0.0, **near)
        for dtype in (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64):
            typed = partial(ours, sure(square), square.to(dtype))
            yield values(f"{name}, {dtype}, {weighting}", typed, 0.0, **near)
        yield holds(f"{name} trains, {weighting}", partial(trains, ours))
        both = square.repeat(2, 1, 1)
        for place, x in {"right": sure(both), "wrong": sure(1 - both)}.items():
            repeated, alone = partial(ours, x, both), partial(ours, x[:1], square)
            same = f"{name}, a sample twice, {place}, {weighting}"
            yield values(same, repeated, alone, atol=1e-5)
        labels = torch.stack([SQUARE, CORNER])
        x = torch.cat([sure(SQUARE[None]), sure(1 - CORNER[None])])
        each = partial(ours, x, labels)
        yield values(f"{name}, two samples, {weighting}", each, 0.5, atol=1e-5)

    def saved() -> bool:
        batch = sure(square), square
        program = torch.export.export(Wrapped(), batch)
        return torch.allclose(program.module()(*batch), distance(*batch))

    yield holds(f"{name} is saved and loaded", saved)


class Wrapped(torch.nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return distance(x, y)


def trains(loss: Callable[[Tensor, Tensor], Tensor], steps: int = 50) -> bool:
    """A linear layer learns one volume, nearly every step of it for the better."""
    labels = SQUARE.expand(1, 3, 4, 4)
    image = (12 * labels + 27).float().reshape(1, -1)
    torch.manual_seed(0)
    layer = torch.nn.Linear(48, 96)
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.001)
    history, wrong = [], []
    for _ in range(steps):
        logits = layer(image).reshape(1, 2, 3, 4, 4)
        value = loss(logits, labels)
        history.append(float(value))
        wrong.append(int((logits.argmax(1) != labels).sum()))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    falls = sum(b < a for a, b in pairwise(history))
    return falls > 0.75 * (steps - 1) and wrong[-1] < wrong[0]


def ignored() -> Cases:
    """test_ignore_index_losses.py, and the class of ignore_index in test_dice_loss.py."""
    rows = [[0, 1, 0, 1], [1, 0, 1, 0], [2, 2, 2, 2], [2, 2, 2, 2]]
    labels = torch.tensor([[rows]])
    scores = tensor(
        [[[[0.8, 0.1], [0.1, 0.1]], [[0.1, 0.8], [0.1, 0.1]], [[0.1, 0.1], [0.8, 0.8]]]]
    ).log()
    target = torch.tensor([[[[0, 1], [2, 2]]]])
    masked = partial(region, "dice", scores, target, **SOFTMAX, ignore_index=2)
    cropped = partial(region, "dice", scores[:, :, :1], target[:, :, :1], **SOFTMAX)
    yield values("DiceLoss, ignore_index is as a crop", masked, cropped, rtol=1e-6)
    logits, classes = drawn(0, 2, 4, 8, 8), drawn_labels(1, 4, 2, 1, 8, 8)
    of_labels = partial(region, "dice", logits, classes, **SOFTMAX, ignore_index=1)
    yield values(
        "DiceLoss, ignore_index of one-hot targets",
        partial(one_hot_ignored, logits, classes),
        of_labels,
    )

    def no_slope() -> bool:
        x = drawn(2, 1, 3, 4, 4).requires_grad_()
        region("dice", x, labels, **SOFTMAX, ignore_index=2).backward()
        assert x.grad is not None
        return bool((x.grad[:, :, 2:] == 0).all() and (x.grad[:, :, :2] != 0).any())

    yield holds("DiceLoss, ignored pixels have no slope", no_slope)
    for loss, options in product(("dice", "tversky"), (SIGMOID, SOFTMAX)):
        yield from same_where_ignored(loss, partial(region, loss, **options), "softmax" in options)
        if "sigmoid" in options:
            x, y = drawn(0, 1, 1, 4, 4), drawn_labels(1, 2, 1, 1, 4, 4).double()
            plain = partial(region, loss, x, y, **options)
            yield holds(f"{loss} without ignore_index", lambda f=plain: bool(f().isfinite()))


def one_hot_ignored(logits: Tensor, labels: Tensor) -> Tensor:
    """Their ignore_index of one-hot targets is a class; here pixels of that class get weight 0."""
    kept = (labels != 1).double()
    one_hot = torch.nn.functional.one_hot(labels[:, 0], 4).movedim(-1, 1).double()
    return region("dice", logits, one_hot, softmax=True, pixel_weights=kept)


IGNORED_ROWS = tensor([[[[1, 0, 1, 0], [0, 1, 0, 1], [255] * 4, [255] * 4]]])
IGNORED_COLUMNS = tensor(
    [[[[1, 0, 255, 255], [0, 1, 255, 255], [0, 1, 255, 255], [0, 1, 255, 255]]]]
)


def same_where_ignored(name: str, loss: Callable[..., Tensor], classes: bool) -> Cases:
    """A loss does not notice other logits where the target is ignored."""

    def same(x: Tensor, y: Tensor, ignore_index: int, where: Tensor) -> bool:
        one = loss(x, y, ignore_index=ignore_index)
        return torch.equal(one, loss(x + 5 * where, y, ignore_index=ignore_index))

    if not classes:
        for place, target in {"rows": IGNORED_ROWS, "columns": IGNORED_COLUMNS}.items():
            ours = partial(same, drawn(0, 1, 1, 4, 4), target, 255, target == 255)
            yield holds(f"{name} of one mask, ignored {place}", ours)
        return
    halves = torch.tensor([0, 0, 1, 1])[:, None].expand(1, 1, 4, 4)
    for ignored_class in (0, 1):
        channel = torch.arange(2).reshape(1, 2, 1, 1) == ignored_class
        where = (halves == ignored_class) & channel
        ours = partial(same, drawn(0, 1, 2, 4, 4), halves, ignored_class, where)
        yield holds(f"{name} of classes, ignored class {ignored_class}", ours)
    where = (IGNORED_ROWS == 255) & (torch.arange(3).reshape(1, 3, 1, 1) == 1)
    ours = partial(same, drawn(0, 1, 3, 4, 4), IGNORED_ROWS.long(), 255, where)
    yield holds(f"{name} of classes, ignored 255", ours)


def cases() -> Cases:
    yield from dice()
    yield from masked_dice()
    yield from generalized_dice()
    yield from tversky()
    yield from mcc()
    yield from wasserstein()
    yield from ignored()
