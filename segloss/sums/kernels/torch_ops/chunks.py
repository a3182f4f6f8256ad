"""Chunks of pixels that fit into a cache, with scratch memory, for sigmoid and softmax."""

from __future__ import annotations

import functools
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from segloss.batch.pixel_batch import PixelBatch
from segloss.foundation.precision import accumulation_dtype, arithmetic_dtype
from segloss.sums.kernels.torch_ops.pixel_sums import pixel_sums
from segloss.sums.plan import Plan

LOG2E = 1.4426950408889634

_ROW = 4096
"""Pixels that are summed in the arithmetic's dtype before float64 takes over."""


class Chunk(NamedTuple):
    """A part of the batch: some samples, or some pixels of one.

    Attributes:
        samples: The slice of samples.
        pixels: The slice of their pixels.
        prediction: (n, C, l), in the arithmetic's dtype, and 0 where a pixel does not count.
        target: Labels (n, l), 0 where a pixel does not count, or values as `prediction`.
        weight: (n, 1 or C, l), 0 where a pixel does not count, or None for 1 everywhere.
        maps: The maps (n, C, l) by name, in the arithmetic's dtype, and 0 where a pixel does not
            count.
    """

    samples: slice
    pixels: slice
    prediction: Tensor
    target: Tensor
    weight: Tensor | None
    maps: Mapping[str, Tensor]

    def weighted(self, values: Tensor) -> Tensor:
        """Returns values (n, C, l) times the pixels' weights."""
        return values if self.weight is None else values * self.weight


