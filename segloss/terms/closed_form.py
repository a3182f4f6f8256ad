r"""Cross-entropy and overlaps with their slopes, in closed form.

Of a cell's sums an overlap is :math:`\left(\frac{f\,FP + m\,FN}{h\,TP + f\,FP + m\,FN + s}\right)
^\gamma`, whose derivatives are known. What autograd would record of it, forty operations on a
handful of numbers, takes longer than the pixels of a small batch; so where the sums come from
machine code, the terms do too (`native/overlaps.h`).
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from segloss.confusion.native import evaluate
from segloss.terms.evaluated import Evaluated
from segloss.terms.overlap import Dice, FBeta, FocalTversky, Jaccard, Overlap, Tversky
from segloss.terms.pixelwise import CrossEntropy
from segloss.terms.term import REDUCTIONS, Term

OVERLAPS = (Dice, FBeta, FocalTversky, Jaccard, Tversky)
"""The overlaps that are a power of a ratio. A subclass may be anything, and takes autograd."""


def of_closed_form(terms: Mapping[str, Term]) -> dict[str, Term]:
    """Those of the terms that have one: a cross-entropy, and overlaps of the same plain cells."""
    entropies = [name for name, term in terms.items() if type(term) is CrossEntropy]
    overlaps = {name: term for name, term in terms.items() if _is_plain_overlap(term)}
    kinds = [_cells_of(term) for term in overlaps.values()]
    return {
        name: term
        for name, term in terms.items()
        if name in entropies[:1] or (name in overlaps and _cells_of(term) == kinds[0])
    }


def _is_plain_overlap(term: Term) -> bool:
    plain = isinstance(term, Overlap) and type(term) in OVERLAPS
    return plain and term.region_class_weights is None and term.soft_labels == "product"


def _cells_of(term: Term) -> tuple[Any, ...]:
    return (term.region_reduction, term.region_classes, term.skip_absent_classes)


class ClosedForm:
    """The values and the slopes of terms with coefficients.

    Args:
        terms: The terms, which are of closed form.
        coefficients: Their coefficients.
    """

    def __init__(self, terms: Mapping[str, Term], coefficients: Mapping[str, float]) -> None:
        self.overlaps = {name: t for name, t in terms.items() if isinstance(t, Overlap)}
        self.coefficients = coefficients
        self.entropy = next((name for name in terms if name not in self.overlaps), None)
        cells = next(iter(self.overlaps.values()), Dice())
        self.is_micro = cells.region_reduction == "micro"
        self.classes = None if cells.region_classes is None else list(cells.region_classes)
        self._cells = (
            list(REDUCTIONS).index(cells.region_reduction),
            cells.skip_absent_classes,
            None if self.classes is None else array("q", self.classes).tobytes(),
        )

    def _terms(self) -> tuple[Any, ...]:
        """What describes the terms, as they are now, to the machine code."""
        numbers = array("d")
        for name, term in self.overlaps.items():
            numbers.extend(term.weights())
            numbers.extend((term.smooth, term.exponent, self.coefficients[name]))
        entropy = 0.0 if self.entropy is None else self.coefficients[self.entropy]
        return entropy, numbers.tobytes(), *self._cells

    def of_sums(self, sums: Tensor, exclusive: bool) -> tuple[Evaluated, Tensor]:
        """The loss of the pass's sums, and its slopes by those that depend on predictions."""
        count, (samples, channels) = 1 + len(self.overlaps), sums.shape[1:]
        sizes = (1, 4 * samples * channels, count, count * channels)
        out = torch.empty(sum(sizes), dtype=torch.float64)
        evaluate(sums, exclusive, self._terms(), out)
        loss, slopes, means, per_class = torch.split(out, list(sizes))
        rows = per_class.view(count, channels).unbind()
        evaluated = Evaluated(
            loss[0], self._named(means.unbind()), self._per_class(rows, exclusive)
        )
        return evaluated, slopes.view(4, samples, channels)

    def _named(self, values: Sequence[Tensor]) -> dict[str, Tensor]:
        """Values of cross-entropy and overlaps by the terms' names."""
        entropy = {} if self.entropy is None else {self.entropy: values[0]}
        return entropy | dict(zip(self.overlaps, values[1:], strict=True))

    def _per_class(self, rows: Sequence[Tensor], exclusive: bool) -> dict[str, Tensor]:
        entropy = {} if self.entropy is None or exclusive else {self.entropy: rows[0]}
        if self.is_micro:
            return entropy
        chosen = rows[1:] if self.classes is None else [row[self.classes] for row in rows[1:]]
        return entropy | dict(zip(self.overlaps, chosen, strict=True))
