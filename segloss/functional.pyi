# Written by scripts/term_stubs.py, from the table of terms.

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from segloss.terms import Mixture, Term

__all__ = [
    "binary_cross_entropy",
    "cross_entropy",
    "seg_loss",
    "focal_loss",
    "poly1_loss",
    "balanced_cross_entropy_loss",
    "generalized_cross_entropy_loss",
    "symmetric_cross_entropy_loss",
    "dice_loss",
    "f_beta_loss",
    "focal_tversky_loss",
    "jaccard_loss",
    "log_cosh_dice_loss",
    "log_dice_loss",
    "squared_dice_loss",
    "tversky_loss",
    "generalized_dice_loss",
    "generalized_wasserstein_dice_loss",
    "mcc_loss",
    "region_size_kl_loss",
    "region_size_l1_loss",
    "unified_focal_loss",
    "boundary_loss",
    "skeleton_recall_loss",
]

TERM_FUNCTIONS: dict[str, Callable[..., Tensor]]

def binary_cross_entropy(
    pred: Tensor,
    target: Tensor,
    *,
    from_logits: bool = True,
    pixel_weights: Tensor | None = None,
    sample_weights: Tensor | None = None,
    ignore_index: int | Sequence[int] | None = None,
    class_weights: Any = None,
    pos_weight: Any = None,
    label_smoothing: float = 0.0,
    reduction: str = 'mean',
) -> Tensor:
    r"""Computes the binary cross-entropy, a weighted mean over pixels and channels.

    .. math:: -\frac{\sum w\,(q\,h \log p + (1 - h) \log(1 - p))}{\sum w}

    with `pos_weight` q and smoothed targets :math:`h = g (1 - e) + e / 2`. Channels are
    independent. The denominator is the sum of the weights, while
    `torch.nn.functional.binary_cross_entropy` divides by the number of elements.

    Args:
        pred: Logits or probabilities, (N, C, *spatial).
        target: Dense (N, C, *spatial); for one channel also a mask (N, *spatial).
        from_logits: True if `pred` holds logits, False if it holds probabilities.
        pixel_weights: Weights of at least 0, (N, 1 or C, *spatial).
        sample_weights: Weights of the samples, at least 0, (N,); see `segloss.CompoundLoss`.
        ignore_index: The value in the target that marks elements to leave out, or a list of
            several.
        class_weights: Weights of the channels, (C,).
        pos_weight: Weights of the positive class, a number or (C,).
        label_smoothing: Smoothing e of the targets, in [0, 1].
        reduction: "mean"; "sum", not divided; or "none" for the loss of each pixel and channel,
            times its weight: 0 where it is left out.

    Returns:
        A scalar; with `reduction="none"`, (N, C, *spatial).

    Raises:
        TypeError, ValueError: An argument is wrong; see `soft_confusion`.

    Example:
        >>> import torch
        >>> binary_cross_entropy(torch.zeros(1, 1, 4), torch.tensor([[0, 1, 1, 0]]))
        tensor(0.6931)
    """
    ...

def cross_entropy(
    pred: Tensor,
    target: Tensor,
    *,
    n_classes: int | None = None,
    from_logits: bool = True,
    pixel_weights: Tensor | None = None,
    sample_weights: Tensor | None = None,
    ignore_index: int | Sequence[int] | None = None,
    class_weights: Any = None,
    label_smoothing: float = 0.0,
    reduction: str = 'mean',
) -> Tensor:
    r"""Computes the softmax cross-entropy, :math:`-\sum w \log p_y / \sum w`, in [0, inf).

    Class weights and label smoothing work as in `torch.nn.functional.cross_entropy`.

    Args:
        pred: Logits or probabilities, (N, C, *spatial), one channel per class.
        target: A label map (N, *spatial) or (N, 1, *spatial), or dense (N, C, *spatial).
        n_classes: The number of classes; None: the number of channels.
        from_logits: True if `pred` holds logits, False if it holds probabilities.
        pixel_weights: Weights of at least 0, (N, 1, *spatial).
        sample_weights: Weights of the samples, at least 0, (N,); see `segloss.CompoundLoss`.
        ignore_index: The value in the target that marks pixels to leave out, or a list of several.
        class_weights: Weights of the classes, (C,).
        label_smoothing: Smoothing of the targets, in [0, 1].
        reduction: "mean" over the pixels of the batch; "sum" over them, not divided; or "none" for
            the loss of each pixel, times its weight: 0 where it is left out.

    Returns:
        A scalar; with `reduction="none"`, (N, *spatial).

    Raises:
        TypeError, ValueError: An argument is wrong; see `soft_confusion`.

    Example:
        >>> import torch
        >>> cross_entropy(torch.zeros(1, 3, 4), torch.tensor([[0, 1, 2, 255]]), ignore_index=255)
        tensor(1.0986)
    """
    ...

