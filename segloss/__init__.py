"""Segmentation losses for PyTorch: many terms in one pass, composed, normalised, scheduled."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from segloss import functional, terms
from segloss.batch.keys import MissingKeyError
from segloss.batch.mixing.cutmix import CutMix
from segloss.batch.mixing.mixup import MixUp
from segloss.foundation.arguments import no_attribute
from segloss.losses import term_losses
from segloss.losses.combiners import UncertaintyWeighting
from segloss.losses.compound_loss import CompoundLoss
from segloss.losses.deep_supervision import DeepSupervision
from segloss.losses.loss import Loss
from segloss.losses.loss_wrapper import LossWrapper
from segloss.losses.multi_loss import MultiLoss
from segloss.losses.seg_loss import SegLoss
from segloss.losses.term_losses import *
from segloss.sums import SoftConfusion, soft_confusion
from segloss.sums.kernels.registry import backends, use_backend
from segloss.terms.mixture.evaluate import per_class
from segloss.terms.recommended import recommended

if TYPE_CHECKING:  # __getattr__ imports these when they are used; "as": not in __all__, but public
    from segloss.config import (
        build_compound_loss_from_config as build_compound_loss_from_config,
        build_loss,
        build_loss_from_config as build_loss_from_config,
        get_loss,
        list_losses,
        register_loss,
    )
    from segloss.frame_field import (
        ComputeSegGrads as ComputeSegGrads,
        CrossfieldAlign90Loss as CrossfieldAlign90Loss,
        CrossfieldAlignLoss as CrossfieldAlignLoss,
        CrossfieldSmoothLoss as CrossfieldSmoothLoss,
        SegCrossfieldLoss as SegCrossfieldLoss,
        SegEdgeInteriorLoss as SegEdgeInteriorLoss,
        SegLossWeights as SegLossWeights,
        compute_gt_field as compute_gt_field,
    )
    from segloss.losses.standalone.cldice import SoftClDiceLoss as SoftClDiceLoss
    from segloss.losses.standalone.hard_pixels import (
        HardPixelLoss as HardPixelLoss,
        OhemCrossEntropyLoss as OhemCrossEntropyLoss,
        Threshold as Threshold,
        TopK as TopK,
    )
    from segloss.losses.standalone.hausdorff import HausdorffDistanceLoss as HausdorffDistanceLoss
    from segloss.losses.standalone.lovasz import LovaszLoss as LovaszLoss
    from segloss.losses.standalone.topk import TopKCrossEntropyLoss
    from segloss.maps import (
        ComponentMap as ComponentMap,
        DistanceMap as DistanceMap,
        SignedDistanceMap,
        SkeletonMap,
        UNetWeightMap as UNetWeightMap,
    )
    from segloss.tools.check import assert_loss, check_loss
    from segloss.tools.diagnose import diagnose
    from segloss.tools.suggest import suggest as suggest
    from segloss.training.norms import compute_norms
    from segloss.training.without_trace import without_trace

__version__ = "0.1.0"

__all__ = [
    "CompoundLoss",
    "CutMix",
    "DeepSupervision",
    "Loss",
    "LossWrapper",
    "MissingKeyError",
    "MixUp",
    "MultiLoss",
    "SegLoss",
    "SignedDistanceMap",
    "SkeletonMap",
    "SoftConfusion",
    "TopKCrossEntropyLoss",
    "UncertaintyWeighting",
    "assert_loss",
    "backends",
    "build_loss",
    "check_loss",
    "compute_norms",
    "diagnose",
    "functional",
    "get_loss",
    "list_losses",
    "per_class",
    "recommended",
    "register_loss",
    "soft_confusion",
    "use_backend",
    "without_trace",
]
__all__ += term_losses.__all__

_LAZY_NAMES = {
    "segloss.config": (
        "build_compound_loss_from_config",
        "build_loss",
        "build_loss_from_config",
        "get_loss",
        "list_losses",
        "register_loss",
    ),
    "segloss.frame_field": (
        "ComputeSegGrads",
        "CrossfieldAlign90Loss",
        "CrossfieldAlignLoss",
        "CrossfieldSmoothLoss",
        "SegCrossfieldLoss",
        "SegEdgeInteriorLoss",
        "SegLossWeights",
        "compute_gt_field",
    ),
    "segloss.losses.standalone.cldice": ("SoftClDiceLoss",),
    "segloss.losses.standalone.hard_pixels": (
        "HardPixelLoss",
        "OhemCrossEntropyLoss",
        "Threshold",
        "TopK",
    ),
    "segloss.losses.standalone.hausdorff": ("HausdorffDistanceLoss",),
    "segloss.losses.standalone.lovasz": ("LovaszLoss",),
    "segloss.losses.standalone.topk": ("TopKCrossEntropyLoss",),
    "segloss.maps": (
        "ComponentMap",
        "DistanceMap",
        "SignedDistanceMap",
        "SkeletonMap",
        "UNetWeightMap",
    ),
    "segloss.tools.check": ("assert_loss", "check_loss"),
    "segloss.tools.diagnose": ("diagnose",),
    "segloss.tools.suggest": ("suggest",),
    "segloss.training.norms": ("compute_norms",),
    "segloss.training.without_trace": ("without_trace",),
}
"""Names of this package by module. `import segloss` does not load these modules."""

_ELSEWHERE = dict.fromkeys(
    ("CrossEntropy", "CrossEntropyLoss"),
    "cross-entropy is a term, CompoundLoss(segloss.terms.CrossEntropy()), and "
    "torch.nn.CrossEntropyLoss goes into a LossWrapper",
)

_MODULE_OF = {name: module for module, names in _LAZY_NAMES.items() for name in names}

_SUBPACKAGES = ("compat", "frame_field", "maps", "tools", "training")
"""Subpackages that `import segloss` does not load."""


def __getattr__(name: str) -> Any:
    if name in _SUBPACKAGES:
        return import_module(f"{__name__}.{name}")
    if name not in _MODULE_OF:
        known = [*__all__, *_MODULE_OF, *_SUBPACKAGES]
        raise no_attribute(__name__, name, known, {**_terms(), **_ELSEWHERE})
    return getattr(import_module(_MODULE_OF[name]), name)


def _terms() -> dict[str, str]:
    """Returns what to say about the terms, which are not losses, by their classes' names."""
    names = [term.__name__ for term in terms.TERMS.values()]
    return {
        name: f"segloss.terms.{name} is a term of mixtures, and segloss.{name}Loss the loss of it"
        for name in names
    }


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULE_OF, *_SUBPACKAGES})
