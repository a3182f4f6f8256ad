"""The pass over the pixels, which computes a few sums per sample and class for the terms.

`soft_confusion` returns them, and losses go through `autograd.run`. A kernel, chosen in
`kernels/registry.py`, computes them; nothing above can tell which one ran.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from segloss.batch.assemble import pixel_batch_of_arguments
from segloss.batch.shape_checks import check_maps
from segloss.foundation.arguments import checks_keywords
from segloss.foundation.tracing import constant_of
from segloss.sums.autograd import run
from segloss.sums.class_groups import check_classes_of_group
from segloss.sums.confusion import SoftConfusion
from segloss.sums.plan import (
    ClassGroupSum,
    DistanceSum,
    FocalSum,
    MapSum,
    PowerSum,
    Sum,
    check_sums,
)

__all__ = [
    "ClassGroupSum",
    "DistanceSum",
    "FocalSum",
    "MapSum",
    "PowerSum",
    "SoftConfusion",
    "Sum",
    "soft_confusion",
]


@checks_keywords()
def soft_confusion(
    pred: Tensor,
    target: Tensor,
    *,
    n_classes: int = 2,
    from_logits: bool = True,
    activation: str | None = None,
    pixel_weights: Tensor | None = None,
    ignore_index: int | Sequence[int] | None = None,
    class_weights: Any = None,
    pos_weight: Any = None,
    label_smoothing: float = 0.0,
    sums: Collection[str | Sum] = ("region", "true_negative", "cross_entropy"),
    maps: Mapping[str, Tensor] | None = None,
) -> SoftConfusion:
    r"""Computes soft confusion counts and cross-entropy of a batch in one pass.

    Args:
        pred: Logits or probabilities, (N, C, *spatial), with 1 to 3 spatial dimensions. For sigmoid
            also (N, P), N masks of P pixels, with a target (N, P): they count as (N, 1, P).
        target: Dense, of the shape of `pred`, with values in [0, 1]; or, for softmax and for a
            single sigmoid channel, a label map (N, *spatial) or (N, 1, *spatial).
        n_classes: The number of classes; 2 means sigmoid channels unless `activation` is set.
        from_logits: True if `pred` holds logits, False if it holds probabilities.
        activation: "sigmoid", "softmax", or None for what `n_classes` implies.
        pixel_weights: Weights of at least 0, (N, 1, *spatial); for sigmoid also (N, C, *spatial).
        ignore_index: The target value of pixels to leave out, or a list of several.
        class_weights: Weights of the classes in the cross-entropy, (C,).
        pos_weight: Weights of the positive class in binary cross-entropy, a number or (C,).
        label_smoothing: Smoothing of the cross-entropy's targets, in [0, 1].
        sums: The sums to compute: "counts", "region", "true_negative", "cross_entropy",
            "squared_error", "semimetric", "semimetric_true_negative", a `FocalSum`, a `PowerSum`,
            a `DistanceSum`, a `ClassGroupSum` or a `MapSum`; with "float64", probabilities that
            float32 can't represent count too.
        maps: The map of each `MapSum`, by its name, (N, C, *spatial).

    Returns:
        The sums, per sample and class.

    Raises:
        TypeError: An argument has a wrong type, or a target or weight requires grad.
        ValueError: Shapes or devices do not match, or values are out of range.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[[0., 0., 100., -100.]]])
        >>> mask = torch.tensor([[[1, 0, 1, 0]]])
        >>> confusion = soft_confusion(logits, mask)
        >>> confusion.true_positive, confusion.false_positive
        (tensor([[1.5000]], dtype=torch.float64), tensor([[0.5000]], dtype=torch.float64))
    """
    plan = constant_of(check_sums, sums) if torch.compiler.is_compiling() else check_sums(sums)
    check_maps(maps, plan.map_keys, ", which sums asks for")
    batch = pixel_batch_of_arguments(
        pred,
        target,
        n_classes=n_classes,
        from_logits=from_logits,
        activation=activation,
        pixel_weights=pixel_weights,
        ignore_index=ignore_index,
        class_weights=class_weights,
        pos_weight=pos_weight,
        label_smoothing=label_smoothing,
        maps=maps,
    )
    for each in plan.class_groups:
        activation = "softmax" if batch.is_exclusive else "sigmoid"
        check_classes_of_group("classes", each.classes, batch.prediction.shape[1], activation)
    return run(batch, plan).confusion()
