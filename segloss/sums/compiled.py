"""The pass as an operator of PyTorch, which a compiler calls without tracing it.

An operator's arguments are tensors, numbers and texts, so a plan and analytic terms are passed as
texts, from which each call makes the same values again. Other terms, and everything else, are
compiled around the operator.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from segloss.batch.options import PixelOptions
from segloss.batch.pixel_batch import PixelBatch
from segloss.foundation.precision import accumulation_dtype, arithmetic_dtype
from segloss.sums.analytic import AnalyticTerms
from segloss.sums.kernels.base import upstream_of
from segloss.sums.kernels.registry import KERNELS, kernel_for
from segloss.sums.plan import Plan

_BATCH = (
    "Tensor prediction, Tensor target, Tensor? weight, Tensor? class_weights, Tensor? pos_weight, "
    "Tensor[] maps, int n_classes, str activation, bool from_logits, int? ignore_index, "
    "float label_smoothing, str plan"
)
_TENSORS = 5
"""The tensors of a batch, maps aside."""

_LIBRARY: Any = torch.library.Library("segloss", "DEF")  # type: ignore[no-untyped-call]
_LIBRARY.define(
    f"run({_BATCH}, str analytic) -> (Tensor rows, Tensor losses, Tensor values, Tensor per_class, "
    "Tensor slopes)"
)
_LIBRARY.define(f"gradient({_BATCH}, Tensor? of_rows, Tensor? of_losses, Tensor slopes) -> Tensor")

_NO_FORMS = AnalyticTerms((), 0)


def run(batch: PixelBatch, plan: Plan, analytic: AnalyticTerms | None) -> tuple[Any, ...]:
    """Returns the fields of a `PassResult` for a batch that is being compiled."""
    maps = [batch.maps[key] for key in plan.map_keys]
    text = _NO_FORMS.text if analytic is None else analytic.text
    rows, losses, values, per_class, _ = torch.ops.segloss.run(
        *batch.tensors(()), maps, *batch.options, plan.text, text
    )
    if analytic is None:
        return rows, plan, batch.is_exclusive
    return rows, plan, batch.is_exclusive, losses, values, per_class


def _run(*arguments: Any) -> tuple[Tensor, ...]:
    """Returns the operator of the sums, the analytic terms, and their slopes."""
    *tensors, text = arguments
    batch, plan = _read(tensors)
    kernel = kernel_for(batch, plan)
    rows = kernel.sums(batch, plan)
    analytic = AnalyticTerms.read(text)
    if analytic.count == 0:
        return rows, *(rows.new_empty(0) for _ in range(4))
    kernel = next(
        each for each in KERNELS if each.takes_analytic_terms(batch)
    )  # of any kernel's rows
    dtype = arithmetic_dtype(batch.prediction.dtype)
    found = kernel.losses(rows, batch.is_exclusive, analytic, plan, dtype, with_slopes=True)
    return rows, found.losses, _own(found.values), _own(found.per_class), _given(found.slopes)


def _run_fake(prediction: Tensor, *others: Any) -> tuple[Tensor, ...]:
    *_, plan_text, text = others
    plan, analytic = Plan.read(plan_text), AnalyticTerms.read(text)
    samples, channels, _ = prediction.shape
    new = prediction.new_empty
    dtype = accumulation_dtype(prediction.device)
    rows = new((len(plan.rows), samples, channels), dtype=dtype)
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
    """Returns the operator of the gradient."""
    *tensors, of_rows, of_losses, slopes = arguments
    batch, plan = _read(tensors)
    if batch.prediction.numel() == 0:
        return torch.empty_like(batch.prediction)
    upstream = upstream_of(of_rows, of_losses, slopes)
    return kernel_for(batch, plan).gradient(batch, plan, upstream)


def _own(tensor: Tensor) -> Tensor:
    """Returns the tensor in memory of its own, since results of operators must not share any."""
    is_own = tensor.untyped_storage().nbytes() == tensor.nbytes
    return tensor if is_own else tensor.clone()


def _given(tensor: Tensor | None) -> Tensor:
    assert tensor is not None
    return tensor


def _gradient_fake(prediction: Tensor, *others: Any) -> Tensor:
    return torch.empty_like(prediction)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    *tensors, maps = inputs[: _TENSORS + 1]
    ctx.save_for_backward(*tensors, *maps, output[-1])
    ctx.numbers = inputs[_TENSORS + 1 : -1]
    ctx.mark_non_differentiable(*output[2:])
    ctx.set_materialize_grads(False)


def _backward(ctx: Any, *grads: Tensor | None) -> tuple[Any, ...]:
    *tensors, slopes = ctx.saved_tensors
    fixed, maps = tensors[:_TENSORS], tensors[_TENSORS:]
    gradient = torch.ops.segloss.gradient(*fixed, maps, *ctx.numbers, *grads[:2], slopes)
    none = [None] * (_TENSORS - 1)
    return gradient, *none, [None] * len(maps), *[None] * (len(ctx.numbers) + 1)


def _read(arguments: Sequence[Any]) -> tuple[PixelBatch, Plan]:
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
torch.library.register_autograd("segloss::run", _backward, setup_context=_keep, lib=_LIBRARY)
