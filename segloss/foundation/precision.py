"""The precision of computations: at least float32 for pixels, and float64 for sums."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn


def arithmetic_dtype(dtype: torch.dtype) -> torch.dtype:
    """Returns the dtype of arithmetic on pixels: float64 for float64, else float32."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def accumulation_dtype(device: torch.device) -> torch.dtype:
    """Returns the dtype of sums over pixels: float64 if the device has it (MPS does not)."""
    return torch.float32 if device.type == "mps" else torch.float64


def rounding_slack(dtype: torch.dtype) -> float:
    """Returns the distance from a bound of about 1 by which computed values may lie outside it.

    It is 4 units in the last place of float16 and bfloat16 above 1, and 1e-5 for all other dtypes:
    float64 often holds what float32 has computed, and a blur or resize adds up many roundings.
    """
    return max(1e-5, 4 * torch.finfo(dtype).eps) if dtype.is_floating_point else 0.0


def without_autocast(device: torch.device) -> AbstractContextManager[Any]:
    """Returns a context that turns autocast off, so that losses keep at least float32."""
    always_available = device.type in ("cpu", "cuda")  # so a compiler need not ask
    if not always_available and not torch.amp.is_autocast_available(device.type):
        return contextlib.nullcontext()
    return torch.autocast(device.type, enabled=False)


class Precise(nn.Module):
    """A module that keeps the precision of its tensors and its submodules' tensors.

    They move with `.to(device)` as usual. `.half()`, `.bfloat16()` or `.to(torch.float16)` of a
    surrounding model does not round them, because a norm or a class weight is not a parameter of
    the network.

    The tensors of its settings, such as class weights, are buffers that checkpoints do not contain:
    the values of the config hold. A checkpoint of an earlier version, which has them, loads too.
    """

    def register_setting(self, name: str, tensor: Tensor | None) -> None:
        """Registers a tensor that an argument has set: it moves with the module, and is not saved.

        Args:
            name: The name of the attribute.
            tensor: The tensor, or None.
        """
        self.register_buffer(name, tensor, persistent=False)

    def _load_from_state_dict(
        self, state_dict: Any, prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        for name in self._non_persistent_buffers_set:
            state_dict.pop(f"{prefix}{name}", None)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def _apply(self, fn: Callable[[Tensor], Tensor], *args: Any, **kwargs: Any) -> Any:
        keep = functools.partial(_keep_precision, fn)
        return super()._apply(keep, *args, **kwargs)  # type: ignore[no-untyped-call]


def _keep_precision(fn: Callable[[Tensor], Tensor], tensor: Tensor) -> Tensor:
    """Applies `fn` to a tensor, but keeps the dtype if `fn` would narrow it."""
    try:
        result = fn(tensor)
    except TypeError:
        return fn(tensor.float())  # the device can't hold float64
    narrowed = result.dtype.itemsize < tensor.dtype.itemsize
    return tensor.to(result.device) if narrowed else result
