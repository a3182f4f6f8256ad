"""Puts the output of the commands into docs/command_line.md.

    python scripts/command_line.py

Every ```console block of the page begins with a command, "$ segloss ...". It runs in the root of
the repository, 80 columns wide, and its output replaces the rest of the block.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "command_line.md"

BLOCK = re.compile(r"^```console\n\$ segloss ([^\n]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[None]:
    """Makes a folder the current one in a context."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def printed(arguments: str) -> str:
    """Returns the output and errors of a command, without spaces at the ends of lines."""
    from segloss.tools.cli.app import run

    output = io.StringIO()
    narrow = {"COLUMNS": "80", "TERMINAL_WIDTH": "80", "NO_COLOR": "1"}
    with (
        mock.patch.dict(os.environ, narrow),
        _inside(ROOT),
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(output),
    ):
        run(shlex.split(arguments))
    return "".join(f"{line.rstrip()}\n" for line in output.getvalue().splitlines())


def main() -> None:
    """Rewrites the page."""
    page = PAGE.read_text()
    blocks = BLOCK.sub(lambda b: f"```console\n$ segloss {b[1]}\n{printed(b[1])}```", page)
    PAGE.write_text(blocks)


if __name__ == "__main__":
    main()
