"""Curves of a training from a log: the components of its loss, and their weights."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter
from numpy.typing import NDArray

from segloss.foundation.arguments import check_text, nearest, shown
from segloss.tools.plots.style import WIDTH, legend_below, looks, plain

Column = NDArray[np.float64]

_PARTS = ("weight", "norm")
"""The suffixes of the numbers that `LogLossComponents` logs beside a loss's value."""

_MANY = 60
"""The number of points from which a moving average is drawn over the values."""


def plot_curves(log: str | Path, prefix: str = "loss", x: str = "step") -> Figure:
    r"""Draws the components of a loss, and their weights, from a CSV log.

    The log is that of Lightning's `CSVLogger` with `LogLossComponents` of
    `segloss.training.lightning`, or any CSV file with a header: the value of a component under
    "loss/<name>", its weight under
    "loss/<name>/weight". Empty cells are skipped. Where there are many values,
    they are pale, and their moving average over a thirtieth of them is drawn on top.

    Args:
        log: The path of the CSV file.
        prefix: What the components' columns begin with, before the slash.
        x: The column to draw over.

    Returns:
        A figure with the components, and the weights below if the log has them.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A column is missing, or holds something that is not a number.

    Example:
        >>> log = Path(__import__("tempfile").mkdtemp(), "metrics.csv")
        >>> _ = log.write_text("step,loss/seg,loss/ce\n0,1.0,\n1,0.5,2.0\n")
        >>> [line.get_label() for line in plot_curves(log).axes[0].lines]
        ['seg', 'ce']
    """
    columns = _read(Path(log))
    places = _column(columns, check_text("x", x), log)
    start = f"{check_text('prefix', prefix)}/"
    named = {name.removeprefix(start): name for name in columns if name.startswith(start)}
    values = {
        name: _numbers(columns[key], key, log) for name, key in named.items() if _part(name) is None
    }
    weights = {
        name.removesuffix("/weight"): _numbers(columns[key], key, log)
        for name, key in named.items()
        if _part(name) == "weight"
    }
    if not values:
        raise ValueError(
            f"{log} must have columns named {start}<loss>, as LogLossComponents writes them; the "
            f"columns that there are: {', '.join(columns)}. Set prefix=."
        )
    return _drawn(x, _numbers(places, x, log), values, weights)


def _drawn(
    x: str, places: Column, values: Mapping[str, Column], weights: Mapping[str, Column]
) -> Figure:
    heights = [3.6, 2.8] if weights else [3.6]
    figure = Figure(figsize=(WIDTH, sum(heights)), layout="constrained")
    panels = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)
    panels = panels[:, 0]
    styles = dict(zip([*values, *(w for w in weights if w not in values)], looks(), strict=False))
    for name, column in values.items():
        _draw_curve(panels[0], name, places, column, styles[name])
    present = np.concatenate([column[~np.isnan(column)] for column in values.values()])
    if present.size and (present > 0).all():
        panels[0].set_yscale("log")
        panels[0].yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panels[0].yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        panels[0].yaxis.set_minor_locator(NullLocator())
    plain(panels[0], "Losses", x, "loss")
    legend_below(panels[0])
    for name, column in weights.items():
        kept = ~np.isnan(column) & ~np.isnan(places)
        panels[1].plot(places[kept], column[kept], label=name, linewidth=2.2, **styles[name])
    if weights:
        plain(panels[1], "Weights", x, "weight")
        panels[1].set_ylim(bottom=0)
        panels[0].set_xlabel("")
    return figure


def _draw_curve(
    axes: Axes, name: str, places: Column, column: Column, look: Mapping[str, Any]
) -> None:
    """Draws the values, and on top of many of them their moving average."""
    kept = ~np.isnan(column) & ~np.isnan(places)
    x, y = places[kept], column[kept]
    if len(y) < _MANY:
        axes.plot(x, y, label=name, linewidth=2.0, **look)
        return
    axes.plot(x, y, linewidth=0.7, alpha=0.3, **look)
    axes.plot(x, moving_average(y), label=name, linewidth=2.0, **look)


def moving_average(values: Column) -> Column:
    """Returns the average over each value and those before it, a thirtieth of all."""
    window = len(values) // 30 + 1
    sums = np.concatenate([[0.0], values.cumsum()])
    last = np.arange(1, len(sums))
    first = np.maximum(last - window, 0)
    return np.asarray((sums[last] - sums[first]) / (last - first))


def _part(name: str) -> str | None:
    """Returns whether a column is of a weight or a norm, and no loss's."""
    end = name.rpartition("/")[2]
    return end if "/" in name and end in _PARTS else None


def _read(path: Path) -> dict[str, list[str]]:
    """Returns the columns of a CSV file, by name, as texts."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file, restval="")
        names, rows = list(reader.fieldnames or ()), list(reader)
    if not rows:
        raise ValueError(f"{path} must be a CSV file with a line of names and lines of numbers.")
    return {name: [row[name] or "" for row in rows] for name in names}


def _column(columns: Mapping[str, list[str]], name: str, log: str | Path) -> list[str]:
    if name not in columns:
        raise ValueError(
            f"{log} has no column {name!r}{nearest(name, columns)}; the columns that there are: "
            f"{', '.join(columns)}."
        )
    return columns[name]


def _numbers(texts: list[str], name: str, log: str | Path) -> Column:
    """Returns the column as numbers, NaN where a cell is empty."""
    try:
        return np.array([float(text) if text.strip() else np.nan for text in texts])
    except ValueError:
        wrong = next(text for text in texts if text.strip() and not _is_number(text))
        raise ValueError(
            f"{log}: the column {name!r} must hold numbers, got {shown(wrong)}."
        ) from None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
