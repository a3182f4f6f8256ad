"""The unified focal term: a focal loss plus a focal Tversky loss, asymmetric or symmetric."""

from __future__ import annotations

from dataclasses import field, fields
from typing import ClassVar

import torch
from torch import Tensor

from segloss.foundation.arguments import check_flag, check_number
from segloss.foundation.device_constants import on_device
from segloss.sums.confusion import SoftConfusion
from segloss.sums.plan import FocalSum, Sum
from segloss.terms.base import PixelTerm, RegionTerm, Term, pixel_count, share
from segloss.terms.overlap import power

__all__ = ["UnifiedFocal"]


class AsymmetricFocal(PixelTerm):
    r"""Focal loss that reduces the weight of well-predicted pixels only in the background.

    .. math:: \frac{1}{\sum w} \left( \sum_{y > 0} w\,\delta (-\log p_y)
        + \sum_{y = 0} w (1 - \delta) (1 - p_y)^\gamma (-\log p_y) \right)

    in [0, inf): 0 for a perfect prediction.

    Args:
        delta: The weight of the foreground, in [0, 1].
        gamma: The exponent of the background, at least 0.

    Source: see `UnifiedFocal`.
    """

    name = "asymmetric_focal"
    is_symmetric: ClassVar[bool] = False
    delta: float = 0.6
    gamma: float = 0.5
    sum: FocalSum = field(init=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        delta, gamma = check_number("delta", self.delta, 0, 1), check_number("gamma", self.gamma)
        gammas = (gamma, gamma if self.is_symmetric else 0.0)
        self._set(delta=delta, gamma=gamma, sum=FocalSum(gammas, (1 - delta, delta)))

    @property
    def sums(self) -> tuple[Sum, ...]:  # type: ignore[override]
        """The focal sum."""
        return (self.sum,)

    def pixels(self, confusion: SoftConfusion) -> tuple[Tensor, Tensor]:
        """Returns the sums of the focal losses and of the pixels' weights."""
        return confusion[self.sum], pixel_count(confusion)


class SymmetricFocal(AsymmetricFocal):
    r"""Focal loss that reduces the weight of all well-predicted pixels.

    .. math:: \frac{1}{\sum w} \left( \sum_{y > 0} w\,\delta (1 - p_y)^\gamma (-\log p_y)
        + \sum_{y = 0} w (1 - \delta) (1 - p_y)^\gamma (-\log p_y) \right)

    in [0, inf): 0 for a perfect prediction.

    Args:
        delta: The weight of the foreground, in [0, 1].
        gamma: The exponent, at least 0.

    Source: see `UnifiedFocal`.
    """

    name = "symmetric_focal"
    is_symmetric: ClassVar[bool] = True


class AsymmetricFocalTversky(RegionTerm):
    r"""Tversky loss that is steeper near a perfect prediction, except for the background.

    .. math:: T_0 \text{ and } T_c^{1 - \gamma}, \quad
        T = \frac{(1 - \delta) FP + \delta FN}{TP + (1 - \delta) FP + \delta FN}

    in [0, 1]: 0 for a perfect prediction. For softmax, T_0 is the background's, class 0. For a
    sigmoid channel, the loss is the mean over its background and its foreground.

    Args:
        delta: The weight of false negatives, in [0, 1].
        gamma: The number that is subtracted from the exponent of 1, in [0, 1).
        **region: The arguments of `RegionTerm`, for the mean over cells. "micro" and
            "sample_micro" are errors, because they would mix background and foreground.

    Source: see `UnifiedFocal`.
    """

    name = "asymmetric_focal_tversky"
    is_symmetric: ClassVar[bool] = False
    counts_true_negatives = True
    delta: float = 0.6
    gamma: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        delta, gamma = (
            check_number("delta", self.delta, 0, 1),
            check_number("gamma", self.gamma, 0, 1),
        )
        self._set(delta=delta, gamma=gamma)
        if self.gamma == 1:
            raise ValueError("gamma must be below 1, got 1: the exponent is 1 - gamma.")
        if self.reduction.pools_classes:
            raise ValueError(
                f"region_reduction={self.region_reduction!r} mixes background and foreground, "
                "which this term treats differently: use 'sample' or 'batch'."
            )

    def cell_loss(self, confusion: SoftConfusion) -> Tensor:
        """Returns the loss of each cell (sample, class)."""
        tp, fp, fn = confusion.true_positive, confusion.false_positive, confusion.false_negative
        foreground = self._tversky(tp, fp, fn)
        if not confusion.exclusive:
            background = self._tversky(confusion.true_negative, fn, fp)
            if self.is_symmetric:
                background = power(background, 1 - self.gamma)
            return (power(foreground, 1 - self.gamma) + background) / 2
        if self.is_symmetric:
            return power(foreground, 1 - self.gamma)
        classes = self.region_classes or range(foreground.shape[1])
        flags = tuple(float(label == 0) for label in classes)
        is_background = on_device(flags, foreground.device, torch.bool)
        return torch.where(is_background, foreground, power(foreground, 1 - self.gamma))

    def _tversky(self, tp: Tensor, fp: Tensor, fn: Tensor) -> Tensor:
        errors = (1 - self.delta) * fp + self.delta * fn
        return share(errors, tp)


class SymmetricFocalTversky(AsymmetricFocalTversky):
    r"""Tversky loss that is steeper near a perfect prediction, for every class.

    .. math:: T_c^{1 - \gamma}, \quad
        T = \frac{(1 - \delta) FP + \delta FN}{TP + (1 - \delta) FP + \delta FN}

    in [0, 1]: 0 for a perfect prediction. For a sigmoid channel, the loss is the mean over its
    background and its foreground.

    Args:
        delta: The weight of false negatives, in [0, 1].
        gamma: The number that is subtracted from the exponent of 1, in [0, 1).
        **region: The arguments of `RegionTerm`, for the mean over cells, as in
            `AsymmetricFocalTversky`.

    Source: see `UnifiedFocal`.
    """

    name = "symmetric_focal_tversky"
    is_symmetric: ClassVar[bool] = True


class UnifiedFocal(RegionTerm):
    r"""Unified focal loss, in its asymmetric or its symmetric form.

    .. math:: \lambda\,\mathrm{AsymmetricFocal} + (1 - \lambda)\,\mathrm{AsymmetricFocalTversky}

    in [0, inf): 0 for a perfect prediction. It is the sum of these two terms, which are named
    "unified_focal_pixels" and "unified_focal_tversky".

    Args:
        weight: Lambda, in [0, 1].
        delta: The weight of foreground pixels, and of false negatives, in [0, 1].
        gamma: The exponent of the first term, and the number that the second subtracts from its
            exponent of 1, in [0, 1). Larger values suppress background pixels more, and enhance
            the foreground's regions more.
        symmetric: True for `SymmetricFocal` and `SymmetricFocalTversky`, which treat background and
            foreground alike, except for their weights.
        **region: The arguments of `RegionTerm`, for the mean over the cells of the second term.

    Source: Yeung, Sala, Schonlieb, Rundo, "Unified focal loss: generalising Dice and
    cross-entropy-based losses to handle class imbalanced medical image segmentation" (2022).

    Example:
        >>> import torch
        >>> from segloss import UnifiedFocalLoss
        >>> UnifiedFocalLoss()(torch.zeros(1, 1, 4), torch.tensor([[0, 1, 1, 0]]))
        tensor(0.4548)
    """

    name = "unified_focal"
    weight: float = 0.5
    delta: float = 0.6
    gamma: float = 0.5
    symmetric: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_flag("symmetric", self.symmetric)
        self._set(weight=check_number("weight", self.weight, 0, 1))
        self.components(self.name)  # its terms check the other parameters

    def components(self, name: str) -> list[tuple[str, float, Term]]:
        """Returns the two terms."""
        region = {each.name: getattr(self, each.name) for each in fields(RegionTerm) if each.init}
        focal_type, tversky_type = (
            (SymmetricFocal, SymmetricFocalTversky)
            if self.symmetric
            else (AsymmetricFocal, AsymmetricFocalTversky)
        )
        tversky = tversky_type(delta=self.delta, gamma=self.gamma, **region)
        focal = focal_type(delta=self.delta, gamma=self.gamma)
        return [
            (f"{name}_pixels", self.weight, focal),
            (f"{name}_tversky", 1 - self.weight, tversky),
        ]
