"""Every term as its source writes it, in NumPy and float64, cell by cell: nothing of segloss.

Pixels that are left out are deleted, targets are one-hot, and nothing is rearranged for accuracy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Batch(NamedTuple):
    """Probabilities, targets, pixel weights and maps, each (N, C, P), and if classes exclude."""

    p: np.ndarray
    g: np.ndarray
    w: np.ndarray
    exclusive: bool
    maps: dict[str, np.ndarray]


Cell = Callable[..., float]
Loss = Callable[..., float]


def over_cells(cell: Cell) -> Loss:
    """The mean of a cell's loss over all cells that have pixels."""

    def loss(batch: Batch, **parameters: float) -> float:
        values = [
            cell(*(a[n, c][batch.w[n, c] > 0] for a in batch[:3]), **parameters)
            for n, c in np.ndindex(*batch.p.shape[:2])
            if (batch.w[n, c] > 0).any()
        ]
        return float(np.mean(values)) if values else 0.0

    return loss


def over_pixels(pixel: Callable[..., np.ndarray]) -> Loss:
    """The weighted mean over pixels: of the label with softmax, of every channel with sigmoid."""

    def loss(batch: Batch, **parameters: float) -> float:
        p, g, w = batch[:3]
        if batch.exclusive:
            c = np.arange(p.shape[1]).reshape(1, -1, 1)
            values = np.where(g > 0, g * pixel(p, c, **parameters), 0).sum(1)
            w = w[:, 0]
        else:
            positive, negative = (
                pixel(p, np.array(1), **parameters),
                pixel(1 - p, np.array(0), **parameters),
            )
            values = np.where(g > 0, g * positive, 0) + np.where(g < 1, (1 - g) * negative, 0)
        kept = w > 0
        return float((w * values)[kept].sum() / w[kept].sum()) if kept.any() else 0.0

    return loss


def counts(p, g, w) -> tuple[float, float, float, float]:
    return (
        (w * p * g).sum(),
        (w * p * (1 - g)).sum(),
        (w * (1 - p) * g).sum(),
        (w * (1 - p) * (1 - g)).sum(),
    )


def dice(p, g, w, smooth=1.0):
    return 1 - (2 * (w * p * g).sum() + smooth) / ((w * p).sum() + (w * g).sum() + smooth)


def jaccard(p, g, w, smooth=0.0):
    union = (w * (p + g - p * g)).sum()
    return 1 - ((w * p * g).sum() + smooth) / (union + smooth)


def tversky(p, g, w, alpha=0.3, beta=0.7, smooth=0.0):
    tp, fp, fn, _ = counts(p, g, w)
    return 1 - (tp + smooth) / (tp + alpha * fp + beta * fn + smooth)


def f_beta(p, g, w, beta=1.0, smooth=0.0):
    tp, fp, fn, _ = counts(p, g, w)
    precision, recall = tp / (tp + fp), tp / (tp + fn)
    assert smooth == 0
    return 1 - (1 + beta**2) * precision * recall / (beta**2 * precision + recall)


def squared_dice(p, g, w, smooth=1.0):
    squares = (w * p**2).sum() + (w * g**2).sum()
    return 1 - (2 * (w * p * g).sum() + smooth) / (squares + smooth)


def mcc(p, g, w, eps=0.0):
    tp, fp, fn, tn = (count + eps for count in counts(p, g, w))
    return 1 - (tp * tn - fp * fn) / np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))


def metric_dice(p, g, w, smooth=1.0):
    total, difference = (w * (p + g)).sum(), (w * np.abs(p - g)).sum()
    return 1 - (total - difference + smooth) / (total + smooth)


def metric_jaccard(p, g, w):
    total, difference = (w * (p + g)).sum(), (w * np.abs(p - g)).sum()
    return 1 - (total - difference) / (total + difference)


def generalized_dice(batch: Batch, power: int = 2) -> float:
    values = []
    for p, g, w in zip(*batch[:3], strict=True):
        if not (w > 0).any():
            continue
        p, g, w = (np.where(w > 0, a, 0) for a in (p, g, w))
        sizes = (w * g).sum(1)
        weights = np.array([1 / s**power if s > 0 else np.nan for s in sizes])
        largest = 1.0 if np.isnan(weights).all() else np.nanmax(weights)
        weights = np.where(np.isnan(weights), largest, weights) * (w.sum(1) > 0)
        hits = (weights * (w * p * g).sum(1)).sum()
        values.append(1 - 2 * hits / (weights * (w * (p + g)).sum(1)).sum())
    return float(np.mean(values)) if values else 0.0


