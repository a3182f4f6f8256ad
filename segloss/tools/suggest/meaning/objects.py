"""Numbers that count objects, such as nuclei from 1 to N: each is one region."""

from __future__ import annotations

import math
import statistics as python_statistics

from segloss.tools.suggest.pixels.colours import is_colour
from segloss.tools.suggest.statistics import ClassStatistics, DatasetStatistics

_REGIONS = 1.5
"""An object has fewer regions on average; some are cut in two."""

_MOST_EDGE = 0.9
"""Most objects have a smaller share of their pixels at an edge, and greys in a blur a larger
one."""

_FEWEST, _FEWEST_ALIKE = 6, 12
"""The minimum number of objects in a mask, if masks differ in it, and if they do not."""

_ALIKE = 0.7
"""The largest variation of the sizes of objects, where masks hold equally many. That of means over
several masks is smaller by the root of their number; classes differ more."""

_FIRST_COMBINED = 1000


def find_objects(statistics: DatasetStatistics) -> str:
    """Returns the evidence that numbers count objects; the empty string if they do not.

    Raises:
        ValueError: The numbers combine a class and an object.
    """
    objects = {value: c for value, c in statistics.classes.items() if value not in (0, 255)}
    if not objects or is_colour(max(statistics.classes)):
        return ""
    _check_not_combined(sorted(objects))
    each = sum(c.regions for c in objects.values()) / sum(c.masks for c in objects.values())
    edges = python_statistics.median(c.edge_share for c in objects.values())
    if each >= _REGIONS or edges > _MOST_EDGE or not _are_counted(statistics, objects):
        return ""
    return (
        f"the numbers up to {max(objects):,} count objects, not classes: each is {each:.2g} region "
        "of its mask"
    )


def _are_counted(statistics: DatasetStatistics, objects: dict[int, ClassStatistics]) -> bool:
    """Returns whether the numbers of masks run from 1 to different ends, or are seldom shared."""
    most = max(statistics.series, default=0)
    in_series = statistics.series.total() >= 0.8 * statistics.masks
    if in_series and len(set(statistics.series) - {0}) > 1 and most >= _FEWEST:
        return True
    if len(objects) < _FEWEST_ALIKE:
        return False
    if in_series and _are_alike(objects):
        return True
    shared = python_statistics.median(c.masks for c in objects.values())
    in_each = sum(c.masks for c in objects.values()) / statistics.masks
    return in_each >= _FEWEST and 1 < statistics.masks >= 10 * (shared - 1)


def _are_alike(objects: dict[int, ClassStatistics]) -> bool:
    """Returns whether most numbers lie on a background, and have much the same mean size."""
    beside = [0 in counted.contacts for counted in objects.values() if counted.contacts]
    if sum(beside) < len(beside) / 2:
        return False
    sizes = [c.pixels / c.masks for c in objects.values()]
    most = _ALIKE / math.sqrt(python_statistics.median(c.masks for c in objects.values()))
    return python_statistics.stdev(sizes) < most * python_statistics.fmean(sizes)


def _check_not_combined(numbers: list[int]) -> None:
    combined = [number for number in numbers if number >= _FIRST_COMBINED]
    classes = {number // _FIRST_COMBINED for number in combined}
    if len(combined) < 2 or len(classes) > len(combined) / 2 or max(classes) > 255:
        return
    if all(number % _FIRST_COMBINED > len(numbers) for number in combined):
        return
    raise ValueError(
        f"Masks must hold labels, but {combined[0]}, {combined[1]} ... combine a class and the "
        "number of an object: for the class, save numpy.where(mask < 1000, mask, mask // 1000)."
    )
