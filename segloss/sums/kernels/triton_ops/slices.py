"""Blocks (classes, pixels) of all slices of the classes, as tuples, in Triton.

A program holds the classes in slices whose sizes are powers of 2: 19 classes are 16 + 4 rows, not
32, 150 are 128 + 32 and not 256.
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
    """Returns accumulators, or none if none are wanted: operations on them then cost nothing."""
    blocks = ()
    if WANTED:
        for i in tl.static_range(len(SLICES)):
            blocks = blocks + (_zero_block(SLICES[i][1], BLOCK),)
    return blocks


@triton.jit
def add(totals, blocks, factors):
    """Adds blocks times a factor for each pixel."""
    sums = ()
    for i in tl.static_range(len(totals)):
        sums = sums + (tl.fma(blocks[i], factors[None, :], totals[i]),)
    return sums


@triton.jit
def add_products(totals, blocks, others, factors):
    """Adds products of two blocks, times a factor for each pixel."""
    sums = ()
    for i in tl.static_range(len(totals)):
        sums = sums + (tl.fma(blocks[i] * others[i], factors[None, :], totals[i]),)
    return sums


@triton.jit
def _load_row(row, classes, C):
    """Returns a number for each class, in float32; 0 beyond the last."""
    values = ()
    for i in tl.static_range(len(classes)):
        loaded = tl.load(row + classes[i], mask=classes[i] < C, other=0.0)
        values = values + (loaded.to(tl.float32),)
    return values


@triton.jit
def load_slope(slopes, classes, n, N, C, PLACE: tl.constexpr):
    """Returns the slopes of a row by class; 0 where there is none."""
    if PLACE >= 0:
        return _load_row(slopes + (PLACE * N + n) * C, classes, C)
    else:
        blocks = ()
        for i in tl.static_range(len(classes)):
            blocks = blocks + (tl.zeros_like(classes[i]).to(tl.float32),)
        return blocks


@triton.jit
def load_blocks(
    x, n, classes, px, inside, kept, C, x_n, x_c, x_p, NONE: tl.constexpr, SELECT: tl.constexpr
):
    """Loads blocks of a tensor (N, C, P): NONE if it is absent, 0 where a pixel does not count.

    What does not count is read and replaced: a mask of single pixels would prevent wide loads.
    """
    blocks = ()
    for i in tl.static_range(len(classes)):
        at = x + n * x_n + classes[i].to(tl.int64)[:, None] * x_c + (px * x_p)[None, :]
        mask = (classes[i] < C)[:, None] & inside[None, :]
        values = tl.load(at, mask=mask, other=NONE).to(tl.float32)
        if SELECT:
            values = tl.where(kept[None, :], values, 0.0)
        blocks = blocks + (values,)
    return blocks


@triton.jit
def store_row(out, cell, stride, PLACE: tl.constexpr, blocks, classes, C):
    """Stores the sum over pixels of accumulators by class, if there are any."""
    for i in tl.static_range(len(blocks)):
        at = out + PLACE * stride + cell * C + classes[i]
        tl.store(at, tl.sum(blocks[i], 1), mask=classes[i] < C)


@triton.jit
def store_number(
    out, cell, stride, PLACE: tl.constexpr, number, classes, C, EVERYWHERE: tl.constexpr
):
    """Stores one number of a sample: at class 0, with 0 at the others, or at all classes."""
    for i in tl.static_range(len(classes)):
        at = out + PLACE * stride + cell * C + classes[i]
        values = tl.where((classes[i] == 0) | EVERYWHERE, number, 0.0)
        tl.store(at, values, mask=classes[i] < C)
