"""Independent channels, in Triton: each channel of a sample by itself.

The sigmoids of x and -x come from one exponential, each with its own digits, and so do their
logarithms: nothing is ever 1 - p.
"""

from __future__ import annotations

import triton
import triton.language as tl

from segloss.sums.kernels.triton_ops.pixel import exp, minus_log_of_rest, rounded, selected_weight

_SIZES = ["N", "C", "parts", "blocks", "tiles", "ignored"]
"""Numbers that no kernel variant is compiled for."""


@triton.jit
def _load_channel(
    x, g, w, n, channel, px, inside, x_n, x_c, x_p, g_n, g_c, g_p, w_n, w_c, w_p, ignored,
    IGNORES: tl.constexpr, WEIGHTED: tl.constexpr,
):  # fmt: skip
    """Loads logits, targets and weights of pixels: 0 where these do not count.

    What does not count is read and replaced: a mask of single pixels would prevent wide loads.
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
    """Loads a map of pixels: 0 where these do not count."""
    m_n, m_c, m_p = strides
    return tl.load(m + n * m_n + channel * m_c + px * m_p, mask=kept, other=0).to(tl.float32)


@triton.jit
def _sigmoids(x):
    """Returns the sigmoids p of x and q of -x, -log p and -log q."""
    odds = exp(-tl.abs(x))
    large = 1.0 / (1.0 + odds)
    small = odds * large
    log = minus_log_of_rest(small)
    p, q = tl.where(x < 0, small, large), tl.where(x < 0, large, small)
    return p, q, log + tl.maximum(-x, 0.0), log + tl.maximum(x, 0.0)


@triton.jit
def _missing(p, q, target):
    """Returns the difference target - p, in the digits of the smaller of p and q."""
    return tl.where(target > 0.5, q - (1.0 - target), target - p)


@triton.jit
def _store(out, PLACE: tl.constexpr, stride, at, values):
    """Stores the sum of an accumulator, if the row is wanted."""
    if PLACE >= 0:
        tl.store(out + PLACE * stride + at, tl.sum(values, 0))


@triton.jit(do_not_specialize=_SIZES)
def sigmoid_forward(
    x, g, w, class_weights, pos_weight, maps, focal, out, N, C, P, parts, tiles, ignored, smoothing,
    x_n, x_c, x_p, g_n, g_c, g_p, w_n, w_c, w_p, pos_c, map_strides,
    R: tl.constexpr, IGNORES: tl.constexpr, WEIGHTED: tl.constexpr, CLASS_WEIGHTS: tl.constexpr,
    POS_WEIGHT: tl.constexpr, SMOOTH: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Adds up some blocks of a channel's pixels: a part of the sums, (S, N, parts, C), in float32.

    `focal` holds the exponents and weights of focal sums, of background and foreground,
    (focals, 2, 2).
    """
    MAPS: tl.constexpr = R.maps
    FOCALS: tl.constexpr = R.focals
    part, cell = tl.program_id(0) % parts, tl.program_id(0) // parts
    n, channel = (cell // C).to(tl.int64), (cell % C).to(tl.int64)
    zeros = tl.zeros((BLOCK,), tl.float32)
    hit, extra, missed, entropy, squared = zeros, zeros, zeros, zeros, zeros
    near_hit, near_extra, near_missed = zeros, zeros, zeros
    actual, pixel_weight = zeros, zeros
    of_maps, of_focals = (), ()
    for k in tl.static_range(MAPS):
        of_maps = of_maps + ((zeros, zeros, zeros),)
    for k in tl.static_range(FOCALS):
        of_focals = of_focals + (zeros,)
    positive = 1.0
    if POS_WEIGHT:
        positive = tl.load(pos_weight + channel * pos_c).to(tl.float32)
    for tile in range(tiles):
        px = (part * tiles + tile).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
        inside = px < P
        logit, target, weight, kept = _load_channel(
            x, g, w, n, channel, px, inside, x_n, x_c, x_p, g_n, g_c, g_p, w_n, w_c, w_p, ignored,
            IGNORES, WEIGHTED,
        )  # fmt: skip
        p, q, minus_log_p, minus_log_q = _sigmoids(logit)
        if R.true_positive >= 0:
            hit += weight * target * p
            extra += weight * (1.0 - target) * p
            missed += weight * target * q
        if R.cross_entropy >= 0:
            share = target
            if SMOOTH:
                share = target * (1.0 - smoothing) + smoothing / 2
            if POS_WEIGHT or SMOOTH:
                value = positive * share * minus_log_p + (1.0 - share) * minus_log_q
            else:
                value = minus_log_q - logit * target
                value = tl.where(target == 1.0, minus_log_p, value)  # no digits are lost
            entropy += tl.where(kept, weight * value, 0.0)
        if R.squared_error >= 0:
            error = p * (1.0 - target) - q * target
            squared += weight * error * error
        if R.semimetric_true_positive >= 0:
            missing = _missing(p, q, target)
            near_hit += weight * tl.where(missing > 0, p, target)
            near_extra += weight * tl.where(missing > 0, 0.0, p - target)
            near_missed += weight * tl.where(missing > 0, missing, 0.0)
        if MAPS > 0:
            added = ()
            for k in tl.static_range(MAPS):
                m = weight * _load_map(maps[k], n, channel, px, kept, map_strides[k])
                a = of_maps[k]
                added = added + ((a[0] + m * p, a[1] + m * q, a[2] + m),)
            of_maps = added
        if R.focals > 0:
            focals = ()
            for k in tl.static_range(FOCALS):
                gamma, gamma1 = tl.load(focal + 4 * k), tl.load(focal + 4 * k + 1)
                alpha, alpha1 = tl.load(focal + 4 * k + 2), tl.load(focal + 4 * k + 3)
                value = alpha1 * target * exp(-gamma1 * minus_log_q) * minus_log_p
                value += alpha * (1.0 - target) * exp(-gamma * minus_log_p) * minus_log_q
                focals = focals + (of_focals[k] + tl.where(kept, weight * value, 0.0),)
            of_focals = focals
        actual += weight * target
        pixel_weight += weight
    of_class = 1.0
    if CLASS_WEIGHTS:
        of_class = tl.load(class_weights + channel).to(tl.float32)
    at, stride = (n * parts + part) * C + channel, N.to(tl.int64) * parts * C
    _store(out, R.true_positive, stride, at, hit)
    _store(out, R.false_positive, stride, at, extra)
    _store(out, R.false_negative, stride, at, missed)
    _store(out, R.actual, stride, at, actual)
    _store(out, R.pixel_weight, stride, at, pixel_weight)
    _store(out, R.cross_entropy, stride, at, entropy * of_class)
    _store(out, R.weight, stride, at, pixel_weight * of_class)
    _store(out, R.squared_error, stride, at, squared)
    _store(out, R.semimetric_true_positive, stride, at, near_hit)
    _store(out, R.semimetric_false_positive, stride, at, near_extra)
    _store(out, R.semimetric_false_negative, stride, at, near_missed)
    for k in tl.static_range(MAPS):
        for j in tl.static_range(3):
            _store(out, R.first_map + 3 * k + j, stride, at, of_maps[k][j])
    for k in tl.static_range(FOCALS):
        _store(out, R.first_focal + k, stride, at, of_focals[k])


@triton.jit
def _load_slope(slopes, PLACE: tl.constexpr, cells, cell):
    """Returns the slope of a row; 0 where there is none."""
    if PLACE >= 0:
        return tl.load(slopes + PLACE * cells + cell).to(tl.float32)
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
    """Writes the gradient of a block of a channel's pixels, of slopes (S, N, C) in float64."""
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
    if R.true_positive >= 0:
        of_extra = _load_slope(slopes, R.false_positive, cells, cell)
        of_hit = _load_slope(slopes, R.true_positive, cells, cell)
        of_hit -= _load_slope(slopes, R.false_negative, cells, cell)
        by_p += of_extra * (1.0 - target) + of_hit * target
    if R.squared_error >= 0:
        error = p * (1.0 - target) - q * target
        by_p += 2.0 * error * _load_slope(slopes, R.squared_error, cells, cell)
    if R.semimetric_true_positive >= 0:
        below = _load_slope(slopes, R.semimetric_true_positive, cells, cell)
        below -= _load_slope(slopes, R.semimetric_false_negative, cells, cell)
        above = _load_slope(slopes, R.semimetric_false_positive, cells, cell)
        by_p += tl.where(_missing(p, q, target) > 0, below, above)
    for k in tl.static_range(MAPS):
        of_map = _load_slope(slopes, R.first_map + 3 * k, cells, cell)
        of_map -= _load_slope(slopes, R.first_map + 3 * k + 1, cells, cell)
        by_p += of_map * _load_map(maps[k], n, channel, px, kept, map_strides[k])
    slope = p * q * by_p
    if R.cross_entropy >= 0:
        rate = _load_slope(slopes, R.cross_entropy, cells, cell)
        if CLASS_WEIGHTS:
            rate *= tl.load(class_weights + channel).to(tl.float32)
        share = target
        if SMOOTH:
            share = target * (1.0 - smoothing) + smoothing / 2
        pull = q * share
        if POS_WEIGHT:
            pull *= tl.load(pos_weight + channel * pos_c).to(tl.float32)
        slope += rate * (p * (1.0 - share) - pull)
    for k in tl.static_range(FOCALS):
        rate = _load_slope(slopes, R.first_focal + k, cells, cell)
        gamma, gamma1 = tl.load(focal + 4 * k), tl.load(focal + 4 * k + 1)
        alpha, alpha1 = tl.load(focal + 4 * k + 2), tl.load(focal + 4 * k + 3)
        up = alpha * (1.0 - target) * exp(-gamma * minus_log_p) * (gamma * q * minus_log_q + p)
        down = alpha1 * target * exp(-gamma1 * minus_log_q) * (gamma1 * p * minus_log_p + q)
        slope += rate * (up - down)
    slope = tl.where(kept, slope * weight, 0.0)
    at = out + n * o_n + channel * o_c + px * o_p
    tl.store(at, rounded(slope, out.dtype.element_ty, BY_HAND), mask=inside)
