"""The kernels in order, and the only place where one is chosen."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
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
"""All kernels. The first one that takes a batch serves it. The last one takes every batch."""

AUTO = "auto"


def kernel_for(batch: PixelBatch, plan: Plan) -> Kernel:
    """Returns the kernel that serves a batch and a plan.

    The reference serves tracers, which see operations instead of values, forward-mode
    differentiation, and batches without pixels.
    """
    if needs_reference(batch):
        return REFERENCE
    for kernel in _candidates:
        if not kernel.supports(batch, plan):
            return kernel
    return REFERENCE


def needs_reference(batch: PixelBatch) -> bool:
    """Returns whether only the operations of the reference will do, whatever the plan is."""
    prediction = batch.prediction
    return is_traced() or is_dual() or prediction.is_meta or prediction.numel() == 0


def pixel_kernel_for(batch: PixelBatch, plan: Plan) -> Kernel:
    """Returns the kernel that computes the losses of single pixels."""
    for kernel in _candidates:
        if kernel.has_pixel_losses and not kernel.supports(batch, plan):
            return kernel
    return REFERENCE


def operator_for(batch: PixelBatch, plan: Plan) -> Kernel | None:
    """Returns the kernel that is one operator for compilers, or None to compile the reference."""
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

    The latest choice holds. Contexts of several threads may overlap in any order: each takes back
    only its own choice when it ends.

    Args:
        name: "auto" for the first kernel that takes a batch, or the name of the kernel to try
            first; the kernels after it serve the batches that it does not take.
            `segloss.backends()` lists them. The environment variable `SEGLOSS_BACKEND` has the
            same effect at the start of a process.

    Raises:
        ValueError: The kernel does not exist, or can't run on this machine.

    Example:
        >>> with use_backend("reference"):
        ...     current_backend()
        'reference'
        >>> current_backend()
        'auto'
    """

    def __init__(self, name: str) -> None:
        check_backend("name", name)
        self._name = name
        self._is_context = False
        with _CHOOSING:
            calls = [choice for choice in _choices if not choice._is_context]
            _choices[:] = [c for c in _choices if c not in calls[:-1]]  # which nothing can restore
            _choices.append(self)
            _apply_choice()

    def __enter__(self) -> None:
        """Makes the choice, made when the object was created, end with the context."""
        with _CHOOSING:
            self._is_context = True
            if self not in _choices:  # another thread took it for a call
                _choices.append(self)
            _apply_choice()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Takes the choice back."""
        with _CHOOSING:
            _choices.remove(self)
            _apply_choice()


_FIRST = " serves it first"
"""The end of the reason why a kernel does not get batches that it could serve."""


class Backend(NamedTuple):
    """A kernel, and what it serves on this machine.

    Attributes:
        name: Its name in `use_backend`.
        serves: The devices and dtypes of logits that it serves, such as "cpu float32".
        reasons: The reason why it does not serve a device and dtype, or a kind of batch, for each.
        build: How it was compiled at the installation, or why not; empty if it needs no compiler.
    """

    name: str
    serves: tuple[str, ...]
    reasons: Mapping[str, str]
    build: str = ""

    @property
    def rest(self) -> str:
        """What it serves if it serves no device and dtype first."""
        is_spare = any(reason.endswith(_FIRST) for reason in self.reasons.values())
        return "the rest" if is_spare else "nothing here"

    def refused(self) -> dict[str, list[str]]:
        """Returns the kinds of batches that it does not serve, by the reason."""
        kinds: dict[str, list[str]] = {}
        for kind, reason in self.reasons.items():
            kinds.setdefault(reason, []).append(kind)
        return kinds

    def __str__(self) -> str:
        serves = f"serves {', '.join(self.serves) or self.rest}"
        build = [f"  {self.build}"] if self.build else []
        refused = self.refused().items()
        reasons = [f"  not {', '.join(kinds)}: {reason}" for reason, kinds in refused]
        return "\n".join([f"{self.name}: {serves}", *build, *reasons])


def backends() -> tuple[Backend, ...]:
    """Returns the kernels in order, with the batches that each serves or refuses on this machine.

    It tries logits of one sigmoid channel with a mask, in each dtype, on each device that PyTorch
    has here. If a kernel serves some of these, it also tries softmax, with label maps and with
    dense targets, and given probabilities.

    Example:
        >>> serving = [backend for backend in backends() if "cpu float64" in backend.serves]
        >>> len(serving)
        1
    """
    first_kernel: dict[str, str] = {}
    result, probes = [], _probes()
    for kernel in _candidates:
        serves, reasons = [], {}
        for probe, batch in probes.items():
            reason = kernel.why_not_here() or kernel.supports(batch, _PROBE_PLAN)
            if not reason and probe in first_kernel:
                reason = f"{first_kernel[probe]}{_FIRST}"
            if reason:
                reasons[probe] = reason
            else:
                first_kernel[probe] = kernel.name
                serves.append(probe)
        if serves:
            kinds = _kinds(probes[serves[0]])
            refusals = {kind: kernel.supports(batch, _PROBE_PLAN) for kind, batch in kinds.items()}
            reasons |= {kind: reason for kind, reason in refusals.items() if reason}
        result.append(Backend(kernel.name, tuple(serves), reasons, kernel.how_built()))
    return tuple(result)


_PROBE_PLAN = plan_of([REGION, CROSS_ENTROPY])


def _probes() -> dict[str, PixelBatch]:
    """Returns a small batch for each device and dtype."""
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
    """Returns small batches of other kinds than a mask's, on the same device, in its dtype."""
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
    return [name for name, is_available in available.items() if is_available]


def current_backend() -> str:
    """Returns the name of the chosen backend."""
    return _name


def check_backend(argument: str, name: str) -> str:
    """Returns a name that `use_backend` can take; `argument` names the setting in messages."""
    check_choice(argument, name, backend_names())
    reason = _kernels_from(name)[0].why_not_here() if name != AUTO else ""
    if reason:
        raise ValueError(f"The backend {name!r} can't be used here: {reason}.")
    return name


def _kernels_from(name: str) -> tuple[Kernel, ...]:
    """Returns the kernels in order, from the one that a choice names."""
    return KERNELS[0 if name == AUTO else backend_names().index(name) - 1 :]


def _apply_choice() -> None:
    """Starts the search at the kernel of the current choice."""
    global _name, _candidates
    _name = _choices[-1]._name if _choices else _DEFAULT
    _candidates = _kernels_from(_name)


_CHOOSING = threading.Lock()
_choices: list[use_backend] = []
"""The choices that hold, the latest one last."""

_DEFAULT = check_backend("SEGLOSS_BACKEND", os.environ.get("SEGLOSS_BACKEND", AUTO))
_name = _DEFAULT
_candidates: tuple[Kernel, ...] = _kernels_from(_DEFAULT)
