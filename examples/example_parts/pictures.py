"""Pictures of a run: the components of its loss over the epochs, and predictions."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from example_parts.training import Record, Run
from segloss.tools.plots.curves import moving_average

Curve = NDArray[np.float64]
Image = NDArray[np.uint8]
Probabilities = NDArray[np.float32]

COLOURS = ("#1b6ca8", "#d1495b", "#2e8b57", "#e0932a", "#7a5195", "#5b5b5b")
LEARNING_RATE_COLOUR = "#8c8c8c"
ERROR_COLOUR = "#ff2e63"


def plot_curves(run: Run, path: Path) -> None:
    """Writes a picture of the losses, their terms, weights and learning rate over the epochs."""
    curves_figure(run.history, run.loss.normalize_losses).savefig(path, dpi=150)


def curves_figure(history: Sequence[Record], normalized: bool) -> Figure:
    """Draws the losses, their terms, their weights and the learning rate over the epochs."""
    figure = Figure(figsize=(9, 8), layout="constrained")
    losses, terms, schedule = figure.subplots(3, 1, sharex=True, height_ratios=[4, 4, 2.5])
    epochs = np.array([record["epoch"] for record in history])

    plot_smoothed(losses, epochs, curves_of(history, "losses"))
    plot_smoothed(terms, epochs, curves_of(history, "terms"))
    plot_schedule(schedule, epochs, history)

    decorate(losses, "Losses, each divided by its norm" if normalized else "Losses")
    decorate(terms, "Terms of the losses")
    decorate(schedule, "Weights of the losses, and the learning rate")
    schedule.set_xlabel("epoch")
    return figure


def curves_of(history: Sequence[Record], key: str) -> dict[str, Curve]:
    """Returns the numbers under a key of the records, by name, one per step."""
    return {name: np.array([record[key][name] for record in history]) for name in history[0][key]}


def plot_smoothed(axes: Axes, epochs: Curve, curves: dict[str, Curve]) -> None:
    """Draws each curve pale, with its moving average on top, on a logarithmic axis."""
    for colour, (name, values) in zip(itertools.cycle(COLOURS), curves.items(), strict=False):
        axes.plot(epochs, values, color=colour, alpha=0.25, linewidth=0.6)
        axes.plot(epochs, moving_average(values), color=colour, linewidth=1.8, label=name)
    axes.set_yscale("log")


def plot_schedule(axes: Axes, epochs: Curve, history: Sequence[Record]) -> None:
    """Draws the weights, and the learning rate as a share of its maximum."""
    weights = curves_of(history, "weights")
    for colour, (name, values) in zip(itertools.cycle(COLOURS), weights.items(), strict=False):
        axes.plot(epochs, values, color=colour, linewidth=1.8, label=f"weight of {name}")
    rates = np.array([record["learning_rate"] for record in history])
    highest = rates.max() or 1.0
    label = f"learning rate / {highest:g}"
    axes.plot(epochs, rates / highest, "--", color=LEARNING_RATE_COLOUR, label=label)
    axes.set_ylim(bottom=0)


def decorate(axes: Axes, title: str) -> None:
    """Gives a panel its title, legend and grid."""
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold")
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    axes.grid(alpha=0.2)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0)


@dataclass
class Example:
    """An image with its true and its predicted segmentation.

    Attributes:
        title: The label of the row.
        image: Grey values, (height, width), or RGB, (height, width, 3).
        truth: Labels, (height, width); 0 is the background.
        prediction: Labels, (height, width).
    """

    title: str
    image: Image
    truth: Image
    prediction: Image


def plot_examples(
    examples: Sequence[Example], classes: Mapping[int, tuple[str, str]], path: Path
) -> None:
    """Draws a row for each example: image, truth, prediction, and errors.

    Args:
        examples: The examples.
        classes: Name and colour of each label except the background, which is black.
        path: The file for the picture.
    """
    height, width = examples[0].image.shape[:2]
    figure = Figure(
        figsize=(9, 9 * len(examples) * height / (4 * width) + 0.8),
        facecolor="black",
        layout="constrained",
    )
    rows = figure.subplots(len(examples), 4, squeeze=False)
    for row, example in zip(rows, examples, strict=True):
        plot_example(row, example, [colour for _, colour in classes.values()])
    for axes, title in zip(rows[0], ("image", "truth", "prediction", "errors"), strict=True):
        axes.set_title(title, color="white", fontsize=12)
    patches = [Patch(color=colour, label=name) for name, colour in classes.values()]
    patches.append(Patch(color=ERROR_COLOUR, label="error"))
    figure.legend(
        handles=patches,
        loc="outside lower center",
        ncols=len(patches),
        frameon=False,
        labelcolor="white",
        fontsize=11,
    )
    figure.savefig(path, dpi=130)


def plot_example(row: Sequence[Axes], example: Example, colours: Sequence[str]) -> None:
    """Draws the four panels of an example."""
    errors = np.ma.masked_equal(example.truth != example.prediction, False)
    show_grey(row[0], example.image)
    show_labels(row[1], example.truth, colours)
    show_labels(row[2], example.prediction, colours)
    show_grey(row[3], example.image // 2)
    row[3].imshow(errors, cmap=ListedColormap([ERROR_COLOUR]), interpolation="nearest")
    row[0].set_ylabel(example.title, color="white", fontsize=11)
    for axes in row:
        axes.set(xticks=[], yticks=[])


def show_grey(axes: Axes, image: Image) -> None:
    """Shows grey values from 0, black, to 255, white."""
    axes.imshow(image, cmap="gray", vmin=0, vmax=255)


def show_labels(axes: Axes, labels: Image, colours: Sequence[str]) -> None:
    """Shows labels from 1 in the given colours, and label 0 in black."""
    palette = ListedColormap(["black", *colours])
    axes.imshow(labels, cmap=palette, vmin=0, vmax=len(colours), interpolation="nearest")


@dataclass
class Footprint:
    """A scene with its predicted masks and frame field.

    Attributes:
        image: RGB, (height, width, 3).
        interior: Probabilities, (height, width).
        walls: Probabilities, (height, width).
        field: The two directions at each pixel, (2, height, width) each: along rows and columns.
    """

    image: Image
    interior: Probabilities
    walls: Probabilities
    field: tuple[Probabilities, Probabilities]


def plot_footprints(footprints: Sequence[Footprint], path: Path) -> None:
    """Draws a row for each scene: image, interior, walls, and the field as crosses on the walls."""
    figure = Figure(figsize=(12, 3.05 * len(footprints) + 0.3), layout="constrained")
    rows = figure.subplots(len(footprints), 4, squeeze=False)
    for row, footprint in zip(rows, footprints, strict=True):
        row[0].imshow(footprint.image)
        row[1].imshow(footprint.interior, cmap="viridis", vmin=0, vmax=1)
        row[2].imshow(footprint.walls, cmap="viridis", vmin=0, vmax=1)
        row[3].imshow(footprint.image, alpha=0.55)
        draw_crosses(row[3], footprint)
        for axes in row:
            axes.set(xticks=[], yticks=[])
    titles = ("image", "interior, predicted", "walls, predicted", "frame field on the walls")
    for axes, title in zip(rows[0], titles, strict=True):
        axes.set_title(title, fontsize=11)
    figure.savefig(path, dpi=130)


def draw_crosses(axes: Axes, footprint: Footprint) -> None:
    """Draws the two directions at some pixels of the walls, one line each."""
    rows, columns = np.nonzero(footprint.walls > 0.5)
    every_fifth = (rows + 2 * columns) % 5 == 0
    rows, columns = rows[every_fifth], columns[every_fifth]
    for direction, colour in zip(footprint.field, (COLOURS[1], COLOURS[0]), strict=True):
        along_rows, along_columns = direction[:, rows, columns]
        length = np.hypot(along_rows, along_columns) + 1e-9
        half = 2.2 * np.stack([along_rows, along_columns]) / length
        ends = np.array([[columns - half[1], columns + half[1]], [rows - half[0], rows + half[0]]])
        axes.plot(*ends, color=colour, linewidth=1.0)
    height, width = footprint.walls.shape
    axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
