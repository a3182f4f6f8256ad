"""Tuples of blocks (classes, pixels), one block for each slice of the classes, in Triton.

A program holds the classes in slices whose sizes are powers of 2: 19 classes take 16 + 4 rows
instead of 32, and 150 classes 128 + 32 instead of 256.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def classes_of(first, SLICES: tl.constexpr):
    """Returns the classes of each slice."""
    classes = ()
    for i in tl.static_range(len(SLICES)):
        classes = classes + (first + SLICES[i][0] + tl.arange(0, SLICES[i][1]),)
    return classes


@triton.jit
def _zero_block(HEIGHT: tl.constexpr, BLOCK: tl.constexpr):
    return tl.zeros((HEIGHT, BLOCK), tl.float32)


@triton.jit
def zeros(SLICES: tl.constexpr, BLOCK: tl.constexpr, WANTED: tl.constexpr):
    """Returns accumulators, or () if they are not WANTED: operations on () cost nothing."""
    blocks = ()
    if WANTED:
        for i in tl.static_range(len(SLICES)):
            blocks = blocks + (_zero_block(SLICES[i][1], BLOCK),)
    return blocks


@triton.jit
def add(totals, blocks, factors):
    """Adds blocks, times one factor per pixel."""
    sums = ()
    for i in tl.static_range(len(totals)):
        sums = sums + (tl.fma(blocks[i], factors[None, :], totals[i]),)
    return sums


@triton.jit
def add_squares(totals, blocks, factors):
    """Adds the squares of blocks, times one factor per pixel."""
    sums = ()
    for i in tl.static_range(len(totals)):
        sums = sums + (tl.fma(blocks[i] * blocks[i], factors[None, :], totals[i]),)
    return sums


@triton.jit
def _load_row(row, classes, C):
    """Returns one number per class in float32; 0 after the last class."""
    values = ()
    for i in tl.static_range(len(classes)):
        loaded = tl.load(row + classes[i], mask=classes[i] < C, other=0.0)
        values = values + (loaded.to(tl.float32),)
    return values


@triton.jit
def load_slope(slopes, classes, n, N, C, ROW: tl.constexpr):
    """Returns the slopes of a row for each class; 0 if the plan does not have the row."""
    if ROW >= 0:
        return _load_row(slopes + (ROW * N + n) * C, classes, C)
    else:
        blocks = ()
        for i in tl.static_range(len(classes)):
            blocks = blocks + (tl.zeros_like(classes[i]).to(tl.float32),)
        return blocks


@triton.jit
def load_blocks(
    x, n, classes, px, inside, kept, C, x_n, x_c, x_p, OUTSIDE: tl.constexpr, SELECT: tl.constexpr
):
    """Loads blocks of a tensor (N, C, P): OUTSIDE beyond its ends, 0 if a pixel does not count.

    Pixels that do not count are read and replaced: a mask per pixel would prevent wide loads.
    """
    blocks = ()
    for i in tl.static_range(len(classes)):
        at = x + n * x_n + classes[i].to(tl.int64)[:, None] * x_c + (px * x_p)[None, :]
        mask = (classes[i] < C)[:, None] & inside[None, :]
        values = tl.load(at, mask=mask, other=OUTSIDE).to(tl.float32)
        if SELECT:
            values = tl.where(kept[None, :], values, 0.0)
        blocks = blocks + (values,)
    return blocks


@triton.jit
def store_row(out, sample_part, stride, ROW: tl.constexpr, blocks, classes, C):
    """Stores the sums of accumulators over pixels, for each class, if there are accumulators."""
    for i in tl.static_range(len(blocks)):
        at = out + ROW * stride + sample_part * C + classes[i]
        tl.store(at, tl.sum(blocks[i], 1), mask=classes[i] < C)


@triton.jit
def store_number(
    out, sample_part, stride, ROW: tl.constexpr, number, classes, C, EVERYWHERE: tl.constexpr
):
    """Stores one number per sample: EVERYWHERE, or at class 0 with 0 at the other classes."""
    for i in tl.static_range(len(classes)):
        at = out + ROW * stride + sample_part * C + classes[i]
        values = tl.where((classes[i] == 0) | EVERYWHERE, number, 0.0)
        tl.store(at, values, mask=classes[i] < C)
