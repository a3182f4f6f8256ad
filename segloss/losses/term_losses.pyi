# Written by scripts/term_stubs.py, from the table of terms.

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from segloss.batch.selectors import Selector
from segloss.losses.modes import MODES as MODES
from segloss.losses.compound_loss import CompoundLoss
from segloss.terms import Term

__all__ = [
    "FocalLoss",
    "Poly1Loss",
    "BalancedCrossEntropyLoss",
    "GeneralizedCrossEntropyLoss",
    "SymmetricCrossEntropyLoss",
    "DiceLoss",
    "FBetaLoss",
    "FocalTverskyLoss",
    "JaccardLoss",
    "LogCoshDiceLoss",
    "LogDiceLoss",
    "SquaredDiceLoss",
    "TverskyLoss",
    "GeneralizedDiceLoss",
    "GeneralizedWassersteinDiceLoss",
    "MCCLoss",
    "RegionSizeKLLoss",
    "RegionSizeL1Loss",
    "UnifiedFocalLoss",
    "BoundaryLoss",
    "SkeletonRecallLoss",
]

TERM_LOSSES: dict[str, type[TermLoss]]

def signature_of(term_type: type[Term]) -> inspect.Signature: ...
def name_of(term_type: type[Term]) -> str: ...

class TermLoss(CompoundLoss):
    r"""A term as a loss of (prediction, target): a `CompoundLoss` of one term.

    A subclass names its `term_type`.

    Args:
        mode: "binary": one sigmoid channel; "multilabel": independent sigmoid channels;
            "multiclass": softmax over the channels.
        classes: Another name for the parameter `region_classes` of region terms: the classes that
            the term looks at; None: all.
        **parameters: The parameters of the term (a region term also has the parameters of
            `segloss.terms.RegionTerm`), and the options of `CompoundLoss`.

    Raises:
        TypeError, ValueError: An argument is wrong or unknown when the loss is made, or a
            prediction or target is wrong when it is used.
    """

    term_type: ClassVar[type[Term]]

    def __init__(
        self,
        mode: str = "binary",
        *,
        classes: Sequence[int] | None = None,
        **parameters: Any,
    ) -> None: ...

class FocalLoss(TermLoss):
    r"""Focal loss: cross-entropy in which well-predicted pixels count less.

    .. math:: \frac{\sum w\,\alpha_y (1 - p_y)^\gamma (-\log p_y)}{\sum w}

    in [0, inf): 0 for a perfect prediction; equal to cross-entropy for gamma = 0. y is the class of
    a pixel: its label for softmax, foreground or background of each channel for sigmoid. Class
    weights and label smoothing apply only to the cross-entropy.

    Args:
        gamma: The exponent, at least 0.
        alpha: The weights. For sigmoid, the foreground's weight in [0, 1] (the background gets
            1 - alpha), both as [background, foreground], or a pair [background, foreground] for
            each channel, [[0.75, 0.25], [0.4, 0.6]]; for softmax, one weight per class. None: 1
            for all.
        region_classes: The classes that count, such as `[1, 2]` for all but the background; None:
            all. With softmax, pixels of other classes are left out (after the softmax over all
            classes); with sigmoid, other channels.
        normalize: The denominator. "pixels": the sum of the weights of all pixels that count;
            "positives": of those that are foreground, at least 1, as in detectors. With softmax,
            class 0 is the background, unless `region_classes` names it.
        soft_targets: The loss of a target g between 0 and 1. "expectation": the mean of the
            classes' losses, weighted by the target. "interpolated": the loss of the mean
            probability :math:`p_t = \sum_c g_c p_c`, :math:`\alpha_t (1 - p_t)^\gamma` times the
            cross-entropy with g, as in torchvision, DETR and SAM 2; for sigmoid,
            :math:`p_t = p g + (1 - p)(1 - g)`. For targets of 0 and 1 they are the same.

    Source: Lin, Goyal, Girshick, He, Dollar, "Focal loss for dense object detection" (2017).

    Example:
        >>> import torch
        >>> from segloss import FocalLoss
        >>> FocalLoss("multiclass", gamma=2.0)(torch.zeros(1, 2, 4), torch.tensor([[0, 1, 1, 0]]))
        tensor(0.1733)
    """

    def __init__(
        self,
        mode: str = 'binary',
        *,
        gamma: float = 2.0,
        alpha: float | Sequence[float] | Sequence[Sequence[float]] | None = None,
        region_classes: Sequence[int] | None = None,
        normalize: str = 'pixels',
        soft_targets: str = 'expectation',
        classes: Sequence[int] | None = None,
        from_logits: bool = True,
        ignore_index: int | Sequence[int] | None = None,
        class_weights: Any = None,
        pos_weight: Any = None,
        label_smoothing: float = 0.0,
        pred_channel_selector: Selector | None = None,
        gt_channel_selector: Selector | None = None,
        merge_unannotated: bool = False,
        reduction: str = 'mean',
        sync_statistics: bool = False,
        sync_in_eval: bool = False,
        process_group: Any = None,
    ) -> None: ...

class Poly1Loss(TermLoss):
    r"""Poly-1 loss: cross-entropy with a changed weight of the first term of its series.

    .. math:: \overline{\mathrm{CE}} + \epsilon\,\overline{1 - p_y}

    in [0, inf): 0 for a perfect prediction. It is the sum of two terms, "poly1_cross_entropy" and
    "poly1_missed_probability".

    Args:
        epsilon: The weight of the second term, at least 0.

    Source: Leng, Tan, Liu, Cubuk, Shi, Cheng, Anguelov, "PolyLoss: a polynomial expansion
    perspective of classification loss functions" (2022).

    Example:
        >>> import torch
        >>> from segloss import Poly1Loss
        >>> Poly1Loss(epsilon=2.0)(torch.zeros(1, 1, 4), torch.tensor([[0, 1, 1, 0]]))
        tensor(1.6931)
    """

    def __init__(
        self,
        mode: str = 'binary',
        *,
        epsilon: float = 1.0,
        from_logits: bool = True,
        ignore_index: int | Sequence[int] | None = None,
        class_weights: Any = None,
        pos_weight: Any = None,
        label_smoothing: float = 0.0,
        pred_channel_selector: Selector | None = None,
        gt_channel_selector: Selector | None = None,
        merge_unannotated: bool = False,
        reduction: str = 'mean',
        sync_statistics: bool = False,
        sync_in_eval: bool = False,
        process_group: Any = None,
    ) -> None: ...

