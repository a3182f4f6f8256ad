"""Segmentation losses for PyTorch: many terms in one pass, composed, normalised, scheduled."""

from importlib import import_module
from typing import Any

from segloss import functional, registry
from segloss.activity import (
    EntropyLoss,
    FiringRateDistLoss,
    FiringRateLoss,
    HebbianLoss,
    RNNConnectivityLoss,
    StatePredictionLoss,
)
from segloss.batch import MissingKeyError
from segloss.check import LossReport, assert_loss, check_loss, test_custom_loss
from segloss.combiners import UncertaintyWeighting
from segloss.config import build_compound_loss_from_config, build_loss, build_loss_from_config
from segloss.deep_supervision import DeepSupervision
from segloss.dice_loss import DiceBCELoss, DiceLoss
from segloss.frame_field import (
    ComputeSegGrads,
    CrossfieldAlign90Loss,
    CrossfieldAlignLoss,
    CrossfieldSmoothLoss,
    SegCrossfieldLoss,
    SegEdgeInteriorLoss,
    SegLossWeights,
    compute_gt_field,
)
from segloss.loss import Criterion, Loss
from segloss.loss_wrapper import LossWrapper
from segloss.losses import term_losses
from segloss.losses.compound_loss import CompoundLoss
from segloss.losses.term_losses import *
from segloss.losses.term_losses import TermLoss
from segloss.maps import SignedDistanceMap, SkeletonMap
from segloss.mixup import MixUp
from segloss.multi_loss import MultiLoss
from segloss.no_trace import without_trace
from segloss.norms import compute_norms
from segloss.registry import get_loss, list_losses, register_loss
from segloss.seg_loss import SegLoss
from segloss.sums import SoftConfusion, soft_confusion
from segloss.sums.kernels.registry import Backend, backends, use_backend
from segloss.topk import TopKCrossEntropyLoss

__version__ = "0.1.0"

__all__ = [
    "Backend",
    "CompoundLoss",
    "ComputeSegGrads",
    "Criterion",
    "CrossfieldAlign90Loss",
    "CrossfieldAlignLoss",
    "CrossfieldSmoothLoss",
    "DeepSupervision",
    "DiceBCELoss",
    "DiceLoss",
    "EntropyLoss",
    "FiringRateDistLoss",
    "FiringRateLoss",
    "HebbianLoss",
    "Loss",
    "LossReport",
    "LossWrapper",
    "MissingKeyError",
    "MixUp",
    "MultiLoss",
    "RNNConnectivityLoss",
    "SegCrossfieldLoss",
    "SegEdgeInteriorLoss",
    "SegLoss",
    "SegLossWeights",
    "SignedDistanceMap",
    "SkeletonMap",
    "SoftConfusion",
    "StatePredictionLoss",
    "TermLoss",
    "TopKCrossEntropyLoss",
    "UncertaintyWeighting",
    "assert_loss",
    "backends",
    "build_compound_loss_from_config",
    "build_loss",
    "build_loss_from_config",
    "check_loss",
    "compute_gt_field",
    "compute_norms",
    "functional",
    "get_loss",
    "list_losses",
    "register_loss",
    "registry",
    "soft_confusion",
    "test_custom_loss",
    "use_backend",
    "without_trace",
]
__all__ += [name for name in term_losses.__all__ if name.endswith("Loss")]

_COMPAT = {
    "CombinedLoss": "tutorial",
    "CompositeLoss": "composite_loss",
    "GradWeightedLoss": "perceptrain",
    "UncertaintyWeightedLoss": "tutorial",
    "WeightedMSELoss": "tutorial",
    "as_loss_fn": "perceptrain",
    "cross_entropy_loss": "perceptrain",
    "get_loss_fn": "perceptrain",
    "mse_loss": "perceptrain",
}
"""Names of other systems' interfaces, and the module of `segloss.compat` that each is in."""

_SUGGESTION = ("Suggestion", "suggest")
"""Names of `segloss.suggestion`, which is imported when it is asked for."""


def __getattr__(name: str) -> Any:
    if name in _SUGGESTION:
        return getattr(import_module("segloss.suggestion"), name)
    if name not in _COMPAT:
        raise AttributeError(f"module 'segloss' has no attribute {name!r}")
    return getattr(import_module(f"segloss.compat.{_COMPAT[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_COMPAT, *_SUGGESTION})
