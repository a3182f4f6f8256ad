"""In which precision numbers are held: float32 at least for pixels, float64 for what is summed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


def arithmetic_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype in which pixels are computed: float64 stays, all else is float32."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def accumulation_dtype(device: torch.device) -> torch.dtype:
    """The dtype of sums over pixels: float64 where the device has it (MPS has not)."""
    return torch.float32 if device.type == "mps" else torch.float64


class PreciseBuffers(nn.Module):
    """A module whose own floating-point buffers keep the accumulation dtype.

    They move with `.to(device)` as any buffer does, but `.half()`, `.bfloat16()` or
    `.to(torch.float16)` of a surrounding model does not round them: a norm or a class weight is no
    network parameter.
    """

    def _apply(self, fn: Callable[[Tensor], Tensor], *args: Any, **kwargs: Any) -> Any:
        moved = {
            name: _follow(buffer, fn)
            for name, buffer in self._buffers.items()
            if buffer is not None and buffer.is_floating_point()
        }
        self._buffers.update(dict.fromkeys(moved))  # out of reach of `fn`, which changes dtypes
        try:
            return super()._apply(fn, *args, **kwargs)  # type: ignore[no-untyped-call]
        finally:
            self._buffers.update(moved)


def _follow(buffer: Tensor, fn: Callable[[Tensor], Tensor]) -> Tensor:
    """`buffer` on the device where `fn` moves tensors to, in the precision of that device."""
    device = fn(buffer.float()).device  # in float32, since not every device can hold float64
    return buffer.to(device, accumulation_dtype(device))