def seg_loss(
    pred: Tensor,
    target: Tensor,
    *,
    n_classes: int = 2,
    from_logits: bool = True,
    bce_coef: float = 0.5,
    dice_coef: float = 0.5,
    tversky_focal_coef: float = 0.0,
    smooth: float | Sequence[float] = 1.0,
    tversky_alpha: float = 0.3,
    tversky_beta: float = 0.7,
    tversky_gamma: float = 0.75,
    extra_terms: Mapping[Any, float] | None = None,
    class_weights: Any = None,
    pos_weight: Any = None,
    label_smoothing: float = 0.0,
    activation: str | None = None,
    pixel_weights: Tensor | None = None,
    sample_weights: Tensor | None = None,
    ignore_index: int | Sequence[int] | None = None,
    reduction: str = 'mean',
    maps: Mapping[str, Tensor] | None = None,
    terms: Mixture | Term | Mapping[Any, Any] | None = None,
    region_reduction: str = 'sample',
    region_classes: Sequence[int] | None = None,
    region_class_weights: Any = None,
    skip_absent_classes: bool = False,
    soft_labels: str = 'product',
    region_groups: str | Mapping[str, Sequence[int]] | None = None,
    components_key: str = 'gt_components',
) -> Tensor:
    r"""Computes the compound loss: cross-entropy, Dice and focal Tversky with coefficients.

    The arguments are the same as for `segloss.SegLoss`, except that `label_smoothing` replaces its
    `smooth_factor`, and `pixel_weights` the weights in its batch.

    Args:
        pred: Logits or probabilities, (N, C, *spatial).
        target: Dense (N, C, *spatial), or a label map (N, *spatial) or (N, 1, *spatial).
        n_classes: The number of classes; 2 means sigmoid channels.
        from_logits: True if `pred` holds logits, False if it holds probabilities.
        bce_coef: Coefficient of the (binary) cross-entropy.
        dice_coef: Coefficient of the Dice loss.
        tversky_focal_coef: Coefficient of the focal Tversky loss.
        smooth: Smoothing of the Dice loss; or two numbers, of its numerator and denominator.
        tversky_alpha: Weight of false positives.
        tversky_beta: Weight of false negatives.
        tversky_gamma: Exponent of the focal Tversky loss.
        extra_terms: More terms, or their names, with coefficients.
        class_weights: Weights of the classes in the cross-entropy.
        pos_weight: Weights of the positive class in binary cross-entropy.
        label_smoothing: Smoothing of the cross-entropy's targets, in [0, 1].
        activation: "sigmoid" or "softmax"; None: the choice that `n_classes` implies.
        pixel_weights: Weights of at least 0, (N, 1, *spatial); for sigmoid also (N, C, *spatial).
        sample_weights: Weights of the samples, at least 0, (N,); see `segloss.CompoundLoss`.
        ignore_index: The value in the target that marks pixels to leave out, or a list of several.
        reduction: "mean", "sum" or "none"; see `segloss.CompoundLoss`.
        maps: The maps that the terms need, by name, each (N, C, *spatial).
        terms: The whole mixture. With it, the coefficients, parameters of terms, `extra_terms` and
            all arguments below must keep their defaults; see `segloss.SegLoss`.
        region_reduction: "sample", "batch", "micro" or "sample_micro".
            `segloss.terms.RegionTerm` explains this argument and those below.
        region_classes: The classes that count in the region terms; None: all.
        region_class_weights: Their weights in the mean over classes.
        skip_absent_classes: True to leave out classes that are absent from the target.
        soft_labels: "product" or "metric".
        region_groups: "components" for a cell of each connected component; a mapping of names to
            lists of classes for a cell of each of these groups; None: of each class.
        components_key: The name of the map of components in `maps`, (N, C, *spatial).

    Returns:
        A scalar; with `reduction="none"`, (N, C), or the losses of pixels.

    Raises:
        TypeError, ValueError: An argument is wrong; see `soft_confusion`.

    Example:
        >>> import torch
        >>> seg_loss(torch.zeros(1, 1, 4), torch.tensor([[0, 1, 1, 0]]))
        tensor(0.5466)
    """
    ...

def focal_loss(
    pred: Tensor,
    target: Tensor,
    *,
    n_classes: int = 2,
    from_logits: bool = True,
    activation: str | None = None,
    pixel_weights: Tensor | None = None,
    sample_weights: Tensor | None = None,
    ignore_index: int | Sequence[int] | None = None,
    maps: Mapping[str, Tensor] | None = None,
    reduction: str = 'mean',
    gamma: float = 2.0,
    alpha: float | Sequence[float] | Sequence[Sequence[float]] | None = None,
    region_classes: Sequence[int] | None = None,
    normalize: str = 'pixels',
    soft_targets: str = 'expectation',
) -> Tensor:
    r"""Focal loss: cross-entropy in which well-predicted pixels count less.

    Args:
        pred: Logits or probabilities, (N, C, *spatial).
        target: Dense (N, C, *spatial), or a label map (N, *spatial) or (N, 1, *spatial).
        n_classes: The number of classes; 2 means sigmoid channels unless `activation` is given.
        from_logits: True if `pred` holds logits, False if it holds probabilities.
        activation: "sigmoid" or "softmax"; None: the choice that `n_classes` implies.
        pixel_weights: Weights of at least 0, (N, 1, *spatial); for sigmoid also (N, C, *spatial).
        sample_weights: Weights of the samples, at least 0, (N,); see `segloss.CompoundLoss`.
        ignore_index: The value in the target that marks pixels to leave out, or a list of several.
        maps: The maps that the term needs, by name, each (N, C, *spatial).
        reduction: "mean", "sum", or "none" for the loss of each pixel or cell.
        **parameters: The parameters of `segloss.terms.Focal`.

    Returns:
        A scalar; with `reduction="none"`, the loss of each cell, a (sample, class) pair, (N, C),
        or (N, 1) if the term does not tell classes apart; for a mean over pixels, the loss of each
        pixel, (N, *spatial), or (N, C, *spatial) with sigmoid. Anything left out is 0.

    Raises:
        TypeError, ValueError: An argument is wrong; see `segloss.soft_confusion`.
    """
    ...

def poly1_loss(
    pred: Tensor,
    target: Tensor,
    *,
    n_classes: int = 2,
    from_logits: bool = True,
    activation: str | None = None,
    pixel_weights: Tensor | None = None,
    sample_weights: Tensor | None = None,
    ignore_index: int | Sequence[int] | None = None,
    maps: Mapping[str, Tensor] | None = None,
    reduction: str = 'mean',
    epsilon: float = 1.0,
) -> Tensor:
    r"""Poly-1 loss: cross-entropy with a changed weight of the first term of its series.

    Args:
        pred: Logits or probabilities, (N, C, *spatial).
        target: Dense (N, C, *spatial), or a label map (N, *spatial) or (N, 1, *spatial).
        n_classes: The number of classes; 2 means sigmoid channels unless `activation` is given.
        from_logits: True if `pred` holds logits, False if it holds probabilities.
        activation: "sigmoid" or "softmax"; None: the choice that `n_classes` implies.
        pixel_weights: Weights of at least 0, (N, 1, *spatial); for sigmoid also (N, C, *spatial).
        sample_weights: Weights of the samples, at least 0, (N,); see `segloss.CompoundLoss`.
        ignore_index: The value in the target that marks pixels to leave out, or a list of several.
        maps: The maps that the term needs, by name, each (N, C, *spatial).
        reduction: "mean", "sum", or "none" for the loss of each pixel or cell.
        **parameters: The parameters of `segloss.terms.Poly1`.

    Returns:
        A scalar; with `reduction="none"`, the loss of each cell, a (sample, class) pair, (N, C),
        or (N, 1) if the term does not tell classes apart; for a mean over pixels, the loss of each
        pixel, (N, *spatial), or (N, C, *spatial) with sigmoid. Anything left out is 0.

    Raises:
        TypeError, ValueError: An argument is wrong; see `segloss.soft_confusion`.
    """
    ...

