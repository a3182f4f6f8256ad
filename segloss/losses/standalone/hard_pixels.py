"""Losses of only the hard pixels: a share of the pixels, or online hard example mining.

Their pixels have the losses of `CompoundLoss(reduction="none")`, in one pass, and the backward pass
is the plain one, with weights of 0 for the pixels that are not kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from segloss.batch.pixel_batch import PixelBatch
from segloss.batch.selectors import Selector
from segloss.foundation.precision import accumulation_dtype, without_autocast
from segloss.losses.compound_loss import CompoundLoss
from segloss.losses.standalone.selections import Selection, Threshold, TopK, selection_of
from segloss.sums.confusion import SampleFactors
from segloss.terms import CrossEntropy, Focal, Mixture, Term, mean
from segloss.terms.mixture.group import MixtureGroup
from segloss.terms.mixture.pixels import has_pixels, losses_of_pixels

__all__ = ["HardPixelLoss", "OhemCrossEntropyLoss", "Threshold", "TopK"]

_ENTROPY = MixtureGroup([Mixture.of(CrossEntropy())])
"""The cross-entropy, whose negative is the logarithm of the probability of a pixel's true class."""


class HardPixelLoss(CompoundLoss):
    r"""The mean of a pixel loss over the hard pixels of a batch.

    .. math:: \frac{\sum_i k_i w_i \ell_i}{\sum_i k_i w_i}

    with :math:`\ell_i` the loss of pixel i, w its weight, and k the selection: 1 for hard pixels
    and 0 for the others. The loss is at least 0.

    Args:
        terms: The loss of a pixel: a term that is a mean over pixels, such as `CrossEntropy()` or
            `Focal()` of `segloss.terms`, or a mixture or mapping of such terms; None:
            cross-entropy.
        select: The selection, `TopK(k=10)` or `Threshold(0.7, min_kept=100_000)`, or a mapping of
            its arguments, as configs have it; None: `TopK()`.
        mode: "multiclass": softmax over the channels; "binary": one sigmoid channel; "multilabel":
            independent sigmoid channels, whose pixels are ranked together.
        from_logits: True if predictions are logits, False if they are probabilities.
        ignore_index: The target's value for ignored pixels, which are never kept.
        class_weights: Factors (C,) of the cross-entropy of each class (for sigmoid: each channel).
            They do not count in the denominator.
        pos_weight: Factors of the positive class in binary cross-entropy, a number or (C,).
        label_smoothing: Smoothing of the cross-entropy's targets, in [0, 1].
        pred_channel_selector: The channels of the prediction to look at; None: all.
        gt_channel_selector: The channels of the target to compare with; None: all.
        sync_statistics: True to add up both sums over ranks. Each rank selects among its own
            pixels: k percent of them, or at least `min_kept`. So a `Threshold` with `min_kept=0`
            gives the loss of the whole batch, to rounding.
        sync_in_eval: True to add up without gradients, too.
        process_group: The process group of the ranks; None: all ranks.

    `TopK` ranks pixels by their losses, with all weights; `Threshold` by the probability of the
    true class. Pixels of equal difficulty are kept in equal shares if only some of them fit. If no
    pixel is kept, the loss and its gradient are 0.

    Raises:
        TypeError, ValueError: An argument is wrong when the loss is made, or a batch is wrong when
            it is used.

    Example:
        >>> from segloss.terms import Focal
        >>> logits = torch.tensor([[[0.0, 9.0, 9.0, 9.0], [0.0, 0.0, 0.0, 0.0]]])
        >>> loss = HardPixelLoss(Focal(gamma=1.0), Threshold(0.7, min_kept=1), "multiclass")
        >>> loss(logits, torch.zeros(1, 4, dtype=torch.long))
        tensor(0.3466)
    """

    def __init__(
        self,
        terms: Mixture | Term | Mapping[Any, Any] | None = None,
        select: Selection | Mapping[str, Any] | None = None,
        mode: str = "multiclass",
        *,
        from_logits: bool = True,
        ignore_index: int | Sequence[int] | None = None,
        class_weights: Any = None,
        pos_weight: Any = None,
        label_smoothing: float = 0.0,
        pred_channel_selector: Selector | None = None,
        gt_channel_selector: Selector | None = None,
        sync_statistics: bool = False,
        sync_in_eval: bool = False,
        process_group: Any = None,
    ) -> None:
        super().__init__(
            CrossEntropy() if terms is None else terms,
            mode,
            from_logits=from_logits,
            ignore_index=ignore_index,
            class_weights=class_weights,
            pos_weight=pos_weight,
            label_smoothing=label_smoothing,
            pred_channel_selector=pred_channel_selector,
            gt_channel_selector=gt_channel_selector,
            sync_statistics=sync_statistics,
            sync_in_eval=sync_in_eval,
            process_group=process_group,
        )
        self.select = TopK() if select is None else selection_of(select)

    def _value(
        self,
        pixels: PixelBatch,
        left_out: Tensor | None,
        shares: Tensor | None,
        shape: Sequence[int],
    ) -> Tensor:
        """Returns the mean over the hard pixels of a checked batch, a scalar."""
        with without_autocast(pixels.prediction.device):
            losses = losses_of_pixels(self._group, pixels)
            kept = self._kept(pixels, losses.detach())
            dtype = accumulation_dtype(losses.device)
            weights = kept if pixels.weight is None else _times(pixels.weight, kept)
            factors = SampleFactors(pixels.sample_weights, shares)
            losses, weights = factors.of_numerator(losses), factors.of_denominator(weights)
            sums = [(losses * kept).sum(dtype=dtype), weights.sum(dtype=dtype)]
            [numerator, denominator] = self._add({"hard": sums})["hard"]
            return mean(numerator, denominator).to(losses.dtype)

    def _kept(self, pixels: PixelBatch, losses: Tensor) -> Tensor:
        """Returns the share of each pixel that is kept, in the shape of the losses."""
        valid = pixels.valid()
        counted = None if valid is None else valid.expand_as(losses).reshape(-1)
        difficulties = losses
        if self.select.reads_probabilities and not self._has_plain_entropy(pixels):
            with torch.no_grad():
                difficulties = losses_of_pixels(_ENTROPY, _unweighted(pixels))
        return self.select.kept(difficulties.reshape(-1), counted).view_as(losses)

    def _has_plain_entropy(self, pixels: PixelBatch) -> bool:
        """Returns whether the losses are the cross-entropies, without weights or smoothing."""
        [entry, *others] = self.mixture.components
        weights = pixels.weight, pixels.class_weights, pixels.pos_weight
        is_entropy = type(entry.term) is CrossEntropy and entry.coefficient == 1 and not others
        is_plain = all(each is None for each in weights)
        return is_entropy and is_plain and pixels.options.label_smoothing == 0

    def _check_mixture(self, mixture: Mixture) -> None:
        if not has_pixels(mixture):
            raise ValueError(
                f"terms must be means over pixels, such as cross_entropy and focal, got {mixture}: "
                "a region term has no loss of single pixels. Add it in a loss of its own, beside "
                "this one in a MultiLoss."
            )
        for entry in mixture.components:
            _check_denominator(entry.term)

    def extra_repr(self) -> str:
        """Returns the terms, the mode, and the selection."""
        return f"{super().extra_repr()}, {self.select}"


