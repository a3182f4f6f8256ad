"""Terms that are means over pixels: cross-entropy, the focal loss, and Poly-1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from typing import Any

import torch
from torch import Tensor

from segloss.foundation.arguments import (
    as_python,
    check_choice,
    check_classes,
    check_number,
    is_list,
    shown,
)
from segloss.foundation.device_constants import on_device
from segloss.sums.analytic import PixelMean
from segloss.sums.confusion import SoftConfusion
from segloss.sums.plan import CROSS_ENTROPY, REGION, FocalSum, Sum
from segloss.sums.reduction import Reduction
from segloss.terms.base import (
    AdditiveStatistics,
    PixelTerm,
    Term,
    mean,
    overrides,
    pixel_count,
)

__all__ = ["CrossEntropy", "Focal", "Poly1"]

_FORMULA = ("pixels", "sums", "losses_and_weights", "statistics", "__call__")
"""The methods that define the formula of a mean over pixels."""


class CrossEntropy(PixelTerm):
    r"""Cross-entropy (binary for sigmoid), as one weighted mean over all pixels of the batch.

    .. math:: \frac{\sum w\,\mathrm{ce}}{\sum w}

    in [0, inf): 0 for a perfect prediction. The sums include class weights, `pos_weight` and label
    smoothing.
    """

    name = "cross_entropy"
    sums = (CROSS_ENTROPY,)

    def pixels(self, confusion: SoftConfusion) -> tuple[Tensor, Tensor]:
        """Returns the sum of the cross-entropy and the normaliser of its mean."""
        return confusion.cross_entropy, confusion.weight

    def analytic_form(self) -> PixelMean | None:
        """Returns the keys of both sums; None if a subclass changes the formula."""
        if overrides(self, CrossEntropy, _FORMULA):
            return None
        return PixelMean("cross_entropy", "weight")


class Focal(PixelTerm):
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

    name = "focal"
    gamma: float = 2.0
    alpha: float | Sequence[float] | Sequence[Sequence[float]] | None = None
    region_classes: Sequence[int] | None = None
    normalize: str = "pixels"
    soft_targets: str = "expectation"
    sum: FocalSum = field(init=False, compare=False)
    pairs: tuple[tuple[float, float], ...] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        gamma, alpha = check_number("gamma", self.gamma), as_python(self.alpha)
        check_choice("normalize", self.normalize, ("pixels", "positives"))
        check_choice("soft_targets", self.soft_targets, ("expectation", "interpolated"))
        pairs = _check_pairs(alpha)
        weights = (1.0,) if pairs else _check_alpha(alpha)
        classes = self.region_classes
        self._set(
            gamma=gamma,
            alpha=pairs or (tuple(alpha) if is_list(alpha) else alpha),
            pairs=pairs,
            region_classes=None if classes is None else check_classes("region_classes", classes),
            sum=self._sum_of(gamma, weights),
        )

    def _sum_of(self, gamma: float, alpha: tuple[float, ...]) -> FocalSum:
        return FocalSum((gamma,), alpha, self.soft_targets == "interpolated")

    @property
    def sums(self) -> tuple[Sum, ...]:  # type: ignore[override]
        """The focal sum; those of background and foreground if each channel weights them."""
        if self.pairs:
            return self._sides
        return (self.sum, self._of_classes) if self.region_classes is not None else (self.sum,)

    @property
    def _sides(self) -> tuple[FocalSum, FocalSum]:
        """The focal sums of background and foreground."""
        return self._sum_of(self.gamma, (1.0, 0.0)), self._sum_of(self.gamma, (0.0, 1.0))

    @property
    def _of_classes(self) -> FocalSum:
        """The focal sum of the chosen classes of a softmax: the others have the weight 0."""
        assert self.region_classes is not None
        alpha, chosen = self.sum.alpha, self.region_classes
        count = len(alpha) if len(alpha) > 1 else max(chosen) + 2  # the last one holds for the rest
        weights = (alpha[c if len(alpha) > 1 else 0] if c in chosen else 0.0 for c in range(count))
        return self._sum_of(self.gamma, tuple(weights))

    def pixels(self, confusion: SoftConfusion) -> tuple[Tensor, Tensor]:
        """Returns the sums of the focal losses, and the weights of the pixels in the mean."""
        return self._losses(confusion), self._weights(confusion)

    def _losses(self, confusion: SoftConfusion) -> Tensor:
        if self.region_classes is not None and confusion.exclusive:
            return confusion[self._of_classes]
        if not self.pairs:
            losses = confusion[self.sum]
        else:
            of_sides = (confusion[side] for side in self._sides)
            factors = (_like(values, confusion.actual) for values in zip(*self.pairs, strict=True))
            losses = torch.stack([x * f for x, f in zip(of_sides, factors, strict=True)]).sum(0)
        return losses if confusion.exclusive else losses.masked_fill(~self._chosen(confusion), 0)

    def _weights(self, confusion: SoftConfusion) -> Tensor:
        counts_labels = confusion.exclusive and self.region_classes is not None
        if self.normalize == "pixels" and not counts_labels:
            count = pixel_count(confusion)
            return count if confusion.exclusive else count * self._chosen(confusion)
        chosen = self._chosen(confusion)
        if confusion.exclusive and self.region_classes is None:
            chosen = chosen & (torch.arange(len(chosen), device=chosen.device) > 0)
        weights = confusion.actual * chosen
        return weights.sum(1) if confusion.exclusive else weights

    def _chosen(self, confusion: SoftConfusion) -> Tensor:
        """Returns booleans (C,): True for the classes that count."""
        channels = confusion.actual.shape[1]
        chosen = range(channels) if self.region_classes is None else self.region_classes
        return _like(tuple(float(c in chosen) for c in range(channels)), confusion.actual) > 0

    def statistics(self, confusion: SoftConfusion) -> AdditiveStatistics:
        """Returns the sums over samples; of all channels if positives are the denominator."""
        if self.normalize == "pixels":
            return super().statistics(confusion)
        sums = self.over_samples(confusion, *self.pixels(confusion))

        def finish(sums: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
            total, positives = sums
            return total, positives.clamp(min=1)

        return AdditiveStatistics([each.sum() for each in sums], finish)

    def losses_and_weights(self, confusion: SoftConfusion) -> tuple[Tensor, Tensor]:
        """Returns the mean of each sample (and channel, for sigmoid) and its weight."""
        losses, weights = self.pixels(confusion)
        weights = weights if self.normalize == "pixels" else weights.clamp(min=1)
        return mean(losses, weights), weights

    def analytic_form(self) -> PixelMean | None:
        """Returns the keys of both sums; None with other options, or if a subclass changes it."""
        is_plain = not self.pairs and self.region_classes is None and self.normalize == "pixels"
        if not is_plain or overrides(self, Focal, _FORMULA):
            return None
        return PixelMean(self.sum.name, "pixel_weight")

    @property
    def fits_any_classes(self) -> bool:
        """True if there is nothing to check."""
        return len(self.sum.alpha) == 1 and not self.pairs and self.region_classes is None

    def check_classes(self, channels: int, activation: str = "softmax") -> None:
        """Raises ValueError if alpha or the classes do not fit the number of channels."""
        classes = None if self.region_classes is None else tuple(self.region_classes)
        Reduction(classes=classes).check_classes(channels)
        if self.pairs:
            if activation == "softmax" or len(self.pairs) != channels:
                raise ValueError(
                    "alpha with a pair [background, foreground] for each channel needs sigmoid and "
                    f"{channels} pairs, got {len(self.pairs)} pairs with {activation}: with "
                    "softmax, give one weight for each class."
                )
            return
        sides, given = 2 if activation == "sigmoid" else channels, len(self.sum.alpha)
        if given not in (1, sides):
            each = "background and foreground" if activation == "sigmoid" else "each class"
            hint = ""
            if activation == "sigmoid" and given == channels:
                pairs = [[round(1 - a, 6), a] for a in self.sum.alpha]
                hint = f". For weights of each channel, pass a pair for each, such as {pairs}"
            raise ValueError(
                f"alpha must be None or have one weight for {each} with {activation}: expected "
                f"{sides}, got {given}{hint}."
            )


class MissedProbability(PixelTerm):
    r"""The mean probability that is missing from the true class of a pixel.

    .. math:: \frac{\sum w (1 - p_y)}{\sum w}

    in [0, 1]: 0 for a perfect prediction. For softmax it is half of the mean absolute error.

    Source: Ghosh, Kumar, Sastry, "Robust loss functions under label noise for deep neural
    networks" (2017).
    """

    name = "missed_probability"
    sums = (REGION,)

    def pixels(self, confusion: SoftConfusion) -> tuple[Tensor, Tensor]:
        """Returns the sums of 1 - p_y, and of the pixels' weights."""
        missed = confusion.false_negative
        if confusion.exclusive:
            return missed.sum(1), pixel_count(confusion)
        return missed + confusion.false_positive, pixel_count(confusion)


