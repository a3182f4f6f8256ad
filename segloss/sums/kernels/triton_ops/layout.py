"""The division of a batch among programs of a GPU, and tables of a plan and of analytic terms.

A cell is one (sample, class) pair. This module does not import Triton.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

from segloss.sums.analytic import AnalyticTerms, PixelMean
from segloss.sums.plan import Plan

MOST_TILES = 32
"""The most blocks that a program adds up in float32. Sums of so few values keep their digits."""

PROGRAMS = 2048
"""The target number of programs per batch: the same on every GPU, for the same sums."""

REGISTER_CLASSES = 512
"""The most classes whose logits registers hold. More classes are cut into tiles."""

CLASS_TILE = 128
"""The classes of a tile."""

CELLS = 4096
"""The most cells that the one program of analytic terms takes."""


class Rows(NamedTuple):
    """The index of each sum's row in a plan, -1 if the plan does not have it, and some counts.

    Attributes:
        first_focal: The first row of focal sums.
        focals: The number of focal sums, one row each.
        first_map: The first row of maps.
        maps: The number of maps, 3 rows each.
    """

    true_positive: int
    false_positive: int
    false_negative: int
    actual: int
    pixel_weight: int
    cross_entropy: int
    weight: int
    squared_error: int
    semimetric_true_positive: int
    semimetric_false_positive: int
    semimetric_false_negative: int
    true_negative: int
    semimetric_true_negative: int
    first_focal: int
    focals: int
    first_map: int
    maps: int


@functools.lru_cache
def rows_of(plan: Plan) -> Rows:
    """Returns the rows of a plan's sums. The rows of focal sums are adjacent, and those of maps."""
    named = [plan.own_index.get(key, -1) for key in Rows._fields[:-4]]
    first_focal = plan.own_index[plan.focals[0].name] if plan.focals else -1
    first_map = plan.own_index[plan.maps[0].hit] if plan.maps else -1
    return Rows._make([*named, first_focal, len(plan.focals), first_map, len(plan.maps)])


@functools.lru_cache
def focal_table(plan: Plan, classes: int) -> tuple[float, ...]:
    """Returns the exponents and weights of the plan's focal sums, (focals, 2, classes), flat."""
    return tuple(
        values[min(c, len(values) - 1)]
        for focal in plan.focals
        for values in (focal.gamma, focal.alpha)
        for c in range(classes)
    )


class Cut(NamedTuple):
    """The division of pixels into blocks and parts, and of classes into slices and tiles.

    Attributes:
        block: The number of pixels of a block.
        warps: The number of warps of a program.
        blocks: The number of blocks of a sample or channel.
        tiles: The number of blocks that one program adds up.
        parts: The number of programs of a sample or channel, each of which writes a partial sum.
        slices: The first class and the number of rows of each slice of a tile of classes.
        classes: The number of classes of a tile, rounded up to a power of 2.
        class_tiles: The number of tiles of classes.
    """

    block: int
    warps: int
    blocks: int
    tiles: int
    parts: int
    slices: tuple[tuple[int, int], ...] = ()
    classes: int = 1
    class_tiles: int = 1


class Block(NamedTuple):
    """The number of pixels that a program has in registers at a time, and of its warps."""

    pixels: int
    warps: int