class Chunks:
    """Reads a batch chunk by chunk, through scratch buffers that all chunks share.

    A subclass writes `measure` and `write_slope`, which see one chunk.

    Args:
        pixels: The batch, of at least one pixel.
        plan: The sums that are wanted, or whose slopes are given.

    Attributes:
        size: The number of elements of the predictions in a chunk on a CPU.
    """

    size: ClassVar[int]

    def __init__(self, pixels: PixelBatch, plan: Plan) -> None:
        self.source = pixels
        self.plan = plan
        self.extra_sums = pixel_sums(plan)
        self.on_cpu = pixels.prediction.device.type == "cpu"
        self.dtype = arithmetic_dtype(pixels.prediction.dtype)
        self.class_weights = self._per_class(pixels.class_weights)
        self.pos_weight = self._per_class(pixels.pos_weight)
        self._scratch: dict[str, Tensor] = {}
        self._views: dict[tuple[Any, ...], Tensor] = {}

    @abstractmethod
    def measure(self, chunk: Chunk) -> dict[str, Tensor]:
        """Returns the sums over a chunk, for each of its samples."""

    @abstractmethod
    def write_slope(self, out: Tensor, upstream: Mapping[str, Tensor], chunk: Chunk) -> None:
        """Writes the gradient of a chunk: fresh memory is touched once, last."""

    def sums(self) -> dict[str, Tensor]:
        """Returns the sums by their keys, in the accumulation's dtype."""
        parts: dict[int, list[dict[str, Tensor]]] = {}  # of the same samples
        for chunk in self.chunks():
            parts.setdefault(chunk.samples.start, []).append(self.measure(chunk))
        sums = [_added(same) for same in parts.values()]
        if len(sums) == 1:
            return sums[0]
        return {name: torch.cat([each[name] for each in sums]) for name in sums[0]}

    def gradient(self, upstream: Mapping[str, Tensor]) -> Tensor:
        """Returns the gradient with respect to the logits, from those with respect to the sums."""
        gradient = torch.empty_like(self.source.prediction)
        upstream = self.prepared({name: grad.to(self.dtype) for name, grad in upstream.items()})
        for chunk in self.chunks():
            part = {name: _cut(grad, chunk.samples) for name, grad in upstream.items()}
            self.write_slope(_cut(gradient, chunk.samples, chunk.pixels), part, chunk)
        return gradient

    def prepared(self, upstream: dict[str, Tensor]) -> dict[str, Tensor]:
        """Returns the upstream gradients of the sums, per sample, as every chunk needs them."""
        return upstream

    def chunks(self) -> Iterator[Chunk]:
        """Returns all chunks, from the first sample and pixel to the last."""
        samples, classes, count = self.source.prediction.shape
        size = self.size if self.on_cpu else samples * classes * count
        together = max(1, size // (classes * count))
        for first in range(0, samples, together):
            for start, stop in _spans(count, max(1, size // classes)):
                yield self._chunk(slice(first, first + together), slice(start, stop))

    def buffer(self, name: str, like: Tensor) -> Tensor:
        """Returns scratch memory of the shape and memory layout of `like` (n, C, l)."""
        channels_last = like.shape[1] > 1 and like.stride(1) == 1
        key = (name, like.shape, channels_last)
        if key not in self._views:
            samples, classes, pixels = like.shape
            flat = self._storage(name, like.numel())
            self._views[key] = (
                flat.view(samples, pixels, classes).transpose(1, 2)
                if channels_last
                else flat.view(like.shape)
            )
        return self._views[key]

    def _storage(self, name: str, numel: int) -> Tensor:
        flat = self._scratch.get(name)
        if flat is None or flat.numel() < numel:
            flat = self._scratch[name] = self.source.prediction.new_empty(numel, dtype=self.dtype)
        return flat[:numel]

    def count(self, pixels: int) -> Tensor:
        """Returns a number of pixels, in the accumulation's dtype."""
        device = self.source.prediction.device
        return torch.full((), pixels, dtype=accumulation_dtype(device), device=device)

    def smoothed(self, target: Tensor) -> Tensor:
        """Returns the target of binary cross-entropy, g (1 - e) + e / 2, in scratch of its own."""
        e = self.source.options.label_smoothing
        if e == 0:
            return target
        return torch.mul(target, 1 - e, out=self.buffer("smoothed", target)).add_(e / 2)

    def _per_class(self, weights: Tensor | None) -> Tensor | None:
        return None if weights is None else weights.to(self.dtype)

    def _chunk(self, samples: slice, pixels: slice) -> Chunk:
        part = self._part(samples, pixels)
        valid = part.valid()
        return Chunk(
            samples,
            pixels,
            self._loaded("prediction", part.prediction, valid),
            self._loaded_target(part, valid),
            self._weight(part, valid),
            {key: self._loaded(f"map {key}", m, valid) for key, m in part.maps.items()},
        )

    def _part(self, samples: slice, pixels: slice) -> PixelBatch:
        source = self.source
        prediction = _cut(source.prediction, samples, pixels)
        if prediction is source.prediction:
            return source
        return source.replace(
            prediction=prediction,
            target=_cut(source.target, samples, pixels),
            weight=None if source.weight is None else _cut(source.weight, samples, pixels),
            maps={key: _cut(values, samples, pixels) for key, values in source.maps.items()},
        )

    def _loaded(self, name: str, tensor: Tensor, valid: Tensor | None) -> Tensor:
        """Returns the tensor in the arithmetic's dtype, and 0 where it is not valid."""
        if valid is None and tensor.dtype == self.dtype:
            return tensor
        loaded = self.buffer(name, tensor).copy_(tensor)
        return loaded if valid is None else loaded.masked_fill_(~valid, 0)

    def map_totals(self, chunk: Chunk) -> dict[str, Tensor]:
        """Returns the sums of the maps themselves."""
        return {m.total: total(chunk.weighted(chunk.maps[m.map_key])) for m in self.plan.maps}

    def _loaded_target(self, part: PixelBatch, valid: Tensor | None) -> Tensor:
        if not part.is_label_map:
            return self._loaded("target", part.target, valid)
        labels = part.target if valid is None else part.target.masked_fill(~valid.squeeze(1), 0)
        return labels.long()

    def _weight(self, part: PixelBatch, valid: Tensor | None) -> Tensor | None:
        if part.weight is None:
            return None if valid is None else valid.to(self.dtype)
        weight = part.weight.to(self.dtype)
        return weight if valid is None else weight.masked_fill(~valid, 0)


def _added(parts: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Adds up the sums over parts of the pixels of some samples."""
    return {name: functools.reduce(torch.add, [p[name] for p in parts]) for name in parts[0]}


def _cut(tensor: Tensor, samples: slice, pixels: slice | None = None) -> Tensor:
    """Returns some samples and pixels of (N, ..., P), or the tensor itself where these are all."""
    if samples.start > 0 or samples.stop < tensor.shape[0]:
        tensor = tensor[samples]
    if pixels is not None and (pixels.start > 0 or pixels.stop < tensor.shape[-1]):
        tensor = tensor[..., pixels]
    return tensor


def _spans(count: int, most: int) -> Iterator[tuple[int, int]]:
    """Yields the parts of a range of pixels, of whole rows or of less than one."""
    length = most - most % _ROW if most > _ROW else most
    end_of_rows = count - count % _ROW
    for start in range(0, end_of_rows, length):
        yield start, min(start + length, end_of_rows)
    for start in range(end_of_rows, count, length):
        yield start, min(start + length, count)


def total(values: Tensor) -> Tensor:
    """Returns the sum over the last dimension, of whole rows or less than one.

    A row is summed in the values' own dtype, and rows in float64: one sum of a million float32
    values is off by 1e-7, and in float64 costs four times as much.
    """
    dtype = accumulation_dtype(values.device)
    if values.shape[-1] <= _ROW:
        return values.sum(-1).to(dtype)
    return _rows(values, _ROW).sum(-1).sum(-1, dtype=dtype)


def _rows(values: Tensor, length: int) -> Tensor:
    """Cuts the last dimension into rows."""
    return values.reshape(*values.shape[:-1], -1, length)
