"""Measures errors of values and gradients against float64, for SegLoss and other libraries.

    pip install -e ".[bench]" && python benchmarks/accuracy.py

Each loss is compared with its own formula in float64, on the same logits: random logits in float32
and in bfloat16, and confident logits in float32, all correct by a margin of 12. Prints a table for
each workload; `--write` puts the tables into docs/performance.md.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from compound import Job, chosen_names, run
from harness.contenders import CONTENDERS, PEERS, WORKLOADS
from harness.report import markdown, print_table, renew
from rich.progress import track

COMPARED = ("segloss", "pixel loss alone", "textbook", *PEERS)
KINDS = {
    "error": "float32",
    "error in bfloat16": "bfloat16",
    "error where confident": "float32, margin 12",
}
HEADS = ("loss", *(f"{what}, {kind}" for kind in KINDS.values() for what in ("value", "gradient")))
_ROUNDING = 2.0**-24
"""The error from rounding the result to float32; smaller errors count as equal."""

Result = dict[str, Any]


def main(
    workloads: Annotated[str, typer.Option(help="Names, separated by commas.")] = "all",
    contenders: Annotated[str, typer.Option(help="Names, separated by commas.")] = "all",
    results: Annotated[Path, typer.Option(help="The file for the raw results.")] = Path(
        "accuracy.json"
    ),
    write: Annotated[bool, typer.Option(help="Update the tables in the documentation.")] = False,
) -> None:
    """Measures and prints relative errors of values, and of gradients over their largest entry."""
    chosen = chosen_names("workloads", workloads, list(WORKLOADS))
    compared = [name for name in COMPARED if name in _names(contenders)]
    jobs = [
        Job(workload, *WORKLOADS[workload], contender, what)
        for workload in chosen
        for contender in compared
        for what in KINDS
    ]
    measured: list[Result] = []
    for job in track(jobs, "measuring"):
        measured.append(job._asdict() | run(job))
        results.write_text(json.dumps(measured))
    for workload in chosen:
        print_table(workload, HEADS, table_of(measured, workload))
    if write:
        renew("accuracy", "\n\n".join(_section(measured, workload) for workload in chosen))


def table_of(results: list[Result], workload: str) -> list[list[str]]:
    """Returns a row for each measured contender, with the smallest error of each column in bold."""
    names = dict.fromkeys(r["contender"] for r in results if r["workload"] == workload)
    rows = {name: _errors(results, workload, name) for name in names}
    rows = {name: errors for name, errors in rows.items() if any(e is not None for e in errors)}
    columns = list(zip(*rows.values(), strict=True))
    smallest = [min((e for e in column if e is not None), default=None) for column in columns]
    return [
        [name, *(_cell(error, best) for error, best in zip(errors, smallest, strict=True))]
        for name, errors in rows.items()
    ]


def _errors(results: list[Result], workload: str, name: str) -> list[float | None]:
    found = {r["what"]: r for r in results if (r["workload"], r["contender"]) == (workload, name)}
    return [
        found.get(what, {}).get(f"{part}_error")
        for what in KINDS
        for part in ("relative", "gradient")
    ]


def _cell(error: float | None, smallest: float | None) -> str:
    """Returns the error as text, in bold if no error is smaller by more than rounding."""
    if error is None:
        return "-"
    text = f"< {_ROUNDING:.0e}" if error < _ROUNDING else f"{error:.1e}"
    return f"**{text}**" if smallest is not None and error <= max(smallest, _ROUNDING) else text


def _section(results: list[Result], workload: str) -> str:
    shape = WORKLOADS[workload].shape
    return f"**{workload}** {shape}\n\n" + markdown(HEADS, table_of(results, workload))


def _names(contenders: str) -> list[str]:
    return chosen_names("contenders", contenders, list(CONTENDERS))


if __name__ == "__main__":
    typer.run(main)