class Poly1(Term):
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

    name = "poly1"
    sums = (CROSS_ENTROPY, REGION)
    epsilon: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set(epsilon=check_number("epsilon", self.epsilon))

    def components(self, name: str) -> list[tuple[str, float, Term]]:
        """Returns the two terms."""
        return [
            (f"{name}_cross_entropy", 1.0, CrossEntropy()),
            (f"{name}_missed_probability", self.epsilon, MissedProbability()),
        ]


def _like(numbers: Sequence[float], like: Tensor) -> Tensor:
    """Returns numbers (C,) on the device of a tensor, in its dtype."""
    return on_device(tuple(numbers), like.device, like.dtype)


def _check_pairs(alpha: Any) -> tuple[tuple[float, float], ...]:
    """Returns alpha as a pair for each channel; empty if it is something else."""
    if not is_list(alpha) or not any(is_list(each) for each in alpha):
        return ()
    if not all(is_list(each) and len(each) == 2 for each in alpha):
        raise ValueError(
            "alpha must have a pair [background, foreground] for each channel, such as "
            f"[[0.75, 0.25], [0.4, 0.6]], got {shown(alpha)}."
        )
    names = [f"alpha[{i}]" for i in range(len(alpha))]
    return tuple(
        (check_number(f"{name}[0]", background), check_number(f"{name}[1]", foreground))
        for name, (background, foreground) in zip(names, alpha, strict=True)
    )


def _check_alpha(alpha: float | Sequence[float] | None) -> tuple[float, ...]:
    if alpha is None:
        return (1.0,)
    given: Any = as_python(alpha)
    if is_list(given) and not given:
        raise ValueError("alpha must have at least one weight, got an empty list.")
    if is_list(given):
        return tuple(check_number(f"alpha[{i}]", weight) for i, weight in enumerate(given))
    foreground = check_number("alpha", given, 0, 1)
    return (1 - foreground, foreground)
