"""Launches of the kernels: sums, gradient and losses of a batch. Importing it imports Triton."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from segloss.batch.pixel_batch import PixelBatch
from segloss.foundation.device_constants import on_device
from segloss.sums.analytic import AnalyticTerms
from segloss.sums.kernels.base import AnalyticLosses
from segloss.sums.kernels.triton_ops import INTERPRETED, partial_sums, sigmoid, softmax
from segloss.sums.kernels.triton_ops import analytic as analytic_kernels
from segloss.sums.kernels.triton_ops.layout import (
    Cut,
    analytic_table,
    ceil_div,
    cut_channels,
    cut_classes,
    focal_table,
    power_of_2,
    rows_of,
)
from segloss.sums.plan import Plan


def sums(batch: PixelBatch, plan: Plan) -> Tensor:
    """Returns the sums (S, N, C) in float64."""
    x = batch.prediction
    samples, channels, _ = x.shape
    cut = _cut(batch, plan)
    partial = x.new_empty((len(plan.rows), samples, cut.parts, channels), dtype=torch.float32)
    total = x.new_empty((len(plan.rows), samples, channels), dtype=torch.float64)
    with _device_of(x):
        if batch.is_exclusive:
            programs = samples * cut.parts * cut.class_tiles
            common = _common(batch, plan, cut, None)
            inputs, sizes, settings = _exclusive(batch, plan, cut)
            softmax.softmax_forward[(programs,)](
                *inputs, _focal(batch, plan), common, partial, *_shape(x), cut.parts, cut.tiles,
                cut.class_tiles, *sizes, **settings,
            )  # fmt: skip
        else:
            inputs, sizes, settings = _independent(batch, plan, cut)
            sigmoid.sigmoid_forward[(samples * channels * cut.parts,)](
                *inputs, _focal(batch, plan), partial, *_shape(x), cut.parts, cut.tiles, *sizes,
                **settings,
            )  # fmt: skip
        width = min(32, power_of_2(channels))
        class_blocks = ceil_div(channels, width)
        partial_sums.add_partial_sums[(len(plan.rows) * samples * class_blocks,)](
            partial, total, cut.parts, channels, class_blocks,
            PARTS=min(1024 // width, power_of_2(cut.parts)), CLASSES=width, num_warps=4,
        )  # fmt: skip
    return total


def gradient(batch: PixelBatch, plan: Plan, slopes: Tensor) -> Tensor:
    """Returns the gradient with respect to the logits, from slopes (S, N, C)."""
    x = batch.prediction
    samples, channels, _ = x.shape
    cut = _cut(batch, plan)
    out = torch.empty_like(x)
    slopes = slopes.to(x.device, torch.float64).contiguous()
    rounding = {"BY_HAND": INTERPRETED and x.dtype == torch.bfloat16}
    with _device_of(x):
        if batch.is_exclusive:
            common = _common(batch, plan, cut, slopes)
            inputs, sizes, settings = _exclusive(batch, plan, cut, out)
            softmax.softmax_backward[(samples * cut.blocks * cut.class_tiles,)](
                *inputs, _focal(batch, plan), common, slopes, out, *_shape(x), cut.blocks,
                cut.class_tiles, *sizes, **settings, **rounding,
            )  # fmt: skip
        else:
            inputs, sizes, settings = _independent(batch, plan, cut, out)
            sigmoid.sigmoid_backward[(samples * channels * cut.blocks,)](
                *inputs, _focal(batch, plan), slopes, out, *_shape(x), cut.blocks, *sizes,
                **settings, **rounding,
            )  # fmt: skip
    return out


def losses(
    rows: Tensor,
    exclusive: bool,
    analytic: AnalyticTerms,
    plan: Plan,
    dtype: torch.dtype,
    *,
    with_slopes: bool,
) -> AnalyticLosses:
    """Computes analytic terms of sums (S, N, C), and their slopes."""
    _, samples, channels = rows.shape
    table = analytic_table(analytic, plan, channels)
    values = rows.new_empty(len(analytic.addends))
    per_class = rows.new_empty((len(analytic.addends), channels))
    is_single = analytic.count == 1
    result = rows.new_empty(() if is_single else analytic.count, dtype=dtype)
    slopes = None
    if with_slopes:
        slopes = rows.new_empty(rows.shape if is_single else (analytic.count, *rows.shape))
    class_weights = None
    if table.class_weights:
        class_weights = on_device(table.class_weights, rows.device, torch.float64)
    height, width = power_of_2(samples), power_of_2(channels)
    row_index = rows_of(plan)
    with _device_of(rows):
        analytic_kernels.losses_and_slopes[(1,)](
            rows, on_device(table.numbers, rows.device, torch.float64), class_weights,
            result, values, per_class, slopes, samples, channels,
            COLUMNS=table.columns, ADDENDS=len(analytic.addends), LOSSES=analytic.count,
            ROWS=len(plan.rows),
            ACTUAL=row_index.actual, PIXEL_WEIGHT=row_index.pixel_weight, EXCLUSIVE=exclusive,
            SAMPLES=height, CLASSES=width, num_warps=max(1, min(16, height * width // 128)),
        )  # fmt: skip
    return AnalyticLosses(result, slopes, values, per_class)


def _device_of(tensor: Tensor) -> Any:
    """Makes a tensor's GPU the current one within a `with`, since Triton launches there."""
    return torch.cuda.device_of(tensor)  # type: ignore[no-untyped-call]


