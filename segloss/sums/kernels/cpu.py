"""The kernel for CPUs in C++: it keeps pixels in registers instead of scratch memory.

It is compiled with the package if there is a compiler (`native/` in the sources, `cpu_build.py`).
It reads logits in float32 or half precision, with any strides, and computes in float32, on
PyTorch's threads. This module passes tensors to C++. Only `_described` turns a tensor into an
address, after it has checked the tensor.
"""

from __future__ import annotations

import functools
from array import array
from typing import Any, NamedTuple

import torch
from torch import Tensor

from segloss.batch.pixel_batch import PixelBatch
from segloss.sums.analytic import ANALYTIC_POOLINGS, AnalyticTerms, PixelMean
from segloss.sums.groups import group_count
from segloss.sums.kernels import cpu_build
from segloss.sums.kernels.base import AnalyticLosses, Kernel, lacking
from segloss.sums.kernels.memory import check_memory
from segloss.sums.kernels.torch_ops import TorchKernel
from segloss.sums.plan import (
    COUNTS,
    CROSS_ENTROPY,
    FLOAT64,
    REGION,
    SEMIMETRIC,
    SEMIMETRIC_TRUE_NEGATIVE,
    SQUARED_ERROR,
    TRUE_NEGATIVE,
    Plan,
    plan_of,
)

_cpu: Any = cpu_build.module

TYPES = {
    torch.float32: 0,
    torch.bfloat16: 1,
    torch.float16: 2,
    torch.uint8: 3,
    torch.int8: 4,
    torch.int16: 5,
    torch.int32: 6,
    torch.int64: 7,
    torch.float64: 8,
    torch.bool: 9,
}
"""The dtypes that it reads, with their numbers in the enum `Type` of native/batch.h."""

LOGITS = (torch.float32, torch.bfloat16, torch.float16)
"""The dtypes of logits that it reads."""

_SUMS = (
    REGION,
    COUNTS,
    CROSS_ENTROPY,
    SQUARED_ERROR,
    SEMIMETRIC,
    TRUE_NEGATIVE,
    SEMIMETRIC_TRUE_NEGATIVE,
    FLOAT64,
)
"""The sums without parameters that it computes, in the order of `Sum` in native/batch.h."""

_NAMES = frozenset(each.name for each in _SUMS)

_NAMES_OF_GROUPS = frozenset(each.name for each in (REGION, COUNTS, CROSS_ENTROPY, FLOAT64))
"""The sums without parameters that it computes for groups of pixels."""

_WIDEST = 80.0
"""The range of logits in which float32 can represent every probability and its reciprocal."""

_STEEPEST = 1e30
"""The greatest slope whose products with probabilities fit float32."""

_OF_PIXELS = frozenset((COUNTS.name, CROSS_ENTROPY.name))
"""The sums without parameters whose pixels have losses in C++."""

_WITH_PYTORCH = TorchKernel()
"""The kernel that computes what C++ does not, and sums in float64 where float32 is not enough."""


def is_built() -> bool:
    """Returns whether the C++ module was compiled."""
    return _cpu is not None


def instruction_sets() -> list[str]:
    """Returns the compiled instruction sets that this machine can run, the best one first."""
    return [] if _cpu is None else _cpu.instruction_sets()


def use_instruction_set(name: str) -> None:
    """Selects one of `instruction_sets`.

    Raises:
        ValueError: There is no such instruction set on this machine.
    """
    _cpu.use(name)