def block_of_channel(pixels: int) -> Block:
    """Returns the block for a channel. A model chose its size: no GPU has timed it yet."""
    block = min(1024, max(128, power_of_2(pixels)))
    return Block(block, max(1, block // 256))


def block_of_classes(height: int, rows: Rows) -> Block:
    """Returns the block for `height` rows of classes. A model chose it: no GPU has timed it yet."""
    block = max(16 if height > 256 else 32, min(256, 2048 // power_of_2(height)))
    warps = max(1, min(8, power_of_2(height * block) // 1024))
    if rows.maps or rows.squared_error >= 0:  # more accumulators than registers hold
        block = max(16, block // 2)
    return Block(block, warps)


@functools.lru_cache
def cut_channels(pixels: int, cells: int) -> Cut:
    """Cuts channels of `pixels` pixels each; `cells` is samples times channels."""
    block = block_of_channel(pixels)
    return Cut(*block, *_parts(pixels, block.pixels, cells))


@functools.lru_cache
def cut_classes(pixels: int, samples: int, classes: int, rows: Rows) -> Cut:
    """Cuts samples whose classes exclude each other; the rows limit the size of a block."""
    tile = classes if classes <= REGISTER_CLASSES else CLASS_TILE
    slices = slices_of(tile)
    block = block_of_classes(sum(size for _, size in slices), rows)
    class_tiles = ceil_div(classes, tile)
    parts = _parts(pixels, block.pixels, samples * class_tiles)
    return Cut(*block, *parts, slices, power_of_2(tile), class_tiles)


def _parts(pixels: int, block: int, cells: int) -> tuple[int, int, int]:
    """Returns the blocks, tiles and parts of a `Cut`."""
    blocks = ceil_div(pixels, block)
    parts = min(blocks, max(1, ceil_div(PROGRAMS, cells)))
    tiles = min(MOST_TILES, ceil_div(blocks, parts))
    return blocks, tiles, ceil_div(blocks, tiles)


def slices_of(classes: int) -> tuple[tuple[int, int], ...]:
    """Returns one or two slices, powers of 2, that hold the classes with the fewest unused rows."""
    rows = power_of_2(classes)
    half = rows // 2
    if rows == 1 or power_of_2(classes - half) >= half:
        return ((0, rows),)
    return ((0, half), (half, power_of_2(classes - half)))


def power_of_2(number: int) -> int:
    """Returns the least power of 2 that is at least a number."""
    return 1 << max(0, number - 1).bit_length()


def ceil_div(number: int, divisor: int) -> int:
    """Returns the quotient, rounded up."""
    return -(-number // divisor)


_POOLED = ("sample", "batch", "micro")
"""The values of `Reduction.pooled`: the index is the number of dimensions that it adds up."""


class AnalyticColumns(NamedTuple):
    """The integers of analytic terms, for which the kernel is compiled: one per addend, (T,).

    Attributes:
        loss: The index of its loss.
        first: The row of the numerator of a `PixelMean`, or of the TP of an `OverlapRatio`.
        second: The row of the denominator, or of the FP.
        third: -1 for a `PixelMean`, or the row of the FN.
        pooled_dims: -1 for a `PixelMean`, or the number of dimensions that are pooled.
        skip_absent: 1 if cells of absent classes are left out, else 0.
        class_weights: Its row in the table of class weights, or -1 if all weights are 1.
    """

    loss: tuple[int, ...]
    first: tuple[int, ...]
    second: tuple[int, ...]
    third: tuple[int, ...]
    pooled_dims: tuple[int, ...]
    skip_absent: tuple[int, ...]
    class_weights: tuple[int, ...]


class AnalyticTable(NamedTuple):
    """Analytic terms for the kernel.

    Attributes:
        columns: The integers for which it is compiled.
        numbers: The numbers that it reads, (T, 6), flat.
        class_weights: The weights of classes in means, (W, C), flat; -1 if a class does not count.
    """

    columns: AnalyticColumns
    numbers: tuple[float, ...]
    class_weights: tuple[float, ...]


@functools.lru_cache
def analytic_table(analytic: AnalyticTerms, plan: Plan, channels: int) -> AnalyticTable:
    """Returns the table of analytic terms."""
    addends: list[tuple[int, ...]] = []
    numbers: list[float] = []
    class_weights: list[float] = []
    for loss, coefficient, form in analytic.addends:
        if isinstance(form, PixelMean):
            rows = (plan.index[form.numerator], plan.index[form.denominator], -1)
            addends.append((loss, *rows, -1, 0, -1))
            numbers.extend((coefficient, 0, 0, 0, 0, 0))
            continue
        reduction, weights_row = form.reduction, -1
        if reduction.classes is not None or reduction.weights is not None:
            weights_row = len(class_weights) // channels
            class_weights.extend(reduction.class_weights(channels))
        rows = (plan.index[form.keys[0]], plan.index[form.keys[1]], plan.index[form.keys[2]])
        pooled_dims = _POOLED.index(reduction.pooled)
        addends.append((loss, *rows, pooled_dims, int(reduction.skip_absent), weights_row))
        numbers.extend((coefficient, *form.weights, form.smooth, form.exponent))
    columns = AnalyticColumns._make(zip(*addends, strict=True))
    return AnalyticTable(columns, tuple(numbers), tuple(class_weights))
