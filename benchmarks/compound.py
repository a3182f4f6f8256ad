"""Measures SegLoss, PyTorch's pixel loss, a textbook version, and losses of other libraries.

    pip install -e ".[bench]" && python benchmarks/compound.py

On a CPU, every figure comes from a separate process, and the contenders take turns in rounds.
`--device cuda` measures a GPU instead, in one process and within a time budget. Libraries that are
not installed are left out. Prints a table for each workload; `--write` puts the tables and a plot
into the documentation.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import torch
import typer
from harness import compound_cuda
from harness.contenders import CONTENDERS, WORKLOADS, Workload
from harness.devices import Cuda, Device, StandIn
from harness.report import LINE_COLOURS, plot_scaling, print_tables, renew, write_documents
from harness.report_cuda import cuda_report
from rich.progress import track

HERE = Path(__file__).parent
PIXELS = {4**k: Workload((1, 1, 2**k, 2**k), 2) for k in range(6, 13)}
CLASSES = {2: Workload((1, 2, 128, 128), 2)} | {
    2**k: Workload((1, 2**k, 128, 128), 2**k) for k in range(2, 10)
}


class Job(NamedTuple):
    """One figure to measure, for a contender on a workload, which is named in the results."""

    workload: str
    shape: tuple[int, ...]
    classes: int
    contender: str
    what: str
    seconds: float = 0.0


class Where(str, Enum):
    """The device to measure."""

    CPU = "cpu"
    CUDA = "cuda"


def main(
    device: Annotated[Where, typer.Option(help="The device to measure.")] = Where.CPU,
    rounds: Annotated[int, typer.Option(help="CPU: timing processes per contender.")] = 3,
    seconds: Annotated[
        float | None,
        typer.Option(help="Seconds of timing: 1.5 in each process, 0.3 on a GPU."),
    ] = None,
    budget: Annotated[
        float, typer.Option(help="GPU: seconds after which no new measurement starts.")
    ] = 200.0,
    workloads: Annotated[str, typer.Option(help="Names, separated by commas.")] = "all",
    contenders: Annotated[str, typer.Option(help="Names, separated by commas.")] = "all",
    scaling: Annotated[bool, typer.Option(help="CPU: also time by pixels and by classes.")] = True,
    dry_run: Annotated[
        bool,
        typer.Option(
            help="GPU: use the CPU instead, with tiny batches; the figures are meaningless."
        ),
    ] = False,
    results: Annotated[
        Path | None,
        typer.Option(help="The file for the raw results: compound.json, or compound_cuda.json."),
    ] = None,
    write: Annotated[bool, typer.Option(help="Update the tables and the plot in docs.")] = False,
) -> None:
    """Measures time, memory and accuracy, and prints them side by side."""
    chosen = chosen_names("workloads", workloads, list(WORKLOADS))
    compared = chosen_names("contenders", contenders, list(CONTENDERS))
    if dry_run and (device is Where.CPU or write):
        raise typer.BadParameter("--dry-run needs --device cuda, and does not work with --write.")
    if device is Where.CPU:
        raw = results or Path("compound.json")
        on_cpu(chosen, compared, rounds, seconds or 1.5, scaling, raw, write)
    else:
        raw = results or Path("compound_cuda.json")
        on_gpu(chosen, compared, seconds or 0.3, budget, dry_run, raw, write)


def on_cpu(
    workloads: list[str],
    contenders: list[str],
    rounds: int,
    seconds: float,
    scaling: bool,
    results: Path,
    write: bool,
) -> None:
    """Measures each figure in a separate process."""
    jobs = [*workload_jobs(workloads, contenders, rounds, seconds)]
    if scaling:
        jobs += scaling_jobs([name for name in contenders if name in LINE_COLOURS], seconds / 5)
    measured = []
    for job in track(jobs, "measuring"):
        measured.append(job._asdict() | run(job))
        results.write_text(json.dumps(measured))  # after each job: a run takes half an hour
    print_tables(measured)
    if write:
        plot_scaling(measured)
        write_documents(measured)


def on_gpu(
    workloads: list[str],
    contenders: list[str],
    seconds: float,
    budget: float,
    dry_run: bool,
    results: Path,
    write: bool,
) -> None:
    """Measures in this process, until the budget is spent."""
    if not dry_run and not torch.cuda.is_available():
        raise typer.BadParameter("PyTorch has no GPU here; --dry-run needs none.")
    device: Device = StandIn() if dry_run else Cuda()
    measured = compound_cuda.measure_all(
        [*compound_cuda.jobs(workloads, contenders)],
        compound_cuda.TINY if dry_run else WORKLOADS,
        device,
        seconds,
        budget,
        results,
    )
    report = cuda_report(measured)
    print(report)
    if write:
        renew("cuda", report)


def chosen_names(option: str, text: str, known: list[str]) -> list[str]:
    """Returns the names in a list with commas; "all" stands for all."""
    names = known if text == "all" else [name.strip() for name in text.split(",")]
    if unknown := [name for name in names if name not in known]:
        raise typer.BadParameter(f"{option} has {unknown}, expected some of {known}.")
    return names


def workload_jobs(
    workloads: list[str], contenders: list[str], rounds: int, seconds: float
) -> Iterator[Job]:
    """Yields jobs: memory and error once, and time in rounds in which the contenders take turns."""
    for workload in workloads:
        for what in ("memory", "error", *["time"] * rounds):
            for contender in contenders:
                if what == "time" or contender != "floor":
                    yield Job(workload, *WORKLOADS[workload], contender, what, seconds)


def scaling_jobs(contenders: list[str], seconds: float) -> Iterator[Job]:
    """Yields jobs for the times of the plotted contenders, by pixels and by classes."""
    for axis, sizes in {"pixels": PIXELS, "classes": CLASSES}.items():
        for size, workload in sizes.items():
            for contender in contenders:
                yield Job(f"{axis}={size}", *workload, contender, "time", seconds)


def run(job: Job) -> dict[str, Any]:
    """Runs a job in a separate process."""
    command = [sys.executable, "-m", "harness.measure", json.dumps(job._asdict())]
    done = subprocess.run(command, capture_output=True, text=True, cwd=HERE)  # noqa: S603
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return {"missing": f"exit code {done.returncode}: {reason}"}
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


if __name__ == "__main__":
    typer.run(main)
