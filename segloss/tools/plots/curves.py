"""Curves of a training run from its log: the components of the loss, and their weights."""

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
from segloss.tools.plots.style import WIDTH, legend_below, line_styles, plain, plot_label

Column = NDArray[np.float64]

_PARTS = ("weight", "norm")
"""The suffixes of the numbers that `LogLossComponents` logs beside the value of a loss."""

_SMOOTHED_FROM = 60
"""The minimum number of points for which a moving average is drawn over the values."""


def plot_curves(log: str | Path, prefix: str = "loss", x: str = "step") -> Figure:
    r"""Draws the components of a loss, and their weights, from a CSV log.

    The log comes from Lightning's `CSVLogger` with `LogLossComponents` of
    `segloss.training.lightning`, or is any CSV file with a header: the value of a component is
    under "loss/<name>", its weight under "loss/<name>/weight". Empty cells are skipped. With 60
    values or more, they are pale, and their moving average over a thirtieth of them is drawn on
    top.

    Args:
        log: The path of the CSV file.
        prefix: The beginning of the names of the components' columns, before the slash.
        x: The column for the horizontal axis.

    Returns:
        A figure with the components, and the weights below them if the log has weights.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: A column is missing, or holds something other than numbers.

    Example:
        >>> log = Path(__import__("tempfile").mkdtemp(), "metrics.csv")
        >>> _ = log.write_text("step,loss/seg,loss/ce\n0,1.0,\n1,0.5,2.0\n")
        >>> [line.get_label() for line in plot_curves(log).axes[0].lines]
        ['seg', 'ce']
    """
    columns = _read(Path(log))
    positions = _column(columns, check_text("x", x), log)
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
            f"{log} must have columns named {start}<loss>, as LogLossComponents writes them; its "
            f"columns are: {', '.join(columns)}. Set prefix=."
        )
    return _draw(x, _numbers(positions, x, log), values, weights)


def _draw(
    x: str, positions: Column, values: Mapping[str, Column], weights: Mapping[str, Column]
) -> Figure:
    heights = [3.6, 2.8] if weights else [3.6]
    figure = Figure(figsize=(WIDTH, sum(heights)), layout="constrained")
    panels = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)
    panels = panels[:, 0]
    styles = dict(
        zip([*values, *(w for w in weights if w not in values)], line_styles(), strict=False)
    )
    for name, column in values.items():
        _draw_curve(panels[0], name, positions, column, styles[name])
    present = np.concatenate([column[~np.isnan(column)] for column in values.values()])
    if present.size and (present > 0).all():
        panels[0].set_yscale("log")
        panels[0].yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panels[0].yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        panels[0].yaxis.set_minor_locator(NullLocator())
    plain(panels[0], "Losses", plot_label(x), "loss")
    legend_below(panels[0])
    for name, column in weights.items():
        kept = ~np.isnan(column) & ~np.isnan(positions)
        style = {"label": plot_label(name), "linewidth": 2.2, **styles[name]}
        panels[1].plot(positions[kept], column[kept], **style)
    if weights:
        plain(panels[1], "Weights", plot_label(x), "weight")
        panels[1].set_ylim(bottom=0)
        panels[0].set_xlabel("")
    return figure


def _draw_curve(
    axes: Axes, name: str, positions: Column, column: Column, style: Mapping[str, Any]
) -> None:
    """Draws the values, and their moving average on top if there are many."""
    kept = ~np.isnan(column) & ~np.isnan(positions)
    x, y = positions[kept], column[kept]
    if len(y) < _SMOOTHED_FROM:
        axes.plot(x, y, label=plot_label(name), linewidth=2.0, **style)
        return
    axes.plot(x, y, linewidth=0.7, alpha=0.3, **style)
    axes.plot(x, moving_average(y), label=plot_label(name), linewidth=2.0, **style)


def moving_average(values: Column) -> Column:
    """Returns the moving average over the last values, a thirtieth of all."""
    window = len(values) // 30 + 1
    sums = np.concatenate([[0.0], values.cumsum()])
    last = np.arange(1, len(sums))
    first = np.maximum(last - window, 0)
    return np.asarray((sums[last] - sums[first]) / (last - first))


def _part(name: str) -> str | None:
    """Returns "weight" or "norm" if a column holds one; None if it holds a loss."""
    end = name.rpartition("/")[2]
    return end if "/" in name and end in _PARTS else None


def _read(path: Path) -> dict[str, list[str]]:
    """Returns the columns of a CSV file by name, as texts."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file, restval="")
        names, rows = list(reader.fieldnames or ()), list(reader)
    if not rows:
        raise ValueError(f"{path} must be a CSV file with a line of names and lines of numbers.")
    return {name: [row[name] or "" for row in rows] for name in names}


def _column(columns: Mapping[str, list[str]], name: str, log: str | Path) -> list[str]:
    if name not in columns:
        raise ValueError(
            f"{log} has no column {name!r}{nearest(name, columns)}; its columns are: "
            f"{', '.join(columns)}."
        )
    return columns[name]


def _numbers(texts: list[str], name: str, log: str | Path) -> Column:
    """Returns the column as numbers, with NaN for empty cells."""
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
