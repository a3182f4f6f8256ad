"""Formulas of losses, from their docstrings, as plain text for a terminal.

A formula is the first `.. math::` block in the docstring of a class. A loss of a single term uses
the docstring of its term.
"""

from __future__ import annotations

import inspect
import re

from pylatexenc.latex2text import (
    LatexNodes2Text,
    MacroTextSpec,
    get_default_latex_context_db,
)
from pylatexenc.latexwalker import LatexMacroNode
from pylatexenc.latexwalker import get_default_latex_context_db as get_default_parser_context
from pylatexenc.macrospec import MacroSpec

from segloss.losses.term_losses import TermLoss

_BLOCK = re.compile(
    r"^( *)\.\. math::[ ]*(?P<first>.*)\n(?P<rest>(?:\1 +\S.*\n|[ ]*\n(?=\1 +\S))*)", re.M
)

_FUNCTIONS = ("log", "exp", "cos", "sin", "cosh", "max", "min")

_OPEN, _CLOSE = "\ue000", "\ue001"
"""Marks of the begin and end of a fraction, until it is clear whether it needs brackets."""

_INNERMOST = re.compile(f"{_OPEN}([^{_OPEN}{_CLOSE}]*){_CLOSE}")


def formula_of(loss: type) -> str | None:
    r"""Returns the LaTeX of a class's formula; None if its docstring has none.

    Example:
        >>> from segloss.compat.tutorial import DiceLoss
        >>> print(formula_of(DiceLoss))
        1 - \frac{2 \sum p g + s}{\sum p + \sum g + s}
    """
    documented = loss.term_type if issubclass(loss, TermLoss) else loss
    found = _BLOCK.search(f"{inspect.getdoc(documented)}\n")
    return None if found is None else " ".join((found["first"] + " " + found["rest"]).split())


def as_text(latex: str) -> str:
    r"""Returns the formula in one line of plain text.

    Example:
        >>> as_text(r"1 - \frac{2\,TP + s}{\sum p + \sum g + s}")
        '1 - (2 TP + s) / (∑p + ∑g + s)'
        >>> as_text(r"-\log \frac{x_i^{1 - \delta}}2")
        '-log((x_i^(1 - δ)) / 2)'
    """
    marked = re.sub(r"([_^])\{", r"\1\\script{", latex)
    nodes = _WRITER.latex_to_text(marked, latex_context=_PARSER)
    text = re.sub(r"\s+", " ", nodes).strip().rstrip(",")
    text = re.sub(rf"\b({'|'.join(_FUNCTIONS)}) \(", r"\1(", text)
    while fraction := _INNERMOST.search(text):
        before, after = text[: fraction.start()], text[fraction.end() :]
        inner = fraction[1].strip()
        if _needs_brackets(before, after):
            before, inner = before.removesuffix(" ") if _calls(before) else before, f"({inner})"
        text = before + inner + after
    text = re.sub(r"(?<=[\u03b1-\u03c9])(?=[A-Z]{2})", " ", text)
    return re.sub(r"\s+(?=[,)])|(?<=\()\s+", "", text)


def _needs_brackets(before: str, after: str) -> bool:
    """Returns whether a fraction is a factor or an argument, and so needs brackets."""
    alone_before = re.search(r"(^|[-+=,(|√" + _OPEN + r"])\s*$", before)
    alone_after = re.match(r"\s*($|[-+=,)|" + _OPEN + _CLOSE + "])", after)
    return not (alone_before and alone_after)


def _calls(before: str) -> bool:
    return before.rstrip().endswith(_FUNCTIONS)


def _fraction(node: LatexMacroNode, l2tobj: LatexNodes2Text) -> str:
    above, below = (l2tobj.nodelist_to_text([arg]).strip() for arg in node.nodeargs)
    return f"{_OPEN}{_grouped(above)} / {_grouped(below)}{_CLOSE}"


def _script(node: LatexMacroNode, l2tobj: LatexNodes2Text) -> str:
    return _grouped(l2tobj.nodelist_to_text(list(node.nodeargs)).strip())


def _mean(node: LatexMacroNode, l2tobj: LatexNodes2Text) -> str:
    return f"mean({l2tobj.nodelist_to_text(list(node.nodeargs)).strip()})"


def _grouped(text: str) -> str:
    """Returns the text, in brackets if it has more than one symbol."""
    return text if re.fullmatch(r"[-∑∇]?[^\W_]+|‖[^‖]*‖|[^\s\w]", text) else f"({text})"


def _writer() -> LatexNodes2Text:
    context = get_default_latex_context_db()
    macros = [
        MacroTextSpec("frac", _fraction),
        MacroTextSpec("tfrac", _fraction),
        MacroTextSpec("overline", _mean),
        MacroTextSpec("script", _script),
        MacroTextSpec("|", "‖"),
        *(MacroTextSpec(name, f"{name} ") for name in _FUNCTIONS),
    ]
    context.add_context_category("segloss", prepend=True, macros=macros)
    return LatexNodes2Text(latex_context=context, math_mode="text", strict_latex_spaces=False)


_PARSER = get_default_parser_context()
_PARSER.add_context_category(
    "segloss", prepend=True, macros=[MacroSpec("script", "{"), MacroSpec("overline", "{")]
)
_WRITER = _writer()
