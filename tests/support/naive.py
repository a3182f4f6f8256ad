"""The losses as a textbook writes them, in NumPy and float64: what every number is compared with.

Nothing here is shared with segloss: targets are one-hot, probabilities are stored, and pixels that
are left out are deleted from the arrays.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().double().cpu().numpy()


def sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logits))


def softmax(logits: np.ndarray) -> np.ndarray:
    exponentials = np.exp(logits - logits.max(1, keepdims=True))
    return exponentials / exponentials.sum(1, keepdims=True)


def one_hot(labels: np.ndarray, classes: int) -> np.ndarray:
    """(N, *spatial) -> (N, C, *spatial)."""
    return np.stack([labels == c for c in range(classes)], 1).astype(np.float64)


def cells(p: Tensor, g: Tensor, w: Tensor | None = None) -> list[list[dict[str, float]]]:
    """The confusion of every sample and class, one by one."""
    p, g = array(p), array(g)
    w = np.ones_like(p) if w is None else np.broadcast_to(array(w), p.shape)
    table = []
    for n in range(p.shape[0]):
        row = []
        for c in range(p.shape[1]):
            pn, gn, wn = p[n, c].ravel(), g[n, c].ravel(), w[n, c].ravel()
            row.append(
                {
                    "tp": float((wn * pn * gn).sum()),
                    "fp": float((wn * pn * (1 - gn)).sum()),
                    "fn": float((wn * (1 - pn) * gn).sum()),
                    "w": float(wn.sum()),
                }
            )
        table.append(row)
    return table


def dice(cell: dict[str, float], smooth: float = 1.0) -> float:
    predicted, actual = cell["tp"] + cell["fp"], cell["tp"] + cell["fn"]
    return 1 - (2 * cell["tp"] + smooth) / (predicted + actual + smooth)


def jaccard(cell: dict[str, float], smooth: float = 0.0) -> float:
    return 1 - (cell["tp"] + smooth) / (cell["tp"] + cell["fp"] + cell["fn"] + smooth)


def tversky(cell: dict[str, float], alpha: float = 0.3, beta: float = 0.7) -> float:
    return 1 - cell["tp"] / (cell["tp"] + alpha * cell["fp"] + beta * cell["fn"])


def focal_tversky(
    cell: dict[str, float], alpha: float = 0.3, beta: float = 0.7, gamma: float = 0.75
) -> float:
    return tversky(cell, alpha, beta) ** gamma


def pool(table: list[list[dict[str, float]]]) -> list[dict[str, float]]:
    """The cells of each class added up over samples."""
    return [
        {key: sum(row[c][key] for row in table) for key in table[0][c]}
        for c in range(len(table[0]))
    ]


def region_mean(table: list[list[dict[str, float]]], loss, **parameters: float) -> float:
    """The mean of a loss over all cells."""
    return float(np.mean([loss(cell, **parameters) for row in table for cell in row]))


def binary_cross_entropy(p: Tensor, g: Tensor, w: Tensor | None = None, smoothing: float = 0.0):
    p, g = array(p), array(g)
    w = np.ones_like(p) if w is None else np.broadcast_to(array(w), p.shape)
    h = g * (1 - smoothing) + smoothing / 2
    entropy = -(h * np.log(p) + (1 - h) * np.log(1 - p))
    return float((w * entropy).sum() / w.sum())


def cross_entropy(
    p: Tensor,
    g: Tensor,
    w: Tensor | None = None,
    class_weights: list[float] | None = None,
    smoothing: float = 0.0,
) -> float:
    """Of one-hot targets (N, C, *spatial), with the denominator of label maps."""
    p, g = array(p), array(g)
    shape = (1, -1, *[1] * (p.ndim - 2))
    cw = np.ones(p.shape[1]) if class_weights is None else np.asarray(class_weights)
    w = np.ones_like(p[:, 0]) if w is None else array(w)[:, 0]
    v = (g * (1 - smoothing) + smoothing / p.shape[1]) * cw.reshape(shape)
    entropy = -(v * np.log(p)).sum(1)
    return float((w * entropy).sum() / (w * (g * cw.reshape(shape)).sum(1)).sum())


def tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values))
