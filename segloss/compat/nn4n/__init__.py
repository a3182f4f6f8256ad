"""nn4n's names: `CompositeLoss`, and the penalties on activity and weights of networks."""

from segloss.compat.nn4n.composite_loss import CompositeLoss
from segloss.compat.nn4n.penalties import (
    EntropyLoss,
    FiringRateDistLoss,
    FiringRateLoss,
    HebbianLoss,
    RNNConnectivityLoss,
    StatePredictionLoss,
)

__all__ = [
    "CompositeLoss",
    "EntropyLoss",
    "FiringRateDistLoss",
    "FiringRateLoss",
    "HebbianLoss",
    "RNNConnectivityLoss",
    "StatePredictionLoss",
]
