"""The modes of losses: how many channels a prediction has, and what they are."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from segloss.batch.remedies import for_mode, named
from segloss.foundation.arguments import check_choice, shown
from segloss.foundation.printable import counted

MODES = {"binary": "sigmoid", "multiclass": "softmax", "multilabel": "sigmoid"}
"""The activation of each mode."""


def check_mode(mode: Any) -> str:
    """Returns the mode if it is one; else raises ValueError with the closest one."""
    if isinstance(mode, int):
        raise ValueError(
            f"mode must be one of {', '.join(map(repr, MODES))}, got {shown(mode)}: the prediction "
            "says how many classes there are, so set mode='multiclass'."
        )
    return check_choice("mode", mode, MODES)


def checked_channels(mode: str, prediction: Any, target: Any) -> int:
    """Returns the number of channels of a prediction, at least 2 for softmax.

    Raises:
        ValueError: They do not fit the mode.
    """
    if not isinstance(prediction, Tensor) or prediction.ndim < 2:
        return 2  # as_pixel_batch refuses the prediction, whatever the number
    channels = prediction.shape[1]
    if prediction.ndim == 2:  # as_pixel_batch refuses it, or reads masks of pixels
        return max(channels, 2)
    fits = channels == 1 if mode == "binary" else channels > 1 or mode != "multiclass"
    if not fits:
        remedy = for_mode(prediction, target, mode)
        raise ValueError(
            f"prediction has {counted(channels, 'channel')} in the shape "
            f"{tuple(prediction.shape)}, which does not fit mode={mode!r}"
            f"{named(remedy, 'prediction', 'target')}"
        )
    return channels
