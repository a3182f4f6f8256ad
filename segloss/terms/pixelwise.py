"""Terms that are means over pixels: cross-entropy, the focal loss, and Poly-1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from typing import Any

from torch import Tensor

from segloss.foundation.arguments import as_python, check_number, is_list
from segloss.sums.analytic import PixelMean
from segloss.sums.confusion import SoftConfusion
from segloss.sums.plan import CROSS_ENTROPY, REGION, FocalSum, Sum
from segloss.terms.base import PixelTerm, Term, overrides, pixel_count

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
    a pixel: its label for softmax, foreground or background of each channel for sigmoid. For a soft
    target, the loss is the mean over the classes, weighted by the target. Class weights and label
    smoothing apply only to the cross-entropy.

    Args:
        gamma: The exponent, at least 0.
        alpha: The weights. For sigmoid, the foreground's weight in [0, 1] (the background gets
            1 - alpha), or both as [background, foreground]; for softmax, one weight per class.
            None: 1 for all.

    Source: Lin, Goyal, Girshick, He, Dollar, "Focal loss for dense object detection" (2017).

    Example:
        >>> import torch
        >>> from segloss import FocalLoss
        >>> FocalLoss("multiclass", gamma=2.0)(torch.zeros(1, 2, 4), torch.tensor([[0, 1, 1, 0]]))
        tensor(0.1733)
    """

    name = "focal"
    gamma: float = 2.0
    alpha: float | Sequence[float] | None = None
    sum: FocalSum = field(init=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        gamma, weights = check_number("gamma", self.gamma), _check_alpha(self.alpha)
        given = as_python(self.alpha)
        alpha = tuple(given) if is_list(given) else given
        self._set(gamma=gamma, alpha=alpha, sum=FocalSum((gamma,), weights))

    @property
    def sums(self) -> tuple[Sum, ...]:  # type: ignore[override]
        """The focal sum."""
        return (self.sum,)

    def pixels(self, confusion: SoftConfusion) -> tuple[Tensor, Tensor]:
        """Returns the sums of the focal losses and of the pixels' weights."""
        return confusion[self.sum], pixel_count(confusion)

    def analytic_form(self) -> PixelMean | None:
        """Returns the keys of both sums; None if a subclass changes the formula."""
        if overrides(self, Focal, _FORMULA):
            return None
        return PixelMean(self.sum.name, "pixel_weight")

    @property
    def fits_any_classes(self) -> bool:
        """True if alpha is the same for all classes."""
        return len(self.sum.alpha) == 1

    def check_classes(self, channels: int, activation: str = "softmax") -> None:
        """Raises ValueError if alpha does not fit the number of channels."""
        sides, given = 2 if activation == "sigmoid" else channels, len(self.sum.alpha)
        if given not in (1, sides):
            each = "background and foreground" if activation == "sigmoid" else "each class"
            raise ValueError(
                f"alpha must be None or have one weight for {each} with {activation}: expected "
                f"{sides}, got {given}."
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
