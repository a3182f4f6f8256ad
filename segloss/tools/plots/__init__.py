"""Pictures of losses: schedules, losses over errors, and curves of a training run.

Each function returns a Matplotlib figure. `figure.savefig("picture.png")` saves it, and a notebook
shows it. The extra `plots` is required.

Example:
    >>> from segloss import SegLoss
    >>> from segloss.tools.plots import plot_landscape
    >>> len(plot_landscape(SegLoss(n_classes=4)).axes)
    3
"""

from segloss.foundation.installation.extras import needs

with needs("segloss.tools.plots", "plots"):
    from segloss.tools.plots.curves import plot_curves
    from segloss.tools.plots.landscape import plot_landscape
    from segloss.tools.plots.overview import plot_overview
    from segloss.tools.plots.schedules import plot_schedules

__all__ = ["plot_curves", "plot_landscape", "plot_overview", "plot_schedules"]
