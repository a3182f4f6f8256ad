"""The losses as plain functions of predictions and targets.

There is a function for each term, such as `jaccard_loss`, made from the table of terms, and
`seg_loss` for the compound loss. `scripts/term_stubs.py` writes the same functions to
`functional.pyi` for editors and type checkers. Terms and their sums are cached between calls.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from segloss.batch.assemble import pixel_batch_of_arguments
from segloss.batch.shape_checks import check_maps
from segloss.foundation.arguments import (
    check_choice,
    checks_keywords,
    no_attribute,
    refuse_keyword,
    refuse_positional,
)
from segloss.foundation.tracing import constant_of
from segloss.losses.compound_loss import check_unreduced
from segloss.terms import TERMS, CrossEntropy, Mixture, Term
from segloss.terms.base import parameters_of
from segloss.terms.mixture.evaluate import REDUCTIONS, reduced
from segloss.terms.mixture.group import MixtureGroup
from segloss.terms.mixture.spellings import documented_mixture

__all__ = ["binary_cross_entropy", "cross_entropy", "seg_loss"]


@checks_keywords()
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
    reduction: str = "mean",
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
    channels = _channels(pred)
    if channels == 1 and n_classes is None:
        raise ValueError(
            "pred must have a channel for each of at least 2 classes, got one channel: use "
            "segloss.functional.binary_cross_entropy."
        )
    return _loss(
        _group_of(CrossEntropy),
        pred,
        target,
        reduction,
        n_classes=channels if n_classes is None else n_classes,
        from_logits=from_logits,
        activation="softmax",
        pixel_weights=pixel_weights,
        sample_weights=sample_weights,
        ignore_index=ignore_index,
        class_weights=class_weights,
        label_smoothing=label_smoothing,
    )


@checks_keywords()
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
    reduction: str = "mean",
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
    return _loss(
        _group_of(CrossEntropy),
        pred,
        target,
        reduction,
        from_logits=from_logits,
        activation="sigmoid",
        pixel_weights=pixel_weights,
        sample_weights=sample_weights,
        ignore_index=ignore_index,
        class_weights=class_weights,
        pos_weight=pos_weight,
        label_smoothing=label_smoothing,
    )


@checks_keywords()
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
    reduction: str = "mean",
    maps: Mapping[str, Tensor] | None = None,
    terms: Mixture | Term | Mapping[Any, Any] | None = None,
    region_reduction: str = "sample",
    region_classes: Sequence[int] | None = None,
    region_class_weights: Any = None,
    skip_absent_classes: bool = False,
    soft_labels: str = "product",
    region_groups: str | Mapping[str, Sequence[int]] | None = None,
    components_key: str = "gt_components",
) -> Tensor:
    """Computes the compound loss: cross-entropy, Dice and focal Tversky with coefficients.

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
    group = _group(
        _documented_group,
        bce_coef=bce_coef,
        dice_coef=dice_coef,
        tversky_focal_coef=tversky_focal_coef,
        smooth=smooth,
        tversky_alpha=tversky_alpha,
        tversky_beta=tversky_beta,
        tversky_gamma=tversky_gamma,
        extra_terms=extra_terms,
        terms=terms,
        region_reduction=region_reduction,
        region_classes=region_classes,
        region_class_weights=region_class_weights,
        skip_absent_classes=skip_absent_classes,
        soft_labels=soft_labels,
        region_groups=region_groups,
        components_key=components_key,
    )
    return _loss(
        group,
        pred,
        target,
        reduction,
        n_classes=n_classes,
        from_logits=from_logits,
        activation=activation,
        pixel_weights=pixel_weights,
        sample_weights=sample_weights,
        ignore_index=ignore_index,
        class_weights=class_weights,
        pos_weight=pos_weight,
        label_smoothing=label_smoothing,
        maps=maps,
    )


def _term_loss(
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
    reduction: str = "mean",
) -> Tensor:
    """{summary}

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
        **parameters: The parameters of `segloss.terms.{term}`.

    Returns:
        A scalar; with `reduction="none"`, the loss of each cell, a (sample, class) pair, (N, C),
        or (N, 1) if the term does not tell classes apart; for a mean over pixels, the loss of each
        pixel, (N, *spatial), or (N, C, *spatial) with sigmoid. Anything left out is 0.

    Raises:
        TypeError, ValueError: An argument is wrong; see `segloss.soft_confusion`.
    """  # noqa: D415
    raise NotImplementedError  # only the signature and the docstring are used


