"""Terms: small functions of the pass's sums.

A term says which sums it needs and turns a `SoftConfusion` into the numerator and the denominator
of its mean. Region terms give a loss for each cell of samples and classes, and are averaged as
their `region_reduction` says. No term ever sees a pixel, so adding one costs next to nothing.

A new term is a class with a name, the groups of `sums` that it needs, and `cell_loss` (of a
`RegionTerm`), `weights` (of an `Overlap`) or `pixels` (of a `PixelTerm`).
"""

from segloss.terms.compound import TERMS, Compound, Weighted, parameters_of, seg_terms
from segloss.terms.correlation import MCC
from segloss.terms.generalized_dice import GeneralizedDice
from segloss.terms.of_maps import Boundary, SkeletonRecall
from segloss.terms.overlap import (
    Dice,
    FBeta,
    FocalTversky,
    Jaccard,
    LogCoshDice,
    LogDice,
    Overlap,
    SquaredDice,
    Tversky,
)
from segloss.terms.pixelwise import CrossEntropy, Focal, MissedProbability, Poly1
from segloss.terms.region_size import RegionSizeKL, RegionSizeL1
from segloss.terms.term import PixelTerm, RegionOptions, RegionTerm, Term, mean, total_mean
from segloss.terms.unified_focal import AsymmetricFocal, AsymmetricFocalTversky, UnifiedFocal

__all__ = [
    "MCC",
    "TERMS",
    "AsymmetricFocal",
    "AsymmetricFocalTversky",
    "Boundary",
    "Compound",
    "CrossEntropy",
    "Dice",
    "FBeta",
    "Focal",
    "FocalTversky",
    "GeneralizedDice",
    "Jaccard",
    "LogCoshDice",
    "LogDice",
    "MissedProbability",
    "Overlap",
    "PixelTerm",
    "Poly1",
    "RegionOptions",
    "RegionSizeKL",
    "RegionSizeL1",
    "RegionTerm",
    "SkeletonRecall",
    "SquaredDice",
    "Term",
    "Tversky",
    "UnifiedFocal",
    "Weighted",
    "mean",
    "parameters_of",
    "seg_terms",
    "total_mean",
]
