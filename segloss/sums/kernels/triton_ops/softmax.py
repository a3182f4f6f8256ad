"""Softmax with label maps, in Triton: all classes of a block of pixels in registers.

Logits are read once, in slices of the classes (`slices.py`). If there are more classes than
registers hold, they are cut into tiles. `softmax_tiles` then reads the logits first, and computes
the values that a pixel's classes have in common.

The label is kept apart from the other classes. `others` holds exp(logit - largest) of each class,
and exactly 0 at the label, so that `p_others` = 1 - `p_label` is a sum, not a difference. base.py
has the formulas.
"""

from __future__ import annotations

import triton
import triton.language as tl

from segloss.sums.kernels.triton_ops.pixel import exp, minus_log_1_minus, rounded, selected_weight
from segloss.sums.kernels.triton_ops.slices import (
    add,
    add_squares,
    classes_of,
    load_blocks,
    load_slope,
    store_number,
    store_row,
    zeros,
)

_SIZES = ["N", "C", "parts", "blocks", "tiles", "class_tiles", "ignored"]
"""The arguments that Triton must not specialise kernels for."""

# ---- a pixel's classes ----


@triton.jit
def _load_labels(
    y,
    w,
    n,
    px,
    inside,
    C,
    y_n,
    y_p,
    w_n,
    w_p,
    ignored,
    IGNORES: tl.constexpr,
    WEIGHTED: tl.constexpr,
):
    """Loads labels, 0 if they are not a class, and weights, NaN if such a label counts."""
    label = tl.load(y + n * y_n + px * y_p, mask=inside, other=0)
    weight = selected_weight(label, w, n * w_n + px * w_p, inside, ignored, IGNORES, WEIGHTED)
    is_class = (label >= 0) & (label < C)  # before the cast to int32, where int64 may wrap
    weight = tl.where(is_class | (weight == 0.0), weight, float("nan"))
    return tl.where(is_class, label, 0).to(tl.int32), weight


@triton.jit
def _load_label_logits(x, n, label, px, kept, x_n, x_c, x_p):
    """Loads the labels' logits again, from the cache: selecting them from blocks costs more."""
    at = x + n * x_n + label.to(tl.int64) * x_c + px * x_p
    return tl.load(at, mask=kept, other=0.0).to(tl.float32)


@triton.jit
def _largest(logits):
    """Returns the largest logit of each pixel."""
    largest = tl.max(logits[0], 0)
    for i in tl.static_range(1, len(logits)):
        largest = tl.maximum(largest, tl.max(logits[i], 0))
    return largest


@triton.jit
def _split(logits, largest, classes, label):
    """Returns 1 at the label, else 0; `others`, exp(logit - largest), 0 at the label; their sum.

    Products cost less than selections.
    """
    at_label, others = (), ()
    others_total = tl.zeros_like(largest)
    for i in tl.static_range(len(logits)):
        one = tl.where(classes[i][:, None] == label[None, :], 1.0, 0.0)
        e = exp(logits[i] - largest[None, :])
        e = tl.fma(-one, e, e)
        at_label, others = at_label + (one,), others + (e,)
        others_total += tl.sum(e, 0)
    return at_label, others, others_total


@triton.jit
def _largest_and_split(logits, common, n, classes, label, px, inside, N, P):
    """Returns the largest logits and the results of `_split`, with the sum over all tiles."""
    TILED: tl.constexpr = common is not None
    if TILED:
        largest = tl.load(common + n * P + px, mask=inside, other=0.0)
    else:
        largest = tl.where(inside, _largest(logits), 0.0)
    at_label, others, others_total = _split(logits, largest, classes, label)
    if TILED:
        others_total = tl.load(common + (N + n) * P + px, mask=inside, other=1.0)
    return largest, at_label, others, others_total


@triton.jit
def _smoothing_factors(class_weights, classes, share, C, CLASS_WEIGHTS: tl.constexpr):
    """Returns the factor e c / C that smoothing gives to -log p of each class; `share` is e / C."""
    factors = ()
    for i in tl.static_range(len(classes)):
        factor = tl.where(classes[i] < C, share, 0.0)
        if CLASS_WEIGHTS:
            factor = share * tl.load(class_weights + classes[i], mask=classes[i] < C, other=0.0).to(
                tl.float32
            )
        factors = factors + (factor.to(tl.float32),)
    return factors


