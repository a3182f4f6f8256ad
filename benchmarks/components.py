"""Measures Dice over connected components against plain Dice, and against a loop over components.

    pip install -e ".[bench,maps]" && python benchmarks/components.py

The loop is blob loss as its paper publishes it: for each component, the Dice loss of the image
without the pixels of the other components. All losses take turns in one process, so that a busy
machine slows them equally. The same part of the image, 5 percent, is split into 1, 10 and 100
discs. Prints the time of forward and backward, its ratio to plain Dice, and the peak
of the memory beyond the inputs, with the gradient.
"""

from __future__ import annotations

import math
import time
from typing import Annotated

import torch
import typer
from harness.measure import THREADS, LossFunction, memory, step, trimmed_memory
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

from segloss import CompoundLoss
from segloss.terms import CrossEntropy, Dice

SHAPES = {"2D (8, 1, 512, 512)": (8, 1, 512, 512), "3D (2, 1, 96, 96, 96)": (2, 1, 96, 96, 96)}
COUNTS = (1, 10, 100)
SHARE = 0.05
"""The share of the image that the components cover, if none overlap."""

PLAIN = "plain Dice"
LOOP = "blob loss, loop"
KEY = "gt_components"


def components(shape: tuple[int, ...], count: int) -> Tensor:
    """Returns the ids (N, 1, *spatial) of discs or balls at random places, in int16."""
    generator = torch.Generator().manual_seed(count)
    spatial = shape[2:]
    ball = {2: math.pi, 3: 4 / 3 * math.pi}[len(spatial)]
    radius = (SHARE * math.prod(spatial) / count / ball) ** (1 / len(spatial))
    axes = [torch.arange(size, dtype=torch.float32) for size in spatial]
    ids = torch.zeros(shape, dtype=torch.int16)
    for sample in ids[:, 0]:
        for k in range(count):
            centre = torch.rand(len(spatial), generator=generator) * torch.tensor(spatial)
            squares = [(axis - at) ** 2 for axis, at in zip(axes, centre, strict=True)]
            distance = sum(torch.meshgrid(squares, indexing="ij"))
            sample[distance <= max(radius, 0.8) ** 2] = k + 1
    return ids


def blob_loss(logits: Tensor, ids: Tensor) -> Tensor:
    """Computes the mean over samples of the mean over components of Dice, in a loop."""
    losses = []
    for sample, of_sample in zip(logits[:, 0], ids[:, 0], strict=True):
        blobs = []
        for component in range(1, int(of_sample.max()) + 1):
            inside = of_sample == component
            if not inside.any():
                continue  # another one covers it
            p = torch.where((of_sample == 0) | inside, sample.sigmoid(), 0)
            hit = (p * inside).sum()
            blobs.append(1 - (2 * hit + 1) / (p.sum() + inside.sum() + 1))
        losses.append(torch.stack(blobs).mean())
    return torch.stack(losses).mean()


def losses(ids: Tensor) -> dict[str, LossFunction]:
    """Returns the contenders, functions of (logits, target)."""
    maps = {KEY: ids}

    def of(terms: object) -> LossFunction:
        loss = CompoundLoss(terms)
        return lambda logits, target: loss(logits, target, maps=maps)

    return {
        PLAIN: of(Dice()),
        "components": of(Dice(region_groups="components")),
        "plain Dice + CE": of(Dice() + CrossEntropy()),
        "components + CE": of(Dice(region_groups="components") + CrossEntropy()),
        LOOP: lambda logits, target: blob_loss(logits, ids),
    }


def times(
    contenders: dict[str, LossFunction], logits: Tensor, target: Tensor, rounds: int, seconds: float
) -> dict[str, list[float]]:
    """Returns the seconds of each step, by contender; they take turns."""
    timings: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(rounds):
        for name, loss in contenders.items():
            if name == LOOP and turn > 0:
                continue  # one turn of the loop takes long enough
            end = time.perf_counter() + seconds
            while not timings[name] or time.perf_counter() < end:
                start = time.perf_counter()
                step(loss, logits, target)
                timings[name].append(time.perf_counter() - start)
    return timings


def main(
    rounds: Annotated[int, typer.Option(help="Number of turns of each loss.")] = 8,
    seconds: Annotated[float, typer.Option(help="Seconds in each turn.")] = 0.1,
) -> None:
    """Prints a table for each shape."""
    torch.set_num_threads(THREADS)
    for title, shape in SHAPES.items():
        table = Table("components", "loss", "ms, minimum", "ratio", "peak, MB", title=title)
        for count in track(COUNTS, description=title):
            ids = components(shape, count)
            logits, target = torch.randn(shape).requires_grad_(), (ids > 0).float()
            contenders = losses(ids)
            check(contenders, logits, target)
            timings = times(contenders, logits, target, rounds, seconds)
            for name, steps in timings.items():
                base = PLAIN if "CE" not in name else "plain Dice + CE"
                peak = peak_bytes(contenders[name], logits, target) / 1e6
                table.add_row(
                    str(count),
                    name,
                    f"{1000 * min(steps):.2f}",
                    f"{min(steps) / min(timings[base]):.2f}",
                    f"{peak:.1f}",
                )
        Console().print(table)


def peak_bytes(loss: LossFunction, logits: Tensor, target: Tensor) -> int:
    """Returns the peak memory of forward and backward beyond the inputs, with the gradient."""
    logits.grad = None
    before = trimmed_memory()
    step(loss, logits, target)
    return memory("VmHWM") - before


def check(contenders: dict[str, LossFunction], logits: Tensor, target: Tensor) -> None:
    """Raises AssertionError if the loop and the one pass differ."""
    with torch.no_grad():
        values = [contenders[name](logits, target) for name in ("components", LOOP)]
    torch.testing.assert_close(values[0], values[1], rtol=1e-4, atol=1e-5)


if __name__ == "__main__":
    typer.run(main)