def balanced_cross_entropy_loss(
    pred: Tensor,
    target: Tensor,
    *,
    n_classes: int = 2,
    from_logits: bool = True,
    activation: str | None = None,
    pixel_weights: Tensor | None = None,
    sample_weights: Tensor | None = None,
    ignore_index: int | Sequence[int] | None = None,
    maps: Mapping[str, Tensor] | None = None,
    reduction: str = 'mean',
    balance: str = 'sample',
) -> Tensor:
    r"""Cross-entropy in which the foreground and the background weigh the same.

    Args:
        pred: Logits or probabilities, (N, C, *spatial).
        target: Dense (N, C, *spatial), or a label map (N, *spatial) or (N, 1, *spatial).
        n_classes: The number of classes; 2 means sigmoid channels unless `activation` is given.
        from_logits: True if `pred` holds logits, False if it holds probabilities.
        activation: "sigmoid" or "softmax"; None: the choice that `n_classes` implies.
        pixel_weights: Weights of at least 0, (N, 1, *spatial); for sigmoid also (N, C, *spatial).
        sample_weights: Weights of the samples, at least 0, (N,); see `segloss.CompoundLoss`.
        ignore_index: The value in the target that marks pixels to leave out, or a list of several.
        maps: The maps that the term needs, by name, each (N, C, *spatial).
        reduction: "mean", "sum", or "none" for the loss of each pixel or cell.
        **parameters: The parameters of `segloss.terms.BalancedCrossEntropy`.

    Returns:
        A scalar; with `reduction="none"`, the loss of each cell, a (sample, class) pair, (N, C),
        or (N, 1) if the term does not tell classes apart; for a mean over pixels, the loss of each
        pixel, (N, *spatial), or (N, C, *spatial) with sigmoid. Anything left out is 0.

    Raises:
        TypeError, ValueError: An argument is wrong; see `segloss.soft_confusion`.
    """
    ...

def generalized_cross_entropy_loss(
    pred: Tensor,
    target: Tensor,
    *,
    n_classes: int = 2,
    from_logits: bool = True,
    activation: str | None = None,
    pixel_weights: Tensor | None = None,
    sample_weights: Tensor | None = None,
    ignore_index: int | Sequence[int] | None = None,
    maps: Mapping[str, Tensor] | None = None,
    reduction: str = 'mean',
    exponent: float = 0.7,
) -> Tensor:
    r"""Generalised cross-entropy, in which wrong labels weigh less than in cross-entropy.

    Args:
        pred: Logits or probabilities, (N, C, *spatial).
        target: Dense (N, C, *spatial), or a label map (N, *spatial) or (N, 1, *spatial).
        n_classes: The number of classes; 2 means sigmoid channels unless `activation` is given.
        from_logits: True if `pred` holds logits, False if it holds probabilities.
        activation: "sigmoid" or "softmax"; None: the choice that `n_classes` implies.
        pixel_weights: Weights of at least 0, (N, 1, *spatial); for sigmoid also (N, C, *spatial).
        sample_weights: Weights of the samples, at least 0, (N,); see `segloss.CompoundLoss`.
        ignore_index: The value in the target that marks pixels to leave out, or a list of several.
        maps: The maps that the term needs, by name, each (N, C, *spatial).
        reduction: "mean", "sum", or "none" for the loss of each pixel or cell.
        **parameters: The parameters of `segloss.terms.GeneralizedCrossEntropy`.

    Returns:
        A scalar; with `reduction="none"`, the loss of each cell, a (sample, class) pair, (N, C),
        or (N, 1) if the term does not tell classes apart; for a mean over pixels, the loss of each
        pixel, (N, *spatial), or (N, C, *spatial) with sigmoid. Anything left out is 0.

    Raises:
        TypeError, ValueError: An argument is wrong; see `segloss.soft_confusion`.
    """
    ...

def symmetric_cross_entropy_loss(
    pred: Tensor,
    target: Tensor,
    *,
    n_classes: int = 2,
    from_logits: bool = True,
    activation: str | None = None,
    pixel_weights: Tensor | None = None,
    sample_weights: Tensor | None = None,
    ignore_index: int | Sequence[int] | None = None,
    maps: Mapping[str, Tensor] | None = None,
    reduction: str = 'mean',
    alpha: float = 0.1,
    beta: float = 1.0,
    log_zero: float = -4.0,
) -> Tensor:
    r"""Symmetric cross-entropy: it adds the cross-entropy with prediction and target exchanged.

    Args:
        pred: Logits or probabilities, (N, C, *spatial).
        target: Dense (N, C, *spatial), or a label map (N, *spatial) or (N, 1, *spatial).
        n_classes: The number of classes; 2 means sigmoid channels unless `activation` is given.
        from_logits: True if `pred` holds logits, False if it holds probabilities.
        activation: "sigmoid" or "softmax"; None: the choice that `n_classes` implies.
        pixel_weights: Weights of at least 0, (N, 1, *spatial); for sigmoid also (N, C, *spatial).
        sample_weights: Weights of the samples, at least 0, (N,); see `segloss.CompoundLoss`.
        ignore_index: The value in the target that marks pixels to leave out, or a list of several.
        maps: The maps that the term needs, by name, each (N, C, *spatial).
        reduction: "mean", "sum", or "none" for the loss of each pixel or cell.
        **parameters: The parameters of `segloss.terms.SymmetricCrossEntropy`.

    Returns:
        A scalar; with `reduction="none"`, the loss of each cell, a (sample, class) pair, (N, C),
        or (N, 1) if the term does not tell classes apart; for a mean over pixels, the loss of each
        pixel, (N, *spatial), or (N, C, *spatial) with sigmoid. Anything left out is 0.

    Raises:
        TypeError, ValueError: An argument is wrong; see `segloss.soft_confusion`.
    """
    ...

