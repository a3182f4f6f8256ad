"""Every term with every option as `docs/losses.md` writes it, pixel by pixel, in float64.

Nothing here is shared with segloss. Cells are lists of pixels without those that are left out,
reductions join the lists, and autograd differentiates the formulas. Where a formula has 1 - p, the
textbook has q, the sum of the other classes' probabilities, and where it has one minus a score, the
textbook has the share of errors: float64 would lose the digits of such differences too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

INFINITE = 1e6
"""A logit whose probability is 0 or 1 in float64: the limit that an infinite logit stands for."""


class Probabilities(NamedTuple):
    """p, q = 1 - p and their logarithms, each (N, C, P)."""

    p: Tensor
    q: Tensor
    log_p: Tensor
    log_q: Tensor


class _FlooredLog(torch.autograd.Function):
    """The logarithm of a given probability as `F.binary_cross_entropy` has it."""

    @staticmethod
    def forward(ctx: Any, p: Tensor) -> Tensor:
        ctx.save_for_backward(p)
        return p.log().clamp(min=-100)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return grads[0] / ctx.saved_tensors[0].clamp(min=1e-12)


def probabilities(prediction: Tensor, activation: str, from_logits: bool) -> Probabilities:
    """Of predictions (N, C, P) in float64. For softmax, q is the sigmoid of the others' margin."""
    if not from_logits:
        p, q = prediction, 1 - prediction
        return Probabilities(p, q, _FlooredLog.apply(p), _FlooredLog.apply(q))
    margin = prediction
    if activation == "softmax":
        itself = torch.eye(margin.shape[1], dtype=torch.bool).unsqueeze(-1)
        others = margin.unsqueeze(1).masked_fill(itself, -torch.inf)  # (N, class, other class, P)
        margin = margin - others.logsumexp(2)
    log_p, log_q = F.logsigmoid(margin), F.logsigmoid(-margin)
    return Probabilities(log_p.exp(), log_q.exp(), log_p, log_q)


@dataclass(frozen=True)
class Pixels:
    """Pixels in float64: probabilities, targets g and weights w, and maps of the same shape."""

    p: Tensor
    q: Tensor
    log_p: Tensor
    log_q: Tensor
    g: Tensor
    w: Tensor
    maps: Mapping[str, Tensor]


@dataclass(frozen=True)
class Batch(Pixels):
    """The pixels of a batch, (N, C, P), with w = 0 where a pixel is left out.

    Attributes:
        exclusive: If classes exclude each other.
        dense: If targets were given for each class; it changes the mean of the cross-entropy.
        left_out: Cells (N, C) that the terms of regions leave out.
    """

    exclusive: bool
    dense: bool
    left_out: Tensor
    class_weights: Tensor
    pos_weight: Tensor
    label_smoothing: float

    def with_probabilities(self, found: Probabilities) -> Batch:
        return replace(self, **found._asdict())


