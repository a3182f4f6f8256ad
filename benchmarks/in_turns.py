"""Two contenders in turns, so that a noisy machine is as noisy for both: prints their ratio.

    python benchmarks/in_turns.py "MultiLoss of three" segloss      # one pass for three losses
    python benchmarks/in_turns.py "segloss compiled" segloss
    python benchmarks/in_turns.py segloss segloss --other ../old    # against another checkout

Every figure comes from a process of its own. A ratio is of the first to the second: of the least
times of all rounds, and the median over rounds of the ratios of a round.
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
    second: Annotated[str, typer.Argument(help="What it is compared with.")] = "segloss",
    other: Annotated[
        Path | None, typer.Option(help="The second is of this checkout, where it is built.")
    ] = None,
    rounds: Annotated[int, typer.Option(help="Processes of each.")] = 5,
    seconds: Annotated[float, typer.Option(help="Seconds of timing in a process.")] = 1.5,
    workloads: Annotated[str, typer.Option(help="Names, separated by commas.")] = "all",
) -> None:
    """Times two contenders in turns."""
    chosen = chosen_names("workloads", workloads, list(WORKLOADS))
    for name in (first, second):
        chosen_names("contenders", name, list(CONTENDERS))
    table = Table(box=box.SIMPLE_HEAD)
    for column in ("workload", first, second, "ratio of least", "median of ratios"):
        table.add_column(column, justify="right")
    for workload in chosen:
        times: dict[int, list[list[float]]] = {0: [], 1: []}
        for _ in track(range(rounds), workload):
            for place, contender in enumerate((first, second)):
                times[place].append(timed(workload, contender, seconds, other if place else None))
        least = [min(map(min, times[place])) for place in (0, 1)]
        ratios = [
            statistics.median(one) / statistics.median(two)
            for one, two in zip(times[0], times[1], strict=True)
        ]
        milliseconds = [f"{1000 * each:.4g} ms" for each in least]
        ratio, median = least[0] / least[1], statistics.median(ratios)
        table.add_row(workload, *milliseconds, f"{ratio:.3f}", f"{median:.3f}")
    Console().print(table)


def timed(workload: str, contender: str, seconds: float, checkout: Path | None) -> list[float]:
    """The seconds of each step in a process, which may import another checkout's package."""
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