class CpuKernel(Kernel):
    """Computes sums and gradients of logits: sigmoid channels, or softmax with label maps.

    With sigmoid, it compares a label map with the index of each channel while it reads the map.
    """

    name = "cpu"
    has_pixel_losses = True

    def why_not_here(self) -> str:
        """Returns the reason why it can't run: it was not compiled. Empty if it was."""
        return cpu_build.WHY_NOT_BUILT

    def how_built(self) -> str:
        """Returns its compiler, its Python and its instruction sets, or why it was not compiled."""
        return cpu_build.description()

    def supports(self, batch: PixelBatch, plan: Plan) -> str:
        """Returns the reason why it does not take this batch and plan; empty if it does."""
        prediction, options = batch.prediction, batch.options
        if not prediction.is_cpu:
            return f"it is for CPUs, but the batch is on {prediction.device}"
        if not options.from_logits:
            return "it takes logits, but these are probabilities"
        if batch.is_exclusive and not batch.is_label_map:
            return "it takes label maps with softmax, but the target is dense"
        if prediction.dtype not in LOGITS:
            return f"it takes float32, bfloat16 and float16, not {prediction.dtype}"
        grouped = plan.group_key is not None
        names = _NAMES_OF_GROUPS if grouped else _NAMES
        reason = lacking(plan, names, exclusive=batch.is_exclusive, has_groups=True)
        if grouped and (plan.focals or plan.maps):
            reason = "it does not have focal sums and maps with groups of pixels"
        if reason:
            return reason
        if _cpu is None:
            if not torch.compiler.is_compiling():
                cpu_build.warn_that_it_is_missing()
            return self.why_not_here()
        if torch.compiler.is_compiling():  # a compiler shows no more of a tensor
            return ""
        for tensor in (prediction, batch.target, batch.weight, *batch.maps.values()):
            if tensor is not None and not _is_readable(tensor):
                return _why_not_readable(tensor)
        return ""

    def sums(self, batch: PixelBatch, plan: Plan) -> Tensor:
        """Computes the sums, (S, N, C)."""
        if plan.needs_float64 and _is_wide(batch):
            return _WITH_PYTORCH.sums(batch, plan)
        samples, channels, _ = batch.prediction.shape
        key = plan.group_key
        groups = () if key is None else (group_count(batch.maps[key]),)
        out = torch.empty((len(plan.rows), samples, *groups, channels), dtype=torch.float64)
        layout = _layout(plan, channels if batch.is_exclusive else 2)
        if not _cpu.sums(_batch(batch, plan, *groups), layout, out.data_ptr()):
            raise _wrong_label(batch)
        return out

    def pixel_losses(self, batch: PixelBatch, plan: Plan, slopes: Tensor) -> Tensor:
        """Computes a loss of each pixel, (N, 1 or C, P): cross-entropy and focal sums in C++."""
        if not plan.names <= _OF_PIXELS or plan.maps:
            return _WITH_PYTORCH.pixel_losses(batch, plan, slopes)
        samples, channels, count = batch.prediction.shape
        rows = 1 if batch.is_exclusive else channels
        out = torch.empty((samples, rows, count), dtype=torch.float32)
        of_samples = slopes.to("cpu", torch.float64).unsqueeze(1).expand(-1, samples, -1)
        of_samples = of_samples.contiguous()
        _check_shape("slopes", of_samples, (len(plan.rows), samples, channels))
        layout = _layout(plan, channels if batch.is_exclusive else 2)
        arguments = _batch(batch, plan), layout, of_samples.data_ptr(), _described(out)
        if not _cpu.pixel_losses(*arguments):
            raise _wrong_label(batch)
        return out

    def gradient(self, batch: PixelBatch, plan: Plan, slopes: Tensor) -> Tensor:
        """Computes the gradient with respect to the logits."""
        samples, channels, _ = batch.prediction.shape
        slopes = slopes.to("cpu", torch.float64).contiguous()
        groups = () if plan.group_key is None else (slopes.shape[2],)
        _check_shape("slopes", slopes, (len(plan.rows), samples, *groups, channels))
        if plan.needs_float64 and (slopes.abs().amax() > _STEEPEST or _is_wide(batch)):
            return _WITH_PYTORCH.gradient(batch, plan, slopes)
        gradient = torch.empty_like(batch.prediction)
        layout = _layout(plan, channels if batch.is_exclusive else 2)
        _cpu.gradient(_batch(batch, plan, *groups), layout, slopes.data_ptr(), _described(gradient))
        return gradient

    def takes_analytic_terms(self, batch: PixelBatch) -> bool:
        """Returns whether the sums are on a CPU."""
        return _cpu is not None and batch.prediction.is_cpu

    def losses(
        self,
        sums: Tensor,
        exclusive: bool,
        analytic: AnalyticTerms,
        plan: Plan,
        dtype: torch.dtype,
        *,
        with_slopes: bool,
    ) -> AnalyticLosses:
        """Computes analytic terms and their slopes."""
        channels = sums.shape[-1]
        table = _table(analytic, plan, channels)
        terms = len(analytic.addends)
        out = torch.empty(analytic.count + terms * (1 + channels), dtype=torch.float64)
        shape = sums.shape if analytic.count == 1 else (analytic.count, *sums.shape)
        slopes = torch.empty(shape, dtype=torch.float64) if with_slopes else None
        rows, samples, *groups, _ = sums.shape
        _cpu.losses(
            sums.data_ptr(),
            (rows, samples, *(groups or (1,)), channels),
            exclusive,
            *table,
            analytic.count,
            out.data_ptr(),
            0 if slopes is None else slopes.data_ptr(),
        )
        losses, values, per_class = out.split_with_sizes((analytic.count, terms, terms * channels))
        losses = (losses[0] if analytic.count == 1 else losses).to(dtype, copy=True)
        return AnalyticLosses(losses, slopes, values, per_class.view(terms, channels))


def _wrong_label(batch: PixelBatch) -> IndexError:
    """Returns the error for a label that is not a class, which no check has read."""
    return IndexError(
        "The target holds labels that are not classes: expected 0 to "
        f"{batch.prediction.shape[1] - 1}, or ignore_index={batch.options.ignore_index}."
    )


