"""clDice: overlap with skeletons, for vessels, roads and other thin structures.

It needs the skeleton of the prediction, which the pass over the pixels does not have. So it is not
a term, but a module of (prediction, target). A `LossWrapper` gives it batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from segloss.foundation.arguments import check_integer, check_number
from segloss.losses.standalone.shape_loss import Regions, ShapeLoss, total
from segloss.losses.standalone.soft_skeleton import soft_skeleton
from segloss.sums.confusion import SoftConfusion
from segloss.terms.base import RegionTerm, mean


class _ClDice(RegionTerm):
    """One minus the harmonic mean of two shares, from four sums over skeletons."""

    name = "cldice"
    smooth: float = 1.0
    KEYS: ClassVar = ("predicted_on_target", "predicted_off", "target_found", "target_missed")

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set(smooth=check_number("smooth", self.smooth))

    def pooled(self, confusion: SoftConfusion) -> SoftConfusion:
        return self.reduction.pool(confusion)

    def cell_loss(self, confusion: SoftConfusion) -> Tensor:
        """Returns 1 - 2 a b / (a + b), written as (a (1 - b) + b (1 - a)) / (a + b)."""
        on_target, off, found, missed = (confusion[key] for key in self.KEYS)
        imprecision = mean(off, on_target + off + self.smooth)
        insensitivity = mean(missed, found + missed + self.smooth)
        precision, sensitivity = 1 - imprecision, 1 - insensitivity
        both = precision + sensitivity
        loss = mean(precision * insensitivity + sensitivity * imprecision, both)
        return torch.where(both > 0, loss, torch.ones_like(loss))


class SoftClDiceLoss(ShapeLoss):
    r"""One minus clDice: the skeleton of each mask should lie within the other mask.

    .. math:: 1 - \frac{2\,T_p T_s}{T_p + T_s}, \qquad
        T_p = \frac{\sum S(p)\,g + s}{\sum S(p) + s}, \quad
        T_s = \frac{\sum S(g)\,p + s}{\sum S(g) + s}

    with :math:`T_p` the topological precision, :math:`T_s` the topological sensitivity, s the
    smoothing, and S the soft skeleton: each iteration erodes the image by the minimum over a pixel
    and its neighbours along the axes, and adds what an opening removes, where the opening dilates
    by the maximum over 3, 3 x 3 or 3 x 3 x 3 pixels. The loss is in [0, 1], and 0 for a perfect
    hard prediction. Use it beside Dice or cross-entropy: it does not see how thick a structure is.

    Args:
        mode: "multiclass": softmax over the channels; "binary": one sigmoid channel; "multilabel":
            sigmoid of each.
        iterations: The number of erosions: about the radius of the thickest structure in pixels.
            More take time, but hardly any memory.
        smooth: The smoothing s.
        classes: The classes that count, such as `[1, 2]`; None: all, but with softmax not the
            background (0), whose skeleton is meaningless.
        region_reduction: The sums that are pooled before the loss is computed: "sample": none, so
            that the loss is the mean over samples and classes; "batch": those of the samples;
            "micro": those of samples and classes, as in the authors' code.
        region_class_weights: Weights of the classes in the mean, one for each that counts.
        skip_absent_classes: True to leave out samples and classes without a pixel in the target.
        reduction: "mean": a scalar; "sum": the sum over samples and classes; "none": the loss of
            each of them, 0 if left out.
        from_logits: True if predictions are logits, False if they are probabilities.
        ignore_index: The target's value for ignored pixels. Prediction and target are 0 there, so
            an ignored area has no skeleton, and ends structures as background does.

    The prediction is (N, C, *spatial), with 1 to 3 spatial dimensions. For "multiclass", the target
    is a label map (N, *spatial) or (N, 1, *spatial), or dense (N, C, *spatial). For the other
    modes, it is a mask of the prediction's shape, or for one channel (N, *spatial). The loss of a
    sample without a skeleton in either mask is 0; a sample whose pixels are all ignored is left
    out.

    Where neighbours are equal, the gradient goes to the first of them, as in PyTorch's pooling. It
    is computed from the image by eroding it again: autograd would keep several tensors of its size
    for each iteration. On several ranks, each has the loss of its own samples.

    Raises:
        TypeError, ValueError: An argument is wrong when the loss is made, or a batch is wrong when
            it is used.

    Source: Shit et al., "clDice: a novel topology-preserving loss function for tubular structure
    segmentation" (2021).

    Example:
        >>> mask = torch.zeros(1, 1, 5, 20)
        >>> mask[:, :, 1:4] = 1
        >>> broken = mask.clone()
        >>> broken[..., 8:12] = 0
        >>> loss = SoftClDiceLoss("binary", smooth=0.0, from_logits=False)
        >>> loss(mask, mask), loss(broken, mask)
        (tensor(0.), tensor(0.1111))
    """

    def __init__(
        self,
        mode: str = "binary",
        iterations: int = 3,
        *,
        smooth: float = 1.0,
        classes: Sequence[int] | None = None,
        region_reduction: str = "sample",
        region_class_weights: Any = None,
        skip_absent_classes: bool = False,
        reduction: str = "mean",
        from_logits: bool = True,
        ignore_index: Any = None,
    ) -> None:
        term = _ClDice(
            smooth=smooth,
            region_reduction=region_reduction,
            region_class_weights=region_class_weights,
            skip_absent_classes=skip_absent_classes,
        )
        super().__init__(
            term,
            mode,
            classes=classes,
            reduction=reduction,
            from_logits=from_logits,
            ignore_index=ignore_index,
        )
        self.iterations = check_integer("iterations", iterations, 0)

    def sums(self, regions: Regions) -> dict[str, Tensor]:
        """Returns the sums over both skeletons."""
        p, q, target = regions.p, regions.q, regions.target
        predicted = soft_skeleton(p, self.iterations)
        with torch.no_grad():
            true = soft_skeleton(target, self.iterations)
        products = (predicted * target, predicted * (1 - target), true * p, true * q)
        return dict(zip(_ClDice.KEYS, map(total, products), strict=True))

    def extra_repr(self) -> str:
        """Returns the mode, the iterations, and whether predictions are logits."""
        return (
            f"{self.mode!r}, iterations={self.iterations}, from_logits={self.options.from_logits}"
        )