class BalancedCrossEntropyLoss(TermLoss):
    r"""Cross-entropy in which the foreground and the background weigh the same.

    .. math:: \frac{1}{\sum w} \left( b \sum_{y > 0} w (-\log p_y)
        + (1 - b) \sum_{y = 0} w (-\log p_y) \right)

    in [0, inf): 0 for a perfect prediction. b is the background's share of the pixels, so that rare
    foreground, such as edges, weighs as much as the background. If all pixels are background, or
    all are foreground, the loss is 0. For softmax, class 0 is the background, and all other classes
    are foreground; for sigmoid, each channel has a background. A soft target counts in both.

    Args:
        balance: The pixels that b is a share of. "sample": those of each sample and channel;
            "batch": those of each channel, over the batch; "micro": all.

    Source: Xie, Tu, "Holistically-nested edge detection" (2015), with a mean over pixels.

    Example:
        >>> import torch
        >>> from segloss import BalancedCrossEntropyLoss
        >>> BalancedCrossEntropyLoss()(torch.zeros(1, 1, 4), torch.tensor([[0, 1, 0, 0]]))
        tensor(0.2599)
    """

    def __init__(
        self,
        mode: str = 'binary',
        *,
        balance: str = 'sample',
        from_logits: bool = True,
        ignore_index: int | Sequence[int] | None = None,
        class_weights: Any = None,
        pos_weight: Any = None,
        label_smoothing: float = 0.0,
        pred_channel_selector: Selector | None = None,
        gt_channel_selector: Selector | None = None,
        merge_unannotated: bool = False,
        reduction: str = 'mean',
        sync_statistics: bool = False,
        sync_in_eval: bool = False,
        process_group: Any = None,
    ) -> None: ...

class GeneralizedCrossEntropyLoss(TermLoss):
    r"""Generalised cross-entropy, in which wrong labels weigh less than in cross-entropy.

    .. math:: \frac{1}{\sum w} \sum w\,\frac{1 - p_y^k}{k}

    in [0, 1 / k]: 0 for a perfect prediction. It tends to cross-entropy for k near 0, and is the
    mean of :math:`1 - p_y` for k = 1, which tolerates wrong labels and learns slowly. y is the
    class of a pixel: its label for softmax, foreground or background of each channel for sigmoid.
    For a soft target, the loss is the mean over the classes, weighted by the target.

    Args:
        exponent: The exponent k, above 0 and at most 1.

    Source: Zhang, Sabuncu, "Generalized cross entropy loss for training deep neural networks with
    noisy labels" (2018), which calls the exponent q.

    Example:
        >>> import torch
        >>> from segloss import GeneralizedCrossEntropyLoss
        >>> GeneralizedCrossEntropyLoss(exponent=0.5)(torch.zeros(1, 1, 4), torch.ones(1, 1, 4))
        tensor(0.5858)
    """

    def __init__(
        self,
        mode: str = 'binary',
        *,
        exponent: float = 0.7,
        from_logits: bool = True,
        ignore_index: int | Sequence[int] | None = None,
        class_weights: Any = None,
        pos_weight: Any = None,
        label_smoothing: float = 0.0,
        pred_channel_selector: Selector | None = None,
        gt_channel_selector: Selector | None = None,
        merge_unannotated: bool = False,
        reduction: str = 'mean',
        sync_statistics: bool = False,
        sync_in_eval: bool = False,
        process_group: Any = None,
    ) -> None: ...

class SymmetricCrossEntropyLoss(TermLoss):
    r"""Symmetric cross-entropy: it adds the cross-entropy with prediction and target exchanged.

    .. math:: \alpha\,\overline{\mathrm{CE}} - \beta A\,\overline{1 - p_y}

    in [0, inf): 0 for a perfect prediction. The second part is :math:`-\sum_c p_c \log g_c`, in
    which the number A stands for the logarithm of 0. It tolerates wrong labels. The term is the sum
    of two terms, "symmetric_cross_entropy_forward" and "symmetric_cross_entropy_reverse". For a
    soft target, the second part is the mean over the classes, weighted by the target.

    Args:
        alpha: The weight of the cross-entropy, at least 0. The smaller it is, the less wrong labels
            are learnt.
        beta: The weight of the other part, at least 0.
        log_zero: A, below 0.

    Source: Wang, Ma, Chen, Luo, Yi, Bailey, "Symmetric cross entropy for robust learning with noisy
    labels" (2019).

    Example:
        >>> import torch
        >>> from segloss import SymmetricCrossEntropyLoss
        >>> SymmetricCrossEntropyLoss(alpha=1.0)(torch.zeros(1, 1, 4), torch.ones(1, 1, 4))
        tensor(2.6931)
    """

    def __init__(
        self,
        mode: str = 'binary',
        *,
        alpha: float = 0.1,
        beta: float = 1.0,
        log_zero: float = -4.0,
        from_logits: bool = True,
        ignore_index: int | Sequence[int] | None = None,
        class_weights: Any = None,
        pos_weight: Any = None,
        label_smoothing: float = 0.0,
        pred_channel_selector: Selector | None = None,
        gt_channel_selector: Selector | None = None,
        merge_unannotated: bool = False,
        reduction: str = 'mean',
        sync_statistics: bool = False,
        sync_in_eval: bool = False,
        process_group: Any = None,
    ) -> None: ...

