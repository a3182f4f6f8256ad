"""Users' own code passes the strictest type checking, whichever public names it uses."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import segloss

ROOT = Path(__file__).parents[2]


def public_names() -> set[str]:
    """The names of the API's pages, and those that `segloss` itself has."""
    pages = "\n".join(page.read_text() for page in (ROOT / "docs" / "api").glob("*.md"))
    named = re.findall(r"^::: (segloss\.[\w.]+)$", pages, re.MULTILINE)
    return {*named, *(f"segloss.{name}" for name in (*segloss.__all__, *segloss._MODULE_OF))}


def test_every_public_name_is_seen_by_type_checkers(tmp_path: Path) -> None:
    names = sorted(public_names())
    modules = {name.rpartition(".")[0] for name in names}
    file = tmp_path / "users.py"
    file.write_text("\n".join([*(f"import {each}" for each in sorted(modules)), *names]))
    command = [sys.executable, "-m", "mypy", "--strict", str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)  # noqa: S603
    assert done.returncode == 0, done.stdout
    assert len(names) > 150
