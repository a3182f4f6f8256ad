"""Terms of confident predictions, right and wrong, against sums of 60 digits, on every kernel."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import mpmath
import pytest
import torch
from mpmath import mpf
from torch import Tensor

import segloss
from segloss import MCCLoss, RegionSizeKLLoss, RegionSizeL1Loss, SegLoss
from tests.support.kernels import BACKENDS

PIXELS = 16
INFINITY = float("inf")


@pytest.fixture(params=BACKENDS, autouse=True)
def _kernel(request) -> Iterator[None]:
    with segloss.use_backend(request.param), mpmath.workdps(60):
        yield


class Outcome(NamedTuple):
    """The value of a loss, and its gradient, (C, P)."""

    value: float
    gradient: Tensor


def outcome(loss: Any, logits: Tensor, target: Tensor) -> Outcome:
    logits = logits.clone().requires_grad_()
    value = loss(logits, target)
    value.backward()
    return Outcome(value.item(), logits.grad[0])


# ---- counts with all digits ----


class Counts(NamedTuple):
    """The four counts of a cell, with 60 digits."""

    tp: Any
    fp: Any
    fn: Any
    tn: Any


def sigmoid(x: Any) -> Any:
    return 1 / (1 + mpmath.exp(-x))


def counts_of_channel(logits: list[Any], target: list[float]) -> Counts:
    p, q = [sigmoid(x) for x in logits], [sigmoid(-x) for x in logits]
    g = [mpf(value) for value in target]
    return Counts(
        mpmath.fdot(p, g),
        mpmath.fsum(pi * (1 - gi) for pi, gi in zip(p, g, strict=True)),
        mpmath.fdot(q, g),
        mpmath.fsum(qi * (1 - gi) for qi, gi in zip(q, g, strict=True)),
    )


def counts_of_class(logits: list[list[Any]], labels: list[int], c: int) -> Counts:
    """Counts of class c of a softmax, from logits (C, P)."""
    tp = fp = fn = tn = mpf(0)
    for pixel, label in zip(zip(*logits, strict=True), labels, strict=True):
        exponentials = [mpmath.exp(x) for x in pixel]
        p = exponentials[c] / mpmath.fsum(exponentials)
        q = mpmath.fsum(e for k, e in enumerate(exponentials) if k != c) / mpmath.fsum(exponentials)
        if label == c:
            tp, fn = tp + p, fn + q
        else:
            fp, tn = fp + p, tn + q
    return Counts(tp, fp, fn, tn)


def mcc(cell: Counts, eps: float = 0.0) -> Any:
    tp, fp, fn, tn = (count + mpf(eps) for count in cell)
    return 1 - (tp * tn - fp * fn) / mpmath.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))


def unified_tversky(cell: Counts, delta: float = 0.6, gamma: float = 0.5) -> Any:
    def index(tp: Any, fp: Any, fn: Any) -> Any:
        errors = (1 - mpf(delta)) * fp + mpf(delta) * fn
        return errors / (tp + errors)

    tp, fp, fn, tn = cell
    return (index(tp, fp, fn) ** (1 - mpf(gamma)) + index(tn, fn, fp)) / 2


def log_dice(cell: Counts, smooth: float) -> Any:
    tp, fp, fn, _ = cell
    return -mpmath.log((2 * tp + mpf(smooth)) / (2 * tp + fp + fn + mpf(smooth)))


def overlap(cell: Counts, alpha: float, beta: float, exponent: float = 1.0) -> Any:
    tp, fp, fn, _ = cell
    errors = mpf(alpha) * fp + mpf(beta) * fn
    return (errors / (tp + errors)) ** mpf(exponent)


def region_size_kl(cell: Counts) -> Any:
    tp, fp, fn, tn = cell
    size = mpmath.fsum(cell)
    shares = [((tp + fn) / size, (tp + fp) / size), ((fp + tn) / size, (fn + tn) / size)]
    return mpmath.fsum(y * mpmath.log(y / guess) for y, guess in shares if y > 0)


CELLS: dict[str, tuple[Any, Callable[[Counts], Any]]] = {
    "mcc": (MCCLoss(), mcc),
    "mcc, eps": (MCCLoss(eps=1e-5), lambda cell: mcc(cell, 1e-5)),
    "unified focal": (segloss.UnifiedFocalLoss(weight=0.0), unified_tversky),
    "log dice": (segloss.LogDiceLoss(), lambda cell: log_dice(cell, 1.0)),
    "log dice, 1e-10": (segloss.LogDiceLoss(smooth=1e-10), lambda cell: log_dice(cell, 1e-10)),
    "log dice, 1e-20": (segloss.LogDiceLoss(smooth=1e-20), lambda cell: log_dice(cell, 1e-20)),
    "region size": (RegionSizeKLLoss(), region_size_kl),
    "dice": (segloss.DiceLoss(smooth=0.0), lambda cell: overlap(cell, 0.5, 0.5)),
    "generalized dice": (segloss.GeneralizedDiceLoss(), lambda cell: overlap(cell, 0.5, 0.5)),
    "jaccard": (segloss.JaccardLoss(), lambda cell: overlap(cell, 1.0, 1.0)),
    "tversky": (segloss.TverskyLoss(alpha=0.3, beta=0.7), lambda cell: overlap(cell, 0.3, 0.7)),
    "focal tversky": (
        segloss.FocalTverskyLoss(alpha=0.3, beta=0.7, gamma=0.75),
        lambda cell: overlap(cell, 0.3, 0.7, 0.75),
    ),
}

TARGETS = {
    "empty": [0.0] * PIXELS,
    "full": [1.0] * PIXELS,
    "quarter": [0.0, 1.0, 0.0, 0.0] * (PIXELS // 4),
    "one pixel": [1.0] + [0.0] * (PIXELS - 1),
    "soft": [0.25, 0.5] * (PIXELS // 2),
    "nearly full": [0.875, 1.0, 0.75, 0.875] * (PIXELS // 4),
}


@pytest.mark.parametrize("margin", [-30.0, -17.0, -4.0, 4.0, 17.0, 30.0])
@pytest.mark.parametrize("mask", TARGETS)
@pytest.mark.parametrize("name", CELLS)
def test_a_channel_has_the_textbooks_value_and_slopes(name: str, mask: str, margin: float) -> None:
    """Positive margins are right predictions. The slopes are those of differences in 60 digits."""
    loss, book = CELLS[name]
    target = TARGETS[mask]
    logits = [margin * (2 * g - 1) + 0.01 * i for i, g in enumerate(target)]
    logits = torch.tensor(logits).tolist()  # rounded to float32
    if name == "mcc" and mask in ("empty", "full"):
        return  # the coefficient is not defined
    ours = outcome(loss, torch.tensor([[logits]]), torch.tensor([[target]]))
    exact = [mpf(x) for x in logits]
    value = book(counts_of_channel(exact, target))
    assert ours.value == pytest.approx(float(value), rel=3e-6, abs=1e-30)
    for i in (0, 1, PIXELS - 1):
        step = mpf(10) ** -20
        moved = [x + step * (k == i) for k, x in enumerate(exact)]
        slope = (book(counts_of_channel(moved, target)) - value) / step
        assert ours.gradient[0, i].item() == pytest.approx(float(slope), rel=3e-5, abs=1e-30), i


@pytest.mark.parametrize("margin", [-30.0, -17.0, 4.0, 17.0, 30.0])
@pytest.mark.parametrize("labels", [[0] * PIXELS, [0, 1] * (PIXELS // 2), [0] * 15 + [2]])
def test_mcc_of_classes_has_the_textbooks_value(labels: list[int], margin: float) -> None:
    logits = torch.zeros(1, 3, PIXELS)
    logits[0, 1] += 0.3
    logits.scatter_(1, torch.tensor([[labels]]), margin)
    if margin < 0:
        logits[0, 2] += 60  # all pixels are predicted as class 2
    exact = [[mpf(x) for x in row] for row in logits[0].tolist()]
    cells = [counts_of_class(exact, labels, c) for c in range(3)]
    expected = mpmath.fsum(mcc(cell, 1e-5) for cell in cells) / 3
    loss = MCCLoss("multiclass", eps=1e-5)
    ours = outcome(loss, logits, torch.tensor([labels]))
    assert ours.value == pytest.approx(float(expected), rel=3e-6)
    if margin > 0:
        pixel, step = 3, mpf(10) ** -20
        for c in range(3):
            moved = [[x + step * ((k, i) == (c, pixel)) for i, x in enumerate(row)]
                     for k, row in enumerate(exact)]  # fmt: skip
            cells = [counts_of_class(moved, labels, k) for k in range(3)]
            change = mpmath.fsum(mcc(cell, 1e-5) for cell in cells) / 3 - expected
            slope, scale = float(change / step), ours.gradient[:, pixel].abs().max().item()
            assert ours.gradient[c, pixel].item() == pytest.approx(
                slope, rel=1e-4, abs=1e-6 * scale
            )


# ---- margins beyond the range of float32 ----


@pytest.mark.parametrize("margin", [15.0, 17.0, 40.0, 87.0, 110.0, 700.0])
@pytest.mark.parametrize("size", [(3, 5), (64, 64)])
def test_a_region_that_is_missed_by_a_margin_costs_the_margin(size, margin: float) -> None:
    pixels = size[0] * size[1]
    loss = RegionSizeKLLoss()
    for sign, mask in ((1, torch.zeros), (-1, torch.ones)):
        value, gradient = outcome(loss, torch.full((1, 1, *size), sign * margin), mask(1, 1, *size))
        assert value == pytest.approx(margin, rel=1e-6)
        torch.testing.assert_close(
            gradient, torch.full((1, *size), sign / pixels), rtol=1e-6, atol=0
        )


@pytest.mark.parametrize("reduction", ["sample", "batch"])
@pytest.mark.parametrize("margin", [17.0, 110.0, 700.0])
def test_a_class_that_is_missed_by_a_margin_costs_the_margin(margin: float, reduction: str) -> None:
    logits = torch.zeros(1, 3, 4, 5)
    logits[:, 1] = -margin
    loss = RegionSizeKLLoss("multiclass", region_reduction=reduction)
    value, gradient = outcome(loss, logits, torch.ones(1, 4, 5, dtype=torch.long))
    assert value == pytest.approx(margin + torch.log(torch.tensor(2.0)).item(), rel=1e-6)
    torch.testing.assert_close(gradient[1], torch.full((4, 5), -1 / 20), rtol=1e-6, atol=0)
    torch.testing.assert_close(gradient[0], torch.full((4, 5), 0.5 / 20), rtol=1e-6, atol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_the_margin_counts_in_every_precision(dtype: torch.dtype) -> None:
    logits = torch.full((1, 1, 8), 112.0, dtype=dtype)
    value, gradient = outcome(RegionSizeKLLoss(), logits, torch.zeros(1, 1, 8))
    assert value == pytest.approx(112.0, rel=1e-6)
    assert gradient.dtype == dtype
    torch.testing.assert_close(
        gradient.double(), torch.full((1, 8), 1 / 8).double(), rtol=1e-2, atol=0
    )


def test_a_missed_image_of_a_million_pixels_has_a_finite_log_dice() -> None:
    logits, mask = torch.full((1, 1, 1024, 1024), -50.0), torch.ones(1, 1, 1024, 1024)
    for smooth in (1e-10, 1e-9):
        value, gradient = outcome(segloss.LogDiceLoss(smooth=smooth), logits, mask)
        cell = counts_of_channel([mpf(-50)], [1.0])
        scaled = Counts(*(count * 2**20 for count in cell))
        assert value == pytest.approx(float(log_dice(scaled, smooth)), rel=1e-6)
        assert torch.isfinite(gradient).all()
        assert (gradient < 0).all()


# ---- infinite logits whose limit is finite ----

LOSSES = {
    "compound": lambda **options: segloss.CompoundLoss(
        {"cross_entropy": 0.5, "dice": 0.5}, **options
    ),
    "focal": lambda **options: segloss.FocalLoss(**options),
    "focal, gamma 0": lambda **options: segloss.FocalLoss(gamma=0.0, **options),
    "mcc": lambda **options: MCCLoss(**options),
    "unified focal": lambda **options: segloss.UnifiedFocalLoss(**options),
    "squared dice": lambda **options: segloss.SquaredDiceLoss(**options),
    "region size": lambda **options: RegionSizeKLLoss(**options),
    "poly1": lambda **options: segloss.Poly1Loss(**options),
}


def finite(logits: Tensor) -> Tensor:
    """The logits with a number whose probability is 0 or 1 in place of infinity."""
    return logits.clamp(-1e4, 1e4)


def assert_the_limit(loss: Any, logits: Tensor, target: Tensor) -> None:
    ours, limit = outcome(loss, logits, target), outcome(loss, finite(logits), target)
    assert ours.value == pytest.approx(limit.value, rel=1e-6)
    torch.testing.assert_close(ours.gradient, limit.gradient, rtol=1e-6, atol=1e-30)
    assert torch.isfinite(ours.gradient).all()


@pytest.mark.parametrize("name", LOSSES)
def test_infinite_logits_of_channels_that_are_right_have_the_limit(name: str) -> None:
    logits = torch.tensor([[[-INFINITY, 3.0, INFINITY, 2.0], [1.0, -INFINITY, 0.5, -2.0]]])
    target = torch.tensor([[[0.0, 1.0, 1.0, 0.0], [0.25, 0.0, 1.0, 0.5]]])
    assert_the_limit(LOSSES[name](mode="multilabel"), logits, target)


@pytest.mark.parametrize("options", [{"pos_weight": [2.0, 0.0]}, {"class_weights": [1.0, 0.0]}, {}])
def test_cross_entropy_with_weights_of_infinite_logits_has_the_limit(options) -> None:
    loss = segloss.CompoundLoss({"cross_entropy": 1.0}, "multilabel", **options)
    logits = torch.tensor([[[-INFINITY, 3.0, INFINITY], [-INFINITY, 1.0, 2.0]]])
    missed = float("pos_weight" in options)  # it costs nothing in a channel of positive weight 0
    assert_the_limit(loss, logits, torch.tensor([[[0.0, 1.0, 1.0], [missed, 0.0, 1.0]]]))


@pytest.mark.parametrize("target", [[[0, 1, 1]], [[[1.0, 0, 0.25], [0, 1, 0.75], [0, 0, 0]]]])
@pytest.mark.parametrize("name", LOSSES)
def test_a_class_that_is_impossible_has_the_limit(name: str, target) -> None:
    logits = torch.tensor([[[1.0, 2.0, 0.0], [0.5, 1.0, 2.0], [-INFINITY, -INFINITY, 1.0]]])
    assert_the_limit(LOSSES[name](mode="multiclass"), logits, torch.tensor(target))


@pytest.mark.parametrize("target", [[[0, 1]], [[[1.0, 0.5], [0, 0.5], [0, 0]]]])
@pytest.mark.parametrize(
    "make",
    [
        lambda **options: segloss.CompoundLoss({"cross_entropy": 1.0}, "multiclass", **options),
        lambda **options: segloss.TopKCrossEntropyLoss("multiclass", k=100, **options),
    ],
)
def test_smoothing_gives_nothing_to_an_impossible_class_of_weight_0(make, target) -> None:
    loss = make(class_weights=[1.0, 2.0, 0.0], label_smoothing=0.1)
    logits = torch.tensor([[[1.0, 2.0], [0.5, 1.0], [-INFINITY, -INFINITY]]])
    assert_the_limit(loss, logits, torch.tensor(target))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_top_k_of_impossible_classes_has_the_limit(smoothing: float) -> None:
    dense = torch.tensor([[[1.0, 0.5, 1.0], [0, 0.5, 0], [0, 0, 0]]])
    weights = [1.0, 2.0, 0.0] if smoothing else None
    loss = segloss.TopKCrossEntropyLoss(
        "multiclass", k=67, label_smoothing=smoothing, class_weights=weights
    )
    logits = torch.tensor([[[1.0, 2.0, 0.0], [0.5, 1.0, 2.0], [-INFINITY, -INFINITY, 1.0]]])
    assert_the_limit(loss, logits, dense)
    binary = segloss.TopKCrossEntropyLoss("binary", k=100)
    assert_the_limit(binary, torch.tensor([[[-INFINITY, INFINITY]]]), torch.tensor([[[0.0, 1.0]]]))


# ---- options that mean nothing together ----


@pytest.mark.parametrize("make", [RegionSizeL1Loss, RegionSizeKLLoss])
@pytest.mark.parametrize("classes", [None, [2, 0, 1]])
def test_the_size_of_all_classes_together_is_refused_with_softmax(make, classes) -> None:
    loss = make("multiclass", region_reduction="micro", region_classes=classes)
    with pytest.raises(ValueError, match="is always 0: use 'sample' or 'batch'"):
        loss(torch.zeros(1, 3, 4), torch.tensor([[0, 1, 2, 0]]))


@pytest.mark.parametrize("make", [RegionSizeL1Loss, RegionSizeKLLoss])
def test_the_size_of_some_classes_or_of_channels_together_is_a_loss(make) -> None:
    logits = torch.randn(2, 3, 8)
    some = make("multiclass", region_reduction="micro", region_classes=[1, 2])
    assert some(logits, torch.zeros(2, 8, dtype=torch.long)) > 0.1
    channels = make("multilabel", region_reduction="micro")
    assert channels(logits, torch.zeros(2, 3, 8)) > 0.1


# ---- labels that the target's dtype can't hold ----

DOORS: dict[str, Callable[..., Any]] = {
    "SegLoss": lambda n, ignored: lambda x, y: SegLoss(n_classes=n, ignore_index=ignored)(x, y)[0],
    "CompoundLoss": lambda n, ignored: segloss.CompoundLoss(
        {"cross_entropy": 0.5, "dice": 0.5}, "multiclass", ignore_index=ignored
    ),
    "functional": lambda n, ignored: (
        lambda x, y: segloss.functional.dice_loss(x, y, n_classes=n, ignore_index=ignored)
    ),
    "given probabilities": lambda n, ignored: (
        lambda x, y: segloss.functional.dice_loss(
            x.softmax(1), y, n_classes=n, ignore_index=ignored, from_logits=False
        )
    ),
    "Lovasz": lambda n, ignored: segloss.LovaszLoss(ignore_index=ignored),
    "top-k": lambda n, ignored: segloss.TopKCrossEntropyLoss(ignore_index=ignored),
    "partly annotated": lambda n, ignored: (
        lambda x, y: SegLoss(n_classes=n, ignore_index=ignored, merge_unannotated=True)(
            x, {"gt_polygons_image": y, "annotated": torch.arange(n).expand(len(x), n) < n - 9}
        )[0]
    ),
    "DeepSupervision": lambda n, ignored: (
        lambda x, y: segloss.DeepSupervision(SegLoss(n_classes=n, ignore_index=ignored))(
            [x], {"gt_polygons_image": y}
        )[0]
    ),
    "MultiLoss": lambda n, ignored: (
        lambda x, y: segloss.MultiLoss([SegLoss(n_classes=n, ignore_index=ignored)], [1.0])(x, y)[0]
    ),
}

UNHOLDABLE = {
    "uint8": (torch.uint8, -100, 156),
    "uint8, 256 more": (torch.uint8, 412, 156),
    "int8": (torch.int8, 255 + 1, 0),
    "int16": (torch.int16, 65_536 + 5, 5),
}
"""A dtype, an ignore_index that it can't hold, and the label that it would become."""


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("name", UNHOLDABLE)
def test_a_label_is_not_ignored_because_its_dtype_can_not_hold_ignore_index(
    name: str, door: str, dtype: torch.dtype
) -> None:
    label_dtype, ignored, label = UNHOLDABLE[name]
    logits = torch.randn(2, 171, 6, dtype=dtype)
    labels = torch.randint(0, 100, (2, 6))
    labels[0] = label
    loss = DOORS[door](171, ignored)
    torch.testing.assert_close(loss(logits, labels.to(label_dtype)), loss(logits, labels))
