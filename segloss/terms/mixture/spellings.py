"""Mixtures from the documented coefficients of `SegLoss`, and from mappings of a config."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import nn

from segloss.foundation.arguments import check_keys, check_module_name, check_number, nearest, shown
from segloss.terms import TERMS, Mixture, RegionTerm, Term
from segloss.terms.algebra import term_meant
from segloss.terms.base import changed_parameters, is_same, parameter_fields, parameters_of
from segloss.terms.mixture import Entry
from segloss.terms.recommended import recommended

RECOMMENDED = "recommended"
"""The argument `terms` that stands for `segloss.recommended`."""

LOSSES_WITHOUT_TERMS = {
    "cldice": "SoftClDiceLoss",
    "hard_pixels": "HardPixelLoss",
    "hausdorff_distance": "HausdorffDistanceLoss",
    "lovasz": "LovaszLoss",
    "ohem_cross_entropy": "OhemCrossEntropyLoss",
    "topk_cross_entropy": "TopKCrossEntropyLoss",
}
"""The losses of segloss that are not computed from sums, so that no mixture has them."""

_OF_ITS_OWN = "{0} is a loss of its own: put a SegLoss and a {0} into a MultiLoss"

Make = Callable[..., Term]
"""A function from a term's name and parameters to the term."""


def mixture_of(terms: Any) -> Mixture:
    """Returns the mixture for an argument `terms`.

    It is a mixture, a term, a mapping of a config, or "recommended" for `segloss.recommended`.

    Raises:
        TypeError, ValueError: `terms` is something else, or names an unknown term or parameter.

    Example:
        >>> mixture_of({"cross_entropy": 0.5, "lesions": {"term": "dice", "coef": 0.5}})
        0.5 * CrossEntropy() + 0.5 * Dice().named('lesions')
    """
    if isinstance(terms, (Mixture, Term)):
        return Mixture.of(terms).check_used()
    if isinstance(terms, str) and terms == RECOMMENDED:
        return recommended()
    if not isinstance(terms, Mapping):
        raise TypeError(
            "terms must be a mixture, such as 0.5 * CrossEntropy() + 0.5 * Dice() of "
            f"segloss.terms, a mapping such as {{'cross_entropy': 0.5, 'dice': 0.5}}, or "
            f"{RECOMMENDED!r}, got {shown(terms)}{_terms_meant(terms)}."
        )
    entries = _entries("terms", terms, lambda name, **parameters: TERMS[name](**parameters))
    return _mixture_of_entries(entries).check_used()


def mapping_of(mixture: Mixture) -> dict[str, Any]:
    """Returns a mixture as the mapping of a config, for `mixture_of`.

    Example:
        >>> from segloss.terms import CrossEntropy, Dice
        >>> mapping_of(0.5 * CrossEntropy() + 0.5 * Dice(smooth=0.0).named("lesions"))
        {'cross_entropy': 0.5, 'lesions': {'term': 'dice', 'coef': 0.5, 'smooth': 0.0}}
    """
    return {entry.name: _as_block(entry) for entry in mixture.entries}


def _as_block(entry: Entry) -> Any:
    term = {} if entry.name == entry.term.name else {"term": entry.term.name}
    parameters = {**term, "coef": entry.coefficient, **changed_parameters(entry.term)}
    return entry.coefficient if len(parameters) == 1 else parameters


def _terms_meant(terms: Any) -> str:
    """Returns the remedy for something that stands for terms."""
    if isinstance(terms, str) and any(sign in terms for sign in "+*"):
        return ": pass the mixture without quotes, or in a config a mapping such as the one above"
    if remedy := _term_meant(terms):
        return remedy
    return nearest(terms, [RECOMMENDED, *TERMS]) if isinstance(terms, str) else ""