class DiceLoss(TermLoss):
    r"""Dice loss.

    .. math:: 1 - \frac{2\,TP + s}{\sum p + \sum g + s} = \frac{FP + FN}{2\,TP + FP + FN + s}

    in [0, 1): 0 for a perfect prediction; 1 if nothing is hit and s is 0.

    Args:
        smooth: The smoothing s, at least 0, or a pair, as in `Overlap`. A cell with neither
            prediction nor target has a loss of 0, even without smoothing.
        log: True for minus the logarithm of the score, as in `Overlap`.
        clip_tp: A lower bound on the true positives of a cell, as in `Overlap`.
        **region: The arguments of `RegionTerm`, for the mean over cells.

    Source: Milletari, Navab, Ahmadi, "V-Net" (2016), with the plain denominator; with
    `soft_labels="metric"`, Wang, Popordanoska, Bertels, Lemmens, Blaschko, "Dice semimetric
    losses" (2023).

    Example:
        >>> import torch
        >>> from segloss import DiceLoss
        >>> DiceLoss()(torch.zeros(1, 1, 4), torch.tensor([[0, 1, 1, 0]]))
        tensor(0.4000)
    """

    def __init__(
        self,
        mode: str = 'binary',
        *,
        smooth: float | Sequence[float] = 1.0,
        log: bool = False,
        clip_tp: float = 0.0,
        region_reduction: str = 'sample',
        region_classes: Sequence[int] | None = None,
        region_class_weights: Any = None,
        skip_absent_classes: bool = False,
        soft_labels: str = 'product',
        region_groups: str | Mapping[str, Sequence[int]] | None = None,
        components_key: str = 'gt_components',
        classes: Sequence[int] | None = None,
        from_logits: bool = True,
        ignore_index: int | Sequence[int] | None = None,
        class_weights: Any = None,
        pos_weight: Any = None,
        label_smoothing: float = 0.0,
        pred_channel_selector: Selector | None = None,
        gt_channel_selector: Selector | None = None,
        merge_unannotated: bool = False,
        reduction: str = 'mean',
        sync_statistics: bool = False,
        sync_in_eval: bool = False,
        process_group: Any = None,
    ) -> None: ...

class FBetaLoss(TermLoss):
    r"""F-beta loss.

    .. math:: 1 - \frac{(1 + \beta^2) TP + s}{(1 + \beta^2) TP + FP + \beta^2 FN + s}

    in [0, 1]: 0 for a perfect prediction; 1 if nothing is hit and s is 0. It is the Dice loss
    for beta = 1, and the Tversky loss with alpha = 1 / (1 + beta^2) and beta = 1 - alpha.

    Args:
        beta: The importance of recall relative to precision, above 0.
        smooth: The smoothing s, at least 0; or a pair, as in `Overlap`.
        log: True for minus the logarithm of the score, as in `Overlap`.
        clip_tp: A lower bound on the true positives of a cell, as in `Overlap`.
        **region: The arguments of `RegionTerm`, for the mean over cells.

    Source: van Rijsbergen, "Information retrieval" (1979).

    Example:
        >>> import torch
        >>> from segloss import FBetaLoss
        >>> FBetaLoss(beta=2.0)(torch.zeros(1, 1, 4), torch.tensor([[0, 1, 1, 1]]))
        tensor(0.4643)
    """

    def __init__(
        self,
        mode: str = 'binary',
        *,
        beta: float = 1.0,
        smooth: float | Sequence[float] = 0.0,
        log: bool = False,
        clip_tp: float = 0.0,
        region_reduction: str = 'sample',
        region_classes: Sequence[int] | None = None,
        region_class_weights: Any = None,
        skip_absent_classes: bool = False,
        soft_labels: str = 'product',
        region_groups: str | Mapping[str, Sequence[int]] | None = None,
        components_key: str = 'gt_components',
        classes: Sequence[int] | None = None,
        from_logits: bool = True,
        ignore_index: int | Sequence[int] | None = None,
        class_weights: Any = None,
        pos_weight: Any = None,
        label_smoothing: float = 0.0,
        pred_channel_selector: Selector | None = None,
        gt_channel_selector: Selector | None = None,
        merge_unannotated: bool = False,
        reduction: str = 'mean',
        sync_statistics: bool = False,
        sync_in_eval: bool = False,
        process_group: Any = None,
    ) -> None: ...

class FocalTverskyLoss(TermLoss):
    r"""Focal Tversky loss.

    .. math:: \left(1 - \frac{TP + s}{TP + \alpha FP + \beta FN + s}\right)^\gamma

    in [0, 1]: 1 if nothing is hit and s is 0. Value and gradient are 0 where the Tversky loss is
    exactly 0. With `log`, it is minus the logarithm of the Tversky score, to the power of gamma.

    Args:
        gamma: The exponent, above 0. Below 1 it steepens the loss near a perfect prediction.
        alpha: The weight of false positives, at least 0.
        beta: The weight of false negatives, at least 0.
        smooth: The smoothing s, at least 0; or a pair, as in `Overlap`.
        log: True for minus the logarithm of the score, as in `Overlap`.
        clip_tp: A lower bound on the true positives of a cell, as in `Overlap`.
        **region: The arguments of `RegionTerm`, for the mean over cells.

    Source: Abraham, Khan, "A novel focal Tversky loss function with improved attention U-Net for
    lesion segmentation" (2019), whose gamma is the inverse of the exponent: its 4/3 is 0.75 here.

    Example:
        >>> import torch
        >>> from segloss import FocalTverskyLoss
        >>> FocalTverskyLoss(gamma=2.0)(torch.zeros(1, 1, 4), torch.tensor([[0, 1, 1, 0]]))
        tensor(0.2500)
    """

    def __init__(
        self,
        mode: str = 'binary',
        *,
        gamma: float = 0.75,
        alpha: float = 0.3,
        beta: float = 0.7,
        smooth: float | Sequence[float] = 0.0,
        log: bool = False,
        clip_tp: float = 0.0,
        region_reduction: str = 'sample',
        region_classes: Sequence[int] | None = None,
        region_class_weights: Any = None,
        skip_absent_classes: bool = False,
        soft_labels: str = 'product',
        region_groups: str | Mapping[str, Sequence[int]] | None = None,
        components_key: str = 'gt_components',
        classes: Sequence[int] | None = None,
        from_logits: bool = True,
        ignore_index: int | Sequence[int] | None = None,
        class_weights: Any = None,
        pos_weight: Any = None,
        label_smoothing: float = 0.0,
        pred_channel_selector: Selector | None = None,
        gt_channel_selector: Selector | None = None,
        merge_unannotated: bool = False,
        reduction: str = 'mean',
        sync_statistics: bool = False,
        sync_in_eval: bool = False,
        process_group: Any = None,
    ) -> None: ...

