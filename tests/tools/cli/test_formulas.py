"""Formulas are read from docstrings, and written in a line."""

from __future__ import annotations

import pytest

pytest.importorskip("pylatexenc")

from segloss.config.registry import get_loss, list_losses
from segloss.config.targets import OWN, find_target
from segloss.terms import TERMS
from segloss.tools.cli.formulas import as_text, formula_of

CLASSES = {
    *(get_loss(name) for name in list_losses()),
    *(find_target(name) for name in OWN if name.endswith("Loss")),
    *TERMS.values(),
}


@pytest.mark.parametrize(
    "loss", sorted(CLASSES, key=lambda c: c.__name__), ids=lambda c: c.__name__
)
def test_every_loss_has_a_formula_in_its_docstring_that_a_terminal_shows(loss: type) -> None:
    formula = formula_of(loss)
    assert formula is not None
    text = as_text(formula)
    assert text
    assert "\\" not in text
    assert "\n" not in text
    assert text.count("(") == text.count(")")
    assert text.isprintable()


@pytest.mark.parametrize(
    ("latex", "text"),
    [
        (r"1 - \frac{TP + s}{TP + \beta FP + s}", "1 - (TP + s) / (TP + β FP + s)"),
        (r"\left(1 - \frac{a}{b}\right)^\beta", "(1 - a / b)^β"),
        (r"-\log \frac{2\,TP}{\sum p}", "-log((2 TP) / ∑p)"),
        (r"\frac1{NHW} \sum e\,f(z)", "(1 / NHW) ∑e f(z)"),
        (r"\frac{\frac ab}{c}", "(a / b) / c"),
        (r"v_c = \left(\sum g_c\right)^{-2}", "v_c = (∑g_c)^-2"),
        (r"x_{n,y_n} \log(1 - x)", "x_(n,y_n) log(1 - x)"),
        (r"\overline{1 - p_y}", "mean(1 - p_y)"),
        (r"\|\nabla y\|", "‖∇y‖"),
    ],
)
def test_latex_becomes_a_line_of_text(latex: str, text: str) -> None:
    assert as_text(latex) == text


def test_a_class_without_a_formula_has_none() -> None:
    class Plain:
        """Nothing here."""

    assert formula_of(Plain) is None


def test_a_formula_of_several_lines_ends_where_the_block_ends() -> None:
    class Long:
        r"""Long.

        .. math:: a
            + b,

            \quad c

        After it.
        """

    assert formula_of(Long) == r"a + b, \quad c"
