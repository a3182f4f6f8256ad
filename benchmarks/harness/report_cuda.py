"""The tables of a GPU's figures, in Markdown: figures with their bounds, then all contenders."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from harness.compound_cuda import COMPILED, COMPILED_ON, DTYPES, EAGER
from harness.contenders import PEERS, WORKLOADS
from harness.report import markdown

Figures = dict[str, Any]
Rows = Mapping[str, Figures]
"""The figures of the contenders on a workload in a dtype."""

NOT_MEASURED, SAME_BITS, OTHER_BITS = "not measured", "same bits", "other bits"
PIXEL_LOSS, NNUNET, TEXTBOOK_COMPILED = "pixel loss alone", "nnU-Net (CE + Dice)", COMPILED[0]
COLUMNS = (
    "GPU ms, median",
    "GPU ms, min.",
    "over the floor",
    "over the pixel loss",
    "host ms",
    "peak",
    "kept",
    "launches",
    "copies",
    "waits",
    "value's error",
    "gradient's error",
    "two runs",
)


def cuda_report(measured: Mapping[str, Any]) -> str:
    """Returns the machine, the figures with bounds, all tables, and the missing figures."""
    results = measured["results"]
    parts = [machine(measured)]
    for dtype in DTYPES:
        names = [name for name in WORKLOADS if rows_of(measured, name, dtype)]
        if names:
            parts.append(bar_table(measured, names, dtype))
    parts.append("### Every contender on a GPU")
    for name in WORKLOADS:
        for dtype in DTYPES:
            if rows := rows_of(measured, name, dtype):
                parts.append(full_table(rows, name, dtype))
    reasons = [
        f"- {r['contender']} on {r['workload']} in {r['dtype']}: {reason}"
        for r in results
        if (reason := reasons_of(r))
    ]
    if reasons:
        parts.append("Not measured on a GPU:\n\n" + "\n".join(reasons))
    return "\n\n".join(parts)


def machine(measured: Mapping[str, Any]) -> str:
    """Returns the machine, its kernel, and the speed of its memory."""
    described = measured["machine"]
    properties = described["device"] | described["versions"]
    card = properties.pop("card")
    return (
        f"{card}; {', '.join(f'{name} {value}' for name, value in properties.items())}. "
        f'The kernel "{described["kernel"]}" serves there, and a copy reads and writes '
        f"{measured['copy_speed'] / 1e9:.4g} GB/s."
    )


def reasons_of(result: Figures) -> str:
    """Returns the reasons for the missing parts of a result."""
    by_reason: dict[str, list[str]] = {}
    for part, why in result.get("missing", {}).items():
        by_reason.setdefault(why, []).append(part)
    return "; ".join(
        why if len(parts) == len(result["parts"]) else f"{', '.join(parts)}: {why}"
        for why, parts in by_reason.items()
    )


def rows_of(measured: Mapping[str, Any], workload: str, dtype: str) -> Rows:
    """Returns the figures of the contenders on a workload in a dtype, with the floor."""
    rows: dict[str, Figures] = {}
    for result in measured["results"]:
        if (result["workload"], result["dtype"]) == (workload, dtype) and "first_step" in result:
            floor = floor_seconds(result, measured["copy_speed"])
            row = rows.setdefault(result["contender"], {"floor": floor})
            row.update(result)
    return rows


def floor_seconds(result: Figures, copy_speed: float) -> float:
    """Returns the time of two reads of logits and target, and of one write of the gradient."""
    logits, target = result["logits_bytes"], result["target_bytes"]
    return float(3 * logits + 2 * target) / copy_speed


class Figure(NamedTuple):
    """A figure of SegLoss.

    Attributes:
        title: The name in the tables.
        of: Returns it from the figures of all contenders; a bool means that bits are the same.
        form: The format.
        at_most: The bounds in float32 and in bfloat16, by workload.
    """

    title: str
    of: Callable[[Rows], float | None]
    form: str = ".2f"
    at_most: Mapping[str, tuple[float, float]] = {}

    def cell(self, rows: Rows, workload: str, dtype: str) -> str:
        """Returns the figure and its bound, in bold if the figure misses the bound."""
        figure = self.of(rows)
        if figure is None or isinstance(figure, bool):
            return {None: NOT_MEASURED, True: SAME_BITS, False: f"**{OTHER_BITS}**"}[figure]
        text = f"{figure:{self.form}}"
        if workload not in self.at_most:
            return text
        bound = f"{self.at_most[workload][list(DTYPES).index(dtype)]:g}"
        return f"{text} ≤ {bound}" if figure <= float(bound) else f"**{text} > {bound}**"


def segloss_figure(key: str, scale: float = 1.0) -> Callable[[Rows], float | None]:
    """Returns a function for a figure of SegLoss."""

    def figure(rows: Rows) -> float | None:
        value = rows.get("segloss", {}).get(key)
        return value if value is None or isinstance(value, bool) else scale * value

    return figure


def over(name: str, key: str = "seconds") -> Callable[[Rows], float | None]:
    """Returns a function for SegLoss's figure over the figure of another contender."""

    def figure(rows: Rows) -> float | None:
        segloss, other = (rows.get(contender, {}).get(key) for contender in ("segloss", name))
        return segloss / other if segloss and other else None

    return figure


