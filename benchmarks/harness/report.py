"""Tables and the plot of a benchmark's results."""

from __future__ import annotations

import math
import platform
import re
import sys
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from harness.contenders import CONTENDERS, PEERS, WORKLOADS

ROOT = Path(__file__).parents[2]
DOCUMENTS = (ROOT / "README.md", ROOT / "docs" / "performance.md")
PLOT = ROOT / "docs" / "images" / "performance_scaling.png"
COLUMNS = (
    "ms, min.",
    "ms, median",
    "ratio, min.",
    "ratio, median",
    "peak",
    "kept",
    "value's error",
    "gradient's error",
)
"""Ratios are to the pixel loss alone; peak and kept memory are in multiples of the logits."""

LINE_COLOURS = {
    "segloss": "#d1495b",
    "pixel loss alone": "#8c8c8c",
    "textbook": "#000000",
    "segmentation-models-pytorch": "#0072B2",
    "MONAI": "#009E73",
    "pytorch-toolbelt": "#E69F00",
    "kornia": "#CC79A7",
    "nnU-Net (CE + Dice)": "#56B4E9",
}
"""The contenders in the plot, and the colours of their lines."""

Result = dict[str, Any]


class Row(NamedTuple):
    """The figures of a contender on a workload."""

    contender: str
    minimum: float
    middle: float
    memory: Result
    error: Result


def rows_of(results: Sequence[Result], workload: str) -> list[Row]:
    """Returns the rows of the contenders with times on a workload."""
    rows = []
    for contender in CONTENDERS:
        found = [r for r in results if (r["workload"], r["contender"]) == (workload, contender)]
        times = [1e3 * seconds for r in found for seconds in r.get("times", ())]
        if times:
            memory = next((r for r in found if "peak" in r), {})
            error = next((r for r in found if "value_error" in r), {})
            rows.append(Row(contender, min(times), median(times), memory, error))
    return rows


def cells_of(row: Row, pixel: Row | None) -> list[str]:
    """Returns the figures of a row as text."""
    return [
        f"{row.minimum:.3g}",
        f"{row.middle:.3g}",
        f"{row.minimum / pixel.minimum:.2f}" if pixel else "",
        f"{row.middle / pixel.middle:.2f}" if pixel else "",
        *(f"{row.memory[key]:.2f}" if key in row.memory else "" for key in ("peak", "kept")),
        *(
            f"{row.error[key]:.1e}" if key in row.error else ""
            for key in ("value_error", "gradient_error")
        ),
    ]


def pixel_row(rows: Iterable[Row]) -> Row | None:
    """Returns the row of the pixel loss alone, in a fresh process."""
    return next((row for row in rows if row.contender == "pixel loss alone"), None)


def print_tables(results: Sequence[Result]) -> None:
    """Prints a table for each workload, the main ratios, the growth, and the missing contenders."""
    console = Console(width=130)
    for workload in WORKLOADS:
        rows = rows_of(results, workload)
        if not rows:
            continue
        table = Table("", *COLUMNS, title=f"{workload} {WORKLOADS[workload].shape}")
        for row in rows:
            table.add_row(row.contender, *cells_of(row, pixel_row(rows)))
        console.print(table)
        console.print(summary_of(rows))
    for line in growth_lines(results):
        console.print(line)
    missing = {(r["contender"], r["workload"], r["missing"]) for r in results if "missing" in r}
    for contender, workload, reason in sorted(missing):
        console.print(f"left out: {contender} on {workload}: {reason}")


def summary_of(rows: Sequence[Row]) -> str:
    """Returns SegLoss's minimum time relative to the fastest peer, textbook and floor, as text."""
    by_name = {row.contender: row for row in rows}
    if "segloss" not in by_name:
        return ""
    segloss = by_name["segloss"].minimum
    peers = [by_name[name] for name in PEERS if name in by_name]
    parts = []
    if peers:
        fastest = min(peers, key=lambda row: row.minimum)
        parts.append(f"{segloss / fastest.minimum:.2f} of {fastest.contender}, the fastest peer")
    parts += [
        f"{segloss / by_name[name].minimum:.2f} of {name}"
        for name in ("textbook", "floor")
        if name in by_name
    ]
    return f"segloss takes {', '.join(parts)}" if parts else ""


def scaling_of(results: Sequence[Result], axis: str) -> dict[str, list[tuple[int, float]]]:
    """Returns (size, milliseconds) along an axis, by contender."""
    curves: dict[str, list[tuple[int, float]]] = {}
    for result in results:
        if result["workload"].startswith(f"{axis}=") and "times" in result:
            size = int(result["workload"].split("=")[1])
            curves.setdefault(result["contender"], []).append((size, 1e3 * min(result["times"])))
    return curves


def growth_lines(results: Sequence[Result]) -> list[str]:
    """Returns the exponents of SegLoss's growth: over the whole range, and in the steepest step."""
    lines = []
    for axis in ("pixels", "classes"):
        points = scaling_of(results, axis).get("segloss", [])
        if len(points) > 1:
            steps = [exponent(*pair) for pair in pairwise(points)]
            lines.append(
                f"time grows with {axis} to the power {exponent(points[0], points[-1]):.2f} from "
                f"{points[0][0]} to {points[-1][0]}, {max(steps):.2f} at the steepest step"
            )
    return lines


def exponent(first: tuple[int, float], last: tuple[int, float]) -> float:
    """Returns the slope between two points in a log-log plot."""
    return math.log(last[1] / first[1]) / math.log(last[0] / first[0])


def plot_scaling(results: Sequence[Result]) -> None:
    """Writes the picture of time by pixels and by classes."""
    scaling_figure(results).savefig(PLOT, dpi=150)


