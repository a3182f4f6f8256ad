"""Analytic terms and their slopes, in Triton: one program for all cells (sample, class)."""

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
    """Returns the sum of all cells."""
    return tl.sum(tl.sum(cells, 1), 0)


@triton.jit
def _pooled(values, DIMS: tl.constexpr):
    """Sums that stand for all samples (1 dimension), or for all samples and classes (2)."""
    if DIMS == 0:
        return values
    else:
        over_samples = tl.sum(values, 0, keep_dims=True)
        if DIMS == 1:
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
    """Returns a row of the sums; 0 where it is masked."""
    return tl.load(sums + PLACE * cells + at, mask=mask, other=0.0)


@triton.jit
def _mean_over_pixels(
    sums, coefficient, cells, at, c, there,
    ROW: tl.constexpr, WEIGHT_ROW: tl.constexpr, EXCLUSIVE: tl.constexpr,
):  # fmt: skip
    """Returns the mean, its mean of each class, and its slope."""
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
    FORMS: tl.constexpr, T: tl.constexpr, ACTUAL: tl.constexpr, PIXEL_WEIGHT: tl.constexpr,
    CLASSES: tl.constexpr,
):  # fmt: skip
    """Returns the mean, its mean of each class, and its slopes by hits, extra and missed ones."""
    looked = there
    weight = tl.full((1, CLASSES), 1.0, tl.float64)
    if FORMS.class_weights[T] >= 0:
        weight = tl.load(class_weights + FORMS.class_weights[T] * C + c, mask=c < C, other=-1.0)[
            None, :
        ]
        looked = there & (weight >= 0)
    hit = _pooled(_load(sums, FORMS.first[T], cells, at, looked), FORMS.pooled_dims[T])
    extra = _pooled(_load(sums, FORMS.second[T], cells, at, looked), FORMS.pooled_dims[T])
    missed = _pooled(_load(sums, FORMS.third[T], cells, at, looked), FORMS.pooled_dims[T])
    counted = _pooled(_load(sums, PIXEL_WEIGHT, cells, at, looked), FORMS.pooled_dims[T]) > 0
    if FORMS.skip_absent[T] > 0:
        counted = counted & (
            _pooled(_load(sums, ACTUAL, cells, at, looked), FORMS.pooled_dims[T]) > 0
        )
    once = looked  # one cell for all that were pooled
    if FORMS.pooled_dims[T] == 1:
        once = looked & (n == 0)
    if FORMS.pooled_dims[T] == 2:
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
    value, by_class = tl.sum(of_class, 0), of_class / of_class_share
    return value, by_class, -rate * ratio * hit_weight, right * extra_weight, right * missed_weight


@triton.jit
def _form(
    sums, numbers, class_weights, cells, at, n, c, there, C,
    FORMS: tl.constexpr, T: tl.constexpr, ACTUAL: tl.constexpr, PIXEL_WEIGHT: tl.constexpr,
    EXCLUSIVE: tl.constexpr, CLASSES: tl.constexpr,
):  # fmt: skip
    """Returns a form's value, its mean of each class, and its slopes, times its coefficient."""
    coefficient = tl.load(numbers)
    if FORMS.pooled_dims[T] < 0:
        value, of_class, slope = _mean_over_pixels(
            sums, coefficient, cells, at, c, there, FORMS.first[T], FORMS.second[T], EXCLUSIVE
        )
        return value, of_class, slope, slope, slope
    else:
        return _mean_of_ratios(
            sums, numbers, class_weights, coefficient, cells, at, n, c, there, C,
            FORMS, T, ACTUAL, PIXEL_WEIGHT, CLASSES,
        )  # fmt: skip


@triton.jit
def _add_form(
    total, of_rows, numbers, taken, FORMS: tl.constexpr, T: tl.constexpr, LOSS: tl.constexpr
):
    """Adds a form to a loss and its slopes, if it belongs to it."""
    if FORMS.loss[T] == LOSS:
        total += tl.load(numbers) * taken[0]
        of_rows = _add_at(of_rows, FORMS.first[T], taken[2])
        if FORMS.third[T] >= 0:
            of_rows = _add_at(of_rows, FORMS.second[T], taken[3])
            of_rows = _add_at(of_rows, FORMS.third[T], taken[4])
    return total, of_rows


@triton.jit(do_not_specialize=["N", "C"])
def losses_and_slopes(
    sums, numbers, class_weights, losses, values, per_class, slopes, N, C,
    FORMS: tl.constexpr, COUNT: tl.constexpr, LOSSES: tl.constexpr, ROWS: tl.constexpr,
    ACTUAL: tl.constexpr, PIXEL_WEIGHT: tl.constexpr, EXCLUSIVE: tl.constexpr,
    SAMPLES: tl.constexpr, CLASSES: tl.constexpr,
):  # fmt: skip
    """Computes analytic terms of sums (S, N, C), and their slopes (K, S, N, C).

    `numbers`, (T, 6) in float64, holds for each form its coefficient, and of a ratio the weights of
    hits, extra and missed ones, the smoothing and the exponent. `class_weights`, (W, C), holds the
    weights of classes in means, negative for a class that is not looked at.
    """
    n, c = tl.arange(0, SAMPLES)[:, None], tl.arange(0, CLASSES)
    there = (n < N) & (c < C)[None, :]
    cells, at = N * C, n * C + c[None, :]
    of_forms = ()
    for t in tl.static_range(COUNT):
        taken = _form(
            sums, numbers + 6 * t, class_weights, cells, at, n, c, there, C,
            FORMS, t, ACTUAL, PIXEL_WEIGHT, EXCLUSIVE, CLASSES,
        )  # fmt: skip
        of_forms = of_forms + (taken,)
    # Stored after all loads: one that follows a store is not shared with those before it
    for t in tl.static_range(COUNT):
        tl.store(values + t, of_forms[t][0])
        tl.store(per_class + t * C + c, of_forms[t][1], mask=c < C)
    for loss in tl.static_range(LOSSES):
        total = tl.full((), 0.0, tl.float64)
        of_rows = ()
        for _ in tl.static_range(ROWS):
            of_rows = of_rows + (tl.zeros((SAMPLES, CLASSES), tl.float64),)
        for t in tl.static_range(COUNT):
            total, of_rows = _add_form(total, of_rows, numbers + 6 * t, of_forms[t], FORMS, t, loss)
        tl.store(losses + loss, total.to(losses.dtype.element_ty))
        if slopes is not None:
            for s in tl.static_range(ROWS):
                tl.store(slopes + (loss * ROWS + s) * cells + at, of_rows[s], mask=there)