def dice_loss(
    pred: Tensor,
    target: Tensor,
    *,
    n_classes: int = 2,
    from_logits: bool = True,
    activation: str | None = None,
    pixel_weights: Tensor | None = None,
    sample_weights: Tensor | None = None,
    ignore_index: int | Sequence[int] | None = None,
    maps: Mapping[str, Tensor] | None = None,
    reduction: str = 'mean',
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
) -> Tensor:
    r"""Dice loss.

    Args:
        pred: Logits or probabilities, (N, C, *spatial).
        target: Dense (N, C, *spatial), or a label map (N, *spatial) or (N, 1, *spatial).
        n_classes: The number of classes; 2 means sigmoid channels unless `activation` is given.
        from_logits: True if `pred` holds logits, False if it holds probabilities.
        activation: "sigmoid" or "softmax"; None: the choice that `n_classes` implies.
        pixel_weights: Weights of at least 0, (N, 1, *spatial); for sigmoid also (N, C, *spatial).
        sample_weights: Weights of the samples, at least 0, (N,); see `segloss.CompoundLoss`.
        ignore_index: The value in the target that marks pixels to leave out, or a list of several.
        maps: The maps that the term needs, by name, each (N, C, *spatial).
        reduction: "mean", "sum", or "none" for the loss of each pixel or cell.
        **parameters: The parameters of `segloss.terms.Dice`.

    Returns:
        A scalar; with `reduction="none"`, the loss of each cell, a (sample, class) pair, (N, C),
        or (N, 1) if the term does not tell classes apart; for a mean over pixels, the loss of each
        pixel, (N, *spatial), or (N, C, *spatial) with sigmoid. Anything left out is 0.

    Raises:
        TypeError, ValueError: An argument is wrong; see `segloss.soft_confusion`.
    """
    ...

def f_beta_loss(
    pred: Tensor,
    target: Tensor,
    *,
    n_classes: int = 2,
    from_logits: bool = True,
    activation: str | None = None,
    pixel_weights: Tensor | None = None,
    sample_weights: Tensor | None = None,
    ignore_index: int | Sequence[int] | None = None,
    maps: Mapping[str, Tensor] | None = None,
    reduction: str = 'mean',
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
) -> Tensor:
    r"""F-beta loss.

    Args:
        pred: Logits or probabilities, (N, C, *spatial).
        target: Dense (N, C, *spatial), or a label map (N, *spatial) or (N, 1, *spatial).
        n_classes: The number of classes; 2 means sigmoid channels unless `activation` is given.
        from_logits: True if `pred` holds logits, False if it holds probabilities.
        activation: "sigmoid" or "softmax"; None: the choice that `n_classes` implies.
        pixel_weights: Weights of at least 0, (N, 1, *spatial); for sigmoid also (N, C, *spatial).
        sample_weights: Weights of the samples, at least 0, (N,); see `segloss.CompoundLoss`.
        ignore_index: The value in the target that marks pixels to leave out, or a list of several.
        maps: The maps that the term needs, by name, each (N, C, *spatial).
        reduction: "mean", "sum", or "none" for the loss of each pixel or cell.
        **parameters: The parameters of `segloss.terms.FBeta`.

    Returns:
        A scalar; with `reduction="none"`, the loss of each cell, a (sample, class) pair, (N, C),
        or (N, 1) if the term does not tell classes apart; for a mean over pixels, the loss of each
        pixel, (N, *spatial), or (N, C, *spatial) with sigmoid. Anything left out is 0.

    Raises:
        TypeError, ValueError: An argument is wrong; see `segloss.soft_confusion`.
    """
    ...

def focal_tversky_loss(
    pred: Tensor,
    target: Tensor,
    *,
    n_classes: int = 2,
    from_logits: bool = True,
    activation: str | None = None,
    pixel_weights: Tensor | None = None,
    sample_weights: Tensor | None = None,
    ignore_index: int | Sequence[int] | None = None,
    maps: Mapping[str, Tensor] | None = None,
    reduction: str = 'mean',
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
) -> Tensor:
    r"""Focal Tversky loss.

    Args:
        pred: Logits or probabilities, (N, C, *spatial).
        target: Dense (N, C, *spatial), or a label map (N, *spatial) or (N, 1, *spatial).
        n_classes: The number of classes; 2 means sigmoid channels unless `activation` is given.
        from_logits: True if `pred` holds logits, False if it holds probabilities.
        activation: "sigmoid" or "softmax"; None: the choice that `n_classes` implies.
        pixel_weights: Weights of at least 0, (N, 1, *spatial); for sigmoid also (N, C, *spatial).
        sample_weights: Weights of the samples, at least 0, (N,); see `segloss.CompoundLoss`.
        ignore_index: The value in the target that marks pixels to leave out, or a list of several.
        maps: The maps that the term needs, by name, each (N, C, *spatial).
        reduction: "mean", "sum", or "none" for the loss of each pixel or cell.
        **parameters: The parameters of `segloss.terms.FocalTversky`.

    Returns:
        A scalar; with `reduction="none"`, the loss of each cell, a (sample, class) pair, (N, C),
        or (N, 1) if the term does not tell classes apart; for a mean over pixels, the loss of each
        pixel, (N, *spatial), or (N, C, *spatial) with sigmoid. Anything left out is 0.

    Raises:
        TypeError, ValueError: An argument is wrong; see `segloss.soft_confusion`.
    """
    ...

def jaccard_loss(
    pred: Tensor,
    target: Tensor,
    *,
    n_classes: int = 2,
    from_logits: bool = True,
    activation: str | None = None,
    pixel_weights: Tensor | None = None,
    sample_weights: Tensor | None = None,
    ignore_index: int | Sequence[int] | None = None,
    maps: Mapping[str, Tensor] | None = None,
    reduction: str = 'mean',
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
) -> Tensor:
    r"""Jaccard (intersection over union) loss.

    Args:
        pred: Logits or probabilities, (N, C, *spatial).
        target: Dense (N, C, *spatial), or a label map (N, *spatial) or (N, 1, *spatial).
        n_classes: The number of classes; 2 means sigmoid channels unless `activation` is given.
        from_logits: True if `pred` holds logits, False if it holds probabilities.
        activation: "sigmoid" or "softmax"; None: the choice that `n_classes` implies.
        pixel_weights: Weights of at least 0, (N, 1, *spatial); for sigmoid also (N, C, *spatial).
        sample_weights: Weights of the samples, at least 0, (N,); see `segloss.CompoundLoss`.
        ignore_index: The value in the target that marks pixels to leave out, or a list of several.
        maps: The maps that the term needs, by name, each (N, C, *spatial).
        reduction: "mean", "sum", or "none" for the loss of each pixel or cell.
        **parameters: The parameters of `segloss.terms.Jaccard`.

    Returns:
        A scalar; with `reduction="none"`, the loss of each cell, a (sample, class) pair, (N, C),
        or (N, 1) if the term does not tell classes apart; for a mean over pixels, the loss of each
        pixel, (N, *spatial), or (N, C, *spatial) with sigmoid. Anything left out is 0.

    Raises:
        TypeError, ValueError: An argument is wrong; see `segloss.soft_confusion`.
    """
    ...

