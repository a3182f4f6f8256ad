"""Statistics of masks. They can be added, so masks can be counted separately and in any order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segloss.foundation.ignore_index import IgnoreIndex, values_of
from segloss.tools.suggest.pixels.mask import Mask
from segloss.tools.suggest.tiles import (
    contacts,
    edge_counts,
    longest_first,
    numbers_of,
    region_sizes,
    thin_runs,
    tiles,
)

THUMBNAIL = 192
"""The longest side of the example of a class, in pixels."""

MOST_CONTACTS = 256
"""Contacts and thin runs are counted in masks with at most this many numbers."""

VOID = 255
"""The usual number in datasets for pixels to be left out."""


@dataclass(frozen=True)
class Thumbnail:
    """A small copy of a mask, as an example of a class.

    Attributes:
        name: The name of the mask.
        mask: Labels, (height, width), or (classes, height, width) with one file per class.
    """

    name: str
    mask: NDArray[np.int32]


@dataclass
class ClassStatistics:
    """The counts of one number in the masks.

    Attributes:
        pixels: The number of pixels with it.
        masks: The number of masks that hold it.
        area: The number of pixels in these masks, with ignored pixels.
        void: The number of pixels in these masks with the ignored value, or a candidate for it.
        edge: The number of its pixels that touch another number, above, below, left or right.
        sizes: The number of its connected regions, by size in pixels.
        contacts: The pairs of neighbours in which one has it, by the number of the other.
        thin_within: The number of its thin runs (see `tiles.thin_runs`) inside another number.
        thin_between: The number of its thin runs between two other numbers.
        most: The largest number of its pixels in one mask.
        example: That mask.
    """

    pixels: int = 0
    masks: int = 0
    area: int = 0
    void: int = 0
    edge: int = 0
    sizes: Counter[int] = field(default_factory=Counter)
    contacts: Counter[int] = field(default_factory=Counter)
    thin_within: int = 0
    thin_between: int = 0
    most: int = 0
    example: Thumbnail | None = None

    def add(self, other: ClassStatistics) -> None:
        """Adds the counts of another object."""
        self.pixels += other.pixels
        self.masks += other.masks
        self.area += other.area
        self.void += other.void
        self.edge += other.edge
        self.sizes += other.sizes
        self.contacts += other.contacts
        self.thin_within += other.thin_within
        self.thin_between += other.thin_between
        if other.most > self.most:
            self.most, self.example = other.most, other.example

    @property
    def frequency(self) -> float:
        """Its share of the pixels in the masks that hold it (Eigen and Fergus 2015)."""
        return self.pixels / (self.area - self.void)

    @property
    def edge_share(self) -> float:
        """The share of its pixels that touch another number."""
        return self.edge / self.pixels

    @property
    def regions(self) -> int:
        """The number of its connected regions; diagonal neighbours connect."""
        return self.sizes.total()

    @property
    def islands(self) -> int:
        """The number of its regions of a single pixel."""
        return self.sizes[1]

    @property
    def median_size(self) -> int:
        """The median size of its regions in pixels (the larger of two)."""
        sizes = sorted(self.sizes)
        below = np.cumsum([self.sizes[size] for size in sizes])
        return sizes[int(np.searchsorted(below, self.regions // 2, side="right"))]


@dataclass
class DatasetStatistics:
    """The counts in the masks of a dataset.

    Attributes:
        masks: The number of masks.
        pixels: The number of their pixels.
        void: The number of pixels with the ignored value (or `VOID`, if none was given).
        dimensions: The number of masks, by their spatial dimensions.
        sides: The shortest and the longest side of all; None before the first mask.
        classes: The counts of each number, or of each channel with one file per class.
        series: The number of masks that hold 1, 2, 3 ... without a gap, by the last number; 0 and
            left out numbers do not count.
        one_hot: The number of one-hot arrays.
        lossy: The number of files whose compression changes numbers.
        palette: The colours of each index in files with a palette, as numbers.
    """

    masks: int = 0
    pixels: int = 0
    void: int = 0
    dimensions: Counter[int] = field(default_factory=Counter)
    sides: tuple[int, int] | None = None
    classes: dict[int, ClassStatistics] = field(default_factory=dict)
    series: Counter[int] = field(default_factory=Counter)
    one_hot: int = 0
    lossy: int = 0
    palette: dict[int, set[int]] = field(default_factory=dict)

    def add(self, other: DatasetStatistics) -> None:
        """Adds the counts of other masks."""
        self.masks += other.masks
        self.pixels += other.pixels
        self.void += other.void
        self.dimensions += other.dimensions
        sides = [*(self.sides or ()), *(other.sides or ())]
        self.sides = (min(sides), max(sides)) if sides else None
        for value, counted in other.classes.items():
            self.classes.setdefault(value, ClassStatistics()).add(counted)
        self.series += other.series
        self.one_hot += other.one_hot
        self.lossy += other.lossy
        for index, found in other.palette.items():
            self.palette.setdefault(index, set()).update(found)

    def take_void_back(self) -> None:
        """Counts `VOID` like any other label, if it proves to be one."""
        self.void = 0
        for counted in self.classes.values():
            counted.void = 0

    @property
    def valid_pixels(self) -> int:
        """The number of pixels that are not ignored."""
        return self.pixels - self.void


def count_mask(
    mask: Mask, name: str, ignore_index: IgnoreIndex, *, by_class: bool
) -> DatasetStatistics:
    """Returns the statistics of one mask.

    Args:
        mask: Labels, (*spatial), or with `by_class` 0 and 1, (classes, *spatial).
        name: The name of the mask.
        ignore_index: The values to leave out; None: `VOID`, until the labels are known.
        by_class: True if there is one file per class, so that channels are counted.
    """
    void = (VOID,) if ignore_index is None and not by_class else values_of(ignore_index)
    spatial = mask.shape[1:] if by_class else mask.shape
    example = _thumbnail(mask, name, by_class)
    counted = DatasetStatistics(
        masks=1,
        pixels=int(np.prod(spatial)),
        void=0 if by_class else _pixels_of(mask, void),
        dimensions=Counter([len(spatial)]),
        sides=(min(spatial), max(spatial)),
    )
    for channel, labels in enumerate(mask if by_class else mask[None]):
        for value, of_value in _count_labels(labels, void).items():
            if by_class and value != 1:
                continue
            of_value.example = example
            counted.classes[channel if by_class else value] = of_value
    if not by_class:
        counted.series = _series(set(counted.classes) - {0, *values_of(ignore_index)})
    return counted


def _series(numbers: set[int]) -> Counter[int]:
    """Returns the last of the numbers 1, 2, 3 ..., if there is none missing; else nothing."""
    if VOID - 1 not in numbers:
        numbers = numbers - {VOID}
    last = max(numbers, default=0)
    return Counter([last]) if last == len(numbers) and min(numbers, default=1) == 1 else Counter()


def _pixels_of(mask: Mask, values: Sequence[int]) -> int:
    """Returns how many pixels have one of the values."""
    return sum(
        int(np.count_nonzero(mask[lines] == value)) for value in values for lines in tiles(mask)
    )


def _count_labels(labels: Mask, void: Sequence[int]) -> dict[int, ClassStatistics]:
    labels = longest_first(labels)
    values, pixels = numbers_of(labels)
    edge = edge_counts(labels, values)
    sizes = region_sizes(labels, values)
    left_out = int(pixels[np.isin(values, void)].sum())
    few = len(values) <= MOST_CONTACTS
    touching = contacts(labels, values) if few else np.zeros((len(values), 0), np.int64)
    thin = thin_runs(labels, values) if few else np.zeros((len(values), 2), np.int64)
    return {
        int(value): ClassStatistics(
            pixels=int(pixels[i]),
            masks=1,
            area=labels.size,
            void=left_out,
            edge=int(edge[i]),
            sizes=sizes[i],
            contacts=_contacts(touching[i], values),
            thin_within=int(thin[i, 0]),
            thin_between=int(thin[i, 1]),
            most=int(pixels[i]),
        )
        for i, value in enumerate(values)
    }


def _contacts(pairs: NDArray[np.int64], values: NDArray[Any]) -> Counter[int]:
    """Returns the pairs of neighbours by the number of the other."""
    return Counter({int(values[i]): int(pairs[i]) for i in pairs.nonzero()[0]})


def _thumbnail(mask: Mask, name: str, by_class: bool) -> Thumbnail:
    """Subsamples a mask; from a volume, it takes the slice with the most labelled pixels."""
    channels = mask if by_class else mask[None]
    if channels.ndim == 4:
        labelled = [np.count_nonzero(channels[..., i]) for i in range(channels.shape[-1])]
        channels = channels[..., int(np.argmax(labelled))]
    if channels.ndim == 2:  # a signal: one line of pixels
        channels = channels[:, None]
    step = -(-max(channels.shape[1:]) // THUMBNAIL)
    small = channels[:, ::step, ::step].astype(np.int32)
    return Thumbnail(name, small if by_class else small[0])
