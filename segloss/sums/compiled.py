"""The pass as an operator of PyTorch, which a compiler calls without tracing it.

An operator's arguments are tensors, numbers and strings. So plans and analytic terms are passed as
text, and each call reads the same values from it again. Other terms, and everything else, are
compiled around the operator.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from segloss.batch.options import PixelOptions
from segloss.batch.pixel_batch import PixelBatch
from segloss.foundation.precision import accumulation_dtype, arithmetic_dtype
from segloss.sums.analytic import AnalyticTerms
from segloss.sums.groups import most_groups
from segloss.sums.kernels import cpu
from segloss.sums.kernels.base import upstream_of
from segloss.sums.kernels.registry import KERNELS, kernel_for
from segloss.sums.plan import COUNTS, Plan, plan_of

_BATCH = (
    "Tensor prediction, Tensor target, Tensor? weight, Tensor? class_weights, Tensor? pos_weight, "
    "Tensor[] maps, int n_classes, str activation, bool from_logits, int? ignore_index, "
    "float label_smoothing, bool one_against_rest, str plan"
)
_TENSORS = 5
"""The number of tensors of a batch, without maps."""

_LIBRARY: Any = torch.library.Library("segloss", "DEF")  # type: ignore[no-untyped-call]
_LIBRARY.define(
    f"run({_BATCH}, str analytic) -> (Tensor rows, Tensor losses, Tensor values, Tensor per_class, "
    "Tensor slopes)"
)
_LIBRARY.define(f"gradient({_BATCH}, Tensor? of_rows, Tensor? of_losses, Tensor slopes) -> Tensor")

_NO_TERMS = AnalyticTerms((), 0)


def run(batch: PixelBatch, plan: Plan, analytic: AnalyticTerms | None) -> tuple[Any, ...]:
    """Returns the fields of a `PassResult`, computed by the operator."""
    maps = [batch.maps[key] for key in plan.map_keys]
    text = _NO_TERMS.text if analytic is None else analytic.text
    rows, losses, values, per_class, _ = torch.ops.segloss.run(
        *batch.tensors(()), maps, *batch.options, plan.text, text
    )
    if analytic is None:
        return rows, plan, batch.is_exclusive
    return rows, plan, batch.is_exclusive, losses, values, per_class


def _run(*arguments: Any) -> tuple[Tensor, ...]:
    """Computes the sums, the analytic terms and their slopes, as the operator `run`."""
    *tensors, text = arguments
    batch, plan = _read(tensors)
    kernel = kernel_for(batch, plan)
    rows = kernel.sums(batch, plan)
    analytic = AnalyticTerms.read(text)
    if analytic.count == 0:
        return _padded(rows, batch, plan), *(rows.new_empty(0) for _ in range(4))
    # Any of these kernels may do: `losses` takes the rows of all kernels
    kernel = next(each for each in KERNELS if each.takes_analytic_terms(batch))
    dtype = arithmetic_dtype(batch.prediction.dtype)
    result = kernel.losses(rows, batch.is_exclusive, analytic, plan, dtype, with_slopes=True)
    assert result.slopes is not None
    values, per_class = _unshared(result.values), _unshared(result.per_class)
    slopes = _padded(result.slopes, batch, plan)
    return _padded(rows, batch, plan), result.losses, values, per_class, slopes


def _padded(rows: Tensor, batch: PixelBatch, plan: Plan) -> Tensor:
    """Returns rows with the greatest number of groups, the only one that a compiler knows."""
    if plan.group_key is None:
        return rows
    missing = most_groups(batch.maps[plan.group_key]) - rows.shape[-2]
    return F.pad(rows, (0, 0, 0, missing))


def _run_fake(prediction: Tensor, *others: Any) -> tuple[Tensor, ...]:
    """Returns empty results of `run`, of the right shapes and dtypes."""
    *_, plan_text, text = others
    plan, analytic = Plan.read(plan_text), AnalyticTerms.read(text)
    samples, channels, _ = prediction.shape
    new = prediction.new_empty
    dtype = accumulation_dtype(prediction.device)
    groups: tuple[int, ...] = ()
    if plan.group_key is not None:
        maps = others[_TENSORS - 1]
        groups = (most_groups(maps[plan.map_keys.index(plan.group_key)]),)
    rows = new((len(plan.rows), samples, *groups, channels), dtype=dtype)
    if analytic.count == 0:
        return rows, *(new(0, dtype=dtype) for _ in range(4))
    count, losses = len(analytic.addends), () if analytic.count == 1 else (analytic.count,)
    return (
        rows,
        new(losses, dtype=arithmetic_dtype(prediction.dtype)),
        new(count, dtype=dtype),
        new((count, channels), dtype=dtype),
        new((*losses, *rows.shape), dtype=dtype),
    )


def _gradient(*arguments: Any) -> Tensor:
    """Computes the gradient with respect to the predictions, as the operator `gradient`."""
    *tensors, of_rows, of_losses, slopes = arguments
    batch, plan = _read(tensors)
    if batch.prediction.numel() == 0:
        return torch.empty_like(batch.prediction)
    upstream = upstream_of(of_rows, of_losses, slopes)
    return kernel_for(batch, plan).gradient(batch, plan, upstream)


def _unshared(tensor: Tensor) -> Tensor:
    """Returns the tensor, copied if it shares memory: results of operators must not share any."""
    fills_storage = tensor.untyped_storage().nbytes() == tensor.nbytes
    return tensor if fills_storage else tensor.clone()


def _gradient_fake(prediction: Tensor, *others: Any) -> Tensor:
    return torch.empty_like(prediction)


def _save_inputs(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    *tensors, maps = inputs[: _TENSORS + 1]
    ctx.save_for_backward(*tensors, *maps, output[-1])
    ctx.numbers = inputs[_TENSORS + 1 : -1]
    ctx.mark_non_differentiable(*output[2:])
    ctx.set_materialize_grads(False)


def _backward(ctx: Any, *grads: Tensor | None) -> tuple[Any, ...]:
    *tensors, slopes = ctx.saved_tensors
    tensors, maps = tensors[:_TENSORS], tensors[_TENSORS:]
    gradient = torch.ops.segloss.gradient(*tensors, maps, *ctx.numbers, *grads[:2], slopes)
    none = [None] * (_TENSORS - 1)
    return gradient, *none, [None] * len(maps), *[None] * (len(ctx.numbers) + 1)


def _read(arguments: Sequence[Any]) -> tuple[PixelBatch, Plan]:
    """Returns the batch and the plan from an operator's arguments, in the order of `_BATCH`."""
    *tensors, text = arguments
    tensors, maps, options = tensors[:_TENSORS], tensors[_TENSORS], tensors[_TENSORS + 1 :]
    plan = Plan.read(text)
    return PixelBatch.of([*tensors, *maps], plan.map_keys, PixelOptions(*options)), plan


