"""`segloss backends`: the kernels of this machine, and the batches that each supports."""

from __future__ import annotations

from rich import box
from rich.table import Table

from segloss.sums.kernels.registry import backends as all_backends
from segloss.tools.cli.terminal import console


def backends() -> None:
    """Show which kernels support which devices and dtypes, and how they were compiled.

    The first kernel that supports a batch computes it. segloss.use_backend(NAME), or the
    environment variable SEGLOSS_BACKEND, puts another kernel first.
    """
    terminal = console()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("backend", style="cyan", no_wrap=True)
    table.add_column("supports")
    table.add_column("does not support, because", ratio=1)
    kernels = all_backends()
    for backend in kernels:
        because = "\n".join(
            f"{', '.join(kinds)}: {why}" for why, kinds in backend.refused().items()
        )
        table.add_row(backend.name, "\n".join(backend.serves) or backend.rest, because)
    terminal.print(table)
    for backend in kernels:
        if backend.build:
            terminal.print(f"The kernel {backend.name}: {backend.build}")
