"""Cross-entropy of the worst pixels alone.

It needs every pixel's own value, which the one pass over the pixels never keeps; so it is a module
of its own, of (prediction, target), and a `LossWrapper` gives it batches.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from segloss.batch.assemble import as_pixel_batch
from segloss.batch.options import PixelOptions
from segloss.batch.pixel_batch import BatchNames, PixelBatch
from segloss.batch.value_checks import ValueChecks
from segloss.foundation.arguments import check_choice, check_integer, check_number, check_weights
from segloss.foundation.precision import (
    Precise,
    accumulation_dtype,
    arithmetic_dtype,
    without_autocast,
)
from segloss.losses.compound_loss import MODES


class _Places(NamedTuple):
    """Indices (K,) into (N, R, P), the values of all pixels; R is 1 for softmax."""

    sample: Tensor
    channel: Tensor
    pixel: Tensor


class _Inputs(NamedTuple):
    """The tensors that cross-entropy is computed from.

    Attributes:
        logits: (N, C, P).
        target: Labels (N, 1, P), or values of the logits' dtype (N, C, P).
        weights: Weights of the classes, which multiply (N, C, P).
        activation: "sigmoid" or "softmax".
    """

    logits: Tensor
    target: Tensor
    weights: Tensor
    activation: str


class TopKCrossEntropyLoss(Precise):
    r"""Mean of the k percent largest cross-entropies of a batch's pixels.

    .. math:: \frac{1}{K} \sum_{i \in \mathrm{top}_K} \mathrm{ce}_i,
        \quad K = \max(1, \lfloor n k / 100 \rfloor)

    with n the number of pixels that count. It is at least 0, and the plain mean for k = 100.

    Args:
        mode: "multiclass": softmax over the channels; "binary" or "multilabel": sigmoid of each
            channel, whose pixels are ranked together.
        k: The percentage of pixels that count, in (0, 100].
        class_weights: Factors of each class's (for sigmoid: channel's) cross-entropy,
            (C,), before pixels are ranked. The mean's denominator stays K, as in nnU-Net.
        label_smoothing: Smoothing of the targets, in [0, 1], as in `nn.CrossEntropyLoss`; a
            sigmoid channel's g becomes g (1 - s) + s / 2.
        ignore_index: The target's value that marks pixels to be left out: of k percent, too. They
            may hold NaN. If none is left, the loss is 0, and so is its gradient.

    The prediction is logits (N, C, *spatial), with 1 to 3 spatial dimensions. The target is, for
    "multiclass", a label map (N, *spatial) or (N, 1, *spatial), or dense (N, C, *spatial); for the
    others a mask of the prediction's shape, which for one channel may be (N, *spatial).

    It needs each pixel's value, so the sums of one pass, which serve `SegLoss`'s terms, do not
    suffice: it costs a pass of its own, with a few temporary tensors of the logits' size. Each of
    several ranks takes the k percent of its own pixels, so the loss is not that of the whole batch.

    Raises:
        TypeError, ValueError: An argument is wrong, or later a batch.

    Source: Wu, Shen, van den Hengel, "Bridging category-level and instance-level semantic image
    segmentation" (2016); in the form of nnU-Net's `TopKLoss`.

    Example:
        >>> logits = torch.tensor([[[0.0, 100.0, 100.0, 100.0]]])
        >>> mask = torch.ones(1, 1, 4)
        >>> TopKCrossEntropyLoss("binary", k=25)(logits, mask)
        tensor(0.6931)
    """

    class_weights: Tensor | None

    def __init__(
        self,
        mode: str = "multiclass",
        k: float = 10.0,
        *,
        class_weights: Any = None,
        label_smoothing: float = 0.0,
        ignore_index: int | None = None,
    ) -> None:
        super().__init__()
        self.mode = check_choice("mode", mode, MODES)
        self.k = check_number("k", k, 0, 100, open_low=True)
        self.register_buffer("class_weights", check_weights("class_weights", class_weights))
        self.label_smoothing = check_number("label_smoothing", label_smoothing, 0, 1)
        self.ignore_index = (
            None if ignore_index is None else check_integer("ignore_index", ignore_index)
        )
        self._checks = ValueChecks()

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Returns the loss of logits and a label map or mask.

        All pixels are ranked without a gradient, and the largest are computed again with one, so
        only they take part in the backward pass.
        """
        pixels = self._pixels(prediction, target)
        with without_autocast(prediction.device):
            places, counts, count = self._largest(pixels)
            entropy = _entropy(*_inputs_at(pixels, places, counts), self.label_smoothing).flatten()
            dtype = accumulation_dtype(entropy.device)
            total = torch.where(counts, entropy, torch.zeros_like(entropy)).sum(dtype=dtype)
            return (total / count).to(entropy.dtype)

    def _pixels(self, prediction: Tensor, target: Tensor) -> PixelBatch:
        activation = MODES[self.mode]
        n_classes = _channels(prediction) if activation == "softmax" else 2
        return as_pixel_batch(
            prediction,
            target,
            PixelOptions(
                n_classes,
                activation,
                ignore_index=self.ignore_index,
                label_smoothing=self.label_smoothing,
            ),
            class_weights=self.class_weights,
            names=BatchNames("prediction"),
            checks=self._checks,
        )

    @torch.no_grad()
    def _largest(self, pixels: PixelBatch) -> tuple[_Places, Tensor, Tensor | int]:
        """Returns the places of the largest values, their weights, and the divisor of their sum.

        No shape depends on how many pixels are valid. The number for all pixels is an upper bound
        on theirs: that many are taken, in order, and only the first ones count.
        """
        valid = pixels.valid()
        entropy = _entropy(*_inputs(pixels, valid), self.label_smoothing)
        total = entropy.numel()
        bound = min(max(1, int(total * self.k / 100)), total)
        if valid is None:
            index = entropy.flatten().topk(bound, sorted=False).indices
            return _places(index, entropy), torch.ones_like(index, dtype=torch.bool), max(bound, 1)
        index = torch.where(valid, entropy, -torch.inf).flatten().topk(bound).indices
        present = valid.sum().to(accumulation_dtype(entropy.device))
        count = torch.minimum((present * self.k / 100).floor().clamp(min=1), present)
        counts = torch.arange(bound, device=entropy.device) < count
        return _places(index, entropy), counts, count.clamp(min=1)


