"""Callbacks for Lightning: norms before training, weights by epoch, and logged components.

They work with a Trainer from either package, `lightning` or `pytorch_lightning`:
`pip install "pytorch-segloss[lightning]"`.
"""

from segloss.training.lightning.log_components import LogLossComponents
from segloss.training.lightning.loss_schedule import LossSchedule
from segloss.training.lightning.norms import (
    ComputeWeightNormLossesCallback,
    FrameFieldComputeWeightNormLossesCallback,
)

__all__ = [
    "ComputeWeightNormLossesCallback",
    "FrameFieldComputeWeightNormLossesCallback",
    "LogLossComponents",
    "LossSchedule",
]