class OhemCrossEntropyLoss(HardPixelLoss):
    r"""Cross-entropy with online hard example mining: the mean over pixels of low probability.

    .. math:: \frac{1}{|H|} \sum_{i \in H} \mathrm{ce}_i, \quad H = \{i : p_{y_i} < t\}

    with t the threshold; if H has fewer than `min_kept` pixels, it is the `min_kept` pixels of the
    lowest :math:`p_{y_i}`. In [0, inf).

    Args:
        mode: "multiclass": softmax over the channels; "binary": one sigmoid channel; "multilabel":
            independent sigmoid channels, whose pixels are ranked together.
        threshold: The threshold t of the true class's probability, in (0, 1].
        min_kept: The minimum number of pixels of the batch (on this rank) to keep. The
            `OHEMPixelSampler` of mmsegmentation counts for each image; its `OhemCrossEntropy`,
            PIDNet and BiSeNet for the batch, as here.
        class_weights: See `HardPixelLoss`.
        pos_weight: See `HardPixelLoss`.
        label_smoothing: See `HardPixelLoss`.
        ignore_index: See `HardPixelLoss`.
        sync_statistics: See `HardPixelLoss`.
        sync_in_eval: See `HardPixelLoss`.
        process_group: See `HardPixelLoss`.

    Raises:
        TypeError, ValueError: An argument is wrong when the loss is made, or a batch is wrong when
            it is used.

    Source: Shrivastava, Gupta, Girshick, "Training region-based object detectors with online hard
    example mining" (2016), in the form of PIDNet (Xu, Xiong, Bhattacharyya 2023).

    Example:
        >>> logits = torch.tensor([[[0.0, 1.0, 9.0, 9.0], [0.0, 0.0, 0.0, 0.0]]])
        >>> labels = torch.zeros(1, 4, dtype=torch.long)
        >>> OhemCrossEntropyLoss(threshold=0.7, min_kept=1)(logits, labels)
        tensor(0.6931)
        >>> OhemCrossEntropyLoss(threshold=0.7, min_kept=2)(logits, labels)
        tensor(0.5032)
    """

    takes_probabilities = False

    def __init__(
        self,
        mode: str = "multiclass",
        threshold: float = 0.7,
        min_kept: int = 100_000,
        *,
        class_weights: Any = None,
        pos_weight: Any = None,
        label_smoothing: float = 0.0,
        ignore_index: int | Sequence[int] | None = None,
        sync_statistics: bool = False,
        sync_in_eval: bool = False,
        process_group: Any = None,
    ) -> None:
        super().__init__(
            CrossEntropy(),
            Threshold(threshold, min_kept),
            mode,
            ignore_index=ignore_index,
            class_weights=class_weights,
            pos_weight=pos_weight,
            label_smoothing=label_smoothing,
            sync_statistics=sync_statistics,
            sync_in_eval=sync_in_eval,
            process_group=process_group,
        )


def _check_denominator(term: Term) -> None:
    """Raises ValueError if a term has a denominator of its own, which would not be used."""
    if isinstance(term, Focal) and (term.normalize != "pixels" or term.region_classes is not None):
        raise ValueError(
            f"A mean over hard pixels divides by the weights of these pixels, and {term!r} has a "
            "denominator of its own: leave normalize='pixels' and region_classes=None. To leave "
            "classes out with softmax, ignore them, as in ignore_index=[0, 255]; with sigmoid, "
            "select channels."
        )


def _times(weight: Tensor, kept: Tensor) -> Tensor:
    """Returns pixel weights times the shares that are kept; those left out may hold anything."""
    return torch.where(kept > 0, weight.to(kept) * kept, torch.zeros_like(kept))


def _unweighted(pixels: PixelBatch) -> PixelBatch:
    """Returns the batch for plain cross-entropy: without any weights, and without smoothing."""
    return PixelBatch(pixels.prediction, pixels.target, pixels.options.replace(label_smoothing=0.0))
