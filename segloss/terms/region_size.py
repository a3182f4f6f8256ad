"""Terms of region size: how far the predicted shares of the classes are from the true ones."""

from __future__ import annotations

import torch
from torch import Tensor

from segloss.sums.confusion import SoftConfusion
from segloss.terms.base import RegionTerm, mean

__all__ = ["RegionSizeKL", "RegionSizeL1"]


class RegionSizeL1(RegionTerm):
    r"""Absolute difference of predicted and true size, as shares of the image.

    .. math:: \left| \frac{\sum p}{\sum 1} - \frac{\sum g}{\sum 1} \right|

    in [0, 1]: 0 where sizes agree, whatever the shapes, so it goes beside a cross-entropy.

    Args:
        **region: How the cells are averaged; see `RegionTerm`.

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
        """Returns the difference of the shares of each cell."""
        difference = confusion.false_positive - confusion.false_negative
        return mean(difference.abs(), confusion.pixel_weight)


class RegionSizeKL(RegionTerm):
    r"""Divergence of the predicted shares of the classes from the true ones.

    .. math:: \sum_c y_c \log \frac{y_c}{\hat y_c}, \quad y_c = \frac{\sum g_c}{\sum 1},
        \quad \hat y_c = \frac{\sum p_c}{\sum 1}

    in [0, inf): 0 where sizes agree, whatever the shapes, so it goes beside a cross-entropy. With
    softmax there is one value for each sample, a sum over its classes (where some are selected,
    :math:`\hat y_c - y_c` is added to each, which keeps it at least 0); with sigmoid one for each
    channel, against its background.

    Args:
        **region: How the cells are averaged; see `RegionTerm`. With softmax,
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
        """Returns the divergences of samples, (N, 1), with softmax, of channels with sigmoid."""
        losses, weights = super().pooled_losses_and_weights(pooled)
        if not pooled.exclusive:
            return losses, weights
        kept = (weights > 0).any(1, keepdim=True)
        return (losses * weights).sum(1, keepdim=True), kept.to(weights)

    def cell_loss(self, confusion: SoftConfusion) -> Tensor:
        """Returns the part of each cell."""
        difference = confusion.false_positive - confusion.false_negative
        part = _divergence(confusion.actual, confusion.predicted, difference)
        if not confusion.exclusive:
            absent = confusion.pixel_weight - confusion.actual
            missed = confusion.true_negative + confusion.false_negative
            part = part + _divergence(absent, missed, -difference)
        return mean(part, confusion.pixel_weight)


def _divergence(actual: Tensor, predicted: Tensor, difference: Tensor) -> Tensor:
    """Returns the divergence y log(y / (y + d)) + d, at least 0; d where y is 0.

    Near d = 0 it takes its digits from the difference, far from it from what is predicted.
    """
    ratio = mean(difference, actual)
    near = ratio > -0.5
    close = torch.log1p(ratio.masked_fill(~near, 0))
    least = torch.finfo(predicted.dtype).tiny
    far = (predicted.clamp(min=least) / actual.masked_fill(near, 1)).masked_fill(near, 1).log()
    return difference - actual * (close + far)
