"""Measures the time that each extra term adds to SegLoss, on a million pixels.

    pip install -e ".[bench]" && python benchmarks/terms.py

All losses take turns in one process, so that a busy machine slows them equally. Prints the ratio of
each loss with an extra term to the loss without it, by minimum and by median times.
"""

from __future__ import annotations

import statistics
import time
from typing import Annotated

import torch
import typer
from harness.contenders import Workload
from harness.measure import THREADS, LossFunction, step
from rich.console import Console
from rich.progress import track
from rich.table import Table

from segloss import SegLoss
from segloss.terms import TERMS

WORKLOADS = {
    "binary (4, 1, 512, 512)": Workload((4, 1, 512, 512), 2),
    "19 classes (4, 19, 512, 512)": Workload((4, 19, 512, 512), 19),
}
BASELINE = "no extra term"
BASE_TERMS = ("cross_entropy", "dice", "focal_tversky")
"""The terms of the loss without an extra term."""


def losses(workload: Workload) -> dict[str, LossFunction]:
    """Returns SegLoss with its three terms, and with each extra term."""
    logits, _ = workload.batch()
    maps = {
        "gt_distance_map": torch.randn(logits.shape),
        "gt_skeleton": torch.rand(logits.shape).gt(0.9).float(),
    }

    def with_terms(*names: str) -> LossFunction:
        loss = SegLoss(
            n_classes=workload.classes,
            from_logits=True,
            tversky_focal_coef=0.3,
            extra_terms=dict.fromkeys(names, 0.2),
        )
        return lambda x, y: loss({"seg": x}, {"gt_polygons_image": y, **maps})[0]

    extended = {name: with_terms(name) for name in TERMS if name not in BASE_TERMS}
    return {BASELINE: with_terms(), **extended}


def times(workload: Workload, rounds: int, seconds: float) -> dict[str, list[float]]:
    """Returns the seconds of each step, by loss; the losses take turns."""
    contenders, (logits, target) = losses(workload), workload.batch()
    timings: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in track(range(rounds), description="measuring"):
        for name, loss in contenders.items():
            step(loss, logits, target)
            end = time.perf_counter() + seconds
            while time.perf_counter() < end:
                start = time.perf_counter()
                step(loss, logits, target)
                timings[name].append(time.perf_counter() - start)
    return timings


def main(
    rounds: Annotated[int, typer.Option(help="Number of turns of each loss.")] = 8,
    seconds: Annotated[float, typer.Option(help="Seconds in each turn.")] = 0.3,
) -> None:
    """Prints a table for each workload."""
    torch.set_num_threads(THREADS)
    for title, workload in WORKLOADS.items():
        timings = times(workload, rounds, seconds)
        table = Table("with", "ms, minimum", "ratio of minima", "ratio of medians", title=title)
        for name, steps in timings.items():
            minimum, median = min(steps), statistics.median(steps)
            table.add_row(
                name,
                f"{1000 * minimum:.2f}",
                f"{minimum / min(timings[BASELINE]):.3f}",
                f"{median / statistics.median(timings[BASELINE]):.3f}",
            )
        Console().print(table)


if __name__ == "__main__":
    typer.run(main)
