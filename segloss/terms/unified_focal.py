"""The unified focal term: a focal loss and a focal Tversky loss, of rare classes and the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from segloss.arguments import check_number
from segloss.confusion import FocalSum, SoftConfusion
from segloss.terms.overlap import power
from segloss.terms.term import PixelTerm, RegionTerm, Term, mean, pixel_count

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from segloss.terms.term import RegionOptions


class AsymmetricFocal(PixelTerm):
    r"""Focal loss that spares the background alone.

    .. math:: \frac{1}{\sum w} \left( \sum_{y > 0} w\,\delta (-\log p_y)
        + \sum_{y = 0} w (1 - \delta) (1 - p_y)^\gamma (-\log p_y) \right)

    in [0, inf): 0 for a perfect prediction.

    Args:
        delta: The weight of the foreground, in [0, 1].
        gamma: The exponent of the background, at least 0.

    Source: see `UnifiedFocal`.
    """

    name = "asymmetric_focal"

    def __init__(self, *, delta: float = 0.6, gamma: float = 0.5) -> None:
        super().__init__()
        delta = check_number("delta", delta, 0, 1)
        self.sum = FocalSum((check_number("gamma", gamma), 0.0), (1 - delta, delta))
        self.sums = (self.sum.group,)

    def pixels(self, confusion: SoftConfusion) -> tuple[Tensor, Tensor]:
        """The focal losses, and the pixels' weights."""
        return confusion[self.sum.group], pixel_count(confusion)


class AsymmetricFocalTversky(RegionTerm):
    r"""Tversky loss, steeper near a perfect prediction for all classes but the background.

    .. math:: T_0 \text{ and } T_c^{1 - \gamma}, \quad
        T = \frac{(1 - \delta) FP + \delta FN}{TP + (1 - \delta) FP + \delta FN}

    in [0, 1]: 0 for a perfect prediction. With softmax class 0 is the background; a sigmoid
    channel's value is the mean of its background's and its foreground's.

    Args:
        delta: The weight of false negatives, in [0, 1].
        gamma: What the exponent is less than 1, in [0, 1].
        **region: How the cells are averaged; see `RegionTerm`. "micro" would mix background and
            foreground.

    Source: see `UnifiedFocal`.
    """

    name = "asymmetric_focal_tversky"

    def __init__(
        self, *, delta: float = 0.6, gamma: float = 0.5, **region: Unpack[RegionOptions]
    ) -> None:
        super().__init__(**region)
        self.delta = check_number("delta", delta, 0, 1)
        self.gamma = check_number("gamma", gamma, 0, 1)
        if self.gamma == 1:
            raise ValueError("gamma must be below 1, got 1: the exponent is 1 - gamma.")
        if self.region_reduction == "micro":
            raise ValueError(
                "region_reduction='micro' mixes background and foreground, which this term treats "
                "differently: use 'sample' or 'batch'."
            )

    def cell_loss(self, confusion: SoftConfusion) -> Tensor:
        """The loss of each cell."""
        tp, fp, fn = confusion.true_positive, confusion.false_positive, confusion.false_negative
        foreground = self._tversky(tp, fp, fn)
        if not confusion.exclusive:
            background = self._tversky(confusion.true_negative, fn, fp)
            return (power(foreground, 1 - self.gamma) + background) / 2
        classes = self.region_classes or range(foreground.shape[1])
        is_background = torch.tensor([c == 0 for c in classes], device=foreground.device)
        return torch.where(is_background, foreground, power(foreground, 1 - self.gamma))

    def _tversky(self, tp: Tensor, fp: Tensor, fn: Tensor) -> Tensor:
        wrong = (1 - self.delta) * fp + self.delta * fn
        return mean(wrong, tp + wrong)


class UnifiedFocal(Term):
    r"""Unified focal loss, in its asymmetric form.

    .. math:: \lambda\,\mathrm{AsymmetricFocal} + (1 - \lambda)\,\mathrm{AsymmetricFocalTversky}

    in [0, inf): 0 for a perfect prediction. It is made of these two terms, named
    "unified_focal_pixels" and "unified_focal_tversky".

    Args:
        weight: Lambda, in [0, 1].
        delta: The weight of the foreground's pixels, and of false negatives, in [0, 1].
        gamma: How far background pixels are suppressed, and the foreground's regions enhanced, in
            [0, 1].
        **region: How the cells of the second term are averaged; see `RegionTerm`.

    Source: Yeung, Sala, Schonlieb, Rundo, "Unified focal loss: generalising Dice and
    cross-entropy-based losses to handle class imbalanced medical image segmentation" (2022).
    """

    name = "unified_focal"
    takes_region_options = True

    def __init__(
        self,
        *,
        weight: float = 0.5,
        delta: float = 0.6,
        gamma: float = 0.5,
        **region: Unpack[RegionOptions],
    ) -> None:
        super().__init__()
        self.weight = check_number("weight", weight, 0, 1)
        self.pixelwise = AsymmetricFocal(delta=delta, gamma=gamma)
        self.tversky = AsymmetricFocalTversky(delta=delta, gamma=gamma, **region)

    def parts(self, name: str) -> list[tuple[str, float, Term]]:
        """The two terms."""
        return [
            (f"{name}_pixels", self.weight, self.pixelwise),
            (f"{name}_tversky", 1 - self.weight, self.tversky),
        ]
