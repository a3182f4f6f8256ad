"""Paths within a config: tuples of keys and indices, which are never joined and parsed again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from segloss.foundation.arguments import shown

Path = tuple[Any, ...]
"""Keys and indices, from the config's root."""


def path_text(path: Iterable[Any]) -> str:
    """Returns a path as messages show it; keys that could be misread are in brackets and quotes.

    Example:
        >>> path_text(("losses", 0, "params")), path_text(("model_config", "m[0]", 1.5))
        ('losses[0].params', "model_config['m[0]'][1.5]")
    """
    text = ""
    for key in path:
        plain = isinstance(key, str) and key.replace("-", "_").isidentifier() and key.isascii()
        text += (f".{key}" if text else key) if plain and len(key) <= 100 else f"[{shown(key)}]"
    return text
