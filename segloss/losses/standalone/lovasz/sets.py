"""The Lovasz losses of sets of pixels: C++ where it can, and PyTorch's operations everywhere else.

The C++ (native/lovasz*.h) sorts, in each set, only the elements whose errors are not below the
least error of the foreground, because all others have the slope 0. It keeps the inputs and the
slopes for the backward pass: one float32 per logit.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from segloss.batch.pixel_batch import PixelBatch
from segloss.foundation.tracing import is_batched, is_dual, is_traced
from segloss.losses.standalone.lovasz.operations import SetLosses
from segloss.losses.standalone.lovasz.operations import set_losses as by_operations
from segloss.sums.kernels import cpu
from segloss.sums.kernels.registry import current_backend
from segloss.sums.plan import COUNTS, plan_of

_MOST_ELEMENTS = 2**31 - 1
"""The largest set that C++ takes: a place and a bit for the foreground share 32 bits."""

_PLAN = plan_of([COUNTS])
"""A plan, which the description of a batch asks for; the loss has no sums."""


def set_losses(pixels: PixelBatch, *, hinge: bool, pooled: bool) -> SetLosses:
    """Computes the losses of all sets; see `operations.set_losses` for the arguments."""
    if is_traced() or is_dual() or _why_not_compiled(pixels, pooled):
        return by_operations(pixels, hinge=hinge, pooled=pooled)
    losses, foreground, weight = _Sets.apply(pixels, hinge, pooled, *pixels.tensors(()))
    return SetLosses(losses, foreground, weight)


def _why_not_compiled(pixels: PixelBatch, pooled: bool) -> str:
    """Returns the reason why C++ does not take a batch; empty if it does."""
    samples, _, count = pixels.prediction.shape
    if current_backend() not in ("auto", "cpu"):
        return f"the backend is {current_backend()!r}"
    if pixels.prediction.numel() == 0:
        return "there are no pixels"
    if count * (samples if pooled else 1) > _MOST_ELEMENTS:
        return f"it ranks at most {_MOST_ELEMENTS} pixels together"
    return _CPU.supports(pixels, _PLAN)


_CPU = cpu.CpuKernel()


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
        wants_slopes = ctx.needs_input_grad[3]
        results, slopes = sums_and_slopes(pixels, hinge, pooled, wants_slopes)
        ctx.hinge, ctx.pooled, ctx.options = hinge, pooled, pixels.options
        ctx.save_for_backward(prediction, *others, slopes if wants_slopes else None)
        losses, foreground, weight = (each.clone() for each in results)
        ctx.mark_non_differentiable(foreground, weight)
        return losses, foreground, weight

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor | None, ...]:
        *tensors, slopes = ctx.saved_tensors
        pixels, upstream = PixelBatch.of(tensors, (), ctx.options), grads[0]
        if torch.is_grad_enabled() or is_batched(upstream):
            gradient = _by_operations(pixels, ctx.hinge, ctx.pooled, upstream)
        else:
            gradient = gradient_of(pixels, ctx.hinge, ctx.pooled, slopes, upstream)
        return None, None, None, gradient, *[None] * (len(tensors) - 1)


def sums_and_slopes(
    pixels: PixelBatch, hinge: bool, pooled: bool, wants_slopes: bool
) -> tuple[Tensor, Tensor]:
    """Computes the losses and sums of the sets, (3, S, C), and the slopes (N, C, P) in float32."""
    samples, channels, _ = pixels.prediction.shape
    results = torch.empty((3, 1 if pooled else samples, channels), dtype=torch.float64)
    errors = torch.empty(pixels.prediction.shape, dtype=torch.float32)
    if not cpu._cpu.lovasz(
        cpu._batch(pixels, _PLAN),
        pooled,
        hinge,
        wants_slopes,
        errors.data_ptr(),
        results.data_ptr(),
    ):
        raise IndexError(
            f"The target holds labels that are not classes: expected 0 to {channels - 1}, or "
            f"ignore_index={pixels.options.ignore_index}."
        )
    return results, errors


def gradient_of(
    pixels: PixelBatch, hinge: bool, pooled: bool, slopes: Tensor, upstream: Tensor
) -> Tensor:
    """Computes the gradient by the logits from the slopes, and from the gradient by the losses."""
    samples, channels, _ = shape = tuple(pixels.prediction.shape)
    upstream = upstream.to("cpu", torch.float64).contiguous()
    cpu._check_shape("gradient", upstream, (1 if pooled else samples, channels))
    cpu._check_shape("slopes", slopes, shape)
    cpu._described(slopes)
    if slopes.dtype != torch.float32 or not slopes.is_contiguous():
        raise RuntimeError(
            "The slopes kept for the backward pass must be contiguous and of float32: a hook for "
            "saved tensors must return the tensor that it got."
        )
    gradient = torch.empty_like(pixels.prediction)
    cpu._cpu.lovasz_gradient(
        cpu._batch(pixels, _PLAN),
        pooled,
        hinge,
        slopes.data_ptr(),
        upstream.data_ptr(),
        cpu._described(gradient),
    )
    return gradient


def _by_operations(pixels: PixelBatch, hinge: bool, pooled: bool, upstream: Tensor) -> Tensor:
    """Computes the gradient with a graph: for second derivatives and batches of gradients."""
    create_graph = torch.is_grad_enabled()
    with torch.enable_grad():
        losses = by_operations(pixels, hinge=hinge, pooled=pooled).losses
        [gradient] = torch.autograd.grad(
            [losses], pixels.prediction, [upstream], create_graph=create_graph
        )
    return gradient
