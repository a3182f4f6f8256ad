"""The kernel in PyTorch's operations: chunks in scratch memory, on any device.

It serves where no compiled kernel does. Its gradients are written out, as theirs are, and it keeps
nothing for the backward pass but its inputs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from segloss.batch.pixel_batch import PixelBatch
from segloss.foundation.precision import without_autocast
from segloss.sums.kernels.base import Kernel, lacking
from segloss.sums.kernels.memory import check_all
from segloss.sums.kernels.torch_ops.chunks import Chunks
from segloss.sums.kernels.torch_ops.sigmoid import SigmoidChunks
from segloss.sums.kernels.torch_ops.softmax import SoftmaxChunks
from segloss.sums.plan import (
    COUNTS,
    CROSS_ENTROPY,
    REGION,
    SEMIMETRIC,
    SQUARED_ERROR,
    Plan,
)

_NAMES = frozenset(each.name for each in (COUNTS, REGION, CROSS_ENTROPY, SQUARED_ERROR, SEMIMETRIC))
"""The sums without parameters that it has."""


class TorchKernel(Kernel):
    """Sums and gradient of logits, of sigmoid channels or with label maps."""

    name = "torch"

    def supports(self, batch: PixelBatch, plan: Plan) -> str:
        """Returns the reason why it does not take this batch and plan; empty where it does."""
        if not batch.options.from_logits:
            return "it takes logits, and these are probabilities"
        if batch.is_exclusive and not batch.is_label_map:
            return "it takes label maps with softmax, and the target is dense"
        return lacking(plan, _NAMES, exclusive=batch.is_exclusive)

    def sums(self, batch: PixelBatch, plan: Plan) -> Tensor:
        """Returns the sums, (S, N, C)."""
        with without_autocast(batch.prediction.device):
            named = _chunks(batch, plan).sums()
            return torch.stack([_row(named[row.key], batch) for row in plan.rows])

    def gradient(self, batch: PixelBatch, plan: Plan, slopes: Tensor) -> Tensor:
        """Returns the gradient with respect to the logits."""
        upstream = {
            row.key: by_row[:, 0] if batch.is_exclusive and row.is_per_sample else by_row
            for row, by_row in zip(plan.rows, slopes.unbind(), strict=True)
            if row.has_slope
        }
        with without_autocast(batch.prediction.device):
            return _chunks(batch, plan).gradient(upstream)

    def is_opaque(self, batch: PixelBatch) -> bool:
        """Returns whether chunks are faster than a compiled reference: on CPUs."""
        return batch.prediction.device.type == "cpu"


def _chunks(batch: PixelBatch, plan: Plan) -> Chunks:
    check_all(batch.tensors(plan.map_keys))
    return (SoftmaxChunks if batch.is_exclusive else SigmoidChunks)(batch, plan)


def _row(values: Tensor, batch: PixelBatch) -> Tensor:
    """Returns a row (N, C); a number per sample stands at class 0, with 0 at other classes."""
    if values.ndim == 2:
        return values
    return torch.nn.functional.pad(values.unsqueeze(1), (0, batch.prediction.shape[1] - 1))
