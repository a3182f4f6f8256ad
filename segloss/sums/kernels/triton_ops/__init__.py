"""The kernel for GPUs, in Triton: four launches from logits to the gradient, without atomics.

The logits are read once forward and once backward, and the same batch gives the same bits in every
run. Forward, each program computes partial sums over some of a sample's pixels in float32
(`softmax.py`, `sigmoid.py`), one launch adds up the partial sums in float64 (`partial_sums.py`),
and one program computes analytic terms with their slopes (`analytic.py`). Backward, one launch
writes the gradient. With more classes than registers hold, each of the two has one more launch
(`softmax_tiles`).

A label that is not a class makes its sample's sums NaN, and nothing else. With TRITON_INTERPRET=1
in the environment, the kernels run on CPU tensors, slowly, through Triton's interpreter.
"""

from __future__ import annotations

import importlib
import os
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from torch import Tensor

from segloss.batch.pixel_batch import PixelBatch
from segloss.sums.analytic import AnalyticTerms
from segloss.sums.kernels.base import AnalyticLosses, Kernel, lacking
from segloss.sums.kernels.memory import check_all
from segloss.sums.kernels.triton_ops.layout import CELLS, REGISTER_CLASSES, Rows
from segloss.sums.plan import NAMED, TRUE_NEGATIVE, Plan

LOGITS = (torch.float32, torch.bfloat16, torch.float16)
"""The dtypes of logits that the kernel takes."""

_NAMES = frozenset(
    each.name
    for each in NAMED.values()
    if each.rows and all(row.key in Rows._fields for row in each.rows)
)
"""The sums without parameters that the kernel computes."""

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
"""True if the kernels run on CPUs, through Triton's interpreter."""

_OLDEST = (3, 5)
"""The oldest Triton that the kernels were compiled with, that of PyTorch 2.9."""

_PACKAGES = ("triton", "pytorch-triton", "triton-rocm", "pytorch-triton-rocm", "triton-windows")
"""The packages that may install Triton."""


def _installed() -> tuple[int, ...]:
    """Returns the version of Triton without importing it, or () if it is not installed."""
    for package in _PACKAGES:
        with suppress(PackageNotFoundError, ValueError):
            return tuple(int(part) for part in version(package).split(".")[:2])
    return ()


_VERSION = _installed()


def is_installed() -> bool:
    """Returns whether a Triton that can compile the kernels is installed."""
    return _VERSION >= _OLDEST


_DEVICE = "cpu" if INTERPRETED else "cuda"


class TritonKernel(Kernel):
    """Sums and gradient of logits, of sigmoid channels or with label maps."""

    name = "triton"

    def why_not_here(self) -> str:
        """Returns the reason why it can't run, no Triton or no GPU; empty if it can."""
        if not is_installed():
            oldest, found = (".".join(map(str, each)) for each in (_OLDEST, _VERSION))
            return (
                f"it needs Triton {oldest}, which comes with builds of PyTorch 2.9 and newer for "
                f"GPUs, but found {found or 'none'}"
            )
        if not INTERPRETED and not torch.cuda.is_available():
            return "there is no GPU, and TRITON_INTERPRET=1, which runs it without one, is not set"
        return ""

    def supports(self, batch: PixelBatch, plan: Plan) -> str:
        """Returns the reason why it does not take this batch and plan; empty if it does."""
        prediction, options = batch.prediction, batch.options
        if prediction.device.type != _DEVICE:
            return f"it is for {_DEVICE} tensors, but the batch is on {prediction.device}"
        if not is_installed():
            return self.why_not_here()
        if not options.from_logits:
            return "it takes logits, but these are probabilities"
        if batch.is_exclusive and not batch.is_label_map:
            return "it takes label maps with softmax, but the target is dense"
        if batch.is_label_map and not batch.is_exclusive:
            return "it takes dense targets with sigmoid, but the target is a label map"
        if prediction.dtype not in LOGITS:
            return f"it takes float32, bfloat16 and float16, not {prediction.dtype}"
        if (
            batch.is_exclusive
            and TRUE_NEGATIVE.name in plan.names
            and prediction.shape[1] > REGISTER_CLASSES
        ):
            return f"it has true negatives of up to {REGISTER_CLASSES} classes with softmax"
        return lacking(plan, _NAMES, exclusive=batch.is_exclusive)

    def sums(self, batch: PixelBatch, plan: Plan) -> Tensor:
        """Returns the sums, (S, N, C)."""
        check_all(batch.tensors(plan.map_keys))
        sums: Tensor = _launch().sums(batch, plan)
        return sums

    def gradient(self, batch: PixelBatch, plan: Plan, slopes: Tensor) -> Tensor:
        """Returns the gradient with respect to the logits."""
        check_all(batch.tensors(plan.map_keys))
        gradient: Tensor = _launch().gradient(batch, plan, slopes)
        return gradient

    def takes_analytic_terms(self, batch: PixelBatch) -> bool:
        """Returns whether one program holds all cells, that is, all (sample, channel) pairs."""
        samples, channels, _ = batch.prediction.shape
        is_here = batch.prediction.device.type == _DEVICE and is_installed()
        return is_here and samples * channels <= CELLS

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
        """Computes analytic terms, and their slopes."""
        result: AnalyticLosses = _launch().losses(
            sums, exclusive, analytic, plan, dtype, with_slopes=with_slopes
        )
        return result


def _launch() -> Any:
    """Returns the module of launches. It imports Triton, so it is imported for the first batch."""
    return importlib.import_module("segloss.sums.kernels.triton_ops.launch")
