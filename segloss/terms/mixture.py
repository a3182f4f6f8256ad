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

import torch
from torch import Tensor, nn

from segloss.arguments import check_module_name, check_number, shown
from segloss.constants import on_device
from segloss.sums.closed_forms import Addend, ClosedForms
from segloss.sums.confusion import SoftConfusion
from segloss.sums.plan import Plan, check_sums, plan_of
from segloss.terms.base import Term, mean


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
        parts: The terms that are computed: those of coefficient 0 are left out, and those that are
            made of others are taken apart.

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
    parts: tuple[Entry, ...] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        parts = tuple(
            Entry(coefficient * share, part, part_name)
            for coefficient, term, name in self.entries
            for part_name, share, part in term.parts(name)
        )
        _check_names([part.name for part in parts])
        used = tuple(part for part in parts if part.coefficient > 0)
        object.__setattr__(self, "parts", used)

    @classmethod
    def of(cls, term: Term | Mixture) -> Mixture:
        """The mixture of one term; a mixture as it is."""
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
        """The same with a name of its own for its one term.

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
        return {part.name: part.coefficient for part in self.parts}

    @property
    def terms(self) -> Mapping[str, Term]:
        """The terms that are computed, by name."""
        return {part.name: part.term for part in self.parts}

    def check_used(self) -> Mixture:
        """Returns the mixture if it has a term; raises ValueError otherwise."""
        if not self.parts:
            raise ValueError(
                "A loss needs a term with a coefficient above 0, and this one has none: "
                f"{self.written or 'nothing was mixed'}."
            )
        return self

    def check_classes(self, channels: int, activation: str) -> None:
        """Raises ValueError if the terms' parameters do not fit so many channels."""
        for part in self.parts:
            part.term.check_classes(channels, activation)

    def cells(self, confusion: SoftConfusion) -> Tensor:
        """The sum of coefficients times the terms' cells, (N, C), which must be of one shape.

        Cells that are left out count 0; what has one value per sample, such as softmax
        cross-entropy, counts in each of the sample's cells.
        """
        first, *others = (part.coefficient * part.term.kept_cells(confusion) for part in self.parts)
        return sum(others, start=first)

    def parameters(self) -> nn.ParameterList | None:
        """The parameters that terms of your own may have among their fields; None: none."""
        values = [value for part in self.parts for value in vars(part.term).values()]
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


class MixtureGroup:
    """Losses of the same pixels: what one pass needs to know of their mixtures.

    Everything here follows from the mixtures, which can't change.

    Args:
        mixtures: The mixtures of the losses, each with a term.

    Attributes:
        mixtures: These.
        plan: The sums that they need.
        forms: What has a closed form of them; None: nothing.
        closed: The terms with a closed form, each with the place of its loss, and with this.
        others: The terms without, each with the place of its loss.
        all: All terms, likewise.
        choosy: The terms whose parameters fit some numbers of classes alone.
    """

    def __init__(self, mixtures: Sequence[Mixture]) -> None:
        self.mixtures = tuple(mixture.check_used() for mixture in mixtures)
        self.all = tuple(
            (place, part) for place, each in enumerate(self.mixtures) for part in each.parts
        )
        self.plan: Plan = plan_of(
            each for _, part in self.all for each in check_sums(part.term.sums).sums
        )
        found = [(place, part, part.term.closed_form()) for place, part in self.all]
        addends = [(p, Addend(p, part.coefficient, f)) for p, part, f in found if f is not None]
        self.others = tuple((place, part) for place, part, form in found if form is None)
        self.closed = tuple(each for each in found if each[2] is not None)
        self.forms: ClosedForms | None = None
        if addends:
            self.forms = ClosedForms(
                tuple(addend for _, addend in addends), len(self.mixtures), self._closed_losses
            )
        self.choosy = tuple(part.term for _, part in self.all if not part.term.fits_any_classes)

    def __repr__(self) -> str:
        return f"MixtureGroup({list(self.mixtures)})"

    def check_classes(self, channels: int, activation: str) -> None:
        """Raises ValueError if the terms' parameters do not fit so many channels."""
        for term in self.choosy:
            term.check_classes(channels, activation)

    def total(self, parts: Sequence[tuple[int, Entry]], means: Tensor) -> Tensor:
        """The losses (K,), of the means (T,) of some of the terms.

        Each loss is the sum of coefficients times terms.
        """
        counts = [sum(place == loss for place, _ in parts) for loss in range(len(self.mixtures))]
        coefficients = tuple(part.coefficient for _, part in parts)
        weighted = on_device(coefficients, means.device, means.dtype) * means
        if len(counts) == 1:
            return weighted.sum(0, keepdim=True)
        return torch.stack([values.sum() for values in weighted.split_with_sizes(counts)])

    def _closed_losses(self, confusion: SoftConfusion) -> Tensor:
        parts = [(place, part) for place, part, _ in self.closed]
        return self.total(parts, means_of([part.term(confusion) for _, part in parts]))


def means_of(ratios: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """The values of terms, (T,), from their numerators and denominators."""
    numerators, denominators = zip(*ratios, strict=True)
    return mean(
        torch.stack([*map(_summed, numerators)]), torch.stack([*map(_summed, denominators)])
    )


def _summed(ratio: Tensor) -> Tensor:
    """The sum over classes, where there are any."""
    return ratio.sum() if ratio.ndim > 0 else ratio