def _cut(batch: PixelBatch, plan: Plan) -> Cut:
    samples, channels, count = batch.prediction.shape
    if batch.is_exclusive:
        return cut_classes(count, samples, channels, rows_of(plan))
    return cut_channels(count, samples * channels)


def _shape(x: Tensor) -> tuple[int, int, int]:
    samples, channels, count = x.shape
    return samples, channels, count


def _common(batch: PixelBatch, plan: Plan, cut: Cut, slopes: Tensor | None) -> Tensor | None:
    """Returns the values that a pixel's classes have in common if classes are cut into tiles."""
    if cut.class_tiles == 1:
        return None
    x = batch.prediction
    samples, channels, count = x.shape
    common = x.new_empty((3, samples, count), dtype=torch.float32)
    inputs, sizes, settings = _exclusive(batch, plan, cut)
    softmax.softmax_tiles[(samples * cut.blocks,)](
        *inputs, slopes, common, samples, channels, count, cut.blocks, cut.class_tiles, *sizes,
        **settings,
    )  # fmt: skip
    return common


def _exclusive(
    batch: PixelBatch, plan: Plan, cut: Cut, out: Tensor | None = None
) -> tuple[tuple[Any, ...], tuple[Any, ...], dict[str, Any]]:
    """Returns the tensors, numbers and settings of the kernels of softmax."""
    x, y, w = batch.prediction, batch.target, batch.weight
    class_weights, options = _contiguous(batch.class_weights), batch.options
    maps, map_strides = _maps(batch, plan)
    w_n, _, w_p = _strides(w)
    numbers = (
        _ignored(batch), float(options.label_smoothing), *x.stride(), *y.stride(), w_n, w_p,
        *(() if out is None else out.stride()), map_strides,
    )  # fmt: skip
    settings = {
        "CLASS_WEIGHTS": class_weights is not None,
        "SLICES": cut.slices,
        "CLASSES": cut.classes,
        **_settings(batch, plan, cut),
    }
    return (x, y, w, class_weights, maps), numbers, settings


def _independent(
    batch: PixelBatch, plan: Plan, cut: Cut, out: Tensor | None = None
) -> tuple[tuple[Any, ...], tuple[Any, ...], dict[str, Any]]:
    """Returns the tensors, numbers and settings of the kernels of sigmoid."""
    x, g, w = batch.prediction, batch.target, batch.weight
    class_weights, pos_weight = _contiguous(batch.class_weights), _contiguous(batch.pos_weight)
    maps, map_strides = _maps(batch, plan)
    pos_c = 0 if pos_weight is None or len(pos_weight) == 1 else 1
    numbers = (
        _ignored(batch), float(batch.options.label_smoothing), *x.stride(), *_strides(g),
        *_strides(w), *(() if out is None else out.stride()), pos_c, map_strides,
    )  # fmt: skip
    settings = {
        "CLASS_WEIGHTS": class_weights is not None,
        "POS_WEIGHT": pos_weight is not None,
        **_settings(batch, plan, cut),
    }
    return (x, g, w, class_weights, pos_weight, maps), numbers, settings


def _settings(batch: PixelBatch, plan: Plan, cut: Cut) -> dict[str, Any]:
    return {
        "R": rows_of(plan),
        "IGNORES": batch.ignored_value is not None,
        "WEIGHTED": batch.weight is not None,
        "SMOOTH": batch.options.label_smoothing > 0,
        "BLOCK": cut.block,
        "num_warps": cut.warps,
    }


def _ignored(batch: PixelBatch) -> int:
    return 0 if batch.ignored_value is None else batch.ignored_value


def _contiguous(weights: Tensor | None) -> Tensor | None:
    return None if weights is None else weights.contiguous()


def _focal(batch: PixelBatch, plan: Plan) -> Tensor | None:
    """Returns the exponents and weights of focal sums, or None if the plan has none."""
    if not plan.focals:
        return None
    x = batch.prediction
    numbers = focal_table(plan, x.shape[1] if batch.is_exclusive else 2)
    return on_device(numbers, x.device, torch.float32)


def _maps(batch: PixelBatch, plan: Plan) -> tuple[Any, Any]:
    """Returns the maps and their strides, as tuples, or None and None if there are none."""
    if not plan.maps:
        return None, None
    maps = tuple(batch.maps[key] for key in plan.map_keys)
    return maps, tuple(map(_strides, maps))


def _strides(tensor: Tensor | None) -> tuple[int, int, int]:
    """Returns the strides (N, C, P), with 0 for C if one channel stands for all."""
    if tensor is None:
        return 0, 0, 0
    n, c, p = tensor.stride()
    return n, c if tensor.shape[1] > 1 else 0, p
