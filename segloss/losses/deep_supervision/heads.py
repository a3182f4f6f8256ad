"""Tells heads in one tensor (N, S, C, *spatial) from a single prediction (N, C, *spatial)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from segloss.batch.stacked_heads import MOST_DIMENSIONS, fits, may_be_heads
from segloss.batch.value_checks import ValueChecks
from segloss.foundation.precision import accumulation_dtype, rounding_slack
from segloss.losses.loss import Loss
from segloss.losses.loss_wrapper import ELEMENTWISE_LOSSES, LABEL_MAP_LOSSES


def heads_of(
    prediction: Tensor, target: Any, name: str, loss: Loss, checks: ValueChecks
) -> Sequence[Tensor]:
    """Returns the heads in a tensor, each (N, C, *spatial), or the tensor itself as the only one.

    Args:
        prediction: (N, S, C, *spatial) or (N, C, *spatial), with 1 to 3 spatial dimensions.
        target: The target, if there is one.
        name: The name of the prediction in messages.
        loss: The loss of one head.
        checks: Decides when the target's values are read, where its shape fits both readings.

    Raises:
        ValueError: The target fits both readings.
    """
    if prediction.ndim > MOST_DIMENSIONS:
        return prediction.unbind(1)
    if not may_be_heads(prediction, target) or not _takes(loss, prediction[:, 0], target):
        return [prediction]
    if not _takes(loss, prediction, target):
        return prediction.unbind(1)
    if _looks_dense(loss, target, checks):
        raise ValueError(
            f"{name} of shape {tuple(prediction.shape)} must be one prediction (N, C, *spatial) or "
            f"stacked heads (N, S, C, *spatial), and the target of shape {tuple(target.shape)} "
            "fits both: pass prediction.unbind(1) for heads, or [prediction] for one prediction."
        )
    return [prediction]


def _takes(loss: Loss, prediction: Tensor, target: Tensor) -> bool:
    """Returns whether a loss may be given a prediction and a target of these shapes.

    With sigmoid, that includes a label map for several channels, each against the rest. A loss that
    was not asked for sigmoid refuses it: it is then a mistake, not a set of heads.
    """
    if not fits(target.shape, prediction.shape):
        return False
    activation, classes = _reading(loss)
    channels = prediction.shape[1]
    if classes is not None and (activation == "softmax" or classes > 2):
        return channels == classes
    if activation == "softmax":
        return channels > 1
    if activation is None or target.shape == prediction.shape or channels == 1:
        return True
    return target.ndim < prediction.ndim and target.shape[1] > 1


def _looks_dense(loss: Loss, target: Tensor, checks: ValueChecks) -> bool:
    """Returns whether a target (N, K, *spatial) may be masks, where it may be labels, too."""
    activation, _ = _reading(loss)
    is_integer = not (target.is_floating_point() or target.dtype == torch.bool)
    if activation == "softmax" and is_integer and target.ndim == 3:  # an image's label map
        return False
    if activation != "softmax" and (target.is_floating_point() or target.dtype == torch.bool):
        return True
    if activation == "sigmoid":
        return False
    if activation is None and target.shape[1] == 1:
        return True
    if not checks.due("heads", target, on_every_batch=True):
        return False
    slack = rounding_slack(target.dtype) or rounding_slack(torch.float32)
    total = target.sum(1, dtype=accumulation_dtype(target.device))
    is_one_hot = (target >= 0).all() and ((total - 1).abs() <= slack * target.shape[1]).all()
    if not is_one_hot:
        checks.passed("heads", target)
    return bool(is_one_hot)


def _reading(loss: Loss) -> tuple[str | None, int | None]:
    """Returns the activation of a loss and its number of channels, where they are known."""
    function = getattr(loss, "loss_func", None)
    for each in (loss, function):
        if getattr(each, "pred_channels", None) or getattr(each, "gt_channels", None):
            return None, None
    if isinstance(function, LABEL_MAP_LOSSES):
        return "softmax", None
    if isinstance(function, ELEMENTWISE_LOSSES):
        return "sigmoid", None
    options = getattr(loss if function is None else function, "options", None)
    classes = getattr(loss, "n_classes", None)
    return getattr(options, "activation", None), classes