for _name, _operator, _fake in (
    ("run", _run, _run_fake),
    ("gradient", _gradient, _gradient_fake),
):
    _LIBRARY.impl(_name, _operator, "CompositeExplicitAutograd")
    torch.library.register_fake(f"segloss::{_name}", _fake, lib=_LIBRARY)
torch.library.register_autograd("segloss::run", _backward, setup_context=_save_inputs, lib=_LIBRARY)


# The Lovasz loss on CPUs

_LIBRARY.define(
    f"lovasz({_BATCH}, bool hinge, bool pooled) -> (Tensor losses, Tensor foreground, "
    "Tensor weight, Tensor slopes)"
)
_LIBRARY.define(
    f"lovasz_gradient({_BATCH}, bool hinge, bool pooled, Tensor slopes, Tensor upstream) -> Tensor"
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
    results, slopes = cpu.lovasz(_read(batch)[0], hinge=hinge, pooled=pooled, with_slopes=True)
    return *(each.clone() for each in results), slopes


def _lovasz_fake(prediction: Tensor, *others: Any) -> tuple[Tensor, ...]:
    samples, channels, _ = prediction.shape
    shape = (1 if others[-1] else samples, channels)
    sums = [prediction.new_empty(shape, dtype=torch.float64) for _ in range(3)]
    return *sums, prediction.new_empty(prediction.shape, dtype=torch.float32)


def _lovasz_gradient(*arguments: Any) -> Tensor:
    """Computes the gradient with respect to the logits, as the operator `lovasz_gradient`."""
    *batch, hinge, pooled, slopes, upstream = arguments
    pixels, _ = _read(batch)
    return cpu.lovasz_gradient(pixels, slopes, upstream, hinge=hinge, pooled=pooled)


def _save_lovasz(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.save_for_backward(*inputs[:_TENSORS], output[-1])
    ctx.numbers = inputs[_TENSORS:]
    ctx.mark_non_differentiable(*output[1:])


def _backward_of_lovasz(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
    *tensors, slopes = ctx.saved_tensors
    gradient = torch.ops.segloss.lovasz_gradient(*tensors, *ctx.numbers, slopes, grads[0])
    return gradient, *[None] * (_TENSORS - 1), [], *[None] * (len(ctx.numbers) - 1)


for _name, _operator, _fake in (
    ("lovasz", _lovasz, _lovasz_fake),
    ("lovasz_gradient", _lovasz_gradient, _gradient_fake),
):
    _LIBRARY.impl(_name, _operator, "CompositeExplicitAutograd")
    torch.library.register_fake(f"segloss::{_name}", _fake, lib=_LIBRARY)
torch.library.register_autograd(
    "segloss::lovasz", _backward_of_lovasz, setup_context=_save_lovasz, lib=_LIBRARY
)
