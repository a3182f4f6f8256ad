"""Arithmetic of single pixels, in Triton: logarithms that keep their digits, weights, rounding.

No function subtracts nearly equal numbers. A GPU has instructions for exponentials and logarithms
to the base 2.
"""

from __future__ import annotations

import triton
import triton.language as tl

LOG2E = tl.constexpr(1.4426950408889634)
"""The logarithm of e to the base 2."""


@triton.jit
def exp(x):
    """Computes the exponential of x. The relative error is 3e-7 at x = -10, 4e-6 at x = -80."""
    return tl.exp2(x * LOG2E)


@triton.jit
def minus_log_1_minus(u):
    """Computes -log(1 - u) for u in [0, 1/2], with a relative error of 3e-8, even for small u.

    There the logarithm of the rounded 1 - u would lose digits. The kernel for CPUs has the same
    polynomial (native/vectors.h).
    """
    u2 = u * u
    even = 1.441107949 * u2 + 1.257669862
    odd = -1.695812048 * u2 - 2.035389878e-01
    even = even * u2 + 2.696127640e-01
    odd = odd * u2 + 2.428050768e-01
    even = even * u2 + 3.337006149e-01
    odd = odd * u2 + 4.999928525e-01
    even = even * u2 + 1.000000023
    return (odd * u + even) * u


@triton.jit
def times(factor, value):
    """Computes the product; 0 where the factor is 0, even if the value is infinite or NaN."""
    return tl.where(factor == 0.0, 0.0, factor * value)


@triton.jit
def selected_weight(target, w, at, inside, ignored, IGNORES: tl.constexpr, WEIGHTED: tl.constexpr):
    """Returns the weights of pixels; 0 if a pixel is ignored or outside the image."""
    weight = tl.where(inside, 1.0, 0.0)
    if WEIGHTED:
        weight = tl.load(w + at, mask=inside, other=0).to(tl.float32)
    if IGNORES:
        weight = tl.where(target == ignored, 0.0, weight)
    return weight


@triton.jit
def rounded(values, dtype: tl.constexpr, BY_HAND: tl.constexpr):
    """Converts values to a dtype, BY_HAND to bfloat16, which Triton's interpreter truncates."""
    if BY_HAND:
        bits = values.to(tl.uint32, bitcast=True)
        bits = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
        bits = tl.where(values == values, bits, 0x7FC0).to(tl.uint16)
        return bits.to(tl.bfloat16, bitcast=True)
    return values.to(dtype)
