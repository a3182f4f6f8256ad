"""A mixture of terms, written as arithmetic.

    0.5 * CrossEntropy() + 0.3 * Dice(region_classes=[1, 2]) + 0.2 * FocalTversky()

A mixture is printed as it was written. Two mixtures are equal if their terms and coefficients are
equal. A mixture can't be changed; make a new one instead. A `MixtureGroup` describes mixtures that
share one pass over the same pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, NoReturn

from torch import nn

from segloss.foundation.arguments import check_module_name, check_number, shown
from segloss.terms.algebra import Algebra, not_a_loss
from segloss.terms.base import Term


class Entry(NamedTuple):
    """A term in a mixture.

    Attributes:
        coefficient: The factor of the term, at least 0.
        term: The term.
        name: The name of the term in `extra_info`.
    """

    coefficient: float
    term: Term
    name: str


@dataclass(frozen=True, repr=False)
class Mixture(Algebra):
    """Terms with coefficients, such as `0.5 * CrossEntropy() + 0.5 * Dice()`.

    Attributes:
        entries: The terms as they were mixed, with coefficients and names.
        components: The entries that are computed. A term that is a sum of others, such as
            `Poly1`, is replaced by them, and terms with a coefficient of 0 are left out.

    Raises:
        TypeError, ValueError: A coefficient is not a number of at least 0, or two terms have the
            same name.

    Example:
        >>> from segloss.terms import CrossEntropy, Dice
        >>> mixture = 0.5 * (CrossEntropy() + Dice(region_classes=[1, 2]))
        >>> mixture
        0.5 * (CrossEntropy() + Dice(region_classes=[1, 2]))
        >>> mixture == 0.5 * CrossEntropy() + 0.5 * Dice(region_classes=[1, 2])
        True
    """

    entries: tuple[Entry, ...]
    written: str = field(compare=False)
    components: tuple[Entry, ...] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        components = tuple(
            Entry(coefficient * factor, component, component_name)
            for coefficient, term, name in self.entries
            for component_name, factor, component in term.components(name)
        )
        _check_names([each.name for each in components])
        used = tuple(each for each in components if each.coefficient > 0)
        object.__setattr__(self, "components", used)

    @classmethod
    def of(cls, term: Term | Mixture) -> Mixture:
        """Returns a mixture of one term; returns a mixture unchanged."""
        if isinstance(term, Mixture):
            return term
        if not isinstance(term, Term):
            hint = f" Make one: {term.__name__}()." if isinstance(term, type) else ""
            raise TypeError(f"A mixture is made of terms, got {shown(term)}.{hint}")
        if not hasattr(term, "name"):
            raise TypeError(
                f"{type(term).__name__} must have a name, its key in extra_info: write "
                'name = "..." into the class.'
            )
        return cls((Entry(1.0, term, term.name),), repr(term))

    def times(self, coefficient: Any) -> Mixture:
        """Returns the mixture with all coefficients times a number of at least 0."""
        number = check_number("A coefficient", coefficient)
        scaled = tuple(
            each._replace(coefficient=number * each.coefficient) for each in self.entries
        )
        inner = f"({self.written})" if len(self.entries) > 1 else self.written
        return Mixture(scaled, f"{coefficient!r} * {inner}")

    def plus(self, added: Mixture) -> Mixture:
        """Returns the mixture with the terms of another."""
        return Mixture((*self.entries, *added.entries), f"{self.written} + {added.written}")

    def __call__(self, *tensors: Any) -> NoReturn:
        """Raises TypeError: a `segloss.CompoundLoss` of the mixture is called."""
        raise TypeError(not_a_loss(self))

    def named(self, name: str) -> Mixture:
        """Returns the same mixture, of a single term, with another name for the term.

        Raises:
            ValueError: The mixture has several terms.
        """
        check_module_name("The name of a term", name)
        if len(self.entries) != 1:
            raise ValueError(
                f"named({name!r}) names one term, but this mixture has {len(self.entries)}: name "
                "each where it is made, as in 0.5 * Dice().named('lesions') + ...."
            )
        [entry] = self.entries
        inner = self.written if entry.coefficient == 1 else f"({self.written})"
        return Mixture((entry._replace(name=name),), f"{inner}.named({name!r})")

    @property
    def coefficients(self) -> Mapping[str, float]:
        """The coefficients of the terms that are computed, by name."""
        return {entry.name: entry.coefficient for entry in self.components}

    @property
    def terms(self) -> Mapping[str, Term]:
        """The terms that are computed, by name."""
        return {entry.name: entry.term for entry in self.components}

    def check_used(self) -> Mixture:
        """Returns the mixture; raises ValueError if no term has a coefficient above 0."""
        if not self.components:
            raise ValueError(
                "A loss needs a term with a coefficient above 0, but this one has none: "
                f"{self.written or 'nothing was mixed'}."
            )
        return self

    def check_classes(self, channels: int, activation: str) -> None:
        """Raises ValueError if the terms' parameters do not fit the number of channels."""
        for entry in self.components:
            entry.term.check_classes(channels, activation)

    def parameters(self) -> nn.ParameterList | None:
        """Returns the `nn.Parameter`s among the fields of the terms; None if there are none."""
        values = [value for entry in self.components for value in vars(entry.term).values()]
        found = [value for value in values if isinstance(value, nn.Parameter)]
        return nn.ParameterList(found) if found else None

    def __repr__(self) -> str:
        return self.written


def _check_names(names: Sequence[str]) -> None:
    for name in names:
        if "/" in name:
            raise ValueError(
                f"The name of a term must not hold '/', got {name!r}: 'dice/1' is the value of "
                "dice for class 1 in the extra information."
            )
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(
            "A mixture (or extra_terms) must not repeat a term: "
            f"{', '.join(repeated)}. "
            "Give the second a name of its own: 0.5 * Dice(region_classes=[1]).named('lesions'), "
            "or extra_terms={'lesions': {'term': 'dice', 'coef': 0.5}}."
        )
