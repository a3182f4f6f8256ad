"""The rules for the settings of a loss, from the statistics of a dataset: one function each.

They use only shares and counts of the masks, never images. They are stable: a small change of the
dataset changes the settings little. Each rule returns its value with the reason and the source.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from segloss.terms import FocalTversky
from segloss.terms.mixture.spellings import mapping_of
from segloss.terms.recommended import recommended
from segloss.tools.suggest.advice import Advice, Note
from segloss.tools.suggest.classes import Classes, class_text
from segloss.tools.suggest.statistics import ClassStatistics, DatasetStatistics

SALEHI = "Tversky asymmetry: Salehi et al. 2017"
ABRAHAM = "focal Tversky: Abraham and Khan 2019"
ISENSEE = "cross-entropy and Dice: nnU-Net, Isensee et al. 2021"
STUDY = "the study in docs/suggest.md"

TERM_PREFIX = "terms."
"""The start of the keys of terms."""

MOST_IMAGES = 0.67
"""The share of the images from which on a class is in most of them."""

NORM_MASKS = 200
"""The number of masks that is enough for the average of a loss."""

_NOISY = 0.5
_THIN = 0.5
_FEW = 5


@dataclass(frozen=True)
class Facts:
    """The facts for the rules.

    Attributes:
        statistics: The counts.
        classes: Their interpretation.
    """

    statistics: DatasetStatistics
    classes: Classes

    @property
    def foreground(self) -> list[tuple[str, ClassStatistics]]:
        """Names and counts of the classes that occur; of two classes, only the foreground.

        The names are safe to show.
        """
        names = map(class_text, self.classes.names)
        named = zip(names, self.classes.statistics, strict=True)
        present = [(name, counted) for name, counted in named if counted is not None]
        return present[1:] if self.classes.foreground is not None else present

    @property
    def least_common(self) -> tuple[str, ClassStatistics]:
        """Name and counts of the class that is in the fewest masks."""
        return min(self.foreground, key=lambda named: named[1].masks)


def n_classes(facts: Facts) -> Advice:
    """Returns the number of labels, or 2 for a sigmoid."""
    return Advice("n_classes", facts.classes.n_classes, facts.classes.reason)


def from_logits(facts: Facts) -> Advice:
    """Returns True: a network should not have a final activation."""
    layer = "sigmoid" if facts.classes.sigmoid else "softmax"
    channels = facts.classes.channels
    return Advice(
        "from_logits",
        True,
        f"the network predicts {channels} channel{'s' if channels > 1 else ''} without a {layer}, "
        "which the loss applies with more precision",
    )


def ignore_index(facts: Facts) -> Advice:
    """Returns the value of ignored pixels, or a list of several, if there is one."""
    value = facts.classes.ignore_index
    if isinstance(value, tuple):
        return Advice("ignore_index", list(value), "their pixels count nowhere")
    why = "no pixel is marked to be left out" if value is None else "its pixels count nowhere"
    return Advice("ignore_index", value, why)


def terms(facts: Facts) -> list[Advice]:
    """Returns the terms of the recommended mixture, with Dice pooled if many images lack a class.

    In a single image, a class of a few pixels counts as much as a large one. That helps a small
    foreground, but with many classes, most are only a few pixels in some image.
    """
    name, seldom = facts.least_common
    presence = seldom.masks / facts.statistics.masks
    seldom_seen = f"the least common class ({name}) is in {presence:.0%}"
    seen = seldom_seen if presence < 1 else "each class is in all"
    reasons = {
        "cross_entropy": ("every wrong pixel has a gradient", ISENSEE),
        "dice": (
            f"{seen} of the images; in fewer than {MOST_IMAGES:.0%}, classes are pooled over the "
            "batch, else each image counts the same",
            f"{ISENSEE}; {STUDY}",
        ),
        "focal_tversky": (
            f"a miss costs more than a false alarm ({FocalTversky.beta} and {FocalTversky.alpha}); "
            "pooled over the batch, so that false alarms also count where a class is absent",
            f"{SALEHI}; {ABRAHAM}; {STUDY}",
        ),
    }
    mixture = mapping_of(recommended())
    if presence < MOST_IMAGES:
        mixture["dice"]["region_reduction"] = "batch"
    return [Advice(TERM_PREFIX + name, block, *reasons[name]) for name, block in mixture.items()]


def norms(facts: Facts) -> list[Advice]:
    """Returns no norms for a single loss, and the number of masks for norms of more losses."""
    return [
        Advice(
            "normalize_losses",
            False,
            "there is one loss; for more, set true, so that weights "
            "apply to losses of the same size",
        ),
        Advice(
            "max_samples",
            min(facts.statistics.masks, NORM_MASKS),
            f"masks for the average of a norm: all, or {NORM_MASKS}",
        ),
    ]


def schedule(facts: Facts) -> Advice:
    """Returns a constant weight."""
    return Advice(
        "weight",
        1.0,
        "constant: in trials, a weighted cross-entropy that fades did worse than constant weights",
    )


def notes(facts: Facts) -> list[Note]:
    """Returns findings beside the settings: unused labels, noise, thin classes, few examples."""
    found = []
    if facts.classes.unused:
        unused = ", ".join(map(str, facts.classes.unused[:12]))
        found.append(Note("unused labels", f"{unused}: renumber the others to save channels"))
    for finding in (_noise, _thin, _seldom):
        names = [text for name, counted in facts.foreground if (text := finding(name, counted))]
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
        "check whether they are label noise; if so, set use_label_smooth with "
        "smooth_factor 0.05 to 0.1, and no focal terms",
    ),
    _thin: (
        "pixels at an edge",
        "thin; a shift by one pixel costs much of the Dice score, and skeleton_recall may help",
    ),
    _seldom: (
        "masks with a class",
        "fewer than five: see that training and validation both have some, and expect scores to "
        "vary",
    ),
}
"""The subject and the remedy of a note, for each finding about a class."""
