# Written by docs/term_stubs.py, from the table of terms.

import inspect
from collections.abc import Sequence
from typing import Any, ClassVar

from segloss.losses.compound_loss import MODES as MODES
from segloss.losses.compound_loss import CompoundLoss
from segloss.terms import Term

__all__: list[str]

TERM_LOSSES: dict[str, type[TermLoss]]

def signature_of(term_type: type[Term]) -> inspect.Signature: ...
def name_of(term_type: type[Term]) -> str: ...

class TermLoss(CompoundLoss):
    term_type: ClassVar[type[Term]]

    def __init__(
        self,
        mode: str = 'binary',
        *,
        classes: Sequence[int] | None = None,
        **parameters: Any,
    ) -> None: ...

class FocalLoss(TermLoss):
    def __init__(
        self,
        mode: str = 'binary',
        *,
        gamma: float = 2.0,
        alpha: float | Sequence[float] | None = None,
        from_logits: bool = True,
        ignore_index: int | None = None,
        class_weights: Any = None,
        pos_weight: Any = None,
        label_smoothing: float = 0.0,
        reduction: str = 'mean',
        sync_statistics: bool = False,
        sync_in_eval: bool = False,
        process_group: Any = None,
    ) -> None: ...

class Poly1Loss(TermLoss):
    def __init__(
        self,
        mode: str = 'binary',
        *,
        epsilon: float = 1.0,
        from_logits: bool = True,
        ignore_index: int | None = None,
        class_weights: Any = None,
        pos_weight: Any = None,
        label_smoothing: float = 0.0,
        reduction: str = 'mean',
        sync_statistics: bool = False,
        sync_in_eval: bool = False,
        process_group: Any = None,
    ) -> None: ...

class SoftDiceLoss(TermLoss):
    def __init__(
        self,
        mode: str = 'binary',
        *,
        smooth: float = 1.0,
        region_reduction: str = 'sample',
        region_classes: Sequence[int] | None = None,
        region_class_weights: Any = None,
        skip_absent_classes: bool = False,
        soft_labels: str = 'product',
        classes: Sequence[int] | None = None,
        from_logits: bool = True,
        ignore_index: int | None = None,
        class_weights: Any = None,
        pos_weight: Any = None,
        label_smoothing: float = 0.0,
        reduction: str = 'mean',
        sync_statistics: bool = False,
        sync_in_eval: bool = False,
        process_group: Any = None,
    ) -> None: ...

class FBetaLoss(TermLoss):
    def __init__(
        self,
        mode: str = 'binary',
        *,
        beta: float = 1.0,
        smooth: float = 0.0,
        region_reduction: str = 'sample',
        region_classes: Sequence[int] | None = None,
        region_class_weights: Any = None,
        skip_absent_classes: bool = False,
        soft_labels: str = 'product',
        classes: Sequence[int] | None = None,
        from_logits: bool = True,
        ignore_index: int | None = None,
        class_weights: Any = None,
        pos_weight: Any = None,
        label_smoothing: float = 0.0,
        reduction: str = 'mean',
        sync_statistics: bool = False,
        sync_in_eval: bool = False,
        process_group: Any = None,
    ) -> None: ...

class FocalTverskyLoss(TermLoss):
    def __init__(
        self,
        mode: str = 'binary',
        *,
        gamma: float = 0.75,
        alpha: float = 0.3,
        beta: float = 0.7,
        smooth: float = 0.0,
        region_reduction: str = 'sample',
        region_classes: Sequence[int] | None = None,
        region_class_weights: Any = None,
        skip_absent_classes: bool = False,
        soft_labels: str = 'product',
        classes: Sequence[int] | None = None,
        from_logits: bool = True,
        ignore_index: int | None = None,
        class_weights: Any = None,
        pos_weight: Any = None,
        label_smoothing: float = 0.0,
        reduction: str = 'mean',
        sync_statistics: bool = False,
        sync_in_eval: bool = False,
        process_group: Any = None,
    ) -> None: ...

