"""Checks that precision, memory layout, autocast and the compiler do not change the result."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from types import FunctionType
from typing import Any

import torch
from torch import Tensor

from segloss.tools.check.examples.example import Example
from segloss.tools.check.inspections import (
    DoesNotApplyError,
    FoundWrongError,
    require_same,
    value_error,
)
from segloss.tools.check.loss_under_test import (
    LossUnderTest,
    Outcome,
    first_line,
    gradients_of,
    required,
    scalar_of,
)
from segloss.tools.check.nested_batches import copied, map_tensors

FLOAT32_LIMITS = (1e-5, 1e-4)
"""The largest errors of value and gradient in float32, against float64."""
SAME_LIMITS = (1e-5, 1e-4)
"""The largest differences of value and gradient due to the order of summation, in float32."""
AUTOCAST_LIMIT = 1e-2
"""The largest error of the value under autocast to bfloat16, which has 3 digits."""


def precision(tested: LossUnderTest) -> str:
    """Checks that value and gradient in float32 agree with float64, on many pixels."""
    example = tested.example.large().to(torch.float32)
    outcome = tested.differentiate(example)
    try:
        expected = tested.differentiate(example.to(torch.float64))
    except Exception as error:
        raise DoesNotApplyError(f"the loss does not take float64: {first_line(error)}") from error
    if expected.value.dtype != torch.float64:
        raise DoesNotApplyError(
            f"float64 predictions give a loss of {expected.value.dtype}: nothing to compare with"
        )
    return require_same("float32 against float64", outcome, expected, *FLOAT32_LIMITS)


def memory_layout(tested: LossUnderTest) -> str:
    """Checks that strides of predictions and targets change nothing."""
    expected = tested.differentiate(tested.example)
    wrong = []
    for text, example in _layouts(tested.example):
        try:
            require_same(text, tested.differentiate(example), expected, *SAME_LIMITS)
        except FoundWrongError as error:
            wrong.append(str(error))
        except RuntimeError as error:
            wrong.append(f"{text}: {str(error).splitlines()[0]}")
    if wrong:
        raise FoundWrongError("; ".join(wrong))
    return "the same for channels_last and strided predictions and strided targets"


def _layouts(example: Example) -> Iterator[tuple[str, Example]]:
    yield "channels_last predictions", example.with_pred(_channels_last)
    yield "strided predictions", example.with_pred(_strided)
    yield "strided targets", example.with_gt(_strided)


def _channels_last(tensor: Tensor) -> Tensor:
    if tensor.ndim < 3:
        return tensor
    return tensor.movedim(1, -1).contiguous().movedim(-1, 1)


def _strided(tensor: Tensor) -> Tensor:
    """Returns the same numbers with a gap after each row, as in a crop."""
    if tensor.ndim == 0:
        return tensor
    wide = tensor.new_zeros((*tensor.shape[:-1], tensor.shape[-1] + 1))
    wide[..., :-1] = tensor.detach()
    return wide[..., :-1]


def autocast(tested: LossUnderTest) -> str:
    """Checks that autocast to bfloat16 keeps the value, for float32 and bfloat16 predictions."""
    example = tested.example.to(torch.float32)
    rounded = example.with_pred(lambda t: t.bfloat16())
    device = example.device.type
    expected = tested.differentiate(example)
    with torch.autocast(device, dtype=torch.bfloat16):
        outcome = tested.differentiate(example)
    if outcome.value.dtype != torch.float32:
        raise FoundWrongError(f"float32 predictions give a loss of {outcome.value.dtype}")
    text = _require_close(outcome, expected, "float32 predictions")
    expected = tested.differentiate(rounded.with_pred(lambda t: t.float()))
    with torch.autocast(device, dtype=torch.bfloat16):
        outcome = tested.differentiate(rounded)
    text = f"{text}; {_require_close(outcome, expected, 'bfloat16 predictions')}"
    if outcome.value.dtype != torch.float32:
        text += f", a loss of {outcome.value.dtype}"
    return text


def _require_close(outcome: Outcome, expected: Outcome, what: str) -> str:
    error = value_error(outcome.value, expected.value)
    text = f"error {error:.0e} for {what}"
    if not outcome.is_finite:
        raise FoundWrongError(f"value or gradient is not finite for {what}")
    if error > AUTOCAST_LIMIT:
        raise FoundWrongError(f"{text} (limit {AUTOCAST_LIMIT:g})")
    return text


def compiled(tested: LossUnderTest) -> str:
    """Checks that torch.compile takes the loss in one graph, and keeps value and gradient."""
    supported = getattr(torch._dynamo, "is_dynamo_supported", lambda: True)
    if not supported():
        raise DoesNotApplyError("torch.compile does not run here")
    loss = tested.loss
    expected = tested.differentiate(tested.example)

    def call(pred: Any, gt: Any) -> Any:
        return loss(pred, gt)

    # A copy of the code object: PyTorch limits the number of compilations of each one.
    fresh_call = FunctionType(call.__code__.replace(), call.__globals__, closure=call.__closure__)
    graph = torch.compile(fresh_call, fullgraph=True, backend="aot_eager", dynamic=False)
    pred, inputs = required(tested.example)
    level = logging.getLogger("torch._dynamo").level
    logging.getLogger("torch._dynamo").setLevel(logging.CRITICAL)
    try:
        value = scalar_of(graph(pred, map_tensors(tested.example.gt, copied)))
        outcome = Outcome(value.detach(), gradients_of(value, inputs))
    finally:
        logging.getLogger("torch._dynamo").setLevel(level)
    return require_same("compiled against eager", outcome, expected, *SAME_LIMITS)