class JaccardLoss(TermLoss):
    r"""Jaccard (intersection over union) loss.

    .. math:: 1 - \frac{TP + s}{TP + FP + FN + s} = \frac{FP + FN}{TP + FP + FN + s}

    in [0, 1]: 0 for a perfect prediction; 1 if nothing is hit and s is 0.

    Args:
        smooth: The smoothing s, at least 0; or a pair, as in `Overlap`.
        log: True for minus the logarithm of the score, as in `Overlap`.
        clip_tp: A lower bound on the true positives of a cell, as in `Overlap`.
        **region: The arguments of `RegionTerm`, for the mean over cells.

    Source: Rahman, Wang, "Optimizing intersection-over-union in deep neural networks for image
    segmentation" (2016); with `soft_labels="metric"`, Wang, Ning, Blaschko, "Jaccard metric
    losses" (2023).

    Example:
        >>> import torch
        >>> from segloss import JaccardLoss
        >>> JaccardLoss("multiclass")(torch.zeros(1, 2, 4), torch.tensor([[0, 1, 1, 0]]))
        tensor(0.6667)
    """

    def __init__(
        self,
        mode: str = 'binary',
        *,
        smooth: float | Sequence[float] = 0.0,
        log: bool = False,
        clip_tp: float = 0.0,
        region_reduction: str = 'sample',
        region_classes: Sequence[int] | None = None,
        region_class_weights: Any = None,
        skip_absent_classes: bool = False,
        soft_labels: str = 'product',
        region_groups: str | Mapping[str, Sequence[int]] | None = None,
        components_key: str = 'gt_components',
        classes: Sequence[int] | None = None,
        from_logits: bool = True,
        ignore_index: int | Sequence[int] | None = None,
        class_weights: Any = None,
        pos_weight: Any = None,
        label_smoothing: float = 0.0,
        pred_channel_selector: Selector | None = None,
        gt_channel_selector: Selector | None = None,
        merge_unannotated: bool = False,
        reduction: str = 'mean',
        sync_statistics: bool = False,
        sync_in_eval: bool = False,
        process_group: Any = None,
    ) -> None: ...

class LogCoshDiceLoss(TermLoss):
    r"""Log-cosh Dice loss: smooth where the Dice loss is 0.

    .. math:: \log \cosh(\mathrm{Dice})

    in [0, 0.434): 0 for a perfect prediction.

    Args:
        smooth: The smoothing of the Dice loss, at least 0; or a pair, as in `Overlap`.
        clip_tp: A lower bound on the true positives of a cell, as in `Overlap`.
        **region: The arguments of `RegionTerm`, for the mean over cells.

    Source: Jadon, "A survey of loss functions for semantic segmentation" (2020).

    Example:
        >>> import torch
        >>> from segloss import LogCoshDiceLoss
        >>> LogCoshDiceLoss()(torch.zeros(1, 1, 4), torch.tensor([[0, 1, 1, 0]]))
        tensor(0.0780)
    """

    def __init__(
        self,
        mode: str = 'binary',
        *,
        smooth: float | Sequence[float] = 1.0,
        clip_tp: float = 0.0,
        region_reduction: str = 'sample',
        region_classes: Sequence[int] | None = None,
        region_class_weights: Any = None,
        skip_absent_classes: bool = False,
        soft_labels: str = 'product',
        region_groups: str | Mapping[str, Sequence[int]] | None = None,
        components_key: str = 'gt_components',
        classes: Sequence[int] | None = None,
        from_logits: bool = True,
        ignore_index: int | Sequence[int] | None = None,
        class_weights: Any = None,
        pos_weight: Any = None,
        label_smoothing: float = 0.0,
        pred_channel_selector: Selector | None = None,
        gt_channel_selector: Selector | None = None,
        merge_unannotated: bool = False,
        reduction: str = 'mean',
        sync_statistics: bool = False,
        sync_in_eval: bool = False,
        process_group: Any = None,
    ) -> None: ...

class LogDiceLoss(TermLoss):
    r"""Negative logarithm of the Dice score, to a power.

    .. math:: \left(-\log \frac{2\,TP + s}{\sum p + \sum g + s}\right)^\gamma

    in [0, inf): 0 for a perfect prediction. Missed small structures cost more than with `Dice`. If
    nothing is hit, the logarithm is :math:`\log(1 + (FP + FN) / s)`, and 17.12 without smoothing.
    With gamma = 1 it is `Dice(log=True)`.

    Args:
        smooth: The smoothing s, at least 0; or a pair, as in `Overlap`.
        gamma: The exponent, above 0; 0.3 in the source.
        clip_tp: A lower bound on the true positives of a cell, as in `Overlap`.
        **region: The arguments of `RegionTerm`, for the mean over cells.

    Source: Wong, Moradi, Tang, Syeda-Mahmood, "3D segmentation with exponential logarithmic loss
    for highly unbalanced object sizes" (2018).

    Example:
        >>> import torch
        >>> from segloss import LogDiceLoss
        >>> LogDiceLoss()(torch.zeros(1, 1, 4), torch.tensor([[0, 1, 1, 0]]))
        tensor(0.5108)
    """

    def __init__(
        self,
        mode: str = 'binary',
        *,
        gamma: float = 1.0,
        smooth: float | Sequence[float] = 1.0,
        clip_tp: float = 0.0,
        region_reduction: str = 'sample',
        region_classes: Sequence[int] | None = None,
        region_class_weights: Any = None,
        skip_absent_classes: bool = False,
        soft_labels: str = 'product',
        region_groups: str | Mapping[str, Sequence[int]] | None = None,
        components_key: str = 'gt_components',
        classes: Sequence[int] | None = None,
        from_logits: bool = True,
        ignore_index: int | Sequence[int] | None = None,
        class_weights: Any = None,
        pos_weight: Any = None,
        label_smoothing: float = 0.0,
        pred_channel_selector: Selector | None = None,
        gt_channel_selector: Selector | None = None,
        merge_unannotated: bool = False,
        reduction: str = 'mean',
        sync_statistics: bool = False,
        sync_in_eval: bool = False,
        process_group: Any = None,
    ) -> None: ...

