"""Landscapes: a loss as a function of errors in a prediction of the reference shape."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from segloss.foundation.arguments import shown
from segloss.tools.check.examples.example_search import NoExampleError
from segloss.tools.plots.reference_shape import (
    ERROR_RANGES,
    SWEEPS,
    Array,
    Setting,
    Sweep,
    loss_of_disc,
)
from segloss.tools.plots.style import WIDTH, plain, plot_label


def plot_landscape(loss: Callable[..., Any], title: str | None = None) -> Figure:
    """Draws a loss while a disc's prediction is moved, shrunk or grown, and blurred.

    The disc has a radius of 20 pixels, in an image of 96 x 96. Its prediction is confident inside
    and outside (a logit of 8 or -8). With several classes, the disc is cut into pieces.
    Frame-field losses get the field of the predicted disc.

    Args:
        loss: A loss of this package, or any module or function of (prediction, target), that takes
            images; for a `MultiLoss` with schedules, call its `set_epoch` first.
        title: The title of the figure; None: the name of the loss.

    Returns:
        A figure of three axes, with the values of the loss, divided only by its own norm.

    Raises:
        TypeError, ValueError: `loss` is not a loss, or takes no prediction of a disc.

    Example:
        >>> from segloss import DiceLoss
        >>> moved, resized, blurred = plot_landscape(DiceLoss()).axes
        >>> shift, loss = moved.lines[0].get_data()
        >>> bool((loss[1:] > loss[:-1]).all())
        True
    """
    value = landscape_of(loss)
    figure = Figure(figsize=(WIDTH, 2.7), layout="constrained")
    panels = figure.subplots(1, len(SWEEPS))
    for axes, sweep in zip(panels, SWEEPS, strict=True):
        draw_sweep(axes, sweep, curve(value, sweep))
    share_limits(panels)
    panels[0].set_ylabel("loss", fontsize=10)
    figure.suptitle(
        plot_label(name_of(loss)) if title is None else title, fontsize=12, fontweight="bold"
    )
    return figure


def landscape_of(loss: Any) -> Callable[[Setting], float]:
    """Returns a function from a prediction of the disc to its loss.

    Raises:
        TypeError, ValueError: `loss` is not a loss, or takes no prediction of a disc.
    """
    if isinstance(loss, type) or not callable(loss):
        raise TypeError(f"loss must be a module or a function, got {shown(loss)}.")
    try:
        return loss_of_disc(loss)
    except NoExampleError as error:
        raise ValueError(
            f"{name_of(loss)} takes no prediction of a disc, in any of the forms tried: {error}"
        ) from error


def name_of(loss: Any) -> str:
    """Returns the name of the loss, or of its class."""
    name = getattr(loss, "name", None) or getattr(loss, "__name__", None)
    return name if isinstance(name, str) else type(loss).__name__


def curve(value: Callable[[Setting], float], sweep: Sweep, values: Array | None = None) -> Array:
    """Returns the loss at each value of a sweep, or at other values of its field."""
    values = sweep.values if values is None else values
    return np.array([value(sweep.at(number)) for number in values])


def draw_sweep(axes: Axes, sweep: Sweep, losses: Array) -> None:
    """Draws the loss over a sweep."""
    axes.plot(sweep.values, losses, color=sweep.colour, linewidth=2.2)
    plain(axes, "", sweep.label)
    axes.set_title(sweep.title, fontsize=11, fontweight="bold", color=sweep.colour)
    axes.xaxis.label.set_fontsize(9)
    axes.margins(x=0.02)
    if sweep.field == "softness":
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(FixedLocator([0.25, 1, 4, 16]))
        axes.xaxis.set_major_formatter(FixedFormatter(["¼", "1", "4", "16"]))
        axes.xaxis.set_minor_locator(NullLocator())


def share_limits(panels: Sequence[Axes]) -> None:
    """Gives all panels the same loss axis, which includes 0."""
    values = np.concatenate([line.get_ydata() for axes in panels for line in axes.lines])
    low, high = min(values.min(), 0.0), max(values.max(), 0.0)
    margin = 0.06 * (high - low)
    for axes in panels:
        axes.set_ylim(low - margin * (low < 0), (high + margin) or 1.0)
    for axes in panels[1:]:
        axes.tick_params(labelleft=False)


def draw_errors(axes: Axes, value: Callable[[Setting], float]) -> None:
    """Draws the loss over each kind of error, from none to the largest."""
    for error in ERROR_RANGES:
        losses = curve(value, error.sweep, error.values)
        shares = np.linspace(0, 1, len(losses))
        axes.plot(shares, losses, color=error.colour, linewidth=1.8, label=error.label)
    name_errors(axes)
    axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))


def name_errors(axes: Axes) -> None:
    """Gives axes over errors the ticks "none" and "most", a faint grid, and no frame."""
    axes.set_xticks([0, 1], ["none", "most"])
    axes.tick_params(labelsize=9)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
