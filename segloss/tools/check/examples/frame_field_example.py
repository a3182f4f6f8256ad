"""Examples for frame-field losses and pre-processes, which need more than masks."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from segloss.frame_field.losses import FrameFieldLoss, SegCrossfieldLoss, SegEdgeInteriorLoss
from segloss.tools.check.examples.example import Example
from segloss.tools.check.loss_under_test import parts_of

_MASKS = 3
"""The number of masks: interior, edge and vertex."""


def needs_fields(loss: Any) -> bool:
    """Returns whether a loss uses frame fields, or pre-processes its batches."""
    return any(
        isinstance(part, FrameFieldLoss) or getattr(part, "pre_processes", None)
        for part in parts_of(loss)
    )


def takes_masks_as_probabilities(loss: Any) -> bool:
    """Returns whether a loss uses contours, which need probabilities and not logits."""
    return any(isinstance(p, (SegCrossfieldLoss, SegEdgeInteriorLoss)) for p in parts_of(loss))


def with_fields(example: Example, loss: Any) -> Example:
    """Returns the example with frame fields, angles of walls, and the inputs of pixel weights.

    If predictions have two channels, interior and edge, the target has the vertices as well.
    """
    generator = torch.Generator().manual_seed(1)
    prediction, target = example.pred[example.pred_key], example.gt[example.gt_key]
    samples, _, *spatial = prediction.shape
    names = _names(loss)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator).to(prediction.device)

    if target.shape == prediction.shape and target.shape[1] == _MASKS - 1:
        target = torch.cat([target, (uniform(samples, 1, *spatial) > 0.9).to(target)], 1)
    masks = target.shape[1] if target.ndim == prediction.ndim else 1
    gt = {
        **example.gt,
        example.gt_key: target,
        names["angle_key"]: math.pi * uniform(samples, 1, *spatial),
        "class_freq": (0.1 + 0.8 * uniform(samples, masks)) / masks,
        "distances": uniform(samples, 1, *spatial),
        "sizes": 0.1 + 0.9 * uniform(samples, 1, *spatial),
    }
    pred = {**example.pred, names["crossfield_key"]: 2 * uniform(samples, 4, *spatial) - 1}
    form = f"{example.form}, with frame fields"
    return replace(example, pred=pred, gt=gt, form=form, watched=(True, True), all_watched=False)


def _names(loss: Any) -> dict[str, str]:
    """Returns the keys of frame fields, from the loss or else the package's own."""
    names = {"crossfield_key": "crossfield", "angle_key": "gt_crossfield_angle"}
    for part in parts_of(loss):
        names.update({key: getattr(part, key) for key in names if hasattr(part, key)})
    return names
