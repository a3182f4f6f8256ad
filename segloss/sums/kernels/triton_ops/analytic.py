"""Analytic terms and their slopes, in Triton: one program for all cells.

A cell is one (sample, class) pair. Blocks are (SAMPLES, CLASSES), powers of 2, and the cells
`in_range` are the batch's. `segloss/sums/analytic.py` defines the terms, and `layout.py` the tables
of their integers and numbers.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def _divide(numerator, denominator):
    """Divides; 0 if the denominator is 0 or less. NaN stays NaN."""
    is_empty = denominator <= 0
    return tl.where(is_empty, 0.0, numerator / tl.where(is_empty, 1.0, denominator))


@triton.jit
def _sum(cells):
    """Returns the sum of all cells."""
    return tl.sum(tl.sum(cells, 1), 0)


@triton.jit
def _pooled(values, DIMS: tl.constexpr):
    """Returns the values (DIMS is 0), or sums over samples (1) or over samples and classes (2)."""
    if DIMS == 0:
        return values
    else:
        class_sums = tl.sum(values, 0, keep_dims=True)
        if DIMS == 1:
            return class_sums
        else:
            return tl.sum(class_sums, 1, keep_dims=True)


@triton.jit
def _add_to_row(rows, ROW: tl.constexpr, values):
    """Returns the rows, with values added to one of them."""
    result = ()
    for s in tl.static_range(len(rows)):
        if s == ROW:
            result = result + (rows[s] + values,)
        else:
            result = result + (rows[s],)
    return result


@triton.jit
def _load(sums, ROW: tl.constexpr, cells, at, mask):
    """Loads a row of the sums; 0 outside the mask."""
    return tl.load(sums + ROW * cells + at, mask=mask, other=0.0)


@triton.jit
def _mean_over_pixels(
    sums, coefficient, cells, at, c, in_range,
    ROW: tl.constexpr, WEIGHT_ROW: tl.constexpr, EXCLUSIVE: tl.constexpr,
):  # fmt: skip
    """Returns a `PixelMean`, its means per class, and its slope in ROW times the coefficient."""
    mask = in_range
    if EXCLUSIVE:  # one number per sample, at class 0
        mask = in_range & (c == 0)[None, :]
    losses, weights = _load(sums, ROW, cells, at, mask), _load(sums, WEIGHT_ROW, cells, at, mask)
    total_weight = _sum(weights)
    per_class = tl.sum(losses, 0) / tl.sum(weights, 0)
    if EXCLUSIVE:
        per_class = per_class * float("nan")
    slope = tl.where(mask, _divide(coefficient, total_weight), 0.0)
    return _divide(_sum(losses), total_weight), per_class, slope


@triton.jit
def _mean_of_ratios(
    sums, numbers, class_weights, coefficient, cells, at, n, c, in_range, C,
    COLUMNS: tl.constexpr, T: tl.constexpr, ACTUAL: tl.constexpr, PIXEL_WEIGHT: tl.constexpr,
    CLASSES: tl.constexpr,
):  # fmt: skip
    """Returns an `OverlapRatio`, its means per class, and its slopes times the coefficient.

    The slopes are those with respect to TP, FP and FN.
    """
    DIMS: tl.constexpr = COLUMNS.pooled_dims[T]
    mask = in_range
    weight = tl.full((1, CLASSES), 1.0, tl.float64)
    if COLUMNS.class_weights[T] >= 0:
        weight = tl.load(class_weights + COLUMNS.class_weights[T] * C + c, mask=c < C, other=-1.0)[
            None, :
        ]
        mask = in_range & (weight >= 0)
    tp = _pooled(_load(sums, COLUMNS.first[T], cells, at, mask), DIMS)
    fp = _pooled(_load(sums, COLUMNS.second[T], cells, at, mask), DIMS)
    fn = _pooled(_load(sums, COLUMNS.third[T], cells, at, mask), DIMS)
    counts = _pooled(_load(sums, PIXEL_WEIGHT, cells, at, mask), DIMS) > 0
    if COLUMNS.skip_absent[T] > 0:
        counts = counts & (_pooled(_load(sums, ACTUAL, cells, at, mask), DIMS) > 0)
    is_first = mask  # the first of the cells that were pooled, which stands for all of them
    if DIMS == 1:
        is_first = mask & (n == 0)
    if DIMS == 2:
        is_first = (n == 0) & (c == 0)[None, :]
        weight = tl.full((1, CLASSES), 1.0, tl.float64)
    weights = tl.where(is_first & counts, weight, 0.0)
    total_weight = _sum(weights)
    tp_weight, fp_weight, fn_weight = (
        tl.load(numbers + 1),
        tl.load(numbers + 2),
        tl.load(numbers + 3),
    )
    smooth, exponent = tl.load(numbers + 4), tl.load(numbers + 5)
    errors = fp_weight * fp + fn_weight * fn
    hits = tp_weight * tp + smooth
    denominator = errors + hits
    denominator = tl.where(denominator < 1e-37, 0.0, denominator)  # LEAST_TOTAL of terms/base.py
    ratio = _divide(errors, denominator)
    is_zero = ratio <= 0
    power = tl.exp(exponent * tl.log(tl.where(is_zero, 1.0, ratio)))
    power = tl.where(exponent == 1.0, ratio, tl.where(is_zero, 0.0, power))
    by_ratio = tl.where(exponent == 1.0, 1.0, exponent * _divide(power, ratio))
    share = _divide(tl.where(mask & counts, weight, 0.0), total_weight)
    by_errors = _divide(coefficient * share * by_ratio, denominator)  # at a fixed denominator
    shares = _divide(weights, total_weight)
    class_totals = tl.sum(shares * power, 0)
    by_error, class_shares = by_errors * _divide(hits, denominator), tl.sum(shares, 0)
    value, per_class = tl.sum(class_totals, 0), class_totals / class_shares
    by_tp = -by_errors * ratio * tp_weight
    return value, per_class, by_tp, by_error * fp_weight, by_error * fn_weight


@triton.jit
def _analytic_form(
    sums, numbers, class_weights, cells, at, n, c, in_range, C,
    COLUMNS: tl.constexpr, T: tl.constexpr, ACTUAL: tl.constexpr, PIXEL_WEIGHT: tl.constexpr,
    EXCLUSIVE: tl.constexpr, CLASSES: tl.constexpr,
):  # fmt: skip
    """Returns the value of addend T's form, its means per class, and its slopes in its 3 rows.

    The slopes are multiplied by the coefficient; the value and the means are not.
    """
    coefficient = tl.load(numbers)
    if COLUMNS.pooled_dims[T] < 0:
        value, per_class, slope = _mean_over_pixels(
            sums, coefficient, cells, at, c, in_range,
            COLUMNS.first[T], COLUMNS.second[T], EXCLUSIVE,
        )  # fmt: skip
        return value, per_class, slope, slope, slope
    else:
        return _mean_of_ratios(
            sums, numbers, class_weights, coefficient, cells, at, n, c, in_range, C,
            COLUMNS, T, ACTUAL, PIXEL_WEIGHT, CLASSES,
        )  # fmt: skip


@triton.jit
def _add_addend(
    total, row_slopes, numbers, form, COLUMNS: tl.constexpr, T: tl.constexpr, LOSS: tl.constexpr
):
    """Adds the result of `_analytic_form` to a loss and its slopes, if it belongs to that loss."""
    if COLUMNS.loss[T] == LOSS:
        total += tl.load(numbers) * form[0]
        row_slopes = _add_to_row(row_slopes, COLUMNS.first[T], form[2])
        if COLUMNS.third[T] >= 0:
            row_slopes = _add_to_row(row_slopes, COLUMNS.second[T], form[3])
            row_slopes = _add_to_row(row_slopes, COLUMNS.third[T], form[4])
    return total, row_slopes


@triton.jit(do_not_specialize=["N", "C"])
def losses_and_slopes(
    sums, numbers, class_weights, losses, values, per_class, slopes, N, C,
    COLUMNS: tl.constexpr, ADDENDS: tl.constexpr, LOSSES: tl.constexpr, ROWS: tl.constexpr,
    ACTUAL: tl.constexpr, PIXEL_WEIGHT: tl.constexpr, EXCLUSIVE: tl.constexpr,
    SAMPLES: tl.constexpr, CLASSES: tl.constexpr,
):  # fmt: skip
    """Computes analytic terms of sums (S, N, C), and their slopes (K, S, N, C).

    `numbers`, (T, 6) in float64, holds the coefficient of each addend, and for a ratio the weights
    of TP, FP and FN, the smoothing and the exponent. `class_weights`, (W, C), holds the weights of
    classes in means, negative for a class that does not count. COLUMNS are `AnalyticColumns`.
    """
    n, c = tl.arange(0, SAMPLES)[:, None], tl.arange(0, CLASSES)
    in_range = (n < N) & (c < C)[None, :]
    cells, at = N * C, n * C + c[None, :]
    forms = ()
    for t in tl.static_range(ADDENDS):
        form = _analytic_form(
            sums, numbers + 6 * t, class_weights, cells, at, n, c, in_range, C,
            COLUMNS, t, ACTUAL, PIXEL_WEIGHT, EXCLUSIVE, CLASSES,
        )  # fmt: skip
        forms = forms + (form,)
    # All loads come before the stores: Triton does not merge equal loads across a store
    for t in tl.static_range(ADDENDS):
        tl.store(values + t, forms[t][0])
        tl.store(per_class + t * C + c, forms[t][1], mask=c < C)
    for loss in tl.static_range(LOSSES):
        total = tl.full((), 0.0, tl.float64)
        row_slopes = ()
        for _ in tl.static_range(ROWS):
            row_slopes = row_slopes + (tl.zeros((SAMPLES, CLASSES), tl.float64),)
        for t in tl.static_range(ADDENDS):
            total, row_slopes = _add_addend(
                total, row_slopes, numbers + 6 * t, forms[t], COLUMNS, t, loss
            )
        tl.store(losses + loss, total.to(losses.dtype.element_ty))
        if slopes is not None:
            for s in tl.static_range(ROWS):
                tl.store(slopes + (loss * ROWS + s) * cells + at, row_slopes[s], mask=in_range)
