"""What the fused kernels share: chunks of pixels that fit a cache, scratch memory, sums."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from segloss.confusion.sums import SUMS
from segloss.precision import accumulation_dtype, arithmetic_dtype
from segloss.targets import Pixels

LOG2E = 1.4426950408889634

_ROW = 4096
"""Pixels that are summed in the arithmetic's dtype before float64 takes over."""


@dataclass(frozen=True)
class Chunk:
    """A part of the batch: some samples, or some pixels of one.

    Attributes:
        samples: Which samples.
        pixels: Which of their pixels.
        prediction: (n, C, l), in the arithmetic's dtype, and 0 where a pixel does not count.
        target: Labels (n, l), 0 where a pixel does not count, or values as `prediction`.
        weight: (n, 1 or C, l), 0 where a pixel does not count, or None for 1 everywhere.
    """

    samples: slice
    pixels: slice
    prediction: Tensor
    target: Tensor
    weight: Tensor | None


class Kernel:
    """Reads a batch chunk by chunk, through scratch buffers that serve every chunk again.

    Args:
        pixels: The batch.
        size: How many elements of the predictions make a chunk on a CPU.
    """

    def __init__(self, pixels: Pixels, size: int) -> None:
        self.source = pixels
        self.size = size
        self.dtype = arithmetic_dtype(pixels.prediction.dtype)
        self.class_weights = self._per_class(pixels.class_weights)
        self.pos_weight = self._per_class(pixels.pos_weight)
        self._scratch: dict[str, Tensor] = {}

    def zero_sums(
        self, groups: Collection[str], entropy_shape: tuple[int, ...]
    ) -> dict[str, Tensor]:
        """The sums of the groups, (N, C) or `entropy_shape`, before the first chunk."""
        device = self.source.prediction.device
        shapes = {"region": tuple(self.source.prediction.shape[:2]), "cross_entropy": entropy_shape}
        return {
            name: torch.zeros(shapes[group], dtype=accumulation_dtype(device), device=device)
            for group in groups
            for name in SUMS[group]
        }

    def chunks(self) -> Iterator[Chunk]:
        """All chunks, from the first sample and pixel to the last."""
        samples, classes, count = self.source.prediction.shape
        size = (
            self.size if self.source.prediction.device.type == "cpu" else samples * classes * count
        )
        together = max(1, size // max(1, classes * count))
        length = max(1, size // max(1, classes))
        if length > _ROW:
            length -= length % _ROW
        for first in range(0, samples, together):
            for start in range(0, count, length):
                yield self._chunk(slice(first, first + together), slice(start, start + length))

    def buffer(self, name: str, like: Tensor) -> Tensor:
        """Scratch of the shape of `like` (n, C, l), with the channels in memory as there."""
        flat = self._scratch.get(name)
        if flat is None or flat.numel() < like.numel():
            flat = torch.empty(like.numel(), dtype=self.dtype, device=like.device)
            self._scratch[name] = flat
        flat = flat[: like.numel()]
        if like.stride(1) == 1 and like.shape[1] > 1:  # channels last
            return flat.view(like.shape[0], like.shape[2], like.shape[1]).transpose(1, 2)
        return flat.view(like.shape)

    def smoothed(self, target: Tensor) -> Tensor:
        """The target of binary cross-entropy, g (1 - e) + e / 2, in scratch of its own."""
        e = self.source.label_smoothing
        if e == 0:
            return target
        return torch.mul(target, 1 - e, out=self.buffer("smoothed", target)).add_(e / 2)

    def _per_class(self, weights: Tensor | None) -> Tensor | None:
        return None if weights is None else weights.to(self.dtype)

    def _chunk(self, samples: slice, pixels: slice) -> Chunk:
        source = self.source
        part = dataclasses.replace(
            source,
            prediction=source.prediction[samples, :, pixels],
            target=source.target[samples, ..., pixels],
            weight=None if source.weight is None else source.weight[samples, :, pixels],
        )
        valid = part.valid()
        return Chunk(
            samples,
            pixels,
            self._loaded("prediction", part.prediction, valid),
            self._loaded_target(part, valid),
            self._weight(part, valid),
        )

    def _loaded(self, name: str, tensor: Tensor, valid: Tensor | None) -> Tensor:
        """The tensor in the arithmetic's dtype, and 0 where it is not valid."""
        if valid is None and tensor.dtype == self.dtype:
            return tensor
        loaded = self.buffer(name, tensor).copy_(tensor)
        return loaded if valid is None else loaded.masked_fill_(~valid, 0)

    def _loaded_target(self, part: Pixels, valid: Tensor | None) -> Tensor:
        if not part.is_label_map:
            return self._loaded("target", part.target, valid)
        labels = part.target if valid is None else part.target.masked_fill(~valid.squeeze(1), 0)
        return labels.long()

    def _weight(self, part: Pixels, valid: Tensor | None) -> Tensor | None:
        if part.weight is None:
            return None if valid is None else valid.to(self.dtype)
        weight = part.weight.to(self.dtype)
        return weight if valid is None else weight.masked_fill(~valid, 0)


def total(values: Tensor) -> Tensor:
    """The sum over the last dimension: in rows in the values' own dtype, then in float64.

    One sum of a million float32 values is off by 1e-7; in float64 it costs four times as much.
    """
    dtype = accumulation_dtype(values.device)
    length = values.shape[-1]
    if length <= _ROW:
        return values.sum(-1).to(dtype)
    whole = length - length % _ROW
    result = _total_of_rows(values.narrow(-1, 0, whole), dtype)
    if whole < length:
        result += values.narrow(-1, whole, length - whole).sum(-1)
    return result


def _total_of_rows(values: Tensor, dtype: torch.dtype) -> Tensor:
    rows = values.reshape(*values.shape[:-1], -1, _ROW)
    return rows.sum(-1).sum(-1, dtype=dtype)
