"""Analytic terms: losses of the sums with known derivatives, as plain numbers for kernels.

Autograd would record forty operations on a few numbers, which take longer than the pixels of a
small batch. So a kernel may compute such losses together with their slopes, that is, their
derivatives with respect to the sums. The terms define the losses; this file has only the numbers
that a kernel needs.

A cell is one (sample, class) pair.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from dataclasses import astuple, dataclass, field
from typing import Any, NamedTuple

from torch import Tensor

from segloss.sums.confusion import SoftConfusion
from segloss.sums.reduction import Reduction


class PixelMean(NamedTuple):
    """A mean over pixels: the total of one row of the sums, divided by the total of another.

    Attributes:
        numerator: The key of the row that holds the sums of weighted pixel losses.
        denominator: The key of the row that holds the sums of weights.
    """

    numerator: str
    denominator: str


class OverlapRatio(NamedTuple):
    r"""A mean over cells of :math:`((f\,FP + m\,FN) / (h\,TP + f\,FP + m\,FN + s))^e`.

    Dice, for example, has h = 2 and f = m = e = 1.

    Attributes:
        keys: The keys of the rows TP, FP and FN.
        weights: Their weights h, f and m.
        smooth: The smoothing s.
        exponent: The exponent e.
        reduction: The pooling of the cells before the power, and their weights in the mean.
        components: True if the cells are components, whose mean is that of a sample and class.
    """

    keys: tuple[str, str, str]
    weights: tuple[float, float, float]
    smooth: float
    exponent: float
    reduction: Reduction
    components: bool = False


ANALYTIC_POOLINGS = ("sample", "batch", "micro")
"""The values of `Reduction.pooled` that kernels compute, in the order of the kernels' numbers."""

AnalyticForm = PixelMean | OverlapRatio
"""A function from the sums to one number, whose derivatives kernels know."""


class Addend(NamedTuple):
    """One addend of a loss: a coefficient times an analytic form.

    Attributes:
        loss: The index of the loss, from 0 to K - 1.
        coefficient: The coefficient.
        form: The analytic form.
    """

    loss: int
    coefficient: float
    form: AnalyticForm


@dataclass(frozen=True, eq=False)
class AnalyticTerms:
    """K losses of the same sums: each is the sum of its addends.

    Attributes:
        addends: The T addends of all losses.
        count: The number K of losses.
        by_autograd: A function that computes the losses, (K,), or () if K is 1, in operations
            that autograd can follow; None if it is not needed.
        text: The addends and K as text, for compiled operators. `AnalyticTerms.read` reads it.
    """

    addends: tuple[Addend, ...]
    count: int
    by_autograd: Callable[[SoftConfusion], Tensor] | None = None
    text: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        encoded = [(*each[:2], type(each.form).__name__, each.form) for each in self.addends]
        object.__setattr__(self, "text", json.dumps([encoded, self.count], default=astuple))

    @staticmethod
    @functools.lru_cache
    def read(text: str) -> AnalyticTerms:
        """Returns the losses with this `text`, without `by_autograd`."""
        encoded, count = json.loads(text)
        return AnalyticTerms(tuple(_addend(*each) for each in encoded), count)


def _addend(loss: int, coefficient: float, kind: str, fields: list[Any]) -> Addend:
    """Returns an addend from its parts in `AnalyticTerms.text`."""
    fields = [tuple(each) if isinstance(each, list) else each for each in fields]
    if kind == "PixelMean":
        return Addend(loss, coefficient, PixelMean(*fields))
    keys, weights, smooth, exponent, (pooled, classes, class_weights, skip_absent), of_each = fields
    reduction = Reduction(pooled, _tuple(classes), _tuple(class_weights), skip_absent)
    form = OverlapRatio(keys, weights, smooth, exponent, reduction, components=of_each)
    return Addend(loss, coefficient, form)


def _tuple(values: list[Any] | None) -> tuple[Any, ...] | None:
    return None if values is None else tuple(values)
