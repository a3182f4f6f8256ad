"""Arguments that change nothing, because no term of a mixture reads them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from segloss.batch.diagnosis import Finding
from segloss.sums.plan import CROSS_ENTROPY
from segloss.terms import Dice, FocalTversky, Mixture, RegionTerm, Term, Tversky
from segloss.terms.mixture.group import MixtureGroup
from segloss.terms.mixture.spellings import changed_arguments

_READERS: dict[str, tuple[tuple[type[Term], ...], str]] = {
    "smooth": ((Dice,), "set dice_coef above 0"),
    "tversky_alpha": ((FocalTversky, Tversky), "set tversky_focal_coef above 0"),
    "tversky_beta": ((FocalTversky, Tversky), "set tversky_focal_coef above 0"),
    "tversky_gamma": ((FocalTversky,), "set tversky_focal_coef above 0"),
}
"""The terms that read an argument of `SegLoss`, and the remedy. All others are region terms'."""


def unused_arguments(mixture: Mixture, documented: Mapping[str, Any]) -> list[Finding]:
    """Returns findings about arguments for terms that a mixture does not have.

    Args:
        mixture: The terms.
        documented: The arguments of `documented_mixture`.
    """
    terms = [entry.term for entry in mixture.components]
    changed = changed_arguments(documented)
    found = []
    for name in changed:
        readers, remedy = _READERS.get(name, ((RegionTerm,), "set dice_coef above 0"))
        if not any(isinstance(term, readers) for term in terms):
            kinds = " or ".join(each.name for each in readers if hasattr(each, "name"))
            found.append(_finding(name, f"the loss has no term {kinds or 'of regions'}", remedy))
    if "components_key" in changed and not any(
        isinstance(term, RegionTerm) and term.group_key is not None for term in terms
    ):
        found.append(_finding("components_key", "no term reads it", "set region_groups"))
    return found


def unused_by_terms(group: MixtureGroup, **options: Any) -> list[Finding]:
    """Returns findings about options of cross-entropy, if no loss of a pass has it.

    Args:
        group: The terms of the pass.
        options: The options by name; None: it is not set.
    """
    if CROSS_ENTROPY in group.plan.sums:
        return []
    given = [name for name, value in options.items() if value is not None]
    remedy = "leave it out, or give the cross-entropy a coefficient (bce_coef)"
    return [_finding(name, "the loss has no cross-entropy", remedy) for name in given]


def _finding(name: str, cause: str, remedy: str) -> Finding:
    return Finding(f"unused {name}", f"{name} changes nothing, because {cause}: {remedy}.")
