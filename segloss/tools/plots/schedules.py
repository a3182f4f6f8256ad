"""The weights of losses over the epochs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from segloss.foundation.arguments import check_number, is_list, shown
from segloss.losses.multi_loss import MultiLoss
from segloss.tools.plots.style import WIDTH, legend_below, line_styles, plain, plot_label

_POINTS = 400
_LINE = 2.2
_LOGARITHMIC_ABOVE = 20.0
"""The ratio of weights above which the axis is logarithmic, so that small weights are visible."""

_AFTER_LAST = 0.15
"""The length of the axis after the last threshold, as a share of the length before it."""


def plot_schedules(multi_loss: MultiLoss, epochs: Sequence[float] | None = None) -> Figure:
    """Draws the weight of each loss over the epochs.

    Args:
        multi_loss: The losses.
        epochs: The epochs to draw, in increasing order; fractions are allowed. None: from the
            first threshold, or 0 if that is smaller, to a little after the last.

    Raises:
        TypeError, ValueError: `multi_loss` is not a MultiLoss, or `epochs` are not sorted.

    Example:
        >>> from torch import nn
        >>> losses = MultiLoss([nn.MSELoss(), nn.L1Loss()], [1.0, [0.0, 2.0]], [0, 10])
        >>> [line.get_label() for line in plot_schedules(losses).axes[0].lines]
        ['MSELoss', 'L1Loss']
    """
    check_multi_loss(multi_loss)
    figure = Figure(figsize=(WIDTH, 3.6), layout="constrained")
    draw_schedules(figure.subplots(), multi_loss, epochs)
    return figure


def draw_schedules(
    axes: Axes, multi_loss: MultiLoss, epochs: Sequence[float] | None = None
) -> None:
    """Draws the weights into axes."""
    schedule = multi_loss.schedule
    drawn = _default_epochs(schedule.thresholds) if epochs is None else _checked(epochs)
    weights = np.array([schedule.at(epoch) for epoch in drawn])
    names = [str(loss.name) for loss in multi_loss.loss_funcs]
    for i, (name, style) in enumerate(zip(names, line_styles(), strict=False)):
        covered = sum(np.array_equal(weights[:, i], later) for later in weights.T[i + 1 :])
        width = _LINE * (1 + covered)  # visible behind the lines that cover it
        axes.plot(drawn, weights[:, i], label=plot_label(name), linewidth=width, **style)
    axes.margins(x=0.02)
    plain(axes, "Weights", "epoch", "weight")
    highest = weights.max(0)
    highest = highest[highest > 0]
    if highest.size and highest.max() > _LOGARITHMIC_ABOVE * highest.min():
        axes.set_yscale("symlog", linthresh=10 ** np.floor(np.log10(highest.min())))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.set_ylabel("weight, logarithmic")
    axes.set_ylim(bottom=0)
    legend_below(axes)


def _default_epochs(thresholds: Sequence[float]) -> list[float]:
    """Returns many epochs, among them all thresholds, since curves have corners there."""
    first, last = (min(0.0, thresholds[0]), thresholds[-1]) if thresholds else (0.0, 1.0)
    last += _AFTER_LAST * (last - first) or 1.0
    return sorted({*np.linspace(first, last, _POINTS).tolist(), *thresholds})


def _checked(epochs: Sequence[float]) -> list[float]:
    values = epochs.tolist() if isinstance(epochs, np.ndarray) else epochs
    if not (is_list(values) or isinstance(values, range)) or not len(values):
        raise TypeError(f"epochs must be a list of numbers, got {shown(epochs)}.")
    numbers = [check_number(f"epochs[{i}]", e, -float("inf")) for i, e in enumerate(values)]
    if numbers != sorted(numbers):
        raise ValueError(f"epochs must increase, got {shown(epochs)}.")
    return numbers


def check_multi_loss(multi_loss: object) -> None:
    """Raises TypeError for anything but a `MultiLoss`."""
    if not isinstance(multi_loss, MultiLoss):
        raise TypeError(
            f"multi_loss must be a MultiLoss, got {shown(multi_loss)}. A single loss has no "
            "weight; wrap it: MultiLoss([loss], [1.0])."
        )