def _is_wide(batch: PixelBatch) -> bool:
    """Returns whether float32 may not represent the probabilities of logits, or a logit is NaN."""
    low, high = (float(each) for each in torch.aminmax(batch.prediction.detach()))
    return not (high - low if batch.is_exclusive else max(-low, high)) <= _WIDEST


def _is_readable(tensor: Tensor) -> bool:
    """Returns whether a tensor is plain memory of a CPU, of a dtype that the kernel reads."""
    is_plain = type(tensor) is Tensor or type(tensor).__torch_dispatch__ is _PLAIN_DISPATCH
    return is_plain and tensor.is_cpu and tensor.dtype in TYPES and not tensor.is_neg()


_PLAIN_DISPATCH = Tensor.__torch_dispatch__


def _why_not_readable(tensor: Tensor) -> str:
    """Returns the reason why a tensor is not readable."""
    if tensor.dtype not in TYPES:
        return f"it does not read {tensor.dtype}"
    return f"it reads plain memory of a CPU, not a {type(tensor).__name__} like this one"


class _Layout(NamedTuple):
    """The rows and parameters of a plan's sums, in the layout of `Plan` in native/batch.h."""

    row_count: int
    rows: bytes
    gammas: bytes
    alphas: bytes


@functools.lru_cache
def _layout(plan: Plan, classes: int) -> _Layout:
    """Returns a plan's layout. Focal sums get parameters for this many classes, 2 with sigmoid."""
    rows = [row for each in (*_SUMS, *plan.focals, *plan.maps) for row in each.rows]
    return _Layout(
        len(plan.rows),
        array("i", [plan.own_index.get(row.key, -1) for row in rows]).tobytes(),
        _parameter_bytes([focal.gamma for focal in plan.focals], classes),
        _parameter_bytes([focal.alpha for focal in plan.focals], classes),
    )


def _parameter_bytes(parameters: list[tuple[float, ...]], classes: int) -> bytes:
    """Returns a parameter of focal sums, (sums, classes) in float32; repeats a sum's last value."""
    numbers = array("f")
    for values in parameters:
        numbers.extend(values[min(c, len(values) - 1)] for c in range(classes))
    return numbers.tobytes()


def _batch(batch: PixelBatch, plan: Plan, groups_count: int = 1) -> tuple[Any, ...]:
    """Returns the batch for `to_batch` in native/module.cpp, after it has checked all tensors."""
    prediction, target, weight = batch.prediction, batch.target, batch.weight
    samples, channels, count = shape = tuple(prediction.shape)
    _check_shape("target", target, (samples, count) if batch.is_label_map else shape)
    if weight is not None:
        _check_shape("weight", weight, (samples, 1 if weight.shape[1] == 1 else channels, count))
    maps: tuple[Any, ...] = ()
    if plan.maps:
        keys = [each.map_key for each in plan.maps]
        for key in keys:
            _check_shape("map", batch.maps[key], shape)
        maps = tuple(_described(batch.maps[key]) for key in keys)
    groups = None
    if plan.group_key is not None:
        _check_shape("map of groups", batch.maps[plan.group_key], shape)
        groups = _described(batch.maps[plan.group_key])
    class_weights, pos_weight = batch.class_weights, batch.pos_weight
    return (
        batch.is_exclusive,
        batch.is_label_map,
        shape,
        _described(prediction),
        _described(target),
        None if weight is None else _described(weight),
        batch.ignored_value,
        None if class_weights is None else _float_bytes(class_weights, channels),
        None if pos_weight is None else _float_bytes(pos_weight, channels),
        batch.options.label_smoothing,
        torch.get_num_threads(),
        maps,
        groups,
        groups_count,
    )


def _float_bytes(weights: Tensor, channels: int) -> bytes:
    numbers = weights.tolist()
    return array("f", numbers * channels if len(numbers) == 1 else numbers).tobytes()


def _check_shape(name: str, tensor: Tensor, expected: tuple[int, ...]) -> None:
    if tuple(tensor.shape) != expected:
        raise RuntimeError(
            f"The {name} kept for the backward pass must have the shape {expected}, got "
            f"{tuple(tensor.shape)}: a hook for saved tensors must return the tensor that it got."
        )


def _described(tensor: Tensor) -> tuple[int, ...]:
    """Checks a tensor (N, C or 1, P) or (N, P), and returns its address, type and strides.

    Raises:
        RuntimeError: Its memory is not a CPU's, was freed, or is too small for the tensor.
    """
    if not _is_readable(tensor):
        raise RuntimeError(f"A tensor changed after it was checked: {_why_not_readable(tensor)}.")
    check_memory(tensor)
    strides = tensor.stride()
    if len(strides) == 2:
        return tensor.data_ptr(), TYPES[tensor.dtype], strides[0], 0, strides[1]
    channel = strides[1] if tensor.shape[1] > 1 else 0
    return tensor.data_ptr(), TYPES[tensor.dtype], strides[0], channel, strides[2]


