"""Numbers of pixels to be left out, recognised by their names, place or shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from segloss.foundation.ignore_index import IgnoreIndex, values_of
from segloss.tools.suggest.pixels.palettes import is_void
from segloss.tools.suggest.statistics import VOID, ClassStatistics, DatasetStatistics

_FAR = (99, 999, 9999, 32767, 65534, 65535, *range(250, 256))
"""The usual numbers of pixels to be left out, if they lie far above the labels."""

_MOST_FAR = 3

_FEWEST_OTHERS = 3
"""Borders are told from classes only among at least this many of them."""

_MOST_SHARE, _LEAST_PRESENCE, _LEAST_TOUCHED = 0.25, 0.5, 0.7
"""Borders have at most the first share of the pixels, are in at least the second share of the
masks, and touch at least the third share of the other numbers."""

_LEAST_THIN, _TIMES_THINNER = 0.1, 3.0
"""Of a border's pixels at edges, at least the first share begins a thin run between two other
numbers, and this many times more than for the usual class."""

_TRIMAP_LEAST = 16
_TRIMAP_CONTACTS = 0.1


@dataclass(frozen=True)
class Void:
    """Numbers to be left out.

    Attributes:
        values: The numbers; empty if there are none.
        evidence: The reason, in a sentence; empty if the user gave them.
    """

    values: tuple[int, ...] = ()
    evidence: str = ""

    @property
    def ignore_index(self) -> IgnoreIndex:
        """The numbers as the option `ignore_index`."""
        return self.values[0] if len(self.values) == 1 else self.values or None


def find_void(statistics: DatasetStatistics, names: Mapping[int, str]) -> Void:
    """Returns the numbers to be left out, by the first rule that finds some.

    Raises:
        ValueError: Three numbers may be greys of classes, or a foreground with unknown pixels.
    """
    named = tuple(v for v in sorted(statistics.classes) if v in names and is_void(names[v]))
    if named:
        titles = " and ".join(f"{value} ({names[value]})" for value in named)
        return Void(named, f"{titles} marks pixels to be left out, by its name")
    values = sorted(statistics.classes)
    if _is_trimap(values):
        return _trimap(statistics, values)
    if values[:1] == [0] and values[2:] == [VOID]:
        _check_one_numbering(statistics, values[1])
    if far := _far(values):
        return Void(far, _far_text(statistics, far))
    return find_border(statistics, (values[-1], values[0]))


def _far(values: Sequence[int]) -> tuple[int, ...]:
    """Returns the usual numbers, far above at least two labels."""
    if VOID in values and VOID - 1 not in values and len(values) > 2:
        return (VOID,)
    far = [value for value in values if value in _FAR]
    labels = [value for value in values if value not in far]
    is_far = len(labels) >= max(2, len(far)) and 0 < len(far) <= _MOST_FAR
    return tuple(far) if is_far and far[0] > 4 * (labels[-1] + 1) else ()


def far_void(statistics: DatasetStatistics) -> tuple[int, ...]:
    """Returns the usual numbers of pixels to be left out, far above the others."""
    return _far(sorted(statistics.classes))


def _far_text(statistics: DatasetStatistics, far: Sequence[int]) -> str:
    counted = [statistics.classes[value] for value in far]
    share = sum(c.pixels for c in counted) / statistics.pixels
    edges = sum(c.edge for c in counted) / sum(c.pixels for c in counted)
    marks = "marks" if len(far) == 1 else "mark"
    return (
        f"{' and '.join(map(str, far))}, far above them, {marks} {share:.1%} of the pixels, which "
        f"are left out ({edges:.0%} of them lie next to a class)"
    )


def _check_one_numbering(statistics: DatasetStatistics, foreground: int) -> None:
    """Raises ValueError if each mask may hold either the foreground or 255, and never both."""
    one, other = statistics.classes[foreground], statistics.classes[VOID]
    if one.masks + other.masks <= statistics.masks and not one.contacts[VOID]:
        raise ValueError(
            f"All masks must have one numbering, but {one.masks} hold {foreground}, and "
            f"{other.masks} others 255: if both mean the foreground, set values='objects' "
            "(--values objects), which reads every number but 0 so; if 255 marks pixels to leave "
            "out, set ignore_index=255 (--ignore-index 255)."
        )


def _is_trimap(values: Sequence[int]) -> bool:
    return len(values) == 3 and values[0] == 0 and values[2] == VOID and values[1] > _TRIMAP_LEAST


def _trimap(statistics: DatasetStatistics, values: Sequence[int]) -> Void:
    """Returns the middle of three greys, if it separates the other two."""
    dark, middle, bright = values
    beside = statistics.classes[middle].contacts
    direct = statistics.classes[dark].contacts[bright]
    if direct > _TRIMAP_CONTACTS * min(beside[dark], beside[bright]):
        raise ValueError(
            f"Labels must be 0, 1, 2 ..., but masks hold {dark}, {middle}, {bright}: if one of "
            f"these marks unknown pixels, set it with ignore_index={middle} (--ignore-index "
            f"{middle}); if they are three classes, number them with colours='data' (--colours "
            "data)."
        )
    share = statistics.classes[middle].pixels / statistics.pixels
    return Void(
        (middle,),
        f"{middle}, between {dark} and {bright} in number and place, marks {share:.1%} of the "
        "pixels, which are left out",
    )


def find_border(statistics: DatasetStatistics, candidates: Sequence[int]) -> Void:
    """Returns the first of some numbers that is a border between all others, if one is."""
    present = [value for value in dict.fromkeys(candidates) if value in statistics.classes]
    found = [value for value in present if _is_border(statistics, value)]
    if not found:
        return Void()
    value = found[0]
    counted = statistics.classes[value]
    return Void(
        (value,),
        f"{value} marks {counted.pixels / statistics.pixels:.1%} of the pixels, which are left "
        f"out, because it lies between all other numbers: {counted.regions:,} regions with a "
        f"median size of {counted.median_size:,}, {counted.edge_share:.0%} of their pixels at an "
        "edge",
    )


def _is_border(statistics: DatasetStatistics, value: int) -> bool:
    counted = statistics.classes[value]
    others = [c for v, c in statistics.classes.items() if v != value]
    if len(others) < _FEWEST_OTHERS:
        return False
    return (
        counted.pixels <= _MOST_SHARE * statistics.pixels
        and counted.masks >= _LEAST_PRESENCE * statistics.masks
        and len(counted.contacts) >= _LEAST_TOUCHED * len(others)
        and counted.thin_between >= counted.thin_within
        and _thinness(counted) >= _LEAST_THIN
        and _thinness(counted) >= _TIMES_THINNER * median(map(_thinness, others))
    )


def _thinness(counted: ClassStatistics) -> float:
    """Returns the thin runs between different numbers, for each pixel at an edge."""
    return counted.thin_between / counted.edge if counted.edge else 0.0


def given_void(statistics: DatasetStatistics, ignore_index: IgnoreIndex) -> Void:
    """Returns the numbers that the user set."""
    values = values_of(ignore_index)
    present = [value for value in values if value in statistics.classes]
    if not present:
        return Void(values)
    share = sum(statistics.classes[value].pixels for value in present) / statistics.pixels
    marks = "marks" if len(present) == 1 else "mark"
    return Void(
        values,
        f"{' and '.join(map(str, present))}, as you set, {marks} {share:.1%} of the pixels, which "
        "are left out",
    )
