"""Converts docstrings for the API pages of the site; an extension of griffe, which reads them.

Docstrings are in the style of Sphinx: `.. math:: x` with its indented lines becomes $$x$$, and
:math:`x` becomes $x$. "Example:" becomes "Examples:", because griffe looks for doctests there.
"""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object

BLOCK = re.compile(r"^( *)\.\. math::(.*(?:\n\1 +\S.*)*)", re.MULTILINE)
INLINE = re.compile(r":math:`([^`]*)`")
EXAMPLE = re.compile(r"^( *)Example:$", re.MULTILINE)


def as_markdown(docstring: str) -> str:
    """Returns the docstring with formulas between dollar signs, and with griffe's heading."""

    def block(match: re.Match[str]) -> str:
        return f"{match[1]}$${' '.join(match[2].split())}$$"

    return EXAMPLE.sub(r"\1Examples:", INLINE.sub(r"$\1$", BLOCK.sub(block, docstring)))


class DocstringMarkdown(Extension):
    """Rewrites the docstring of each object that griffe reads."""

    def on_object(self, *, obj: Object, **kwargs: Any) -> None:
        """Rewrites one docstring before griffe parses it."""
        if obj.docstring is not None:
            obj.docstring.value = as_markdown(obj.docstring.value)
