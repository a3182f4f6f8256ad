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
from segloss.sums.groups import Groups
from segloss.sums.kernels.torch_ops.pixel_sums import pixel_sums
from segloss.sums.plan import Plan

LOG2E = 1.4426950408889634

_STRIP = 4096
"""Pixels in a strip: they are summed in the arithmetic's dtype, and strips in float64."""


class Chunk(NamedTuple):
    """A part of the batch: some samples, or some pixels of one sample.

    Attributes:
        samples: The slice of samples.
        pixels: The slice of their pixels.
        prediction: The predictions (n, C, l) in the arithmetic's dtype; 0 if a pixel does not
            count.
        target: Labels (n, l), 0 if a pixel does not count, or values like `prediction`.
        weight: The weights (n, 1 or C, l): 0 if a pixel does not count, NaN if its label is not a
            class; None for 1 everywhere.
        maps: The maps (n, C, l) by name, in the arithmetic's dtype; 0 if a pixel does not count.
        groups: The groups of the pixels, or None.
    """

    samples: slice
    pixels: slice
    prediction: Tensor
    target: Tensor
    weight: Tensor | None
    maps: Mapping[str, Tensor]
    groups: Groups | None = None

    def total(self, values: Tensor) -> Tensor:
        """Computes the sums of values (n, C, l) over the pixels, (n, C), or of each group."""
        return total(values) if self.groups is None else self.groups.total(values)

    def at_pixels(self, slopes: Tensor) -> Tensor:
        """Returns the slopes of each pixel's group, (n, C, l), from those of groups, (n, C, K)."""
        if self.groups is None or slopes.ndim < 3 or slopes.shape[2] < self.groups.count:
            return slopes
        return self.groups.at_pixels(slopes)

    def weighted(self, values: Tensor) -> Tensor:
        """Multiplies values (n, C, l) by the pixels' weights."""
        return values if self.weight is None else values * self.weight


