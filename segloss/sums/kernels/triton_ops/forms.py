"""Losses of closed form with their slopes, in Triton: one program for all cells."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def _divide(numerator, denominator):
    """Divides; 0 where there is nothing to divide by, and NaN stays NaN."""
    none = denominator <= 0
    return tl.where(none, 0.0, numerator / tl.where(none, 1.0, denominator))


@triton.jit
def _sum(cells):
    """The sum of all cells."""
    return tl.sum(tl.sum(cells, 1), 0)


@triton.jit
def _pooled(values, POOL: tl.constexpr):
    """Sums that stand for all samples, or for all samples and classes."""
    if POOL == "sample":
        return values
    else:
        over_samples = tl.sum(values, 0, keep_dims=True)
        if POOL == "batch":
            return over_samples
        else:
            return tl.sum(over_samples, 1, keep_dims=True)


@triton.jit
def _add_at(rows, PLACE: tl.constexpr, values):
    """Adds to one of the rows."""
    added = ()
    for s in tl.static_range(len(rows)):
        if s == PLACE:
            added = added + (rows[s] + values,)
        else:
            added = added + (rows[s],)
    return added


@triton.jit
def _load(sums, PLACE: tl.constexpr, cells, at, mask):
    """A row of the sums; 0 where it is masked."""
    return tl.load(sums + PLACE * cells + at, mask=mask, other=0.0)


@triton.jit
def _mean_over_pixels(
    sums, coefficient, cells, at, c, there,
    ROW: tl.constexpr, WEIGHT_ROW: tl.constexpr, EXCLUSIVE: tl.constexpr,
):  # fmt: skip
    """The mean, its mean of each class, and its slope."""
    read = there
    if EXCLUSIVE:  # one number for each sample, at class 0
        read = there & (c == 0)[None, :]
    total, weight = _load(sums, ROW, cells, at, read), _load(sums, WEIGHT_ROW, cells, at, read)
    whole = _sum(weight)
    of_class = tl.sum(total, 0) / tl.sum(weight, 0)
    if EXCLUSIVE:
        of_class = of_class * float("nan")
    return _divide(_sum(total), whole), of_class, tl.where(read, _divide(coefficient, whole), 0.0)


@triton.jit
def _mean_of_ratios(
    sums, numbers, class_weights, coefficient, cells, at, n, c, there, C,
    F: tl.constexpr, ACTUAL: tl.constexpr, PIXEL_WEIGHT: tl.constexpr, CLASSES: tl.constexpr,
):  # fmt: skip
    """The mean, its mean of each class, and its slopes by hits, extra and missed ones."""
    looked = there
    weight = tl.full((1, CLASSES), 1.0, tl.float64)
    if F.class_weights >= 0:
        weight = tl.load(class_weights + F.class_weights * C + c, mask=c < C, other=-1.0)[None, :]
        looked = there & (weight >= 0)
    hit = _pooled(_load(sums, F.rows[0], cells, at, looked), F.pooled)
    extra = _pooled(_load(sums, F.rows[1], cells, at, looked), F.pooled)
    missed = _pooled(_load(sums, F.rows[2], cells, at, looked), F.pooled)
    counted = _pooled(_load(sums, PIXEL_WEIGHT, cells, at, looked), F.pooled) > 0
    if F.skip_absent:
        counted = counted & (_pooled(_load(sums, ACTUAL, cells, at, looked), F.pooled) > 0)
    once = looked  # one cell for all that were pooled
    if F.pooled == "batch":
        once = looked & (n == 0)
    if F.pooled == "micro":
        once = (n == 0) & (c == 0)[None, :]
        weight = tl.full((1, CLASSES), 1.0, tl.float64)
    weights = tl.where(once & counted, weight, 0.0)
    whole_weight = _sum(weights)
    hit_weight, extra_weight = tl.load(numbers + 1), tl.load(numbers + 2)
    missed_weight, smooth, exponent = (
        tl.load(numbers + 3),
        tl.load(numbers + 4),
        tl.load(numbers + 5),
    )
    wrong = extra_weight * extra + missed_weight * missed
    whole = wrong + hit_weight * hit + smooth
    ratio = _divide(wrong, whole)
    none = ratio <= 0
    power = tl.exp(exponent * tl.log(tl.where(none, 1.0, ratio)))
    power = tl.where(exponent == 1.0, ratio, tl.where(none, 0.0, power))
    by_ratio = tl.where(exponent == 1.0, 1.0, exponent * _divide(power, ratio))
    share = _divide(tl.where(looked & counted, weight, 0.0), whole_weight)
    rate = _divide(coefficient * share * by_ratio, whole)
    shares = _divide(weights, whole_weight)
    of_class = tl.sum(shares * power, 0)
    right, of_class_share = rate * (1.0 - ratio), tl.sum(shares, 0)
    slopes = (-rate * ratio * hit_weight, right * extra_weight, right * missed_weight)
    return tl.sum(of_class, 0), of_class / of_class_share, slopes


@triton.jit(do_not_specialize=["N", "C"])
def losses_and_slopes(
    sums, numbers, class_weights, losses, values, per_class, slopes, N, C,
    FORMS: tl.constexpr, LOSSES: tl.constexpr, ROWS: tl.constexpr, ACTUAL: tl.constexpr,
    PIXEL_WEIGHT: tl.constexpr, EXCLUSIVE: tl.constexpr, SAMPLES: tl.constexpr,
    CLASSES: tl.constexpr,
):  # fmt: skip
    """Takes losses of closed form of sums (S, N, C), and their slopes (K, S, N, C).

    `numbers`, (T, 6) in float64, holds for each form its coefficient, and of a ratio the weights of
    hits, extra and missed ones, the smoothing and the exponent. `class_weights`, (W, C), holds the
    weights of classes in means, negative for a class that is not looked at.
    """
    n, c = tl.arange(0, SAMPLES)[:, None], tl.arange(0, CLASSES)
    there = (n < N) & (c < C)[None, :]
    cells, at = N * C, n * C + c[None, :]
    of_forms = ()
    for t in tl.static_range(len(FORMS)):
        coefficient = tl.load(numbers + 6 * t)
        if FORMS[t].pooled == "mean":
            value, of_class, slope = _mean_over_pixels(
                sums, coefficient, cells, at, c, there, FORMS[t].rows[0], FORMS[t].rows[1],
                EXCLUSIVE,
            )  # fmt: skip
            of_forms = of_forms + ((coefficient * value, value, of_class, (slope,)),)
        else:
            value, of_class, of_counts = _mean_of_ratios(
                sums, numbers + 6 * t, class_weights, coefficient, cells, at, n, c, there, C,
                FORMS[t], ACTUAL, PIXEL_WEIGHT, CLASSES,
            )  # fmt: skip
            of_forms = of_forms + ((coefficient * value, value, of_class, of_counts),)
    # Stored after all loads: one that follows a store is not shared with those before it
    for t in tl.static_range(len(FORMS)):
        tl.store(values + t, of_forms[t][1])
        tl.store(per_class + t * C + c, of_forms[t][2], mask=c < C)
    for loss in tl.static_range(LOSSES):
        total = tl.full((), 0.0, tl.float64)
        of_rows = ()
        for _ in tl.static_range(ROWS):
            of_rows = of_rows + (tl.zeros((SAMPLES, CLASSES), tl.float64),)
        for t in tl.static_range(len(FORMS)):
            if FORMS[t].loss == loss:
                total += of_forms[t][0]
                for k in tl.static_range(len(of_forms[t][3])):
                    of_rows = _add_at(of_rows, FORMS[t].rows[k], of_forms[t][3][k])
        tl.store(losses + loss, total.to(losses.dtype.element_ty))
        if slopes is not None:
            for s in tl.static_range(ROWS):
                tl.store(slopes + (loss * ROWS + s) * cells + at, of_rows[s], mask=there)