class SquaredDiceLoss(TermLoss):
    r"""Dice loss with squares in the denominator.

    .. math:: 1 - \frac{2\,TP + s}{\sum p^2 + \sum g^2 + s}
        = \frac{\sum (p - g)^2}{2\,TP + \sum (p - g)^2 + s}

    in [0, 1): 0 for a perfect prediction, also for soft targets, with either `soft_labels`.

    Args:
        smooth: The smoothing s, at least 0; or a pair, as in `Overlap`.
        log: True for minus the logarithm of the score, as in `Overlap`.
        clip_tp: A lower bound on the true positives of a cell, as in `Overlap`.
        **region: The arguments of `RegionTerm`, for the mean over cells.

    Source: Milletari, Navab, Ahmadi, "V-Net" (2016).

    Example:
        >>> import torch
        >>> from segloss import SquaredDiceLoss
        >>> SquaredDiceLoss(smooth=0.0)(torch.zeros(1, 1, 4), torch.tensor([[0, 1, 1, 0]]))
        tensor(0.3333)
    """

    def __init__(
        self,
        mode: str = 'binary',
        *,
        smooth: float | Sequence[float] = 1.0,
        log: bool = False,
        clip_tp: float = 0.0,
        region_reduction: str = 'sample',
        region_classes: Sequence[int] | None = None,
        region_class_weights: Any = None,
        skip_absent_classes: bool = False,
        soft_labels: str = 'product',
        region_groups: str | Mapping[str, Sequence[int]] | None = None,
        components_key: str = 'gt_components',
        classes: Sequence[int] | None = None,
        from_logits: bool = True,
        ignore_index: int | Sequence[int] | None = None,
        class_weights: Any = None,
        pos_weight: Any = None,
        label_smoothing: float = 0.0,
        pred_channel_selector: Selector | None = None,
        gt_channel_selector: Selector | None = None,
        merge_unannotated: bool = False,
        reduction: str = 'mean',
        sync_statistics: bool = False,
        sync_in_eval: bool = False,
        process_group: Any = None,
    ) -> None: ...

class TverskyLoss(TermLoss):
    r"""Tversky loss.

    .. math:: 1 - \frac{TP + s}{TP + \alpha FP + \beta FN + s}
        = \frac{\alpha FP + \beta FN}{TP + \alpha FP + \beta FN + s}

    in [0, 1]: 0 for a perfect prediction; 1 if nothing is hit and s is 0.

    Args:
        alpha: The weight of false positives, at least 0.
        beta: The weight of false negatives, at least 0. A larger beta favours recall.
        smooth: The smoothing s, at least 0; or a pair, as in `Overlap`.
        log: True for minus the logarithm of the score, as in `Overlap`.
        clip_tp: A lower bound on the true positives of a cell, as in `Overlap`.
        **region: The arguments of `RegionTerm`, for the mean over cells.

    Source: Salehi, Erdogmus, Gholipour, "Tversky loss function for image segmentation using 3D
    fully convolutional deep networks" (2017).

    Example:
        >>> import torch
        >>> from segloss import TverskyLoss
        >>> TverskyLoss(alpha=0.5, beta=0.5)(torch.zeros(1, 1, 4), torch.tensor([[0, 1, 1, 0]]))
        tensor(0.5000)
    """

    def __init__(
        self,
        mode: str = 'binary',
        *,
        alpha: float = 0.3,
        beta: float = 0.7,
        smooth: float | Sequence[float] = 0.0,
        log: bool = False,
        clip_tp: float = 0.0,
        region_reduction: str = 'sample',
        region_classes: Sequence[int] | None = None,
        region_class_weights: Any = None,
        skip_absent_classes: bool = False,
        soft_labels: str = 'product',
        region_groups: str | Mapping[str, Sequence[int]] | None = None,
        components_key: str = 'gt_components',
        classes: Sequence[int] | None = None,
        from_logits: bool = True,
        ignore_index: int | Sequence[int] | None = None,
        class_weights: Any = None,
        pos_weight: Any = None,
        label_smoothing: float = 0.0,
        pred_channel_selector: Selector | None = None,
        gt_channel_selector: Selector | None = None,
        merge_unannotated: bool = False,
        reduction: str = 'mean',
        sync_statistics: bool = False,
        sync_in_eval: bool = False,
        process_group: Any = None,
    ) -> None: ...

