"""The sum of the partial sums, in Triton: in a fixed order, in float64."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit(do_not_specialize=["parts", "C", "class_blocks"])
def add_partial_sums(
    partial, sums, parts, C, class_blocks, PARTS: tl.constexpr, CLASSES: tl.constexpr
):
    """Adds up partial sums (S, N, parts, C) in float32 to sums (S, N, C) in float64."""
    sum_of_sample = (tl.program_id(0) // class_blocks).to(tl.int64)
    c = (tl.program_id(0) % class_blocks) * CLASSES + tl.arange(0, CLASSES)
    total = tl.zeros((PARTS, CLASSES), tl.float64)
    for first in range(0, parts, PARTS):
        part = first + tl.arange(0, PARTS)
        at = partial + (sum_of_sample * parts + part)[:, None] * C + c[None, :]
        mask = (part < parts)[:, None] & (c < C)[None, :]
        total += tl.load(at, mask=mask, other=0.0).to(tl.float64)
    tl.store(sums + sum_of_sample * C + c, tl.sum(total, 0), mask=c < C)