def log_cosh_dice_loss(
    pred: Tensor,
    target: Tensor,
    *,
    n_classes: int = 2,
    from_logits: bool = True,
    activation: str | None = None,
    pixel_weights: Tensor | None = None,
    sample_weights: Tensor | None = None,
    ignore_index: int | Sequence[int] | None = None,
    maps: Mapping[str, Tensor] | None = None,
    reduction: str = 'mean',
    smooth: float | Sequence[float] = 1.0,
    clip_tp: float = 0.0,
    region_reduction: str = 'sample',
    region_classes: Sequence[int] | None = None,
    region_class_weights: Any = None,
    skip_absent_classes: bool = False,
    soft_labels: str = 'product',
    region_groups: str | Mapping[str, Sequence[int]] | None = None,
    components_key: str = 'gt_components',
) -> Tensor:
    r"""Log-cosh Dice loss: smooth where the Dice loss is 0.

    Args:
        pred: Logits or probabilities, (N, C, *spatial).
        target: Dense (N, C, *spatial), or a label map (N, *spatial) or (N, 1, *spatial).
        n_classes: The number of classes; 2 means sigmoid channels unless `activation` is given.
        from_logits: True if `pred` holds logits, False if it holds probabilities.
        activation: "sigmoid" or "softmax"; None: the choice that `n_classes` implies.
        pixel_weights: Weights of at least 0, (N, 1, *spatial); for sigmoid also (N, C, *spatial).
        sample_weights: Weights of the samples, at least 0, (N,); see `segloss.CompoundLoss`.
        ignore_index: The value in the target that marks pixels to leave out, or a list of several.
        maps: The maps that the term needs, by name, each (N, C, *spatial).
        reduction: "mean", "sum", or "none" for the loss of each pixel or cell.
        **parameters: The parameters of `segloss.terms.LogCoshDice`.

    Returns:
        A scalar; with `reduction="none"`, the loss of each cell, a (sample, class) pair, (N, C),
        or (N, 1) if the term does not tell classes apart; for a mean over pixels, the loss of each
        pixel, (N, *spatial), or (N, C, *spatial) with sigmoid. Anything left out is 0.

    Raises:
        TypeError, ValueError: An argument is wrong; see `segloss.soft_confusion`.
    """
    ...

def log_dice_loss(
    pred: Tensor,
    target: Tensor,
    *,
    n_classes: int = 2,
    from_logits: bool = True,
    activation: str | None = None,
    pixel_weights: Tensor | None = None,
    sample_weights: Tensor | None = None,
    ignore_index: int | Sequence[int] | None = None,
    maps: Mapping[str, Tensor] | None = None,
    reduction: str = 'mean',
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
) -> Tensor:
    r"""Negative logarithm of the Dice score, to a power.

    Args:
        pred: Logits or probabilities, (N, C, *spatial).
        target: Dense (N, C, *spatial), or a label map (N, *spatial) or (N, 1, *spatial).
        n_classes: The number of classes; 2 means sigmoid channels unless `activation` is given.
        from_logits: True if `pred` holds logits, False if it holds probabilities.
        activation: "sigmoid" or "softmax"; None: the choice that `n_classes` implies.
        pixel_weights: Weights of at least 0, (N, 1, *spatial); for sigmoid also (N, C, *spatial).
        sample_weights: Weights of the samples, at least 0, (N,); see `segloss.CompoundLoss`.
        ignore_index: The value in the target that marks pixels to leave out, or a list of several.
        maps: The maps that the term needs, by name, each (N, C, *spatial).
        reduction: "mean", "sum", or "none" for the loss of each pixel or cell.
        **parameters: The parameters of `segloss.terms.LogDice`.

    Returns:
        A scalar; with `reduction="none"`, the loss of each cell, a (sample, class) pair, (N, C),
        or (N, 1) if the term does not tell classes apart; for a mean over pixels, the loss of each
        pixel, (N, *spatial), or (N, C, *spatial) with sigmoid. Anything left out is 0.

    Raises:
        TypeError, ValueError: An argument is wrong; see `segloss.soft_confusion`.
    """
    ...

def squared_dice_loss(
    pred: Tensor,
    target: Tensor,
    *,
    n_classes: int = 2,
    from_logits: bool = True,
    activation: str | None = None,
    pixel_weights: Tensor | None = None,
    sample_weights: Tensor | None = None,
    ignore_index: int | Sequence[int] | None = None,
    maps: Mapping[str, Tensor] | None = None,
    reduction: str = 'mean',
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
) -> Tensor:
    r"""Dice loss with squares in the denominator.

    Args:
        pred: Logits or probabilities, (N, C, *spatial).
        target: Dense (N, C, *spatial), or a label map (N, *spatial) or (N, 1, *spatial).
        n_classes: The number of classes; 2 means sigmoid channels unless `activation` is given.
        from_logits: True if `pred` holds logits, False if it holds probabilities.
        activation: "sigmoid" or "softmax"; None: the choice that `n_classes` implies.
        pixel_weights: Weights of at least 0, (N, 1, *spatial); for sigmoid also (N, C, *spatial).
        sample_weights: Weights of the samples, at least 0, (N,); see `segloss.CompoundLoss`.
        ignore_index: The value in the target that marks pixels to leave out, or a list of several.
        maps: The maps that the term needs, by name, each (N, C, *spatial).
        reduction: "mean", "sum", or "none" for the loss of each pixel or cell.
        **parameters: The parameters of `segloss.terms.SquaredDice`.

    Returns:
        A scalar; with `reduction="none"`, the loss of each cell, a (sample, class) pair, (N, C),
        or (N, 1) if the term does not tell classes apart; for a mean over pixels, the loss of each
        pixel, (N, *spatial), or (N, C, *spatial) with sigmoid. Anything left out is 0.

    Raises:
        TypeError, ValueError: An argument is wrong; see `segloss.soft_confusion`.
    """
    ...