class GeneralizedDiceLoss(TermLoss):
    r"""Generalised Dice loss.

    .. math:: 1 - \frac{2 \sum_c v_c\,TP_c + s}{\sum_c v_c (\sum p_c + \sum g_c) + s}
        = \frac{\sum_c v_c (FP_c + FN_c)}{\sum_c v_c (2\,TP_c + FP_c + FN_c) + s},
        \quad v_c = \left(\sum g_c\right)^{-2}

    in [0, 1]: 0 for a perfect prediction; 1 if nothing is hit and s is 0. There is one value for
    each sample, or one for the batch if it is pooled. A class that is absent gets the largest
    weight of the classes that are present, instead of an infinite one.

    Args:
        weight_type: "square" for the weights above, "simple" for their square roots, or "uniform"
            for 1.
        smooth: The smoothing s, at least 0, on the scale of the weighted sums; or a pair, as in
            `Overlap`.
        log: True for minus the logarithm of the score, as in `Overlap`.
        clip_tp: A lower bound on the true positives of a cell, as in `Overlap`.
        **region: The arguments of `RegionTerm`, for the mean over cells. `region_class_weights`
            multiply the weights v.

    Source: Sudre, Li, Vercauteren, Ourselin, Cardoso, "Generalised Dice overlap as a deep learning
    loss function for highly unbalanced segmentations" (2017).

    Example:
        >>> import torch
        >>> from segloss import GeneralizedDiceLoss
        >>> GeneralizedDiceLoss("multiclass")(torch.zeros(1, 2, 4), torch.tensor([[0, 1, 1, 0]]))
        tensor(0.5000)
    """

    def __init__(
        self,
        mode: str = 'binary',
        *,
        weight_type: str = 'square',
        smooth: float | Sequence[float] = 0.0,
        log: bool = False,
        clip_tp: float = 0.0,
        region_reduction: str = 'sample',
        region_classes: Sequence[int] | None = None,
        region_class_weights: Any = None,
        skip_absent_classes: bool = False,
        soft_labels: str = 'product',
        region_groups: str | Mapping[str, Sequence[int]] | None = None,
        components_key: str = 'gt_components',
        classes: Sequence[int] | None = None,
        from_logits: bool = True,
        ignore_index: int | Sequence[int] | None = None,
        class_weights: Any = None,
        pos_weight: Any = None,
        label_smoothing: float = 0.0,
        pred_channel_selector: Selector | None = None,
        gt_channel_selector: Selector | None = None,
        merge_unannotated: bool = False,
        reduction: str = 'mean',
        sync_statistics: bool = False,
        sync_in_eval: bool = False,
        process_group: Any = None,
    ) -> None: ...

class GeneralizedWassersteinDiceLoss(TermLoss):
    r"""Generalised Wasserstein Dice loss: mistaking a class for a similar one costs less.

    .. math:: 1 - \frac{2\,T + s}{2\,T + \sum_i w_i \delta_i + s},
        \quad T = \sum_i w_i v_{y_i} (1 - \delta_i),
        \quad \delta_i = \sum_c M_{y_i c}\,p_{ic}

    in [0, 1]: 0 for a perfect prediction; 1 if nothing is hit and s is 0. M has the distances
    between the classes, divided by the largest; :math:`\delta_i` is the Wasserstein distance of a
    pixel's probabilities from its class y. The weights v are 1 for the foreground and 0 for the
    background, class 0. There is one value for each sample, or one for the batch if it is pooled.
    With sigmoid, each channel has a background and a foreground, and a value of its own: by
    default, that of the Dice loss.

    Args:
        distances: M, (C, C), a row for each true class, with 0 on the diagonal. None: 1 between any
            two classes.
        weight_type: "foreground" for the weights above; "inverse_size" for
            :math:`v_c = 1 / (\sum w g_c + 1)`, which also weights the errors.
        smooth: The smoothing s, at least 0; or a pair, as in `Overlap`.
        log: True for minus the logarithm of the score, as in `Overlap`.
        clip_tp: A lower bound on T, at least 0.
        **region: The arguments of `RegionTerm`. `region_classes` are the true classes whose pixels
            count, and `region_class_weights` weight these pixels. "micro" and "sample_micro" are
            errors, because they would mix background and foreground. `soft_labels` changes nothing.

    Source: Fidon, Li, Garcia-Peraza-Herrera, Ekanayake, Kitchen, Ourselin, Vercauteren,
    "Generalised Wasserstein Dice score for imbalanced multi-class segmentation using holistic
    convolutional networks" (2017); for "inverse_size", Tilborghs et al., "Comparative study of deep
    learning methods for the automatic segmentation of lung, lesion and lesion type in CT scans of
    COVID-19 patients" (2020).

    Example:
        >>> import torch
        >>> from segloss import GeneralizedWassersteinDiceLoss
        >>> distances = [[0, 1, 1], [1, 0, 0.5], [1, 0.5, 0]]  # classes 1 and 2 are similar
        >>> loss = GeneralizedWassersteinDiceLoss("multiclass", distances=distances)
        >>> loss(torch.zeros(1, 3, 4), torch.tensor([[0, 1, 2, 0]]))
        tensor(0.5385)
    """

    def __init__(
        self,
        mode: str = 'binary',
        *,
        distances: Any = None,
        weight_type: str = 'foreground',
        smooth: float | Sequence[float] = 0.0,
        log: bool = False,
        clip_tp: float = 0.0,
        region_reduction: str = 'sample',
        region_classes: Sequence[int] | None = None,
        region_class_weights: Any = None,
        skip_absent_classes: bool = False,
        soft_labels: str = 'product',
        region_groups: str | Mapping[str, Sequence[int]] | None = None,
        components_key: str = 'gt_components',
        classes: Sequence[int] | None = None,
        from_logits: bool = True,
        ignore_index: int | Sequence[int] | None = None,
        class_weights: Any = None,
        pos_weight: Any = None,
        label_smoothing: float = 0.0,
        pred_channel_selector: Selector | None = None,
        gt_channel_selector: Selector | None = None,
        merge_unannotated: bool = False,
        reduction: str = 'mean',
        sync_statistics: bool = False,
        sync_in_eval: bool = False,
        process_group: Any = None,
    ) -> None: ...

