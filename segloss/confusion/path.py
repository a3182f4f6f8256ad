"""The switch between the paths of the pass, which compute the same."""

from __future__ import annotations

import os

from segloss.arguments import check_choice

PATHS = ("auto", "chunks", "reference")
"""The fused path wherever it serves; the same without machine code; the reference path always."""

_path = check_choice("SEGLOSS_PATH", os.environ.get("SEGLOSS_PATH", "auto"), PATHS)


def current_path() -> str:
    """The path that is chosen."""
    return _path


def use_path(path: str) -> None:
    """Chooses the path that computes the sums: "auto", "chunks" or "reference".

    Raises:
        ValueError: There is no such path.
    """
    global _path
    _path = check_choice("path", path, PATHS)