def region_size_kl(batch: Batch) -> float:
    values = []
    for p, g, w in zip(*batch[:3], strict=True):
        p, g = np.where(w > 0, p, 0), np.where(w > 0, g, 0)
        kept = w.sum(1) > 0
        true, guess = ((w * a).sum(1)[kept] / w.sum(1)[kept] for a in (g, p))
        divergence = np.where(true > 0, true * np.log(np.maximum(true, 1e-300) / guess), 0)
        if not batch.exclusive:
            other = np.where(
                true < 1, (1 - true) * np.log(np.maximum(1 - true, 1e-300) / (1 - guess)), 0
            )
            values.extend(divergence + other)
        elif kept.any():
            values.append(divergence.sum())
    return float(np.mean(values)) if values else 0.0


def unified_focal(batch: Batch, weight=0.5, delta=0.6, gamma=0.5) -> float:
    def pixel(p, c):
        return np.where(c == 0, (1 - delta) * (1 - p) ** gamma, delta) * -np.log(p)

    def index(tp, fp, fn):
        wrong = delta * fn + (1 - delta) * fp
        return wrong / (tp + wrong)

    values = []
    for n, c in np.ndindex(*batch.p.shape[:2]):
        kept = batch.w[n, c] > 0
        if not kept.any():
            continue
        tp, fp, fn, tn = counts(*(a[n, c][kept] for a in batch[:3]))
        if batch.exclusive:
            values.append(index(tp, fp, fn) ** (1 if c == 0 else 1 - gamma))
        else:
            values.append((index(tp, fp, fn) ** (1 - gamma) + index(tn, fn, fp)) / 2)
    return weight * over_pixels(pixel)(batch) + (1 - weight) * float(np.mean(values or [0.0]))


def of_map(batch: Batch, key: str, cell: Cell) -> float:
    values = [
        cell(*(a[n, c][batch.w[n, c] > 0] for a in (batch.p, batch.maps[key], batch.w)))
        for n, c in np.ndindex(*batch.p.shape[:2])
        if (batch.w[n, c] > 0).any()
    ]
    return float(np.mean(values or [0.0]))


def cross_entropy(p, c):
    return -np.log(p)


def focal(p, c, gamma=2.0):
    return (1 - p) ** gamma * -np.log(p)


def poly1(p, c, epsilon=1.0):
    return -np.log(p) + epsilon * (1 - p)


class Entry(NamedTuple):
    """A term: its loss, the least and greatest values, and the value of half a mask, inverted.

    An infinite worst grows with the logits, or the image.
    """

    loss: Loss
    least: float
    greatest: float
    worst: float


inf = float("inf")

BOOK: dict[str, Entry] = {
    "cross_entropy": Entry(over_pixels(cross_entropy), 0, inf, inf),
    "dice": Entry(over_cells(dice), 0, 1, 1),
    "jaccard": Entry(over_cells(jaccard), 0, 1, 1),
    "tversky": Entry(over_cells(tversky), 0, 1, 1),
    "focal_tversky": Entry(over_cells(lambda p, g, w: tversky(p, g, w) ** 0.75), 0, 1, 1),
    "f_beta": Entry(over_cells(f_beta), 0, 1, 1),
    "log_dice": Entry(over_cells(lambda p, g, w: -np.log(1 - dice(p, g, w))), 0, inf, inf),
    "log_cosh_dice": Entry(
        over_cells(lambda p, g, w: np.log(np.cosh(dice(p, g, w)))),
        0,
        np.log(np.cosh(1)),
        np.log(np.cosh(1)),
    ),
    "squared_dice": Entry(over_cells(squared_dice), 0, 1, 1),
    "generalized_dice": Entry(generalized_dice, 0, 1, 1),
    "mcc": Entry(over_cells(mcc), 0, 2, 2),
    "region_size_l1": Entry(
        over_cells(lambda p, g, w: abs((w * p).sum() - (w * g).sum()) / w.sum()), 0, 1, 0
    ),
    "region_size_kl": Entry(region_size_kl, 0, inf, 0),
    "focal": Entry(over_pixels(focal), 0, inf, inf),
    "poly1": Entry(over_pixels(poly1), 0, inf, inf),
    "unified_focal": Entry(unified_focal, 0, inf, inf),
    "boundary": Entry(
        lambda batch: of_map(batch, "gt_distance_map", lambda p, m, w: (w * p * m).sum() / w.sum()),
        -1,  # of a map in [-1, 1]
        1,
        0.5,
    ),
    "skeleton_recall": Entry(
        lambda batch: of_map(
            batch,
            "gt_skeleton",
            lambda p, m, w: 1 - (w * p * m).sum() / (w * m).sum() if (w * m).any() else 0.0,
        ),
        0,
        1,
        1,
    ),
}
"""Each term at its defaults."""
