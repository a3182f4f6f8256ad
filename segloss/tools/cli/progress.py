"""A progress bar for a terminal, on stderr; nothing where there is none."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from rich.console import Console
from rich.progress import track

Item = TypeVar("Item")


def progress(items: Sequence[Item], doing: str) -> Iterable[Item]:
    """Returns the items, with a bar that vanishes after the last."""
    console = Console(stderr=True)
    if not console.is_terminal:
        return items
    return track(items, doing, console=console, transient=True)
