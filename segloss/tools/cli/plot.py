"""`segloss plot`: a picture of the losses of a config."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from segloss.foundation.printable import printable
from segloss.tools.cli.configs import Allowed, ConfigPath, load_config
from segloss.tools.cli.terminal import show_lines

SUFFIXES = (".png", ".svg")


def plot(
    config: ConfigPath,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The picture to write: a .png or an .svg.")
    ] = Path("losses.png"),
    allow: Allowed = None,
) -> None:
    """Draw the weights of a config's losses, and each loss over errors.

    The weights are drawn over the epochs. Each loss is drawn as a predicted disc is moved, grown,
    shrunk and blurred.
    """
    if output.suffix.lower() not in SUFFIXES:
        raise ValueError(f"--output must end in {' or '.join(SUFFIXES)}, got {str(output)!r}.")
    if not output.parent.is_dir():
        raise FileNotFoundError(f"--output must be in an existing folder, got {str(output)!r}.")
    from segloss.tools.plots import plot_overview
    from segloss.tools.plots.style import DPI

    plot_overview(load_config(config, allow).multi_loss).savefig(output, dpi=DPI)
    show_lines(printable(output))
