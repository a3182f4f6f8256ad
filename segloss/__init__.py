"""Segmentation losses for PyTorch: many terms in one pass, composed, normalised, scheduled."""

from segloss import functional
from segloss.batch import MissingKeyError
from segloss.config import build_compound_loss_from_config, build_loss, build_loss_from_config
from segloss.confusion import SoftConfusion, soft_confusion
from segloss.loss import Criterion, Loss
from segloss.loss_wrapper import LossWrapper
from segloss.mixup import MixUp
from segloss.multi_loss import MultiLoss
from segloss.seg_loss import SegLoss

__version__ = "0.1.0"

__all__ = [
    "Criterion",
    "Loss",
    "LossWrapper",
    "MissingKeyError",
    "MixUp",
    "MultiLoss",
    "SegLoss",
    "SoftConfusion",
    "build_compound_loss_from_config",
    "build_loss",
    "build_loss_from_config",
    "functional",
    "soft_confusion",
]
