"""The rules from a dataset's statistics to a loss's settings: a function each.

They look at shares and counts of the masks alone, never at images, and are steady: a small change
of the dataset changes the settings little. Each returns its value with the reason and the source.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from segloss.tools.suggest.advice import Advice, Note
from segloss.tools.suggest.classes import Classes
from segloss.tools.suggest.statistics import ClassStatistics, DatasetStatistics

EIGEN = "median-frequency balancing: Eigen and Fergus 2015"
CUI = "effective number of samples: Cui et al. 2019"
LIPTON = "the best threshold of an F-score: Lipton et al. 2014"
SALEHI = "Tversky asymmetry: Salehi et al. 2017"
ABRAHAM = "focal Tversky: Abraham and Khan 2019"
ISENSEE = "cross-entropy and Dice, Dice over the batch: nnU-Net, Isensee et al. 2021"

MOST_WEIGHT = 1.5
"""The most that a class's weight is: at 1.5 a pixel is given to the class from a probability of 0.4
on, which is best for a Dice score of 0.8 (half the best score: Lipton et al. 2014). More would be
right only for worse scores, and the region terms already favour rare classes."""

RARE, VERY_RARE = 0.05, 0.01
"""Below these shares of the pixels, where it is present, a class is rare, or very rare. Lesions had
4.8 % of the pixels where Abraham and Khan gained by focal Tversky, and far less where Salehi et al.
gained by beta = 0.7."""

NORM_MASKS = 200
"""Enough masks to average a loss over."""

_NOISY = 0.5
_THIN = 0.5
_FEW = 5


@dataclass(frozen=True)
class Facts:
    """The facts that the rules use.

    Attributes:
        statistics: What was counted.
        classes: What it means.
    """

    statistics: DatasetStatistics
    classes: Classes

    @property
    def foreground(self) -> list[tuple[str, ClassStatistics]]:
        """Names and counts of the classes that occur; of two classes, the foreground alone."""
        named = zip(self.classes.names, self.classes.statistics, strict=True)
        present = [(name, counted) for name, counted in named if counted is not None]
        return present[1:] if self.classes.foreground is not None else present

    @property
    def rarest(self) -> tuple[str, ClassStatistics]:
        """Name and counts of the class with the smallest frequency."""
        return min(self.foreground, key=lambda named: named[1].frequency)

    @property
    def least_presence(self) -> float:
        """The share of the masks that hold the class which is in the fewest."""
        return min(counted.masks for _, counted in self.foreground) / self.statistics.masks


def n_classes(facts: Facts) -> Advice:
    """Returns the number of labels, or 2 for a sigmoid."""
    return Advice("n_classes", facts.classes.n_classes, facts.classes.reason)


def from_logits(facts: Facts) -> Advice:
    """Returns True: a network is best without a final activation."""
    layer = "sigmoid" if facts.classes.sigmoid else "softmax"
    channels = facts.classes.channels
    return Advice(
        "from_logits",
        True,
        f"the network predicts {channels} channel{'s' if channels > 1 else ''} without a {layer}, "
        "which the loss applies, more exactly",
    )


def ignore_index(facts: Facts) -> Advice:
    """Returns the void value, where there is one."""
    value = facts.classes.ignore_index
    why = "no pixel is marked to be left out" if value is None else "its pixels count nowhere"
    return Advice("ignore_index", value, why)


def class_weights(facts: Facts) -> Advice:
    r"""Softmax: the root of effective numbers, relative to the class of the median frequency.

    .. math:: w_c = \sqrt{E(m) / E(f_c)}, \quad E(f) = m (1 - e^{-f / m})

    :math:`f_c` is the share of a class in the images that hold it, m the median of these shares,
    and E the effective number of Cui et al. for large counts, m taking the place of the volume.
    For rare classes it is median-frequency balancing; the largest are weighted down by a fifth at
    most, not to nothing. The root is taken because the region terms balance the classes too; and
    where no class is rare, these suffice.
    """
    if facts.rarest[1].frequency >= RARE:
        return Advice("class_weights", None, _none_rare(facts))
    shares = [None if c is None else c.frequency for c in facts.classes.statistics]
    middle = median(share for share in shares if share is not None)
    weights = [0.0 if share is None else balance(share, middle) for share in shares]
    unused = "; 0 for labels that never occur" if 0.0 in weights else ""
    name, rarest = facts.rarest
    return Advice(
        "class_weights",
        weights,
        f"frequencies, where present, go from {rarest.frequency:.2%} ({name}), the median being "
        f"{middle:.2%}; the root, at most {MOST_WEIGHT:g}{unused}",
        f"{EIGEN}; {CUI}; {LIPTON}",
    )


def pos_weight(facts: Facts) -> Advice:
    """Sigmoid: `MOST_WEIGHT` for channels whose foreground is rare.

    The root of median-frequency balancing gives more than that to any foreground below `RARE`.
    """
    if facts.rarest[1].frequency >= RARE:
        return Advice("pos_weight", None, _none_rare(facts))
    shares = [counted.frequency for _, counted in facts.foreground]
    weights = [MOST_WEIGHT if share < RARE else 1.0 for share in shares]
    listed = ", ".join(f"{counted.frequency:.2%} ({name})" for name, counted in facts.foreground)
    return Advice(
        "pos_weight",
        weights if len(weights) > 1 else weights[0],
        f"the foreground's share, where present: {listed}; {MOST_WEIGHT:g} below {RARE:.0%}, where "
        "balancing by frequency would give more",
        f"{EIGEN}; {LIPTON}",
    )


def balance(share: float, middle: float) -> float:
    """Returns the weight of a class by its share of the pixels, 1 for the median."""
    effective = -math.expm1(-share / middle)
    return round(min(math.sqrt(-math.expm1(-1) / effective), MOST_WEIGHT), 2)


def _none_rare(facts: Facts) -> str:
    name, rarest = facts.rarest
    return (
        f"no class is rare: {name} has {rarest.frequency:.2%} where present; below {RARE:.0%}, "
        "weights would help"
    )


def coefficients(facts: Facts) -> list[Advice]:
    """Cross-entropy and Dice, half each, and focal Tversky for rare classes."""
    name, rarest = facts.rarest
    focal = 0.0 if rarest.frequency >= RARE else 0.2 if rarest.frequency >= VERY_RARE else 0.4
    half = round((1 - focal) / 2, 2)
    share = f"the rarest class ({name}) has {rarest.frequency:.2%} of the pixels, where present"
    return [
        Advice("bce_coef", half, "every wrong pixel has a gradient", ISENSEE),
        Advice("dice_coef", half, "every class counts the same, whatever its size", ISENSEE),
        Advice("tversky_focal_coef", focal, f"{share}; {_focal_rule()}", ABRAHAM),
    ]


def _focal_rule() -> str:
    return f"0 from {RARE:.0%} on, 0.2 from {VERY_RARE:.0%} on, else 0.4"


def tversky(facts: Facts) -> list[Advice]:
    """More weight for false negatives, the rarer the class is."""
    rare = facts.rarest[1].frequency
    beta = 0.5 if rare >= RARE else 0.6 if rare >= VERY_RARE else 0.7
    why = f"weight of what is missed: 0.5 (Dice) from {RARE:.0%} on, 0.6 from {VERY_RARE:.0%} on"
    return [
        Advice("tversky_alpha", round(1 - beta, 2), "weight of false alarms; 1 with beta", SALEHI),
        Advice("tversky_beta", beta, f"{why}, else 0.7", SALEHI),
    ]


def region_reduction(facts: Facts) -> Advice:
    """Over the batch, unless every class is in every image."""
    everywhere = facts.least_presence == 1
    return Advice(
        "region_reduction",
        "batch",
        "every class is in every image, though not in every crop of one"
        if everywhere
        else f"the class that is in the fewest images is in {facts.least_presence:.0%} of them; "
        "an image without a class has no Dice of it",
        ISENSEE,
    )


def skip_absent_classes(facts: Facts) -> Advice:
    """Returns whether batches of four often lack a class."""
    seldom = 1 - (1 - facts.least_presence) ** 4 < 0.5 or bool(facts.classes.unused)
    return Advice(
        "skip_absent_classes",
        seldom,
        "many batches lack a class, which cross-entropy alone keeps from false alarms there"
        if seldom
        else "a batch of four has every class more often than not",
    )


def norms(facts: Facts) -> list[Advice]:
    """For one loss, no norms; how many masks they would need."""
    return [
        Advice(
            "normalize_losses",
            False,
            "there is one loss; for more, set true, so that weights "
            "compare losses of the same size",
        ),
        Advice(
            "max_samples",
            min(facts.statistics.masks, NORM_MASKS),
            f"masks that a norm is averaged over: all, or {NORM_MASKS}",
        ),
    ]


def schedule(facts: Facts) -> Advice:
    """Constant."""
    return Advice(
        "weight",
        1.0,
        "constant: in trials, a weighted cross-entropy that fades did worse than weights that stay",
    )


def notes(facts: Facts) -> list[Note]:
    """Yields findings beside the settings: unused labels, noise, thin classes, few examples."""
    found = []
    if facts.classes.unused:
        unused = ", ".join(map(str, facts.classes.unused[:12]))
        found.append(Note("unused labels", f"{unused}: renumber the others to save channels"))
    for finding in (_noise, _thin, _seldom):
        names = [said for name, counted in facts.foreground if (said := finding(name, counted))]
        more = f" and {len(names) - 6} more" if len(names) > 6 else ""
        if names:
            what, advice = NOTES[finding]
            found.append(Note(what, f"{', '.join(names[:6])}{more}: {advice}"))
    return found


def _noise(name: str, counted: ClassStatistics) -> str:
    share = counted.islands / counted.regions
    return f"{name} ({share:.0%} of {counted.regions:,})" if share > _NOISY else ""


def _thin(name: str, counted: ClassStatistics) -> str:
    return f"{name} ({counted.edge_share:.0%})" if counted.edge_share > _THIN else ""


def _seldom(name: str, counted: ClassStatistics) -> str:
    return f"{name} ({counted.masks})" if counted.masks < _FEW else ""


NOTES: dict[Callable[[str, ClassStatistics], str], tuple[str, str]] = {
    _noise: (
        "regions of one pixel",
        "look whether these are noise of the labels; if so, use_label_smooth with "
        "smooth_factor 0.05 to 0.1, and no focal terms",
    ),
    _thin: (
        "pixels at an edge",
        "thin; a shift by a pixel costs much Dice, and skeleton_recall may help",
    ),
    _seldom: (
        "masks with a class",
        "fewer than five; hold none of them out by chance, and expect scores to vary",
    ),
}
"""The subject and the remedy of a note, for each finding about a class."""