@triton.jit
def _weighted_logits(logits, origin, factors, classes, inside, C):
    """Returns the sum over classes of factors times (logits - origin)."""
    total = tl.zeros_like(origin)
    for i in tl.static_range(len(logits)):
        counts = (factors[i] != 0.0)[:, None] & inside[None, :]  # a factor of 0 is at infinity too
        difference = tl.where(counts, logits[i] - origin[None, :], 0.0)
        total += tl.sum(factors[i][:, None] * difference, 0)
    return total


@triton.jit
def _total_weight(class_weights, C, CLASSES: tl.constexpr, CLASS_WEIGHTS: tl.constexpr):
    """Returns the sum of the class weights; C if there are none."""
    if CLASS_WEIGHTS:
        total = tl.zeros((CLASSES,), tl.float32)
        for first in range(0, C, CLASSES):
            at = first + tl.arange(0, CLASSES)
            total += tl.load(class_weights + at, mask=at < C, other=0.0).to(tl.float32)
        return tl.sum(total, 0)
    else:
        return C * 1.0


@triton.jit
def _power(q, gamma):
    """Computes q^gamma for q in [0, 1]; q^0 is 1."""
    return exp(gamma * tl.log(tl.maximum(q, 1.2e-38)))  # about the least normal float32


# ---- the sums ----


@triton.jit
def _q_of_others(others, at_label, exp_label, inverse_total):
    """Returns 1 - p of each class, 0 at the label: where p > 1/2, the sum of all other classes."""
    smaller = exp_label
    for i in tl.static_range(len(others)):
        smaller += tl.sum(tl.where(others[i] < 1.0, others[i], 0.0), 0)
    q = ()
    for i in tl.static_range(len(others)):
        p = others[i] * inverse_total[None, :]
        of_class = tl.where(p > 0.5, (smaller * inverse_total)[None, :], 1.0 - p)
        q = q + ((1.0 - at_label[i]) * of_class,)
    return q


@triton.jit
def _add_map(totals, m, at_label, others, q_others, weight, inverse_total, p_label, p_others):
    """Adds w p m, w (1 - p) m and w m of a map m to accumulators."""
    hit, missed, total = (), (), ()
    for i in tl.static_range(len(m)):
        w_p = others[i] * (weight * inverse_total)[None, :]
        w_p += at_label[i] * (weight * p_label)[None, :]
        w_q = q_others[i] * weight[None, :] + at_label[i] * (weight * p_others)[None, :]
        hit = hit + (totals[0][i] + m[i] * w_p,)
        missed = missed + (totals[1][i] + m[i] * w_q,)
        total = total + (totals[2][i] + m[i] * weight[None, :],)
    return hit, missed, total


