"""The Lovasz losses of sets of pixels: in C++ where possible, elsewhere in PyTorch's operations.

The C++ (native/lovasz_pass.h) sorts, in each set, only the elements whose errors are not below the
least error of the foreground, because all others have the slope 0. It keeps the inputs and the
slopes for the backward pass: one float32 per logit.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from segloss.batch.pixel_batch import PixelBatch
from segloss.foundation.tracing import is_batched, is_dual, is_exporting, is_traced
from segloss.losses.standalone.lovasz import compiled, operations
from segloss.losses.standalone.lovasz.operations import SetLosses
from segloss.sums.kernels import cpu
from segloss.sums.kernels.registry import current_backend


def set_losses(pixels: PixelBatch, *, hinge: bool, pooled: bool) -> SetLosses:
    """Computes the losses of all sets; see `operations.set_losses` for the arguments."""
    takes_c = current_backend() in ("auto", "cpu") and not cpu.why_no_lovasz(pixels, pooled)
    if takes_c and torch.compiler.is_compiling() and not is_exporting() and not is_dual():
        return SetLosses(*compiled.lovasz(pixels, hinge=hinge, pooled=pooled))
    if not takes_c or is_traced() or is_dual() or pixels.prediction.is_meta:
        return operations.set_losses(pixels, hinge=hinge, pooled=pooled)
    return SetLosses(*_Sets.apply(pixels, hinge, pooled, *pixels.tensors(())))


class _Sets(torch.autograd.Function):
    """The autograd function from a batch's tensors to the losses and sums of the sets."""

    @staticmethod
    def forward(
        ctx: Any,
        pixels: PixelBatch,
        hinge: bool,
        pooled: bool,
        prediction: Tensor,
        *others: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        with_slopes = ctx.needs_input_grad[3]
        results, slopes = cpu.lovasz(pixels, hinge=hinge, pooled=pooled, with_slopes=with_slopes)
        ctx.hinge, ctx.pooled, ctx.options = hinge, pooled, pixels.options
        ctx.save_for_backward(prediction, *others, slopes if with_slopes else None)
        losses, foreground, weight = (each.clone() for each in results)
        ctx.mark_non_differentiable(foreground, weight)
        return losses, foreground, weight

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor | None, ...]:
        *tensors, slopes = ctx.saved_tensors
        pixels, upstream = PixelBatch.of(tensors, (), ctx.options), grads[0]
        options = {"hinge": ctx.hinge, "pooled": ctx.pooled}
        if torch.is_grad_enabled() or is_batched(upstream):
            gradient = _by_operations(pixels, upstream, **options)
        else:
            gradient = cpu.lovasz_gradient(pixels, slopes, upstream, **options)
        return None, None, None, gradient, *[None] * (len(tensors) - 1)


def _by_operations(pixels: PixelBatch, upstream: Tensor, **options: bool) -> Tensor:
    """Computes the gradient with a graph: for second derivatives and batches of gradients."""
    create_graph = torch.is_grad_enabled()
    with torch.enable_grad():
        losses = operations.set_losses(pixels, **options).losses
        [gradient] = torch.autograd.grad(
            [losses], pixels.prediction, [upstream], create_graph=create_graph
        )
    return gradient
