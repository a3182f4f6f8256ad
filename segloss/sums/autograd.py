"""The pass as one autograd function, which keeps its inputs and the slopes, and nothing else.

`run` computes the sums over a batch's pixels and, if the kernel can, the analytic terms. Second
derivatives and batches of gradients come from the reference kernel's operations.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from segloss.batch.pixel_batch import PixelBatch
from segloss.foundation.precision import arithmetic_dtype
from segloss.foundation.tracing import is_batched, is_exporting
from segloss.sums import compiled
from segloss.sums.analytic import AnalyticTerms
from segloss.sums.confusion import SampleFactors, SoftConfusion
from segloss.sums.kernels.base import Kernel, upstream_of
from segloss.sums.kernels.registry import REFERENCE, kernel_for, operator_for
from segloss.sums.plan import Plan


class PassResult(NamedTuple):
    """The results of a pass.

    Attributes:
        rows: The sums, (S, N, C).
        plan: The plan that ran.
        exclusive: True if classes exclude each other.
        losses: The losses of the analytic terms, (K,), or () if K is 1, in the dtype of the
            pixels' arithmetic; None if the kernel computed none.
        values: The value of each addend's form, (T,), without a graph, or None.
        per_class: The means of each form per class, (T, C), without a graph, or None.
    """

    rows: Tensor
    plan: Plan
    exclusive: bool
    losses: Tensor | None = None
    values: Tensor | None = None
    per_class: Tensor | None = None

    def confusion(self, factors: SampleFactors | None = None) -> SoftConfusion:
        """Returns the sums by their names, with the factors of the samples in means."""
        return SoftConfusion.of_rows(
            self.rows, self.plan, exclusive=self.exclusive, factors=factors
        )


def run(batch: PixelBatch, plan: Plan, analytic: AnalyticTerms | None = None) -> PassResult:
    """Computes the sums of a plan over the pixels of a batch.

    Args:
        batch: The batch, which `as_pixel_batch` has checked.
        plan: The sums.
        analytic: Analytic terms to compute with the sums, if the kernel can.
    """
    plan = plan if batch.is_soft else plan.of_hard_targets
    kernel = kernel_for(batch, plan)
    if kernel is REFERENCE:
        return _traced(batch, plan, analytic)
    analytic = analytic if kernel.takes_analytic_terms(batch) else None
    tensors = batch.tensors(plan.map_keys)
    rows, losses, details = _Pass.apply(kernel, batch, plan, analytic, *tensors)
    return PassResult(rows, plan, batch.is_exclusive, losses, *details)


def _traced(batch: PixelBatch, plan: Plan, analytic: AnalyticTerms | None) -> PassResult:
    """Runs the pass in operations that tracers can follow, or as one operator if compiling."""
    if torch.compiler.is_compiling() and not is_exporting():
        operator = operator_for(batch, plan)
        if operator is not None:
            analytic = analytic if operator.takes_analytic_terms(batch) else None
            return PassResult(*compiled.run(batch, plan, analytic))
    return PassResult(REFERENCE.sums(batch, plan), plan, batch.is_exclusive)


class _Pass(torch.autograd.Function):
    """The autograd function from a batch's tensors to its sums and analytic losses."""

    @staticmethod
    def forward(
        ctx: Any,
        kernel: Kernel,
        batch: PixelBatch,
        plan: Plan,
        analytic: AnalyticTerms | None,
        prediction: Tensor,
        *others: Tensor | None,
    ) -> tuple[Tensor, Tensor | None, tuple[Tensor | None, Tensor | None]]:
        ctx.kernel, ctx.plan, ctx.analytic, ctx.options = kernel, plan, analytic, batch.options
        ctx.set_materialize_grads(False)
        rows = kernel.sums(batch, plan)
        if analytic is None:
            ctx.save_for_backward(prediction, *others, None)
            return rows, None, (None, None)
        dtype, with_slopes = arithmetic_dtype(prediction.dtype), ctx.needs_input_grad[4]
        result = kernel.losses(
            rows, batch.is_exclusive, analytic, plan, dtype, with_slopes=with_slopes
        )
        ctx.save_for_backward(prediction, *others, result.slopes)
        # In a nested tuple, autograd gives tensors no graph
        return rows, result.losses, (result.values, result.per_class)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor | None, ...]:
        *tensors, slopes = ctx.saved_tensors
        batch = PixelBatch.of(tensors, ctx.plan.map_keys, ctx.options)
        of_rows, of_losses = grads[:2]
        present = [grad for grad in (of_rows, of_losses) if grad is not None]
        gradient: Tensor | None = None
        if torch.is_grad_enabled() or any(map(is_batched, present)):
            gradient = _by_reference(batch, ctx.plan, ctx.analytic, of_rows, of_losses)
        elif present:
            upstream = upstream_of(of_rows, of_losses, slopes)
            gradient = ctx.kernel.gradient(batch, ctx.plan, upstream)
        return None, None, None, None, gradient, *[None] * (len(tensors) - 1)


def _by_reference(
    batch: PixelBatch,
    plan: Plan,
    analytic: AnalyticTerms | None,
    of_rows: Tensor | None,
    of_losses: Tensor | None,
) -> Tensor | None:
    """Computes the gradient with the reference: for second derivatives, batches of gradients."""
    create_graph = torch.is_grad_enabled()
    with torch.enable_grad():
        rows = REFERENCE.sums(batch, plan)
        outputs = [] if of_rows is None else [(rows, of_rows)]
        if of_losses is not None and analytic is not None and analytic.by_autograd is not None:
            confusion = SoftConfusion.of_rows(rows, plan, exclusive=batch.is_exclusive)
            losses = analytic.by_autograd(confusion).to(of_losses.dtype)
            losses = losses.reshape(of_losses.shape)
            outputs.append((losses, of_losses))
        if not outputs:
            return None
        [gradient] = torch.autograd.grad(
            [output for output, _ in outputs],
            batch.prediction,
            [grad for _, grad in outputs],
            create_graph=create_graph,
        )
    return gradient
