"""The modes of losses: how many channels a prediction has, and what they are."""

from __future__ import annotations

from typing import Any

from torch import Tensor

MODES = {"binary": "sigmoid", "multiclass": "softmax", "multilabel": "sigmoid"}
"""The activation of each mode."""


def channels_of_classes(prediction: Any) -> int:
    """Returns the number of classes of a prediction for softmax."""
    if not isinstance(prediction, Tensor) or prediction.ndim < 2:
        return 2  # as_pixel_batch refuses the prediction, whatever the number
    if prediction.shape[1] < 2:
        raise ValueError(
            f"prediction must have one channel per class for mode='multiclass', at least 2, got "
            f"the shape {tuple(prediction.shape)}. For one foreground class, use mode='binary'."
        )
    return prediction.shape[1]
