"""Terms of region size: differences between the predicted and the true shares of the classes."""

from __future__ import annotations

import torch
from torch import Tensor

from segloss.sums.confusion import SoftConfusion
from segloss.terms.base import RegionTerm, mean

__all__ = ["RegionSizeKL", "RegionSizeL1"]


class RegionSizeL1(RegionTerm):
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


class RegionSizeKL(RegionTerm):
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
            predicted_background = confusion.true_negative + confusion.false_negative
            divergence = divergence + _divergence(
                actual_background, predicted_background, -difference
            )
        return mean(divergence, confusion.pixel_weight)


def _divergence(actual: Tensor, predicted: Tensor, difference: Tensor) -> Tensor:
    """Returns the divergence y log(y / (y + d)) + d, at least 0; d where y is 0.

    For accuracy, log((y + d) / y) is computed from d where d / y > -0.5, and from the predicted sum
    elsewhere.
    """
    ratio = mean(difference, actual)
    near = ratio > -0.5
    log_near = torch.log1p(ratio.masked_fill(~near, 0))
    least = torch.finfo(predicted.dtype).tiny
    far_ratio = predicted.clamp(min=least) / actual.masked_fill(near, 1)
    log_far = far_ratio.masked_fill(near, 1).log()
    return difference - actual * (log_near + log_far)
