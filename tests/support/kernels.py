"""The kernels of this machine, for tests that run over all of them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from segloss.batch.pixel_batch import PixelBatch
from segloss.sums.kernels.base import Kernel
from segloss.sums.kernels.registry import KERNELS, current_backend
from segloss.sums.kernels.triton_ops import INTERPRETED
from segloss.sums.plan import Plan

BACKENDS = [kernel.name for kernel in KERNELS if not kernel.why_not_here()]
"""What `use_backend` takes here, beside "auto"."""

DEVICE = "cuda" if current_backend() == "triton" and not INTERPRETED else "cpu"
"""Where the backend computes that this process was started with."""


class FromCpu(Kernel):
    """A kernel for another device, as if it were one for CPUs."""

    def __init__(self, kernel: Kernel, device: str) -> None:
        self.kernel, self.name, self.device = kernel, kernel.name, device

    def supports(self, pixels: PixelBatch, plan: Plan) -> str:
        return self.kernel.supports(self._there(pixels), plan)

    def sums(self, pixels: PixelBatch, plan: Plan) -> Tensor:
        return self.kernel.sums(self._there(pixels), plan).cpu()

    def gradient(self, pixels: PixelBatch, plan: Plan, slopes: Tensor) -> Tensor:
        return self.kernel.gradient(self._there(pixels), plan, slopes).cpu()

    def _there(self, pixels: PixelBatch) -> PixelBatch:
        tensors = pixels.tensors(list(pixels.maps))
        return PixelBatch.of(
            [self._moved(each) for each in tensors], list(pixels.maps), pixels.options
        )

    def _moved(self, tensor: Any) -> Any:
        """The tensor on the device, with its strides, whatever they are."""
        if tensor is None:
            return None
        storage = torch.empty(0, dtype=tensor.dtype).set_(tensor.untyped_storage())
        there = storage.to(self.device)
        return there.as_strided(tensor.shape, tensor.stride(), tensor.storage_offset())


def at_home(kernel: Kernel) -> Kernel:
    """The kernel, which takes batches of a CPU."""
    on_gpu = kernel.name == "triton" and not INTERPRETED
    return FromCpu(kernel, "cuda") if on_gpu else kernel
