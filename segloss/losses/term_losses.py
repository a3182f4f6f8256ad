"""One loss class for each term, such as `segloss.JaccardLoss`, made from the table of terms.

`JaccardLoss("multiclass", smooth=1.0)` is a `CompoundLoss` of one term, and takes the parameters of
the term as arguments. The classes are made when this module is imported. Editors and type checkers
read the stub `term_losses.pyi`, which `scripts/term_stubs.py` writes.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, ClassVar

from segloss.foundation.arguments import refuse_keyword, shown
from segloss.losses.compound_loss import CompoundLoss
from segloss.sums.plan import CROSS_ENTROPY
from segloss.terms import TERMS, Term
from segloss.terms.base import parameters_of

_OPTIONS = [
    name
    for name in inspect.signature(CompoundLoss.__init__).parameters
    if name not in ("self", "terms", "mode")
]
"""The keyword arguments of `CompoundLoss`."""


class TermLoss(CompoundLoss):
    """A term as a loss of (prediction, target): a `CompoundLoss` of one term.

    A subclass names its `term_type`.

    Args:
        mode: "binary": one sigmoid channel; "multilabel": independent sigmoid channels;
            "multiclass": softmax over the channels.
        classes: Another name for the parameter `region_classes` of region terms: the classes that
            the term looks at; None: all.
        **parameters: The parameters of the term (a region term also has the parameters of
            `segloss.terms.RegionTerm`), and the options of `CompoundLoss`.

    Raises:
        TypeError, ValueError: An argument is wrong or unknown when the loss is made, or a
            prediction or target is wrong when it is used.
    """

    term_type: ClassVar[type[Term]]

    def __init__(
        self, mode: str = "binary", *, classes: Sequence[int] | None = None, **parameters: Any
    ) -> None:
        if not hasattr(self, "term_type"):
            raise TypeError(
                f"{type(self).__name__} must have a term_type: use a subclass that sets it."
            )
        term_parameters = parameters_of(self.term_type)
        options = {name: parameters.pop(name) for name in _OPTIONS if name in parameters}
        known = ["mode", *term_parameters, *_OPTIONS]
        for name in parameters:
            if name not in known:
                refuse_keyword(type(self).__name__, name, known, "", self.belongs_elsewhere)
        if classes is not None:
            if "region_classes" not in term_parameters or "region_classes" in parameters:
                raise ValueError(
                    "classes is another name for region_classes of a region term: set it once, "
                    f"and for a region term only, got {shown(classes)} for {type(self).__name__} "
                    f"with the parameters {', '.join(term_parameters)}."
                )
            parameters["region_classes"] = classes
        super().__init__(self.term_type(**parameters), mode, **options)
        self._check_options_of_cross_entropy()

    def _check_options_of_cross_entropy(self) -> None:
        """Raises ValueError for an option of cross-entropy if the term has none.

        A `SegLoss` takes them with any terms: losses of equal options share one pass.
        """
        given = {
            "class_weights": self.class_weights is not None,
            "pos_weight": self.pos_weight is not None,
            "label_smoothing": self.options.label_smoothing > 0,
        }
        unused = [name for name, is_given in given.items() if is_given]
        if not unused or CROSS_ENTROPY in self._group.plan.sums:
            return
        parameters = parameters_of(self.term_type)
        others = [each for each in ("alpha", "region_class_weights") if each in parameters]
        instead = f" Weights of classes are {others[-1]} here." if others else ""
        raise ValueError(
            f"{unused[0]} is an option of cross-entropy, and {type(self).__name__} has none: leave "
            f"{unused[0]} out.{instead if unused[0] != 'label_smoothing' else ''}"
        )

    def extra_repr(self) -> str:
        """Returns the mode, the parameters of the term, and how predictions are read."""
        parameters = repr(self.mixture.components[0].term).partition("(")[2].removesuffix(")")
        return ", ".join([self._reading(), *([parameters] if parameters else [])])


def signature_of(term_type: type[Term]) -> inspect.Signature:
    """Returns the signature of a term's loss: mode, the term's parameters, classes, options."""
    of_term = inspect.signature(term_type).parameters
    of_loss = inspect.signature(TermLoss.__init__).parameters
    options = inspect.signature(CompoundLoss.__init__).parameters
    parameters = [of_loss["mode"], *of_term.values()]
    if "region_classes" in of_term:
        parameters.append(of_loss["classes"])
    return inspect.Signature([*parameters, *(options[name] for name in _OPTIONS)])


def name_of(term_type: type[Term]) -> str:
    """Returns the name of a term's loss, such as `JaccardLoss`."""
    return f"{term_type.__name__}Loss"


def _loss_of(term_type: type[Term]) -> type[TermLoss]:
    """Returns the loss class of a term, with the docstring of the term."""
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
"""The loss classes by the names of terms, without cross-entropy: use `nn.CrossEntropyLoss`."""

globals().update({loss.__name__: loss for loss in TERM_LOSSES.values()})
__all__ = [loss.__name__ for loss in TERM_LOSSES.values()]
