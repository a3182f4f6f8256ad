"""Terms that are means over pixels: cross-entropy, the focal loss, and Poly-1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from segloss.arguments import as_python, check_number, is_list
from segloss.confusion import FocalSum, SoftConfusion
from segloss.terms.term import PixelTerm, Term, pixel_count


class CrossEntropy(PixelTerm):
    r"""Cross-entropy, binary for sigmoid, as one weighted mean over all pixels of the batch.

    .. math:: \frac{\sum w\,\mathrm{ce}}{\sum w}

    in [0, inf): 0 for a perfect prediction. Class weights, `pos_weight` and label smoothing are
    included: the pass has taken the sums.
    """

    name = "cross_entropy"
    sums = ("cross_entropy",)

    def pixels(self, confusion: SoftConfusion) -> tuple[Tensor, Tensor]:
        """The cross-entropy, and the normaliser of its mean."""
        return confusion.cross_entropy, confusion.weight


class Focal(PixelTerm):
    r"""Focal loss: cross-entropy in which pixels count the less, the better they are predicted.

    .. math:: \frac{\sum w\,\alpha_y (1 - p_y)^\gamma (-\log p_y)}{\sum w}

    in [0, inf): 0 for a perfect prediction; the cross-entropy for gamma = 0. y is the class of a
    pixel: with softmax its label, with sigmoid foreground or background of each channel. Soft
    targets count as a mean of both. Class weights and label smoothing are the cross-entropy's
    alone.

    Args:
        gamma: The exponent, at least 0.
        alpha: The weights. For sigmoid a number in [0, 1], the foreground's (the background gets
            1 - alpha), or both as [background, foreground]; for softmax one weight per class.
            None: 1 for all.

    Source: Lin, Goyal, Girshick, He, Dollar, "Focal loss for dense object detection" (2017).
    """

    name = "focal"

    def __init__(self, *, gamma: float = 2.0, alpha: float | Sequence[float] | None = None) -> None:
        super().__init__()
        weights = _check_alpha(alpha)
        self.sum = FocalSum((check_number("gamma", gamma),), weights)
        self.sums = (self.sum.group,)

    def pixels(self, confusion: SoftConfusion) -> tuple[Tensor, Tensor]:
        """The focal losses, and the pixels' weights."""
        return confusion[self.sum.group], pixel_count(confusion)

    def check_classes(self, channels: int, activation: str = "softmax") -> None:
        """Raises ValueError if alpha does not fit so many channels."""
        sides, given = 2 if activation == "sigmoid" else channels, len(self.sum.alpha)
        if given not in (1, sides):
            each = "background and foreground" if activation == "sigmoid" else "each class"
            raise ValueError(
                f"alpha must be None or have one weight for {each} with {activation}: expected "
                f"{sides}, got {given}."
            )


class MissedProbability(PixelTerm):
    r"""The mean of the probability that pixels do not give to their class.

    .. math:: \frac{\sum w (1 - p_y)}{\sum w}

    in [0, 1]: 0 for a perfect prediction. It is half of the mean absolute error of softmax.

    Source: Ghosh, Kumar, Sastry, "Robust loss functions under label noise for deep neural
    networks" (2017).
    """

    name = "missed_probability"
    sums = ("region",)

    def pixels(self, confusion: SoftConfusion) -> tuple[Tensor, Tensor]:
        """What is missed: of the label with softmax, of either side of a channel with sigmoid."""
        missed = confusion.false_negative
        if confusion.exclusive:
            return missed.sum(1), pixel_count(confusion)
        return missed + confusion.false_positive, pixel_count(confusion)


class Poly1(Term):
    r"""Poly-1 loss: cross-entropy with another weight for the first term of its series.

    .. math:: \overline{\mathrm{CE}} + \epsilon\,\overline{1 - p_y}

    in [0, inf) for epsilon of at least 0: 0 for a perfect prediction. It is made of two terms,
    "poly1_cross_entropy" and "poly1_missed_probability".

    Args:
        epsilon: The weight of the second term, at least 0.

    Source: Leng, Tan, Liu, Cubuk, Shi, Cheng, Anguelov, "PolyLoss: a polynomial expansion
    perspective of classification loss functions" (2022).
    """

    name = "poly1"

    def __init__(self, *, epsilon: float = 1.0) -> None:
        super().__init__()
        self.epsilon = check_number("epsilon", epsilon)

    def parts(self, name: str) -> list[tuple[str, float, Term]]:
        """The two terms."""
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
