"""Docstrings as the site's API pages can read them.

They are written for Sphinx: `.. math:: x` with its indented lines becomes $$x$$, and :math:`x`
becomes $x$. "Example:" becomes "Examples:", the heading under which griffe knows doctests. It is an
extension of griffe, which reads the docstrings.
"""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object

BLOCK = re.compile(r"^( *)\.\. math::(.*(?:\n\1 +\S.*)*)", re.MULTILINE)
INLINE = re.compile(r":math:`([^`]*)`")
EXAMPLE = re.compile(r"^( *)Example:$", re.MULTILINE)


def as_markdown(docstring: str) -> str:
    """The docstring with its formulas between dollar signs, and its examples found."""

    def block(match: re.Match[str]) -> str:
        return f"{match[1]}$${' '.join(match[2].split())}$$"

    return EXAMPLE.sub(r"\1Examples:", INLINE.sub(r"$\1$", BLOCK.sub(block, docstring)))


class DocstringMarkdown(Extension):
    """Rewrites the docstring of whatever griffe has read."""

    def on_object(self, *, obj: Object, **kwargs: Any) -> None:
        """Rewrites one docstring, before it is taken apart."""
        if obj.docstring is not None:
            obj.docstring.value = as_markdown(obj.docstring.value)
