"""Detection of compilers, exporters and `torch.func`, and constants that compilers accept.

All of them see operations instead of values, so code that reads a value must not run under them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor

Result = TypeVar("Result")
Function = TypeVar("Function", bound=Callable[..., Any])

is_exporting = getattr(torch.compiler, "is_exporting", lambda: False)
"""Returns whether an exporter is running. PyTorch before 2.7 can't tell."""


def constant(function: Function) -> Function:
    """Marks a function, so that a compiler takes its result as a constant and does not trace it.

    It equals `torch.compiler.assume_constant_result`, but does not import the compiler.
    """
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function


def constant_of(make: Callable[..., Result], *values: Any, **parameters: Any) -> Result:
    """Returns the result of `make` as a constant for a compiler; `repr` must determine the result.

    A compiler takes only numbers and texts as constants. So its constant is the text, and the
    result is looked up by the text.
    """
    text = _text_of(make, *values, **parameters)  # first, because it fills the table
    result: Result = _results[text]
    return result


_results: dict[str, Any] = {}
"""The results of `constant_of`, by their `repr`."""


@constant
def _text_of(make: Callable[..., Any], *values: Any, **parameters: Any) -> str:
    result = make(*values, **parameters)
    _results[repr(result)] = result
    return repr(result)


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
    """Returns whether a tensor is a batch of gradients (`is_grads_batched=True`)."""
    functorch = torch._C._functorch
    return functorch.is_batchedtensor(tensor) or functorch.is_legacy_batchedtensor(tensor)