def tversky_loss(
    pred: Tensor,
    target: Tensor,
    *,
    n_classes: int = 2,
    from_logits: bool = True,
    activation: str | None = None,
    pixel_weights: Tensor | None = None,
    sample_weights: Tensor | None = None,
    ignore_index: int | Sequence[int] | None = None,
    maps: Mapping[str, Tensor] | None = None,
    reduction: str = 'mean',
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
) -> Tensor:
    r"""Tversky loss.

    Args:
        pred: Logits or probabilities, (N, C, *spatial).
        target: Dense (N, C, *spatial), or a label map (N, *spatial) or (N, 1, *spatial).
        n_classes: The number of classes; 2 means sigmoid channels unless `activation` is given.
        from_logits: True if `pred` holds logits, False if it holds probabilities.
        activation: "sigmoid" or "softmax"; None: the choice that `n_classes` implies.
        pixel_weights: Weights of at least 0, (N, 1, *spatial); for sigmoid also (N, C, *spatial).
        sample_weights: Weights of the samples, at least 0, (N,); see `segloss.CompoundLoss`.
        ignore_index: The value in the target that marks pixels to leave out, or a list of several.
        maps: The maps that the term needs, by name, each (N, C, *spatial).
        reduction: "mean", "sum", or "none" for the loss of each pixel or cell.
        **parameters: The parameters of `segloss.terms.Tversky`.

    Returns:
        A scalar; with `reduction="none"`, the loss of each cell, a (sample, class) pair, (N, C),
        or (N, 1) if the term does not tell classes apart; for a mean over pixels, the loss of each
        pixel, (N, *spatial), or (N, C, *spatial) with sigmoid. Anything left out is 0.

    Raises:
        TypeError, ValueError: An argument is wrong; see `segloss.soft_confusion`.
    """
    ...

def generalized_dice_loss(
    pred: Tensor,
    target: Tensor,
    *,
    n_classes: int = 2,
    from_logits: bool = True,
    activation: str | None = None,
    pixel_weights: Tensor | None = None,
    sample_weights: Tensor | None = None,
    ignore_index: int | Sequence[int] | None = None,
    maps: Mapping[str, Tensor] | None = None,
    reduction: str = 'mean',
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
) -> Tensor:
    r"""Generalised Dice loss.

    Args:
        pred: Logits or probabilities, (N, C, *spatial).
        target: Dense (N, C, *spatial), or a label map (N, *spatial) or (N, 1, *spatial).
        n_classes: The number of classes; 2 means sigmoid channels unless `activation` is given.
        from_logits: True if `pred` holds logits, False if it holds probabilities.
        activation: "sigmoid" or "softmax"; None: the choice that `n_classes` implies.
        pixel_weights: Weights of at least 0, (N, 1, *spatial); for sigmoid also (N, C, *spatial).
        sample_weights: Weights of the samples, at least 0, (N,); see `segloss.CompoundLoss`.
        ignore_index: The value in the target that marks pixels to leave out, or a list of several.
        maps: The maps that the term needs, by name, each (N, C, *spatial).
        reduction: "mean", "sum", or "none" for the loss of each pixel or cell.
        **parameters: The parameters of `segloss.terms.GeneralizedDice`.

    Returns:
        A scalar; with `reduction="none"`, the loss of each cell, a (sample, class) pair, (N, C),
        or (N, 1) if the term does not tell classes apart; for a mean over pixels, the loss of each
        pixel, (N, *spatial), or (N, C, *spatial) with sigmoid. Anything left out is 0.

    Raises:
        TypeError, ValueError: An argument is wrong; see `segloss.soft_confusion`.
    """
    ...

def generalized_wasserstein_dice_loss(
    pred: Tensor,
    target: Tensor,
    *,
    n_classes: int = 2,
    from_logits: bool = True,
    activation: str | None = None,
    pixel_weights: Tensor | None = None,
    sample_weights: Tensor | None = None,
    ignore_index: int | Sequence[int] | None = None,
    maps: Mapping[str, Tensor] | None = None,
    reduction: str = 'mean',
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
) -> Tensor:
    r"""Generalised Wasserstein Dice loss: mistaking a class for a similar one costs less.

    Args:
        pred: Logits or probabilities, (N, C, *spatial).
        target: Dense (N, C, *spatial), or a label map (N, *spatial) or (N, 1, *spatial).
        n_classes: The number of classes; 2 means sigmoid channels unless `activation` is given.
        from_logits: True if `pred` holds logits, False if it holds probabilities.
        activation: "sigmoid" or "softmax"; None: the choice that `n_classes` implies.
        pixel_weights: Weights of at least 0, (N, 1, *spatial); for sigmoid also (N, C, *spatial).
        sample_weights: Weights of the samples, at least 0, (N,); see `segloss.CompoundLoss`.
        ignore_index: The value in the target that marks pixels to leave out, or a list of several.
        maps: The maps that the term needs, by name, each (N, C, *spatial).
        reduction: "mean", "sum", or "none" for the loss of each pixel or cell.
        **parameters: The parameters of `segloss.terms.GeneralizedWassersteinDice`.

    Returns:
        A scalar; with `reduction="none"`, the loss of each cell, a (sample, class) pair, (N, C),
        or (N, 1) if the term does not tell classes apart; for a mean over pixels, the loss of each
        pixel, (N, *spatial), or (N, C, *spatial) with sigmoid. Anything left out is 0.

    Raises:
        TypeError, ValueError: An argument is wrong; see `segloss.soft_confusion`.
    """
    ...