@triton.jit(do_not_specialize=_SIZES)
def softmax_forward(
    x, y, w, class_weights, maps, focal, common, out, N, C, P, parts, tiles, class_tiles, ignored,
    smoothing,
    x_n, x_c, x_p, y_n, y_p, w_n, w_p, map_strides,
    R: tl.constexpr, IGNORES: tl.constexpr, WEIGHTED: tl.constexpr, CLASS_WEIGHTS: tl.constexpr,
    SMOOTH: tl.constexpr, SLICES: tl.constexpr, CLASSES: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Writes partial sums, (S, N, parts, C) in float32: one program adds up `tiles` blocks.

    `focal`, (focals, 2, C), holds the exponents and weights of each focal sum, for each class.
    `common`, (3, N, P), is the result of `softmax_tiles` if classes are cut into tiles, else None.
    """
    MAPS: tl.constexpr = R.maps
    FOCALS: tl.constexpr = R.focals
    index = tl.program_id(0)
    class_tile, part = index % class_tiles, (index // class_tiles) % parts
    n = (index // class_tiles // parts).to(tl.int64)
    TILED: tl.constexpr = common is not None
    SELECT: tl.constexpr = IGNORES or WEIGHTED
    classes = classes_of(class_tile * CLASSES, SLICES)
    true_positive = zeros(SLICES, BLOCK, R.true_positive >= 0)
    false_positive = zeros(SLICES, BLOCK, R.true_positive >= 0)
    false_negative = zeros(SLICES, BLOCK, R.true_positive >= 0)
    true_negative = zeros(SLICES, BLOCK, R.true_negative >= 0)
    actual = zeros(SLICES, BLOCK, R.actual >= 0 and R.true_positive < 0)
    squared_error = zeros(SLICES, BLOCK, R.squared_error >= 0)
    map_sums, focal_sums = (), ()
    for k in tl.static_range(MAPS):
        zero_blocks = zeros(SLICES, BLOCK, True)
        map_sums = map_sums + ((zero_blocks, zero_blocks, zero_blocks),)
    for k in tl.static_range(FOCALS):
        focal_sums = focal_sums + (tl.zeros((BLOCK,), tl.float32),)
    cross_entropy = tl.zeros((BLOCK,), tl.float32)
    normaliser = tl.zeros((BLOCK,), tl.float32)
    pixel_weight = tl.zeros((BLOCK,), tl.float32)
    if SMOOTH:
        factors = _smoothing_factors(class_weights, classes, smoothing / C, C, CLASS_WEIGHTS)
        total_factor = smoothing / C * _total_weight(class_weights, C, CLASSES, CLASS_WEIGHTS)
    for tile in range(tiles):
        px = (part * tiles + tile).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
        inside = px < P
        label, weight = _load_labels(
            y, w, n, px, inside, C, y_n, y_p, w_n, w_p, ignored, IGNORES, WEIGHTED
        )
        kept = inside & (weight != 0.0)
        logits = load_blocks(
            x, n, classes, px, inside, kept, C, x_n, x_c, x_p, float("-inf"), SELECT
        )
        label_logit = _load_label_logits(x, n, label, px, kept, x_n, x_c, x_p)
        largest, at_label, others, others_total = _largest_and_split(
            logits, common, n, classes, label, px, inside, N, P
        )
        margin = label_logit - largest
        total = exp(margin) + others_total
        inverse_total = 1.0 / total
        p_label, p_others = exp(margin) * inverse_total, others_total * inverse_total
        log_total = tl.log(total)
        nll = tl.where(p_others < 0.5, minus_log_1_minus(p_others), log_total - margin)
        true_positive = add(true_positive, at_label, weight * p_label)
        false_negative = add(false_negative, at_label, weight * p_others)
        false_positive = add(false_positive, others, weight * inverse_total)
        actual = add(actual, at_label, weight)
        squared_error = add(squared_error, at_label, weight * p_others * p_others)
        squared_error = add_squares(squared_error, others, weight * inverse_total * inverse_total)
        if MAPS > 0 or R.true_negative >= 0:
            q_others = _q_of_others(others, at_label, exp(margin), inverse_total)
            true_negative = add(true_negative, q_others, weight)
        if MAPS > 0:
            new_map_sums = ()
            for k in tl.static_range(MAPS):
                m_n, m_c, m_p = map_strides[k]
                m = load_blocks(maps[k], n, classes, px, inside, kept, C, m_n, m_c, m_p, 0, True)
                new_sums = _add_map(
                    map_sums[k], m, at_label, others, q_others, weight, inverse_total, p_label,
                    p_others,
                )  # fmt: skip
                new_map_sums = new_map_sums + (new_sums,)
            map_sums = new_map_sums
        if R.focals > 0:
            new_focal_sums = ()
            for k in tl.static_range(FOCALS):
                gamma = tl.load(focal + 2 * k * C + label)
                alpha = tl.load(focal + (2 * k + 1) * C + label)
                value = alpha * _power(p_others, gamma) * nll
                new_sum = focal_sums[k] + tl.where(kept, weight * value, 0.0)
                new_focal_sums = new_focal_sums + (new_sum,)
            focal_sums = new_focal_sums
        if R.cross_entropy >= 0:
            class_weight = tl.full((BLOCK,), 1.0, tl.float32)
            if CLASS_WEIGHTS:
                class_weight = tl.load(class_weights + label).to(tl.float32)
            value = class_weight * nll
            if SMOOTH:
                if TILED:
                    smoothed = tl.load(common + (2 * N + n) * P + px, mask=inside, other=0.0)
                else:
                    smoothed = total_factor * log_total - _weighted_logits(
                        logits, largest, factors, classes, inside, C
                    )
                value = (1.0 - smoothing) * value + smoothed
            cross_entropy += tl.where(kept, weight * value, 0.0)
            normaliser += weight * class_weight
        pixel_weight += weight
    sample_part, stride = n * parts + part, N.to(tl.int64) * parts * C
    store_row(out, sample_part, stride, R.true_positive, true_positive, classes, C)
    store_row(out, sample_part, stride, R.false_positive, false_positive, classes, C)
    store_row(out, sample_part, stride, R.false_negative, false_negative, classes, C)
    store_row(out, sample_part, stride, R.true_negative, true_negative, classes, C)
    if R.true_positive >= 0:  # instead of accumulators for `actual`
        for i in tl.static_range(len(classes)):
            at = out + R.actual * stride + sample_part * C + classes[i]
            pixels_of_class = tl.sum(true_positive[i], 1) + tl.sum(false_negative[i], 1)
            tl.store(at, pixels_of_class, mask=classes[i] < C)
    store_row(out, sample_part, stride, R.actual, actual, classes, C)
    store_row(out, sample_part, stride, R.squared_error, squared_error, classes, C)
    for k in tl.static_range(MAPS):
        for j in tl.static_range(3):
            store_row(out, sample_part, stride, R.first_map + 3 * k + j, map_sums[k][j], classes, C)
    for k in tl.static_range(FOCALS):
        number = tl.sum(focal_sums[k], 0)
        store_number(out, sample_part, stride, R.first_focal + k, number, classes, C, False)
    if R.pixel_weight >= 0:
        number = tl.sum(pixel_weight, 0)
        store_number(out, sample_part, stride, R.pixel_weight, number, classes, C, True)
    if R.cross_entropy >= 0:
        number = tl.sum(cross_entropy, 0)
        store_number(out, sample_part, stride, R.cross_entropy, number, classes, C, False)
        number = tl.sum(normaliser, 0)
        store_number(out, sample_part, stride, R.weight, number, classes, C, False)


# ---- the gradient ----


@triton.jit
def _background_slope(slopes, classes, n, N, C, R: tl.constexpr):
    """Returns the derivatives in w p of pixels of other labels; true negatives are w (1 - p)."""
    false_positive = load_slope(slopes, classes, n, N, C, R.false_positive)
    true_negative = load_slope(slopes, classes, n, N, C, R.true_negative)
    total = ()
    for i in tl.static_range(len(classes)):
        total = total + (false_positive[i] - true_negative[i],)
    return total


@triton.jit
def _slope_sums(others, by_p, by_square, maps_by_p, like):
    """Returns two sums over `others`, e: of e times the slope in p, and of e^2 by_square."""
    linear, square = tl.zeros_like(like), tl.zeros_like(like)
    for i in tl.static_range(len(others)):
        linear += tl.sum(others[i] * (by_p[i][:, None] + maps_by_p[i]), 0)
        square += tl.sum(others[i] * others[i] * by_square[i][:, None], 0)
    return linear, square


@triton.jit
def _maps_by_p(maps, map_strides, slopes, n, classes, px, inside, kept, N, C, R: tl.constexpr):
    """Returns the derivatives in the p of each class that come from the maps."""
    MAPS: tl.constexpr = R.maps
    total = ()
    for i in tl.static_range(len(classes)):
        total = total + (tl.zeros((1, 1), tl.float32),)
    for k in tl.static_range(MAPS):
        m_n, m_c, m_p = map_strides[k]
        m = load_blocks(maps[k], n, classes, px, inside, kept, C, m_n, m_c, m_p, 0, True)
        hit = load_slope(slopes, classes, n, N, C, R.first_map + 3 * k)
        missed = load_slope(slopes, classes, n, N, C, R.first_map + 3 * k + 1)
        new_total = ()
        for i in tl.static_range(len(classes)):
            new_total = new_total + (total[i] + m[i] * (hit[i] - missed[i])[:, None],)
        total = new_total
    return total


@triton.jit
def _by_p_label(slopes, maps, map_strides, n, label, px, kept, p_others, N, C, R: tl.constexpr):
    """Returns the derivative in p_label of all sums but the cross-entropy and focal sums."""
    MAPS: tl.constexpr = R.maps
    row = slopes + n * C + label
    cells = N.to(tl.int64) * C
    slope = tl.zeros_like(p_others)
    if R.true_positive >= 0:
        true_positive = tl.load(row + R.true_positive * cells)
        slope += (true_positive - tl.load(row + R.false_negative * cells)).to(tl.float32)
    if R.squared_error >= 0:
        slope -= 2.0 * p_others * tl.load(row + R.squared_error * cells).to(tl.float32)
    for k in tl.static_range(MAPS):
        m_n, m_c, m_p = map_strides[k]
        m = tl.load(maps[k] + n * m_n + label.to(tl.int64) * m_c + px * m_p, mask=kept, other=0)
        hit = tl.load(row + (R.first_map + 3 * k) * cells)
        missed = tl.load(row + (R.first_map + 3 * k + 1) * cells)
        slope += (hit - missed).to(tl.float32) * m.to(tl.float32)
    return slope


@triton.jit(do_not_specialize=_SIZES)
def softmax_backward(
    x, y, w, class_weights, maps, focal, common, slopes, out, N, C, P, blocks, class_tiles, ignored,
    smoothing,
    x_n, x_c, x_p, y_n, y_p, w_n, w_p, o_n, o_c, o_p, map_strides,
    R: tl.constexpr, IGNORES: tl.constexpr, WEIGHTED: tl.constexpr, CLASS_WEIGHTS: tl.constexpr,
    SMOOTH: tl.constexpr, SLICES: tl.constexpr, CLASSES: tl.constexpr, BLOCK: tl.constexpr,
    BY_HAND: tl.constexpr,
):  # fmt: skip
    """Writes the gradient of a block of a sample's pixels, from slopes (S, N, C) in float64."""
    FOCALS: tl.constexpr = R.focals
    index = tl.program_id(0)
    class_tile, block = index % class_tiles, (index // class_tiles) % blocks
    n = (index // class_tiles // blocks).to(tl.int64)
    TILED: tl.constexpr = common is not None
    SELECT: tl.constexpr = IGNORES or WEIGHTED
    classes = classes_of(class_tile * CLASSES, SLICES)
    px = block.to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = px < P
    label, weight = _load_labels(
        y, w, n, px, inside, C, y_n, y_p, w_n, w_p, ignored, IGNORES, WEIGHTED
    )
    kept = inside & (weight != 0.0)
    by_p = _background_slope(slopes, classes, n, N, C, R)
    by_square = load_slope(slopes, classes, n, N, C, R.squared_error)
    maps_by_p = _maps_by_p(maps, map_strides, slopes, n, classes, px, inside, kept, N, C, R)
    logits = load_blocks(x, n, classes, px, inside, kept, C, x_n, x_c, x_p, float("-inf"), SELECT)
    label_logit = _load_label_logits(x, n, label, px, kept, x_n, x_c, x_p)
    largest, at_label, others, others_total = _largest_and_split(
        logits, common, n, classes, label, px, inside, N, P
    )
    margin = label_logit - largest
    inverse_total = 1.0 / (exp(margin) + others_total)
    p_label, p_others = exp(margin) * inverse_total, others_total * inverse_total
    if TILED:
        mean_slope = tl.load(common + (2 * N + n) * P + px, mask=inside, other=0.0)
    else:
        linear, square = _slope_sums(others, by_p, by_square, maps_by_p, inverse_total)
        mean_slope = (linear + 2.0 * square * inverse_total) * inverse_total
    by_p_label = _by_p_label(slopes, maps, map_strides, n, label, px, kept, p_others, N, C, R)
    label_slope = p_label * (by_p_label * p_others - mean_slope)
    by_nll = tl.zeros_like(p_others)  # a v in the formulas of base.py, focal sums included
    entropy_slope = 0.0
    if R.cross_entropy >= 0:
        entropy_slope = tl.load(slopes + (R.cross_entropy * N + n) * C).to(tl.float32)
        class_weight = tl.full((BLOCK,), 1.0, tl.float32)
        if CLASS_WEIGHTS:
            class_weight = tl.load(class_weights + label).to(tl.float32)
        by_nll = entropy_slope * class_weight
        if SMOOTH:
            of_label = by_nll * (smoothing / C)
            by_nll = by_nll * (1.0 - smoothing) + of_label
    if R.focals > 0:
        log_total = -tl.log(inverse_total)
        nll = tl.where(p_others < 0.5, minus_log_1_minus(p_others), log_total - margin)
        divisor = tl.where(p_others > 0.0, p_others, 1.0)
        nll_ratio = tl.where(p_others > 0.0, nll / divisor, 1.0)  # nll / p_others
        p_nll_ratio = tl.where(p_label > 0.0, p_label * nll_ratio, 0.0)
        for k in tl.static_range(FOCALS):
            gamma = tl.load(focal + 2 * k * C + label)
            alpha = tl.load(focal + (2 * k + 1) * C + label)
            slope = tl.load(slopes + ((R.first_focal + k) * N + n) * C).to(tl.float32)
            by_nll += slope * alpha * _power(p_others, gamma) * (1.0 + gamma * p_nll_ratio)
    if SMOOTH and R.cross_entropy >= 0:
        factors = _smoothing_factors(class_weights, classes, smoothing / C, C, CLASS_WEIGHTS)
        total_factor = smoothing / C * _total_weight(class_weights, C, CLASSES, CLASS_WEIGHTS)
        rest = entropy_slope * total_factor - of_label
        label_slope += rest * p_label
        mean_slope -= rest
    label_slope -= by_nll * p_others
    shift = by_nll - mean_slope - by_p_label * p_label
    for i in tl.static_range(len(classes)):
        p = others[i] * inverse_total[None, :]
        p_slope = by_p[i][:, None] + maps_by_p[i]
        if R.squared_error >= 0:
            p_slope += 2.0 * by_square[i][:, None] * p
        slope = p * (p_slope + shift[None, :])
        if SMOOTH and R.cross_entropy >= 0:
            slope -= entropy_slope * factors[i][:, None]
        slope = tl.where(at_label[i] > 0.5, label_slope[None, :], slope) * weight[None, :]
        if SELECT:
            slope = tl.where(kept[None, :], slope, 0.0)
        at = out + n * o_n + classes[i].to(tl.int64)[:, None] * o_c + (px * o_p)[None, :]
        mask = (classes[i] < C)[:, None] & inside[None, :]
        tl.store(at, rounded(slope, out.dtype.element_ty, BY_HAND), mask=mask)


# ---- values that all classes of a pixel have in common, if classes are cut into tiles ----


@triton.jit(do_not_specialize=_SIZES)
def softmax_tiles(
    x, y, w, class_weights, maps, slopes, common, N, C, P, blocks, class_tiles, ignored, smoothing,
    x_n, x_c, x_p, y_n, y_p, w_n, w_p, map_strides,
    R: tl.constexpr, IGNORES: tl.constexpr, WEIGHTED: tl.constexpr, CLASS_WEIGHTS: tl.constexpr,
    SMOOTH: tl.constexpr, SLICES: tl.constexpr, CLASSES: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Writes `common`, (3, N, P), over all tiles of the classes, with an online maximum.

    For each pixel it holds the largest logit; the sum of `others`; and the smoothing's part of the
    cross-entropy or, if slopes are given, the mean slope in p over the classes but the label.
    """
    block, n = tl.program_id(0) % blocks, (tl.program_id(0) // blocks).to(tl.int64)
    BACKWARD: tl.constexpr = slopes is not None
    px = block.to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = px < P
    label, weight = _load_labels(
        y, w, n, px, inside, C, y_n, y_p, w_n, w_p, ignored, IGNORES, WEIGHTED
    )
    kept = inside & (weight != 0.0)
    label_logit = _load_label_logits(x, n, label, px, kept, x_n, x_c, x_p)
    largest = tl.full((BLOCK,), float("-inf"), tl.float32)
    zeros_of_pixels = tl.zeros_like(largest)
    others_total, linear, square = zeros_of_pixels, zeros_of_pixels, zeros_of_pixels
    for class_tile in range(class_tiles):
        classes = classes_of(class_tile * CLASSES, SLICES)
        logits = load_blocks(x, n, classes, px, inside, kept, C, x_n, x_c, x_p, float("-inf"), True)
        new_largest = tl.maximum(largest, _largest(logits))
        rescale = tl.where(new_largest == largest, 1.0, exp(largest - new_largest))
        _, others, tile_total = _split(logits, new_largest, classes, label)
        others_total = others_total * rescale + tile_total
        if BACKWARD:
            by_p = _background_slope(slopes, classes, n, N, C, R)
            by_square = load_slope(slopes, classes, n, N, C, R.squared_error)
            maps_by_p = _maps_by_p(maps, map_strides, slopes, n, classes, px, inside, kept, N, C, R)
            tile_linear, tile_square = _slope_sums(others, by_p, by_square, maps_by_p, label_logit)
            linear = linear * rescale + tile_linear
            square = square * rescale * rescale + tile_square
        elif SMOOTH:
            factors = _smoothing_factors(class_weights, classes, smoothing / C, C, CLASS_WEIGHTS)
            linear += _weighted_logits(logits, label_logit, factors, classes, inside, C)
        largest = new_largest
    inverse_total = 1.0 / (exp(label_logit - largest) + others_total)
    third = linear
    if BACKWARD:
        third = (linear + 2.0 * square * inverse_total) * inverse_total
    elif SMOOTH:
        total_factor = smoothing / C * _total_weight(class_weights, C, CLASSES, CLASS_WEIGHTS)
        third = total_factor * (-tl.log(inverse_total) - (label_logit - largest)) - linear
    at = common + n * P + px
    tl.store(at, largest, mask=inside)
    pixels = N.to(tl.int64) * P
    tl.store(at + pixels, others_total, mask=inside)
    tl.store(at + 2 * pixels, third, mask=inside)