def batch_of(
    prediction: Tensor,
    target: Tensor,
    *,
    activation: str,
    from_logits: bool = True,
    ignore_index: int | None = None,
    pixel_weights: Tensor | None = None,
    class_weights: Sequence[float] | None = None,
    pos_weight: Sequence[float] | None = None,
    label_smoothing: float = 0.0,
    annotated: Tensor | None = None,
    merge_unannotated: bool = False,
    maps: Mapping[str, Tensor] | None = None,
) -> Batch:
    """The pixels of tensors as a user has them."""
    exclusive = activation == "softmax"
    samples, channels, *spatial = prediction.shape
    shape = (samples, channels, math.prod(spatial))
    x = prediction.double().reshape(shape)
    if from_logits:
        x = torch.nan_to_num(x, nan=0.0, posinf=INFINITE, neginf=-INFINITE)
    dense = target.shape == prediction.shape
    given = target.double().reshape(samples, channels if dense else 1, shape[2])
    kept = torch.ones_like(given, dtype=torch.bool)
    if ignore_index is not None:
        kept = given != float(ignore_index)
    if exclusive:
        kept = kept.all(1, keepdim=True)
    w = torch.ones(shape, dtype=torch.float64)
    if pixel_weights is not None:
        per_channel = exclusive is False and pixel_weights.shape == prediction.shape
        w = w * pixel_weights.double().reshape(samples, channels if per_channel else 1, shape[2])
    w = torch.where(kept, w, 0.0)
    g = torch.where(kept, given, 0.0)
    if exclusive and not dense:
        g = torch.stack([g[:, 0] == c for c in range(channels)], 1).double()
    left_out = torch.zeros(samples, channels, dtype=torch.bool)
    x = torch.where(w > 0, x, torch.zeros_like(x) if from_logits else 0.5)
    if annotated is not None and not exclusive:
        w = torch.where(annotated.unsqueeze(-1), w, 0.0)
        x = torch.where(w > 0, x, torch.zeros_like(x) if from_logits else 0.5)
    if annotated is not None and exclusive:
        left_out = ~annotated
        if merge_unannotated and samples:
            x, g = _merged(x, g, annotated, from_logits)
    found = probabilities(x, activation, from_logits)
    ones = [1.0] * channels
    return Batch(
        *found,
        g=g,
        w=w,
        maps={
            key: torch.where(w > 0, each.double().reshape(shape), 0.0)
            for key, each in (maps or {}).items()
        },
        exclusive=exclusive,
        dense=dense,
        left_out=left_out,
        class_weights=torch.tensor(class_weights or ones, dtype=torch.float64),
        pos_weight=torch.tensor(pos_weight or [1.0], dtype=torch.float64),
        label_smoothing=label_smoothing,
    )


def _merged(x: Tensor, g: Tensor, annotated: Tensor, from_logits: bool) -> tuple[Tensor, Tensor]:
    """The classes that are not annotated become background, class 0, sample by sample."""
    predictions, targets = [], []
    for n in range(len(x)):
        merged = [c for c in range(1, x.shape[1]) if not annotated[n, c]]
        joined = [0, *merged]
        background = x[n, joined].logsumexp(0) if from_logits else x[n, joined].sum(0)
        gone = torch.full_like(background, -INFINITE if from_logits else 0.0)
        empty = torch.zeros_like(g[n, 0])
        predictions.append(
            [background, *(gone if c in merged else x[n, c] for c in range(1, x.shape[1]))]
        )
        targets.append(
            [g[n, joined].sum(0), *(empty if c in merged else g[n, c] for c in range(1, len(g[n])))]
        )
    return (
        torch.stack([torch.stack(each) for each in predictions]),
        torch.stack([torch.stack(each) for each in targets]),
    )


# Terms of pixels: losses (N, C, P) and the weights of their mean


def ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """The quotient; 0 where there is nothing to average."""
    empty = denominator <= 0
    return torch.where(empty, 0.0, numerator / torch.where(empty, 1.0, denominator))


def share(part: Tensor, whole: Tensor) -> Tensor:
    """The share of errors; 0 where float32 can hardly hold the probabilities of the whole."""
    empty = whole < 1e-37
    return torch.where(empty, 0.0, part / torch.where(empty, 1.0, whole))


def power(base: Tensor, exponent: float) -> Tensor:
    """A power whose slope at 0 is 0."""
    zero = base <= 0
    return torch.where(zero, float(exponent == 0), torch.where(zero, 1.0, base) ** exponent)


def cross_entropy(batch: Batch) -> tuple[Tensor, Tensor]:
    e, cw = batch.label_smoothing, batch.class_weights.view(1, -1, 1)
    if batch.exclusive:
        smooth = batch.g * (1 - e) + e / batch.g.shape[1]
        losses = -smooth * cw * batch.log_p
        weights = batch.w * (batch.g * cw) if not batch.dense else batch.w / batch.g.shape[1]
        return batch.w * losses, weights
    smooth = batch.g * (1 - e) + e / 2
    positive = smooth * batch.pos_weight.view(1, -1, 1)
    losses = -(positive * batch.log_p + (1 - smooth) * batch.log_q)
    return batch.w * cw * losses, batch.w * cw


