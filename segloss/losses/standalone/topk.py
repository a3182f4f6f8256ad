"""Cross-entropy of only the worst pixels, in the form of nnU-Net."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from segloss.losses.standalone.hard_pixels import HardPixelLoss
from segloss.losses.standalone.selections import TopK
from segloss.terms import CrossEntropy


class TopKCrossEntropyLoss(HardPixelLoss):
    r"""Mean of the k percent largest cross-entropies of a batch's pixels.

    .. math:: \frac{1}{K} \sum_{i \in \mathrm{top}_K} \mathrm{ce}_i,
        \quad K = \max(1, \lfloor n k / 100 \rfloor)

    with :math:`\mathrm{ce}_i` the cross-entropy of pixel i, n the number of pixels that count, and
    top_K the K pixels of largest cross-entropy. The loss is at least 0, and for k = 100 it is the
    plain mean.

    Args:
        mode: "multiclass": softmax over the channels; "binary" or "multilabel": sigmoid of each
            channel. The pixels of all sigmoid channels are ranked together.
        k: The percentage of pixels to average over, in (0, 100]: for a tenth of them, 10.
        class_weights: Factors (C,) of the cross-entropy of each class (for sigmoid: each channel),
            applied before pixels are ranked. The denominator of the mean stays K, as in nnU-Net.
        label_smoothing: Smoothing s of the targets, in [0, 1], as in `nn.CrossEntropyLoss`. The
            target g of a sigmoid channel becomes g (1 - s) + s / 2.
        ignore_index: The target's value for ignored pixels, or a list of several. They do not count
            in n, and may hold NaN. If all pixels are ignored, the loss and its gradient are 0.

    The prediction is logits (N, C, *spatial), with 1 to 3 spatial dimensions. For "multiclass", the
    target is a label map (N, *spatial) or (N, 1, *spatial), or dense (N, C, *spatial). For the
    other modes, it is a mask of the prediction's shape, or for one channel (N, *spatial).

    With several ranks, each rank takes k percent of its own pixels, not of the whole batch. Pixels
    of equal loss share what is left of K, so the mean is that of exactly K pixels.

    Raises:
        TypeError, ValueError: An argument is wrong when the loss is made, or a batch is wrong when
            it is used.

    Source: Wu, Shen, van den Hengel, "Bridging category-level and instance-level semantic image
    segmentation" (2016), in the form of `TopKLoss` of nnU-Net.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[[0.0, 100.0, 100.0, 100.0]]])
        >>> mask = torch.ones(1, 1, 4)
        >>> TopKCrossEntropyLoss("binary", k=25)(logits, mask)
        tensor(0.6931)
    """

    select: TopK
    takes_probabilities = False

    def __init__(
        self,
        mode: str = "multiclass",
        k: float = 10.0,
        *,
        class_weights: Any = None,
        label_smoothing: float = 0.0,
        ignore_index: int | Sequence[int] | None = None,
    ) -> None:
        super().__init__(
            CrossEntropy(),
            TopK(k),
            mode,
            ignore_index=ignore_index,
            class_weights=class_weights,
            label_smoothing=label_smoothing,
        )

    @property
    def k(self) -> float:
        """The percentage of pixels that the mean is taken over."""
        return self.select.k

    @property
    def label_smoothing(self) -> float:
        """The smoothing of the targets, in [0, 1]."""
        return self.options.label_smoothing

    def _check_channels(self, prediction: Any, target: Any) -> int:
        """Returns the number of channels: "binary" takes several, as "multilabel" does."""
        if self.mode == "multiclass":
            return super()._check_channels(prediction, target)
        return 2