def signature_of(term_type: type[Term]) -> inspect.Signature:
    """Returns the signature of a term's function: common arguments, then the term's parameters."""
    common = inspect.signature(_term_loss).parameters.values()
    of_term = inspect.signature(term_type).parameters.values()
    return inspect.Signature([*common, *of_term], return_annotation="Tensor")


def _function_of(term_type: type[Term]) -> Callable[..., Tensor]:
    names = parameters_of(term_type)
    name = f"{term_type.name}_loss"
    keywords = [*list(inspect.signature(_term_loss).parameters)[2:], *names]

    def loss(pred: Tensor, target: Tensor, *others: Any, **arguments: Any) -> Tensor:
        if others:
            refuse_positional(name, 2 + len(others), 2, loss)
        for key in arguments:
            if key not in keywords:
                refuse_keyword(name, key, keywords)
        parameters = {key: arguments.pop(key) for key in names if key in arguments}
        reduction = arguments.pop("reduction", "mean")
        return _loss(_group_of(term_type, **parameters), pred, target, reduction, **arguments)

    summary = (inspect.getdoc(term_type) or "").split("\n\n")[0]
    loss.__name__ = loss.__qualname__ = name
    loss.__doc__ = (_term_loss.__doc__ or "").format(summary=summary, term=term_type.__name__)
    loss.__signature__ = signature_of(term_type)  # type: ignore[attr-defined]
    return loss


def _group_of(term_type: type[Term], **parameters: Any) -> MixtureGroup:
    """Returns the mixture group of one term."""
    return _group(_term_group, term_type=term_type, **parameters)


def _group(make: Callable[..., MixtureGroup], **parameters: Any) -> MixtureGroup:
    """Returns `make(**parameters)`, from a cache if the parameters can be hashed."""
    if torch.compiler.is_compiling():
        return constant_of(make, **parameters)
    try:
        hash(tuple(parameters.values()))
    except TypeError:  # there are lists or mappings among them
        return make(**parameters)
    if any(isinstance(value, Tensor) for value in parameters.values()):  # its hash is its identity
        return make(**parameters)
    return _cached_group(make, **parameters)


def _term_group(term_type: type[Term], **parameters: Any) -> MixtureGroup:
    return MixtureGroup([Mixture.of(term_type(**parameters))])


def _documented_group(**parameters: Any) -> MixtureGroup:
    return MixtureGroup([documented_mixture(**parameters)])


@functools.lru_cache(maxsize=128, typed=True)
def _cached_group(make: Callable[..., MixtureGroup], **parameters: Any) -> MixtureGroup:
    return make(**parameters)


def _loss(
    group: MixtureGroup,
    pred: Tensor,
    target: Tensor,
    reduction: str,
    maps: Mapping[str, Tensor] | None = None,
    **arguments: Any,
) -> Tensor:
    """Returns the loss of a group with one mixture, after the reduction."""
    check_choice("reduction", reduction, REDUCTIONS)
    [mixture] = group.mixtures
    if reduction == "none":
        check_unreduced(mixture)
    pixels = pixel_batch_of_arguments(
        pred, target, maps=_maps(group, maps), group_key=group.plan.group_key, **arguments
    )
    group.check_classes(pixels.prediction.shape[1], pixels.options.activation)
    return reduced(group, pixels, reduction, pred.shape)


def _maps(group: MixtureGroup, maps: Any) -> dict[str, Tensor]:
    checked = check_maps(maps, group.plan.map_keys)
    return {key: checked[key] for key in group.plan.map_keys}


def _channels(pred: Any) -> int:
    """Returns the number of channels; 2 for predictions that the checks then refuse."""
    return pred.shape[1] if isinstance(pred, Tensor) and pred.ndim > 1 else 2


TERM_FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    name: _function_of(term_type)
    for name, term_type in TERMS.items()
    if term_type is not CrossEntropy
}
"""The functions of single terms, by the names of the terms."""

globals().update({function.__name__: function for function in TERM_FUNCTIONS.values()})
__all__ += [function.__name__ for function in TERM_FUNCTIONS.values()]


def __getattr__(name: str) -> Any:
    raise no_attribute(__name__, name, __all__)
