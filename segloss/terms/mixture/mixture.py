"""A mixture of terms: a value, made by arithmetic.

    0.5 * CrossEntropy() + 0.3 * Dice(region_classes=[1, 2]) + 0.2 * FocalTversky()

It is printed as it was written, equal to another if its terms and coefficients are, and can't be
changed: a change is a new mixture. `MixtureGroup` is what a pass needs to know of some mixtures
that look at the same pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from torch import Tensor, nn

from segloss.foundation.arguments import check_module_name, check_number, shown
from segloss.sums.confusion import SoftConfusion
from segloss.terms.base import Term


class Entry(NamedTuple):
    """A term in a mixture.

    Attributes:
        coefficient: What it is multiplied with, at least 0.
        term: The term.
        name: What `extra_info` calls it.
    """

    coefficient: float
    term: Term
    name: str


@dataclass(frozen=True, repr=False)
class Mixture:
    """Terms with coefficients, as `0.5 * CrossEntropy() + 0.5 * Dice()` makes it.

    Attributes:
        entries: The terms as they were mixed, with coefficients and names.
        components: The terms that are computed, without those of coefficient 0. Others replace a
            term that is made of them.

    Raises:
        TypeError, ValueError: A coefficient is not a number of at least 0, or two terms have one
            name.

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
            Entry(coefficient * share, part, part_name)
            for coefficient, term, name in self.entries
            for part_name, share, part in term.components(name)
        )
        _check_names([each.name for each in components])
        used = tuple(each for each in components if each.coefficient > 0)
        object.__setattr__(self, "components", used)

    @classmethod
    def of(cls, term: Term | Mixture) -> Mixture:
        """Returns the mixture of one term; a mixture as it is."""
        if isinstance(term, Mixture):
            return term
        if not isinstance(term, Term):
            hint = f" Make one: {term.__name__}()." if isinstance(term, type) else ""
            raise TypeError(f"A mixture is made of terms, got {shown(term)}.{hint}")
        if not hasattr(term, "name"):
            raise TypeError(
                f"{type(term).__name__} must have a name, by which extra_info calls it: write "
                'name = "..." into the class.'
            )
        return cls((Entry(1.0, term, term.name),), repr(term))

    def __mul__(self, coefficient: Any) -> Mixture:
        number = check_number("A coefficient", coefficient)
        scaled = tuple(
            each._replace(coefficient=number * each.coefficient) for each in self.entries
        )
        inner = f"({self.written})" if len(self.entries) > 1 else self.written
        return Mixture(scaled, f"{coefficient!r} * {inner}")

    __rmul__ = __mul__

    def __add__(self, other: Any) -> Mixture:
        if not isinstance(other, (Term, Mixture)):
            return NotImplemented
        more = Mixture.of(other)
        return Mixture((*self.entries, *more.entries), f"{self.written} + {more.written}")

    def named(self, name: str) -> Mixture:
        """Returns the same with a name of its own for its one term.

        Raises:
            ValueError: It has several terms.
        """
        check_module_name("The name of a term", name)
        if len(self.entries) != 1:
            raise ValueError(
                f"named({name!r}) names one term, and this mixture has {len(self.entries)}: name "
                "each where it is made, as in 0.5 * Dice().named('lesions') + ...."
            )
        [entry] = self.entries
        inner = self.written if entry.coefficient == 1 else f"({self.written})"
        return Mixture((entry._replace(name=name),), f"{inner}.named({name!r})")

    @property
    def coefficients(self) -> Mapping[str, float]:
        """The coefficients of the terms that are computed, by name."""
        return {part.name: part.coefficient for part in self.components}

    @property
    def terms(self) -> Mapping[str, Term]:
        """The terms that are computed, by name."""
        return {part.name: part.term for part in self.components}

    def check_used(self) -> Mixture:
        """Returns the mixture if it has a term; raises ValueError otherwise."""
        if not self.components:
            raise ValueError(
                "A loss needs a term with a coefficient above 0, and this one has none: "
                f"{self.written or 'nothing was mixed'}."
            )
        return self

    def check_classes(self, channels: int, activation: str) -> None:
        """Raises ValueError if the terms' parameters do not fit so many channels."""
        for part in self.components:
            part.term.check_classes(channels, activation)

    def unreduced(self, confusion: SoftConfusion) -> Tensor:
        """Returns the sum of coefficients times unreduced terms, (N, C), all of one shape.

        Cells that are left out count 0; what has one value per sample, such as softmax
        cross-entropy, counts in each of the sample's cells.
        """
        first, *others = (
            part.coefficient * part.term.unreduced(confusion) for part in self.components
        )
        return sum(others, start=first)

    def parameters(self) -> nn.ParameterList | None:
        """Returns the parameters that terms of your own may have among their fields; None: none."""
        values = [value for part in self.components for value in vars(part.term).values()]
        found = [value for value in values if isinstance(value, nn.Parameter)]
        return nn.ParameterList(found) if found else None

    def __repr__(self) -> str:
        return self.written


def _check_names(names: Sequence[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(
            "A mixture, and extra_terms, must not repeat a term that is there: "
            f"{', '.join(twice)}. "
            "Give the second a name of its own: 0.5 * Dice(region_classes=[1]).named('lesions'), "
            "or extra_terms={'lesions': {'term': 'dice', 'coef': 0.5}}."
        )
