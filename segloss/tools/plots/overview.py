"""An overview of a compound loss: the weights, and each loss over errors."""

from __future__ import annotations

import math
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from segloss.losses.multi_loss import MultiLoss
from segloss.tools.check.examples.example_search import SPATIAL, NoExampleError
from segloss.tools.check.examples.forms import Form
from segloss.tools.check.examples.requirements import channels_of
from segloss.tools.check.examples.shared_form import find_shared_form
from segloss.tools.plots.landscape import draw_errors
from segloss.tools.plots.reference_shape import value_of_disc
from segloss.tools.plots.schedules import check_multi_loss, draw_schedules
from segloss.tools.plots.style import WIDTH, plot_label

_COLUMNS = 3


def plot_overview(multi_loss: MultiLoss) -> Figure:
    """Draws the weights over the epochs, and below them each loss over the errors of a disc.

    The errors are the same as in `plot_landscape`, from none to the largest, and all losses see the
    same predictions. They are shown without their weights. The panel of a loss that takes no disc
    says so, and is empty.

    Args:
        multi_loss: The losses.

    Raises:
        TypeError: `multi_loss` is not a MultiLoss.
        ValueError: The losses can't see one prediction and one target.

    Example:
        >>> from segloss import SegLoss, DiceLoss
        >>> seg = SegLoss(from_logits=True)
        >>> len(plot_overview(MultiLoss([seg, DiceLoss()], [1.0, 1.0])).axes)
        4
    """
    check_multi_loss(multi_loss)
    shared = find_shared_form(multi_loss, channels_of(multi_loss, None), SPATIAL)
    losses = shared.losses
    rows = math.ceil((len(losses) + 1) / _COLUMNS)
    heights = [2.6 + 0.2 * math.ceil(len(losses) / 3), 2.0 * rows]
    figure = Figure(figsize=(WIDTH, sum(heights)), layout="constrained")
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=heights)[:, 0]
    draw_schedules(above.subplots(), multi_loss)
    panels = list(below.subplots(rows, _COLUMNS, squeeze=False).flat)
    for axes, (name, loss) in zip(panels, losses.items(), strict=False):
        _draw(axes, name, loss, shared.forms.get(name))
    _draw_legend(panels[: len(losses)], panels[len(losses) :])
    return figure


def _draw(axes: Axes, name: str, loss: Any, form: Form | None) -> None:
    axes.set_title(plot_label(name), fontsize=9, fontweight="bold")
    try:
        if form is None:
            raise NoExampleError(f"{name} takes none of the batches tried")
        draw_errors(axes, value_of_disc(loss, [(loss, form)]))
    except NoExampleError:
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
