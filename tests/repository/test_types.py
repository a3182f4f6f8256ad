"""Users' own code passes the strictest type checking, whichever public names it uses."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import segloss

ROOT = Path(__file__).parents[2]


def public_names() -> set[str]:
    """The names of the API's pages, and those that `segloss` itself has."""
    pages = "\n".join(page.read_text() for page in (ROOT / "docs" / "api").glob("*.md"))
    named = re.findall(r"^::: (segloss\.[\w.]+)$", pages, re.MULTILINE)
    return {*named, *(f"segloss.{name}" for name in (*segloss.__all__, *segloss._MODULE_OF))}


def test_every_public_name_is_seen_by_type_checkers(tmp_path: Path) -> None:
    """mypy reads the modules that have the names, and no others, which would take it minutes."""
    names = sorted(public_names())
    modules = sorted({name.rpartition(".")[0] for name in names})
    users = tmp_path / "users.py"
    users.write_text("\n".join([*(f"import {each}" for each in modules), *names]))
    files = [str(find_spec(module).origin) for module in modules]
    options = ("--strict", "--follow-imports=skip", f"--cache-dir={tmp_path}")
    command = [sys.executable, "-m", "mypy", *options, str(users), *files]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)  # noqa: S603
    assert "checked" in done.stdout, done.stderr
    assert [line for line in done.stdout.splitlines() if "users.py" in line] == []
    assert len(names) > 150
