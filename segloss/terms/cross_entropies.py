"""Relatives of cross-entropy: robust to wrong labels, or balanced between two classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from typing import ClassVar

import torch
from torch import Tensor

from segloss.foundation.arguments import check_choice, check_number
from segloss.sums.confusion import SoftConfusion
from segloss.sums.plan import COUNTS, CROSS_ENTROPY, REGION, FocalSum, PowerSum, Sum
from segloss.terms.base import AdditiveStatistics, PixelTerm, Term, mean, pixel_count
from segloss.terms.pixelwise import CrossEntropy, MissedProbability

__all__ = ["BalancedCrossEntropy", "GeneralizedCrossEntropy", "SymmetricCrossEntropy"]


class GeneralizedCrossEntropy(PixelTerm):
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

    name = "generalized_cross_entropy"
    exponent: float = 0.7
    sum: PowerSum = field(init=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        exponent = check_number("exponent", self.exponent, 0, 1, open_low=True)
        self._set(exponent=exponent, sum=PowerSum(exponent))

    @property
    def sums(self) -> tuple[Sum, ...]:  # type: ignore[override]
        """The sum of powers."""
        return (self.sum,)

    def pixels(self, confusion: SoftConfusion) -> tuple[Tensor, Tensor]:
        """Returns the sums of the losses, and of the pixels' weights."""
        losses = confusion[self.sum]
        return losses.sum(1) if confusion.exclusive else losses, pixel_count(confusion)


class SymmetricCrossEntropy(Term):
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

    name = "symmetric_cross_entropy"
    sums = (CROSS_ENTROPY, REGION)
    alpha: float = 0.1
    beta: float = 1.0
    log_zero: float = -4.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set(
            alpha=check_number("alpha", self.alpha),
            beta=check_number("beta", self.beta),
            log_zero=check_number("log_zero", self.log_zero, -torch.inf, 0),
        )
        if self.log_zero == 0:
            raise ValueError("log_zero must be below 0, the logarithm of a small number, got 0.")
        if self.alpha == self.beta == 0:
            raise ValueError("SymmetricCrossEntropy's alpha and beta must not both be 0.")

    def components(self, name: str) -> list[tuple[str, float, Term]]:
        """Returns the two terms."""
        return [
            (f"{name}_forward", self.alpha, CrossEntropy()),
            (f"{name}_reverse", -self.beta * self.log_zero, MissedProbability()),
        ]


class BalancedCrossEntropy(PixelTerm):
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

    name = "balanced_cross_entropy"
    foreground: ClassVar[FocalSum] = FocalSum((0.0,), (0.0, 1.0))
    background: ClassVar[FocalSum] = FocalSum((0.0,), (1.0, 0.0))
    sums: ClassVar[Sequence[Sum]] = (COUNTS, foreground, background)
    balance: str = "sample"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("balance", self.balance, _POOLED_DIMS)

    def pixels(self, confusion: SoftConfusion) -> tuple[Tensor, Tensor]:
        """Returns the sums of the balanced losses and of weights: (N, C), or (N,) for softmax."""
        *losses, foreground, total = self._parts(confusion)
        pooled = [self._pooled(size, confusion, keepdim=True) for size in (foreground, total)]
        return _balanced(*losses, *pooled), total

    def statistics(self, confusion: SoftConfusion) -> AdditiveStatistics:
        """Returns the sums over samples, or the parts, to be balanced over all samples later."""
        if self.balance == "sample":
            return super().statistics(confusion)
        if confusion.factors is not None and confusion.factors.shares is not None:
            raise ValueError(self._has_no_parts("balance='sample'"))
        parts = [self._pooled(part, confusion) for part in self._parts(confusion)]
        return AdditiveStatistics(parts, lambda summed: (_balanced(*summed), summed[-1]))

    def _pooled(self, parts: Tensor, confusion: SoftConfusion, *, keepdim: bool = False) -> Tensor:
        """Returns the sums of samples, or of samples and channels, times the samples' weights."""
        dims = _POOLED_DIMS[self.balance][: parts.ndim]
        if not dims:
            return parts
        factors = confusion.factors
        weighted = parts if factors is None else factors.of_denominator(parts)
        return weighted.sum(dims, keepdim=keepdim)

    def _parts(self, confusion: SoftConfusion) -> list[Tensor]:
        """Returns the losses of foreground and background, and the weights of the first and both.

        They are (N, C), or (N,) for softmax.
        """
        actual = confusion.actual[:, 1:].sum(1) if confusion.exclusive else confusion.actual
        return [
            confusion[self.foreground],
            confusion[self.background],
            actual,
            pixel_count(confusion),
        ]


_POOLED_DIMS: dict[str, list[int]] = {"sample": [], "batch": [0], "micro": [0, 1]}
"""The dimensions of (samples, channels) over which foreground and background are balanced."""


def _balanced(
    of_foreground: Tensor, of_background: Tensor, foreground: Tensor, total: Tensor
) -> Tensor:
    share = mean(foreground, total)
    return (1 - share) * of_foreground + share * of_background
