"""Tests the tests: makes random changes to the code, and lists the changes that no test detects.

    pip install -e ".[dev]" && python scripts/mutants.py --count 600

mutmut makes the changes (mutants), and runs the tests that execute each one; its settings are in
pyproject.toml. All mutants take a day on two cores, so the script draws a sample. `mutmut run` runs
all of them, and `mutmut show <name>` shows one. With --write, the result goes into docs/testing.md.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from marked import put_between_markers

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "testing.md"
RESULTS = ROOT / "mutants" / "segloss"
"""The folder in which mutmut writes the result of each mutant."""

KILLED = {1: True, 3: True, 0: False, 33: False}
"""Exit codes of mutmut: a test failed, an error of pytest, all passed, no test executes it."""


def mutmut(*names: str) -> None:
    """Runs the named mutants, or all."""
    command = [sys.executable, "-m", "mutmut", "run", "--max-children", "1", *names]
    subprocess.run(command, cwd=ROOT, check=True)  # noqa: S603


def outcomes() -> dict[str, int | None]:
    """Returns the exit code of each mutant; None if it has not run."""
    metas = [json.loads(path.read_text()) for path in sorted(RESULTS.rglob("*.meta"))]
    return {name: code for meta in metas for name, code in meta["exit_code_by_key"].items()}


def is_killed(code: int) -> bool:
    """Returns whether a mutant was detected: a test failed, or it crashed or never ended."""
    return KILLED.get(code, True)


def table(sample: dict[str, int]) -> str:
    """Returns a table of the drawn and the killed mutants, by module and in total."""
    drawn = Counter(name.split(".x")[0] for name in sample)
    killed = Counter(name.split(".x")[0] for name, code in sample.items() if is_killed(code))
    rows = [f"| `{module}` | {drawn[module]} | {killed[module]} |" for module in sorted(drawn)]
    share = killed.total() / drawn.total()
    total = f"| all | {drawn.total()} | {killed.total()} ({share:.1%}) |"
    return "\n".join(["| module | mutants | killed |", "|---|---|---|", *rows, total])


def difference(name: str) -> str:
    """Returns the lines that a mutant changes."""
    command = [sys.executable, "-m", "mutmut", "show", name]
    shown = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)  # noqa: S603
    lines = [line for line in shown.stdout.splitlines() if line[:1] in "+-"]
    return "\n".join(line for line in lines if not line.startswith(("+++", "---")))


def main(
    count: Annotated[int, typer.Option(help="The number of mutants to draw.")] = 600,
    seed: Annotated[int, typer.Option(help="The seed of the random draw.")] = 0,
    write: Annotated[bool, typer.Option(help="Put the table into docs/testing.md.")] = False,
) -> None:
    """Draws mutants, runs the tests on them, and prints the survivors."""
    if not RESULTS.exists():
        mutmut("segloss.terms.mcc*")  # generates all mutants, and times the tests
    names = sorted(outcomes())
    chosen = random.Random(seed).sample(names, min(count, len(names)))  # noqa: S311
    mutmut(*chosen)
    codes = outcomes()
    sample = {name: code for name in chosen if (code := codes[name]) is not None}
    print(table(sample))
    for name, code in sample.items():
        if not is_killed(code):
            print(f"\n{name} ({code})\n{difference(name)}")
    if write:
        put_between_markers(PAGE, "mutants: table", table(sample))


if __name__ == "__main__":
    typer.run(main)
