"""The command `segloss`, which examines losses and configs from a terminal.

It needs the extra `cli` (Typer, Rich and pylatexenc), and `segloss plot` the extra `plots`.
"""

from __future__ import annotations

import io
import sys


def main() -> None:
    """Runs the command line, or names the extra to install."""
    for stream in (sys.stdout, sys.stderr):  # a terminal may lack characters, such as those of é
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        from segloss.tools.cli.app import run
    except ModuleNotFoundError as error:
        if (error.name or "segloss").split(".")[0] == "segloss":
            raise
        print(
            f"segloss: error: the command line needs {error.name}, which is not installed: "
            "pip install 'pytorch-segloss[cli]'",
            file=sys.stderr,
        )
        sys.exit(2)
    sys.exit(run())
