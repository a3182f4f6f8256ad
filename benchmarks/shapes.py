"""Measures clDice against MONAI's, in time and memory, over the iterations of the skeleton.

    pip install -e ".[bench]" && python benchmarks/shapes.py

Times are the fastest of a few forward and backward passes, on one thread of a CPU. The peak of
memory is that of tensors, beyond the inputs. With `--device cuda` it measures a GPU.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table
from torch import Tensor

from segloss import SoftClDiceLoss

SHAPES = {"2D": (1, 1, 384, 384), "3D": (1, 1, 48, 48, 48)}
ITERATIONS = (3, 10, 50)
LIBRARIES = ("segloss", "MONAI")
MIB = 2**20


def loss_of(library: str, iterations: int) -> Callable[[Tensor, Tensor], Tensor]:
    """Returns the clDice loss of a library, for logits of one mask."""
    if library == "segloss":
        return SoftClDiceLoss("binary", iterations)
    import monai.losses

    return monai.losses.SoftclDiceLoss(iterations, sigmoid=True)


def measure(library: str, shape: str, iterations: int, device: str, rounds: int) -> list[float]:
    """Returns the seconds of a forward and a backward pass, and their peak of memory in MiB."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    logits = torch.randn(SHAPES[shape], device=device, requires_grad=True)
    mask = (torch.rand(SHAPES[shape], device=device) > 0.7).float()
    loss = loss_of(library, iterations)
    with PeakMemory(device) as memory:
        loss(logits, mask).backward()
    times = []
    for _ in range(rounds):
        began = now(device)
        value = loss(logits, mask)
        middle = now(device)
        value.backward()
        times.append((middle - began, now(device) - middle))
    return [*map(min, zip(*times, strict=True)), memory.mib]


class PeakMemory:
    """The largest memory of tensors in a block, beyond the memory in use before it.

    On a CPU it adds up the allocations and frees that PyTorch's profiler records.
    """

    def __init__(self, device: str) -> None:
        self.device, self.mib = device, 0.0

    def __enter__(self) -> PeakMemory:
        if self.device == "cpu":
            self.profile = torch.profiler.profile(
                activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
            )
            self.profile.__enter__()
        else:
            torch.cuda.reset_peak_memory_stats()
            self.before = torch.cuda.memory_allocated()
        return self

    def __exit__(self, *error: Any) -> None:
        if self.device == "cpu":
            self.profile.__exit__(*error)
            self.mib = _peak(self.profile) / MIB
        else:
            self.mib = (torch.cuda.max_memory_allocated() - self.before) / MIB


def _peak(profile: torch.profiler.profile) -> int:
    """Returns the peak of allocated bytes in a profile."""
    held = peak = 0
    results = profile.profiler.kineto_results.events()
    for event in sorted(results, key=lambda event: event.start_ns()):
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    return peak


def now(device: str) -> float:
    """Returns the time when the device has finished its work."""
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def main(
    device: Annotated[str, typer.Option(help='"cpu" or "cuda"')] = "cpu",
    rounds: Annotated[int, typer.Option(help="number of passes; the fastest counts")] = 2,
) -> None:
    """Prints a row for each shape and number of iterations."""
    table = Table(
        "shape", "iterations", *(f"{name}: forward, backward, peak" for name in LIBRARIES)
    )
    for shape in SHAPES:
        for iterations in ITERATIONS:
            cells = []
            for library in LIBRARIES:
                forward, backward, peak = measure(library, shape, iterations, device, rounds)
                cells.append(f"{1e3 * forward:.0f} ms, {1e3 * backward:.0f} ms, {peak:.1f} MiB")
            table.add_row(shape, str(iterations), *cells)
    Console(width=110).print(table)


if __name__ == "__main__":
    typer.run(main)
