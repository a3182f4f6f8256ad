"""MONAI's arguments in ours, and the inputs that its suites share."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from segloss import functional
from tests.peers.case import as_masks, tensor

ONE_MASK = (tensor([[[[1, -1], [-1, 1]]]]), tensor([[[[1, 0], [1, 1]]]]))
TWO_SAMPLES = (
    tensor([[[[1, -1], [-1, 1]]], [[[1, -1], [-1, 1]]]]),
    tensor([[[[1, 1], [1, 1]]], [[[1, 0], [1, 0]]]]),
)
SOFT = (tensor([[[[0.3, 0.4], [0.7, 0.9]]], [[[1.0, 0.1], [0.5, 0.3]]]]),) * 2
RIGHT = (
    tensor([[[1, 1, 0], [0, 0, 1]], [[1, 0, 1], [0, 1, 0]]]),
    tensor([[[0, 0, 1]], [[0, 1, 0]]]),
)
"""Probabilities of two classes, all right, and labels."""
EMPTY = (RIGHT[0], torch.zeros(2, 1, 3, dtype=torch.float64))
TWO_CLASSES = (
    tensor([[[-1, 0, 1], [1, 0, -1]], [[0, 0, 0], [0, 0, 0]]]),
    tensor([[[1, 0, 0]], [[1, 1, 0]]]),
)
"""Logits of two classes, and labels."""

SOFTMAX: dict[str, Any] = {"softmax": True, "to_onehot_y": True}
SIGMOID: dict[str, Any] = {"sigmoid": True}
LABELS: dict[str, Any] = {"to_onehot_y": True}


def smooth(value: float) -> dict[str, Any]:
    return {"smooth_nr": value, "smooth_dr": value}


def region(
    loss: str,
    x: Tensor,
    y: Tensor,
    *,
    include_background: bool = True,
    to_onehot_y: bool = False,
    sigmoid: bool = False,
    softmax: bool = False,
    smooth_nr: float = 1e-5,
    smooth_dr: float = 1e-5,
    reduction: str = "mean",
    batch: bool = False,
    soft_label: bool = False,
    weight: Any = None,
    ignore_index: int | None = None,
    **parameters: Any,
) -> Tensor:
    """A loss of regions of MONAI: a mean or sum of cells, which class weights multiply."""
    classes = x.shape[1]
    options = {
        "from_logits": sigmoid or softmax,
        "activation": "softmax" if softmax else "sigmoid",
        "n_classes": max(classes, 2),
        "region_reduction": "batch" if batch else "sample",
        "soft_labels": "metric" if soft_label else "product",
        "ignore_index": ignore_index,
        **parameters,
    }
    options |= smoothing(loss, smooth_nr, smooth_dr)
    if not include_background and classes > 1:
        options["region_classes"] = range(1, classes)
    if to_onehot_y and classes > 1 and not softmax:
        y = as_masks(y.flatten(1, 1)[:, 0], classes)
    elif to_onehot_y and classes > 1:
        y = y.long()
    ours = getattr(functional, f"{loss}_loss")
    if reduction == "mean" and weight is None:
        return ours(x, y, **options)
    cells = ours(x, y, reduction="none", **options)
    if weight is not None:
        cells = cells * tensor(weight)
    return {"none": cells, "sum": cells.sum(), "mean": cells.mean()}[reduction]


def smoothing(loss: str, smooth_nr: float, smooth_dr: float) -> dict[str, Any]:
    """MCC takes a number in its denominator only; half of theirs smooths ours of Jaccard."""
    if loss == "mcc":
        return {}
    if smooth_nr != smooth_dr:
        return {"smooth": (smooth_nr, smooth_dr)}
    return {"smooth": smooth_nr / 2 if loss == "jaccard" else smooth_nr}
