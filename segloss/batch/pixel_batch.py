"""The checked tensors of one batch, as the pass over the pixels reads them.

`segloss.batch.assemble` makes a `PixelBatch` from a user's tensors, and `segloss.sums` computes
with it. A batch checks nothing; it only knows which of its pixels count.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from segloss.batch.options import PixelOptions
from segloss.batch.remedies import named
from segloss.foundation.dtypes import can_hold
from segloss.foundation.precision import accumulation_dtype, arithmetic_dtype


class PixelBatch:
    """The tensors and options of one batch, with the spatial dimensions flattened to P pixels.

    Args:
        prediction: Logits or probabilities (N, C, P), of the user's floating-point dtype.
        target: A label map (N, P), or dense (N, C, P), of the user's dtype. With sigmoid, a label
            map says for each channel c where its target is 1: where the label is c.
        options: The options that fix how both are read.
        weight: Pixel weights (N, 1 or C, P), or None for 1 everywhere.
        class_weights: Weights of the classes in the cross-entropy, (C,), or None.
        pos_weight: Weights of the positive class in binary cross-entropy, (1 or C,), or None.
        maps: Maps (N, C, P) by name, such as signed distances, of the user's dtype.
        sample_weights: Weights (N,) of the samples in the means of terms, or None for 1. The pass
            over the pixels does not read them; `weight` is 0 where they are.

    Attributes:
        is_exclusive: True if the classes exclude each other.
        is_label_map: True if the target holds class indices, False if it is dense.
        is_soft: True if the target may hold values between 0 and 1.
    """

    def __init__(
        self,
        prediction: Tensor,
        target: Tensor,
        options: PixelOptions,
        weight: Tensor | None = None,
        class_weights: Tensor | None = None,
        pos_weight: Tensor | None = None,
        maps: Mapping[str, Tensor] | None = None,
        sample_weights: Tensor | None = None,
    ) -> None:
        self.prediction, self.target, self.options = prediction, target, options
        self.weight, self.class_weights, self.pos_weight = weight, class_weights, pos_weight
        self.maps = {} if maps is None else maps
        self.sample_weights = sample_weights
        self.is_exclusive = options.activation == "softmax"
        self.is_label_map = target.ndim < prediction.ndim
        self.is_soft = not self.is_label_map and target.is_floating_point()

    def replace(self, **tensors: Any) -> PixelBatch:
        """Returns a batch with some tensors replaced."""
        names = (
            "prediction",
            "target",
            "weight",
            "class_weights",
            "pos_weight",
            "maps",
            "sample_weights",
        )
        given = {**{name: getattr(self, name) for name in names}, **tensors}
        return PixelBatch(options=self.options, **given)

    def tensors(self, map_keys: Sequence[str]) -> list[Tensor | None]:
        """Returns the tensors that the pass saves for its backward pass; `of` is the inverse."""
        fixed = [self.prediction, self.target, self.weight, self.class_weights, self.pos_weight]
        return [*fixed, *(self.maps[key] for key in map_keys)] if map_keys else fixed

    @classmethod
    def of(
        cls, tensors: Sequence[Any], map_keys: Sequence[str], options: PixelOptions
    ) -> PixelBatch:
        """Returns the batch from the tensors that `tensors` returned."""
        prediction, target, weight, class_weights, pos_weight, *maps = tensors
        named = dict(zip(map_keys, maps, strict=True))
        return cls(prediction, target, options, weight, class_weights, pos_weight, named)

    def pixels_as_samples(self) -> PixelBatch:
        """Returns the batch with each pixel as a sample of its own: N P samples of one pixel."""
        samples, _, count = self.prediction.shape

        def spread(values: Tensor) -> Tensor:
            return values.transpose(1, 2).reshape(samples * count, values.shape[1], 1)

        target = self.target.unsqueeze(1) if self.is_label_map else self.target
        return self.replace(
            prediction=spread(self.prediction),
            target=spread(target).squeeze(1) if self.is_label_map else spread(target),
            weight=None if self.weight is None else spread(self.weight),
            maps={key: spread(values) for key, values in self.maps.items()},
        )

    def of_samples(self, samples: slice) -> PixelBatch:
        """Returns the batch of some samples."""
        return self.replace(
            prediction=self.prediction[samples],
            target=self.target[samples],
            weight=None if self.weight is None else self.weight[samples],
            maps={key: values[samples] for key, values in self.maps.items()},
        )

    @property
    def ignored_value(self) -> int | None:
        """The value of ignored pixels in the target; None if the target's dtype can't hold one."""
        ignored = self.options.ignore_index
        assert not isinstance(ignored, tuple)  # as_pixel_batch gives ignored pixels one value
        return ignored if ignored is not None and can_hold(self.target.dtype, ignored) else None

    def kept(self) -> Tensor | None:
        """Returns a mask of the pixels that are not ignored, (N, 1 or C, P); None: all.

        With softmax, a pixel that one channel of a dense target ignores is ignored in all channels.
        """
        if self.ignored_value is None:
            return None
        kept = self.target != self.ignored_value
        if self.is_label_map:
            return kept.unsqueeze(1)
        return kept.all(1, keepdim=True) if self.is_exclusive else kept

    def valid(self) -> Tensor | None:
        """Returns a mask of the pixels that count, (N, 1 or C, P); None: all.

        A pixel counts if it is not ignored and its weight is not 0.
        """
        kept = self.kept()
        if self.weight is None:
            return kept
        weighted = self.weight != 0
        return weighted if kept is None else weighted & kept

    def labels(self, valid: Tensor | None) -> tuple[Tensor, Tensor]:
        """Returns the class of each pixel, (N, P) in int64, and a mask of invalid labels.

        The class is 0 where a pixel does not count, and where its label is not a class. Checks
        refuse such labels. Where they do not read a batch, kernels make its sums NaN with the
        mask, so a label can't reach memory.

        Args:
            valid: The result of `valid`.
        """
        valid = in_any_channel(valid)
        labels = self.target if self.target.is_floating_point() else self.target.long()
        wrong = ~((labels >= 0) & (labels < self.prediction.shape[1]))
        unused = wrong if valid is None else wrong | ~valid
        classes = labels.masked_fill(unused, 0).long()
        return classes, wrong if valid is None else wrong & valid

    def with_masks(self) -> PixelBatch:
        """Returns the batch with a mask for each channel in place of a label map, for sigmoid.

        The weight is 0 where a pixel is ignored, and NaN where its label is not a class.
        """
        valid = self.valid()
        labels, wrong = self.labels(valid)
        channels = torch.arange(self.prediction.shape[1], device=labels.device)
        masks = labels.unsqueeze(1) == channels.unsqueeze(-1)
        dtype = arithmetic_dtype(self.prediction.dtype)
        weight = torch.ones_like(wrong, dtype=dtype).unsqueeze(1)
        weight = weight if self.weight is None else self.weight.to(dtype)
        if valid is not None:
            weight = weight.masked_fill(~valid, 0)
        weight = weight.masked_fill(wrong.unsqueeze(1), torch.nan)
        return PixelBatch(
            self.prediction,
            masks,
            self.options.replace(ignore_index=None),
            weight,
            self.class_weights,
            self.pos_weight,
            self.maps,
            self.sample_weights,
        )

    def counted_share(self) -> float:
        """Returns the share of the pixels that count, in [0, 1]; 0 if there are no pixels.

        With weights of samples, each pixel counts as often as the weight of its sample says.
        """
        valid = self.valid()
        if self.prediction.numel() == 0:
            return 0.0
        if self.sample_weights is not None and valid is not None:
            weights = self.sample_weights.to(accumulation_dtype(valid.device))
            return float((valid.flatten(1).to(weights).mean(1) * weights).mean())
        return 1.0 if valid is None else float(valid.sum(dtype=torch.int64) / valid.numel())


def in_any_channel(valid: Tensor | None) -> Tensor | None:
    """Returns the mask (N, P) of the pixels that count in any channel; None: all."""
    if valid is None:
        return None
    return valid.squeeze(1) if valid.shape[1] == 1 else valid.any(1)


def where_valid(tensor: Tensor, valid: Tensor | None) -> Tensor:
    """Returns a tensor, 0 where pixels do not count: by selection, since they may hold NaN.

    Args:
        tensor: Values of the pixels, of a shape that broadcasts with `valid`.
        valid: The result of `PixelBatch.valid`.
    """
    return tensor if valid is None else torch.where(valid, tensor, torch.zeros_like(tensor))


class BatchNames(NamedTuple):
    """The names that error messages give to the tensors of a batch."""

    pred: str = "pred"
    target: str = "target"
    pixel_weights: str = "pixel_weights"
    annotated: str = "annotated"
    sample_weights: str = "sample_weights"

    @classmethod
    def of_keys(cls, pred: str, *others: str) -> BatchNames:
        """Returns the names of entries of `pred_batch` and `gt_batch`, from their keys."""
        return cls(f"pred_batch[{pred!r}]", *(f"gt_batch[{key!r}]" for key in others))

    def of_batch(self, pred_batch: Any, gt_batch: Any) -> BatchNames:
        """Returns the names for a batch, whose prediction and target may be bare tensors."""
        names = self
        if isinstance(pred_batch, Tensor):
            names = names._replace(pred="prediction")
        return names._replace(target="target") if isinstance(gt_batch, Tensor) else names

    @property
    def are_keys(self) -> bool:
        """True if the target is an entry of a mapping, as where a config names the loss."""
        return self.target.startswith("gt_batch[")

    def in_remedy(self, remedy: str) -> str:
        """Returns a remedy with these names of the predictions and the target."""
        return named(remedy, self.pred, self.target)
