"""Compiles the kernels for GPUs that need not be here, and prints their resources as JSON.

    python tests/sums/kernels/cross_compile.py sm_90

It launches them as the package does, on CPU tensors, with a driver that names the GPU. Triton
compiles each kernel, and its machine code is read instead of launched.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.runtime.driver import driver
from triton.runtime.jit import JITFunction

from segloss.batch.options import PixelOptions
from segloss.batch.pixel_batch import PixelBatch
from segloss.sums.kernels.triton_ops import launch
from segloss.sums.plan import (
    CROSS_ENTROPY,
    REGION,
    SQUARED_ERROR,
    FocalSum,
    MapSum,
    Sum,
    plan_of,
)
from segloss.terms import CrossEntropy, Dice, FocalTversky
from segloss.terms.mixture.group import MixtureGroup

TARGETS = {
    "sm_80": GPUTarget("cuda", 80, 32),
    "sm_90": GPUTarget("cuda", 90, 32),
    "sm_120": GPUTarget("cuda", 120, 32),
    "gfx942": GPUTarget("hip", "gfx942", 64),
}
USUAL = (REGION, CROSS_ENTROPY)
TOOLS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"


class Driver:
    """A driver of a GPU that need not be here."""

    def __init__(self, target: GPUTarget) -> None:
        self.target = target

    def get_current_target(self) -> GPUTarget:
        return self.target

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0


class Case(NamedTuple):
    """A batch that the kernels are compiled for."""

    name: str
    classes: int
    dtype: torch.dtype
    sums: tuple[Sum, ...] = USUAL
    options: Mapping[str, Any] = MappingProxyType({})
    weighted: bool = False


CASES = [  # the first BRIEF cases are compiled for every GPU, all of them for sm_90
    Case("2 classes, float32", 2, torch.float32),
    Case("19 classes, float32", 19, torch.float32),
    Case("19 classes, bfloat16", 19, torch.bfloat16),
    Case("150 classes, bfloat16", 150, torch.bfloat16),
    *(
        Case(f"{classes} classes, {str(dtype).removeprefix('torch.')}", classes, dtype)
        for classes in (105, 512)
        for dtype in (torch.float32, torch.bfloat16)
    ),
    Case("2 classes, bfloat16", 2, torch.bfloat16),
    Case("150 classes, float32", 150, torch.float32),
    Case("1000 classes, float32", 1000, torch.float32),
    *(
        Case(
            f"{classes} classes, everything",
            classes,
            torch.float32,
            (*USUAL, SQUARED_ERROR, FocalSum((2.0,), (0.25,)), MapSum("m")),
            {"ignore_index": 255, "label_smoothing": 0.1},
            True,
        )
        for classes in (2, 19)
    ),
]
BRIEF = 4


def compiled(target: GPUTarget, cases: list[Case]) -> Iterator[tuple[str, Any]]:
    """Yields the kernels that a step of each case launches, by name."""
    launched: list[tuple[str, Any]] = []
    compile_and_launch = JITFunction.run

    def run(self: Any, *args: Any, grid: Any, warmup: bool, **options: Any) -> Any:
        kernel = compile_and_launch(self, *args, grid=grid, warmup=True, **options)
        launched.append((self.__name__, kernel))
        return kernel

    JITFunction.run = run
    driver.set_active(Driver(target))
    for case in cases:
        step(case)
        yield from ((f"{name}: {case.name}", kernel) for name, kernel in launched)
        launched.clear()
    for samples, classes in ((8, 1), (4, 19), (1, 150)):
        group = MixtureGroup([0.5 * CrossEntropy() + 0.5 * Dice() + 0.3 * FocalTversky()])
        rows = torch.empty(len(group.plan.rows), samples, classes, dtype=torch.float64)
        launch.losses(
            rows, classes > 2, group.analytic, group.plan, torch.float32, with_slopes=True
        )
        yield from ((f"{name}: {samples} x {classes}", kernel) for name, kernel in launched)
        launched.clear()


def step(case: Case) -> None:
    """Launches the kernels of a case, forward and backward."""
    channels = 1 if case.classes == 2 else case.classes
    logits = torch.empty(2, channels, 4096, dtype=case.dtype)
    target = torch.zeros(2, 1, 4096) if case.classes == 2 else torch.zeros(2, 4096).long()
    activation = "sigmoid" if case.classes == 2 else "softmax"
    batch = PixelBatch(
        logits,
        target,
        PixelOptions(case.classes, activation, **case.options),
        torch.ones(2, 1, 4096) if case.weighted else None,
        torch.ones(channels) if case.weighted else None,
        maps={"m": torch.ones(2, channels, 4096)},
    )
    plan = plan_of(case.sums)
    launch.gradient(batch, plan, launch.sums(batch, plan))


def needs(kernel: Any) -> dict[str, Any]:
    """Returns counts: spills, loads of 128 bits and, for NVIDIA, registers and atomics."""
    if "amdgcn" in kernel.asm:
        code = kernel.asm["amdgcn"]
        [spilled] = re.findall(r"\.vgpr_spill_count:\s+(\d+)", code)
        wide = r"global_load_dwordx4|buffer_load_dwordx4"
        return {"spilled": int(spilled), "wide_loads": len(re.findall(wide, code))}
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(kernel.asm["cubin"])
        file.flush()
        code = tool("nvdisasm", "-c", file.name)
        usage = tool("cuobjdump", "--dump-resource-usage", file.name)
    [(registers, stack)] = re.findall(r"REG:(\d+).*?STACK:(\d+)", usage)
    return {
        "spilled": int(stack) + len(re.findall(r"\b(?:STL|LDL)\b", code)),
        "wide_loads": len(re.findall(r"LDG\.E\.128", code)),
        "registers": int(registers),
        "atomics": len(re.findall(r"\b(?:ATOM|ATOMG|ATOMS|RED|REDG)\b", code)),
    }


def tool(name: str, *arguments: str) -> str:
    """Returns the output of a tool that comes with Triton."""
    command = [str(TOOLS / name), *arguments]
    process = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    return process.stdout


if __name__ == "__main__":
    cases = CASES if sys.argv[1] == "sm_90" else CASES[:BRIEF]
    print(json.dumps({name: needs(each) for name, each in compiled(TARGETS[sys.argv[1]], cases)}))
