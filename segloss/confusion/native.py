"""The pass in machine code, for CPUs: chunks in registers instead of scratch memory.

It is built with the package where there is a compiler (`native/` in the sources); where there was
none, the kernels in PyTorch's operations serve. It reads logits of float32 and of half precision,
of any strides, and computes in float32, with PyTorch's own threads.
"""

from __future__ import annotations

import functools
from array import array
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from segloss.confusion.path import current_path
from segloss.confusion.sums import (
    COUNTS,
    CROSS_ENTROPY,
    METRIC,
    REGION,
    focal_sums,
    is_per_sample,
    map_sums,
    names_of,
)
from segloss.targets import Pixels

try:
    import segloss.confusion._native as _native
except ImportError:  # no compiler where the package was built
    _native = None  # type: ignore[assignment]

SUMS = (*REGION, *COUNTS, *CROSS_ENTROPY)
"""The sums that it always computes, in the order of `Sum` in native/batch.h."""

SLOPES = (*REGION, "cross_entropy")
"""Those of them that depend on predictions, in the order of `Slope` in native/batch.h."""

TYPES = {
    dtype: index
    for index, dtype in enumerate(
        (
            torch.float32,
            torch.bfloat16,
            torch.float16,
            torch.uint8,
            torch.int8,
            torch.int16,
            torch.int32,
            torch.int64,
            torch.float64,
        )
    )
} | {torch.bool: 3}
"""The types of elements that it reads, as `Type` in native/batch.h names them."""

REAL = (torch.float32, torch.bfloat16, torch.float16)
"""The types of logits."""


def is_built() -> bool:
    """Whether the machine code is there."""
    return _native is not None


def instruction_sets() -> list[str]:
    """Those that it was compiled for and that run on this machine, from the best, which is used."""
    return [] if _native is None else _native.instruction_sets()


def use_instruction_set(name: str) -> None:
    """Makes it use another of them; ValueError if there is no such."""
    _native.use(name)


def serves_native(pixels: Pixels, groups: Collection[str]) -> bool:
    """Whether it computes these groups of sums of these pixels, which the fused pass serves."""
    tensors = (pixels.prediction, pixels.target, pixels.weight, *pixels.maps.values())
    return (
        _native is not None
        and current_path() == "auto"
        and pixels.prediction.dtype in REAL
        and not (pixels.is_exclusive and "metric" in groups)
        and all(tensor is None or _is_readable(tensor) for tensor in tensors)
    )


def _is_readable(tensor: Tensor) -> bool:
    """Whether the tensor is memory of a CPU that holds its values, of a type that is read."""
    if tensor.dtype == torch.float16 and not _native.HAS_HALF:
        return False
    plain = type(tensor).__torch_dispatch__ is Tensor.__torch_dispatch__
    return plain and tensor.is_cpu and tensor.dtype in TYPES and not tensor.is_neg()


class Further(NamedTuple):
    """Sums beside `SUMS`, in the order of `Further` in native/batch.h.

    Attributes:
        names: Their names.
        groups: Whether squared errors and metric counts are among them, and the gammas and alphas
            of focal losses, of all sides, as bytes.
        maps: The keys of the maps.
    """

    names: tuple[str, ...]
    groups: tuple[bool, bool, bytes, bytes]
    maps: tuple[str, ...]


@functools.lru_cache
def further_of(groups: tuple[str, ...], sides: int) -> Further:
    """The sums beside `SUMS` among the groups, with so many sides of focal losses."""
    focals, maps = focal_sums(groups), map_sums(groups)
    has_error, has_metric = "squared_error" in groups, "metric" in groups
    names = [
        *(["squared_error"] if has_error else []),
        *(METRIC if has_metric else []),
        *(focal.group for focal in focals),
        *(name for of_map in maps for name in of_map.names),
    ]
    gammas = [side for focal in focals for side in _sides(focal.gamma, sides)]
    alphas = [side for focal in focals for side in _sides(focal.alpha, sides)]
    parameters = (
        has_error,
        has_metric,
        array("f", gammas).tobytes(),
        array("f", alphas).tobytes(),
    )
    return Further(tuple(names), parameters, tuple(of_map.key for of_map in maps))


def _sides(values: tuple[float, ...], count: int) -> list[float]:
    """So many values, of which the last holds for all further sides."""
    return [values[min(side, len(values) - 1)] for side in range(count)]


