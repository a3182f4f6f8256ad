"""Measures Dice over connected components against plain Dice, and against a loop over components.

    pip install -e ".[bench,maps]" && python benchmarks/components.py

The loop is blob loss as its paper publishes it: for each component, the Dice loss of the image
without the pixels of the other components. The same part of the image, 5 percent, is split into 1,
10 and 100 discs or balls. The losses take turns in one process, on one thread, in float32.

Prints the processor time of forward and backward in multiples of plain Dice, for the fastest steps
(the loop has one), and the peak memory beyond the inputs, with the gradient, in multiples of the
logits.
"""

from __future__ import annotations

import math
import time
from typing import Annotated

import torch
import typer
from harness.measure import LossFunction, memory, step, trimmed_memory
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

from segloss import CompoundLoss
from segloss.terms import CrossEntropy, Dice

SHAPES = {"2D (4, 1, 512, 512)": (4, 1, 512, 512), "3D (2, 1, 96, 96, 96)": (2, 1, 96, 96, 96)}
COUNTS = (1, 10, 100)
SHARE = 0.05
"""The share of the image that the components cover, if none overlap."""

PLAIN = "plain Dice"
PLAIN_WITH_CE = "plain Dice + CE"
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
        PLAIN_WITH_CE: of(Dice() + CrossEntropy()),
        "components + CE": of(Dice(region_groups="components") + CrossEntropy()),
        LOOP: lambda logits, target: blob_loss(logits, ids),
    }


def measure(loss: LossFunction, logits: Tensor, target: Tensor) -> tuple[float, int]:
    """Returns the seconds and the peak bytes of one step."""
    logits.grad = None
    before = trimmed_memory()
    seconds = timed(loss, logits, target)
    return seconds, memory("VmHWM") - before


def timed(loss: LossFunction, logits: Tensor, target: Tensor) -> float:
    """Returns the processor seconds of one step."""
    start = time.process_time()
    step(loss, logits, target)
    return time.process_time() - start


def row(shape: tuple[int, ...], count: int, seconds: float) -> list[str]:
    """Returns a row of the table: the figures for a number of components."""
    ids = components(shape, count)
    logits, target = torch.randn(shape).requires_grad_(), (ids > 0).float()
    contenders = losses(ids)
    check(contenders, logits, target)
    measured = {name: measure(loss, logits, target) for name, loss in contenders.items()}
    fastest = {name: first for name, (first, _) in measured.items()}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for name, loss in contenders.items():
            if name != LOOP:
                fastest[name] = min(fastest[name], timed(loss, logits, target))
    peaks = [measured[name][1] / logits.nbytes for name in (PLAIN, "components", LOOP)]
    return [
        str(count),
        f"{1000 * fastest[PLAIN]:.2f}",
        f"{fastest['components'] / fastest[PLAIN]:.2f}",
        f"{fastest['components + CE'] / fastest[PLAIN_WITH_CE]:.2f}",
        f"{fastest[LOOP] / fastest[PLAIN]:.0f}",
        *(f"{peak:.2f}" for peak in peaks),
    ]


def main(
    seconds: Annotated[float, typer.Option(help="Seconds of turns for each row.")] = 2,
) -> None:
    """Prints a table for each shape."""
    torch.set_num_threads(1)
    for title, shape in SHAPES.items():
        times = ("plain ms", "ratio", "with CE", "loop")
        peaks = ("peak", "ratio", "loop")
        table = Table("discs", *times, *peaks, title=title)
        for count in track(COUNTS, description=title):
            table.add_row(*row(shape, count, seconds))
        Console().print(table)


def check(contenders: dict[str, LossFunction], logits: Tensor, target: Tensor) -> None:
    """Raises AssertionError if the loop and the one pass differ."""
    with torch.no_grad():
        values = [contenders[name](logits, target) for name in ("components", LOOP)]
    torch.testing.assert_close(values[0], values[1], rtol=1e-4, atol=1e-5)


if __name__ == "__main__":
    typer.run(main)
