"""Losses of (prediction, target) over pixels that are all ignored: 0, with the gradient 0.

A mean over no pixels is 0 divided by 0, and many losses return NaN for it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from segloss.foundation.arguments import is_list
from segloss.foundation.dtypes import equals_any
from segloss.foundation.gradients import Condition, no_gradient_if, zero_in_place_of
from segloss.foundation.tracing import is_traced


def ignored_values(loss: Any) -> tuple[float, ...]:
    """Returns the values of a target that a loss ignores: the `ignore_index` of it or its parts.

    Parts are the modules in a module, and the function and keywords of a `functools.partial`.
    """
    found: list[Any] = [getattr(loss, "ignore_index", None)]
    if isinstance(loss, nn.Module):
        found = [getattr(module, "ignore_index", None) for module in loss.modules()]
    elif isinstance(loss, functools.partial):
        found = [loss.keywords.get("ignore_index"), *ignored_values(loss.func)]
    values = [value for each in found for value in (each if is_list(each) else [each])]
    return tuple({value: None for value in values if type(value) in (int, float)})


def over_counted_pixels(
    loss: Callable[..., Any], prediction: Tensor, target: Tensor, values: tuple[float, ...]
) -> Any:
    """Returns the loss of a prediction and a target, or 0 if the target's pixels are all ignored.

    The loss is a tensor, or a tuple that begins with one.
    """
    nothing: Condition = False
    if target.numel() == 0:  # as a branch: for a tracer, the comparison itself is not a bool
        nothing = True
    elif values:
        nothing = equals_any(target, values).all()
        if nothing.is_cpu and not is_traced():
            nothing = bool(nothing)  # a read costs nothing on a CPU
    if nothing is False:
        return loss(prediction, target)
    gated = no_gradient_if(nothing, prediction) if isinstance(nothing, Tensor) else prediction
    result = loss(gated, target)
    value, *others = result if isinstance(result, tuple) else (result,)
    if not (isinstance(value, Tensor) and value.is_floating_point()):
        return result  # the caller refuses it
    if isinstance(nothing, Tensor) and value.numel() > 0:
        value = value.masked_fill(nothing, 0)
    else:
        parts = loss if isinstance(loss, nn.Module) else None
        zero = zero_in_place_of(value, [prediction, parts])
        value = torch.zeros_like(value) + zero if value.numel() > 0 else zero
    return (value, *others) if isinstance(result, tuple) else value
