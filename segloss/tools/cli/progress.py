"""A progress bar on stderr, if stderr is a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from rich.console import Console
from rich.progress import track

Item = TypeVar("Item")


def progress(items: Sequence[Item], description: str) -> Iterable[Item]:
    """Returns the items, with a progress bar that disappears at the end."""
    console = Console(stderr=True)
    if not console.is_terminal:
        return items
    return track(items, description, console=console, transient=True)
