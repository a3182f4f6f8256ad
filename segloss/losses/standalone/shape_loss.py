"""The base class of losses of shapes: skeletons and distances, which no sum over pixels captures.

It reads batches, and averages over samples and classes as region terms do. A subclass computes sums
for each cell, that is, for each (sample, class) pair, and hands them to a term.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from segloss.batch.assemble import as_pixel_batch
from segloss.batch.diagnosis import FirstBatches
from segloss.batch.options import PixelOptions
from segloss.batch.pixel_batch import BatchNames, PixelBatch, where_valid
from segloss.batch.shape_checks import check_maps
from segloss.batch.value_checks import ValueChecks
from segloss.foundation.arguments import (
    ChecksKeywords,
    check_choice,
    check_class_range,
    check_classes,
)
from segloss.foundation.device_constants import on_device
from segloss.foundation.precision import (
    Precise,
    accumulation_dtype,
    arithmetic_dtype,
    without_autocast,
)
from segloss.losses.companions import TakesCompanions
from segloss.losses.compound_loss import check_unreduced
from segloss.losses.modes import MODES, check_mode, checked_channels
from segloss.sums.confusion import SampleFactors, SoftConfusion
from segloss.sums.probabilities import (
    Probabilities,
    sigmoid_probabilities,
    softmax_probabilities,
)
from segloss.terms import Mixture
from segloss.terms.base import RegionTerm, mean
from segloss.terms.mixture.evaluate import REDUCTIONS


class Regions(NamedTuple):
    """The classes that a loss looks at, as images (N, K, *spatial) that are 0 at ignored pixels.

    Attributes:
        p: Probabilities.
        q: 1 - p, with all its digits.
        target: The target in [0, 1].
        kept: 1 for pixels that count, 0 for ignored ones.
        maps: Maps by name.
    """

    p: Tensor
    q: Tensor
    target: Tensor
    kept: Tensor
    maps: Mapping[str, Tensor]


class ShapeLoss(TakesCompanions, ChecksKeywords, Precise):
    """A loss of (prediction, target) that sees whole images: a subclass defines `sums`.

    Args:
        term: The term that turns the sums of `sums` into a loss, with the reduction over cells.
        mode: "binary": one sigmoid channel; "multilabel": sigmoid of each; "multiclass": softmax.
        classes: The classes that count; None: all, but with softmax not the background (0).
        reduction: "mean": the mean over cells; "sum": their sum; "none": the loss of each cell.
        from_logits: True if predictions are logits, False if they are probabilities.
        ignore_index: The target's value for ignored pixels.
        map_keys: The names of the maps that the loss needs beside the target.

    Raises:
        TypeError, ValueError: An argument is wrong.
    """

    companions = ("maps", "sample_weights")

    def __init__(
        self,
        term: RegionTerm,
        mode: str,
        *,
        classes: Sequence[int] | None,
        reduction: str,
        from_logits: bool,
        ignore_index: Any,
        map_keys: tuple[str, ...] = (),
    ) -> None:
        super().__init__()
        self.mode = check_mode(mode)
        self.reduction = check_choice("reduction", reduction, REDUCTIONS)
        if reduction == "none":
            check_unreduced(Mixture.of(term))
        self.classes = None if classes is None else check_classes("classes", classes)
        self.term, self.map_keys = term, map_keys
        self.options = PixelOptions.checked(
            2, MODES[mode], from_logits=from_logits, ignore_index=ignore_index
        )
        self._checks = ValueChecks()
        self.first_batches = FirstBatches()

    @property
    def ignore_index(self) -> Any:
        """The target's value for ignored pixels, or None."""
        return self.options.ignore_index

    @abstractmethod
    def sums(self, regions: Regions) -> dict[str, Tensor]:
        """Returns the sums that the term needs, each (N, K)."""

    def forward(
        self,
        prediction: Tensor,
        target: Tensor,
        maps: Mapping[str, Tensor] | None = None,
        *,
        sample_weights: Tensor | None = None,
    ) -> Tensor:
        """Returns the loss of predictions and a label map or mask: a scalar, or (N, K).

        Args:
            prediction: (N, C, *spatial).
            target: A label map or a mask.
            maps: The maps that the loss needs, by name, each (N, C, *spatial).
            sample_weights: Weights (N,) of at least 0; see `segloss.CompoundLoss`.
        """
        pixels = self.pixels(prediction, target, maps=maps, sample_weights=sample_weights)
        if not self.first_batches.are_over:
            self.first_batches.look(pixels, BatchNames("prediction"), pixels.options, self)
        factors = SampleFactors(pixels.sample_weights)
        with without_autocast(prediction.device):
            regions, wrong = self._regions(pixels, prediction.shape[2:])
            confusion = SoftConfusion(
                {
                    "pixel_weight": total(regions.kept),
                    "actual": total(regions.target),
                    **self.sums(regions),
                },
                factors=factors,
            )
            if self.reduction == "none":
                loss = factors.of_numerator(self.term.unreduced(confusion))
            else:
                numerator, denominator = (each.sum() for each in self.term(confusion))
                loss = mean(numerator, denominator) if self.reduction == "mean" else numerator
            if wrong is not None:  # a label that no check has read
                loss = loss * torch.where(wrong.any(), torch.nan, 1.0)
            return loss.to(regions.p.dtype)

    def pixels(
        self,
        prediction: Tensor,
        target: Tensor,
        *,
        maps: Mapping[str, Tensor] | None = None,
        sample_weights: Tensor | None = None,
    ) -> PixelBatch:
        """Returns the checked batch for the arguments of `forward`."""
        given = check_maps(maps, self.map_keys, f" for {type(self).__name__}")
        options = self.options
        channels = checked_channels(self.mode, prediction, target)
        if options.activation == "softmax":
            options = options.replace(n_classes=channels)
        if isinstance(prediction, Tensor) and prediction.ndim == 2:
            raise ValueError(
                f"prediction must have spatial dimensions, (N, C, *spatial), got the shape "
                f"{tuple(prediction.shape)}: {type(self).__name__} compares neighbouring pixels."
            )
        pixels = as_pixel_batch(
            prediction,
            target,
            options,
            maps={key: given[key] for key in self.map_keys},
            sample_weights=sample_weights,
            names=BatchNames("prediction"),
            checks=self._checks,
        )
        if self.classes is not None:
            check_class_range("classes", self.classes, channels)
        return pixels

    def _regions(self, pixels: PixelBatch, spatial: Sequence[int]) -> tuple[Regions, Tensor | None]:
        """Returns the regions of the classes that count, and a mask of invalid labels."""
        device = pixels.prediction.device
        classes = on_device(self._classes(pixels), device, torch.int64)
        valid, wrong = pixels.valid(), None
        if pixels.is_label_map:
            labels, wrong = pixels.labels(valid)
            target = labels.unsqueeze(1) == classes.reshape(1, -1, 1)
        else:
            target = pixels.target.index_select(1, classes)
        prediction = where_valid(pixels.prediction, valid)
        p, q = (each.index_select(1, classes) for each in _probabilities(prediction, pixels)[:2])
        maps = {key: m.index_select(1, classes).to(p.dtype) for key, m in pixels.maps.items()}
        target, kept = target.to(p.dtype), torch.ones_like(p)
        if valid is not None:
            valid = valid if valid.shape[1] == 1 else valid.index_select(1, classes)
            p, q, target, kept = (where_valid(each, valid) for each in (p, q, target, kept))
        shape = (*p.shape[:2], *spatial)
        p, q, target, kept = (each.reshape(shape) for each in (p, q, target, kept))
        maps = {key: values.reshape(shape) for key, values in maps.items()}
        return Regions(p, q, target, kept, maps), wrong

    def _classes(self, pixels: PixelBatch) -> tuple[int, ...]:
        """Returns the classes that count."""
        if self.classes is not None:
            return self.classes
        return tuple(range(int(pixels.is_exclusive), pixels.prediction.shape[1]))

    def extra_repr(self) -> str:
        """Returns the mode, and whether predictions are logits."""
        return f"{self.mode!r}, from_logits={self.options.from_logits}"


def total(images: Tensor) -> Tensor:
    """Returns the sums over the pixels of each image, (N, K), in float64 if the device has it."""
    return images.flatten(2).sum(2, dtype=accumulation_dtype(images.device))


def _probabilities(prediction: Tensor, pixels: PixelBatch) -> Probabilities | tuple[Tensor, Tensor]:
    """Returns the probabilities of all channels, and 1 minus these."""
    prediction = prediction.to(arithmetic_dtype(prediction.dtype))
    if not pixels.options.from_logits:
        return prediction, 1 - prediction
    if pixels.options.activation == "sigmoid":
        return sigmoid_probabilities(prediction)
    return softmax_probabilities(prediction)