def mcc_loss(
    pred: Tensor,
    target: Tensor,
    *,
    n_classes: int = 2,
    from_logits: bool = True,
    activation: str | None = None,
    pixel_weights: Tensor | None = None,
    sample_weights: Tensor | None = None,
    ignore_index: int | Sequence[int] | None = None,
    maps: Mapping[str, Tensor] | None = None,
    reduction: str = 'mean',
    eps: float = 0.0,
    region_reduction: str = 'sample',
    region_classes: Sequence[int] | None = None,
    region_class_weights: Any = None,
    skip_absent_classes: bool = False,
    soft_labels: str = 'product',
    region_groups: str | Mapping[str, Sequence[int]] | None = None,
    components_key: str = 'gt_components',
) -> Tensor:
    r"""Matthews' correlation coefficient as a loss.

    Args:
        pred: Logits or probabilities, (N, C, *spatial).
        target: Dense (N, C, *spatial), or a label map (N, *spatial) or (N, 1, *spatial).
        n_classes: The number of classes; 2 means sigmoid channels unless `activation` is given.
        from_logits: True if `pred` holds logits, False if it holds probabilities.
        activation: "sigmoid" or "softmax"; None: the choice that `n_classes` implies.
        pixel_weights: Weights of at least 0, (N, 1, *spatial); for sigmoid also (N, C, *spatial).
        sample_weights: Weights of the samples, at least 0, (N,); see `segloss.CompoundLoss`.
        ignore_index: The value in the target that marks pixels to leave out, or a list of several.
        maps: The maps that the term needs, by name, each (N, C, *spatial).
        reduction: "mean", "sum", or "none" for the loss of each pixel or cell.
        **parameters: The parameters of `segloss.terms.MCC`.

    Returns:
        A scalar; with `reduction="none"`, the loss of each cell, a (sample, class) pair, (N, C),
        or (N, 1) if the term does not tell classes apart; for a mean over pixels, the loss of each
        pixel, (N, *spatial), or (N, C, *spatial) with sigmoid. Anything left out is 0.

    Raises:
        TypeError, ValueError: An argument is wrong; see `segloss.soft_confusion`.
    """
    ...

def region_size_kl_loss(
    pred: Tensor,
    target: Tensor,
    *,
    n_classes: int = 2,
    from_logits: bool = True,
    activation: str | None = None,
    pixel_weights: Tensor | None = None,
    sample_weights: Tensor | None = None,
    ignore_index: int | Sequence[int] | None = None,
    maps: Mapping[str, Tensor] | None = None,
    reduction: str = 'mean',
    region_reduction: str = 'sample',
    region_classes: Sequence[int] | None = None,
    region_class_weights: Any = None,
    skip_absent_classes: bool = False,
    soft_labels: str = 'product',
    region_groups: str | Mapping[str, Sequence[int]] | None = None,
    components_key: str = 'gt_components',
) -> Tensor:
    r"""Kullback-Leibler divergence between the true and the predicted shares of the classes.

    Args:
        pred: Logits or probabilities, (N, C, *spatial).
        target: Dense (N, C, *spatial), or a label map (N, *spatial) or (N, 1, *spatial).
        n_classes: The number of classes; 2 means sigmoid channels unless `activation` is given.
        from_logits: True if `pred` holds logits, False if it holds probabilities.
        activation: "sigmoid" or "softmax"; None: the choice that `n_classes` implies.
        pixel_weights: Weights of at least 0, (N, 1, *spatial); for sigmoid also (N, C, *spatial).
        sample_weights: Weights of the samples, at least 0, (N,); see `segloss.CompoundLoss`.
        ignore_index: The value in the target that marks pixels to leave out, or a list of several.
        maps: The maps that the term needs, by name, each (N, C, *spatial).
        reduction: "mean", "sum", or "none" for the loss of each pixel or cell.
        **parameters: The parameters of `segloss.terms.RegionSizeKL`.

    Returns:
        A scalar; with `reduction="none"`, the loss of each cell, a (sample, class) pair, (N, C),
        or (N, 1) if the term does not tell classes apart; for a mean over pixels, the loss of each
        pixel, (N, *spatial), or (N, C, *spatial) with sigmoid. Anything left out is 0.

    Raises:
        TypeError, ValueError: An argument is wrong; see `segloss.soft_confusion`.
    """
    ...

def region_size_l1_loss(
    pred: Tensor,
    target: Tensor,
    *,
    n_classes: int = 2,
    from_logits: bool = True,
    activation: str | None = None,
    pixel_weights: Tensor | None = None,
    sample_weights: Tensor | None = None,
    ignore_index: int | Sequence[int] | None = None,
    maps: Mapping[str, Tensor] | None = None,
    reduction: str = 'mean',
    region_reduction: str = 'sample',
    region_classes: Sequence[int] | None = None,
    region_class_weights: Any = None,
    skip_absent_classes: bool = False,
    soft_labels: str = 'product',
    region_groups: str | Mapping[str, Sequence[int]] | None = None,
    components_key: str = 'gt_components',
) -> Tensor:
    r"""Absolute difference of predicted and true size, as shares of the image.

    Args:
        pred: Logits or probabilities, (N, C, *spatial).
        target: Dense (N, C, *spatial), or a label map (N, *spatial) or (N, 1, *spatial).
        n_classes: The number of classes; 2 means sigmoid channels unless `activation` is given.
        from_logits: True if `pred` holds logits, False if it holds probabilities.
        activation: "sigmoid" or "softmax"; None: the choice that `n_classes` implies.
        pixel_weights: Weights of at least 0, (N, 1, *spatial); for sigmoid also (N, C, *spatial).
        sample_weights: Weights of the samples, at least 0, (N,); see `segloss.CompoundLoss`.
        ignore_index: The value in the target that marks pixels to leave out, or a list of several.
        maps: The maps that the term needs, by name, each (N, C, *spatial).
        reduction: "mean", "sum", or "none" for the loss of each pixel or cell.
        **parameters: The parameters of `segloss.terms.RegionSizeL1`.

    Returns:
        A scalar; with `reduction="none"`, the loss of each cell, a (sample, class) pair, (N, C),
        or (N, 1) if the term does not tell classes apart; for a mean over pixels, the loss of each
        pixel, (N, *spatial), or (N, C, *spatial) with sigmoid. Anything left out is 0.

    Raises:
        TypeError, ValueError: An argument is wrong; see `segloss.soft_confusion`.
    """
    ...

