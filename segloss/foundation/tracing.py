"""Detection of compilers, exporters and `torch.func`, which see operations instead of values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor

Made = TypeVar("Made")
Function = TypeVar("Function", bound=Callable[..., Any])

is_exporting = getattr(torch.compiler, "is_exporting", lambda: False)
"""Returns whether an exporter is running. PyTorch before 2.7 can't tell."""


def constant(function: Function) -> Function:
    """Makes a compiler treat the function's result as a constant, without tracing it.

    It equals `torch.compiler.assume_constant_result`, but does not import the compiler.
    """
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function


def constant_of(make: Callable[..., Made], *values: Any, **parameters: Any) -> Made:
    """Returns the result of `make` as a constant of the compiler; `repr` must determine it.

    A compiler takes only numbers and texts as constants, so it gets the text, and looks it up.
    """
    text = _text_of(make, *values, **parameters)  # first, since it fills the table
    found: Made = _made[text]
    return found


_made: dict[str, Any] = {}


@constant
def _text_of(make: Callable[..., Any], *values: Any, **parameters: Any) -> str:
    made = make(*values, **parameters)
    _made[repr(made)] = made
    return repr(made)


def is_traced() -> bool:
    """Returns whether a compiler, exporter, tracer or `torch.func` transform hides the values."""
    if torch.compiler.is_compiling():
        return True
    traced = torch._C._functorch.peek_interpreter_stack() is not None
    return traced or torch._C._len_torch_dispatch_stack() > 0


def is_dual() -> bool:
    """Returns whether forward-mode differentiation is on."""
    return torch.autograd.forward_ad._current_level >= 0


def is_batched(tensor: Tensor) -> bool:
    """Returns whether the tensor is a batch of gradients (`is_grads_batched=True`)."""
    functorch = torch._C._functorch
    return functorch.is_batchedtensor(tensor) or functorch.is_legacy_batchedtensor(tensor)
