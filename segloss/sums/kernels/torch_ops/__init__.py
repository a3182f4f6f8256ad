"""The kernel in PyTorch's operations: it computes in chunks, in scratch memory, on any device.

It serves the batches that no compiled kernel takes. Like those kernels, it has explicit formulas
for its gradients, and keeps only its inputs for the backward pass.
"""

from __future__ import annotations

import torch
from torch import Tensor

from segloss.batch.pixel_batch import PixelBatch
from segloss.foundation.precision import without_autocast
from segloss.sums.groups import at_group_0, group_count
from segloss.sums.kernels.base import Kernel, lacking
from segloss.sums.kernels.memory import check_all
from segloss.sums.kernels.torch_ops.chunks import Chunks
from segloss.sums.kernels.torch_ops.pixel_sums import PIXEL_SUMS
from segloss.sums.kernels.torch_ops.sigmoid import SigmoidChunks
from segloss.sums.kernels.torch_ops.softmax import SoftmaxChunks
from segloss.sums.plan import (
    COUNTS,
    CROSS_ENTROPY,
    FLOAT64,
    REGION,
    ClassGroupSum,
    DistanceSum,
    Plan,
    PowerSum,
    Row,
)

_NAMES = frozenset(
    (
        *PIXEL_SUMS,
        *(each.name for each in (COUNTS, REGION, CROSS_ENTROPY, FLOAT64)),
        *(kind.__name__ for kind in (PowerSum, DistanceSum, ClassGroupSum)),
    )
)
"""The names in plans, `Plan.names`, that the kernel computes."""


class TorchKernel(Kernel):
    """Computes sums and gradients of logits: sigmoid channels, or softmax with label maps."""

    name = "torch"
    has_pixel_losses = True

    def supports(self, batch: PixelBatch, plan: Plan) -> str:
        """Returns the reason why it does not take this batch and plan; empty if it does."""
        if not batch.options.from_logits:
            return "it takes logits, but these are probabilities"
        if batch.is_exclusive and not batch.is_label_map:
            return "it takes label maps with softmax, but the target is dense"
        return lacking(plan, _NAMES, exclusive=batch.is_exclusive, has_groups=True)

    def sums(self, batch: PixelBatch, plan: Plan) -> Tensor:
        """Returns the sums, (S, N, C)."""
        with without_autocast(batch.prediction.device):
            key = plan.group_key
            groups = None if key is None else group_count(batch.maps[key])
            named = _chunks(batch, plan, groups).sums()
            return torch.stack([_row(named[row.key], batch, groups) for row in plan.rows])

    def pixel_losses(self, batch: PixelBatch, plan: Plan, slopes: Tensor) -> Tensor:
        """Returns a loss of each pixel, (N, 1 or C, P)."""
        with without_autocast(batch.prediction.device):
            return _chunks(batch, plan, None).pixel_losses(_by_key(slopes, batch, plan))

    def gradient(self, batch: PixelBatch, plan: Plan, slopes: Tensor) -> Tensor:
        """Returns the gradient with respect to the logits."""
        groups = None if plan.group_key is None else slopes.shape[2]
        with without_autocast(batch.prediction.device):
            return _chunks(batch, plan, groups).gradient(_by_key(slopes, batch, plan))

    def is_opaque(self, batch: PixelBatch) -> bool:
        """Returns True on CPUs, where chunks are faster than a compiled reference."""
        return batch.prediction.device.type == "cpu"


def _chunks(batch: PixelBatch, plan: Plan, groups: int | None) -> Chunks:
    check_all(batch.tensors(plan.map_keys))
    return (SoftmaxChunks if batch.is_exclusive else SigmoidChunks)(batch, plan, groups)


def _by_key(slopes: Tensor, batch: PixelBatch, plan: Plan) -> dict[str, Tensor]:
    """Returns the slopes (..., C) by the keys of their rows; (...) where a sample has one."""
    return {
        row.key: _upstream(slope, batch, row)
        for row, slope in zip(plan.rows, slopes.unbind(), strict=True)
        if row.has_slope
    }


def _upstream(slope: Tensor, batch: PixelBatch, row: Row) -> Tensor:
    """Returns the slopes of a row: (N, K, C) with groups, and (...) where a sample has one."""
    if row.is_per_sample and slope.ndim == 3:
        slope = slope[:, 0]
    return slope[..., 0] if batch.is_exclusive and row.is_per_sample else slope


def _row(values: Tensor, batch: PixelBatch, groups: int | None) -> Tensor:
    """Returns a row (N, C), or (N, K, C) with groups.

    A number per sample stands at class 0, and one of all pixels at group 0, with 0 at the others.
    """
    if values.ndim == 1:
        values = torch.nn.functional.pad(values.unsqueeze(1), (0, batch.prediction.shape[1] - 1))
    return values if groups is None or values.ndim == 3 else at_group_0(values, groups)
