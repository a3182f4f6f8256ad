r"""Cross-entropy and overlaps with their slopes, in closed form: one step for autograd.

Of a cell's sums an overlap is :math:`\left(\frac{f\,FP + m\,FN}{h\,TP + f\,FP + m\,FN + s}\right)
^\gamma`, whose derivatives are known. What autograd would record of it, forty operations on a
handful of numbers, takes longer than the pixels of a small batch; so where the sums come from
machine code, the terms do too (`native/overlaps.h`).
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from segloss.confusion import SoftConfusion
from segloss.confusion.fused import SETTINGS, is_batched, pixels_of, tensors_of
from segloss.confusion.native import NativeKernel, evaluate
from segloss.confusion.reference import reference_confusion
from segloss.precision import arithmetic_dtype
from segloss.targets import Pixels
from segloss.terms.overlap import Dice, FBeta, FocalTversky, Jaccard, Overlap, Tversky
from segloss.terms.pixelwise import CrossEntropy
from segloss.terms.term import REDUCTIONS, Term

OVERLAPS = (Dice, FBeta, FocalTversky, Jaccard, Tversky)
"""The overlaps that are a power of a ratio. A subclass may be anything, and takes autograd."""


class Evaluated(NamedTuple):
    """A compound loss of some pixels, and what else is known of it.

    Attributes:
        loss: The sum of coefficients times terms, in the arithmetic's dtype of the pixels.
        terms: The terms, by name.
        per_class: Their means of each class, (C,), by the names of those that have such.
    """

    loss: Tensor
    terms: dict[str, Tensor]
    per_class: dict[str, Tensor]


def has_closed_form(terms: Mapping[str, Term]) -> bool:
    """Whether the terms are overlaps of the same cells, equally weighted, and a cross-entropy."""
    overlaps = [term for term in terms.values() if isinstance(term, Overlap)]
    cells = {(o.region_reduction, o.region_classes, o.skip_absent_classes) for o in overlaps}
    plain = all(o.region_class_weights is None and o.soft_labels == "product" for o in overlaps)
    known = all(type(term) in (*OVERLAPS, CrossEntropy) for term in terms.values())
    return known and plain and len(cells) <= 1 and len(terms) - len(overlaps) <= 1


class ClosedForm:
    """The values and the slopes of terms with coefficients.

    Args:
        terms: The terms, which have a closed form.
        coefficients: Their coefficients.
    """

    def __init__(self, terms: Mapping[str, Term], coefficients: Mapping[str, float]) -> None:
        overlaps = {name: term for name, term in terms.items() if isinstance(term, Overlap)}
        self.overlaps = [*overlaps]
        self.entropy = next((name for name in terms if name not in overlaps), None)
        self.groups = tuple(sorted({group for term in terms.values() for group in term.sums}))
        numbers = [
            (*term.weights(), term.smooth, term.exponent, coefficients[name])
            for name, term in overlaps.items()
        ]
        cells = next(iter(overlaps.values()), Dice())
        self.is_micro = cells.region_reduction == "micro"
        self.classes = None if cells.region_classes is None else list(cells.region_classes)
        self._terms = (
            0.0 if self.entropy is None else coefficients[self.entropy],
            array("d", [number for each in numbers for number in each]).tobytes(),
            list(REDUCTIONS).index(cells.region_reduction),
            cells.skip_absent_classes,
            None if self.classes is None else array("q", self.classes).tobytes(),
        )

    def evaluate(self, pixels: Pixels, value: Callable[[SoftConfusion], Tensor]) -> Evaluated:
        """The loss of pixels that `serves_native`.

        Args:
            pixels: The pixels.
            value: The loss again, in operations that autograd follows: for second derivatives.
        """
        evaluated: Evaluated
        loss, evaluated = _ClosedLoss.apply(pixels, self, value, *tensors_of(pixels, self.groups))
        return evaluated._replace(loss=loss)

    def of_sums(self, sums: Tensor, exclusive: bool) -> tuple[Evaluated, Tensor]:
        """The loss of the pass's sums, and its slopes by those that depend on predictions."""
        count, (samples, channels) = 1 + len(self.overlaps), sums.shape[1:]
        sizes = (1, 4 * samples * channels, count, count * channels)
        out = torch.empty(sum(sizes), dtype=torch.float64)
        evaluate(sums, exclusive, self._terms, out)
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


class _ClosedLoss(torch.autograd.Function):
    """From the tensors of `Pixels` to a loss; kept are these, and the slopes by the sums."""

    @staticmethod
    def forward(
        ctx: Any,
        pixels: Pixels,
        form: ClosedForm,
        value: Callable[[SoftConfusion], Tensor],
        *tensors: Tensor | None,
    ) -> tuple[Tensor, Evaluated]:
        sums = NativeKernel(pixels, form.groups).sums()
        evaluated, slopes = form.of_sums(sums, pixels.is_exclusive)
        ctx.save_for_backward(*tensors, slopes)
        ctx.settings = {name: getattr(pixels, name) for name in SETTINGS}
        ctx.groups, ctx.value = form.groups, value
        return evaluated.loss.to(arithmetic_dtype(pixels.prediction.dtype)), evaluated

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        *tensors, slopes = ctx.saved_tensors
        pixels = pixels_of(tensors, ctx.groups, **ctx.settings)
        if torch.is_grad_enabled() or is_batched(grads[0]):
            gradient = _reference_gradient(pixels, ctx.groups, ctx.value, grads[0])
        else:
            gradient = NativeKernel(pixels, ctx.groups).gradient(slopes * grads[0])
        return None, None, None, gradient, *[None] * (len(tensors) - 1)


def _reference_gradient(
    pixels: Pixels, groups: Sequence[str], value: Callable[[SoftConfusion], Tensor], grad: Tensor
) -> Tensor:
    """The gradient by way of the reference path: for second derivatives, and batches of them."""
    create_graph = torch.is_grad_enabled()
    with torch.enable_grad():
        loss = value(reference_confusion(pixels, groups))
        loss = loss.to(arithmetic_dtype(pixels.prediction.dtype))
        [gradient] = torch.autograd.grad(loss, pixels.prediction, grad, create_graph=create_graph)
    return gradient
