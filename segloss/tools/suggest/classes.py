"""The meaning of the numbers in masks: the classes, and the ignored value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segloss.foundation.ignore_index import IgnoreIndex, values_of
from segloss.foundation.printable import printable
from segloss.tools.suggest.statistics import VOID, ClassStatistics, DatasetStatistics

_CHECKED_FROM = 16
"""Above this number of labels, at least half of them must occur."""


_LONGEST_NAME = 60
"""Characters of the name of a class that are shown."""


def class_text(name: str) -> str:
    """Returns the name of a class or mask for texts, in one line, cut if it is long."""
    return printable(name, _LONGEST_NAME)


@dataclass(frozen=True)
class Classes:
    """The interpretation of the masks by a loss.

    Attributes:
        n_classes: The loss's `n_classes`: 2 for sigmoid, with any number of channels.
        channels: The number of channels that the network must predict.
        sigmoid: True if channels are independent: two classes, or one file per class.
        ignore_index: The values of pixels to be left out; None: there are none.
        foreground: In masks of 0 and one other number, that number; the loss must get 1 instead.
            None for other masks.
        statistics: The counts of each class, in the order of labels or channels; None for a label
            that never occurs.
        names: The names of the classes, as they are; `class_text` makes them fit to be shown.
        reason: The evidence for this interpretation, in a sentence.
    """

    n_classes: int
    channels: int
    sigmoid: bool
    ignore_index: IgnoreIndex
    foreground: int | None
    statistics: Sequence[ClassStatistics | None]
    names: Sequence[str]
    reason: str

    @property
    def present(self) -> list[ClassStatistics]:
        """The classes that occur."""
        return [counted for counted in self.statistics if counted is not None]

    @property
    def unused(self) -> list[int]:
        """The labels that never occur."""
        return [i for i, counted in enumerate(self.statistics) if counted is None]

    def ignored(self, mask: NDArray[Any]) -> NDArray[np.bool_]:
        """Returns the pixels of a mask that are left out."""
        return np.isin(mask, values_of(self.ignore_index))

    def labels(self, mask: NDArray[Any]) -> NDArray[Any]:
        """Returns a mask for the loss; the number of the foreground becomes 1."""
        if self.foreground in (None, 1):
            return mask
        return np.where(self.ignored(mask), mask, mask == self.foreground)


def find_classes(
    statistics: DatasetStatistics,
    ignore_index: IgnoreIndex,
    *,
    by_class: bool,
    names: Sequence[str] | None,
) -> Classes:
    """Returns the classes, from the counts.

    Args:
        statistics: The counts in all masks.
        ignore_index: The values to leave out; None: unknown.
        by_class: True if there is one file, or channel, per class.
        names: The names of the classes; None: unknown.

    Raises:
        ValueError: There is only one class, or labels have gaps that can't be intended.
    """
    if by_class:
        return _channels(statistics, ignore_index, names)
    values = sorted(statistics.classes)
    if ignore_index is None and VOID in values and VOID - 1 not in values and len(values) > 2:
        ignore_index = VOID
        share = statistics.classes[VOID].pixels / statistics.pixels
        edges = statistics.classes[VOID].edge_share
        void = (
            f"; {VOID}, far above them, marks {share:.1%} of the pixels to be left out ({edges:.0%}"
            " of these touch a class)"
        )
    else:
        void = _void_text(statistics, [each for each in values_of(ignore_index) if each in values])
    labels = [value for value in values if value not in values_of(ignore_index)]
    _check_labels(labels, ignore_index)
    if labels[0] == 0 and len(labels) == 2:
        return _two_classes(statistics, labels[1], ignore_index, void)
    return _many_classes(statistics, labels, ignore_index, void)


def _void_text(statistics: DatasetStatistics, ignored: list[int]) -> str:
    """Returns the text about the given ignored values that occur."""
    if not ignored:
        return ""
    share = sum(statistics.classes[value].pixels for value in ignored) / statistics.pixels
    marks = "marks" if len(ignored) == 1 else "mark"
    values = " and ".join(map(str, ignored))
    return f"; {values}, as you set, {marks} {share:.1%} of the pixels to be left out"


def _two_classes(
    statistics: DatasetStatistics, foreground: int, ignore_index: IgnoreIndex, void: str
) -> Classes:
    conversion = "" if foreground == 1 else f": {foreground} is the foreground, and must become 1"
    counted = statistics.classes
    return Classes(
        n_classes=2,
        channels=1,
        sigmoid=True,
        ignore_index=ignore_index,
        foreground=foreground,
        statistics=[counted[0], counted[foreground]],
        names=["background", "foreground"],
        reason=f"masks hold 0 and {foreground}{conversion}{void}",
    )


def _many_classes(
    statistics: DatasetStatistics, labels: list[int], ignore_index: IgnoreIndex, void: str
) -> Classes:
    count = labels[-1] + 1
    missing = [label for label in range(count) if label not in labels]
    gaps = f"; {_listed(missing)} never occur" if missing else ""
    counted = statistics.classes
    return Classes(
        n_classes=count,
        channels=count,
        sigmoid=False,
        ignore_index=ignore_index,
        foreground=None,
        statistics=[counted[label] if label in labels else None for label in range(count)],
        names=[f"class {label}" for label in range(count)],
        reason=f"masks hold the labels {_listed(labels)}{gaps}{void}",
    )


def _channels(
    statistics: DatasetStatistics, ignore_index: IgnoreIndex, names: Sequence[str] | None
) -> Classes:
    count = len(names) if names else max(statistics.classes, default=0) + 1
    names = names or [f"channel {i}" for i in range(count)]
    empty = [class_text(name) for i, name in enumerate(names) if i not in statistics.classes]
    if empty:
        raise ValueError(
            f"Every class must occur, but the masks of {_some(empty)} are all 0: leave out "
            "classes that never occur."
        )
    return Classes(
        n_classes=2,
        channels=count,
        sigmoid=True,
        ignore_index=ignore_index,
        foreground=None,
        statistics=[statistics.classes[i] for i in range(count)],
        names=names,
        reason=f"one file per class: {count} channels, each with a sigmoid, which may overlap",
    )


def _check_labels(labels: list[int], ignore_index: IgnoreIndex) -> None:
    if len(labels) < 2:
        found = f"only {labels[0]}" if labels else "no label"
        values = " and ".join(map(str, values_of(ignore_index)))
        besides = f" besides the ignore value {values}" if values else ""
        raise ValueError(
            f"Masks must hold at least two classes, but all of these hold {found}{besides}: check "
            "that this is the right folder, and that the export did not lose the labels."
        )
    count = labels[-1] + 1
    if len(labels) > 2 and count > _CHECKED_FROM and count > 2 * len(labels):
        raise ValueError(
            f"Labels must be 0, 1, 2 ..., but most of those up to {labels[-1]} are missing: masks "
            f"hold {_listed(labels)}. Renumber them, for example with "
            f"numpy.searchsorted({labels[:12]}, mask){' and so on' if len(labels) > 12 else ''}, "
            "or set the label to ignore with ignore_index."
        )


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 12} more" if len(names) > 12 else ""
    return ", ".join(names[:12]) + more


def _listed(labels: Sequence[int]) -> str:
    if len(labels) > 3 and labels[-1] - labels[0] == len(labels) - 1:
        return f"{labels[0]} to {labels[-1]}"
    shown = ", ".join(map(str, labels[:8]))
    return f"{shown} ... {labels[-1]}" if len(labels) > 8 else shown
