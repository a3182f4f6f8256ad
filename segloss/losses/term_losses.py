"""Each term as a loss of its own, made from the table of terms.

`segloss.JaccardLoss("multiclass", smooth=1.0)` is a `CompoundLoss` of one term, whose parameters
it takes itself. The classes are made when this module is imported; `term_losses.pyi` beside it,
which `scripts/term_stubs.py` writes, says the same to editors and type checkers.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, ClassVar

from segloss.foundation.arguments import check_keys, shown
from segloss.losses.compound_loss import CompoundLoss
from segloss.terms import TERMS, Term
from segloss.terms.base import parameters_of

_OPTIONS = [
    name
    for name in inspect.signature(CompoundLoss.__init__).parameters
    if name not in ("self", "terms", "mode")
]


class TermLoss(CompoundLoss):
    """A term as a loss of (prediction, target): a `CompoundLoss` of one term.

    A subclass names its `term_type`.

    Args:
        mode: "binary": one sigmoid channel; "multilabel": several, independent; "multiclass":
            softmax over the channels.
        classes: The classes that a region term looks at; None: all. It is `region_classes`.
        **parameters: The term's own parameters, for region terms those of
            `segloss.terms.RegionTerm`, and the options of `CompoundLoss`.

    Raises:
        TypeError, ValueError: An argument is wrong or unknown; later, a prediction or target is.
    """

    term_type: ClassVar[type[Term]]

    def __init__(
        self, mode: str = "binary", *, classes: Sequence[int] | None = None, **parameters: Any
    ) -> None:
        if not hasattr(self, "term_type"):
            raise TypeError(f"{type(self).__name__} must name its term_type: use a subclass of it.")
        known = parameters_of(self.term_type)
        options = {name: parameters.pop(name) for name in _OPTIONS if name in parameters}
        check_keys(type(self).__name__, parameters, [*known, *_OPTIONS])
        if classes is not None:
            if "region_classes" not in known or "region_classes" in parameters:
                raise ValueError(
                    f"classes selects those of a region term, once, got {shown(classes)} for "
                    f"{type(self).__name__} with the parameters {', '.join(known)}."
                )
            parameters["region_classes"] = classes
        super().__init__(self.term_type(**parameters), mode, **options)

    def extra_repr(self) -> str:
        """Returns the mode, and whether predictions are logits."""
        return f"{self.mode!r}, from_logits={self.options.from_logits}"


def signature_of(term_type: type[Term]) -> inspect.Signature:
    """Returns the signature of a term's loss: mode, parameters of the term, classes, options."""
    own = inspect.signature(term_type).parameters
    named = inspect.signature(TermLoss.__init__).parameters
    options = inspect.signature(CompoundLoss.__init__).parameters
    parameters = [named["mode"], *own.values()]
    if "region_classes" in own:
        parameters.append(named["classes"])
    return inspect.Signature([*parameters, *(options[name] for name in _OPTIONS)])


def name_of(term_type: type[Term]) -> str:
    """Returns the name of a term's loss, such as `JaccardLoss`."""
    return f"{term_type.__name__}Loss"


def _loss_of(term_type: type[Term]) -> type[TermLoss]:
    attributes = {
        "term_type": term_type,
        "__module__": __name__,
        "__doc__": inspect.getdoc(term_type),
        "__signature__": signature_of(term_type),
    }
    return type(name_of(term_type), (TermLoss,), attributes)


TERM_LOSSES: dict[str, type[TermLoss]] = {
    name: _loss_of(term_type) for name, term_type in TERMS.items() if name != "cross_entropy"
}
"""The losses of single terms, by the names of these. `nn.CrossEntropyLoss` is PyTorch's."""

globals().update({loss.__name__: loss for loss in TERM_LOSSES.values()})
__all__ = [loss.__name__ for loss in TERM_LOSSES.values()]
