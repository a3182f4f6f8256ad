"""Terms: small functions of the sums over pixels, and mixtures of them.

A term names the sums that it needs, and turns a `SoftConfusion` into the numerator and the
denominator of a mean. A region term computes the loss of each cell, a (sample, class) pair, and
its `region_reduction` selects how the cells are averaged. A term never sees a pixel, so one more
term costs next to nothing. README.md in this folder explains how to write one.

    0.5 * CrossEntropy() + 0.3 * Dice(region_classes=[1, 2]) + 0.2 * FocalTversky()
"""

from typing import Any

from segloss.foundation.arguments import no_attribute
from segloss.terms import (
    boundary,
    cross_entropies,
    generalized_dice,
    mcc,
    overlap,
    pixelwise,
    region_size,
    skeleton_recall,
    unified_focal,
)
from segloss.terms.base import PixelTerm, RegionTerm, Term, mean, total_mean
from segloss.terms.boundary import *
from segloss.terms.cross_entropies import *
from segloss.terms.generalized_dice import *
from segloss.terms.mcc import *
from segloss.terms.mixture import Mixture
from segloss.terms.overlap import *
from segloss.terms.overlap import Overlap
from segloss.terms.pixelwise import *
from segloss.terms.pixelwise import MissedProbability
from segloss.terms.region_size import *
from segloss.terms.skeleton_recall import *
from segloss.terms.unified_focal import *
from segloss.terms.unified_focal import (
    AsymmetricFocal,
    AsymmetricFocalTversky,
    SymmetricFocal,
    SymmetricFocalTversky,
)

_FAMILIES = (
    pixelwise,
    cross_entropies,
    overlap,
    generalized_dice,
    mcc,
    region_size,
    unified_focal,
    boundary,
    skeleton_recall,
)

TERMS: dict[str, type[Term]] = {
    getattr(family, name).name: getattr(family, name)
    for family in _FAMILIES
    for name in family.__all__
}
"""All terms by the names that `extra_terms` and configs use: the `__all__` of each family."""

__all__ = [
    "TERMS",
    "AsymmetricFocal",
    "AsymmetricFocalTversky",
    "MissedProbability",
    "Mixture",
    "Overlap",
    "PixelTerm",
    "RegionTerm",
    "SymmetricFocal",
    "SymmetricFocalTversky",
    "Term",
    "mean",
    "total_mean",
]
__all__ += boundary.__all__
__all__ += cross_entropies.__all__
__all__ += generalized_dice.__all__
__all__ += mcc.__all__
__all__ += overlap.__all__
__all__ += pixelwise.__all__
__all__ += region_size.__all__
__all__ += skeleton_recall.__all__
__all__ += unified_focal.__all__


def __getattr__(name: str) -> Any:
    raise no_attribute(__name__, name, __all__)