def of_true_class(
    batch: Batch, loss: Callable[[Tensor, Tensor, int], Tensor]
) -> tuple[Tensor, Tensor]:
    """The mean of loss(log p_y, 1 - p_y, y) over the pixels; y is 0 or 1 for sigmoid channels."""
    if batch.exclusive:
        losses = [loss(batch.log_p[:, c], batch.q[:, c], c) for c in range(batch.g.shape[1])]
        values = batch.g * torch.stack(losses, 1)
        return batch.w * values, batch.w / batch.g.shape[1]
    foreground, background = loss(batch.log_p, batch.q, 1), loss(batch.log_q, batch.p, 0)
    return batch.w * (batch.g * foreground + (1 - batch.g) * background), batch.w


def focal(batch: Batch, gamma: float = 2.0, alpha: Any = None) -> tuple[Tensor, Tensor]:
    def loss(log_p: Tensor, q: Tensor, y: int) -> Tensor:
        weight = 1.0 if alpha is None else weights[y]
        return -weight * power(q, gamma) * log_p

    weights = alpha if isinstance(alpha, (list, tuple)) else [1 - (alpha or 0), alpha]
    return of_true_class(batch, loss)


def missed_probability(batch: Batch) -> tuple[Tensor, Tensor]:
    return of_true_class(batch, lambda log_p, q, y: q)


def unified_focal_pixels(
    batch: Batch, delta: float, gamma: float, symmetric: bool
) -> tuple[Tensor, Tensor]:
    def loss(log_p: Tensor, q: Tensor, y: int) -> Tensor:
        weight = delta if y else 1 - delta
        return -weight * (power(q, gamma) if symmetric or y == 0 else 1) * log_p

    return of_true_class(batch, loss)


def generalized_cross_entropy(batch: Batch, exponent: float = 0.7) -> tuple[Tensor, Tensor]:
    return of_true_class(batch, lambda log_p, q, y: -torch.expm1(exponent * log_p) / exponent)


def balanced_cross_entropy(batch: Batch, balance: str = "sample") -> tuple[Tensor, Tensor]:
    """The weight of a pixel is the share of the other side: masks, or class 0 against others."""
    losses, weights = of_true_class(batch, lambda log_p, q, y: -log_p)
    g, w, side = batch.g, batch.w, 1.0
    if batch.exclusive:
        side = torch.tensor([float(c > 0) for c in range(g.shape[1])]).double().view(1, -1, 1)
        foreground, w = (g * side).sum(1, keepdim=True), w[:, :1]
        g = foreground
    dims = {"sample": (2,), "batch": (0, 2), "micro": (0, 1, 2)}[balance]
    share = ratio((w * g).sum(dims, keepdim=True), w.sum(dims, keepdim=True))
    if batch.exclusive:
        return losses * (side * (1 - share) + (1 - side) * share), weights
    positive, negative = batch.w * g * -batch.log_p, batch.w * (1 - g) * -batch.log_q
    return (1 - share) * positive + share * negative, weights


def mean_over_pixels(batch: Batch, losses: Tensor, weights: Tensor, reduction: str) -> Tensor:
    """One mean, or that of each cell: a sample (and channel of sigmoid); or the pixels."""
    if reduction == "mean":
        return ratio(losses.sum(), weights.sum())
    if reduction == "sum":
        return losses.sum()
    if reduction == "pixels":
        return losses.sum(1) if batch.exclusive else losses
    dims = (1, 2) if batch.exclusive else (2,)
    means = ratio(losses.sum(dims), weights.sum(dims))
    return means.unsqueeze(1) if batch.exclusive else means


# Terms of regions: the loss of a cell, a list of pixels

_OF_PIXELS = ("p", "q", "log_p", "log_q", "g", "w")


