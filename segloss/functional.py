"""The losses as plain functions of predictions and targets.

Each takes what `soft_confusion` takes, and gives the mean, or with `reduction="none"` the loss of
each sample and class.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor

from segloss.arguments import check_choice
from segloss.confusion import soft_confusion
from segloss.precision import arithmetic_dtype
from segloss.terms import (
    Compound,
    CrossEntropy,
    Dice,
    FocalTversky,
    Jaccard,
    RegionOptions,
    RegionTerm,
    Tversky,
    Weighted,
    seg_terms,
)

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = [
    "binary_cross_entropy",
    "cross_entropy",
    "dice_loss",
    "focal_tversky_loss",
    "jaccard_loss",
    "seg_loss",
    "tversky_loss",
]


class RegionLossOptions(RegionOptions, total=False):
    """What all region losses take, beside the options of `RegionTerm`.

    Args:
        activation: "sigmoid", "softmax", or None for what `n_classes` implies.
        pixel_weights: Weights of at least 0, (N, 1, *spatial); for sigmoid also (N, C, *spatial).
        ignore_index: The target's value that marks pixels to be left out.
        reduction: "mean", or "none" for the loss of each cell of samples and classes.
    """

    activation: str | None
    pixel_weights: Tensor | None
    ignore_index: int | None
    reduction: str


def dice_loss(
    pred: Tensor,
    target: Tensor,
    *,
    n_classes: int = 2,
    from_logits: bool = True,
    smooth: float = 1.0,
    **options: Unpack[RegionLossOptions],
) -> Tensor:
    r"""Dice loss, :math:`1 - (2\,TP + s) / (\sum p + \sum g + s)`, in [0, 1).

    Args:
        pred: Logits or probabilities, (N, C, *spatial).
        target: Dense (N, C, *spatial), or a label map (N, *spatial) or (N, 1, *spatial).
        n_classes: The number of classes; 2 means sigmoid channels.
        from_logits: Whether `pred` holds logits; probabilities otherwise.
        smooth: The smoothing s, at least 0.
        **options: See `RegionLossOptions` and `RegionTerm`.

    Returns:
        A scalar; with `reduction="none"`, (N, C), 0 where a cell is left out.

    Raises:
        TypeError, ValueError: An argument is wrong; see `soft_confusion`.

    Source: Milletari, Navab, Ahmadi, "V-Net" (2016).

    Example:
        >>> import torch
        >>> dice_loss(torch.tensor([[[40., 40., -40., -40.]]]), torch.tensor([[[1, 0, 1, 0]]]))
        tensor(0.4000)
    """
    return _region_loss(Dice, {"smooth": smooth}, pred, target, n_classes, from_logits, **options)


def jaccard_loss(
    pred: Tensor,
    target: Tensor,
    *,
    n_classes: int = 2,
    from_logits: bool = True,
    smooth: float = 0.0,
    **options: Unpack[RegionLossOptions],
) -> Tensor:
    r"""Jaccard loss, :math:`1 - (TP + s) / (TP + FP + FN + s)`, in [0, 1].

    Args:
        pred: Logits or probabilities, (N, C, *spatial).
        target: Dense (N, C, *spatial), or a label map (N, *spatial) or (N, 1, *spatial).
        n_classes: The number of classes; 2 means sigmoid channels.
        from_logits: Whether `pred` holds logits; probabilities otherwise.
        smooth: The smoothing s, at least 0.
        **options: See `RegionLossOptions` and `RegionTerm`.

    Returns:
        A scalar; with `reduction="none"`, (N, C), 0 where a cell is left out.

    Raises:
        TypeError, ValueError: An argument is wrong; see `soft_confusion`.

    Source: Rahman, Wang, "Optimizing intersection-over-union in deep neural networks for image
    segmentation" (2016).

    Example:
        >>> import torch
        >>> jaccard_loss(torch.tensor([[[40., 40., -40., -40.]]]), torch.tensor([[[1, 0, 1, 0]]]))
        tensor(0.6667)
    """
    return _region_loss(
        Jaccard, {"smooth": smooth}, pred, target, n_classes, from_logits, **options
    )


def tversky_loss(
    pred: Tensor,
    target: Tensor,
    *,
    n_classes: int = 2,
    from_logits: bool = True,
    alpha: float = 0.3,
    beta: float = 0.7,
    **options: Unpack[RegionLossOptions],
) -> Tensor:
    r"""Tversky loss, :math:`1 - TP / (TP + \alpha FP + \beta FN)`, in [0, 1].

    Args:
        pred: Logits or probabilities, (N, C, *spatial).
        target: Dense (N, C, *spatial), or a label map (N, *spatial) or (N, 1, *spatial).
        n_classes: The number of classes; 2 means sigmoid channels.
        from_logits: Whether `pred` holds logits; probabilities otherwise.
        alpha: The weight of false positives.
        beta: The weight of false negatives.
        **options: See `RegionLossOptions` and `RegionTerm`.

    Returns:
        A scalar; with `reduction="none"`, (N, C), 0 where a cell is left out.

    Raises:
        TypeError, ValueError: An argument is wrong; see `soft_confusion`.

    Source: Salehi, Erdogmus, Gholipour, "Tversky loss function for image segmentation using 3D
    fully convolutional deep networks" (2017).

    Example:
        >>> import torch
        >>> tversky_loss(torch.tensor([[[40., 40., -40., -40.]]]), torch.tensor([[[1, 1, 1, 0]]]))
        tensor(0.2593)
    """
    parameters = {"alpha": alpha, "beta": beta}
    return _region_loss(Tversky, parameters, pred, target, n_classes, from_logits, **options)


def focal_tversky_loss(
    pred: Tensor,
    target: Tensor,
    *,
    n_classes: int = 2,
    from_logits: bool = True,
    alpha: float = 0.3,
    beta: float = 0.7,
    gamma: float = 0.75,
    **options: Unpack[RegionLossOptions],
) -> Tensor:
    r"""Focal Tversky loss, :math:`(1 - TP / (TP + \alpha FP + \beta FN))^\gamma`, in [0, 1].

    Args:
        pred: Logits or probabilities, (N, C, *spatial).
        target: Dense (N, C, *spatial), or a label map (N, *spatial) or (N, 1, *spatial).
        n_classes: The number of classes; 2 means sigmoid channels.
        from_logits: Whether `pred` holds logits; probabilities otherwise.
        alpha: The weight of false positives.
        beta: The weight of false negatives.
        gamma: The exponent, above 0.
        **options: See `RegionLossOptions` and `RegionTerm`.

    Returns:
        A scalar; with `reduction="none"`, (N, C), 0 where a cell is left out.

    Raises:
        TypeError, ValueError: An argument is wrong; see `soft_confusion`.

    Source: Abraham, Khan, "A novel focal Tversky loss function with improved attention U-Net for
    lesion segmentation" (2019).

    Example:
        >>> import torch
        >>> logits = torch.tensor([[[40., 40., -40., -40.]]])
        >>> focal_tversky_loss(logits, torch.tensor([[[1, 1, 1, 0]]]))
        tensor(0.3633)
    """
    parameters = {"alpha": alpha, "beta": beta, "gamma": gamma}
    return _region_loss(FocalTversky, parameters, pred, target, n_classes, from_logits, **options)


def cross_entropy(
    pred: Tensor,
    target: Tensor,
    *,
    n_classes: int | None = None,
    from_logits: bool = True,
    pixel_weights: Tensor | None = None,
    ignore_index: int | None = None,
    class_weights: Any = None,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
) -> Tensor:
    r"""Softmax cross-entropy, :math:`-\sum w \log p_y / \sum w`, in [0, inf).

    Class weights and label smoothing mean what they mean in `torch.nn.functional.cross_entropy`.

    Args:
        pred: Logits or probabilities, (N, C, *spatial), one channel per class.
        target: A label map (N, *spatial) or (N, 1, *spatial), or dense (N, C, *spatial).
        n_classes: The number of classes; None: that of the channels.
        from_logits: Whether `pred` holds logits; probabilities otherwise.
        pixel_weights: Weights of at least 0, (N, 1, *spatial).
        ignore_index: The target's value that marks pixels to be left out.
        class_weights: Weights of the classes, (C,).
        label_smoothing: Smoothing of the targets, in [0, 1].
        reduction: "mean" over the pixels of the batch, or "none" for that of each sample.

    Returns:
        A scalar; with `reduction="none"`, (N, 1).

    Raises:
        TypeError, ValueError: An argument is wrong; see `soft_confusion`.

    Example:
        >>> import torch
        >>> cross_entropy(torch.zeros(1, 3, 4), torch.tensor([[0, 1, 2, 255]]), ignore_index=255)
        tensor(1.0986)
    """
    return _loss(
        Compound([Weighted(1.0, CrossEntropy())]),
        pred,
        target,
        reduction,
        n_classes=_channels(pred) if n_classes is None else n_classes,
        from_logits=from_logits,
        activation="softmax",
        pixel_weights=pixel_weights,
        ignore_index=ignore_index,
        class_weights=class_weights,
        label_smoothing=label_smoothing,
    )


def binary_cross_entropy(
    pred: Tensor,
    target: Tensor,
    *,
    from_logits: bool = True,
    pixel_weights: Tensor | None = None,
    ignore_index: int | None = None,
    class_weights: Any = None,
    pos_weight: Any = None,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
) -> Tensor:
    r"""Binary cross-entropy of independent channels, a weighted mean over pixels and channels.

    .. math:: -\frac{\sum w\,(q\,h \log p + (1 - h) \log(1 - p))}{\sum w}

    with `pos_weight` q and smoothed targets :math:`h = g (1 - e) + e / 2`. The weights' sum is the
    denominator; `torch.nn.functional.binary_cross_entropy` divides by the number of elements.

    Args:
        pred: Logits or probabilities, (N, C, *spatial).
        target: Dense (N, C, *spatial); for one channel also a mask (N, *spatial).
        from_logits: Whether `pred` holds logits; probabilities otherwise.
        pixel_weights: Weights of at least 0, (N, 1 or C, *spatial).
        ignore_index: The target's value that marks elements to be left out.
        class_weights: Weights of the channels, (C,).
        pos_weight: Weights of the positive class, a number or (C,).
        label_smoothing: Smoothing e of the targets, in [0, 1].
        reduction: "mean", or "none" for the mean of each sample and channel.

    Returns:
        A scalar; with `reduction="none"`, (N, C).

    Raises:
        TypeError, ValueError: An argument is wrong; see `soft_confusion`.

    Example:
        >>> import torch
        >>> binary_cross_entropy(torch.zeros(1, 1, 4), torch.tensor([[0, 1, 1, 0]]))
        tensor(0.6931)
    """
    return _loss(
        Compound([Weighted(1.0, CrossEntropy())]),
        pred,
        target,
        reduction,
        from_logits=from_logits,
        activation="sigmoid",
        pixel_weights=pixel_weights,
        ignore_index=ignore_index,
        class_weights=class_weights,
        pos_weight=pos_weight,
        label_smoothing=label_smoothing,
    )


def seg_loss(
    pred: Tensor,
    target: Tensor,
    *,
    n_classes: int = 2,
    from_logits: bool = True,
    bce_coef: float = 0.5,
    dice_coef: float = 0.5,
    tversky_focal_coef: float = 0.0,
    smooth: float = 1.0,
    tversky_alpha: float = 0.3,
    tversky_beta: float = 0.7,
    tversky_gamma: float = 0.75,
    extra_terms: Mapping[Any, float] | None = None,
    class_weights: Any = None,
    pos_weight: Any = None,
    label_smoothing: float = 0.0,
    activation: str | None = None,
    pixel_weights: Tensor | None = None,
    ignore_index: int | None = None,
    reduction: str = "mean",
    **region: Unpack[RegionOptions],
) -> Tensor:
    """The compound loss: cross-entropy, Dice and focal Tversky, weighted by their coefficients.

    Arguments are those of `segloss.SegLoss`, with `label_smoothing` for its `smooth_factor` and
    `pixel_weights` for what it takes from the batch.

    Args:
        pred: Logits or probabilities, (N, C, *spatial).
        target: Dense (N, C, *spatial), or a label map (N, *spatial) or (N, 1, *spatial).
        n_classes: The number of classes; 2 means sigmoid channels.
        from_logits: Whether `pred` holds logits; probabilities otherwise.
        bce_coef: Coefficient of the (binary) cross-entropy.
        dice_coef: Coefficient of the Dice loss.
        tversky_focal_coef: Coefficient of the focal Tversky loss.
        smooth: Smoothing of the Dice loss.
        tversky_alpha: Weight of false positives.
        tversky_beta: Weight of false negatives.
        tversky_gamma: Exponent of the focal Tversky loss.
        extra_terms: More terms, or their names, with coefficients.
        class_weights: Weights of the classes in the cross-entropy.
        pos_weight: Weights of the positive class in binary cross-entropy.
        label_smoothing: Smoothing of the cross-entropy's targets, in [0, 1].
        activation: "sigmoid", "softmax", or None for what `n_classes` implies.
        pixel_weights: Weights of at least 0, (N, 1, *spatial); for sigmoid also (N, C, *spatial).
        ignore_index: The target's value that marks pixels to be left out.
        reduction: "mean", or "none" for the sum of the terms' cells.
        **region: How the region terms are averaged; see `segloss.terms.RegionTerm`.

    Returns:
        A scalar; with `reduction="none"`, (N, C).

    Raises:
        TypeError, ValueError: An argument is wrong; see `soft_confusion`.

    Example:
        >>> import torch
        >>> seg_loss(torch.zeros(1, 1, 4), torch.tensor([[0, 1, 1, 0]]))
        tensor(0.5466)
    """
    compound = seg_terms(
        bce_coef=bce_coef,
        dice_coef=dice_coef,
        tversky_focal_coef=tversky_focal_coef,
        smooth=smooth,
        tversky_alpha=tversky_alpha,
        tversky_beta=tversky_beta,
        tversky_gamma=tversky_gamma,
        extra_terms=extra_terms,
        **region,
    )
    return _loss(
        compound,
        pred,
        target,
        reduction,
        n_classes=n_classes,
        from_logits=from_logits,
        activation=activation,
        pixel_weights=pixel_weights,
        ignore_index=ignore_index,
        class_weights=class_weights,
        pos_weight=pos_weight,
        label_smoothing=label_smoothing,
    )


def _region_loss(
    term_type: type[RegionTerm],
    parameters: Mapping[str, float],
    pred: Tensor,
    target: Tensor,
    n_classes: int,
    from_logits: bool,
    *,
    activation: str | None = None,
    pixel_weights: Tensor | None = None,
    ignore_index: int | None = None,
    reduction: str = "mean",
    **region: Unpack[RegionOptions],
) -> Tensor:
    return _loss(
        Compound([Weighted(1.0, term_type(**parameters, **region))]),
        pred,
        target,
        reduction,
        n_classes=n_classes,
        from_logits=from_logits,
        activation=activation,
        pixel_weights=pixel_weights,
        ignore_index=ignore_index,
    )


def _loss(
    compound: Compound,
    pred: Tensor,
    target: Tensor,
    reduction: str,
    **reading: Any,
) -> Tensor:
    """The compound of the terms, as a mean or for each cell, rounded once at the end."""
    check_choice("reduction", reduction, ("mean", "none"))
    if reduction == "none":
        _check_cells(compound)
    confusion = soft_confusion(pred, target, sums=compound.sums, **reading)
    loss = compound.cells(confusion) if reduction == "none" else compound.value(confusion)
    return loss.to(arithmetic_dtype(pred.dtype))


def _check_cells(compound: Compound) -> None:
    """Raises ValueError if the terms have no cells of samples and classes to hand out."""
    for term in compound.terms.values():
        if not isinstance(term, RegionTerm):
            continue
        if term.region_reduction != "sample" or term.region_class_weights is not None:
            raise ValueError(
                "reduction='none' gives the loss of each sample and class, before any mean: leave "
                "region_reduction='sample' and region_class_weights=None."
            )
        if term.region_classes is not None and len(compound.terms) > 1:
            raise ValueError(
                "reduction='none' adds up terms of the same classes: leave region_classes=None, "
                "and select from the result."
            )


def _channels(pred: Any) -> int:
    """The number of channels, or 2 where there are none: `as_pixels` then says what is wrong."""
    return pred.shape[1] if isinstance(pred, Tensor) and pred.ndim > 1 else 2
