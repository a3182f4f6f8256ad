"""Terms with coefficients, and the terms by their names."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from segloss.arguments import check_keys, check_module_name, check_number, nearest, shown
from segloss.confusion import SoftConfusion, confusion_of
from segloss.confusion.fused import serves
from segloss.confusion.native import serves_native
from segloss.distributed import RankSum
from segloss.precision import Precise, arithmetic_dtype
from segloss.targets import Pixels
from segloss.terms.closed_form import ClosedForm, of_closed_form
from segloss.terms.correlation import MCC
from segloss.terms.evaluated import Evaluated
from segloss.terms.generalized_dice import GeneralizedDice
from segloss.terms.of_maps import Boundary, SkeletonRecall
from segloss.terms.one_step import OneStep
from segloss.terms.overlap import (
    Dice,
    FBeta,
    FocalTversky,
    Jaccard,
    LogCoshDice,
    LogDice,
    SquaredDice,
    Tversky,
)
from segloss.terms.pixelwise import CrossEntropy, Focal, Poly1
from segloss.terms.region_size import RegionSizeKL, RegionSizeL1
from segloss.terms.term import RegionOptions, Term, mean
from segloss.terms.unified_focal import UnifiedFocal

if TYPE_CHECKING:
    from typing_extensions import Unpack

TERMS: dict[str, type[Term]] = {
    term.name: term
    for term in (
        CrossEntropy,
        Dice,
        FocalTversky,
        Jaccard,
        Tversky,
        FBeta,
        LogDice,
        LogCoshDice,
        SquaredDice,
        GeneralizedDice,
        MCC,
        RegionSizeL1,
        RegionSizeKL,
        Focal,
        Poly1,
        UnifiedFocal,
        Boundary,
        SkeletonRecall,
    )
}
"""All terms by name, as `extra_terms` knows them."""


Added = Mapping[str, Sequence[Tensor]]
"""The statistics of terms, by the names of these."""


class Weighted(NamedTuple):
    """A term with its coefficient, and a name of its own if its kind's will not do."""

    coefficient: float
    term: Term
    name: str | None = None


def _summed(ratio: Tensor) -> Tensor:
    """The sum over classes, where there are any."""
    return ratio.sum() if ratio.ndim > 0 else ratio


