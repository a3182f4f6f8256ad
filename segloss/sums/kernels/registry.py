"""The kernels in order, and the only place where one is chosen."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import NamedTuple

import torch

from segloss.batch.options import PixelOptions
from segloss.batch.pixel_batch import PixelBatch
from segloss.batch.shape_checks import PREDICTED
from segloss.foundation.arguments import check_choice
from segloss.foundation.tracing import is_dual, is_traced
from segloss.sums.kernels.base import Kernel
from segloss.sums.kernels.cpu import CpuKernel
from segloss.sums.kernels.reference import ReferenceKernel
from segloss.sums.kernels.torch_ops import TorchKernel
from segloss.sums.kernels.triton_ops import TritonKernel
from segloss.sums.plan import CROSS_ENTROPY, REGION, Plan, plan_of

REFERENCE = ReferenceKernel()

KERNELS: tuple[Kernel, ...] = (
    CpuKernel(),
    TritonKernel(),
    TorchKernel(),
    REFERENCE,
)
"""All kernels. The first one that takes a batch serves it; the last one takes everything."""

AUTO = "auto"


def kernel_for(batch: PixelBatch, plan: Plan) -> Kernel:
    """Returns the kernel that serves a batch and a plan.

    Tracers, which see operations instead of values, and forward-mode differentiation
    get the reference. So does a batch without pixels.
    """
    prediction = batch.prediction
    if is_traced() or is_dual() or prediction.is_meta or prediction.numel() == 0:
        return REFERENCE
    for kernel in _candidates:
        if not kernel.supports(batch, plan):
            return kernel
    return REFERENCE


def operator_for(batch: PixelBatch, plan: Plan) -> Kernel | None:
    """Returns the kernel that a compiler gets as one operator; None: the reference's operations."""
    if is_dual():
        return None
    for kernel in _candidates:
        if not kernel.supports(batch, plan):
            return kernel if kernel.is_opaque(batch) else None
    return None


def backend_names() -> list[str]:
    """Returns the names that `use_backend` takes."""
    return [AUTO, *(kernel.name for kernel in KERNELS)]


class use_backend:  # noqa: N801  # it is called as a function
    """Chooses the kernels that compute the sums, for all threads: a call, or a context manager.

    Args:
        name: "auto": the first kernel that takes a batch; or the name of a kernel, which is
            tried first: what it does not take goes to the kernels after it. `segloss.backends()`
            lists them. The environment variable `SEGLOSS_BACKEND` has the same effect at the
            start of a process.

    Raises:
        ValueError: There is no such kernel, or it can't run on this machine.

    Example:
        >>> with use_backend("reference"):
        ...     current_backend()
        'reference'
        >>> current_backend()
        'auto'
    """

    def __init__(self, name: str) -> None:
        self._before = _name
        _choose("name", name)

    def __enter__(self) -> None:
        """Does nothing: the choice was made when the object was created."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Restores the previous choice."""
        _choose("name", self._before)


class Backend(NamedTuple):
    """A kernel, and what it serves on this machine.

    Attributes:
        name: What `use_backend` calls it.
        serves: The devices and dtypes of logits that it serves, such as "cpu float32".
        reasons: For the other devices and dtypes, why it does not.
    """

    name: str
    serves: tuple[str, ...]
    reasons: Mapping[str, str]

    def __str__(self) -> str:
        serves = f"serves {', '.join(self.serves)}" if self.serves else "serves nothing here"
        return "\n".join(
            [f"{self.name}: {serves}", *(f"  not {k}: {why}" for k, why in self.reasons.items())]
        )


def backends() -> tuple[Backend, ...]:
    """Returns the kernels in order: what each serves on this machine, and why not the rest.

    It asks with logits of one sigmoid channel and a mask, of each dtype, on each device that
    PyTorch has here; and of a kernel that serves some of these, whether it takes softmax, with
    label maps and with dense targets, and given probabilities.

    Example:
        >>> serving = [backend for backend in backends() if "cpu float64" in backend.serves]
        >>> len(serving)
        1
    """
    first: dict[str, str] = {}
    found, probes = [], _probes()
    for kernel in _candidates:
        serves, reasons = [], {}
        for what, batch in probes.items():
            reason = kernel.why_not_here() or kernel.supports(batch, _PROBED)
            if not reason and what in first:
                reason = f"{first[what]} serves it first"
            if reason:
                reasons[what] = reason
            else:
                first[what] = kernel.name
                serves.append(what)
        if serves:
            asked = _kinds(probes[serves[0]])
            refused = {what: kernel.supports(batch, _PROBED) for what, batch in asked.items()}
            reasons |= {what: reason for what, reason in refused.items() if reason}
        found.append(Backend(kernel.name, tuple(serves), reasons))
    return tuple(found)


_PROBED = plan_of([REGION, CROSS_ENTROPY])


def _probes() -> dict[str, PixelBatch]:
    """Returns a small batch of each device and dtype."""
    options = PixelOptions(2, "sigmoid")
    return {
        f"{device} {str(dtype).removeprefix('torch.')}": PixelBatch(
            torch.zeros(1, 1, 1, dtype=dtype, device=device),
            torch.zeros(1, 1, 1, dtype=torch.float32, device=device),
            options,
        )
        for device in _devices()
        for dtype in PREDICTED
        if not (device == "mps" and dtype == torch.float64)
    }


def _kinds(mask: PixelBatch) -> dict[str, PixelBatch]:
    """Small batches of other kinds, on the device and in the dtype of one."""
    logits, softmax = mask.prediction.expand(1, 2, 1), PixelOptions(2, "softmax")
    return {
        "softmax with label maps": PixelBatch(logits, mask.target[:, 0], softmax),
        "softmax with dense targets": PixelBatch(logits, mask.target.expand(1, 2, 1), softmax),
        "given probabilities": PixelBatch(
            mask.prediction, mask.target, mask.options._replace(from_logits=False)
        ),
    }


def _devices() -> list[str]:
    available = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "xpu": hasattr(torch, "xpu") and torch.xpu.is_available(),
    }
    return [name for name, here in available.items() if here]


def current_backend() -> str:
    """Returns the name that is chosen."""
    return _name


def _choose(argument: str, name: str) -> None:
    global _name, _candidates
    check_choice(argument, name, backend_names())
    first = 0 if name == AUTO else backend_names().index(name) - 1
    reason = KERNELS[first].why_not_here() if name != AUTO else ""
    if reason:
        raise ValueError(f"The backend {name!r} can't be used here: {reason}.")
    _name, _candidates = name, KERNELS[first:]


_name = AUTO
_candidates: Sequence[Kernel] = KERNELS
_choose("SEGLOSS_BACKEND", os.environ.get("SEGLOSS_BACKEND", AUTO))
