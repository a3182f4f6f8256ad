"""Writes the files and lists that follow from the table of terms.

    python scripts/term_stubs.py

They are the stubs of losses and functions, which editors and type checkers read, the lists of names
in the pages of the API, and the overview in docs/losses.md. A test checks that they are up to date.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from segloss import functional
from segloss.losses import term_losses
from segloss.terms import TERMS

ROOT = Path(__file__).parents[1] / "segloss"
HEADER = "# Written by scripts/term_stubs.py, from the table of terms.\n"


def arguments_of(signature: inspect.Signature, first: str = "") -> str:
    """Returns the parameters of a signature in the syntax of a stub, one per line."""
    lines = [first] if first else []
    keyword_only = False
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not keyword_only:
            lines.append("*")
            keyword_only = True
        annotation = parameter.annotation
        written = annotation if isinstance(annotation, str) else annotation.__name__
        default = "" if parameter.default is parameter.empty else f" = {parameter.default!r}"
        lines.append(f"{parameter.name}: {written}{default}")
    return "".join(f"        {line},\n" for line in lines)


def documented(documented_object: Any, indent: str) -> str:
    """Returns the docstring of a class or function in the syntax of a stub."""
    lines = (inspect.getdoc(documented_object) or "").splitlines()
    text = "\n".join(f"{indent}{line}".rstrip() for line in lines)
    return f'{indent}r"""{text.lstrip()}\n{indent}"""\n'


def names(module: Any) -> str:
    """Returns the `__all__` of a module in the syntax of a stub."""
    lines = "".join(f'    "{name}",\n' for name in module.__all__)
    return f"__all__ = [\n{lines}]\n"


def losses_stub() -> str:
    """Returns the stub of `segloss.losses.term_losses`."""
    parts = [HEADER, LOSSES_HEAD, names(term_losses), LOSSES_BASE]
    for loss in term_losses.TERM_LOSSES.values():
        arguments = arguments_of(inspect.signature(loss), "self")
        parts.append(
            f"class {loss.__name__}(TermLoss):\n{documented(loss, '    ')}\n"
            f"    def __init__(\n{arguments}    ) -> None: ...\n"
        )
    return "\n".join(parts)


def functions_stub() -> str:
    """Returns the stub of `segloss.functional`."""
    parts = [HEADER, FUNCTIONS_HEAD, names(functional), FUNCTIONS_BASE]
    for name in functional.__all__:
        function = getattr(functional, name)
        arguments = arguments_of(inspect.signature(function)).replace("        ", "    ")
        parts.append(
            f"def {name}(\n{arguments}) -> Tensor:\n{documented(function, '    ')}    ...\n"
        )
    return "\n".join(parts)


LOSSES_HEAD = """\
import inspect
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from segloss.batch.selectors import Selector
from segloss.losses.modes import MODES as MODES
from segloss.losses.compound_loss import CompoundLoss
from segloss.terms import Term
"""

LOSSES_BASE = f"""\
TERM_LOSSES: dict[str, type[TermLoss]]

def signature_of(term_type: type[Term]) -> inspect.Signature: ...
def name_of(term_type: type[Term]) -> str: ...

class TermLoss(CompoundLoss):
{documented(term_losses.TermLoss, "    ")}
    term_type: ClassVar[type[Term]]

    def __init__(
        self,
        mode: str = "binary",
        *,
        classes: Sequence[int] | None = None,
        **parameters: Any,
    ) -> None: ...
"""

FUNCTIONS_HEAD = """\
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from segloss.terms import Mixture, Term
"""

FUNCTIONS_BASE = """\
TERM_FUNCTIONS: dict[str, Callable[..., Tensor]]
"""

API = ROOT.parent / "docs" / "api"
LISTED = re.compile(r"(<!-- made from the table of terms -->\n).*?(<!-- end -->)", re.DOTALL)


def listed(page: Path, paths: Iterable[str]) -> str:
    """Returns a page of the API with its list of names replaced."""
    entries = "".join(f"::: {name}\n\n" for name in paths)
    return LISTED.sub(lambda found: f"{found[1]}{entries}{found[2]}", page.read_text())


def terms_page() -> str:
    """Returns the API's page of terms."""
    return listed(API / "terms.md", [f"segloss.terms.{t.__name__}" for t in TERMS.values()])


def losses_page() -> str:
    """Returns the API's page of losses."""
    losses = term_losses.TERM_LOSSES.values()
    return listed(API / "losses.md", [f"{loss.__module__}.{loss.__name__}" for loss in losses])


TERMS_PAGE = ROOT.parent / "docs" / "losses.md"
OVERVIEW = re.compile(r"(\| name \| term [^\n]*\n\|[-|]+\n).*?(\| \[not a term\])", re.DOTALL)


def overview_page() -> str:
    """Returns docs/losses.md with its overview replaced: a row for the term of each section."""
    page = TERMS_PAGE.read_text()
    sections = re.findall(r"^### ([^\n]+)\n\n`(\w+)`", page, re.MULTILINE)
    rows = "".join(_row(title, name) for title, name in sections if name in TERMS)
    return OVERVIEW.sub(lambda found: f"{found[1]}{rows}{found[2]}", page)


def _row(title: str, name: str) -> str:
    anchor = title.lower().replace(",", "").replace(" ", "-")
    term = TERMS[name]
    loss = term_losses.TERM_LOSSES.get(name)
    written = "PyTorch's" if loss is None else f"`{loss.__name__}`"
    components = [component for _, _, component in term().components(name)]
    sums = sorted(
        {_kind(each.name) for component in components for each in component.sums if each.rows}
    )
    needs = ", ".join(kind for kind in sums if kind != "counts")
    found = re.search(r"^in (\[.*?[\])])", inspect.getdoc(term) or "", re.MULTILINE)
    values = found[1].replace("inf", "∞") if found else "any"
    return f"| [`{name}`](#{anchor}) | `{term.__name__}` | {written} | {needs} | {values} |\n"


def _kind(name: str) -> str:
    """Returns the name of a sum in the overview."""
    return {"cross_entropy": "cross-entropy"}.get(name, name.split()[0].replace("_", " "))


# The functions that return the contents of each file
MADE = {
    TERMS_PAGE: overview_page,
    API / "terms.md": terms_page,
    API / "losses.md": losses_page,
    ROOT / "losses" / "term_losses.pyi": losses_stub,
    ROOT / "functional.pyi": functions_stub,
}

if __name__ == "__main__":
    for path, contents in MADE.items():
        path.write_text(contents())
