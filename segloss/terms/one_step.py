"""A compound loss from pixels to its value in one step for autograd, where machine code serves.

The slopes of the loss by the pass's sums are taken with the value: those of terms of closed form
without autograd, those of others with it, on the sums alone. The backward pass is then the pixels'.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from segloss.confusion import SoftConfusion
from segloss.confusion.fused import SETTINGS, is_batched, pixels_of, tensors_of
from segloss.confusion.native import SLOPES, SUMS, NativeKernel
from segloss.confusion.reference import reference_confusion
from segloss.precision import arithmetic_dtype
from segloss.targets import Pixels
from segloss.terms.closed_form import ClosedForm
from segloss.terms.evaluated import Evaluated

Terms = Callable[[SoftConfusion], Evaluated]
"""Terms with coefficients, in operations that autograd follows."""


class OneStep:
    """A compound loss of the pass's sums.

    Args:
        groups: The groups of sums that it needs.
        known: Its terms of closed form.
        others: Its other terms; None if there are none.
        whole: All of them, for second derivatives.
    """

    def __init__(
        self, groups: Sequence[str], known: ClosedForm, others: Terms | None, whole: Terms
    ) -> None:
        self.groups, self.known, self.others, self.whole = tuple(groups), known, others, whole

    def __call__(self, pixels: Pixels) -> Evaluated:
        """The loss of pixels that `serves_native`, in their arithmetic's dtype."""
        evaluated: Evaluated
        loss, evaluated = _Step.apply(pixels, self, *tensors_of(pixels, self.groups))
        return evaluated._replace(loss=loss)

    def of_sums(self, kernel: NativeKernel, *, with_slopes: bool) -> tuple[Evaluated, Tensor]:
        """The loss, and its slopes by the sums that depend on predictions, (slopes, N, C)."""
        sums = kernel.sums()
        known, slopes = self.known.of_sums(sums, kernel.source.is_exclusive)
        if self.others is None:
            return known, slopes
        with torch.set_grad_enabled(with_slopes):
            leaf = sums.detach().requires_grad_(with_slopes)
            named = SoftConfusion(kernel.named(leaf), kernel.source.is_exclusive)
            others = self.others(named)
        if with_slopes:
            # Terms that no prediction changes have no graph; the kernel reads a slope of each sum.
            changes = others.loss.requires_grad
            by_all = (
                torch.autograd.grad(others.loss, leaf)[0] if changes else torch.zeros_like(sums)
            )
            by_all = torch.cat((by_all[_PREDICTED], by_all[len(SUMS) :]))
            by_all[: len(SLOPES)] += slopes
            slopes = by_all
        terms, per_class = known.terms | others.terms, known.per_class | others.per_class
        return Evaluated(known.loss + others.loss.detach(), terms, per_class), slopes


_PREDICTED = [SUMS.index(name) for name in SLOPES]


class _Step(torch.autograd.Function):
    """From the tensors of `Pixels` to a loss; kept are these, and the slopes by the sums."""

    @staticmethod
    def forward(
        ctx: Any, pixels: Pixels, step: OneStep, *tensors: Tensor | None
    ) -> tuple[Tensor, Evaluated]:
        kernel = NativeKernel(pixels, step.groups)
        evaluated, slopes = step.of_sums(kernel, with_slopes=ctx.needs_input_grad[2])
        ctx.save_for_backward(*tensors, slopes)
        ctx.settings = {name: getattr(pixels, name) for name in SETTINGS}
        ctx.step = step
        return evaluated.loss.to(arithmetic_dtype(pixels.prediction.dtype)), evaluated

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        *tensors, slopes = ctx.saved_tensors
        pixels = pixels_of(tensors, ctx.step.groups, **ctx.settings)
        if torch.is_grad_enabled() or is_batched(grads[0]):
            gradient = _reference_gradient(pixels, ctx.step, grads[0])
        else:
            gradient = NativeKernel(pixels, ctx.step.groups).gradient(slopes * grads[0])
        return None, None, gradient, *[None] * (len(tensors) - 1)


def _reference_gradient(pixels: Pixels, step: OneStep, grad: Tensor) -> Tensor:
    """The gradient by way of the reference path: for second derivatives, and batches of them."""
    create_graph = torch.is_grad_enabled()
    with torch.enable_grad():
        loss = step.whole(reference_confusion(pixels, step.groups)).loss
        loss = loss.to(arithmetic_dtype(pixels.prediction.dtype))
        [gradient] = torch.autograd.grad(loss, pixels.prediction, grad, create_graph=create_graph)
    return gradient
