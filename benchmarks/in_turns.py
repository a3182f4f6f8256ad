"""Times two contenders in turns, so that the machine's noise affects both, and prints their ratio.

    python benchmarks/in_turns.py "MultiLoss of three" segloss      # one pass for three losses
    python benchmarks/in_turns.py "segloss compiled" segloss
    python benchmarks/in_turns.py segloss segloss --other ../old    # against another checkout

Every figure comes from a separate process. Ratios are first over second: one of the minimum times
of all rounds, and the median over rounds of each round's ratio.
"""

from __future__ import annotations

import os
import statistics
from pathlib import Path
from typing import Annotated

import typer
from compound import Job, chosen_names, run
from harness.contenders import CONTENDERS, WORKLOADS
from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table


def main(
    first: Annotated[str, typer.Argument(help=f"One of: {', '.join(CONTENDERS)}.")],
    second: Annotated[str, typer.Argument(help="The contender to compare with.")] = "segloss",
    other: Annotated[
        Path | None, typer.Option(help="Take the second from this checkout, which must be built.")
    ] = None,
    rounds: Annotated[int, typer.Option(help="Number of processes for each.")] = 5,
    seconds: Annotated[float, typer.Option(help="Seconds of timing in each process.")] = 1.5,
    workloads: Annotated[str, typer.Option(help="Names, separated by commas.")] = "all",
) -> None:
    """Times two contenders in turns."""
    chosen = chosen_names("workloads", workloads, list(WORKLOADS))
    for name in (first, second):
        chosen_names("contenders", name, list(CONTENDERS))
    table = Table(box=box.SIMPLE_HEAD)
    for column in ("workload", first, second, "ratio of minima", "median of ratios"):
        table.add_column(column, justify="right")
    for workload in chosen:
        times: dict[int, list[list[float]]] = {0: [], 1: []}
        for _ in track(range(rounds), workload):
            for i, contender in enumerate((first, second)):
                times[i].append(timed(workload, contender, seconds, other if i else None))
        minima = [min(map(min, times[i])) for i in (0, 1)]
        ratios = [
            statistics.median(one) / statistics.median(two)
            for one, two in zip(times[0], times[1], strict=True)
        ]
        milliseconds = [f"{1000 * minimum:.4g} ms" for minimum in minima]
        ratio, median = minima[0] / minima[1], statistics.median(ratios)
        table.add_row(workload, *milliseconds, f"{ratio:.3f}", f"{median:.3f}")
    Console().print(table)


def timed(workload: str, contender: str, seconds: float, checkout: Path | None) -> list[float]:
    """Returns the seconds of each step in a process, which may import another checkout."""
    before = os.environ.get("PYTHONPATH", "")
    if checkout is not None:
        os.environ["PYTHONPATH"] = str(checkout.resolve())
    try:
        job = Job(workload, *WORKLOADS[workload], contender, "time", seconds)
        result = run(job)
    finally:
        os.environ["PYTHONPATH"] = before
    if "times" not in result:
        raise typer.BadParameter(f"{contender} on {workload}: {result['missing']}")
    times: list[float] = result["times"]
    return times


if __name__ == "__main__":
    typer.run(main)