class MCCLoss(TermLoss):
    r"""Matthews' correlation coefficient as a loss.

    .. math:: 1 - \frac{TP\,TN - FP\,FN}{\sqrt{(TP + FP)(TP + FN)(TN + FP)(TN + FN)}}

    in [0, 2]: 0 for a perfect prediction, 1 for an uninformative one, 2 for the inverse. The
    denominator is 0 if a class is absent, or covers all pixels. Then the loss is 0 without errors
    and 1 with errors, and has no gradient; `skip_absent_classes` leaves out absent classes.

    Args:
        eps: The number that is added to each of the four counts, at least 0.
        **region: The arguments of `RegionTerm`, for the mean over cells.

    With R the root and C the numerator, the loss is computed as
    :math:`S\,(TP\,TN\,(FP + FN) + FP\,FN\,(TP + TN)) / (R (R + |C|))`, where S is the sum of the
    counts, or as 2 minus this if C is negative. So near 0 and near 2 it is not a difference of
    nearly equal numbers.

    Source: Abhishek, Hamarneh, "Matthews correlation coefficient loss for deep convolutional
    networks" (2021).

    Example:
        >>> import torch
        >>> from segloss import MCCLoss
        >>> MCCLoss()(torch.zeros(1, 1, 4), torch.tensor([[0, 1, 1, 0]]))
        tensor(1.)
    """

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
        region_groups: str | Mapping[str, Sequence[int]] | None = None,
        components_key: str = 'gt_components',
        classes: Sequence[int] | None = None,
        from_logits: bool = True,
        ignore_index: int | Sequence[int] | None = None,
        class_weights: Any = None,
        pos_weight: Any = None,
        label_smoothing: float = 0.0,
        pred_channel_selector: Selector | None = None,
        gt_channel_selector: Selector | None = None,
        merge_unannotated: bool = False,
        reduction: str = 'mean',
        sync_statistics: bool = False,
        sync_in_eval: bool = False,
        process_group: Any = None,
    ) -> None: ...

class RegionSizeKLLoss(TermLoss):
    r"""Kullback-Leibler divergence between the true and the predicted shares of the classes.

    .. math:: \sum_c y_c \log \frac{y_c}{\hat y_c}, \quad y_c = \frac{\sum g_c}{\sum 1},
        \quad \hat y_c = \frac{\sum p_c}{\sum 1}

    in [0, inf): 0 for equal sizes, whatever the shapes, so combine it with cross-entropy. For
    softmax there is one value for each sample, the sum over its classes. To keep it at least 0 when
    only some classes are selected, :math:`\hat y_c - y_c` is added for each. For sigmoid there is
    one value for each channel, with its background as the second class.

    Args:
        **region: The arguments of `RegionTerm`, for the mean over cells. For softmax,
            `region_class_weights` weight the sum.

    Source: Liu, Dolz, Galdran, Kobbi, Ben Ayed, "Do we really need Dice? The hidden region-size
    biases of segmentation losses" (2022).

    Example:
        >>> import torch
        >>> from segloss import RegionSizeKLLoss
        >>> RegionSizeKLLoss("multiclass")(torch.zeros(1, 2, 4), torch.tensor([[0, 1, 0, 0]]))
        tensor(0.1308)
    """

    def __init__(
        self,
        mode: str = 'binary',
        *,
        region_reduction: str = 'sample',
        region_classes: Sequence[int] | None = None,
        region_class_weights: Any = None,
        skip_absent_classes: bool = False,
        soft_labels: str = 'product',
        region_groups: str | Mapping[str, Sequence[int]] | None = None,
        components_key: str = 'gt_components',
        classes: Sequence[int] | None = None,
        from_logits: bool = True,
        ignore_index: int | Sequence[int] | None = None,
        class_weights: Any = None,
        pos_weight: Any = None,
        label_smoothing: float = 0.0,
        pred_channel_selector: Selector | None = None,
        gt_channel_selector: Selector | None = None,
        merge_unannotated: bool = False,
        reduction: str = 'mean',
        sync_statistics: bool = False,
        sync_in_eval: bool = False,
        process_group: Any = None,
    ) -> None: ...

class RegionSizeL1Loss(TermLoss):
    r"""Absolute difference of predicted and true size, as shares of the image.

    .. math:: \left| \frac{\sum p}{\sum 1} - \frac{\sum g}{\sum 1} \right|

    in [0, 1]: 0 for equal sizes, whatever the shapes, so combine it with cross-entropy.

    Args:
        **region: The arguments of `RegionTerm`, for the mean over cells.

    Source: Liu, Dolz, Galdran, Kobbi, Ben Ayed, "Do we really need Dice? The hidden region-size
    biases of segmentation losses" (2022).

    Example:
        >>> import torch
        >>> from segloss import RegionSizeL1Loss
        >>> RegionSizeL1Loss()(torch.zeros(1, 1, 4), torch.tensor([[0, 1, 0, 0]]))
        tensor(0.2500)
    """

    def __init__(
        self,
        mode: str = 'binary',
        *,
        region_reduction: str = 'sample',
        region_classes: Sequence[int] | None = None,
        region_class_weights: Any = None,
        skip_absent_classes: bool = False,
        soft_labels: str = 'product',
        region_groups: str | Mapping[str, Sequence[int]] | None = None,
        components_key: str = 'gt_components',
        classes: Sequence[int] | None = None,
        from_logits: bool = True,
        ignore_index: int | Sequence[int] | None = None,
        class_weights: Any = None,
        pos_weight: Any = None,
        label_smoothing: float = 0.0,
        pred_channel_selector: Selector | None = None,
        gt_channel_selector: Selector | None = None,
        merge_unannotated: bool = False,
        reduction: str = 'mean',
        sync_statistics: bool = False,
        sync_in_eval: bool = False,
        process_group: Any = None,
    ) -> None: ...

