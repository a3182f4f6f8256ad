"""The names of a tutorial on custom losses, with its arguments and values."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from segloss.compat.tutorial.dice import DiceBCELoss, DiceLoss
from segloss.compat.tutorial.losses import CombinedLoss, UncertaintyWeightedLoss, WeightedMSELoss

if TYPE_CHECKING:
    from segloss.compat.tutorial.custom_loss_check import test_custom_loss

__all__ = [
    "CombinedLoss",
    "DiceBCELoss",
    "DiceLoss",
    "UncertaintyWeightedLoss",
    "WeightedMSELoss",
    "test_custom_loss",
]


def __getattr__(name: str) -> Any:
    if name != "test_custom_loss":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # Imported on demand: the other names do not need `segloss.tools.check`
    return import_module("segloss.compat.tutorial.custom_loss_check").test_custom_loss
