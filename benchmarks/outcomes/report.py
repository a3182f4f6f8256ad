"""The tables and the picture of a study: scores, and differences that are paired by seed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table

from outcomes.losses import PEERS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Run = dict[str, Any]

SCORES = {
    "mean Dice": lambda run, scores: mean(scores["dice"][1:]),
    "rarer half of the classes": lambda run, scores: mean(
        scores["dice"][each] for each in _rarer_half(run["shares"])
    ),
    "rarest class": lambda run, scores: scores["dice"][run["rarest"]],
    "F1 of objects": lambda run, scores: scores["objects_f1"],
    "small objects found": lambda run, scores: scores["small_objects_found"],
}
"""The columns, each a function of a run and of the scores of a part. The mean is that of all
classes but the first, the background."""


def _rarer_half(shares: Sequence[float]) -> Sequence[int]:
    """Returns the half of the classes, without the first one, that have the fewest pixels."""
    foreground = range(1, len(shares))
    return sorted(foreground, key=lambda each: shares[each])[: len(shares) // 2]


def values_of(runs: Sequence[Run], name: str, part: str, score: str) -> list[float]:
    """Returns a score of a loss for each seed, in the order of the seeds."""
    chosen = sorted((run for run in runs if run["loss"] == name), key=lambda run: run["seed"])
    return [SCORES[score](run, run["scores"][part]) for run in chosen]


def best_peer(runs: Sequence[Run], names: Sequence[str], part: str, score: str) -> str:
    """Returns the peer with the best mean of a score, or the first loss if there is no peer."""
    peers = [name for name in names if name in PEERS] or [*names[:1]]
    return max(peers, key=lambda name: mean(values_of(runs, name, part, score)))


def differences(
    runs: Sequence[Run], name: str, base: str, part: str, score: str = "mean Dice"
) -> list[float]:
    """Returns a loss's score minus that of another for each seed."""
    pairs = (values_of(runs, each, part, score) for each in (name, base))
    return [a - b for a, b in zip(*pairs, strict=True)]


def rows_of(runs: Sequence[Run], names: Sequence[str], part: str) -> dict[str, list[list[str]]]:
    """Returns a table for each data set: a row for each loss, with its name and its scores.

    A score is the mean over the seeds, with the mean and the standard deviation of its differences
    to the best peer, seed by seed.

    Args:
        runs: The runs, with the same seeds for each loss and data set.
        names: The names of the losses.
        part: "validation" or "test".
    """
    datasets = dict.fromkeys(run["data"] for run in runs)
    return {data: _rows([r for r in runs if r["data"] == data], names, part) for data in datasets}


def _rows(runs: Sequence[Run], names: Sequence[str], part: str) -> list[list[str]]:
    bases = {score: best_peer(runs, names, part, score) for score in SCORES}
    return [
        [name, *(_cell(runs, name, bases[score], part, score) for score in SCORES)]
        for name in names
    ]


def _cell(runs: Sequence[Run], name: str, base: str, part: str, score: str) -> str:
    value = mean(values_of(runs, name, part, score))
    if name == base:
        return f"{value:.4f}"
    differing = differences(runs, name, base, part, score)
    spread = f" ± {stdev(differing):.4f}" if len(differing) > 1 else ""
    return f"{value:.4f} ({mean(differing):+.4f}{spread})"


def tables(rows: dict[str, list[list[str]]], part: str) -> list[Table]:
    """Returns tables for a terminal."""
    made = []
    for data, lines in rows.items():
        title = f"{data}, {part}: mean of the seeds (difference to the best peer ± its spread)"
        table = Table("loss", *SCORES, title=title, box=box.SIMPLE_HEAD)
        for line in lines:
            table.add_row(*line)
        made.append(table)
    return made


def markdown(rows: dict[str, list[list[str]]]) -> str:
    """Returns a table for each score, for a page: rows are data sets, columns losses."""
    pages = []
    for number, score in enumerate(SCORES, start=1):
        head = ["data", *(line[0] for line in next(iter(rows.values())))]
        cells = [[data, *(line[number] for line in lines)] for data, lines in rows.items()]
        table = [head, ["---"] * len(head), *cells]
        pages.append(f"**{score}**\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in table))
    return "\n\n".join(pages)


def draw(runs: Sequence[Run], names: Sequence[str], part: str, path: Path) -> None:
    """Draws the differences to the best peer in mean Dice: a panel for each data set.

    A dot is a seed, and a bar the mean of the seeds.
    """
    from matplotlib.figure import Figure

    datasets = [*dict.fromkeys(run["data"] for run in runs)]
    columns = min(len(datasets), 4)
    rows = -(-len(datasets) // columns)
    figure = Figure(
        (2 + 2.6 * columns, rows * (0.9 + 0.34 * len(names))), dpi=130, layout="constrained"
    )
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for axes in grid.flat[len(datasets) :]:
        axes.set_axis_off()
    for axes, data in zip(grid.flat, datasets, strict=False):
        _draw_differences(axes, [run for run in runs if run["data"] == data], names, part)
        axes.set_title(data)
    grid[0, 0].invert_yaxis()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def _draw_differences(axes: Axes, runs: Sequence[Run], names: Sequence[str], part: str) -> None:
    base = best_peer(runs, names, part, "mean Dice")
    for row, name in enumerate(names):
        points = differences(runs, name, base, part)
        colour = "tab:grey" if name in PEERS else "tab:blue"
        axes.barh(row, mean(points), color=colour, alpha=0.35)
        axes.plot(points, [row] * len(points), "o", color=colour, markersize=4)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_xlabel(f"Dice minus that of\n{base}")
    axes.set_yticks(range(len(names)), names)
    axes.locator_params(axis="x", nbins=4)
    axes.spines[["top", "right"]].set_visible(False)
