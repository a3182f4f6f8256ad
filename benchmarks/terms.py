"""Measures what each further term adds to SegLoss's time on a million pixels.

    pip install -e ".[bench]" && python benchmarks/terms.py

All losses take turns in one process, so that a busy machine slows them alike. Prints the ratio of
each loss with one more term to the loss without it, by the least and the median times.
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
PLAIN = "no further term"
THREE = ("cross_entropy", "dice", "focal_tversky")
"""What the loss has already."""


def losses(workload: Workload) -> dict[str, LossFunction]:
    """SegLoss with its three terms, and with one more of each kind."""
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

    further = {name: with_terms(name) for name in TERMS if name not in THREE}
    return {PLAIN: with_terms(), **further}


def times(workload: Workload, rounds: int, seconds: float) -> dict[str, list[float]]:
    """Seconds of the steps of each loss, which take turns."""
    contenders, (logits, target) = losses(workload), workload.batch()
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in track(range(rounds), description="measuring"):
        for name, loss in contenders.items():
            step(loss, logits, target)
            end = time.perf_counter() + seconds
            while time.perf_counter() < end:
                start = time.perf_counter()
                step(loss, logits, target)
                taken[name].append(time.perf_counter() - start)
    return taken


def main(
    rounds: Annotated[int, typer.Option(help="How often the losses take turns.")] = 8,
    seconds: Annotated[float, typer.Option(help="Seconds of each turn.")] = 0.3,
) -> None:
    """Prints a table for each workload."""
    torch.set_num_threads(THREADS)
    for title, workload in WORKLOADS.items():
        taken = times(workload, rounds, seconds)
        table = Table("with", "ms, least", "ratio of least", "ratio of medians", title=title)
        for name, each in taken.items():
            least, median = min(each), statistics.median(each)
            table.add_row(
                name,
                f"{1000 * least:.2f}",
                f"{least / min(taken[PLAIN]):.3f}",
                f"{median / statistics.median(taken[PLAIN]):.3f}",
            )
        Console().print(table)


if __name__ == "__main__":
    typer.run(main)
