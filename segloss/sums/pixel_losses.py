r"""The losses of single pixels as an autograd function, which keeps nothing but its inputs.

A loss of pixels is a sum over the rows of a plan, each times a fixed slope. Its gradient needs no
kernel of its own: for upstream gradients :math:`u_i` it is the gradient of
:math:`\sum_i u_i w_i \ell_i`, that of the pass with :math:`u_i w_i` in place of the pixel weights.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from segloss.batch.pixel_batch import PixelBatch, where_valid
from segloss.foundation.tracing import is_batched
from segloss.sums.kernels.base import Kernel
from segloss.sums.kernels.registry import REFERENCE, kernel_for, pixel_kernel_for
from segloss.sums.plan import Plan


def pixel_losses(batch: PixelBatch, plan: Plan, slopes: Tensor) -> Tensor:
    """Computes the loss of each pixel: (N, 1, P) if classes exclude each other, else (N, C, P).

    It is 0 for pixels that do not count.

    Args:
        batch: The batch, which `as_pixel_batch` has checked, with at least one pixel.
        plan: The plan of the sums.
        slopes: The derivatives of the loss in the rows of the plan, (S, C).
    """
    kernel = pixel_kernel_for(batch, plan)
    losses: Tensor = _PixelLosses.apply(kernel, batch, plan, slopes, *batch.tensors(plan.map_keys))
    return losses


class _PixelLosses(torch.autograd.Function):
    """The autograd function from a batch's tensors to the losses of its pixels."""

    @staticmethod
    def forward(
        ctx: Any, kernel: Kernel, batch: PixelBatch, plan: Plan, slopes: Tensor, *tensors: Any
    ) -> Tensor:
        ctx.plan, ctx.options = plan, batch.options
        ctx.save_for_backward(slopes, *tensors)
        return kernel.pixel_losses(batch, plan, slopes)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor | None, ...]:
        slopes, *tensors = ctx.saved_tensors
        batch, [upstream] = PixelBatch.of(tensors, ctx.plan.map_keys, ctx.options), grads
        if torch.is_grad_enabled() or is_batched(upstream):
            gradient = _by_reference(batch, ctx.plan, slopes, upstream)
        else:
            batch = batch.replace(weight=_weighted(upstream, batch))
            of_samples = slopes.unsqueeze(1).expand(-1, len(batch.prediction), -1)
            gradient = kernel_for(batch, ctx.plan).gradient(batch, ctx.plan, of_samples)
        return None, None, None, None, gradient, *[None] * (len(tensors) - 1)


def _weighted(upstream: Tensor, batch: PixelBatch) -> Tensor:
    """Returns the upstream gradients times the pixel weights, 0 for pixels that do not count."""
    upstream = where_valid(upstream, batch.valid())
    return upstream if batch.weight is None else upstream * batch.weight


def _by_reference(batch: PixelBatch, plan: Plan, slopes: Tensor, upstream: Tensor) -> Tensor:
    """Computes the gradient with the reference: for second derivatives, batches of gradients."""
    create_graph = torch.is_grad_enabled()
    with torch.enable_grad():
        losses = REFERENCE.pixel_losses(batch, plan, slopes)
        [gradient] = torch.autograd.grad(
            losses, batch.prediction, upstream, create_graph=create_graph
        )
    return gradient