def _channels(prediction: Any) -> int:
    """Returns the number of classes of a prediction for softmax."""
    if not isinstance(prediction, Tensor) or prediction.ndim < 2:
        return 2  # any number: as_pixel_batch refuses the prediction
    if prediction.shape[1] < 2:
        raise ValueError(
            f"prediction must have one channel per class for mode='multiclass', at least 2, got "
            f"the shape {tuple(prediction.shape)}. For one foreground class, use mode='binary'."
        )
    return prediction.shape[1]


def _places(index: Tensor, like: Tensor) -> _Places:
    """Returns the indices in (N, R, P) of elements of the flattened tensor."""
    _, rows, width = like.shape
    row = index.div(width, rounding_mode="floor")
    return _Places(row.div(rows, rounding_mode="floor"), row % rows, index % width)


def _inputs(pixels: PixelBatch, valid: Tensor | None) -> _Inputs:
    """Returns all pixels; pixels that do not count affect only their own values."""
    logits = pixels.prediction.to(arithmetic_dtype(pixels.prediction.dtype))
    target = pixels.target
    if pixels.is_label_map:
        target = _selected(target.unsqueeze(1), valid).long()
    else:
        target = target.to(logits.dtype)
    return _Inputs(logits, target, _class_weights(pixels, logits), pixels.options.activation)


def _inputs_at(pixels: PixelBatch, places: _Places, counts: Tensor) -> _Inputs:
    """Returns the pixels at K places, as K samples of one pixel: 0 where they don't count.

    For sigmoid each channel is a pixel of its own.
    """
    sample, channel, pixel = places
    channels = slice(None) if pixels.is_exclusive else channel
    kept = counts.reshape(-1, 1, 1)
    logits = _column(pixels.prediction[sample, channels, pixel])
    logits = _selected(logits, kept).to(arithmetic_dtype(pixels.prediction.dtype))
    weights = _class_weights(pixels, logits)
    if not pixels.is_exclusive:
        weights = weights.expand(1, pixels.prediction.shape[1], 1)[0, channel].unsqueeze(1)
    if pixels.is_label_map:
        target = _selected(_column(pixels.target[sample, pixel]), kept).long()
    else:
        target = _selected(_column(pixels.target[sample, channels, pixel]), kept).to(logits.dtype)
    return _Inputs(logits, target, weights, pixels.options.activation)


def _column(values: Tensor) -> Tensor:
    """(K,) or (K, C) as (K, 1 or C, 1)."""
    return values.unsqueeze(-1) if values.ndim == 2 else values.reshape(-1, 1, 1)


def _selected(tensor: Tensor, valid: Tensor | None) -> Tensor:
    return tensor if valid is None else torch.where(valid, tensor, torch.zeros_like(tensor))


def _entropy(
    logits: Tensor, target: Tensor, weights: Tensor, activation: str, smoothing: float
) -> Tensor:
    """Returns each pixel's cross-entropy: (N, 1, P) for softmax, (N, C, P) for sigmoid."""
    if activation == "sigmoid":
        return weights * _binary_entropy(logits, target, smoothing)
    if target.is_floating_point():
        return _dense_entropy(logits, target, weights, smoothing)
    return _label_entropy(logits, target, weights, smoothing)


def _binary_entropy(logits: Tensor, target: Tensor, smoothing: float) -> Tensor:
    """-g log p - (1 - g) log(1 - p), neither logarithm by subtraction."""
    target = target * (1 - smoothing) + smoothing / 2
    return -target * F.logsigmoid(logits) - (1 - target) * F.logsigmoid(-logits)


def _label_entropy(logits: Tensor, labels: Tensor, weights: Tensor, smoothing: float) -> Tensor:
    """-log p of each pixel's label, from its margin over the other classes.

    A log softmax would compute it as a difference, which vanishes in float32 where a pixel
    is predicted with a margin of 17 or more.
    """
    rest = logits.scatter(1, labels, -torch.inf).logsumexp(1, keepdim=True)
    entropy = -F.logsigmoid(logits.gather(1, labels) - rest)
    entropy = weights.expand_as(logits).gather(1, labels) * entropy
    if smoothing > 0:
        uniform = -(weights * logits.log_softmax(1)).mean(1, keepdim=True)
        entropy = torch.lerp(entropy, uniform, smoothing)
    return entropy


def _dense_entropy(logits: Tensor, target: Tensor, weights: Tensor, smoothing: float) -> Tensor:
    """-sum of g log p over the classes."""
    target = target * (1 - smoothing) + smoothing / logits.shape[1]
    return -(target * weights * logits.log_softmax(1)).sum(1, keepdim=True)


def _class_weights(pixels: PixelBatch, like: Tensor) -> Tensor:
    """Weights of the classes, shaped to multiply (N, C, P); 1 where there are none."""
    if pixels.class_weights is None:
        return like.new_ones((1, 1, 1))
    return pixels.class_weights.to(like.dtype).reshape(1, -1, 1)
