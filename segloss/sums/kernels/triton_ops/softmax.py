"""Softmax with label maps, in Triton: all classes of a block of pixels in registers.

Logits are read once, in slices of the classes (`slices.py`). More classes than registers hold are
cut into tiles: `softmax_tiles` then reads the logits first, for what all classes of a pixel have in
common.

A pixel's label is held apart from the other classes: its exponential is taken out of the slices
(`others`, exactly 0 there), so that q = 1 - p is a sum and no difference.
"""

from __future__ import annotations

import triton
import triton.language as tl

from segloss.sums.kernels.triton_ops.pixel import exp, minus_log_of_rest, rounded, selected_weight
from segloss.sums.kernels.triton_ops.slices import (
    add,
    add_products,
    classes_of,
    load_blocks,
    load_slope,
    store_number,
    store_row,
    zeros,
)

_SIZES = ["N", "C", "parts", "blocks", "tiles", "class_tiles", "ignored"]
"""Numbers that no kernel variant is compiled for."""

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
    """Loads labels, 0 where they are no class, and weights, NaN where such a label counts."""
    label = tl.load(y + n * y_n + px * y_p, mask=inside, other=0)
    weight = selected_weight(label, w, n * w_n + px * w_p, inside, ignored, IGNORES, WEIGHTED)
    known = (label >= 0) & (label < C)  # in the labels' own type: int64 may wrap
    weight = tl.where(known | (weight == 0.0), weight, float("nan"))
    return tl.where(known, label, 0).to(tl.int32), weight


@triton.jit
def _load_own_logits(x, n, label, px, kept, x_n, x_c, x_p):
    """Loads the labels' logits: once more, from the cache, costs less than a selection of each."""
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
    """Returns 1 at the label; exp(logit - largest), exactly 0 there; and the sum of these.

    Products cost less than selections.
    """
    at_label, others = (), ()
    rest = tl.zeros_like(largest)
    for i in tl.static_range(len(logits)):
        one = tl.where(classes[i][:, None] == label[None, :], 1.0, 0.0)
        e = exp(logits[i] - largest[None, :])
        e = tl.fma(-one, e, e)
        at_label, others = at_label + (one,), others + (e,)
        rest += tl.sum(e, 0)
    return at_label, others, rest


@triton.jit
def _against_largest(logits, common, n, classes, label, px, inside, N, P):
    """Returns the largest logits and the result of `_split`, of all classes, even with tiles."""
    TILED: tl.constexpr = common is not None
    if TILED:
        largest = tl.load(common + n * P + px, mask=inside, other=0.0)
    else:
        largest = tl.where(inside, _largest(logits), 0.0)
    at_label, others, rest = _split(logits, largest, classes, label)
    if TILED:
        rest = tl.load(common + (N + n) * P + px, mask=inside, other=1.0)
    return largest, at_label, others, rest


@triton.jit
def _smoothing_factors(class_weights, classes, share, C, CLASS_WEIGHTS: tl.constexpr):
    """Returns the part of the cross-entropy that label smoothing gives to each class."""
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
    """Returns the sum over classes of factors times logits, counted from an origin."""
    total = tl.zeros_like(origin)
    for i in tl.static_range(len(logits)):
        real = (classes[i] < C)[:, None] & inside[None, :]
        total += tl.sum(factors[i][:, None] * tl.where(real, logits[i] - origin[None, :], 0.0), 0)
    return total


@triton.jit
def _mean_weight(class_weights, C, CLASSES: tl.constexpr, CLASS_WEIGHTS: tl.constexpr):
    """Returns the mean of the class weights; 1 where there are none."""
    if CLASS_WEIGHTS:
        total = tl.zeros((CLASSES,), tl.float32)
        for first in range(0, C, CLASSES):
            at = first + tl.arange(0, CLASSES)
            total += tl.load(class_weights + at, mask=at < C, other=0.0).to(tl.float32)
        return tl.sum(total, 0) / C
    else:
        return 1.0


