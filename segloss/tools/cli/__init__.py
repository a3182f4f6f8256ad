"""The command `segloss`, which examines losses and configs from a terminal.

It needs the extra `cli` (Typer, Rich and pylatexenc), `segloss plot` also the extra `plots`, and
`segloss suggest` only the extra `suggest`. `segloss doctor` and `segloss --version` need neither.
"""

from __future__ import annotations

import io
import sys

from segloss.foundation.installation.extras import needs
from segloss.tools.doctor import doctor, version_text

EXTRAS = {"suggest": "suggest", "plot": "cli,plots"}
"""The extras of the commands that need another one than `cli`."""


def main() -> None:
    """Runs the command line, or names the extra to install."""
    for stream in (sys.stdout, sys.stderr):  # a terminal may lack characters, such as those of é
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        with needs("The command line", EXTRAS.get("".join(sys.argv[1:2]), "cli")):
            from segloss.tools.cli.app import run
    except ImportError as error:
        if error.name is None or error.name.startswith("segloss"):
            raise
        if sys.argv[1:] == ["doctor"]:
            sys.exit(doctor())
        if sys.argv[1:] == ["--version"]:
            print(version_text())
            sys.exit()
        print(f"segloss: error: {error}", file=sys.stderr)
        sys.exit(2)
    sys.exit(run())