@functools.lru_cache
def _table(analytic: AnalyticTerms, plan: Plan, channels: int) -> tuple[bytes, bytes]:
    """Returns the terms as records `TermNumbers` (native/module.cpp), and sets of class weights."""
    records, class_weights = array("d"), array("d")
    for loss, coefficient, form in analytic.addends:
        if isinstance(form, PixelMean):
            mean_rows = (plan.index[form.numerator], plan.index[form.denominator], -1, -1, -1)
            records.extend((0, loss, coefficient, *mean_rows, *[0] * 7, -1, 0))
            continue
        reduction, weight_set = form.reduction, -1
        if reduction.classes is not None or reduction.weights is not None:
            weight_set = len(class_weights) // channels
            class_weights.extend(reduction.class_weights(channels))
        rows = (*(plan.index[key] for key in form.keys), *_count_rows(plan))
        numbers = (*form.weights, form.smooth, form.exponent)
        pool = ANALYTIC_POOLINGS.index(reduction.pooled)  # in the enum of native/analytic_terms.h
        pooling = (pool, reduction.skip_absent, weight_set)
        records.extend((1, loss, coefficient, *rows, *numbers, *pooling, form.components))
    return records.tobytes(), class_weights.tobytes()


def _count_rows(plan: Plan) -> tuple[int, ...]:
    return tuple(plan.index[row.key] for row in COUNTS.rows)


# The Lovasz loss, which ranks pixels instead of adding them up.

_NO_SUMS = plan_of([COUNTS])
"""The plan of a description that no sum is read from."""

LARGEST_RANKING = 2**31 - 1
"""The most pixels that the C++ ranks together: a place and a bit of a target share 32 bits."""


def why_no_lovasz(batch: PixelBatch, pooled: bool) -> str:
    """Returns the reason why `lovasz` does not take a batch; empty if it does."""
    reason = CpuKernel().supports(batch, _NO_SUMS)
    if reason or torch.compiler.is_compiling():
        return reason
    samples, _, count = batch.prediction.shape
    if count * (samples if pooled else 1) > LARGEST_RANKING:
        return f"it ranks at most {LARGEST_RANKING} pixels together"
    return ""


def lovasz(
    batch: PixelBatch, *, hinge: bool, pooled: bool, with_slopes: bool
) -> tuple[Tensor, Tensor]:
    """Computes the Lovasz losses of sets of pixels, and their slopes with respect to the errors.

    `segloss.losses.standalone.lovasz.operations` has the formulas.

    Args:
        batch: The batch.
        hinge: True for the errors 1 - (2 g - 1) x, False for |g - p|.
        pooled: True for a set per class, False for a set per sample and class.
        with_slopes: False to leave the slopes out; then the second result is scratch.

    Returns:
        The losses of the S x C sets, their sums of w g, and of w, (3, S, C) in float64; and the
        slopes (N, C, P) in float32.
    """
    samples, channels, _ = batch.prediction.shape
    results = torch.empty((3, 1 if pooled else samples, channels), dtype=torch.float64)
    slopes = torch.empty(batch.prediction.shape, dtype=torch.float32)
    if batch.prediction.numel() == 0:
        return results.zero_(), slopes
    described = _batch(batch, _NO_SUMS)
    addresses = slopes.data_ptr(), results.data_ptr()
    if not _cpu.lovasz(described, pooled, hinge, with_slopes, *addresses):
        raise _wrong_label(batch)
    return results, slopes


def lovasz_gradient(
    batch: PixelBatch, slopes: Tensor, upstream: Tensor, *, hinge: bool, pooled: bool
) -> Tensor:
    """Computes the gradient of Lovasz losses with respect to the logits.

    Args:
        batch: The batch.
        slopes: The slopes that `lovasz` returned.
        upstream: The gradient with respect to the losses, (S, C).
        hinge: As for `lovasz`.
        pooled: As for `lovasz`.
    """
    samples, channels, _ = shape = tuple(batch.prediction.shape)
    if batch.prediction.numel() == 0:
        return torch.empty_like(batch.prediction)
    upstream = upstream.to("cpu", torch.float64).contiguous()
    _check_shape("upstream gradient", upstream, (1 if pooled else samples, channels))
    _check_shape("slopes", slopes, shape)
    slopes = slopes.to("cpu", torch.float32).contiguous()
    check_memory(slopes)
    gradient = torch.empty_like(batch.prediction)
    addresses = slopes.data_ptr(), upstream.data_ptr()
    _cpu.lovasz_gradient(_batch(batch, _NO_SUMS), pooled, hinge, *addresses, _described(gradient))
    return gradient
