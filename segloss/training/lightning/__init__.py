"""Callbacks for Lightning: norms before training, weights over the epochs, components logged.

They serve both packages, `lightning` and `pytorch_lightning`, whichever the Trainer comes from:
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
