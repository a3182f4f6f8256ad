"""Terms of region size: differences between the predicted and the true shares of the classes."""

from __future__ import annotations

import torch
from torch import Tensor

from segloss.sums.confusion import SoftConfusion
from segloss.sums.plan import FLOAT64, REGION, TRUE_NEGATIVE, Sum
from segloss.terms.base import RegionTerm, mean

__all__ = ["RegionSizeKL", "RegionSizeL1"]


class RegionSize(RegionTerm):
    """A comparison of the sizes of regions.

    Args:
        **region: The arguments of `RegionTerm`, for the mean over cells. "micro" and
            "sample_micro" are errors for all classes of a softmax: together they always have the
            size of the image.
    """

    def check_classes(self, channels: int, activation: str = "softmax") -> None:
        """Raises ValueError for one cell of all classes of a softmax, or if classes do not fit."""
        super().check_classes(channels, activation)
        counted = channels if self.region_classes is None else len(self.region_classes)
        groups = self.class_groups
        counts_all = counted == channels if groups is None else groups.are_even(channels)
        if self.reduction.pools_classes and activation == "softmax" and counts_all:
            raise ValueError(
                f"region_reduction={self.region_reduction!r} adds up the sizes of all classes, "
                "which is the size of the image with softmax, so the loss is always 0: use "
                "'sample' or 'batch', or leave a class out, as in region_classes=[1, 2]."
            )


class RegionSizeL1(RegionSize):
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

    name = "region_size_l1"

    def cell_loss(self, confusion: SoftConfusion) -> Tensor:
        """Returns the absolute difference of the shares in each cell."""
        difference = confusion.false_positive - confusion.false_negative
        return mean(difference.abs(), confusion.pixel_weight)


class RegionSizeKL(RegionSize):
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

    name = "region_size_kl"
    mixes_softmax = True

    @property
    def sums(self) -> tuple[Sum, ...]:  # type: ignore[override]
        """The counts, which make the same sizes with either `soft_labels`."""
        return (REGION, TRUE_NEGATIVE, FLOAT64)

    def pooled_losses_and_weights(self, pooled: SoftConfusion) -> tuple[Tensor, Tensor]:
        """Returns the divergences and weights: (N, 1) for softmax, (N, C) for sigmoid."""
        losses, weights = super().pooled_losses_and_weights(pooled)
        if not pooled.exclusive:
            return losses, weights
        included = (weights > 0).any(1, keepdim=True)
        return (losses * weights).sum(1, keepdim=True), included.to(weights)

    def cell_loss(self, confusion: SoftConfusion) -> Tensor:
        """Returns the addend of each cell (sample, class); for sigmoid, with its background."""
        difference = confusion.false_positive - confusion.false_negative
        divergence = _divergence(confusion.actual, confusion.predicted, difference)
        if not confusion.exclusive:
            actual_background = confusion.pixel_weight - confusion.actual
            background = confusion.true_negative + confusion.false_negative
            divergence = divergence + _divergence(actual_background, background, -difference)
        return mean(divergence, confusion.pixel_weight)


def _divergence(actual: Tensor, predicted: Tensor, difference: Tensor) -> Tensor:
    """Returns the divergence y log(y / (y + d)) + d, at least 0; d where y is 0.

    With r = d / y it is y (r - log(1 + r)), in three ranges of r: near 0 it is a series, since the
    difference would cancel, and below -1/2, 1 + r comes from the predicted sum.
    """
    ratio = mean(difference, actual)
    is_near, is_small = ratio > -0.5, ratio.abs() < _SMALL
    near = ratio.masked_fill(~is_near | is_small, 0)
    least = torch.finfo(predicted.dtype).tiny
    share = predicted.clamp(min=least) / actual.masked_fill(is_near, 1)
    far = ratio.masked_fill(is_near, 0) - share.masked_fill(is_near, 1).log()
    small = _ratio_minus_log(ratio.masked_fill(~is_small, 0))
    return torch.where(actual > 0, actual * (near - torch.log1p(near) + far + small), difference)


_SMALL = 2**-5
"""The largest |r| at which ten terms of the series of r - log(1 + r) have all digits."""


def _ratio_minus_log(ratio: Tensor) -> Tensor:
    """Returns r - log(1 + r), as r^2 / 2 - r^3 / 3 + ..., for a small r."""
    series = torch.full_like(ratio, 1 / 11)
    for n in range(10, 1, -1):
        series = 1 / n - ratio * series
    return ratio.square() * series
