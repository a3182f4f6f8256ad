"""Cross-entropy of the worst pixels alone.

It needs the value of each pixel, which the pass over the pixels does not keep. So it is not a term,
but a module of (prediction, target) with a pass of its own. A `LossWrapper` gives it batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from segloss.batch.assemble import as_pixel_batch
from segloss.batch.options import PixelOptions
from segloss.batch.pixel_batch import BatchNames, PixelBatch
from segloss.batch.value_checks import ValueChecks
from segloss.foundation.arguments import check_choice, check_number, check_weights
from segloss.foundation.ignore_index import check_ignore_index
from segloss.foundation.precision import (
    Precise,
    accumulation_dtype,
    arithmetic_dtype,
    without_autocast,
)
from segloss.foundation.tracing import is_exporting
from segloss.losses.compound_loss import MODES
from segloss.sums.probabilities import (
    binary_cross_entropy,
    cross_entropy,
    sigmoid_probabilities,
    softmax_probabilities,
    times_log,
)


class _Indices(NamedTuple):
    """Indices (K,) into the values of all pixels, (N, R, P): R = 1 for softmax, C for sigmoid."""

    sample: Tensor
    channel: Tensor
    pixel: Tensor


class _Inputs(NamedTuple):
    """The tensors that cross-entropy is computed from.

    Attributes:
        logits: (N, C, P).
        target: Labels (N, 1, P), or values of the logits' dtype (N, C, P).
        weights: Weights of the classes, of a shape that broadcasts to (N, C, P).
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

    with :math:`\mathrm{ce}_i` the cross-entropy of pixel i, n the number of pixels that count, and
    top_K the K pixels of largest cross-entropy. The loss is at least 0, and for k = 100 it is the
    plain mean.

    Args:
        mode: "multiclass": softmax over the channels; "binary" or "multilabel": sigmoid of each
            channel. The pixels of all sigmoid channels are ranked together.
        k: The percentage of pixels to average over, in (0, 100].
        class_weights: Factors (C,) of the cross-entropy of each class (for sigmoid: each channel),
            applied before pixels are ranked. The denominator of the mean stays K, as in nnU-Net.
        label_smoothing: Smoothing s of the targets, in [0, 1], as in `nn.CrossEntropyLoss`. The
            target g of a sigmoid channel becomes g (1 - s) + s / 2.
        ignore_index: The target's value for ignored pixels, or a list of several. They do not count
            in n, and may hold NaN. If all pixels are ignored, the loss and its gradient are 0.

    The prediction is logits (N, C, *spatial), with 1 to 3 spatial dimensions. For "multiclass", the
    target is a label map (N, *spatial) or (N, 1, *spatial), or dense (N, C, *spatial). For the
    other modes, it is a mask of the prediction's shape, or for one channel (N, *spatial).

    The loss has a pass of its own, with a few temporary tensors of the size of the logits, because
    the sums that serve the terms of `SegLoss` do not hold the value of each pixel. With several
    ranks, each rank takes k percent of its own pixels, not of the whole batch.

    Raises:
        TypeError, ValueError: An argument is wrong when the loss is made, or a batch is wrong when
            it is used.

    Source: Wu, Shen, van den Hengel, "Bridging category-level and instance-level semantic image
    segmentation" (2016), in the form of `TopKLoss` of nnU-Net.

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
        ignore_index: int | Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.mode = check_choice("mode", mode, MODES)
        self.k = check_number("k", k, 0, 100, open_low=True)
        self.register_setting("class_weights", check_weights("class_weights", class_weights))
        self.label_smoothing = check_number("label_smoothing", label_smoothing, 0, 1)
        self.ignore_index = check_ignore_index(ignore_index)
        self._checks = ValueChecks()

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Returns the loss of logits and a label map or mask.

        All pixels are ranked without a gradient. Then the largest values are computed again with a
        gradient, so only their pixels take part in the backward pass.
        """
        pixels = self.pixels(prediction, target)
        valid, wrong = pixels.valid(), None
        if pixels.is_label_map:
            labels, wrong = pixels.labels(valid)
            pixels = pixels.replace(target=labels)
        with without_autocast(prediction.device):
            indices, is_top, count = self._largest(pixels, valid)
            entropy = _entropy(*_inputs_at(pixels, indices, is_top), self.label_smoothing).flatten()
            dtype = accumulation_dtype(entropy.device)
            total = torch.where(is_top, entropy, torch.zeros_like(entropy)).sum(dtype=dtype)
            if wrong is not None:  # a label that no check has read
                total = total * torch.where(wrong.any(), torch.nan, 1.0)
            return (total / count).to(entropy.dtype)

    def pixels(self, prediction: Tensor, target: Tensor) -> PixelBatch:
        """Returns the checked batch for the arguments of `forward`."""
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
    def _largest(
        self, pixels: PixelBatch, valid: Tensor | None
    ) -> tuple[_Indices, Tensor, Tensor | int]:
        """Returns the indices of the largest values, a mask of the top K, and max(K, 1).

        No shape depends on the number of valid pixels: as many values are taken, in order, as if
        all pixels were valid, and only the first K of them count.
        """
        entropy = _entropy(*_inputs(pixels), self.label_smoothing)
        total = entropy.numel()
        if is_exporting():  # a share of a number that is not known yet can't be a size
            valid = torch.ones_like(entropy, dtype=torch.bool) if valid is None else valid
            bound = total
        else:
            bound = min(max(1, int(total * self.k / 100)), total)
        if valid is None:
            index = entropy.flatten().topk(bound, sorted=False).indices
            return _indices(index, entropy), torch.ones_like(index, dtype=torch.bool), max(bound, 1)
        index = torch.where(valid, entropy, -torch.inf).flatten().topk(bound).indices
        n = valid.sum().to(accumulation_dtype(entropy.device))
        count = torch.minimum((n * self.k / 100).floor().clamp(min=1), n)
        is_top = torch.arange(bound, device=entropy.device) < count
        return _indices(index, entropy), is_top, count.clamp(min=1)


def _channels(prediction: Any) -> int:
    """Returns the number of classes of a prediction for softmax."""
    if not isinstance(prediction, Tensor) or prediction.ndim < 2:
        return 2  # as_pixel_batch refuses the prediction, whatever the number
    if prediction.shape[1] < 2:
        raise ValueError(
            f"prediction must have one channel per class for mode='multiclass', at least 2, got "
            f"the shape {tuple(prediction.shape)}. For one foreground class, use mode='binary'."
        )
    return prediction.shape[1]


def _indices(index: Tensor, like: Tensor) -> _Indices:
    """Returns the indices into (N, R, P) from indices into the flattened tensor."""
    _, rows, width = like.shape
    row = index.div(width, rounding_mode="floor")
    return _Indices(row.div(rows, rounding_mode="floor"), row % rows, index % width)


def _inputs(pixels: PixelBatch) -> _Inputs:
    """Returns the inputs of all pixels. Pixels that do not count affect only their own values."""
    logits = pixels.prediction.to(arithmetic_dtype(pixels.prediction.dtype))
    is_label_map = pixels.is_label_map
    target = pixels.target.unsqueeze(1) if is_label_map else pixels.target.to(logits.dtype)
    return _Inputs(logits, target, _class_weights(pixels, logits), pixels.options.activation)


def _inputs_at(pixels: PixelBatch, indices: _Indices, is_top: Tensor) -> _Inputs:
    """Returns the inputs of some pixels as K samples of one pixel, 0 where `is_top` is False.

    For sigmoid, each channel of a pixel is a sample.
    """
    sample, channel, pixel = indices
    channels = slice(None) if pixels.is_exclusive else channel
    kept = is_top.reshape(-1, 1, 1)
    logits = _column(pixels.prediction[sample, channels, pixel])
    logits = _selected(logits, kept).to(arithmetic_dtype(pixels.prediction.dtype))
    weights = _class_weights(pixels, logits)
    if not pixels.is_exclusive:
        weights = weights.expand(1, pixels.prediction.shape[1], 1)[0, channel].unsqueeze(1)
    if pixels.is_label_map:
        target = _column(pixels.target[sample, pixel])
    else:
        target = _selected(_column(pixels.target[sample, channels, pixel]), kept).to(logits.dtype)
    return _Inputs(logits, target, weights, pixels.options.activation)


def _column(values: Tensor) -> Tensor:
    """Reshapes (K,) or (K, C) to (K, 1 or C, 1)."""
    return values.unsqueeze(-1) if values.ndim == 2 else values.reshape(-1, 1, 1)


def _selected(tensor: Tensor, valid: Tensor | None) -> Tensor:
    """Returns the tensor, 0 where it is not valid."""
    return tensor if valid is None else torch.where(valid, tensor, torch.zeros_like(tensor))


def _entropy(
    logits: Tensor, target: Tensor, weights: Tensor, activation: str, smoothing: float
) -> Tensor:
    """Returns each pixel's cross-entropy: (N, 1, P) for softmax, (N, C, P) for sigmoid."""
    if activation == "sigmoid":
        _, _, log_p, log_q = sigmoid_probabilities(logits)
        entropy = binary_cross_entropy(log_p, log_q, target, 1.0, smoothing)
        return times_log(weights.expand_as(entropy), entropy)
    labels = target if target.is_floating_point() else target.squeeze(1)
    log_p = softmax_probabilities(logits).log_p
    return cross_entropy(log_p, labels, weights, smoothing).unsqueeze(1)


def _class_weights(pixels: PixelBatch, like: Tensor) -> Tensor:
    """Returns the weights of the classes, of a shape that broadcasts to (N, C, P); None gives 1."""
    if pixels.class_weights is None:
        return like.new_ones((1, 1, 1))
    return pixels.class_weights.to(like.dtype).reshape(1, -1, 1)
