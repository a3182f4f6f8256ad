"""Reads the pixels of a batch for losses of terms: selects channels, checks, merges classes.

`segloss.losses.seg_loss` takes the tensors from mappings, and `segloss.losses.compound_loss` takes
them as arguments.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import Tensor

from segloss.batch.assemble import as_pixel_batch, plain_tensor
from segloss.batch.options import PixelOptions
from segloss.batch.partial_labels import merge_unannotated
from segloss.batch.pixel_batch import BatchNames, PixelBatch
from segloss.batch.selectors import (
    ChannelSelector,
    Selector,
    optional_selector,
    select_companion,
    select_weights,
)
from segloss.batch.value_checks import ValueChecks
from segloss.foundation.arguments import check_flag


class BatchTensors(NamedTuple):
    """The tensors of a batch, in the user's shapes.

    Attributes:
        prediction: (N, C, *spatial).
        target: Dense (N, C, *spatial), or a label map (N, *spatial) or (N, 1, *spatial).
        pixel_weights: Pixel weights (N, 1 or C, *spatial), or None.
        maps: The maps that terms need, each (N, C, *spatial).
        annotated: Booleans (N, C), True where a class is annotated in a sample, or None.
        sample_weights: Weights of the samples, (N,), or None.
        names: What messages call these tensors.
    """

    prediction: Tensor
    target: Tensor
    pixel_weights: Tensor | None = None
    maps: Mapping[str, Tensor] = {}
    annotated: Tensor | None = None
    sample_weights: Tensor | None = None
    names: BatchNames = BatchNames("prediction")


class PixelReader:
    """Reads the pixels that a loss looks at.

    Args:
        pred_channel_selector: The channels of the prediction; None: all.
        gt_channel_selector: The channels of the target, and of weights, maps and annotations that
            have the target's channels; None: all.
        merge_unannotated: True to add, with softmax, the probability of classes that are not
            annotated in a sample to the background.
        label_smoothing: The smoothing of the cross-entropy's targets, which must be 0 if classes
            are merged.

    Raises:
        TypeError, ValueError: An argument is wrong.
    """

    def __init__(
        self,
        pred_channel_selector: Selector | None = None,
        gt_channel_selector: Selector | None = None,
        merge_unannotated: bool = False,
        label_smoothing: float = 0.0,
    ) -> None:
        self.pred_channels = optional_selector(pred_channel_selector, "pred_channel_selector")
        self.gt_channels = optional_selector(gt_channel_selector, "gt_channel_selector")
        self.merges = check_flag("merge_unannotated", merge_unannotated)
        if self.merges and label_smoothing > 0:
            raise ValueError(
                "merge_unannotated=True leaves classes without probability, and label smoothing "
                "(smooth_factor, label_smoothing) would ask for some of it: use only one of the "
                "two."
            )
        self._checks = ValueChecks()

    def sharing_key(self) -> Any:
        """Returns everything that fixes which pixels are read; equal for readers of the same."""
        selectors = [each and each.text for each in (self.pred_channels, self.gt_channels)]
        return selectors, self.merges

    def select(self, tensors: BatchTensors) -> BatchTensors:
        """Returns the tensors with the selected channels only."""
        prediction, target, weights, maps, annotated, sample_weights, names = tensors
        selector = self.gt_channels
        if self.pred_channels is not None:
            prediction = self.pred_channels(prediction, names.pred)
        if selector is None:
            return BatchTensors(prediction, *tensors[1:])
        if weights is not None:
            weights = select_weights(
                selector, weights, names.pixel_weights, target, names.target, prediction
            )
        maps = self.select_maps(tensors, prediction)
        if annotated is not None:
            annotated = select_companion(selector, annotated, target, names.target, prediction)
        target = selector(target, names.target, prediction.ndim)
        return BatchTensors(prediction, target, weights, maps, annotated, sample_weights, names)

    def select_maps(self, tensors: BatchTensors, prediction: Tensor) -> Mapping[str, Tensor]:
        """Returns the selected channels of maps that have the channels of the target.

        Args:
            tensors: The tensors with all their channels.
            prediction: The prediction with the selected channels.
        """
        if self.gt_channels is None:
            return tensors.maps
        arguments = tensors.target, tensors.names.target, prediction
        return {
            key: select_companion(self.gt_channels, values, *arguments)
            for key, values in tensors.maps.items()
        }

    def read(
        self,
        selected: BatchTensors,
        options: PixelOptions,
        class_weights: Tensor | None,
        pos_weight: Tensor | None,
        group_key: str | None = None,
    ) -> tuple[PixelBatch, Tensor | None]:
        """Returns the checked batch, and the cells (N, C) that region terms leave out, or None.

        With softmax, these are the cells of classes that are not annotated.

        Args:
            selected: The result of `select`.
            options: The options that fix how pixels are read.
            class_weights: Weights of the classes in the cross-entropy, (C,).
            pos_weight: Weights of the positive class in binary cross-entropy, (1 or C,).
            group_key: The key of the map that holds the ids of components, or None.
        """
        annotated = selected.annotated
        pixels = as_pixel_batch(
            selected.prediction,
            selected.target,
            options,
            pixel_weights=selected.pixel_weights,
            class_weights=class_weights,
            pos_weight=pos_weight,
            maps=selected.maps,
            group_key=group_key,
            annotated=annotated,
            sample_weights=selected.sample_weights,
            names=selected.names,
            checks=self._checks,
        )
        if annotated is None or not pixels.is_exclusive:
            return pixels, None
        annotated = plain_tensor(annotated)
        return merge_unannotated(pixels, annotated) if self.merges else pixels, ~annotated


class SelectsChannels:
    """A loss with a `PixelReader`, whose selectors others may look at."""

    reader: PixelReader

    @property
    def pred_channels(self) -> ChannelSelector | None:
        """The selected channels of the prediction; None: all."""
        return self.reader.pred_channels

    @property
    def gt_channels(self) -> ChannelSelector | None:
        """The selected channels of the target; None: all."""
        return self.reader.gt_channels