def unified_focal_loss(
    pred: Tensor,
    target: Tensor,
    *,
    n_classes: int = 2,
    from_logits: bool = True,
    activation: str | None = None,
    pixel_weights: Tensor | None = None,
    sample_weights: Tensor | None = None,
    ignore_index: int | Sequence[int] | None = None,
    maps: Mapping[str, Tensor] | None = None,
    reduction: str = 'mean',
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
) -> Tensor:
    r"""Unified focal loss, in its asymmetric or its symmetric form.

    Args:
        pred: Logits or probabilities, (N, C, *spatial).
        target: Dense (N, C, *spatial), or a label map (N, *spatial) or (N, 1, *spatial).
        n_classes: The number of classes; 2 means sigmoid channels unless `activation` is given.
        from_logits: True if `pred` holds logits, False if it holds probabilities.
        activation: "sigmoid" or "softmax"; None: the choice that `n_classes` implies.
        pixel_weights: Weights of at least 0, (N, 1, *spatial); for sigmoid also (N, C, *spatial).
        sample_weights: Weights of the samples, at least 0, (N,); see `segloss.CompoundLoss`.
        ignore_index: The value in the target that marks pixels to leave out, or a list of several.
        maps: The maps that the term needs, by name, each (N, C, *spatial).
        reduction: "mean", "sum", or "none" for the loss of each pixel or cell.
        **parameters: The parameters of `segloss.terms.UnifiedFocal`.

    Returns:
        A scalar; with `reduction="none"`, the loss of each cell, a (sample, class) pair, (N, C),
        or (N, 1) if the term does not tell classes apart; for a mean over pixels, the loss of each
        pixel, (N, *spatial), or (N, C, *spatial) with sigmoid. Anything left out is 0.

    Raises:
        TypeError, ValueError: An argument is wrong; see `segloss.soft_confusion`.
    """
    ...

def boundary_loss(
    pred: Tensor,
    target: Tensor,
    *,
    n_classes: int = 2,
    from_logits: bool = True,
    activation: str | None = None,
    pixel_weights: Tensor | None = None,
    sample_weights: Tensor | None = None,
    ignore_index: int | Sequence[int] | None = None,
    maps: Mapping[str, Tensor] | None = None,
    reduction: str = 'mean',
    map_key: str = 'gt_distance_map',
    region_reduction: str = 'sample',
    region_classes: Sequence[int] | None = None,
    region_class_weights: Any = None,
    skip_absent_classes: bool = False,
    soft_labels: str = 'product',
    region_groups: str | Mapping[str, Sequence[int]] | None = None,
    components_key: str = 'gt_components',
) -> Tensor:
    r"""Boundary loss: the mean of the probability times a signed distance to the boundary.

    Args:
        pred: Logits or probabilities, (N, C, *spatial).
        target: Dense (N, C, *spatial), or a label map (N, *spatial) or (N, 1, *spatial).
        n_classes: The number of classes; 2 means sigmoid channels unless `activation` is given.
        from_logits: True if `pred` holds logits, False if it holds probabilities.
        activation: "sigmoid" or "softmax"; None: the choice that `n_classes` implies.
        pixel_weights: Weights of at least 0, (N, 1, *spatial); for sigmoid also (N, C, *spatial).
        sample_weights: Weights of the samples, at least 0, (N,); see `segloss.CompoundLoss`.
        ignore_index: The value in the target that marks pixels to leave out, or a list of several.
        maps: The maps that the term needs, by name, each (N, C, *spatial).
        reduction: "mean", "sum", or "none" for the loss of each pixel or cell.
        **parameters: The parameters of `segloss.terms.Boundary`.

    Returns:
        A scalar; with `reduction="none"`, the loss of each cell, a (sample, class) pair, (N, C),
        or (N, 1) if the term does not tell classes apart; for a mean over pixels, the loss of each
        pixel, (N, *spatial), or (N, C, *spatial) with sigmoid. Anything left out is 0.

    Raises:
        TypeError, ValueError: An argument is wrong; see `segloss.soft_confusion`.
    """
    ...

def skeleton_recall_loss(
    pred: Tensor,
    target: Tensor,
    *,
    n_classes: int = 2,
    from_logits: bool = True,
    activation: str | None = None,
    pixel_weights: Tensor | None = None,
    sample_weights: Tensor | None = None,
    ignore_index: int | Sequence[int] | None = None,
    maps: Mapping[str, Tensor] | None = None,
    reduction: str = 'mean',
    map_key: str = 'gt_skeleton',
    smooth: float = 0.0,
    region_reduction: str = 'sample',
    region_classes: Sequence[int] | None = None,
    region_class_weights: Any = None,
    skip_absent_classes: bool = False,
    soft_labels: str = 'product',
    region_groups: str | Mapping[str, Sequence[int]] | None = None,
    components_key: str = 'gt_components',
) -> Tensor:
    r"""Skeleton recall loss: the part of the true region's skeleton that is not predicted.

    Args:
        pred: Logits or probabilities, (N, C, *spatial).
        target: Dense (N, C, *spatial), or a label map (N, *spatial) or (N, 1, *spatial).
        n_classes: The number of classes; 2 means sigmoid channels unless `activation` is given.
        from_logits: True if `pred` holds logits, False if it holds probabilities.
        activation: "sigmoid" or "softmax"; None: the choice that `n_classes` implies.
        pixel_weights: Weights of at least 0, (N, 1, *spatial); for sigmoid also (N, C, *spatial).
        sample_weights: Weights of the samples, at least 0, (N,); see `segloss.CompoundLoss`.
        ignore_index: The value in the target that marks pixels to leave out, or a list of several.
        maps: The maps that the term needs, by name, each (N, C, *spatial).
        reduction: "mean", "sum", or "none" for the loss of each pixel or cell.
        **parameters: The parameters of `segloss.terms.SkeletonRecall`.

    Returns:
        A scalar; with `reduction="none"`, the loss of each cell, a (sample, class) pair, (N, C),
        or (N, 1) if the term does not tell classes apart; for a mean over pixels, the loss of each
        pixel, (N, *spatial), or (N, C, *spatial) with sigmoid. Anything left out is 0.

    Raises:
        TypeError, ValueError: An argument is wrong; see `segloss.soft_confusion`.
    """
    ...
