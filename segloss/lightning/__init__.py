"""Callbacks for Lightning: norms before training, weights over the epochs, components logged.

They serve both packages, `lightning` and `pytorch_lightning`, whichever the Trainer comes from:
`pip install "pytorch-segloss[lightning]"`.
"""

from segloss.lightning.log_components import LogLossComponents
from segloss.lightning.loss_schedule import LossSchedule
from segloss.lightning.norms import (
    ComputeWeightNormLossesCallback,
    FrameFieldComputeWeightNormLossesCallback,
)

__all__ = [
    "ComputeWeightNormLossesCallback",
    "FrameFieldComputeWeightNormLossesCallback",
    "LogLossComponents",
    "LossSchedule",
]
