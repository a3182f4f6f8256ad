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
from segloss.sums.kernels.base import upstream_of
from segloss.sums.kernels.registry import KERNELS, kernel_for
from segloss.sums.plan import Plan

BATCH = (
    "Tensor prediction, Tensor target, Tensor? weight, Tensor? class_weights, Tensor? pos_weight, "
    "Tensor[] maps, int n_classes, str activation, bool from_logits, int? ignore_index, "
    "float label_smoothing, bool one_against_rest, str plan"
)
"""The arguments of an operator for a batch and a plan, which `read_batch` reads."""

TENSORS = 5
"""The number of tensors of a batch, without maps."""

LIBRARY: Any = torch.library.Library("segloss", "DEF")  # type: ignore[no-untyped-call]
LIBRARY.define(
    f"run({BATCH}, str analytic) -> (Tensor rows, Tensor losses, Tensor values, Tensor per_class, "
    "Tensor slopes)"
)
LIBRARY.define(f"gradient({BATCH}, Tensor? of_rows, Tensor? of_losses, Tensor slopes) -> Tensor")

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
    batch, plan = read_batch(tensors)
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
        maps = others[TENSORS - 1]
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
    batch, plan = read_batch(tensors)
    if batch.prediction.numel() == 0:
        return torch.empty_like(batch.prediction)
    upstream = upstream_of(of_rows, of_losses, slopes)
    return kernel_for(batch, plan).gradient(batch, plan, upstream)


def _unshared(tensor: Tensor) -> Tensor:
    """Returns the tensor, copied if it shares memory: results of operators must not share any."""
    fills_storage = tensor.untyped_storage().nbytes() == tensor.nbytes
    return tensor if fills_storage else tensor.clone()


def gradient_fake(prediction: Tensor, *others: Any) -> Tensor:
    """Returns an empty gradient with respect to the predictions."""
    return torch.empty_like(prediction)


def _save_inputs(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    *tensors, maps = inputs[: TENSORS + 1]
    ctx.save_for_backward(*tensors, *maps, output[-1])
    ctx.numbers = inputs[TENSORS + 1 : -1]
    ctx.mark_non_differentiable(*output[2:])
    ctx.set_materialize_grads(False)


def _backward(ctx: Any, *grads: Tensor | None) -> tuple[Any, ...]:
    *tensors, slopes = ctx.saved_tensors
    tensors, maps = tensors[:TENSORS], tensors[TENSORS:]
    gradient = torch.ops.segloss.gradient(*tensors, maps, *ctx.numbers, *grads[:2], slopes)
    none = [None] * (TENSORS - 1)
    return gradient, *none, [None] * len(maps), *[None] * (len(ctx.numbers) + 1)


def read_batch(arguments: Sequence[Any]) -> tuple[PixelBatch, Plan]:
    """Returns the batch and the plan from an operator's arguments, in the order of `BATCH`."""
    *tensors, text = arguments
    tensors, maps, options = tensors[:TENSORS], tensors[TENSORS], tensors[TENSORS + 1 :]
    plan = Plan.read(text)
    return PixelBatch.of([*tensors, *maps], plan.map_keys, PixelOptions(*options)), plan


for _name, _operator, _fake in (
    ("run", _run, _run_fake),
    ("gradient", _gradient, gradient_fake),
):
    LIBRARY.impl(_name, _operator, "CompositeExplicitAutograd")
    torch.library.register_fake(f"segloss::{_name}", _fake, lib=LIBRARY)
torch.library.register_autograd("segloss::run", _backward, setup_context=_save_inputs, lib=LIBRARY)
