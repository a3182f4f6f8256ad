"""Terms of overlap: functions of the share of errors in a weighted sum of hits and errors."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from segloss.foundation.arguments import as_python, check_flag, check_number, is_list, shown
from segloss.sums.analytic import ANALYTIC_POOLINGS, OverlapRatio
from segloss.sums.confusion import SoftConfusion
from segloss.sums.plan import REGION, SQUARED_ERROR
from segloss.terms.base import LEAST_TOTAL, RegionTerm, overrides, share

__all__ = [
    "Dice",
    "FBeta",
    "FocalTversky",
    "Jaccard",
    "LogCoshDice",
    "LogDice",
    "SquaredDice",
    "Tversky",
]


class Weights(NamedTuple):
    """The weights of the three counts in an `Overlap`."""

    true_positive: float
    false_positive: float
    false_negative: float


class Smoothing(NamedTuple):
    """The numbers that are added to the numerator and to the denominator of a score."""

    numerator: float
    denominator: float

    @classmethod
    def of(cls, smooth: float | Sequence[float]) -> Smoothing:
        """Returns the smoothing for an argument that `check_smooth` has checked."""
        return cls(*smooth) if isinstance(smooth, tuple) else cls(smooth, smooth)  # type: ignore[arg-type]


def check_smooth(smooth: Any) -> float | tuple[float, float]:
    """Checks a smoothing: returns a number, or a pair if its two numbers differ."""
    given = as_python(smooth)
    if not is_list(given):
        return check_number("smooth", given)
    if len(given) != 2:
        raise ValueError(
            "smooth must be a number, or two: of the numerator and of the denominator, got "
            f"{shown(given)}."
        )
    names = ("smooth[0], of the numerator,", "smooth[1], of the denominator,")
    numerator, denominator = (check_number(*each) for each in zip(names, given, strict=True))
    return numerator if numerator == denominator else (numerator, denominator)


class Overlap(RegionTerm):
    r"""One minus an overlap score, written without a difference of nearly equal numbers.

    .. math:: \frac{f\,FP + m\,FN}{h\,TP + f\,FP + m\,FN + s}

    in [0, 1]: 0 for a perfect prediction, and for a cell with neither prediction nor target. A
    cell is one (sample, class) pair. A subclass defines the weights h, f, m, or other
    `errors_and_hits`, and may define an `exponent` or another `shape`.

    Args:
        smooth: The smoothing s, at least 0; or a pair (n, d), with which the score is
            :math:`(h\,TP + n) / (h\,TP + f\,FP + m\,FN + d)`. With n < d, the loss of a perfect
            prediction is above 0, and that of an absent class is up to 1 even if it is not
            predicted; with n > d, the loss can be below 0.
        log: True for minus the logarithm of the score, in [0, inf), in place of one minus the
            score. If n is 0, the logarithm continues as its tangent for scores below 1e-7, so the
            loss is at most 17.12, and keeps its slope.
        clip_tp: A lower bound on the true positives of a cell, at least 0. Cells with fewer have no
            slope with respect to TP.
        **region: The arguments of `RegionTerm`, for the mean over cells.
    """

    smooth: float | Sequence[float] = 0.0
    log: bool = False
    clip_tp: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_flag("log", self.log)
        self._set(smooth=check_smooth(self.smooth), clip_tp=check_number("clip_tp", self.clip_tp))

    @property
    def exponent(self) -> float:
        """The exponent of the loss."""
        return 1.0

    @property
    def has_score(self) -> bool:  # type: ignore[override]
        """True if nothing changes one minus the score: no logarithm, exponent, or other formula."""
        is_changed = self.log or self.exponent != 1
        return not (is_changed or overrides(self, Overlap, ("cell_loss", "shape")))

    @abstractmethod
    def weights(self) -> Weights:
        """Returns the weights of true positives, false positives and false negatives."""

    def shape(self, loss: Tensor) -> Tensor:
        """Returns the loss of each cell from its ratio, by default a power of it; 0 must give 0."""
        return power(loss, self.exponent)

    def errors_and_hits(self, confusion: SoftConfusion) -> tuple[Tensor, Tensor]:
        """Returns the errors, and the hits that they are compared with, of each cell."""
        of_tp, of_fp, of_fn = self.weights()
        errors = torch.add(
            _times(confusion.false_positive, of_fp), confusion.false_negative, alpha=of_fn
        )
        return errors, _times(self.true_positive(confusion), of_tp)

    def true_positive(self, confusion: SoftConfusion) -> Tensor:
        """Returns the true positives of each cell, at least `clip_tp`."""
        counted = confusion.true_positive
        return counted.clamp(min=self.clip_tp) if self.clip_tp > 0 else counted

    def cell_loss(self, confusion: SoftConfusion) -> Tensor:
        """Returns the loss of each cell."""
        errors, hits = self.errors_and_hits(confusion)
        numerator, denominator = Smoothing.of(self.smooth)
        if numerator != denominator:
            errors = errors + (denominator - numerator)
        correct = hits + numerator
        if not self.log:
            return self.shape(share(errors, correct))
        return self.shape(minus_log_share(correct, errors, 0 if numerator > 0 else LEAST_SCORE))

    def analytic_form(self) -> OverlapRatio | None:
        """Returns the numbers in the ratio; None if an option or a subclass changes it."""
        numerator, denominator = Smoothing.of(self.smooth)
        has_option = self.log or self.clip_tp > 0 or numerator != denominator
        is_pooled_otherwise = self.region_reduction not in ANALYTIC_POOLINGS
        has_option = has_option or self.class_groups is not None
        if has_option or is_pooled_otherwise or overrides(self, Overlap, _FORMULA):
            return None
        tp, fp, fn = (row.key for row in self.sums[0].rows)
        return OverlapRatio(
            (tp, fp, fn),
            self.weights(),
            numerator,
            self.exponent,
            self.reduction,
            components=self.region_groups is not None,
        )


_FORMULA = (
    "cell_loss",
    "errors_and_hits",
    "true_positive",
    "shape",
    "sums",
    "losses_and_weights",
    "pooled_losses_and_weights",
    "pooled",
    "cell_weights",
    "statistics",
    "__call__",
)
"""The methods that define the formula of an `Overlap`, except for its numbers."""

LEAST_SCORE = 1e-7
"""The score below which a logarithm without smoothing continues as its tangent."""


def minus_log_share(part: Tensor, other: Tensor, least: float) -> Tensor:
    """Returns -log(part / (part + other)), with all digits near 0; 0 if both are 0.

    Below a share of `least`, it returns the tangent there, which is finite and has a slope.
    """
    total = part + other
    empty = total.detach() < LEAST_TOTAL
    below = (part.detach() <= least * total.detach()) & ~empty
    infinity = torch.zeros_like(total).masked_fill_(below | empty, torch.inf)
    logarithm = torch.log1p(other / (part + infinity))
    if least == 0:
        return logarithm
    total = total + torch.zeros_like(total).masked_fill_(empty, torch.inf)
    tangent = 1 - math.log(least) - part / total / least
    return logarithm + below.to(total.dtype) * tangent  # no mask is saved, as in `mean`


class Dice(Overlap):
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

    name = "dice"
    smooth: float | Sequence[float] = 1.0

    def weights(self) -> Weights:
        """Returns 2, 1, 1."""
        return Weights(2.0, 1.0, 1.0)


class LogDice(Dice):
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

    name = "log_dice"
    log: ClassVar[bool] = True  # type: ignore[misc]
    gamma: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set(gamma=check_number("gamma", self.gamma, open_low=True))

    @property
    def exponent(self) -> float:
        """The exponent gamma."""
        return self.gamma


class LogCoshDice(Dice):
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

    name = "log_cosh_dice"
    log: ClassVar[bool] = False  # type: ignore[misc]

    def shape(self, loss: Tensor) -> Tensor:
        """Returns log cosh as log(1 + 2 sinh(x / 2)^2), which is accurate for small losses."""
        return torch.log1p(2 * torch.sinh(loss / 2).square())


class SquaredDice(Overlap):
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

    name = "squared_dice"
    sums = (REGION, SQUARED_ERROR)
    smooth: float | Sequence[float] = 1.0

    def errors_and_hits(self, confusion: SoftConfusion) -> tuple[Tensor, Tensor]:
        """Returns the squared errors and twice the true positives of each cell."""
        return confusion["squared_error"], 2 * self.true_positive(confusion)


class Jaccard(Overlap):
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

    name = "jaccard"

    def weights(self) -> Weights:
        """Returns 1, 1, 1."""
        return Weights(1.0, 1.0, 1.0)


class Tversky(Overlap):
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

    name = "tversky"
    alpha: float = 0.3
    beta: float = 0.7

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set(alpha=check_number("alpha", self.alpha), beta=check_number("beta", self.beta))
        if self.alpha == self.beta == 0:
            raise ValueError("Tversky's alpha and beta must not both be 0.")

    def weights(self) -> Weights:
        """Returns 1, alpha, beta."""
        return Weights(1.0, self.alpha, self.beta)


class FocalTversky(Tversky):
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

    name = "focal_tversky"
    gamma: float = 0.75

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set(gamma=check_number("gamma", self.gamma, open_low=True))

    @property
    def exponent(self) -> float:
        """The exponent gamma."""
        return self.gamma


class FBeta(Overlap):
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

    name = "f_beta"
    beta: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set(beta=check_number("beta", self.beta, open_low=True))

    def weights(self) -> Weights:
        """Returns 1 + beta^2, 1, beta^2."""
        return Weights(1 + self.beta**2, 1.0, self.beta**2)


def power(loss: Tensor, gamma: float) -> Tensor:
    """Returns a loss of at least 0 to the power of gamma; at 0, value and gradient are 0."""
    if gamma == 1:
        return loss
    perfect = (loss.detach() <= 0).to(loss.dtype)
    return (loss + perfect) ** gamma * (1 - perfect)


def _times(tensor: Tensor, factor: float) -> Tensor:
    return tensor if factor == 1 else tensor * factor
