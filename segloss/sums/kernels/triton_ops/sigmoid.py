"""Sigmoid channels, in Triton. A program computes one cell, that is, one (sample, channel) pair.

One exponential gives the sigmoids p of x and q of -x, and their logarithms, each with all its
digits. No function computes 1 - p.
"""

from __future__ import annotations

import triton
import triton.language as tl

from segloss.sums.kernels.triton_ops.pixel import (
    exp,
    minus_log_1_minus,
    rounded,
    selected_weight,
    times,
)

_SIZES = ["N", "C", "parts", "blocks", "tiles", "ignored"]
"""The arguments that Triton must not specialise kernels for."""


@triton.jit
def _load_channel(
    x, g, w, n, channel, px, inside, x_n, x_c, x_p, g_n, g_c, g_p, w_n, w_c, w_p, ignored,
    IGNORES: tl.constexpr, WEIGHTED: tl.constexpr,
):  # fmt: skip
    """Loads the logits, targets and weights of pixels; 0 if a pixel does not count.

    Pixels that do not count are read and replaced: a mask per pixel would prevent wide loads.
    """
    target = tl.load(g + n * g_n + channel * g_c + px * g_p, mask=inside, other=0)
    weight_at = n * w_n + channel * w_c + px * w_p
    weight = selected_weight(target, w, weight_at, inside, ignored, IGNORES, WEIGHTED)
    kept = inside & (weight != 0.0)
    logit = tl.load(x + n * x_n + channel * x_c + px * x_p, mask=inside, other=0.0).to(tl.float32)
    target = target.to(tl.float32)
    if IGNORES or WEIGHTED:
        logit, target = tl.where(kept, logit, 0.0), tl.where(kept, target, 0.0)
    return logit, target, weight, kept


@triton.jit
def _load_map(m, n, channel, px, kept, strides):
    """Loads the values of a map at pixels; 0 if a pixel does not count."""
    m_n, m_c, m_p = strides
    return tl.load(m + n * m_n + channel * m_c + px * m_p, mask=kept, other=0).to(tl.float32)


@triton.jit
def _sigmoids(x):
    """Returns the sigmoids p of x and q of -x, -log p and -log q."""
    odds = exp(-tl.abs(x))
    larger = 1.0 / (1.0 + odds)
    smaller = odds * larger
    minus_log_larger = minus_log_1_minus(smaller)
    p, q = tl.where(x < 0, smaller, larger), tl.where(x < 0, larger, smaller)
    return p, q, minus_log_larger + tl.maximum(-x, 0.0), minus_log_larger + tl.maximum(x, 0.0)


@triton.jit
def _target_minus_p(p, q, target):
    """Returns the difference target - p, computed from the smaller of p and q."""
    return tl.where(target > 0.5, q - (1.0 - target), target - p)


@triton.jit
def _store(out, ROW: tl.constexpr, stride, at, values):
    """Stores the sum of an accumulator, if the plan has the row."""
    if ROW >= 0:
        tl.store(out + ROW * stride + at, tl.sum(values, 0))


