"""`segloss explain`: the formulas, weights and costs of a config's losses."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated

import typer
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from segloss.foundation.installation.extras import needs
from segloss.foundation.printable import printable
from segloss.losses.loss_wrapper import LossWrapper
from segloss.losses.schedule import WeightSchedule
from segloss.tools.cli.configs import Allowed, Component, Config, ConfigPath, load_config
from segloss.tools.cli.cost import Cost, costs_of
from segloss.tools.cli.list_losses import purpose_of
from segloss.tools.cli.parameters import as_config, parameters_of
from segloss.tools.cli.terminal import console, name_text, progress, row, shown

_BARS = " ▁▂▃▄▅▆▇█"
_BAR_COUNT = 24


def explain(
    config: ConfigPath,
    shape: Annotated[
        str,
        typer.Option(
            metavar="N,C,H,W",
            help="Shape of the predictions for the timing: samples, channels, and 1 to 3 lengths.",
        ),
    ] = "2,4,256,256",
    cost: Annotated[
        bool, typer.Option("--cost/--no-cost", help="Time a step of each loss.")
    ] = True,
    allow: Allowed = None,
) -> None:
    """Explain each loss of a config.

    Shows its formula, its arguments, its weight over the epochs, and the time of forward and
    backward on this machine. If the losses do not take the number of channels in --shape, they are
    timed with a number that they take.
    """
    sizes = parse_shape(shape)
    loaded = load_config(config, allow)
    all_facts = [_facts(loaded, i, allow or ()) for i in range(len(loaded.components))]
    terminal = console()
    count = len(loaded.components)
    title = (name_text(loaded.title), "bold")
    terminal.print(Text.assemble(title, f": {count} {'losses' if count > 1 else 'loss'}\n"))
    for component, facts in zip(loaded.components, all_facts, strict=True):
        terminal.print(_title(component), facts, "")
    if cost:
        costs = _costs(loaded, sizes)
        machine = f"{platform.machine()}, one thread"
        title = ("A step here", "bold")
        terminal.print(Text.assemble(title, f": forward and backward, median ({machine})"))
        terminal.print(_cost_table(costs))


def parse_shape(text: str) -> list[int]:
    """Returns the sizes in a text such as "2,4,256,256".

    Raises:
        ValueError: They are not 3 to 5 whole numbers above 0.
    """
    parts = text.replace("x", ",").split(",")
    if not (3 <= len(parts) <= 5 and all(part.strip().isdecimal() for part in parts)):
        raise ValueError(
            f"--shape must be 3 to 5 whole numbers (samples, channels, lengths), such as "
            f"2,4,256,256; got {text!r}."
        )
    sizes = [int(part) for part in parts]
    if not all(sizes):
        raise ValueError(f"--shape must have numbers above 0, got {text!r}.")
    return sizes


def _title(component: Component) -> Text:
    kind = type(component.loss).__name__
    if isinstance(component.loss, LossWrapper):
        kind = type(component.loss.loss_func).__name__
    return Text.assemble((name_text(component.loss.name), "bold cyan"), f"  {printable(kind)}")


def _facts(config: Config, index: int, allow: Sequence[str]) -> Table:
    component = config.components[index]
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, style="dim")
    table.add_column(ratio=1)
    for label, content in _rows(component, allow):
        table.add_row(f"  {label}", content)
    table.add_row("  weight", _weight(config.multi_loss.schedule, index))
    return table


def _formula(loss: type) -> str:
    """Returns the formula of a class in one line; empty if it has none."""
    with needs("segloss explain", "cli"):
        from segloss.tools.cli.formulas import as_text, formula_of
    formula = formula_of(loss)
    return "" if formula is None else as_text(formula)


def _rows(component: Component, allow: Sequence[str]) -> Iterator[tuple[str, RenderableType]]:
    """Yields the labelled facts about a loss."""
    inner = getattr(component.loss, "loss_func", component.loss)
    kind = type(inner)
    yield "purpose", shown(purpose_of(kind))
    if formula := _formula(kind):
        yield "formula", shown(formula)
    yield from _terms(inner)
    parameters = [p for p in parameters_of(component.block, allow) if p.name != "name"]
    changed = [shown(f"* {p}") for p in parameters if p.differs]
    if changed:
        yield "set", Group(*changed)
    defaults = [f"{p.name}={as_config(p.value)}" for p in parameters if not p.differs]
    if defaults:
        yield "default", shown(", ".join(defaults), "dim")


def _terms(loss: object) -> Iterator[tuple[str, Text]]:
    """Yields the terms of a compound loss, with their coefficients."""
    mixture = getattr(loss, "mixture", None)
    if mixture is None or (len(mixture.components) < 2 and hasattr(loss, "term_type")):
        return
    for i, part in enumerate(mixture.components):
        formula = _formula(type(part.term))
        text = f"{part.coefficient:g} {name_text(part.name)}"
        yield "terms" if i == 0 else "", shown(f"{text}: {formula}" if formula else text)


def _weight(schedule: WeightSchedule, index: int) -> Text:
    """Returns a weight in words, and as a curve if it changes."""
    weight = schedule.weights[index]
    if not isinstance(weight, list):
        return Text(f"{weight:g} in all epochs")
    steps = [f"{w:g} at epoch {e:g}" for e, w in zip(schedule.thresholds, weight, strict=True)]
    return Text(f"{sparkline(schedule, index)}  {', '.join(steps)}")


def sparkline(schedule: WeightSchedule, index: int) -> str:
    """Returns the curve of a weight from the first to the last threshold, as a row of bars.

    Example:
        >>> sparkline(WeightSchedule([[0.0, 1.0]], [0, 10]), 0).strip()
        '▁▁▁▂▂▂▃▃▃▄▄▅▅▅▆▆▆▇▇▇██'
    """
    first, last = schedule.thresholds[0], schedule.thresholds[-1]
    epochs = [first + (last - first) * i / (_BAR_COUNT - 1) for i in range(_BAR_COUNT)]
    weights = [schedule.at(epoch)[index] for epoch in epochs]
    highest = max(weights) or 1.0
    return "".join(_BARS[round(weight / highest * (len(_BARS) - 1))] for weight in weights)


def _costs(config: Config, shape: Sequence[int]) -> dict[str, Cost]:
    """Measures the costs of all losses and of the pre-processes, with a progress bar."""
    config.multi_loss.set_epoch(config.busiest_epoch)
    count = len(config.components) + bool(config.multi_loss.pre_processes)
    return dict(progress(costs_of(config.multi_loss, shape), "timing", count))


def _cost_table(costs: Mapping[str, Cost]) -> Table:
    total = sum(cost.milliseconds or 0 for cost in costs.values())
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("loss", style="cyan")
    table.add_column("ms", justify="right", no_wrap=True)
    table.add_column("share", justify="right", no_wrap=True)
    table.add_column("predictions", ratio=1)
    for name, cost in costs.items():
        if cost.milliseconds is None:
            row(table, name_text(name), "-", "-", cost.batch)
        else:
            share = f"{cost.milliseconds / total:.0%}"
            row(table, name_text(name), f"{cost.milliseconds:.3g}", share, cost.batch)
    table.add_row("total", f"{total:.3g}", "", "")
    return table
