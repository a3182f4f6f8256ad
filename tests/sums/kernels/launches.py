"""Counts the operations of a step on a GPU, through Triton's interpreter.

These are ATen's operations and launches of kernels. `test_interpreter.py` runs this file.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from triton.runtime.interpreter import GridExecutor

from segloss import CompoundLoss, SegLoss
from segloss.terms import CrossEntropy, Dice, FocalTversky

VIEWS = {"view", "detach", "unbind", "select", "unsqueeze", "expand", "slice"}
ALLOCATIONS = {"new_empty", "empty_like"}
READS_OF_CPU = {"_local_scalar_dense"}
"""Reads of numbers on the CPU, such as the norm of a loss."""


class Counting(TorchDispatchMode):
    """Lists operations, without the interpreter's."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.is_interpreting = False

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if not self.is_interpreting:
            self.names.append(function.overloadpacket.__name__)
        return function(*args, **(kwargs or {}))

    @property
    def operations(self) -> list[str]:
        return [name for name in self.names if name not in VIEWS]

    @property
    def launches(self) -> list[str]:
        return [name for name in self.operations if name not in ALLOCATIONS | READS_OF_CPU]


@pytest.fixture
def counting(monkeypatch) -> Iterator[Counting]:
    count, interpret = Counting(), GridExecutor.__call__

    def call(executor, *args, **kwargs):
        count.names.append(executor.fn.__name__)
        count.is_interpreting = True
        try:
            return interpret(executor, *args, **kwargs)
        finally:
            count.is_interpreting = False

    monkeypatch.setattr(GridExecutor, "__call__", call)
    for module in (
        "batch.assemble",
        "batch.value_checks",
        "foundation.device_constants",
        "foundation.tracing",
        "sums.kernels.registry",
    ):
        monkeypatch.setattr(f"segloss.{module}.is_traced", lambda: False)  # counting is not tracing
    for checks in ("due", "spots"):  # a GPU's batches are read once, and the counted step is later
        monkeypatch.setattr(
            f"segloss.batch.value_checks.ValueChecks.{checks}", lambda *_, **__: None
        )
    return count


LOSSES = {
    "a mixture": lambda classes: CompoundLoss(
        0.5 * CrossEntropy() + 0.5 * Dice() + 0.3 * FocalTversky(),
        "binary" if classes == 2 else "multiclass",
    ),
    "SegLoss": lambda classes: SegLoss(
        n_classes=classes, from_logits=True, tversky_focal_coef=0.3, region_classes=[0]
    ),
    "weights": lambda classes: SegLoss(
        n_classes=classes,
        from_logits=True,
        class_weights=[1.0] * max(1, classes if classes > 2 else 1),
        ignore_index=255,
        use_label_smooth=True,
    ),
}


@pytest.mark.parametrize("classes", [2, 19, 150])
@pytest.mark.parametrize("size", [8, 16])
@pytest.mark.parametrize("name", LOSSES)
def test_a_step_takes_few_operations_however_many_pixels(
    name: str, size: int, classes: int, counting: Counting
) -> None:
    loss, batch = LOSSES[name](classes), batch_of(classes, size)
    step(loss, *batch)  # constants are moved to the device
    counting.names.clear()
    with counting:
        step(loss, *batch)
    assert len(counting.launches) <= 6, " ".join(counting.launches)
    assert len(counting.operations) <= 16, " ".join(counting.operations)


def batch_of(classes: int, size: int) -> tuple[Tensor, Tensor]:
    logits = torch.randn(2, 1 if classes == 2 else classes, size, size)
    return logits, torch.randint(0, classes, (2, size, size))


def step(loss: nn.Module, logits: Tensor, target: Tensor) -> None:
    value = loss(logits.requires_grad_(), target)
    logits.grad = None
    (value[0] if isinstance(value, tuple) else value).backward()


def test_the_kernel_for_gpus_is_counted(counting: Counting) -> None:
    with counting:
        step(LOSSES["SegLoss"](19), *batch_of(19, 8))
    launched = [name for name in counting.names if name.startswith(("softmax", "losses", "add_"))]
    assert launched == [
        "softmax_forward",
        "add_partial_sums",
        "losses_and_slopes",
        "softmax_backward",
    ]
