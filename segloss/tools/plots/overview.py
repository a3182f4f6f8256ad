"""An overview of a compound loss: the weights, and each loss over errors."""

from __future__ import annotations

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from segloss.losses.multi_loss import MultiLoss
from segloss.tools.plots.landscape import draw_errors, landscape_of
from segloss.tools.plots.schedules import check_multi_loss, draw_schedules
from segloss.tools.plots.style import WIDTH, plot_label

_COLUMNS = 3


def plot_overview(multi_loss: MultiLoss) -> Figure:
    """Draws the weights over the epochs, and below them each loss over the errors of a disc.

    The errors are the same as in `plot_landscape`, from none to the largest. The losses are shown
    without their weights. The panel of a loss that takes no disc says so, and is empty.

    Args:
        multi_loss: The losses.

    Raises:
        TypeError: `multi_loss` is not a MultiLoss.

    Example:
        >>> from segloss import SegLoss, DiceLoss
        >>> len(plot_overview(MultiLoss([SegLoss(), DiceLoss()], [1.0, 1.0])).axes)
        4
    """
    check_multi_loss(multi_loss)
    losses = list(multi_loss.loss_funcs)
    rows = math.ceil((len(losses) + 1) / _COLUMNS)
    heights = [2.6 + 0.2 * math.ceil(len(losses) / 3), 2.0 * rows]
    figure = Figure(figsize=(WIDTH, sum(heights)), layout="constrained")
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=heights)[:, 0]
    draw_schedules(above.subplots(), multi_loss)
    panels = list(below.subplots(rows, _COLUMNS, squeeze=False).flat)
    for axes, loss in zip(panels, losses, strict=False):
        alone = MultiLoss([loss], [1.0], pre_processes=multi_loss.pre_processes)
        _draw(axes, alone if multi_loss.pre_processes else loss, str(loss.name))
    _draw_legend(panels[: len(losses)], panels[len(losses) :])
    return figure


def _draw(axes: Axes, loss: object, name: str) -> None:
    axes.set_title(plot_label(name), fontsize=9, fontweight="bold")
    try:
        draw_errors(axes, landscape_of(loss))
    except ValueError:
        axes.axis("off")
        axes.text(0.5, 0.5, "takes no disc", ha="center", va="center", fontsize=9)


def _draw_legend(panels: list[Axes], free: list[Axes]) -> None:
    """Draws the legend into the first free panel, and clears the other free panels."""
    for axes in free:
        axes.axis("off")
    drawn = [axes for axes in panels if axes.lines]
    if drawn:
        handles, labels = drawn[0].get_legend_handles_labels()
        free[0].legend(handles, labels, loc="center", frameon=False, fontsize=9)