@triton.jit
def _power(q, gamma):
    """Computes q^gamma for q in [0, 1]; q^0 is 1."""
    return exp(gamma * tl.log(tl.maximum(q, 1.2e-38)))  # the least normal float32, nearly


# ---- the sums ----


@triton.jit
def _add_map(totals, m, at_label, others, weight, inverse, p, q):
    """Adds w p m, w q m and w m of a map to accumulators."""
    hit, missed, total = (), (), ()
    for i in tl.static_range(len(m)):
        w_p = others[i] * (weight * inverse)[None, :] + at_label[i] * (weight * p)[None, :]
        not_label = (1.0 - at_label[i]) * weight[None, :] - others[i] * (weight * inverse)[None, :]
        w_q = not_label + at_label[i] * (weight * q)[None, :]
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
    """Adds up some blocks of a sample's pixels: a part of the sums, (S, N, parts, C), in float32.

    `focal` holds the exponents and weights of focal sums by class, (focals, 2, C). `common` holds
    what all classes of a pixel have in common, (3, N, P), where a program has a tile of them.
    """
    MAPS: tl.constexpr = R.maps
    FOCALS: tl.constexpr = R.focals
    index = tl.program_id(0)
    class_tile, part = index % class_tiles, (index // class_tiles) % parts
    n = (index // class_tiles // parts).to(tl.int64)
    TILED: tl.constexpr = common is not None
    SELECT: tl.constexpr = IGNORES or WEIGHTED
    classes = classes_of(class_tile * CLASSES, SLICES)
    hit = zeros(SLICES, BLOCK, R.true_positive >= 0)
    extra = zeros(SLICES, BLOCK, R.true_positive >= 0)
    missed = zeros(SLICES, BLOCK, R.true_positive >= 0)
    actual = zeros(SLICES, BLOCK, R.actual >= 0 and R.true_positive < 0)
    squared = zeros(SLICES, BLOCK, R.squared_error >= 0)
    of_maps, of_focals = (), ()
    for k in tl.static_range(MAPS):
        none = zeros(SLICES, BLOCK, True)
        of_maps = of_maps + ((none, none, none),)
    for k in tl.static_range(FOCALS):
        of_focals = of_focals + (tl.zeros((BLOCK,), tl.float32),)
    entropy = tl.zeros((BLOCK,), tl.float32)
    label_weight = tl.zeros((BLOCK,), tl.float32)
    pixel_weight = tl.zeros((BLOCK,), tl.float32)
    if SMOOTH:
        factors = _smoothing_factors(class_weights, classes, smoothing / C, C, CLASS_WEIGHTS)
        whole_factor = smoothing * _mean_weight(class_weights, C, CLASSES, CLASS_WEIGHTS)
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
        own = _load_own_logits(x, n, label, px, kept, x_n, x_c, x_p)
        largest, at_label, others, rest = _against_largest(
            logits, common, n, classes, label, px, inside, N, P
        )
        margin = own - largest
        whole = exp(margin) + rest
        inverse = 1.0 / whole
        p, q = exp(margin) * inverse, rest * inverse
        log_whole = tl.log(whole)
        surprise = tl.where(q < 0.5, minus_log_of_rest(q), log_whole - margin)  # -log p
        hit = add(hit, at_label, weight * p)
        missed = add(missed, at_label, weight * q)
        extra = add(extra, others, weight * inverse)
        actual = add(actual, at_label, weight)
        squared = add(squared, at_label, weight * q * q)
        squared = add_products(squared, others, others, weight * inverse * inverse)
        if MAPS > 0:
            added = ()
            for k in tl.static_range(MAPS):
                m_n, m_c, m_p = map_strides[k]
                m = load_blocks(maps[k], n, classes, px, inside, kept, C, m_n, m_c, m_p, 0, True)
                added = added + (_add_map(of_maps[k], m, at_label, others, weight, inverse, p, q),)
            of_maps = added
        if R.focals > 0:
            focals = ()
            for k in tl.static_range(FOCALS):
                gamma = tl.load(focal + 2 * k * C + label)
                alpha = tl.load(focal + (2 * k + 1) * C + label)
                value = alpha * _power(q, gamma) * surprise
                focals = focals + (of_focals[k] + tl.where(kept, weight * value, 0.0),)
            of_focals = focals
        if R.cross_entropy >= 0:
            of_label = tl.full((BLOCK,), 1.0, tl.float32)
            if CLASS_WEIGHTS:
                of_label = tl.load(class_weights + label).to(tl.float32)
            value = of_label * surprise
            if SMOOTH:
                if TILED:
                    mean = tl.load(common + (2 * N + n) * P + px, mask=inside, other=0.0)
                else:
                    mean = whole_factor * log_whole - _weighted_logits(
                        logits, largest, factors, classes, inside, C
                    )
                value = (1.0 - smoothing) * value + mean
            entropy += tl.where(kept, weight * value, 0.0)
            label_weight += weight * of_label
        pixel_weight += weight
    cell, stride = n * parts + part, N.to(tl.int64) * parts * C
    store_row(out, cell, stride, R.true_positive, hit, classes, C)
    store_row(out, cell, stride, R.false_positive, extra, classes, C)
    store_row(out, cell, stride, R.false_negative, missed, classes, C)
    if R.true_positive >= 0:  # no accumulator of its own
        for i in tl.static_range(len(classes)):
            at = out + R.actual * stride + cell * C + classes[i]
            tl.store(at, tl.sum(hit[i], 1) + tl.sum(missed[i], 1), mask=classes[i] < C)
    store_row(out, cell, stride, R.actual, actual, classes, C)
    store_row(out, cell, stride, R.squared_error, squared, classes, C)
    for k in tl.static_range(MAPS):
        for j in tl.static_range(3):
            store_row(out, cell, stride, R.first_map + 3 * k + j, of_maps[k][j], classes, C)
    for k in tl.static_range(FOCALS):
        store_number(
            out, cell, stride, R.first_focal + k, tl.sum(of_focals[k], 0), classes, C, False
        )
    if R.pixel_weight >= 0:
        store_number(out, cell, stride, R.pixel_weight, tl.sum(pixel_weight, 0), classes, C, True)
    if R.cross_entropy >= 0:
        store_number(out, cell, stride, R.cross_entropy, tl.sum(entropy, 0), classes, C, False)
        store_number(out, cell, stride, R.weight, tl.sum(label_weight, 0), classes, C, False)


# ---- the gradient ----


@triton.jit
def _spread(others, by_p, by_square, maps_by_p, like):
    """Sums over the other classes e = exp(logit - largest) times derivatives by p, and e^2."""
    linear, square = tl.zeros_like(like), tl.zeros_like(like)
    for i in tl.static_range(len(others)):
        linear += tl.sum(others[i] * (by_p[i][:, None] + maps_by_p[i]), 0)
        square += tl.sum(others[i] * others[i] * by_square[i][:, None], 0)
    return linear, square


@triton.jit
def _maps_by_p(maps, map_strides, slopes, n, classes, px, inside, kept, N, C, R: tl.constexpr):
    """Returns the derivatives by p that maps give to each class."""
    MAPS: tl.constexpr = R.maps
    total = ()
    for i in tl.static_range(len(classes)):
        total = total + (tl.zeros((1, 1), tl.float32),)
    for k in tl.static_range(MAPS):
        m_n, m_c, m_p = map_strides[k]
        m = load_blocks(maps[k], n, classes, px, inside, kept, C, m_n, m_c, m_p, 0, True)
        hit = load_slope(slopes, classes, n, N, C, R.first_map + 3 * k)
        missed = load_slope(slopes, classes, n, N, C, R.first_map + 3 * k + 1)
        added = ()
        for i in tl.static_range(len(classes)):
            added = added + (total[i] + m[i] * (hit[i] - missed[i])[:, None],)
        total = added
    return total


@triton.jit
def _label_by_p(slopes, maps, map_strides, n, label, px, kept, q, N, C, R: tl.constexpr):
    """Returns the derivative by the label's p, cross-entropy and focal sums aside."""
    MAPS: tl.constexpr = R.maps
    row = slopes + n * C + label
    cells = N.to(tl.int64) * C
    slope = tl.zeros_like(q)
    if R.true_positive >= 0:
        hit = tl.load(row + R.true_positive * cells)
        slope += (hit - tl.load(row + R.false_negative * cells)).to(tl.float32)
    if R.squared_error >= 0:
        slope -= 2.0 * q * tl.load(row + R.squared_error * cells).to(tl.float32)
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
    """Writes the gradient of a block of a sample's pixels, of slopes (S, N, C) in float64."""
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
    by_p = load_slope(slopes, classes, n, N, C, R.false_positive)
    by_square = load_slope(slopes, classes, n, N, C, R.squared_error)
    maps_by_p = _maps_by_p(maps, map_strides, slopes, n, classes, px, inside, kept, N, C, R)
    logits = load_blocks(x, n, classes, px, inside, kept, C, x_n, x_c, x_p, float("-inf"), SELECT)
    own = _load_own_logits(x, n, label, px, kept, x_n, x_c, x_p)
    largest, at_label, others, rest = _against_largest(
        logits, common, n, classes, label, px, inside, N, P
    )
    margin = own - largest
    inverse = 1.0 / (exp(margin) + rest)
    p, q = exp(margin) * inverse, rest * inverse
    if TILED:
        spread = tl.load(common + (2 * N + n) * P + px, mask=inside, other=0.0)
    else:
        linear, square = _spread(others, by_p, by_square, maps_by_p, inverse)
        spread = (linear + 2.0 * square * inverse) * inverse
    own_by_p = _label_by_p(slopes, maps, map_strides, n, label, px, kept, q, N, C, R)
    own_slope = p * (own_by_p * q - spread)
    pull = tl.zeros_like(q)  # towards the label, by logarithms of p
    entropy_slope = 0.0
    if R.cross_entropy >= 0:
        entropy_slope = tl.load(slopes + (R.cross_entropy * N + n) * C).to(tl.float32)
        of_label = tl.full((BLOCK,), 1.0, tl.float32)
        if CLASS_WEIGHTS:
            of_label = tl.load(class_weights + label).to(tl.float32)
        pull = entropy_slope * of_label
        if SMOOTH:
            own_slope -= pull * (smoothing / C)
            pull *= 1.0 - smoothing
    if R.focals > 0:
        surprise = tl.where(q < 0.5, minus_log_of_rest(q), -tl.log(inverse) - margin)
        ratio = tl.where(q > 0.0, surprise / tl.where(q > 0.0, q, 1.0), 1.0)
        steep = tl.where(p > 0.0, p * ratio, 0.0)
        for k in tl.static_range(FOCALS):
            gamma = tl.load(focal + 2 * k * C + label)
            alpha = tl.load(focal + (2 * k + 1) * C + label)
            slope = tl.load(slopes + ((R.first_focal + k) * N + n) * C).to(tl.float32)
            pull += slope * alpha * _power(q, gamma) * (1.0 + gamma * steep)
    if SMOOTH and R.cross_entropy >= 0:
        factors = _smoothing_factors(class_weights, classes, smoothing / C, C, CLASS_WEIGHTS)
        whole_factor = smoothing * _mean_weight(class_weights, C, CLASSES, CLASS_WEIGHTS)
        own_slope += entropy_slope * whole_factor
        pull += entropy_slope * whole_factor
    own_slope -= pull * q
    shift = pull - spread - own_by_p * p
    for i in tl.static_range(len(classes)):
        by_logit = others[i] * inverse[None, :]
        derivative = by_p[i][:, None] + maps_by_p[i]
        if R.squared_error >= 0:
            derivative += 2.0 * by_square[i][:, None] * by_logit
        slope = by_logit * (derivative + shift[None, :])
        if SMOOTH and R.cross_entropy >= 0:
            slope -= entropy_slope * factors[i][:, None]
        slope = tl.where(at_label[i] > 0.5, own_slope[None, :], slope) * weight[None, :]
        if SELECT:
            slope = tl.where(kept[None, :], slope, 0.0)
        at = out + n * o_n + classes[i].to(tl.int64)[:, None] * o_c + (px * o_p)[None, :]
        mask = (classes[i] < C)[:, None] & inside[None, :]
        tl.store(at, rounded(slope, out.dtype.element_ty, BY_HAND), mask=mask)


# ---- what all classes of a pixel have in common, where there are many ----


@triton.jit(do_not_specialize=_SIZES)
def softmax_tiles(
    x, y, w, class_weights, maps, slopes, common, N, C, P, blocks, class_tiles, ignored, smoothing,
    x_n, x_c, x_p, y_n, y_p, w_n, w_p, map_strides,
    R: tl.constexpr, IGNORES: tl.constexpr, WEIGHTED: tl.constexpr, CLASS_WEIGHTS: tl.constexpr,
    SMOOTH: tl.constexpr, SLICES: tl.constexpr, CLASSES: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Writes `common`, (3, N, P), tile by tile of the classes, with an online maximum.

    It holds the largest logit; the sum of exp(logit - largest) of all classes but the label; and
    the smoothing's part of the cross-entropy, or, with slopes, the other classes' mean derivative.
    """
    block, n = tl.program_id(0) % blocks, (tl.program_id(0) // blocks).to(tl.int64)
    BACKWARD: tl.constexpr = slopes is not None
    px = block.to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = px < P
    label, weight = _load_labels(
        y, w, n, px, inside, C, y_n, y_p, w_n, w_p, ignored, IGNORES, WEIGHTED
    )
    kept = inside & (weight != 0.0)
    own = _load_own_logits(x, n, label, px, kept, x_n, x_c, x_p)
    largest = tl.full((BLOCK,), float("-inf"), tl.float32)
    rest, linear, square = tl.zeros_like(own), tl.zeros_like(own), tl.zeros_like(own)
    for class_tile in range(class_tiles):
        classes = classes_of(class_tile * CLASSES, SLICES)
        logits = load_blocks(x, n, classes, px, inside, kept, C, x_n, x_c, x_p, float("-inf"), True)
        larger = tl.maximum(largest, _largest(logits))
        shrink = tl.where(larger == largest, 1.0, exp(largest - larger))
        _, others, more = _split(logits, larger, classes, label)
        rest = rest * shrink + more
        if BACKWARD:
            by_p = load_slope(slopes, classes, n, N, C, R.false_positive)
            by_square = load_slope(slopes, classes, n, N, C, R.squared_error)
            maps_by_p = _maps_by_p(maps, map_strides, slopes, n, classes, px, inside, kept, N, C, R)
            more_linear, more_square = _spread(others, by_p, by_square, maps_by_p, own)
            linear = linear * shrink + more_linear
            square = square * shrink * shrink + more_square
        elif SMOOTH:
            factors = _smoothing_factors(class_weights, classes, smoothing / C, C, CLASS_WEIGHTS)
            linear += _weighted_logits(logits, own, factors, classes, inside, C)
        largest = larger
    inverse = 1.0 / (exp(own - largest) + rest)
    third = linear
    if BACKWARD:
        third = (linear + 2.0 * square * inverse) * inverse
    elif SMOOTH:
        whole_factor = smoothing * _mean_weight(class_weights, C, CLASSES, CLASS_WEIGHTS)
        third = whole_factor * (-tl.log(inverse) - (own - largest)) - linear
    at = common + n * P + px
    tl.store(at, largest, mask=inside)
    pixels = N.to(tl.int64) * P
    tl.store(at + pixels, rest, mask=inside)
    tl.store(at + 2 * pixels, third, mask=inside)
