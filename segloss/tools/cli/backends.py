"""`segloss backends`: the kernels on this machine, the batches that they serve, and the reasons."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table

from segloss.sums.kernels.cpu import instruction_sets
from segloss.sums.kernels.registry import backends as all_backends


def backends() -> None:
    """Show which kernel serves which device and dtype, and why another does not.

    A batch takes the first kernel that supports it. segloss.use_backend(NAME), or the environment
    variable SEGLOSS_BACKEND, makes the choice begin with another one.
    """
    console = Console(highlight=False)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("backend", style="cyan", no_wrap=True)
    table.add_column("serves")
    table.add_column("does not serve, because", ratio=1)
    for backend in all_backends():
        reasons: dict[str, list[str]] = {}
        for what, why in backend.reasons.items():
            reasons.setdefault(why, []).append(what)
        because = "\n".join(f"{', '.join(what)}: {why}" for why, what in reasons.items())
        table.add_row(backend.name, "\n".join(backend.serves) or "nothing", because)
    console.print(table)
    if instruction_sets():
        console.print(
            f"The cpu kernel's instructions: {', '.join(instruction_sets())} (first used)"
        )
