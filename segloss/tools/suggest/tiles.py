"""Counts over large masks by tiles: the memory is that of a tile, whatever the size of the mask.

A tile is a run of lines (or slices) along the longest axis. Each function gives the same numbers as
for the whole mask.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

THIN = 4
"""The longest run of pixels of one value, along an axis, that counts as thin."""

TILE = 2**19
"""Pixels of a tile, if a single line is not longer: some 30 MB while its regions are labelled."""


def longest_first(mask: NDArray[Any]) -> NDArray[Any]:
    """Returns a view of a mask with its longest axis first, which gives the most even tiles."""
    return np.moveaxis(mask, int(np.argmax(mask.shape)), 0)


def tiles(array: NDArray[Any]) -> Iterator[slice]:
    """Yields the lines of each tile along the first axis."""
    lines = max(1, TILE * len(array) // max(array.size, 1))
    for start in range(0, len(array), lines):
        yield slice(start, min(start + lines, len(array)))


def numbers_of(mask: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Returns the different numbers of a mask, and how many pixels have each."""
    low, high = int(mask.min()), int(mask.max())
    if high - low < 2**16:  # counting is ten times faster than sorting
        counts = np.zeros(high - low + 1, np.int64)
        for lines in tiles(mask):
            shifted = mask[lines].astype(np.int64).ravel() - low
            counts += np.bincount(shifted, minlength=len(counts))
        present = np.flatnonzero(counts)
        return present + low, counts[present]
    found: Counter[int] = Counter()
    for lines in tiles(mask):
        values, numbers = np.unique(mask[lines], return_counts=True)
        found.update(dict(zip(values.tolist(), numbers.tolist(), strict=True)))
    values = np.array(sorted(found))
    return values, np.array([found[value] for value in values.tolist()])