@triton.jit(do_not_specialize=_SIZES)
def sigmoid_forward(
    x, g, w, class_weights, pos_weight, maps, focal, out, N, C, P, parts, tiles, ignored, smoothing,
    x_n, x_c, x_p, g_n, g_c, g_p, w_n, w_c, w_p, pos_c, map_strides,
    R: tl.constexpr, IGNORES: tl.constexpr, WEIGHTED: tl.constexpr, CLASS_WEIGHTS: tl.constexpr,
    POS_WEIGHT: tl.constexpr, SMOOTH: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Writes partial sums, (S, N, parts, C) in float32: one program adds up `tiles` blocks.

    `focal`, (focals, 2, 2), holds the exponents of background and foreground, and their weights,
    for each focal sum.
    """
    MAPS: tl.constexpr = R.maps
    FOCALS: tl.constexpr = R.focals
    part, cell = tl.program_id(0) % parts, tl.program_id(0) // parts
    n, channel = (cell // C).to(tl.int64), (cell % C).to(tl.int64)
    zeros = tl.zeros((BLOCK,), tl.float32)
    true_positive, false_positive, false_negative = zeros, zeros, zeros
    semimetric_tp, semimetric_fp, semimetric_fn = zeros, zeros, zeros
    true_negative, semimetric_tn = zeros, zeros
    actual, pixel_weight, cross_entropy, squared_error = zeros, zeros, zeros, zeros
    map_sums, focal_sums = (), ()
    for k in tl.static_range(MAPS):
        map_sums = map_sums + ((zeros, zeros, zeros),)
    for k in tl.static_range(FOCALS):
        focal_sums = focal_sums + (zeros,)
    positive_weight = 1.0
    if POS_WEIGHT:
        positive_weight = tl.load(pos_weight + channel * pos_c).to(tl.float32)
    for tile in range(tiles):
        px = (part * tiles + tile).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
        inside = px < P
        logit, target, weight, kept = _load_channel(
            x, g, w, n, channel, px, inside, x_n, x_c, x_p, g_n, g_c, g_p, w_n, w_c, w_p, ignored,
            IGNORES, WEIGHTED,
        )  # fmt: skip
        p, q, minus_log_p, minus_log_q = _sigmoids(logit)
        if R.true_positive >= 0:
            true_positive += weight * target * p
            false_positive += weight * (1.0 - target) * p
            false_negative += weight * target * q
        if R.cross_entropy >= 0:
            smoothed = target
            if SMOOTH:
                smoothed = target * (1.0 - smoothing) + smoothing / 2
            value = times(positive_weight * smoothed, minus_log_p)
            value += times(1.0 - smoothed, minus_log_q)
            cross_entropy += tl.where(kept, weight * value, 0.0)
        if R.squared_error >= 0:
            error = p * (1.0 - target) - q * target
            squared_error += weight * error * error
        if R.semimetric_true_positive >= 0:
            difference = _target_minus_p(p, q, target)
            semimetric_tp += weight * tl.where(difference > 0, p, target)
            semimetric_fp += weight * tl.where(difference > 0, 0.0, p - target)
            semimetric_fn += weight * tl.where(difference > 0, difference, 0.0)
        if R.true_negative >= 0:
            true_negative += weight * q * (1.0 - target)
        if R.semimetric_true_negative >= 0:
            semimetric_tn += weight * tl.minimum(q, 1.0 - target)
        if MAPS > 0:
            new_map_sums = ()
            for k in tl.static_range(MAPS):
                m = weight * _load_map(maps[k], n, channel, px, kept, map_strides[k])
                hit, missed, total = map_sums[k]
                new_map_sums = new_map_sums + ((hit + m * p, missed + m * q, total + m),)
            map_sums = new_map_sums
        if R.focals > 0:
            new_focal_sums = ()
            for k in tl.static_range(FOCALS):
                gamma, gamma1 = tl.load(focal + 4 * k), tl.load(focal + 4 * k + 1)
                alpha, alpha1 = tl.load(focal + 4 * k + 2), tl.load(focal + 4 * k + 3)
                power1 = exp(-times(gamma1, minus_log_q))
                power = exp(-times(gamma, minus_log_p))
                value = times(alpha1 * target * power1, minus_log_p)
                value += times(alpha * (1.0 - target) * power, minus_log_q)
                new_sum = focal_sums[k] + tl.where(kept, weight * value, 0.0)
                new_focal_sums = new_focal_sums + (new_sum,)
            focal_sums = new_focal_sums
        actual += weight * target
        pixel_weight += weight
    class_weight = 1.0
    if CLASS_WEIGHTS:
        class_weight = tl.load(class_weights + channel).to(tl.float32)
    at, stride = (n * parts + part) * C + channel, N.to(tl.int64) * parts * C
    _store(out, R.true_positive, stride, at, true_positive)
    _store(out, R.false_positive, stride, at, false_positive)
    _store(out, R.false_negative, stride, at, false_negative)
    _store(out, R.actual, stride, at, actual)
    _store(out, R.pixel_weight, stride, at, pixel_weight)
    _store(out, R.cross_entropy, stride, at, cross_entropy * class_weight)
    _store(out, R.weight, stride, at, pixel_weight * class_weight)
    _store(out, R.squared_error, stride, at, squared_error)
    _store(out, R.semimetric_true_positive, stride, at, semimetric_tp)
    _store(out, R.semimetric_false_positive, stride, at, semimetric_fp)
    _store(out, R.semimetric_false_negative, stride, at, semimetric_fn)
    _store(out, R.true_negative, stride, at, true_negative)
    _store(out, R.semimetric_true_negative, stride, at, semimetric_tn)
    for k in tl.static_range(MAPS):
        for j in tl.static_range(3):
            _store(out, R.first_map + 3 * k + j, stride, at, map_sums[k][j])
    for k in tl.static_range(FOCALS):
        _store(out, R.first_focal + k, stride, at, focal_sums[k])


@triton.jit
def _load_slope(slopes, ROW: tl.constexpr, cells, cell):
    """Returns the slope of a row at a cell; 0 if the plan does not have the row."""
    if ROW >= 0:
        return tl.load(slopes + ROW * cells + cell).to(tl.float32)
    else:
        return 0.0


@triton.jit(do_not_specialize=_SIZES)
def sigmoid_backward(
    x, g, w, class_weights, pos_weight, maps, focal, slopes, out, N, C, P, blocks, ignored,
    smoothing,
    x_n, x_c, x_p, g_n, g_c, g_p, w_n, w_c, w_p, o_n, o_c, o_p, pos_c, map_strides,
    R: tl.constexpr, IGNORES: tl.constexpr, WEIGHTED: tl.constexpr, CLASS_WEIGHTS: tl.constexpr,
    POS_WEIGHT: tl.constexpr, SMOOTH: tl.constexpr, BLOCK: tl.constexpr, BY_HAND: tl.constexpr,
):  # fmt: skip
    """Writes the gradient of a block of a channel's pixels, from slopes (S, N, C) in float64."""
    MAPS: tl.constexpr = R.maps
    FOCALS: tl.constexpr = R.focals
    block, cell = tl.program_id(0) % blocks, tl.program_id(0) // blocks
    n, channel = (cell // C).to(tl.int64), (cell % C).to(tl.int64)
    cells = N.to(tl.int64) * C
    px = block.to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = px < P
    logit, target, weight, kept = _load_channel(
        x, g, w, n, channel, px, inside, x_n, x_c, x_p, g_n, g_c, g_p, w_n, w_c, w_p, ignored,
        IGNORES, WEIGHTED,
    )  # fmt: skip
    p, q, minus_log_p, minus_log_q = _sigmoids(logit)
    by_p = tl.zeros((BLOCK,), tl.float32)
    if R.true_positive >= 0 or R.true_negative >= 0:
        background_slope = _load_slope(slopes, R.false_positive, cells, cell)
        background_slope -= _load_slope(slopes, R.true_negative, cells, cell)
        foreground_slope = _load_slope(slopes, R.true_positive, cells, cell)
        foreground_slope -= _load_slope(slopes, R.false_negative, cells, cell)
        by_p += background_slope * (1.0 - target) + foreground_slope * target
    if R.squared_error >= 0:
        error = p * (1.0 - target) - q * target
        by_p += 2.0 * error * _load_slope(slopes, R.squared_error, cells, cell)
    if R.semimetric_true_positive >= 0:
        below_target = _load_slope(slopes, R.semimetric_true_positive, cells, cell)
        below_target -= _load_slope(slopes, R.semimetric_false_negative, cells, cell)
        above_target = _load_slope(slopes, R.semimetric_false_positive, cells, cell)
        by_p += tl.where(_target_minus_p(p, q, target) > 0, below_target, above_target)
    if R.semimetric_true_negative >= 0:
        above_target = -_load_slope(slopes, R.semimetric_true_negative, cells, cell)
        by_p += tl.where(_target_minus_p(p, q, target) > 0, 0.0, above_target)
    for k in tl.static_range(MAPS):
        map_slope = _load_slope(slopes, R.first_map + 3 * k, cells, cell)
        map_slope -= _load_slope(slopes, R.first_map + 3 * k + 1, cells, cell)
        by_p += map_slope * _load_map(maps[k], n, channel, px, kept, map_strides[k])
    slope = p * q * by_p
    if R.cross_entropy >= 0:
        entropy_slope = _load_slope(slopes, R.cross_entropy, cells, cell)
        if CLASS_WEIGHTS:
            entropy_slope *= tl.load(class_weights + channel).to(tl.float32)
        smoothed = target
        if SMOOTH:
            smoothed = target * (1.0 - smoothing) + smoothing / 2
        q_positive = q * smoothed
        if POS_WEIGHT:
            q_positive *= tl.load(pos_weight + channel * pos_c).to(tl.float32)
        slope += entropy_slope * (p * (1.0 - smoothed) - q_positive)
    for k in tl.static_range(FOCALS):
        focal_slope = _load_slope(slopes, R.first_focal + k, cells, cell)
        gamma, gamma1 = tl.load(focal + 4 * k), tl.load(focal + 4 * k + 1)
        alpha, alpha1 = tl.load(focal + 4 * k + 2), tl.load(focal + 4 * k + 3)
        negative = alpha * (1.0 - target) * exp(-times(gamma, minus_log_p))
        negative = times(negative, gamma * q * minus_log_q + p)
        positive = alpha1 * target * exp(-times(gamma1, minus_log_q))
        positive = times(positive, gamma1 * p * minus_log_p + q)
        slope += focal_slope * (negative - positive)
    slope = tl.where(kept, slope * weight, 0.0)
    at = out + n * o_n + channel * o_c + px * o_p
    tl.store(at, rounded(slope, out.dtype.element_ty, BY_HAND), mask=inside)
