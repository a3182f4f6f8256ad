"""The command `segloss`, which examines losses and configs from a terminal.

It needs the extra `cli` (Typer, Rich and pylatexenc), `segloss plot` also the extra `plots`, and
`segloss suggest` only the extra `suggest`. `segloss doctor` needs neither.
"""

from __future__ import annotations

import io
import sys

from segloss.foundation.installation.extras import needs
from segloss.tools.doctor import doctor


def main() -> None:
    """Runs the command line, or names the extra to install."""
    for stream in (sys.stdout, sys.stderr):  # a terminal may lack characters, such as those of é
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        with needs("The command line", "cli"):
            from segloss.tools.cli.app import run
    except ImportError as error:
        if error.name is None or error.name.startswith("segloss"):
            raise
        if sys.argv[1:] == ["doctor"]:
            sys.exit(doctor())
        print(f"segloss: error: {error}", file=sys.stderr)
        sys.exit(2)
    sys.exit(run())