def largest_change(mask: NDArray[Any]) -> float:
    """Returns the share of neighbours that differ, along the axis with the most of them."""
    changes = np.zeros(mask.ndim, np.int64)
    for lines in tiles(mask):
        above = slice(max(lines.start - 1, 0), lines.stop)
        for axis in range(mask.ndim):
            part = mask[above] if axis == 0 else mask[lines]
            first, second = _neighbours(part.ndim, axis)
            changes[axis] += np.count_nonzero(part[first] != part[second])
    pairs = [mask.size // length * (length - 1) for length in mask.shape]
    return max(int(c) / p for c, p in zip(changes, pairs, strict=True) if p) if any(pairs) else 0.0


def edge_counts(mask: NDArray[Any], values: NDArray[Any]) -> NDArray[np.int64]:
    """Returns for each value the pixels that differ from a neighbour along an axis."""
    counts = np.zeros(len(values), np.int64)
    for lines in tiles(mask):
        around = slice(max(lines.start - 1, 0), min(lines.stop + 1, len(mask)))
        part = mask[around]
        edges = np.zeros(part.shape, dtype=bool)
        for axis in range(part.ndim):
            first, second = _neighbours(part.ndim, axis)
            changes = part[first] != part[second]
            edges[first] |= changes
            edges[second] |= changes
        inner = slice(lines.start - around.start, lines.stop - around.start)
        at_edges = np.searchsorted(values, part[inner][edges[inner]])
        counts += np.bincount(at_edges, minlength=len(values))
    return counts


def contacts(mask: NDArray[Any], values: NDArray[Any]) -> NDArray[np.int64]:
    """Returns how many pairs of neighbours have each two values, (values, values), symmetric."""
    count = len(values)
    pairs = np.zeros(count * count, np.int64)
    for lines in tiles(mask):
        for axis in range(mask.ndim):
            part = mask[max(lines.start - 1, 0) : lines.stop] if axis == 0 else mask[lines]
            first, second = _neighbours(part.ndim, axis)
            changes = part[first] != part[second]
            one = np.searchsorted(values, part[first][changes])
            other = np.searchsorted(values, part[second][changes])
            pairs += np.bincount(count * one + other, minlength=count * count)
    square = pairs.reshape(count, count)
    return square + square.T


def thin_runs(mask: NDArray[Any], values: NDArray[Any]) -> NDArray[np.int64]:
    """Returns for each value its runs of at most `THIN` pixels, along all axes, (values, 2).

    The first number counts runs between pixels of one value, such as a pole before the sky; the
    second counts runs between different values, such as a border of two objects.
    """
    counts = np.zeros((len(values), 2), np.int64)
    for lines in tiles(mask):
        for axis in range(mask.ndim):
            above = min(THIN + 1, lines.start) if axis == 0 else 0
            part = np.moveaxis(mask[lines.start - above : lines.stop], axis, -1)
            counts += _thin_runs(part, values, first_end=above)
    return counts


def _thin_runs(part: NDArray[Any], values: NDArray[Any], first_end: int) -> NDArray[np.int64]:
    """Counts thin runs along the last axis that are followed by a pixel from `first_end` on."""
    rows = part.reshape(-1, part.shape[-1])
    row, column = np.nonzero(rows[:, 1:] != rows[:, :-1])
    same_row = row[1:] == row[:-1]
    length = column[1:] - column[:-1]
    short = same_row & (length <= THIN) & (column[1:] + 1 >= first_end)
    row, start, end = row[1:][short], column[:-1][short], column[1:][short]
    value = np.searchsorted(values, rows[row, end])
    differs = (rows[row, start] != rows[row, end + 1]).astype(np.int64)
    return np.bincount(2 * value + differs, minlength=2 * len(values)).reshape(-1, 2)


def region_sizes(mask: NDArray[Any], values: NDArray[Any]) -> list[Counter[int]]:
    """Returns for each value the number of its connected regions, by size; corners connect.

    The regions of a tile that do not reach its last line are complete; the others are carried on,
    and joined with those of the next tile that touch them.
    """
    from scipy.sparse import coo_array  # type: ignore[import-untyped]
    from scipy.sparse.csgraph import connected_components  # type: ignore[import-untyped]
    from skimage.measure import label

    sizes: list[Counter[int]] = [Counter() for _ in values]
    open_sizes, open_values = np.zeros(0, np.int64), np.zeros(0, np.int64)
    open_line = last_values = None
    for lines in tiles(mask):
        part = np.searchsorted(values, mask[lines])
        labels = label(part, background=-1, connectivity=part.ndim)  # type: ignore[no-untyped-call]
        labels += len(open_sizes) - 1  # regions that are carried on have the first numbers
        new_sizes = np.bincount(labels.ravel())[len(open_sizes) :]
        new_values = np.empty(len(new_sizes), np.int64)
        new_values[labels.ravel() - len(open_sizes)] = part.ravel()
        all_sizes = np.concatenate([open_sizes, new_sizes])
        all_values = np.concatenate([open_values, new_values])
        if open_line is not None and last_values is not None:
            pairs = _touching(open_line, last_values, labels[0], part[0])
            count = len(all_sizes)
            graph = coo_array((np.ones(pairs.shape[1], bool), (pairs[0], pairs[1])), (count, count))
            joined, region_of = connected_components(graph, directed=False)
            total = np.zeros(joined, np.int64)
            np.add.at(total, region_of, all_sizes)
            value_of = np.empty(joined, np.int64)
            value_of[region_of] = all_values
            all_sizes, all_values = total, value_of
            last_line = region_of[labels[-1]]
        else:
            last_line = labels[-1]
        if lines.stop == len(mask):
            last_line = last_line[:0] if last_line.ndim else np.zeros(0, np.int64)
        opened, numbers = np.unique(last_line, return_inverse=True)
        complete = np.ones(len(all_sizes), bool)
        complete[opened] = False
        _count(sizes, all_sizes[complete], all_values[complete])
        open_sizes, open_values = all_sizes[opened], all_values[opened]
        open_line, last_values = numbers.reshape(last_line.shape), part[-1]
    return sizes


def _touching(
    above: NDArray[Any], above_values: NDArray[Any], below: NDArray[Any], below_values: NDArray[Any]
) -> NDArray[Any]:
    """Returns pairs of regions on two lines that touch and have the same value, (2, pairs)."""
    found = []
    for shifts in itertools.product((-1, 0, 1), repeat=above.ndim):
        here = tuple(slice(max(s, 0), min(s, 0) or None) for s in shifts)
        there = tuple(slice(max(-s, 0), min(-s, 0) or None) for s in shifts)
        same = above_values[here] == below_values[there]
        pairs = np.stack([above[here][same], below[there][same]])
        found.append(np.unique(pairs, axis=1))
    return np.unique(np.concatenate(found, axis=1), axis=1)


def _count(sizes: list[Counter[int]], new: NDArray[Any], values: NDArray[Any]) -> None:
    """Adds the sizes of complete regions to those of their values."""
    order = np.lexsort((new, values))
    new, values = new[order], values[order]
    starts = np.flatnonzero((np.diff(new, prepend=-1) != 0) | (np.diff(values, prepend=-1) != 0))
    counts = np.diff(np.append(starts, len(new)))
    for value, size, count in zip(
        values[starts].tolist(), new[starts].tolist(), counts.tolist(), strict=True
    ):
        sizes[value][size] += count


def _neighbours(dimensions: int, axis: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Returns the slices of the first and the second of all neighbours along an axis."""
    first = tuple(slice(None, -1 if a == axis else None) for a in range(dimensions))
    second = tuple(slice(1 if a == axis else None, None) for a in range(dimensions))
    return first, second
