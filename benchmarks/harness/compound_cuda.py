"""Measures a GPU: all contenders in one process, the most important first, within a budget.

Starting a process and CUDA takes seconds. The memory and time of a GPU can be separated
within one process, so a contender does not need a process of its own.
"""

from __future__ import annotations

import gc
import json
import platform
import time
import warnings
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.progress import track

import segloss
from harness.contenders import CONTENDERS, PEERS, WORKLOADS, Workload
from harness.devices import Device
from harness.measure_cuda import PARTS, Measurement, copy_speed, measure, reason
from harness.report import installed, library_versions
from segloss.sums.kernels.registry import current_backend

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
EAGER = ("segloss", "pixel loss alone", *PEERS, "textbook")
COMPILED = ("textbook compiled", "segloss compiled")
COMPILED_ON = ("city19", "ade150", "vol105", "binary2d")
GRAPH = "graph"
FIGURES = tuple(part for part in PARTS if part != GRAPH)

TINY = {
    name: Workload((1, shape[1], *(min(side, 6) for side in shape[2:])), classes)
    for name, (shape, classes) in WORKLOADS.items()
}
"""The workloads of a dry run."""


class Job(NamedTuple):
    """The parts to measure for a contender on a workload."""

    workload: str
    dtype: str
    contender: str
    parts: tuple[str, ...] = FIGURES


def jobs(workloads: Sequence[str], contenders: Sequence[str]) -> Iterator[Job]:
    """Yields jobs, the most important first, since a run may not get to the last ones."""
    batches = [(workload, dtype) for dtype in DTYPES for workload in workloads]
    for workload, dtype in batches:
        yield from (Job(workload, dtype, name) for name in EAGER if name in contenders)
    if "segloss" in contenders:
        yield from (Job(workload, dtype, "segloss", (GRAPH,)) for workload, dtype in batches)
    for name in COMPILED:
        for dtype in DTYPES:
            for workload in COMPILED_ON:
                if name in contenders and workload in workloads:
                    yield Job(workload, dtype, name)


def measure_all(
    selected: Sequence[Job],
    workloads: dict[str, Workload],
    device: Device,
    seconds: float,
    budget: float,
    results: Path,
) -> dict[str, Any]:
    """Measures until the budget is spent, and writes the results after each job.

    Args:
        selected: The jobs.
        workloads: The workloads by name.
        device: The device.
        seconds: Seconds of timing for each contender.
        budget: Seconds after which no job starts.
        results: The JSON file.
    """
    warnings.simplefilter("ignore")
    end = time.monotonic() + budget
    batch = cache(lambda name, dtype: workloads[name].batch(DTYPES[dtype], device.where))
    measured: dict[str, Any] = {
        "machine": describe(device),
        "copy_speed": copy_speed(device),
        "results": [],
    }
    for job in track(selected, "measuring"):
        if time.monotonic() > end:
            figures = missing(job, f"the budget of {budget:g} s was spent")
        else:
            logits, target = batch(job.workload, job.dtype)
            figures = run(job, workloads[job.workload].classes, logits, target, device, seconds)
        measured["results"].append(job._asdict() | figures)
        results.write_text(json.dumps(measured))
    return measured


def run(
    job: Job,
    classes: int,
    logits: torch.Tensor,
    target: torch.Tensor,
    device: Device,
    seconds: float,
) -> dict[str, Any]:
    """Runs a job as in a fresh process: nothing is compiled, and the backend is the default."""
    torch.compiler.reset()
    try:
        with segloss.use_backend(current_backend()):
            loss = CONTENDERS[job.contender](classes)
            measurement = Measurement(job.contender, loss, classes, logits, target, device, seconds)
            figures = measure(measurement, job.parts)
    except Exception as error:  # keep the other contenders
        figures = missing(job, reason(error))
    gc.collect()
    gc.freeze()  # otherwise each collection scans modules and the like for 0.3 s
    sizes = [tensor.numel() * tensor.element_size() for tensor in (logits, target)]
    batch = {"shape": logits.shape, "logits_bytes": sizes[0], "target_bytes": sizes[1]}
    return batch | figures


def missing(job: Job, why: str) -> dict[str, Any]:
    """Returns the result of a job without figures."""
    return {"missing": dict.fromkeys(job.parts, why)}


def describe(device: Device) -> dict[str, Any]:
    """Returns the device, the versions, and the kernels for the device."""
    versions = {
        "segloss": segloss.__version__,
        "PyTorch": torch.__version__,
        "Triton": installed("triton"),
        "Python": platform.python_version(),
    }
    backends = segloss.backends()
    kind = f"{device.where.type} float32"
    return {
        "device": device.describe(),
        "versions": versions | library_versions(),
        "kernel": next((backend.name for backend in backends if kind in backend.serves), "none"),
        "backends": [str(backend) for backend in backends],
    }