def _term_meant(terms: Any) -> str:
    """Returns the remedy for something that stands for a term, or for names of terms."""
    term_type = getattr(terms, "term_type", None)
    if isinstance(terms, type) and issubclass(terms, Term):
        return f": make a term of it, {terms.__name__}()"
    if isinstance(term_type, type):
        return f": pass its term, {term_type.__name__}(...) of segloss.terms"
    if isinstance(terms, (list, tuple)) and all(
        isinstance(each, (Term, Mixture)) for each in terms
    ):
        return f": add them up, {' + '.join(map(repr, terms))}" if terms else ""
    return term_meant(terms) if isinstance(terms, nn.Module) else _names_with_coefficients(terms)


def _name_meant(term: Any) -> str:
    """Returns the remedy for something that is not a term or the name of one."""
    if isinstance(getattr(term, "term_type", None), type) or not isinstance(term, nn.Module):
        losses = {name: _OF_ITS_OWN.format(loss) for name, loss in LOSSES_WITHOUT_TERMS.items()}
        return _term_meant(term) or nearest(term, TERMS, losses)
    return f": {_OF_ITS_OWN.format(type(term).__name__)}"


def documented_mixture(
    *,
    bce_coef: float = 0.5,
    dice_coef: float = 0.5,
    tversky_focal_coef: float = 0.0,
    smooth: float | Sequence[float] = 1.0,
    tversky_alpha: float = 0.3,
    tversky_beta: float = 0.7,
    tversky_gamma: float = 0.75,
    extra_terms: Mapping[Any, Any] | None = None,
    terms: Any = None,
    **region: Any,
) -> Mixture:
    """Returns the mixture that the documented arguments of `SegLoss` describe.

    If `terms` is given, it is the whole mixture, and the other arguments must have their defaults.
    Terms that `extra_terms` gives by name get the arguments that apply to them, such as `smooth`
    for "dice" and the region arguments for every region term; the rest of their parameters have
    the defaults of the term.

    Raises:
        TypeError, ValueError: A coefficient or parameter is wrong, or no coefficient is above 0.
    """
    if terms is not None:
        _check_defaults(
            {
                "bce_coef": bce_coef,
                "dice_coef": dice_coef,
                "tversky_focal_coef": tversky_focal_coef,
                "smooth": smooth,
                "tversky_alpha": tversky_alpha,
                "tversky_beta": tversky_beta,
                "tversky_gamma": tversky_gamma,
                "extra_terms": extra_terms,
                **region,
            }
        )
        return mixture_of(terms)
    alpha = check_number("tversky_alpha", tversky_alpha)
    beta = check_number("tversky_beta", tversky_beta)
    gamma = check_number("tversky_gamma", tversky_gamma, open_low=True)
    shared: dict[str, dict[str, Any]] = {
        "dice": {"smooth": smooth},
        "focal_tversky": {"alpha": alpha, "beta": beta, "gamma": gamma},
        "tversky": {"alpha": alpha, "beta": beta},
    }

    def make(name: str, **parameters: Any) -> Term:
        of_region = region if region.keys() <= set(parameters_of(TERMS[name])) else {}
        return TERMS[name](**{**of_region, **shared.get(name, {}), **parameters})

    coefficients = {
        "cross_entropy": check_number("bce_coef", bce_coef),
        "dice": check_number("dice_coef", dice_coef),
        "focal_tversky": check_number("tversky_focal_coef", tversky_focal_coef),
    }
    documented = [Entry(c, make(name), name) for name, c in coefficients.items()]
    extra = [] if extra_terms is None else _entries("extra_terms", extra_terms, make)
    used = [entry for entry in documented if entry.coefficient > 0]
    if not used and not any(entry.coefficient for entry in extra):
        raise ValueError(
            "One of bce_coef, dice_coef, tversky_focal_coef and extra_terms must be above 0: the "
            "loss has no term."
        )
    return _mixture_of_entries([*used, *extra])


def changed_arguments(arguments: Mapping[str, Any]) -> list[str]:
    """Returns the parameters of terms among the arguments that do not have their defaults."""
    return [
        name for name in _changed(arguments) if not name.endswith("_coef") and "terms" not in name
    ]


