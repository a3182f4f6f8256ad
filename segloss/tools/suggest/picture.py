"""A page about a dataset: frequencies of its classes, sizes of their regions, and examples."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from segloss.tools.plots.style import plot_label
from segloss.tools.suggest.classes import Classes
from segloss.tools.suggest.statistics import ClassStatistics, DatasetStatistics, Thumbnail

EXAMPLES, COLUMNS = 6, 3
MOST_BARS = 24
"""The largest number of classes drawn; of more, the most frequent and the rarest are drawn."""

BACKGROUND, VOID_COLOUR = "#20242b", "#ffffff"

Named = Sequence[tuple[str, ClassStatistics, str]]
"""Name, counts and colour of each class to draw."""


def draw(classes: Classes, statistics: DatasetStatistics) -> Figure:
    """Returns the page."""
    palette = colours(classes)
    named = _drawn(classes, palette)
    examples = _examples([one for one in named if one[2] != BACKGROUND])
    columns = min(len(examples), COLUMNS)
    rows = -(-len(examples) // columns)
    height = 1.3 + 0.3 * len(named)
    figure = Figure(figsize=(11, height + 3.4 * rows + 0.6), layout="constrained")
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=[height + 0.3, 3.4 * rows])[
        :, 0
    ]
    frequency, presence, size = above.subplots(1, 3, sharey=True, width_ratios=[5, 3, 5])
    _draw_frequencies(frequency, named, statistics)
    _draw_presence(presence, named, statistics)
    _draw_sizes(size, named)
    figure.suptitle(_title(statistics, classes), fontsize=12, fontweight="bold")
    _draw_examples(below.subplots(rows, columns, squeeze=False).ravel(), examples, classes, palette)
    return figure


def colours(classes: Classes) -> list[str]:
    """Returns a colour for each class, far apart in hue; the background is dark.

    Colour-coded masks keep their colours.
    """
    if classes.colours:
        return [BACKGROUND if colour == "#000000" else colour for colour in classes.colours]
    count = len(classes.statistics)
    # With one file per class, no class is the background.
    has_background = not (classes.sigmoid and classes.foreground is None)
    hues = [(0.58 + 0.618034 * i) % 1 for i in range(count)]  # far apart, by the golden ratio
    rgb = [colorsys.hls_to_rgb(hue, 0.52 + 0.1 * (i % 3), 0.62) for i, hue in enumerate(hues)]
    named = ["#" + "".join(f"{round(255 * part):02x}" for part in colour) for colour in rgb]
    return [BACKGROUND, *named[: count - 1]] if has_background else named


def _drawn(classes: Classes, palette: Sequence[str]) -> Named:
    named = [
        (name, counted, colour)
        for name, counted, colour in zip(classes.names, classes.statistics, palette, strict=True)
        if counted is not None
    ]
    if len(named) <= MOST_BARS:
        return named
    by_frequency = sorted(named, key=lambda one: -one[1].frequency)
    kept = [*by_frequency[: MOST_BARS // 2], *by_frequency[-MOST_BARS // 2 :]]
    return [one for one in named if one in kept]


def _title(statistics: DatasetStatistics, classes: Classes) -> str:
    occur = len(classes.present)
    void = f", {statistics.void / statistics.pixels:.1%} left out" if statistics.void else ""
    masks = f"{statistics.masks:,} mask{'s' if statistics.masks > 1 else ''}"
    return f"{masks}, {statistics.pixels:,} pixels{void}, {occur} classes"


def _draw_frequencies(axes: Axes, named: Named, statistics: DatasetStatistics) -> None:
    shares = [counted.pixels / statistics.valid_pixels for _, counted, _ in named]
    frequencies = [counted.frequency for _, counted, _ in named]
    positions = range(len(named))
    axes.barh(positions, shares, color=[colour for *_, colour in named])
    axes.plot(frequencies, positions, "|", color="black", markersize=12)
    for position, share, frequency in zip(positions, shares, frequencies, strict=True):
        text = f"  {_percent(share)}"
        axes.text(max(share, frequency), position, text, va="center", fontsize=8)
    axes.set(xlim=(0, 1.25 * max(*shares, *frequencies)), yticks=positions)
    axes.set_yticklabels([plot_label(name) for name, *_ in named])
    axes.invert_yaxis()
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    _decorate(axes, "share of the pixels", "bar: in all masks; line: where present")


def _percent(share: float) -> str:
    """Returns a share as a text with at least two digits that count."""
    return f"{share:.2%}" if share >= 0.001 else f"{100 * share:.2g}%"


def _draw_presence(axes: Axes, named: Named, statistics: DatasetStatistics) -> None:
    shares = [counted.masks / statistics.masks for _, counted, _ in named]
    axes.barh(range(len(named)), shares, color=[colour for *_, colour in named])
    axes.set(xlim=(0, 1), xticks=[0, 0.5, 1])
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.tick_params(axis="y", left=False)
    _decorate(axes, "share of the masks", "that hold it")


def _draw_sizes(axes: Axes, named: Named) -> None:
    """Draws a histogram of region sizes for each class, on one logarithmic axis."""
    largest = max(max(counted.sizes) for _, counted, _ in named)
    edges = np.geomspace(1, largest + 1, 28)
    for position, (_, counted, colour) in enumerate(named):
        sizes = np.array(list(counted.sizes))
        counts, _ = np.histogram(sizes, edges, weights=list(counted.sizes.values()))
        heights = 0.85 * counts / counts.max()
        axes.bar(
            edges[:-1],
            -heights,
            width=np.diff(edges),
            bottom=position + 0.42,
            align="edge",
            color=colour,
        )
        axes.plot([counted.median_size] * 2, [position - 0.4, position + 0.4], color="black")
    axes.set(xscale="log", xlim=(0.9, 1.5 * largest))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda size, _: f"{size:,.0f}"))
    axes.tick_params(axis="y", left=False)
    _decorate(axes, "sizes of connected regions", "pixels; black: the median")


def _decorate(axes: Axes, title: str, label: str) -> None:
    axes.set_title(title, loc="left", fontsize=10)
    axes.set_xlabel(label, fontsize=9)
    axes.tick_params(labelsize=8)
    axes.grid(axis="x", alpha=0.2)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.minorticks_off()


def _examples(named: Named) -> list[tuple[str, Thumbnail]]:
    """Returns for each class, the rarest first, the mask with most of it; no mask twice."""
    by_mask: dict[str, tuple[str, Thumbnail]] = {}
    for name, counted, _ in sorted(named, key=lambda one: one[1].frequency):
        if counted.example is not None:
            by_mask.setdefault(counted.example.name, (name, counted.example))
    return list(by_mask.values())[:EXAMPLES]


def _draw_examples(
    panels: Sequence[Axes],
    examples: Sequence[tuple[str, Thumbnail]],
    classes: Classes,
    palette: Sequence[str],
) -> None:
    for axes in panels:
        axes.set_axis_off()
    for axes, (name, example) in zip(panels, examples, strict=False):
        labels = _as_labels(example, classes)
        colour_map = ListedColormap([VOID_COLOUR, BACKGROUND, *palette])
        axes.imshow(labels, cmap=colour_map, vmin=-2, vmax=len(palette) - 1, interpolation="none")
        title = f"{plot_label(example.name)}\nmost of: {plot_label(name)}"
        axes.set_title(title, fontsize=9)


def _as_labels(example: Thumbnail, classes: Classes) -> np.ndarray:
    """Returns the class of each pixel; -1 without a class, -2 for ignored pixels."""
    mask = example.mask
    if mask.ndim == 3:  # one file per class: the rarest on top, since the others are larger
        order = np.argsort([-counted.frequency for counted in classes.present])
        labels = np.full(mask.shape[1:], -1)
        for channel in order:
            labels[mask[channel] == 1] = channel
        return labels
    labels = classes.labels(mask)
    return np.where(classes.ignored(mask), -2, labels)