class NativeKernel:
    """Sums and gradient of both kinds of pixels.

    Args:
        pixels: The batch, of at least one pixel.
        groups: The groups of sums that are wanted, or whose gradients are.
    """

    def __init__(self, pixels: Pixels, groups: Collection[str]) -> None:
        self.source = pixels
        self.groups = tuple(groups)
        channels = pixels.prediction.shape[1]
        self.further = further_of(self.groups, channels if pixels.is_exclusive else 2)
        self.class_weights = _per_channel(pixels.class_weights, channels)
        self.pos_weight = _per_channel(pixels.pos_weight, channels)

    def forward(self) -> dict[str, Tensor]:
        """The sums by name, (N, C), and (N,) for what exclusive classes have in common."""
        return self.named(self.sums())

    def named(self, sums: Tensor) -> dict[str, Tensor]:
        """All sums by name, those of them that are wanted."""
        names = (*SUMS, *self.further.names)
        named = dict(zip(names, sums.unbind(), strict=True))
        if self.source.is_exclusive:
            named |= {name: named[name][:, 0] for name in names if is_per_sample(name)}
        return {name: named[name] for name in names_of(self.groups)}

    def backward(self, upstream: Mapping[str, Tensor]) -> Tensor:
        """The gradient with respect to the logits, from those with respect to the sums."""
        cells = self.source.prediction.shape[:2]
        none = torch.zeros((), dtype=torch.float64).expand(cells)
        names = (*SLOPES, *self.further.names)
        slopes = [_of_cells(upstream.get(name, none), cells) for name in names]
        return self.gradient(torch.stack(slopes))

    def sums(self) -> Tensor:
        """All sums, (S, N, C); those that exclusive classes have in common are repeated."""
        samples, channels, _ = self.source.prediction.shape
        count = len(SUMS) + len(self.further.names)
        sums = torch.empty((count, samples, channels), dtype=torch.float64)
        if not _native.forward(*self._batch(), sums.data_ptr()):
            raise IndexError(
                f"The target holds labels of no class: expected 0 to {channels - 1}, or "
                f"ignore_index={self.source.ignore_index}."
            )
        return sums

    def gradient(self, slopes: Tensor) -> Tensor:
        """The gradient with respect to the logits, from those by `SLOPES` and further sums."""
        gradient = torch.empty_like(self.source.prediction)
        _native.backward(*self._batch(), slopes.data_ptr(), _described(gradient))
        return gradient

    def _batch(self) -> tuple[Any, ...]:
        """What describes the batch to the machine code."""
        source = self.source
        return (
            source.is_exclusive,
            source.prediction.shape,
            _described(source.prediction),
            _described(source.target),
            None if source.weight is None else _described(source.weight),
            source.ignore_index,
            None if self.class_weights is None else self.class_weights.data_ptr(),
            None if self.pos_weight is None else self.pos_weight.data_ptr(),
            source.label_smoothing,
            torch.get_num_threads(),
            self._further(),
        )

    def _further(self) -> tuple[Any, ...] | None:
        if not self.further.names:
            return None
        return *self.further.groups, tuple(
            _described(self.source.maps[k]) for k in self.further.maps
        )


def _per_channel(weights: Tensor | None, channels: int) -> Tensor | None:
    return None if weights is None else weights.float().expand(channels).contiguous()


def _of_cells(slope: Tensor, cells: torch.Size) -> Tensor:
    return slope if slope.ndim == 2 else slope.unsqueeze(1).expand(cells)


def _described(tensor: Tensor) -> tuple[int, ...]:
    """Address, type and strides of a tensor (N, C or 1, P), or (N, P)."""
    strides = tensor.stride()
    if len(strides) == 2:
        strides = (strides[0], 0, strides[1])
    channel = strides[1] if tensor.ndim == 3 and tensor.shape[1] > 1 else 0
    return tensor.data_ptr(), TYPES[tensor.dtype], strides[0], channel, strides[2]


def evaluate(sums: Tensor, exclusive: bool, terms: tuple[Any, ...], out: Tensor) -> None:
    """Writes a loss of the sums, its slopes, its terms, and these by class (native/overlaps.h)."""
    _, samples, channels = sums.shape
    _native.evaluate(sums.data_ptr(), samples, channels, exclusive, *terms, out.data_ptr())