class JaccardLoss(TermLoss):
    def __init__(
        self,
        mode: str = 'binary',
        *,
        smooth: float = 0.0,
        region_reduction: str = 'sample',
        region_classes: Sequence[int] | None = None,
        region_class_weights: Any = None,
        skip_absent_classes: bool = False,
        soft_labels: str = 'product',
        classes: Sequence[int] | None = None,
        from_logits: bool = True,
        ignore_index: int | None = None,
        class_weights: Any = None,
        pos_weight: Any = None,
        label_smoothing: float = 0.0,
        reduction: str = 'mean',
        sync_statistics: bool = False,
        sync_in_eval: bool = False,
        process_group: Any = None,
    ) -> None: ...

class LogCoshDiceLoss(TermLoss):
    def __init__(
        self,
        mode: str = 'binary',
        *,
        smooth: float = 1.0,
        region_reduction: str = 'sample',
        region_classes: Sequence[int] | None = None,
        region_class_weights: Any = None,
        skip_absent_classes: bool = False,
        soft_labels: str = 'product',
        classes: Sequence[int] | None = None,
        from_logits: bool = True,
        ignore_index: int | None = None,
        class_weights: Any = None,
        pos_weight: Any = None,
        label_smoothing: float = 0.0,
        reduction: str = 'mean',
        sync_statistics: bool = False,
        sync_in_eval: bool = False,
        process_group: Any = None,
    ) -> None: ...

class LogDiceLoss(TermLoss):
    def __init__(
        self,
        mode: str = 'binary',
        *,
        gamma: float = 1.0,
        smooth: float = 1.0,
        region_reduction: str = 'sample',
        region_classes: Sequence[int] | None = None,
        region_class_weights: Any = None,
        skip_absent_classes: bool = False,
        soft_labels: str = 'product',
        classes: Sequence[int] | None = None,
        from_logits: bool = True,
        ignore_index: int | None = None,
        class_weights: Any = None,
        pos_weight: Any = None,
        label_smoothing: float = 0.0,
        reduction: str = 'mean',
        sync_statistics: bool = False,
        sync_in_eval: bool = False,
        process_group: Any = None,
    ) -> None: ...

class SquaredDiceLoss(TermLoss):
    def __init__(
        self,
        mode: str = 'binary',
        *,
        smooth: float = 1.0,
        region_reduction: str = 'sample',
        region_classes: Sequence[int] | None = None,
        region_class_weights: Any = None,
        skip_absent_classes: bool = False,
        soft_labels: str = 'product',
        classes: Sequence[int] | None = None,
        from_logits: bool = True,
        ignore_index: int | None = None,
        class_weights: Any = None,
        pos_weight: Any = None,
        label_smoothing: float = 0.0,
        reduction: str = 'mean',
        sync_statistics: bool = False,
        sync_in_eval: bool = False,
        process_group: Any = None,
    ) -> None: ...

class TverskyLoss(TermLoss):
    def __init__(
        self,
        mode: str = 'binary',
        *,
        alpha: float = 0.3,
        beta: float = 0.7,
        smooth: float = 0.0,
        region_reduction: str = 'sample',
        region_classes: Sequence[int] | None = None,
        region_class_weights: Any = None,
        skip_absent_classes: bool = False,
        soft_labels: str = 'product',
        classes: Sequence[int] | None = None,
        from_logits: bool = True,
        ignore_index: int | None = None,
        class_weights: Any = None,
        pos_weight: Any = None,
        label_smoothing: float = 0.0,
        reduction: str = 'mean',
        sync_statistics: bool = False,
        sync_in_eval: bool = False,
        process_group: Any = None,
    ) -> None: ...

class GeneralizedDiceLoss(TermLoss):
    def __init__(
        self,
        mode: str = 'binary',
        *,
        weight_type: str = 'square',
        smooth: float = 0.0,
        region_reduction: str = 'sample',
        region_classes: Sequence[int] | None = None,
        region_class_weights: Any = None,
        skip_absent_classes: bool = False,
        soft_labels: str = 'product',
        classes: Sequence[int] | None = None,
        from_logits: bool = True,
        ignore_index: int | None = None,
        class_weights: Any = None,
        pos_weight: Any = None,
        label_smoothing: float = 0.0,
        reduction: str = 'mean',
        sync_statistics: bool = False,
        sync_in_eval: bool = False,
        process_group: Any = None,
    ) -> None: ...

