"""The terminal, to which all commands write: text from outside can't control or break it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import track
from rich.table import Table
from rich.text import Text

from segloss.foundation.printable import printable

Item = TypeVar("Item")

LONGEST_NAME = 60
"""Characters of a name that are shown."""

_LONGEST_TEXT = 4000


def console(*, stderr: bool = False) -> Console:
    """Returns a console that takes text as it is: no markup, emoji or colours of numbers."""
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False)


def name_text(name: object) -> str:
    """Returns the name of a loss, class or file in one line, cut if it is long."""
    return printable(name, LONGEST_NAME)


def shown(text: object, style: str = "") -> Text:
    """Returns text in one line, for tables and lines of a console."""
    return Text(printable(text, _LONGEST_TEXT), style=style)


def row(table: Table, *cells: Any) -> None:
    """Adds a row to a table; cells of plain text are made printable."""
    table.add_row(*(shown(cell) if isinstance(cell, str) else cell for cell in cells))


def show_lines(text: str) -> None:
    """Prints text of several lines, without wrapping them."""
    for line in text.split("\n"):
        print(printable(line))


def progress(items: Iterable[Item], description: str, total: int) -> Iterable[Item]:
    """Returns the items, with a progress bar on stderr, if it is a terminal.

    The bar is for `total` items, and disappears at the end.
    """
    terminal = console(stderr=True)
    if not terminal.is_terminal:
        return items
    return track(items, description, total=total, console=terminal, transient=True)
