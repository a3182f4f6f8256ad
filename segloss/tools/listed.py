"""An error about several things, such as the files that can't be used."""

from __future__ import annotations


class ListedError(ValueError):
    """An error whose message has several lines, each safe to show; commands keep them."""
