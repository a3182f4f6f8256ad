"""Writes the stubs of the losses and functions that are made from the table of terms.

    python docs/term_stubs.py

Editors and type checkers read them; a test compares them with what is made.
"""

from __future__ import annotations

import inspect
from pathlib import Path

from segloss import functional
from segloss.losses import term_losses

ROOT = Path(__file__).parents[1] / "segloss"
HEADER = "# Written by docs/term_stubs.py, from the table of terms.\n"


def arguments_of(signature: inspect.Signature, first: str = "") -> str:
    """A signature's parameters as a stub has them, one a line."""
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


def losses_stub() -> str:
    """The stub of `segloss.losses.term_losses`."""
    parts = [
        HEADER,
        "import inspect\nfrom collections.abc import Sequence\nfrom typing import Any, ClassVar\n\n"
        "from segloss.losses.compound_loss import MODES as MODES\n"
        "from segloss.losses.compound_loss import CompoundLoss\nfrom segloss.terms import Term\n\n"
        "__all__: list[str]\n\nTERM_LOSSES: dict[str, type[TermLoss]]\n\n"
        "def signature_of(term_type: type[Term]) -> inspect.Signature: ...\n"
        "def name_of(term_type: type[Term]) -> str: ...\n\n"
        "class TermLoss(CompoundLoss):\n    term_type: ClassVar[type[Term]]\n\n"
        "    def __init__(\n        self,\n        mode: str = 'binary',\n        *,\n"
        "        classes: Sequence[int] | None = None,\n        **parameters: Any,\n"
        "    ) -> None: ...\n",
    ]
    for loss in term_losses.TERM_LOSSES.values():
        arguments = arguments_of(inspect.signature(loss), "self")
        parts.append(
            f"class {loss.__name__}(TermLoss):\n    def __init__(\n{arguments}    ) -> None: ...\n"
        )
    return "\n".join(parts)


def functions_stub() -> str:
    """The stub of `segloss.functional`."""
    parts = [
        HEADER,
        "from collections.abc import Callable, Mapping, Sequence\nfrom typing import Any\n\n"
        "from torch import Tensor\n\nfrom segloss.terms import Mixture, Term\n\n"
        "__all__: list[str]\n\nTERM_FUNCTIONS: dict[str, Callable[..., Tensor]]\n",
    ]
    for name in functional.__all__:
        arguments = arguments_of(inspect.signature(getattr(functional, name)))
        parts.append(f"def {name}(\n{arguments}) -> Tensor: ...\n".replace("        ", "    "))
    return "\n".join(parts)


STUBS = {
    ROOT / "losses" / "term_losses.pyi": losses_stub,
    ROOT / "functional.pyi": functions_stub,
}

if __name__ == "__main__":
    for path, stub in STUBS.items():
        path.write_text(stub())