@dataclass(frozen=True)
class Cell(Pixels):
    """The pixels of a cell, each (P,); pixels that are left out are not among them."""

    classes: tuple[int, ...]
    soft_labels: str = "product"

    @classmethod
    def of(cls, batch: Batch, n: int, c: int, soft_labels: str) -> Cell:
        kept = (batch.w[n, c] > 0) & ~batch.left_out[n, c]
        values = {name: getattr(batch, name)[n, c][kept] for name in _OF_PIXELS}
        maps = {key: each[n, c][kept] for key, each in batch.maps.items()}
        return cls(**values, maps=maps, classes=(c,), soft_labels=soft_labels)

    def joined(self, others: Sequence[Cell]) -> Cell:
        cells = [self, *others]
        values = {name: torch.cat([getattr(cell, name) for cell in cells]) for name in _OF_PIXELS}
        maps = {key: torch.cat([cell.maps[key] for cell in cells]) for key in self.maps}
        classes = tuple(sorted({c for cell in cells for c in cell.classes}))
        return Cell(**values, maps=maps, classes=classes, soft_labels=self.soft_labels)

    def total(self, values: Tensor | float) -> Tensor:
        return (self.w * values).sum()

    @property
    def size(self) -> Tensor:
        return self.total(1.0)

    @property
    def actual(self) -> Tensor:
        return self.total(self.g)

    def counts(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """TP, FP, FN and TN; for the semimetric with min(p, g) in place of p g."""
        p, q, g, h = self.p, self.q, self.g, 1 - self.g
        if self.soft_labels == "product":
            return tuple(self.total(each) for each in (p * g, p * h, q * g, q * h))
        short = torch.where(g > 0.5, q - h, g - p)  # g - p
        below = short > 0
        return (
            self.total(torch.where(below, p, g)),
            self.total(torch.where(below, 0.0, -short)),
            self.total(torch.where(below, short, 0.0)),
            self.total(torch.where(below, h, q)),
        )

    def log_share(self, log_values: Tensor) -> Tensor:
        """The logarithm of the mean of exp(values)."""
        if self.w.numel() == 0:
            return self.w.sum()
        return (log_values + self.w.log()).logsumexp(0) - self.size.log()


Smooth = float | Sequence[float]


def overlap_loss(errors: Tensor, hits: Tensor, smooth: Smooth, log: bool) -> Tensor:
    """One minus (hits + n) / (hits + errors + d), or minus its logarithm."""
    n, d = smooth if isinstance(smooth, (list, tuple)) else (smooth, smooth)
    lost, whole = errors + (d - n), hits + errors + d
    if not log:
        return share(lost, whole)
    if whole < 1e-37:
        return lost * 0
    if n == 0 and hits <= 1e-7 * whole:  # the tangent of -log at 1e-7
        return -math.log(1e-7) - (hits / whole - 1e-7) / 1e-7
    return torch.log1p(lost / (hits + n))


def overlap(
    cell: Cell,
    of_tp: float,
    of_fp: float,
    of_fn: float,
    smooth: Smooth,
    log: bool = False,
    clip_tp: float = 0.0,
) -> Tensor:
    tp, fp, fn, _ = cell.counts()
    hits = of_tp * (tp.clamp(min=clip_tp) if clip_tp else tp)
    return overlap_loss(of_fp * fp + of_fn * fn, hits, smooth, log)


def dice(cell: Cell, smooth: Smooth = 1.0, **options: Any) -> Tensor:
    return overlap(cell, 2, 1, 1, smooth, **options)


def jaccard(cell: Cell, smooth: Smooth = 0.0, **options: Any) -> Tensor:
    return overlap(cell, 1, 1, 1, smooth, **options)


def tversky(
    cell: Cell, alpha: float = 0.3, beta: float = 0.7, smooth: Smooth = 0.0, **options: Any
) -> Tensor:
    return overlap(cell, 1, alpha, beta, smooth, **options)


def focal_tversky(cell: Cell, gamma: float = 0.75, **parameters: Any) -> Tensor:
    return power(tversky(cell, **parameters), gamma)


def f_beta(cell: Cell, beta: float = 1.0, smooth: Smooth = 0.0, **options: Any) -> Tensor:
    return overlap(cell, 1 + beta**2, 1, beta**2, smooth, **options)


def log_dice(cell: Cell, gamma: float = 1.0, **options: Any) -> Tensor:
    return power(dice(cell, log=True, **options), gamma)


def log_cosh_dice(cell: Cell, **options: Any) -> Tensor:
    return torch.log1p(2 * torch.sinh(dice(cell, **options) / 2) ** 2)


def squared_dice(
    cell: Cell, smooth: Smooth = 1.0, log: bool = False, clip_tp: float = 0.0
) -> Tensor:
    error = cell.total((cell.p * (1 - cell.g) - cell.q * cell.g) ** 2)
    tp = replace(cell, soft_labels="product").counts()[0]
    return overlap_loss(error, 2 * (tp.clamp(min=clip_tp) if clip_tp else tp), smooth, log)


def mcc(cell: Cell, eps: float = 0.0) -> Tensor:
    """1 - N / sqrt(D), where N is positive as (D - N^2) / (sqrt(D) (sqrt(D) + N))."""
    a, b, c, d = (count + eps for count in cell.counts())
    product = (a + b) * (a + c) * (d + b) * (d + c)
    if product <= 0:
        return ((b + c) > 0).double()
    root, n = product.sqrt(), a * d - b * c
    if n <= 0:
        return 1 - n / root
    rest = (
        4 * a * b * c * d + (a * d + b * c) * (a + d) * (b + c) + (a * c + b * d) * (a * b + c * d)
    )
    return rest / (root * (root + n))


def region_size_l1(cell: Cell) -> Tensor:
    _, fp, fn, _ = replace(cell, soft_labels="product").counts()
    return ratio((fp - fn).abs(), cell.size)


def boundary(cell: Cell, map_key: str = "gt_distance_map") -> Tensor:
    return ratio(cell.total(cell.p * cell.maps[map_key]), cell.size)


def skeleton_recall(cell: Cell, map_key: str = "gt_skeleton", smooth: float = 0.0) -> Tensor:
    k = cell.maps[map_key]
    return ratio(cell.total(cell.q * k), cell.total(k) + smooth)


def divergence(cell: Cell) -> Tensor:
    """The addend of a class, y log(y / y') + y' - y."""
    actual, predicted = ratio(cell.actual, cell.size), ratio(cell.total(cell.p), cell.size)
    if actual <= 0:
        return predicted - actual
    return actual * (actual.log() - cell.log_share(cell.log_p)) + predicted - actual


def background_of(cell: Cell) -> Cell:
    return replace(cell, p=cell.q, q=cell.p, log_p=cell.log_q, log_q=cell.log_p, g=1 - cell.g)


def unified_focal_tversky(
    cell: Cell, exclusive: bool, delta: float, gamma: float, symmetric: bool
) -> Tensor:
    def index(cell: Cell) -> Tensor:
        tp, fp, fn, _ = cell.counts()
        errors = (1 - delta) * fp + delta * fn
        return share(errors, tp + errors)

    if not exclusive:
        # FN of the foreground are the background's FP, with the weight of FP
        of_background = power(index(background_of(cell)), 1 - gamma if symmetric else 1)
        return (power(index(cell), 1 - gamma) + of_background) / 2
    return power(index(cell), 1 if cell.classes == (0,) and not symmetric else 1 - gamma)


REGION = (
    "region_reduction",
    "region_classes",
    "region_class_weights",
    "skip_absent_classes",
    "soft_labels",
)


class Row(NamedTuple):
    """Cells that one value of a term of all classes comes from, with their weights."""

    cells: list[Cell]
    weights: list[float]


def rows_of(
    batch: Batch,
    region_reduction: str = "sample",
    region_classes: Sequence[int] | None = None,
    region_class_weights: Sequence[float] | None = None,
    skip_absent_classes: bool = False,
    soft_labels: str = "product",
) -> Iterator[Row]:
    """The cells of each sample, or of the batch, with weight 0 where they are left out."""
    samples, channels = batch.g.shape[:2]
    classes = list(range(channels)) if region_classes is None else list(region_classes)
    weights = [1.0] * len(classes) if region_class_weights is None else region_class_weights
    table = [[Cell.of(batch, n, c, soft_labels) for c in classes] for n in range(samples)]
    if region_reduction == "sample_micro":
        table, weights = [[row[0].joined(row[1:])] for row in table], [1.0]
    if region_reduction in ("batch", "micro") and table:
        first, *others = table
        table = [[cell.joined([row[i] for row in others]) for i, cell in enumerate(first)]]
    if region_reduction == "micro" and table:
        table, weights = [[table[0][0].joined(table[0][1:])]], [1.0]
    for row in table:
        counted = [
            cell.w.numel() > 0 and not (skip_absent_classes and cell.actual <= 0) for cell in row
        ]
        yield Row(row, [weight * used for weight, used in zip(weights, counted, strict=True)])


def mean_over_cells(
    batch: Batch, loss: Callable[[Cell], Tensor], reduction: str, **region: Any
) -> Tensor:
    rows = [*rows_of(batch, **region)]
    zero = batch.p.sum() * 0
    if reduction == "cells":
        return _stacked(
            [[loss(c) if w > 0 else zero for c, w in zip(*row, strict=True)] for row in rows],
            zero.expand(0, batch.g.shape[1]),
        )
    pairs = [(loss(c), w) for row in rows for c, w in zip(*row, strict=True) if w > 0]
    return _reduced(pairs, zero, reduction)


def _reduced(pairs: list[tuple[Tensor, float]], zero: Tensor, reduction: str) -> Tensor:
    if reduction == "sum":
        return sum((value * weight for value, weight in pairs), start=zero)
    return _weighted_mean(pairs, zero)


def _stacked(values: list[list[Tensor]], empty: Tensor) -> Tensor:
    return torch.stack([torch.stack(row) for row in values]) if values else empty


def _weighted_mean(pairs: list[tuple[Tensor, float]], zero: Tensor) -> Tensor:
    total = sum(weight for _, weight in pairs)
    return sum((value * (weight / total) for value, weight in pairs), start=zero)


def mean_over_rows(
    batch: Batch, loss: Callable[[Row], Tensor], reduction: str, **region: Any
) -> Tensor:
    """Of a term with one value for each sample, or for the batch."""
    rows = [*rows_of(batch, **region)]
    values = {id(row): loss(row) for row in rows if any(row.weights)}
    return mean_over_rows_given(batch, rows, values, reduction)


def mean_over_rows_given(
    batch: Batch, rows: Sequence[Row], values: Mapping[int, Tensor], reduction: str
) -> Tensor:
    """Of the values of rows, by the rows' identities."""
    zero = batch.p.sum() * 0
    if reduction == "cells":
        return _stacked(
            [[values[id(row)] if any(row.weights) else zero] for row in rows], zero.expand(0, 1)
        )
    return _reduced([(values[id(row)], 1.0) for row in rows if any(row.weights)], zero, reduction)


def generalized_dice(
    row: Row,
    weight_type: str = "square",
    smooth: Smooth = 0.0,
    log: bool = False,
    clip_tp: float = 0.0,
) -> Tensor:
    exponent = {"square": 2, "simple": 1, "uniform": 0}[weight_type]
    sizes = [float(cell.actual) for cell in row.cells]
    present = [size**-exponent for size in sizes if size > 0]
    weights = [
        weight * (size**-exponent if size > 0 else max(present, default=1.0))
        for weight, size in zip(row.weights, sizes, strict=True)
    ]
    errors, hits = [], []
    for weight, cell in zip(weights, row.cells, strict=True):
        tp, fp, fn, _ = cell.counts()
        errors.append(weight * (fp + fn))
        hits.append(weight * 2 * (tp.clamp(min=clip_tp) if clip_tp else tp))
    return overlap_loss(torch.stack(errors).sum(), torch.stack(hits).sum(), smooth, log)


def region_size_kl(batch: Batch, reduction: str, **region: Any) -> Tensor:
    if not batch.exclusive:
        return mean_over_cells(
            batch,
            lambda cell: divergence(cell) + divergence(background_of(cell)),
            reduction,
            **region,
        )
    return mean_over_rows(
        batch,
        lambda row: sum(w * divergence(c) for c, w in zip(*row, strict=True) if w > 0),
        reduction,
        **region,
    )


def region_of(given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The parameters of the mean over cells, and those of the term's own."""
    region = {key: value for key, value in given.items() if key in REGION}
    return region, {key: value for key, value in given.items() if key not in REGION}


Loss = Callable[..., Tensor]
"""Of a batch and a reduction ("mean", "sum", "cells" or "pixels"), with the term's parameters."""


def over_pixels(pixels: Callable[..., tuple[Tensor, Tensor]]) -> Loss:
    def loss(batch: Batch, reduction: str, **own: Any) -> Tensor:
        return mean_over_pixels(batch, *pixels(batch, **own), reduction)

    return loss


def over_cells(cell_loss: Callable[..., Tensor]) -> Loss:
    def loss(batch: Batch, reduction: str, **given: Any) -> Tensor:
        region, own = region_of(given)
        return mean_over_cells(batch, lambda cell: cell_loss(cell, **own), reduction, **region)

    return loss


def over_rows(row_loss: Callable[..., Tensor]) -> Loss:
    def loss(batch: Batch, reduction: str, **given: Any) -> Tensor:
        region, own = region_of(given)
        return mean_over_rows(batch, lambda row: row_loss(row, **own), reduction, **region)

    return loss


def poly1(batch: Batch, reduction: str, epsilon: float = 1.0) -> Tensor:
    missed = over_pixels(missed_probability)(batch, reduction)
    return over_pixels(cross_entropy)(batch, reduction) + epsilon * missed


def unified_focal(
    batch: Batch,
    reduction: str,
    weight: float = 0.5,
    delta: float = 0.6,
    gamma: float = 0.5,
    symmetric: bool = False,
    **region: Any,
) -> Tensor:
    own = {"delta": delta, "gamma": gamma, "symmetric": symmetric}
    of_pixels = over_pixels(unified_focal_pixels)(batch, reduction, **own)
    if weight == 1:
        return of_pixels
    of_cells = mean_over_cells(
        batch,
        lambda cell: unified_focal_tversky(cell, batch.exclusive, **own),
        reduction,
        **region,
    )
    return weight * of_pixels + (1 - weight) * of_cells


def symmetric_cross_entropy(
    batch: Batch, reduction: str, alpha: float = 0.1, beta: float = 1.0, log_zero: float = -4.0
) -> Tensor:
    swapped = over_pixels(missed_probability)(batch, reduction)
    return alpha * over_pixels(cross_entropy)(batch, reduction) - beta * log_zero * swapped


def generalized_wasserstein_dice(
    batch: Batch,
    reduction: str,
    distances: Any = None,
    weight_type: str = "foreground",
    smooth: Smooth = 0.0,
    log: bool = False,
    clip_tp: float = 0.0,
    **region: Any,
) -> Tensor:
    """Pixel by pixel: the distance of its probabilities from its class, and the nearness."""
    count = batch.g.shape[1] if batch.exclusive else 2
    ones = 1 - torch.eye(count, dtype=torch.float64)
    m = ones if distances is None else torch.tensor(distances, dtype=torch.float64)
    m = m / m.max()

    def of_class(p: Tensor, w: Tensor, g: Tensor, c: int, factor: float) -> tuple[Tensor, Tensor]:
        """The weighted errors and hits of the pixels of a class, from p (C, P)."""
        size = (w * g).sum()
        weight = factor * (1.0 if weight_type == "foreground" else 1 / (size + 1))
        hits = weight if c > 0 or weight_type == "inverse_size" else 0.0
        far, near = (each @ p for each in (m[c], 1 - m[c]))
        return weight * (w * g * far).sum(), hits * (w * g * near).sum()

    def value(parts: list[tuple[Tensor, Tensor]]) -> Tensor:
        errors, hits = (torch.stack(each).sum() for each in zip(*parts, strict=True))
        return overlap_loss(errors, 2 * (hits.clamp(min=clip_tp) if clip_tp else hits), smooth, log)

    if not batch.exclusive:

        def of_cell(cell: Cell) -> Tensor:
            p, w, g = torch.stack([cell.q, cell.p]), cell.w, cell.g
            return value([of_class(p, w, 1 - g, 0, 1.0), of_class(p, w, g, 1, 1.0)])

        return mean_over_cells(batch, of_cell, reduction, **region)
    groups = [[n] for n in range(len(batch.g))]
    if region.get("region_reduction", "sample") == "batch" and groups:
        groups = [[n for [n] in groups]]
    rows = [*rows_of(batch, **region)]
    losses = {}
    for row, group in zip(rows, groups, strict=True):
        parts = []
        for cell, factor in zip(*row, strict=True):
            [c] = cell.classes
            kept = [(batch.w[n, c] > 0) & ~batch.left_out[n, c] for n in group]
            p = torch.cat([batch.p[n][:, k] for n, k in zip(group, kept, strict=True)], 1)
            parts.append(of_class(p, cell.w, cell.g, c, factor))
        losses[id(row)] = value(parts)
    return mean_over_rows_given(batch, rows, losses, reduction)


class Entry(NamedTuple):
    """A term: its loss, the least and greatest values, and the value of half a mask, inverted.

    An infinite worst grows with the logits, or the image.
    """

    loss: Loss
    least: float
    greatest: float
    worst: float


inf = math.inf
LOG_COSH_1 = math.log(math.cosh(1))

BOOK: dict[str, Entry] = {
    "cross_entropy": Entry(over_pixels(cross_entropy), 0, inf, inf),
    "focal": Entry(over_pixels(focal), 0, inf, inf),
    "poly1": Entry(poly1, 0, inf, inf),
    "generalized_cross_entropy": Entry(over_pixels(generalized_cross_entropy), 0, 1 / 0.7, 1 / 0.7),
    "symmetric_cross_entropy": Entry(symmetric_cross_entropy, 0, inf, inf),
    "balanced_cross_entropy": Entry(over_pixels(balanced_cross_entropy), 0, inf, inf),
    "unified_focal": Entry(unified_focal, 0, inf, inf),
    "dice": Entry(over_cells(dice), 0, 1, 1),
    "squared_dice": Entry(over_cells(squared_dice), 0, 1, 1),
    "log_dice": Entry(over_cells(log_dice), 0, inf, inf),
    "log_cosh_dice": Entry(over_cells(log_cosh_dice), 0, LOG_COSH_1, LOG_COSH_1),
    "generalized_dice": Entry(over_rows(generalized_dice), 0, 1, 1),
    "generalized_wasserstein_dice": Entry(generalized_wasserstein_dice, 0, 1, 1),
    "jaccard": Entry(over_cells(jaccard), 0, 1, 1),
    "tversky": Entry(over_cells(tversky), 0, 1, 1),
    "focal_tversky": Entry(over_cells(focal_tversky), 0, 1, 1),
    "f_beta": Entry(over_cells(f_beta), 0, 1, 1),
    "mcc": Entry(over_cells(mcc), 0, 2, 2),
    "region_size_l1": Entry(over_cells(region_size_l1), 0, 1, 0),
    "region_size_kl": Entry(region_size_kl, 0, inf, 0),
    "boundary": Entry(over_cells(boundary), -1, 1, 0.5),  # of a map in [-1, 1]
    "skeleton_recall": Entry(over_cells(skeleton_recall), 0, 1, 1),
}
"""Each term, with the range at its defaults."""


def term(name: str, batch: Batch, reduction: str = "mean", **parameters: Any) -> Tensor:
    """A term's value: a scalar, or that of cells (N, C), (N, 1), or pixels (N, P), (N, C, P)."""
    return BOOK[name].loss(batch, reduction, **parameters)


PIXEL_MEANS = (
    "cross_entropy",
    "focal",
    "poly1",
    "generalized_cross_entropy",
    "symmetric_cross_entropy",
)
"""The terms whose pixels have losses of their own."""


def has_pixels(name: str, parameters: Mapping[str, Any]) -> bool:
    """Whether a term is a mean over pixels alone."""
    is_half = name == "unified_focal" and parameters.get("weight", 0.5) == 1
    return is_half or name in PIXEL_MEANS


def loss(batch: Batch, terms: Mapping[str, Mapping[str, Any]], reduction: str = "mean") -> Tensor:
    """The sum of terms, each with its parameters and "coef". "none": as fine as all of them are."""
    values = []
    if reduction == "none":
        reduction = "pixels" if all(has_pixels(*each) for each in terms.items()) else "cells"
    for name, parameters in terms.items():
        own = {key: value for key, value in parameters.items() if key != "coef"}
        values.append(parameters["coef"] * term(name, batch, reduction, **own))
    return sum(values[1:], start=values[0])
