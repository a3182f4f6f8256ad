"""The style of all pictures: plain axes, and colours that colour-blind readers can tell apart."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from matplotlib.axes import Axes

from segloss.foundation.printable import printable

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""The colours of Okabe and Ito (2008), without yellow, which is faint on white."""

LINES = ("-", "--", "-.", ":")

WIDTH = 6.67
"""The width of a figure in inches: text of 9 points stays legible on a phone."""

DPI = 150

_WIDEST_IN_LEGEND = 6.0

_LONGEST_LABEL = 40
"""Characters of a name in a picture."""


def plot_label(name: object) -> str:
    """Returns the name of a loss, class or file for a picture, in one line, cut if it is long.

    Dollars would begin a formula, and an underscore in front would hide a label from the legend.
    """
    label = printable(name, _LONGEST_LABEL).replace("$", r"\$")
    return f" {label}" if label.startswith("_") else label


def line_styles() -> Iterator[dict[str, Any]]:
    """Yields the colours with solid lines, then again with each kind of dashes."""
    for line in itertools.cycle(LINES):
        for colour in COLOURS:
            yield {"color": colour, "linestyle": line}


def plain(axes: Axes, title: str, x: str, y: str | None = None) -> None:
    """Gives axes a title, labels and a faint grid, without a frame at the top and right."""
    axes.set_title(title, fontsize=11, fontweight="bold", loc="left")
    axes.set_xlabel(x, fontsize=10)
    if y is not None:
        axes.set_ylabel(y, fontsize=10)
    axes.tick_params(labelsize=9)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def legend_below(axes: Axes, columns: int = 3) -> None:
    """Puts the legend of axes below the whole figure, where it covers nothing."""
    handles, labels = axes.get_legend_handles_labels()
    longest = max(map(len, labels), default=0)
    legend = axes.figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=max(1, min(columns, len(labels), 75 // (longest + 6))),
        frameon=False,
        fontsize=9,
    )
    for line in legend.get_lines():  # wide ones would cover the text
        line.set_linewidth(min(line.get_linewidth(), _WIDEST_IN_LEGEND))