class Compound(Precise):
    """Terms of a compound loss with their coefficients.

    Args:
        weighted: The terms; those of coefficient 0 are left out, and those that are made of
            others are taken apart.

    Attributes:
        coefficients: The coefficients of the terms that are left, by name.
        terms: The terms themselves.
        sums: The groups of sums that they need.
        maps: The keys of the maps that these need.

    Raises:
        ValueError: No coefficient is above 0, or two terms have one name.
    """

    coefficient_vector: Tensor

    def __init__(self, weighted: Sequence[Weighted]) -> None:
        super().__init__()
        used = [
            (name, coefficient * share, part)
            for coefficient, term, own_name in weighted
            for name, share, part in term.parts(own_name or term.name)
            if coefficient * share > 0
        ]
        names = [name for name, _, _ in used]
        if not used:
            raise ValueError(
                "One of bce_coef, dice_coef, tversky_focal_coef and extra_terms must be above 0: "
                "the loss has no term."
            )
        if len(set(names)) < len(names):
            raise ValueError(
                f"extra_terms must not repeat a term that is there: {', '.join(names)}. Give the "
                "second a name of its own: extra_terms={'dice_2': {'term': 'dice', 'coef': 0.5}}."
            )
        self.coefficients = {name: coefficient for name, coefficient, _ in used}
        vector = torch.tensor(list(self.coefficients.values()), dtype=torch.float64)
        self.register_buffer("coefficient_vector", vector, persistent=False)
        self.terms = nn.ModuleDict({name: part for name, _, part in used})
        self.sums = sorted({group for _, _, part in used for group in part.sums})
        self.maps = sorted({key for _, _, part in used for key in part.maps})
        self._step = self._one_step(used)

    def _one_step(self, used: Sequence[tuple[str, float, Term]]) -> OneStep | None:
        """All terms in one step; None if one has parameters, which must get gradients too."""
        if next(self.parameters(), None) is not None:
            return None
        known = of_closed_form({name: part for name, _, part in used})
        rest = [Weighted(c, part, name) for name, c, part in used if name not in known]
        others = Compound(rest).of_sums if rest and known else self.of_sums if rest else None
        return OneStep(self.sums, ClosedForm(known, self.coefficients), others, self.of_sums)

    def check_classes(self, channels: int, activation: str) -> None:
        """Raises ValueError if the terms' parameters do not fit so many channels."""
        for term in self.terms.values():
            if isinstance(term, Term):
                term.check_classes(channels, activation)

    def forward(
        self, confusion: SoftConfusion, add: Callable[[Added], Added] | None = None
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """The numerators and denominators of each term.

        Args:
            confusion: The sums of these samples.
            add: What adds up the terms' statistics over ranks, such as a `RankSum`; None: nothing.
        """
        statistics = {
            name: term.statistics(confusion)
            for name, term in self.terms.items()
            if isinstance(term, Term)
        }
        tensors: Added = {name: each.tensors for name, each in statistics.items()}
        if add is not None:
            tensors = add(tensors)
        return {name: each.finish(tensors[name]) for name, each in statistics.items()}

    def means(self, ratios: Mapping[str, tuple[Tensor, Tensor]]) -> Tensor:
        """The value of each term, (T,), from its numerators and denominators."""
        numerators = [_summed(numerator) for numerator, _ in ratios.values()]
        denominators = [_summed(denominator) for _, denominator in ratios.values()]
        return mean(torch.stack(numerators), torch.stack(denominators))

    def total(self, means: Tensor) -> Tensor:
        """The sum of coefficients times terms, in the precision of the sums."""
        return (self.coefficient_vector.to(means) * means).sum()

    def evaluate(self, pixels: Pixels, add: RankSum, left_out: Tensor | None = None) -> Evaluated:
        """The loss of pixels, in their arithmetic's dtype, and what else is known of it.

        Args:
            pixels: The pixels, as `as_pixels` has checked them.
            add: What adds up the terms' statistics over ranks.
            left_out: Cells (N, C) that the region terms leave out, or None.
        """
        alone = left_out is None and not add.is_active
        counted = "metric" not in self.sums or pixels.is_soft  # otherwise it is what "region" is
        if self._step and alone and counted and serves(pixels) and serves_native(pixels, self.sums):
            return self._step(pixels)
        confusion = confusion_of(pixels, self.sums)
        if left_out is not None:
            confusion = confusion.leave_out(left_out)
        evaluated = self.of_sums(confusion, add)
        dtype = arithmetic_dtype(pixels.prediction.dtype)
        return evaluated._replace(loss=evaluated.loss.to(dtype))

    def of_sums(
        self, confusion: SoftConfusion, add: Callable[[Added], Added] | None = None
    ) -> Evaluated:
        """The loss of the pass's sums, in their precision."""
        ratios = self(confusion, add)
        means = self.means(ratios)
        per_class = {
            name: numerator.detach() / denominator.detach()
            for name, (numerator, denominator) in ratios.items()
            if numerator.ndim > 0
        }
        terms = dict(zip(ratios, means.detach().unbind(), strict=True))
        return Evaluated(self.total(means), terms, per_class)

    def value(
        self, confusion: SoftConfusion, add: Callable[[Added], Added] | None = None
    ) -> Tensor:
        """The loss: `total` of the `means` of `forward`."""
        return self.total(self.means(self(confusion, add)))

    def cells(self, confusion: SoftConfusion) -> Tensor:
        """The sum of coefficients times the terms' cells, (N, C), which must be of one shape.

        Cells that are left out count 0; what has one value per sample, such as softmax
        cross-entropy, counts in each of the sample's cells.
        """
        cells = [
            self.coefficients[name] * term.kept_cells(confusion)
            for name, term in self.terms.items()
            if isinstance(term, Term)
        ]
        return functools.reduce(torch.add, cells)


def seg_terms(
    *,
    bce_coef: float = 0.5,
    dice_coef: float = 0.5,
    tversky_focal_coef: float = 0.0,
    smooth: float = 1.0,
    tversky_alpha: float = 0.3,
    tversky_beta: float = 0.7,
    tversky_gamma: float = 0.75,
    extra_terms: Mapping[Any, Any] | None = None,
    **region: Unpack[RegionOptions],
) -> Compound:
    """The compound that the arguments of `SegLoss` describe.

    Terms named in `extra_terms` have the same parameters as those of the coefficients, and their
    own defaults for others.

    Raises:
        TypeError, ValueError: A coefficient or parameter is wrong, or no coefficient is above 0.
    """
    alpha = check_number("tversky_alpha", tversky_alpha)
    beta = check_number("tversky_beta", tversky_beta)
    gamma = check_number("tversky_gamma", tversky_gamma, open_low=True)
    shared: dict[str, dict[str, Any]] = {
        "dice": {"smooth": smooth},
        "focal_tversky": {"alpha": alpha, "beta": beta, "gamma": gamma},
        "tversky": {"alpha": alpha, "beta": beta},
    }

    def make(name: str, **parameters: Any) -> Term:
        options = region if TERMS[name].takes_region_options else {}
        return TERMS[name](**{**options, **shared.get(name, {}), **parameters})

    coefficients = {
        "cross_entropy": check_number("bce_coef", bce_coef),
        "dice": check_number("dice_coef", dice_coef),
        "focal_tversky": check_number("tversky_focal_coef", tversky_focal_coef),
    }
    fixed = [Weighted(coefficient, make(name)) for name, coefficient in coefficients.items()]
    return Compound([*fixed, *_extra_terms(extra_terms, make)])


def _extra_terms(extra_terms: Any, make: Callable[..., Term]) -> list[Weighted]:
    if extra_terms is None:
        return []
    if not isinstance(extra_terms, Mapping):
        raise TypeError(
            f"extra_terms must be a mapping of terms to coefficients, such as "
            f"{{'jaccard': 0.2}}, got {shown(extra_terms)}."
        )
    return [_extra_term(key, value, make) for key, value in extra_terms.items()]


def _extra_term(key: Any, value: Any, make: Callable[..., Term]) -> Weighted:
    """A term, as an object or by name, with a coefficient, or with a mapping of it and more."""
    where = f"extra_terms[{key!r}]"
    if not isinstance(value, Mapping):
        return Weighted(check_number(where, value), _named_term(where, key, {}, make))
    parameters = dict(value)
    if "coef" not in parameters:
        raise ValueError(f"{where} must have the key 'coef', got {sorted(map(str, parameters))}.")
    coefficient = check_number(f"{where}['coef']", parameters.pop("coef"))
    term = _named_term(where, parameters.pop("term", key), parameters, make)
    return Weighted(coefficient, term, check_module_name("A name in extra_terms", key))


def _named_term(
    where: str, term: Any, parameters: Mapping[str, Any], make: Callable[..., Term]
) -> Term:
    if isinstance(term, Term):
        if parameters:
            raise ValueError(
                f"{where} has a term object, which has its parameters already; leave out: "
                f"{', '.join(map(str, parameters))}."
            )
        return term
    if not isinstance(term, str) or term not in TERMS:
        raise ValueError(
            f"extra_terms must hold terms or their names ({', '.join(TERMS)}), got "
            f"{shown(term)}{nearest(term, TERMS)}."
        )
    check_keys(where, parameters, parameters_of(TERMS[term]))
    return make(term, **parameters)


def parameters_of(term_type: type[Term]) -> list[str]:
    """The names of the keyword arguments that a term takes."""
    named = inspect.signature(term_type).parameters.values()
    own = [p.name for p in named if p.kind is p.KEYWORD_ONLY]
    region = RegionOptions.__annotations__ if term_type.takes_region_options else ()
    return list(dict.fromkeys([*own, *region]))
