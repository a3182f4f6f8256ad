"""The texts of a suggestion: the commented YAML, and the table of settings with reasons."""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import yaml

from segloss.foundation.printable import printable
from segloss.tools.suggest.advice import Advice, Note
from segloss.tools.suggest.classes import Classes, class_text
from segloss.tools.suggest.rules import TERM_PREFIX
from segloss.tools.suggest.settings import SCHEDULE
from segloss.tools.suggest.statistics import ClassStatistics, DatasetStatistics

WIDTH = 100

_SHOWN = 40
"""The largest number of classes listed; of more, the rarest are listed."""


def as_yaml(
    advice: Sequence[Advice], classes: Classes, statistics: DatasetStatistics, notes: Sequence[Note]
) -> str:
    """Returns the config as YAML, with a comment above each setting."""
    lines = ["# A loss for this dataset, from `segloss suggest`. You can change every number."]
    lines += [line for guess in _guesses(classes) for line in _comments(guess, "")]
    lines += _comments(_summary(classes, statistics), "")
    lines += [line for n in notes for line in _comments(f"{n.what}: {n.found}", "")]
    lines += ["", "loss_params:", "  compound_loss:"]
    by_key = {setting.key: setting for setting in advice}
    lines += _setting(by_key["normalize_losses"], "    ")
    lines.append("    normalization_params:")
    lines += _setting(by_key["max_samples"], "      ")
    lines += ["    loss_list:", "      - _target_: segloss.SegLoss", "        name: seg"]
    terms = {
        key.removeprefix(TERM_PREFIX): each
        for key, each in by_key.items()
        if key.startswith(TERM_PREFIX)
    }
    for key, setting in by_key.items():
        lines += (
            [] if key in SCHEDULE or key.startswith(TERM_PREFIX) else _setting(setting, "        ")
        )
    lines.append("        terms:")
    for name, setting in terms.items():
        lines += _setting(replace(setting, key=name), "          ")
    lines += _setting(by_key["weight"], "        ")
    return "\n".join(lines) + "\n"


def _setting(advice: Advice, indent: str) -> Iterator[str]:
    yield from _comments(_reason(advice), indent)
    if advice.value is None:
        yield f"{indent}# {advice.key}: null"
    else:
        yield f"{indent}{advice.key}: {_value(advice.value)}"


def _reason(advice: Advice) -> str:
    return f"{advice.why} ({advice.source})" if advice.source else advice.why


def _comments(text: str, indent: str) -> list[str]:
    start = f"{indent}# "
    return textwrap.wrap(printable(text), WIDTH, initial_indent=start, subsequent_indent=start)


def _value(value: Any) -> str:
    """Returns a value as YAML in one line."""
    dumped = yaml.safe_dump(value, default_flow_style=True, width=math.inf, allow_unicode=True)
    return dumped.removesuffix("...\n").rstrip("\n")


def as_text(
    advice: Sequence[Advice], classes: Classes, statistics: DatasetStatistics, notes: Sequence[Note]
) -> str:
    """Returns the tables, as plain text."""
    from rich.console import Console

    text = io.StringIO()
    console = Console(file=text, width=WIDTH)
    console.print(*tables(advice, classes, statistics, notes))
    return text.getvalue().rstrip()


def tables(
    advice: Sequence[Advice], classes: Classes, statistics: DatasetStatistics, notes: Sequence[Note]
) -> list[Any]:
    """Returns a table of the classes and one of the settings, for a console of rich."""
    from rich.text import Text

    lines = [*_guesses(classes), _summary(classes, statistics)]
    return [
        Text("".join(f"{printable(line)}\n" for line in lines)),
        _class_table(classes, statistics),
        _advice_table(advice, notes),
    ]


def _guesses(classes: Classes) -> list[str]:
    return [f"Guess: {guess}." for guess in classes.guesses]


def _summary(classes: Classes, statistics: DatasetStatistics) -> str:
    dimensions = " and ".join(f"{d}D" for d in sorted(statistics.dimensions))
    shortest, longest = statistics.sides or (0, 0)
    sides = f"sides of {shortest}" if shortest == longest else f"sides of {shortest} to {longest}"
    count = f"{statistics.masks:,} mask{'s' if statistics.masks > 1 else ''}"
    return f"{count}, {dimensions}, {sides} pixels; {classes.reason}"


def _class_table(classes: Classes, statistics: DatasetStatistics) -> Any:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    heads = ("pixels", "where present", "in masks", "regions", "median size", "at an edge")
    table = Table(box=box.SIMPLE_HEAD, title="Counts in the masks", title_justify="left")
    names = [class_text(name) for name in classes.names]
    table.add_column("class", min_width=min(20, max(map(len, names))))
    for head in heads:
        table.add_column(head, justify="right")
    for name, counted in _listed(classes):
        table.add_row(Text(class_text(name)), *_cells(counted, statistics))
    return table


def _listed(classes: Classes) -> list[tuple[str, ClassStatistics]]:
    """Returns names and counts of the classes that occur, or of the rarest, in their order."""
    named = [
        (name, counted)
        for name, counted in zip(classes.names, classes.statistics, strict=True)
        if counted is not None
    ]
    rarest = sorted(named, key=lambda pair: pair[1].frequency)[:_SHOWN]
    return [pair for pair in named if pair in rarest]


def _cells(counted: ClassStatistics, statistics: DatasetStatistics) -> list[str]:
    pixels = statistics.valid_pixels
    return [
        f"{counted.pixels / pixels:.2%}",
        f"{counted.frequency:.2%}",
        f"{counted.masks / statistics.masks:.0%}",
        f"{counted.regions:,}",
        f"{counted.median_size:,}",
        f"{counted.edge_share:.0%}",
    ]


def _advice_table(advice: Sequence[Advice], notes: Sequence[Note]) -> Any:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(
        "setting",
        "value",
        "reason",
        box=box.SIMPLE_HEAD,
        title="Suggested settings",
        title_justify="left",
    )
    for setting in advice:
        value = "none" if setting.value is None else _value(setting.value)
        table.add_row(setting.key, Text(value), Text(printable(_reason(setting))))
    for note in notes:
        table.add_row(note.what, "note", Text(printable(note.found)))
    return table