class MCCLoss(TermLoss):
    def __init__(
        self,
        mode: str = 'binary',
        *,
        eps: float = 0.0,
        region_reduction: str = 'sample',
        region_classes: Sequence[int] | None = None,
        region_class_weights: Any = None,
        skip_absent_classes: bool = False,
        soft_labels: str = 'product',
        classes: Sequence[int] | None = None,
        from_logits: bool = True,
        ignore_index: int | None = None,
        class_weights: Any = None,
        pos_weight: Any = None,
        label_smoothing: float = 0.0,
        reduction: str = 'mean',
        sync_statistics: bool = False,
        sync_in_eval: bool = False,
        process_group: Any = None,
    ) -> None: ...

class RegionSizeKLLoss(TermLoss):
    def __init__(
        self,
        mode: str = 'binary',
        *,
        region_reduction: str = 'sample',
        region_classes: Sequence[int] | None = None,
        region_class_weights: Any = None,
        skip_absent_classes: bool = False,
        soft_labels: str = 'product',
        classes: Sequence[int] | None = None,
        from_logits: bool = True,
        ignore_index: int | None = None,
        class_weights: Any = None,
        pos_weight: Any = None,
        label_smoothing: float = 0.0,
        reduction: str = 'mean',
        sync_statistics: bool = False,
        sync_in_eval: bool = False,
        process_group: Any = None,
    ) -> None: ...

class RegionSizeL1Loss(TermLoss):
    def __init__(
        self,
        mode: str = 'binary',
        *,
        region_reduction: str = 'sample',
        region_classes: Sequence[int] | None = None,
        region_class_weights: Any = None,
        skip_absent_classes: bool = False,
        soft_labels: str = 'product',
        classes: Sequence[int] | None = None,
        from_logits: bool = True,
        ignore_index: int | None = None,
        class_weights: Any = None,
        pos_weight: Any = None,
        label_smoothing: float = 0.0,
        reduction: str = 'mean',
        sync_statistics: bool = False,
        sync_in_eval: bool = False,
        process_group: Any = None,
    ) -> None: ...

class UnifiedFocalLoss(TermLoss):
    def __init__(
        self,
        mode: str = 'binary',
        *,
        weight: float = 0.5,
        delta: float = 0.6,
        gamma: float = 0.5,
        region_reduction: str = 'sample',
        region_classes: Sequence[int] | None = None,
        region_class_weights: Any = None,
        skip_absent_classes: bool = False,
        soft_labels: str = 'product',
        classes: Sequence[int] | None = None,
        from_logits: bool = True,
        ignore_index: int | None = None,
        class_weights: Any = None,
        pos_weight: Any = None,
        label_smoothing: float = 0.0,
        reduction: str = 'mean',
        sync_statistics: bool = False,
        sync_in_eval: bool = False,
        process_group: Any = None,
    ) -> None: ...

class BoundaryLoss(TermLoss):
    def __init__(
        self,
        mode: str = 'binary',
        *,
        map_key: str = 'gt_distance_map',
        region_reduction: str = 'sample',
        region_classes: Sequence[int] | None = None,
        region_class_weights: Any = None,
        skip_absent_classes: bool = False,
        soft_labels: str = 'product',
        classes: Sequence[int] | None = None,
        from_logits: bool = True,
        ignore_index: int | None = None,
        class_weights: Any = None,
        pos_weight: Any = None,
        label_smoothing: float = 0.0,
        reduction: str = 'mean',
        sync_statistics: bool = False,
        sync_in_eval: bool = False,
        process_group: Any = None,
    ) -> None: ...

class SkeletonRecallLoss(TermLoss):
    def __init__(
        self,
        mode: str = 'binary',
        *,
        map_key: str = 'gt_skeleton',
        smooth: float = 0.0,
        region_reduction: str = 'sample',
        region_classes: Sequence[int] | None = None,
        region_class_weights: Any = None,
        skip_absent_classes: bool = False,
        soft_labels: str = 'product',
        classes: Sequence[int] | None = None,
        from_logits: bool = True,
        ignore_index: int | None = None,
        class_weights: Any = None,
        pos_weight: Any = None,
        label_smoothing: float = 0.0,
        reduction: str = 'mean',
        sync_statistics: bool = False,
        sync_in_eval: bool = False,
        process_group: Any = None,
    ) -> None: ...
