"""The table of a study: means over seeds, and differences to the first loss, paired by seed."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean
from typing import Any

from rich import box
from rich.table import Table

SCORES = {
    "foreground Dice": lambda scores: mean(scores["dice"][1:]),
    "F1 of objects": lambda scores: scores["objects_f1"],
    "objects found": lambda scores: scores["objects_found"],
    "small objects found": lambda scores: scores["small_objects_found"],
}
"""The columns, each a function of the scores of a part."""


def table_of(runs: Sequence[dict[str, Any]], names: Sequence[str], part: str) -> Table:
    """Returns a row for each loss: means of its scores, and paired differences to the first loss.

    Args:
        runs: The runs, with the same seeds for each loss.
        names: The names of the losses.
        part: "validation" or "test".
    """
    table = Table("loss", *SCORES, title=f"{part}: mean (difference to {names[0]} for each seed)")
    table.box = box.SIMPLE_HEAD
    for name in names:
        table.add_row(name, *(_cell(runs, names[0], name, part, score) for score in SCORES))
    return table


def _cell(runs: Sequence[dict[str, Any]], base: str, name: str, part: str, score: str) -> str:
    own, of_base = (values_of(runs, each, part, score) for each in (name, base))
    if name == base:
        return f"{mean(own):.4f}"
    differences = " ".join(f"{a - b:+.4f}" for a, b in zip(own, of_base, strict=True))
    return f"{mean(own):.4f} ({differences})"


def values_of(runs: Sequence[dict[str, Any]], name: str, part: str, score: str) -> list[float]:
    """Returns a score of a loss for each seed, in the order of the seeds."""
    chosen = sorted((run for run in runs if run["loss"] == name), key=lambda run: run["seed"])
    return [SCORES[score](run["scores"][part]) for run in chosen]
