"""The Lovasz loss on CPUs as an operator of PyTorch, which a compiler calls without tracing it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from segloss.batch.pixel_batch import PixelBatch
from segloss.sums.compiled import BATCH, LIBRARY, TENSORS, gradient_fake, read_batch
from segloss.sums.kernels import cpu
from segloss.sums.plan import COUNTS, plan_of

LIBRARY.define(
    f"lovasz({BATCH}, bool hinge, bool pooled) -> (Tensor losses, Tensor foreground, "
    "Tensor weight, Tensor slopes)"
)
LIBRARY.define(
    f"lovasz_gradient({BATCH}, bool hinge, bool pooled, Tensor slopes, Tensor upstream) -> Tensor"
)

_NO_SUMS = plan_of([COUNTS]).text


def lovasz(batch: PixelBatch, *, hinge: bool, pooled: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the losses and the sums of w g and w of sets of pixels, computed by the operator."""
    tensors, options = batch.tensors(()), batch.options
    results = torch.ops.segloss.lovasz(*tensors, [], *options, _NO_SUMS, hinge, pooled)
    losses, foreground, weight, _ = results
    return losses, foreground, weight


def _lovasz(*arguments: Any) -> tuple[Tensor, ...]:
    """Computes the losses, sums and slopes, as the operator `lovasz`."""
    *batch, hinge, pooled = arguments
    results, slopes = cpu.lovasz(read_batch(batch)[0], hinge=hinge, pooled=pooled, with_slopes=True)
    return *(each.clone() for each in results), slopes


def _lovasz_fake(prediction: Tensor, *others: Any) -> tuple[Tensor, ...]:
    samples, channels, _ = prediction.shape
    shape = (1 if others[-1] else samples, channels)
    sums = [prediction.new_empty(shape, dtype=torch.float64) for _ in range(3)]
    return *sums, prediction.new_empty(prediction.shape, dtype=torch.float32)


def _lovasz_gradient(*arguments: Any) -> Tensor:
    """Computes the gradient with respect to the logits, as the operator `lovasz_gradient`."""
    *batch, hinge, pooled, slopes, upstream = arguments
    pixels, _ = read_batch(batch)
    return cpu.lovasz_gradient(pixels, slopes, upstream, hinge=hinge, pooled=pooled)


def _save_lovasz(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.save_for_backward(*inputs[:TENSORS], output[-1])
    ctx.numbers = inputs[TENSORS:]
    ctx.mark_non_differentiable(*output[1:])


def _backward_of_lovasz(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
    *tensors, slopes = ctx.saved_tensors
    gradient = torch.ops.segloss.lovasz_gradient(*tensors, *ctx.numbers, slopes, grads[0])
    return gradient, *[None] * (TENSORS - 1), [], *[None] * (len(ctx.numbers) - 1)


for _name, _operator, _fake in (
    ("lovasz", _lovasz, _lovasz_fake),
    ("lovasz_gradient", _lovasz_gradient, gradient_fake),
):
    LIBRARY.impl(_name, _operator, "CompositeExplicitAutograd")
    torch.library.register_fake(f"segloss::{_name}", _fake, lib=LIBRARY)
torch.library.register_autograd(
    "segloss::lovasz", _backward_of_lovasz, setup_context=_save_lovasz, lib=LIBRARY
)
