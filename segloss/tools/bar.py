"""A progress bar on stderr, for functions that a program or a notebook calls."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


def with_bar(items: Iterable[Item], description: str, total: int | None) -> Iterator[Item]:
    """Yields the items, with a bar on stderr, if it is a terminal and Rich is installed.

    The bar disappears at the end.
    """
    try:
        from rich.console import Console
        from rich.progress import track
    except ImportError:
        yield from items
        return
    console = Console(stderr=True)
    if not console.is_terminal:
        yield from items
        return
    yield from track(items, description, total=total, console=console, transient=True)