def _changed(arguments: Mapping[str, Any]) -> list[str]:
    """Returns the names of the arguments that do not have their defaults."""
    signature = inspect.signature(documented_mixture).parameters
    defaults = {each.name: each.default for each in parameter_fields(RegionTerm)}
    defaults |= {name: each.default for name, each in signature.items()}
    return [name for name, value in arguments.items() if not is_same(value, defaults[name])]


def _check_defaults(arguments: Mapping[str, Any]) -> None:
    """Raises ValueError if an argument that `terms` replaces does not have its default."""
    changed = _changed(arguments)
    if changed:
        example = (
            "terms=segloss.recommended() + 0.1 * Boundary()"
            if [*changed] == ["extra_terms"]
            else "0.5 * CrossEntropy() + 0.3 * Dice(region_classes=[1, 2])"
        )
        raise ValueError(
            f"terms is the whole mixture, so {', '.join(changed)} must keep the default: set it in "
            f"the terms, as in {example}."
        )


def _mixture_of_entries(entries: list[Entry]) -> Mixture:
    return Mixture(tuple(entries), " + ".join(_as_written(entry) for entry in entries))


def _as_written(entry: Entry) -> str:
    suffix = "" if entry.name == entry.term.name else f".named({entry.name!r})"
    factor = "" if entry.coefficient == 1 else f"{entry.coefficient!r} * "
    return f"{factor}{entry.term!r}{suffix}"


def _entries(argument: str, terms: Any, make: Make) -> list[Entry]:
    if not isinstance(terms, Mapping):
        raise TypeError(
            f"{argument} must be a mapping of terms to coefficients, such as {{'jaccard': 0.2}}, "
            f"got {shown(terms)}{_names_with_coefficients(terms)}."
        )
    return [_entry(argument, key, value, make) for key, value in terms.items()]


def _names_with_coefficients(terms: Any) -> str:
    """Returns the remedy for names of terms without coefficients."""
    names = [terms] if isinstance(terms, str) else terms
    if not isinstance(names, (list, tuple)) or not all(
        isinstance(name, str) and name in TERMS for name in names
    ):
        return ""
    return f": pass {dict.fromkeys(names, 1.0)}"


def _entry(argument: str, key: Any, value: Any, make: Make) -> Entry:
    """Returns an entry: `key` is a term or a name, `value` a coefficient or a mapping with one."""
    where = f"{argument}[{key!r}]"
    if not isinstance(value, Mapping):
        coefficient = check_number(where, value)
        term = _term(argument, where, key, {}, make)
        return Entry(coefficient, term, term.name)
    parameters = dict(value)
    if "coef" not in parameters:
        meant = "".join(f" {key!r}{nearest(key, ['coef'])}" for key in map(str, parameters))
        raise ValueError(f"{where} must have the key 'coef', got{meant or ' no keys'}.")
    coefficient = check_number(f"{where}['coef']", parameters.pop("coef"))
    if "term" not in parameters and key not in TERMS and not _name_meant(key):
        raise ValueError(
            f"{where} must have the key 'term', since {key!r} is not the name of a term: add the "
            "term's name, such as 'term': 'dice'."
        )
    term = _term(argument, where, parameters.pop("term", key), parameters, make)
    return Entry(coefficient, term, check_module_name(f"A name in {argument}", key))


def _term(argument: str, where: str, term: Any, parameters: Mapping[str, Any], make: Make) -> Term:
    if isinstance(term, Term):
        if parameters:
            raise ValueError(
                f"{where} has a term object, which has its parameters already; leave out: "
                f"{', '.join(map(str, parameters))}."
            )
        return term
    if not isinstance(term, str) or term not in TERMS:
        raise ValueError(
            f"{argument} must hold terms or their names ({', '.join(TERMS)}), got "
            f"{shown(term)}{_name_meant(term)}."
        )
    check_keys(where, parameters, parameters_of(TERMS[term]))
    return make(term, **parameters)