def over_floor(rows: Rows) -> float | None:
    """Returns SegLoss's time over the floor."""
    seconds = segloss_figure("seconds")(rows)
    return None if seconds is None else seconds / rows["segloss"]["floor"]


def over_fastest_peer(rows: Rows) -> float | None:
    """Returns SegLoss's time over the fastest of the other libraries."""
    timed = [name for name in PEERS if "seconds" in rows.get(name, {})]
    fastest = min(timed, key=lambda name: rows[name]["seconds"], default="none")
    return over(fastest)(rows)


def everywhere(float32: float, bfloat16: float) -> dict[str, tuple[float, float]]:
    """Returns a bound for all workloads."""
    return dict.fromkeys(WORKLOADS, (float32, bfloat16))


def on_large(float32: float, bfloat16: float) -> dict[str, tuple[float, float]]:
    """Returns a bound for the workloads that are large enough for a GPU."""
    return dict.fromkeys(COMPILED_ON, (float32, bfloat16))


BAR = (
    Figure("GPU time, ms", segloss_figure("seconds", 1e3), ".4g"),
    Figure("over the floor", over_floor, at_most=on_large(1.3, 1.6) | {"binary2d": (1.5, 2.0)}),
    Figure("over the pixel loss alone", over(PIXEL_LOSS), at_most=on_large(0.6, 0.6)),
    Figure("over the fastest library", over_fastest_peer, at_most=on_large(0.3, 0.3)),
    Figure("over the textbook compiled", over(TEXTBOOK_COMPILED), at_most=on_large(0.7, 0.8)),
    Figure("host time, ms", segloss_figure("host_seconds", 1e3), ".3f"),
    Figure(
        "host time over nnU-Net's two terms",
        over(NNUNET, "host_seconds"),
        at_most={"small": (1.0, 1.0)},
    ),
    Figure("peak", segloss_figure("peak"), ".3f", everywhere(1.05, 1.05)),
    Figure("kept", segloss_figure("kept"), ".3f", everywhere(0.01, 0.01)),
    Figure("launches", segloss_figure("launches"), ".0f", everywhere(6, 6)),
    Figure("copies", segloss_figure("copies"), ".0f"),
    Figure("waits", segloss_figure("waits"), ".0f", everywhere(0, 0)),
    Figure("value's error", segloss_figure("value_error"), ".1e", everywhere(5e-7, 5e-7)),
    Figure("gradient's error", segloss_figure("gradient_error"), ".1e", everywhere(1e-5, 4e-3)),
    Figure("two runs", segloss_figure("same_bits")),
    Figure("a captured graph with new logits", segloss_figure("graph_same_bits")),
    Figure("its GPU time, ms", segloss_figure("graph_seconds", 1e3), ".4g"),
)
"""The figures of SegLoss, with the bounds of the project."""


def bar_table(measured: Mapping[str, Any], workloads: list[str], dtype: str) -> str:
    """Returns a table with a row for each figure of SegLoss and a column for each workload."""
    rows = {name: rows_of(measured, name, dtype) for name in workloads}
    lines = [
        [figure.title, *(figure.cell(rows[name], name, dtype) for name in workloads)]
        for figure in BAR
    ]
    return markdown([f"SegLoss, {dtype}", *workloads], lines)


def full_table(rows: Rows, workload: str, dtype: str) -> str:
    """Returns a table with a row for each contender."""
    first = next(iter(rows.values()))
    floor = f"{1e3 * first['floor']:.4g} ms"
    title = f"**{workload}** {tuple(first['shape'])}, {dtype}; the floor is {floor}"
    ordered = [name for name in (*EAGER, *COMPILED) if name in rows]
    return f"{title}\n\n" + markdown(
        ["", *COLUMNS], [[name, *cells(rows[name], rows)] for name in ordered]
    )


def cells(row: Figures, rows: Rows) -> Iterator[str]:
    """Yields a contender's figures as text; "*" means that the GPU waited for the host."""
    mark = "*" if row.get("ran_dry") else ""
    pixel = rows.get(PIXEL_LOSS, {}).get("seconds")
    seconds = row.get("seconds")
    yield _text(seconds, ".4g", 1e3) + (mark if seconds else "")
    yield _text(row.get("least_seconds"), ".4g", 1e3)
    yield _text(seconds, ".2f", 1 / row["floor"])
    yield _text(seconds if pixel else None, ".2f", 1 / (pixel or 1.0))
    yield _text(row.get("host_seconds"), ".3f", 1e3)
    for key, form in (("peak", ".2f"), ("kept", ".2f")):
        yield _text(row.get(key), form)
    for key in ("launches", "copies", "waits"):
        yield _text(row.get(key), ".0f")
    for key in ("value_error", "gradient_error"):
        yield _text(row.get(key), ".1e")
    same = row.get("same_bits")
    yield "" if same is None else SAME_BITS if same else OTHER_BITS


def _text(value: float | None, form: str, scale: float = 1) -> str:
    return "" if value is None else f"{value * scale:{form}}"
