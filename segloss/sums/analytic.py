"""Analytic terms: losses of the sums with known derivatives, as plain numbers for kernels.

Autograd would record forty operations on a few numbers, which take longer than the pixels of a
small batch. So a kernel may compute such losses together with their slopes. The terms define the
losses; this file has only the numbers that a kernel needs.
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
    """The mean over pixels: the total of one row over that of another.

    Attributes:
        numerator: The key of the sums of losses.
        denominator: The key of the sums of weights.
    """

    numerator: str
    denominator: str


class OverlapRatio(NamedTuple):
    r"""A power of the share of errors: :math:`((f\,FP + m\,FN) / (h\,TP + f\,FP + m\,FN + s))^e`.

    Attributes:
        keys: The keys of true positives, false positives and false negatives.
        weights: Their weights h, f, m.
        smooth: The smoothing s.
        exponent: The exponent e.
        reduction: The mean over cells.
    """

    keys: tuple[str, str, str]
    weights: tuple[float, float, float]
    smooth: float
    exponent: float
    reduction: Reduction


AnalyticForm = PixelMean | OverlapRatio


class Addend(NamedTuple):
    """An analytic form in a loss.

    Attributes:
        loss: The index of the loss that it is added to.
        coefficient: Its factor.
        form: The form.
    """

    loss: int
    coefficient: float
    form: AnalyticForm


@dataclass(frozen=True, eq=False)
class AnalyticTerms:
    """Losses that are sums of analytic forms.

    Attributes:
        addends: The forms.
        count: The number of losses K.
        by_autograd: The same losses (K,), or () for one, in operations that autograd can follow;
            None if they are not needed.
        text: The losses for an operator of a compiler, which `AnalyticTerms.read` reads.
    """

    addends: tuple[Addend, ...]
    count: int
    by_autograd: Callable[[SoftConfusion], Tensor] | None = None
    text: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        written = [(*each[:2], type(each.form).__name__, each.form) for each in self.addends]
        object.__setattr__(self, "text", json.dumps([written, self.count], default=astuple))

    @staticmethod
    @functools.lru_cache
    def read(text: str) -> AnalyticTerms:
        """Returns the losses with this `text`, without `by_autograd`."""
        written, count = json.loads(text)
        return AnalyticTerms(tuple(_addend(*each) for each in written), count)


def _addend(loss: int, coefficient: float, kind: str, fields: list[Any]) -> Addend:
    fields = [tuple(each) if isinstance(each, list) else each for each in fields]
    if kind == "PixelMean":
        return Addend(loss, coefficient, PixelMean(*fields))
    keys, of_counts, smooth, exponent, (pooled, classes, weights, skip_absent) = fields
    reduction = Reduction(pooled, _tuple(classes), _tuple(weights), skip_absent)
    return Addend(loss, coefficient, OverlapRatio(keys, of_counts, smooth, exponent, reduction))


def _tuple(values: list[Any] | None) -> tuple[Any, ...] | None:
    return None if values is None else tuple(values)
