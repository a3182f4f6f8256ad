"""The division of a batch for a GPU, and the rows of a plan's sums. It does not need Triton."""

from __future__ import annotations

import functools
from typing import NamedTuple

from segloss.sums.analytic import AnalyticTerms, PixelMean
from segloss.sums.plan import Plan

MOST_TILES = 32
"""The most blocks that a program adds up, in float32: so few values of a lane keep their digits."""

PROGRAMS = 2048
"""Target number of programs per batch: the same on every GPU, so that sums are."""

REGISTERED = 512
"""Classes whose logits registers hold; more are cut into tiles."""

CLASS_TILE = 128
"""Classes of a tile."""

CELLS = 4096
"""Samples times classes that the one program of analytic terms takes."""


class Rows(NamedTuple):
    """The places of a plan's sums in its rows; -1 where the plan does not have them."""

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
    first_focal: int
    focals: int
    first_map: int
    maps: int


@functools.lru_cache
def rows_of(plan: Plan) -> Rows:
    """Returns the places of a plan's sums: focal sums stand together, and so do those of maps."""
    places = {row.key: place for place, row in enumerate(plan.rows)}
    named = [places.get(key, -1) for key in Rows._fields[:-4]]
    first_focal = places[plan.focals[0].name] if plan.focals else -1
    first_map = places[plan.maps[0].hit] if plan.maps else -1
    return Rows._make([*named, first_focal, len(plan.focals), first_map, len(plan.maps)])


@functools.lru_cache
def focal_table(plan: Plan, sides: int) -> tuple[float, ...]:
    """Returns the exponents and the weights of the plan's focal sums, for so many classes each."""
    return tuple(
        values[min(side, len(values) - 1)]
        for focal in plan.focals
        for values in (focal.gamma, focal.alpha)
        for side in range(sides)
    )


class Cut(NamedTuple):
    """The division of pixels into blocks and parts, and of classes into slices and tiles.

    Attributes:
        block: The pixels of a block.
        warps: The warps of a program.
        blocks: The blocks of a sample or channel.
        tiles: The blocks that one program adds up.
        parts: The programs of a sample or channel.
        slices: The first class and the number of rows of each slice of a tile of classes.
        classes: The classes of a tile, a power of 2.
        class_tiles: The tiles of classes.
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
    """The pixels that a program has in registers at a time, and its warps."""

    pixels: int
    warps: int


def block_of_channel(pixels: int) -> Block:
    """Returns the block size for a channel. A model chose it: no GPU has timed it yet."""
    block = min(1024, max(128, power_of_2(pixels)))
    return Block(block, max(1, block // 256))


def block_of_classes(height: int, rows: Rows) -> Block:
    """Returns the block of so many rows of classes. Chosen by a model: no GPU has timed it yet."""
    block = max(16 if height > 256 else 32, min(256, 2048 // power_of_2(height)))
    warps = max(1, min(8, power_of_2(height * block) // 1024))
    if rows.maps or rows.squared_error >= 0:  # more accumulators than registers hold
        block = max(16, block // 2)
    return Block(block, warps)


@functools.lru_cache
def cut_channels(pixels: int, cells: int) -> Cut:
    """Cuts channels: so many pixels in each cell of samples and channels."""
    block = block_of_channel(pixels)
    return Cut(*block, *_parts(pixels, block.pixels, cells))


@functools.lru_cache
def cut_classes(pixels: int, samples: int, classes: int, rows: Rows) -> Cut:
    """Cuts samples whose classes exclude each other, for some rows of sums."""
    tile = classes if classes <= REGISTERED else CLASS_TILE
    slices = slices_of(tile)
    block = block_of_classes(sum(size for _, size in slices), rows)
    class_tiles = ceil_div(classes, tile)
    parts = _parts(pixels, block.pixels, samples * class_tiles)
    return Cut(*block, *parts, slices, power_of_2(tile), class_tiles)


def _parts(pixels: int, block: int, cells: int) -> tuple[int, int, int]:
    blocks = ceil_div(pixels, block)
    parts = min(blocks, max(1, ceil_div(PROGRAMS, cells)))
    tiles = min(MOST_TILES, ceil_div(blocks, parts))
    return blocks, tiles, ceil_div(blocks, tiles)


def slices_of(classes: int) -> tuple[tuple[int, int], ...]:
    """Returns one or two slices, powers of 2, that hold the classes with the fewest spare rows."""
    whole = power_of_2(classes)
    if whole == 1 or power_of_2(classes - whole // 2) >= whole // 2:
        return ((0, whole),)
    return ((0, whole // 2), (whole // 2, power_of_2(classes - whole // 2)))


def power_of_2(number: int) -> int:
    """Returns the least power of 2 that is not below a number."""
    return 1 << max(0, number - 1).bit_length()


def ceil_div(number: int, divisor: int) -> int:
    """Returns the quotient, rounded up."""
    return -(-number // divisor)


_POOLED = ("sample", "batch", "micro")
"""The ways of pooling, by the number of dimensions that they add up."""


class AnalyticColumns(NamedTuple):
    """Analytic terms as the kernel is compiled for them: integers, (T,) each.

    Attributes:
        loss: The loss that each belongs to.
        first, second, third: The places of its sums; -1 for the third of a mean, which has two.
        pooled_dims: How many dimensions of cells are pooled before a ratio; -1: it is a mean.
        skip_absent: 1 where cells of absent classes are left out.
        class_weights: Its row in the table of class weights, -1 for 1 everywhere.
    """

    loss: tuple[int, ...]
    first: tuple[int, ...]
    second: tuple[int, ...]
    third: tuple[int, ...]
    pooled_dims: tuple[int, ...]
    skip_absent: tuple[int, ...]
    class_weights: tuple[int, ...]


class FormTable(NamedTuple):
    """Analytic terms: what a kernel is compiled for, and the numbers that it reads."""

    analytic: AnalyticColumns
    numbers: tuple[float, ...]
    class_weights: tuple[float, ...]


@functools.lru_cache
def analytic_table(analytic: AnalyticTerms, plan: Plan, channels: int) -> FormTable:
    """Returns the table of some analytic terms."""
    layouts: list[tuple[int, ...]] = []
    numbers: list[float] = []
    class_weights: list[float] = []
    for loss, coefficient, form in analytic.addends:
        if isinstance(form, PixelMean):
            rows = (plan.index[form.numerator], plan.index[form.denominator], -1)
            layouts.append((loss, *rows, -1, 0, -1))
            numbers.extend((coefficient, 0, 0, 0, 0, 0))
            continue
        reduction, which = form.reduction, -1
        if reduction.classes is not None or reduction.weights is not None:
            which = len(class_weights) // channels
            class_weights.extend(reduction.class_weights(channels))
        places = (plan.index[key] for key in form.keys)
        pooled_dims = _POOLED.index(reduction.pooled)
        layouts.append((loss, *places, pooled_dims, int(reduction.skip_absent), which))
        numbers.extend((coefficient, *form.weights, form.smooth, form.exponent))
    columns = AnalyticColumns._make(zip(*layouts, strict=True))
    return FormTable(columns, tuple(numbers), tuple(class_weights))