class Chunks:
    """Reads a batch in chunks, which share scratch buffers.

    A subclass implements `measure`, `losses` and `write_slope` for one chunk.

    Args:
        batch: The batch, with at least one pixel.
        plan: The sums to compute, or to differentiate.
        groups: The number of groups K; None: the plan has no groups.

    Attributes:
        size: The number of elements of the predictions in a chunk on a CPU.
    """

    size: ClassVar[int]

    def __init__(self, batch: PixelBatch, plan: Plan, groups: int | None = None) -> None:
        self.batch = batch
        self.plan = plan
        self.groups = groups
        self.extra_sums = pixel_sums(plan, exclusive=batch.is_exclusive)
        self._map_keys = [each.map_key for each in plan.maps]
        self.on_cpu = batch.prediction.device.type == "cpu"
        self.dtype = arithmetic_dtype(batch.prediction.dtype)
        if plan.needs_float64:
            self.dtype = accumulation_dtype(batch.prediction.device)
        self.class_weights = self._per_class(batch.class_weights)
        self.pos_weight = self._per_class(batch.pos_weight)
        self._scratch: dict[str, Tensor] = {}
        self._views: dict[tuple[Any, ...], Tensor] = {}

    @abstractmethod
    def measure(self, chunk: Chunk) -> dict[str, Tensor]:
        """Computes the sums over the pixels of each sample in a chunk."""

    @abstractmethod
    def losses(self, chunk: Chunk, slopes: Mapping[str, Tensor]) -> Tensor:
        """Computes the losses of a chunk's pixels without their weights, (n, 1 or C, l)."""

    @abstractmethod
    def write_slope(self, out: Tensor, upstream: Mapping[str, Tensor], chunk: Chunk) -> None:
        """Writes the gradient of a chunk. Touches the new memory `out` once, at the end."""

    def sums(self) -> dict[str, Tensor]:
        """Computes the sums by key, in the accumulation's dtype."""
        partial_sums: dict[int, list[dict[str, Tensor]]] = {}  # by the first sample of the chunk
        for chunk in self.chunks():
            partial_sums.setdefault(chunk.samples.start, []).append(self.measure(chunk))
        sums = [_added(of_samples) for of_samples in partial_sums.values()]
        if len(sums) == 1:
            return sums[0]
        return {key: torch.cat([of_samples[key] for of_samples in sums]) for key in sums[0]}

    def gradient(self, upstream: Mapping[str, Tensor]) -> Tensor:
        """Computes the gradient with respect to the logits, from the slopes of the sums."""
        gradient = torch.empty_like(self.batch.prediction)
        upstream = self.prepared({name: grad.to(self.dtype) for name, grad in upstream.items()})
        for chunk in self.chunks():
            of_samples = {
                name: chunk.at_pixels(_cut(grad, chunk.samples)) for name, grad in upstream.items()
            }
            self.write_slope(_cut(gradient, chunk.samples, chunk.pixels), of_samples, chunk)
        return gradient

    def pixel_losses(self, slopes: Mapping[str, Tensor]) -> Tensor:
        """Computes the loss of each pixel, (N, 1 or C, P), from the slopes (C,) or () of sums."""
        slopes = {key: slope.to(self.dtype) for key, slope in slopes.items()}
        samples, classes, count = self.batch.prediction.shape
        rows = 1 if self.batch.is_exclusive else classes
        losses = self.batch.prediction.new_empty((samples, rows, count), dtype=self.dtype)
        for chunk in self.chunks():
            values = chunk.weighted(self.losses(chunk, slopes))
            _cut(losses, chunk.samples, chunk.pixels).copy_(values)
        return losses.to(arithmetic_dtype(self.batch.prediction.dtype))

    def prepared(self, upstream: dict[str, Tensor]) -> dict[str, Tensor]:
        """Prepares the slopes with respect to the sums once, for all chunks.

        It returns the slopes of groups with the groups last, (N, C, K).
        """
        return {name: by_class(each) if each.ndim == 3 else each for name, each in upstream.items()}

    def chunks(self) -> Iterator[Chunk]:
        """Yields all chunks, from the first sample and pixel to the last."""
        samples, classes, count = self.batch.prediction.shape
        size = self.size if self.on_cpu else samples * classes * count
        step = max(1, size // (classes * count))
        for first in range(0, samples, step):
            for start, stop in _spans(count, max(1, size // classes)):
                yield self._chunk(slice(first, first + step), slice(start, stop))

    def buffer(self, name: str, like: Tensor) -> Tensor:
        """Returns scratch memory with the shape and memory layout of `like`, (n, C, l)."""
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
            flat = self._scratch[name] = self.batch.prediction.new_empty(numel, dtype=self.dtype)
        return flat[:numel]

    def count(self, pixels: int) -> Tensor:
        """Returns a number of pixels as a tensor, in the accumulation's dtype."""
        device = self.batch.prediction.device
        return torch.full((), pixels, dtype=accumulation_dtype(device), device=device)

    def smoothed(self, target: Tensor) -> Tensor:
        """Computes the target of binary cross-entropy, g (1 - e) + e / 2, in a separate buffer."""
        e = self.batch.options.label_smoothing
        if e == 0:
            return target
        return torch.mul(target, 1 - e, out=self.buffer("smoothed", target)).add_(e / 2)

    def _per_class(self, weights: Tensor | None) -> Tensor | None:
        return None if weights is None else weights.to(self.dtype)

    def _chunk(self, samples: slice, pixels: slice) -> Chunk:
        key = self.plan.group_key
        part = self._part(samples, pixels)
        if part.is_label_map and not part.is_exclusive:
            part = part.with_masks()
        valid = part.valid()
        target, weight = self._target_and_weight(part, valid)
        return Chunk(
            samples,
            pixels,
            self._loaded("prediction", part.prediction, valid),
            target,
            weight,
            {m: self._loaded(f"map {m}", part.maps[m], valid) for m in self._map_keys},
            None if key is None else Groups.of(part.maps[key], self.groups or 1),
        )

    def _part(self, samples: slice, pixels: slice) -> PixelBatch:
        batch = self.batch
        prediction = _cut(batch.prediction, samples, pixels)
        if prediction is batch.prediction:
            return batch
        return batch.replace(
            prediction=prediction,
            target=_cut(batch.target, samples, pixels),
            weight=None if batch.weight is None else _cut(batch.weight, samples, pixels),
            maps={key: _cut(values, samples, pixels) for key, values in batch.maps.items()},
        )

    def _loaded(self, name: str, tensor: Tensor, valid: Tensor | None) -> Tensor:
        """Returns the tensor in the arithmetic's dtype; 0 where it is not valid."""
        if valid is None and tensor.dtype == self.dtype:
            return tensor
        loaded = self.buffer(name, tensor).copy_(tensor)
        return loaded if valid is None else loaded.masked_fill_(~valid, 0)

    def map_totals(self, chunk: Chunk) -> dict[str, Tensor]:
        """Computes the sums of the maps themselves."""
        return {m.total: chunk.total(chunk.weighted(chunk.maps[m.map_key])) for m in self.plan.maps}

    def _target_and_weight(
        self, part: PixelBatch, valid: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        weight = self._weight(part, valid)
        if not part.is_label_map:
            return self._loaded("target", part.target, valid), weight
        labels, wrong = part.labels(valid)
        if self.on_cpu and not wrong.any():  # on an accelerator, a look would wait for the queue
            return labels, weight
        weight = torch.ones_like(wrong, dtype=self.dtype) if weight is None else weight.squeeze(1)
        return labels, weight.masked_fill(wrong, torch.nan).unsqueeze(1)

    def _weight(self, part: PixelBatch, valid: Tensor | None) -> Tensor | None:
        if part.weight is None:
            return None if valid is None else valid.to(self.dtype)
        weight = part.weight.to(self.dtype)
        return weight if valid is None else weight.masked_fill(~valid, 0)


def _added(partial_sums: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Adds up sums over different pixels of the same samples."""
    first = partial_sums[0]
    return {key: functools.reduce(torch.add, [s[key] for s in partial_sums]) for key in first}


def by_class(slope: Tensor) -> Tensor:
    """Returns the slopes (N, C) or (N, K, C) of a row as (N, C, 1) or (N, C, K)."""
    return slope.unsqueeze(-1) if slope.ndim == 2 else slope.transpose(1, 2)


def _cut(tensor: Tensor, samples: slice, pixels: slice | None = None) -> Tensor:
    """Returns some samples and pixels of (N, ..., P), or the tensor itself if these are all."""
    if samples.start > 0 or samples.stop < tensor.shape[0]:
        tensor = tensor[samples]
    if pixels is not None and (pixels.start > 0 or pixels.stop < tensor.shape[-1]):
        tensor = tensor[..., pixels]
    return tensor


def _spans(count: int, most: int) -> Iterator[tuple[int, int]]:
    """Yields ranges of up to `most` pixels, each of complete strips or of less than one strip."""
    length = most - most % _STRIP if most > _STRIP else most
    end_of_strips = count - count % _STRIP
    for start in range(0, end_of_strips, length):
        yield start, min(start + length, end_of_strips)
    for start in range(end_of_strips, count, length):
        yield start, min(start + length, count)


def total(values: Tensor) -> Tensor:
    """Computes the sum over the last dimension, of complete strips or of less than one strip.

    It sums a strip in the dtype of the values, and strips in float64. In float32, a sum of a
    million values is off by 1e-7; in float64, it costs four times as much.
    """
    dtype = accumulation_dtype(values.device)
    if values.shape[-1] <= _STRIP:
        return values.sum(-1).to(dtype)
    strips = values.reshape(*values.shape[:-1], -1, _STRIP)
    return strips.sum(-1).sum(-1, dtype=dtype)