def scaling_figure(results: Sequence[Result]) -> Figure:
    """Draws time by pixels and by classes, log-log, with one legend for both panels.

    A contender that runs in one panel alone, such as kornia, is in the legend too.
    """
    figure = Figure(figsize=(11, 5), layout="constrained")
    panels = dict(zip(("pixels", "classes"), figure.subplots(1, 2), strict=True))
    for axis, axes in panels.items():
        for name, points in scaling_of(results, axis).items():
            axes.loglog(*zip(*points, strict=True), label=name, **line_style(name))
        axes.set_xlabel(axis)
        axes.set_ylabel("ms, forward and backward")
        axes.grid(which="major", color="#dddddd", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    panels["pixels"].set_title("One sigmoid channel, by pixels", fontsize=10)
    panels["classes"].set_title("128 x 128 pixels, softmax, by classes", fontsize=10)
    lines = {str(line.get_label()): line for axes in figure.axes for line in axes.lines}
    figure.legend(
        lines.values(), lines, loc="outside lower center", ncols=4, frameon=False, fontsize=9
    )
    return figure


def line_style(contender: str) -> dict[str, Any]:
    """Returns the style of a contender's line, the same in every panel."""
    is_segloss = contender == "segloss"
    return {
        "color": LINE_COLOURS[contender],
        "linewidth": 3 if is_segloss else 1.2,
        "linestyle": "--" if contender == "pixel loss alone" else "-",
        "zorder": 3 if is_segloss else 2,
        "marker": "o",
        "markersize": 3,
    }


def write_documents(results: Sequence[Result]) -> None:
    """Updates the marked parts of the documents."""
    texts = {
        "headline": headline(results),
        "bar": bar_table(results),
        "tables": full_tables(results),
        "machine": machine(),
    }
    for name, content in texts.items():
        renew(name, content)


def renew(name: str, content: str) -> None:
    """Updates the text between the markers of a name in the documents."""
    marked = rf"(<!-- benchmark: {name} -->\n).*?(<!-- end -->)"
    for document in DOCUMENTS:
        text = document.read_text()
        text = re.sub(marked, lambda m: m[1] + content + "\n" + m[2], text, flags=re.DOTALL)
        document.write_text(text)


def print_table(title: str, heads: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    """Prints a table of texts."""
    table = Table(*heads, title=title)
    for line in lines:
        table.add_row(*line)
    Console().print(table)


def full_tables(results: Sequence[Result]) -> str:
    """Returns all figures of all workloads, in Markdown."""
    parts = []
    for workload, (shape, _) in WORKLOADS.items():
        rows = rows_of(results, workload)
        lines = [[row.contender, *cells_of(row, pixel_row(rows))] for row in rows]
        parts.append(f"**{workload}** {shape}\n\n{markdown(['', *COLUMNS], lines)}")
    return "\n\n".join([*parts, "\n".join(f"- {line}" for line in growth_lines(results))])


def headline(results: Sequence[Result]) -> str:
    """Returns the times on one workload, in words, for the first page."""
    minima = {row.contender: row.minimum for row in rows_of(results, "city19")}
    segloss = minima["segloss"]
    textbook, smp, monai = (
        f"{minima[name] / segloss:.2g} times"
        for name in ("textbook", "segmentation-models-pytorch", "MONAI")
    )
    return (
        "Cross-entropy, Dice and focal Tversky together, forward and backward, on 4 images of\n"
        f"512 x 512 pixels with 19 classes: **{segloss:.3g} ms** on two cores of a CPU. Written in "
        "plain PyTorch,\n"
        f"they take {textbook} as long, the losses of segmentation-models-pytorch {smp}, and those "
        f"of\nMONAI {monai} ([all figures](performance.md))."
    )


def bar_table(results: Sequence[Result]) -> str:
    """Returns a row for each workload: times of the contenders as multiples of SegLoss's time."""
    names = ("pixel loss alone", "textbook", "textbook compiled", *PEERS)
    lines = []
    for workload, (shape, _) in WORKLOADS.items():
        by_name = {row.contender: row for row in rows_of(results, workload)}
        segloss = by_name["segloss"]
        contenders = [by_name.get(name) for name in names]
        lines.append(
            [
                f"{workload} {shape}",
                f"{segloss.minimum:.3g} ms",
                *(f"{row.minimum / segloss.minimum:.2g}" if row else "-" for row in contenders),
                f"{segloss.memory['peak']:.2f}",
            ]
        )
    heads = ["forward + backward", "SegLoss", *(f"x {name}" for name in names), "peak memory"]
    return markdown(heads, lines)


def markdown(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Returns a table in Markdown."""
    rule = ["---"] * len(heads)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (heads, rule, *lines))


def machine() -> str:
    """Returns the machine and the versions."""
    processor = re.findall(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())[0]
    return (
        f"{processor}, {torch.backends.cpu.get_cpu_capability()}, 2 threads; Python "
        f"{platform.python_version()} on {sys.platform}, PyTorch {torch.__version__}, "
        f"{', '.join(f'{name} {number}' for name, number in library_versions().items())}."
    )


def library_versions() -> dict[str, str]:
    """Returns the versions of the other libraries."""
    packages = {
        "segmentation-models-pytorch": "segmentation-models-pytorch",
        "MONAI": "monai",
        "pytorch-toolbelt": "pytorch-toolbelt",
        "kornia": "kornia",
        "nnU-Net": "nnunetv2",
    }
    return {name: installed(package) for name, package in packages.items()}


def installed(package: str) -> str:
    """Returns the version of a package, or a note that it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "(not installed)"