class UnifiedFocalLoss(TermLoss):
    r"""Unified focal loss, in its asymmetric or its symmetric form.

    .. math:: \lambda\,\mathrm{AsymmetricFocal} + (1 - \lambda)\,\mathrm{AsymmetricFocalTversky}

    in [0, inf): 0 for a perfect prediction. It is the sum of these two terms, which are named
    "unified_focal_pixels" and "unified_focal_tversky".

    Args:
        weight: Lambda, in [0, 1].
        delta: The weight of foreground pixels, and of false negatives, in [0, 1].
        gamma: The exponent of the first term, and the number that the second subtracts from its
            exponent of 1, in [0, 1). Larger values suppress background pixels more, and enhance
            the foreground's regions more.
        symmetric: True for `SymmetricFocal` and `SymmetricFocalTversky`, which treat background and
            foreground alike, except for their weights.
        **region: The arguments of `RegionTerm`, for the mean over the cells of the second term.

    Source: Yeung, Sala, Schonlieb, Rundo, "Unified focal loss: generalising Dice and
    cross-entropy-based losses to handle class imbalanced medical image segmentation" (2022).

    Example:
        >>> import torch
        >>> from segloss import UnifiedFocalLoss
        >>> UnifiedFocalLoss()(torch.zeros(1, 1, 4), torch.tensor([[0, 1, 1, 0]]))
        tensor(0.4548)
    """

    def __init__(
        self,
        mode: str = 'binary',
        *,
        weight: float = 0.5,
        delta: float = 0.6,
        gamma: float = 0.5,
        symmetric: bool = False,
        region_reduction: str = 'sample',
        region_classes: Sequence[int] | None = None,
        region_class_weights: Any = None,
        skip_absent_classes: bool = False,
        soft_labels: str = 'product',
        region_groups: str | Mapping[str, Sequence[int]] | None = None,
        components_key: str = 'gt_components',
        classes: Sequence[int] | None = None,
        from_logits: bool = True,
        ignore_index: int | Sequence[int] | None = None,
        class_weights: Any = None,
        pos_weight: Any = None,
        label_smoothing: float = 0.0,
        pred_channel_selector: Selector | None = None,
        gt_channel_selector: Selector | None = None,
        merge_unannotated: bool = False,
        reduction: str = 'mean',
        sync_statistics: bool = False,
        sync_in_eval: bool = False,
        process_group: Any = None,
    ) -> None: ...

class BoundaryLoss(TermLoss):
    r"""Boundary loss: the mean of the probability times a signed distance to the boundary.

    .. math:: \frac{\sum w\,p\,d}{\sum w}

    where d is negative inside the true region. So the loss of a good prediction is negative too:
    its minimum is the sum of w d over the true region divided by the sum of w. A class that is
    absent has a map of 0, and adds nothing to the loss. Use the term with another region term, and
    let its coefficient grow over the epochs: it then moves the boundary.

    Args:
        map_key: The key of the map in `gt_batch`, (N, C, *spatial), as
            `segloss.maps.SignedDistanceMap` computes it.
        **region: The arguments of `RegionTerm`, for the mean over cells.

    Source: Kervadec, Bouchtiba, Desrosiers, Granger, Dolz, Ben Ayed, "Boundary loss for highly
    unbalanced segmentation" (2019).

    Example:
        >>> import torch
        >>> from segloss import BoundaryLoss
        >>> distances = torch.tensor([[[1.0, 0.0, -1.0, 0.0]]])
        >>> loss = BoundaryLoss(map_key="distances")
        >>> logits = torch.tensor([[[-40.0, 40.0, 40.0, 40.0]]])
        >>> loss(logits, torch.tensor([[0, 1, 1, 1]]), maps={"distances": distances})
        tensor(-0.2500)
    """

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
        region_groups: str | Mapping[str, Sequence[int]] | None = None,
        components_key: str = 'gt_components',
        classes: Sequence[int] | None = None,
        from_logits: bool = True,
        ignore_index: int | Sequence[int] | None = None,
        class_weights: Any = None,
        pos_weight: Any = None,
        label_smoothing: float = 0.0,
        pred_channel_selector: Selector | None = None,
        gt_channel_selector: Selector | None = None,
        merge_unannotated: bool = False,
        reduction: str = 'mean',
        sync_statistics: bool = False,
        sync_in_eval: bool = False,
        process_group: Any = None,
    ) -> None: ...

class SkeletonRecallLoss(TermLoss):
    r"""Skeleton recall loss: the part of the true region's skeleton that is not predicted.

    .. math:: 1 - \frac{\sum w\,p\,k + s}{\sum w\,k + s} = \frac{\sum w (1 - p) k}{\sum w\,k + s}

    in [0, 1]: 0 if the whole skeleton k is predicted, or if there is none. It keeps thin structures
    connected; combine it with a loss that penalises false positives.

    Args:
        map_key: The key of the skeletons in `gt_batch`, (N, C, *spatial), as
            `segloss.maps.SkeletonMap` computes them.
        smooth: The smoothing s, at least 0.
        **region: The arguments of `RegionTerm`, for the mean over cells.

    Source: Kirchhoff, Rokuss, Roy, Kovacs, Ulrich, Wald, Zenk, Vollmuth, Kleesiek, Isensee,
    Maier-Hein, "Skeleton recall loss for connectivity conserving and resource efficient
    segmentation of thin tubular structures" (2024).

    Example:
        >>> import torch
        >>> from segloss import SkeletonRecallLoss
        >>> skeleton = torch.tensor([[[0.0, 1.0, 1.0, 0.0]]])
        >>> loss = SkeletonRecallLoss(map_key="skeleton")
        >>> logits = torch.tensor([[[0.0, 40.0, 0.0, 0.0]]])
        >>> loss(logits, torch.tensor([[0, 1, 1, 1]]), maps={"skeleton": skeleton})
        tensor(0.2500)
    """

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
        region_groups: str | Mapping[str, Sequence[int]] | None = None,
        components_key: str = 'gt_components',
        classes: Sequence[int] | None = None,
        from_logits: bool = True,
        ignore_index: int | Sequence[int] | None = None,
        class_weights: Any = None,
        pos_weight: Any = None,
        label_smoothing: float = 0.0,
        pred_channel_selector: Selector | None = None,
        gt_channel_selector: Selector | None = None,
        merge_unannotated: bool = False,
        reduction: str = 'mean',
        sync_statistics: bool = False,
        sync_in_eval: bool = False,
        process_group: Any = None,
    ) -> None: ...
