"""Numbers in between, which JPEG, or resizing with interpolation, made of a few true ones.

They have nearly no share of the pixels, and lie at edges or in tiny regions.
"""

from __future__ import annotations

from collections.abc import Sequence

from segloss.tools.suggest.pixels.colours import number_text
from segloss.tools.suggest.pixels.mask import HALF, WHITE
from segloss.tools.suggest.statistics import VOID, ClassStatistics, DatasetStatistics

_FAINT_SHARE, _FAINT_EDGE, _FAINT_SIZE = 0.02, 0.7, 8
"""A number is faint if its share of the pixels is below the first of these, and either more than
the second share of its pixels lie at an edge, or its regions have on average fewer pixels than the
third."""

_ENDS = 40
"""Black ends here, and white begins this far below `WHITE`."""

_AT_ENDS = 0.8
"""The minimum share of black and white pixels of a soft mask."""

_FEWEST_OF_MANY = 8
"""The minimum number of faint labels that spoils a label map."""

_FEWEST_OF_SERIES, _BESIDE, _TINY, _THIN = 6, 0.3, 0.6, 0.4
"""Masks are blurred if they have at least this many labels, at least the second share of the
neighbours that differ do so by 1 (and twice as many as by chance), more than the third share of the
regions are tiny, and more than the fourth share of the pixels at edges begin a thin line between
others. In the label maps that were examined, no three of these hold."""

_REMEDY = (
    "No rule can tell their classes: export the masks again as PNG, and resize them with "
    "mask.resize(size, Image.NEAREST). If all numbers are labels, set values='labels' (--values "
    "labels)."
)

_IMAGE = 64
"""With more numbers than these, and few of them in solid regions, masks are images."""


def find_blur(statistics: DatasetStatistics) -> str:
    """Returns the evidence that masks are black and white with greys between; else nothing.

    Raises:
        ValueError: Masks of several labels are blurred, or masks are images.
    """
    faint = [v for v, c in statistics.classes.items() if _is_faint(c, statistics.pixels)]
    solid = sorted(set(statistics.classes) - set(faint))
    if _is_soft(statistics, faint, solid):
        share = sum(statistics.classes[value].pixels for value in faint) / statistics.pixels
        return (
            f"masks are black and white, blurred by JPEG or resizing: {len(statistics.classes)} "
            f"different numbers, of which {len(faint)} together have {share:.2%} of the pixels, in "
            f"specks and at edges; the foreground is above {HALF}"
        )
    _check_not_image(statistics, solid)
    if len(faint) >= max(_FEWEST_OF_MANY, 2 * len(solid)):
        raise ValueError(_blurred_text(statistics, faint, solid))
    _check_not_interpolated(statistics)
    return ""


def _check_not_interpolated(statistics: DatasetStatistics) -> None:
    """Raises ValueError for labels among which JPEG or resizing put the labels in between.

    Then labels touch the next ones far more often than others, in thin lines and specks.
    """
    classes = {value: c for value, c in statistics.classes.items() if value != VOID}
    if len(classes) < _FEWEST_OF_SERIES:
        return
    contacts = sum(c.contacts.total() for c in classes.values())
    beside = sum(c.contacts[v - 1] + c.contacts[v + 1] for v, c in classes.items())
    regions = sum(c.regions for c in classes.values())
    tiny = sum(c.sizes[size] for c in classes.values() for size in range(1, _FAINT_SIZE + 1))
    thin = sum(c.thin_between for c in classes.values()) / sum(c.edge for c in classes.values())
    if beside < contacts * max(_BESIDE, 4 / len(classes)):
        return
    if tiny > _TINY * regions and thin > _THIN:
        raise ValueError(
            f"JPEG or resizing blurred these masks: {beside / contacts:.0%} of the neighbours that "
            f"differ do so by 1, and {tiny / regions:.0%} of {regions:,} regions have at most "
            f"{_FAINT_SIZE} pixels, so labels appear between others where none should be. {_REMEDY}"
        )


def _is_faint(counted: ClassStatistics, pixels: int) -> bool:
    is_tiny = counted.pixels < _FAINT_SIZE * counted.regions
    return counted.pixels < _FAINT_SHARE * pixels and (counted.edge_share > _FAINT_EDGE or is_tiny)


def _is_soft(statistics: DatasetStatistics, faint: Sequence[int], solid: Sequence[int]) -> bool:
    """Returns whether nearly all pixels are near black or white, and some numbers between."""
    values = sorted(statistics.classes)
    if values[-1] > WHITE or values[-1] < WHITE - _ENDS or values[0] > _ENDS:
        return False
    black = sum(c.pixels for v, c in statistics.classes.items() if v <= _ENDS)
    white = sum(c.pixels for v, c in statistics.classes.items() if v >= WHITE - _ENDS)
    if black + white < _AT_ENDS * statistics.pixels or not _is_peak(statistics, values):
        return False
    between = [value for value in values if _ENDS < value < WHITE - _ENDS]
    near_white = [value for value in values[:-1] if value >= WHITE - _ENDS]
    solid_between = [value for value in between if value in solid]
    return not solid_between and (
        (len(between) >= 2 and len(faint) >= 2) or (len(near_white) >= 3 and len(faint) >= 3)
    )


def _is_peak(statistics: DatasetStatistics, values: Sequence[int]) -> bool:
    """Returns whether most black pixels have one number, or its neighbour: labels have several."""
    black = {value: statistics.classes[value].pixels for value in values if value <= _ENDS}
    peak = max(black, key=lambda value: black[value])
    near = sum(pixels for value, pixels in black.items() if abs(value - peak) <= 2)
    return near >= _AT_ENDS * sum(black.values())


def _check_not_image(statistics: DatasetStatistics, solid: Sequence[int]) -> None:
    share = sum(statistics.classes[value].pixels for value in solid) / statistics.pixels
    if len(statistics.classes) > _IMAGE and share < 0.5:
        raise ValueError(
            f"These are images, not masks: {len(statistics.classes)} different numbers share the "
            "pixels, and few of them form solid regions. Pass the folder of the masks; for soft "
            "masks of one class, set values='soft' (--values soft)."
        )


def _blurred_text(statistics: DatasetStatistics, faint: Sequence[int], solid: Sequence[int]) -> str:
    share = sum(statistics.classes[value].pixels for value in faint) / statistics.pixels
    return (
        f"JPEG or resizing blurred these masks: of {len(statistics.classes)} different numbers, "
        f"{len(solid)} have solid regions ({_some(solid)}), and {len(faint)}, with {share:.2%} of "
        f"the pixels, lie in specks and at edges. {_REMEDY} For one class in black and white, set "
        "values='soft' (--values soft)."
    )


def _some(values: Sequence[int]) -> str:
    shown = ", ".join(map(number_text, values[:8]))
    return f"{shown} ..." if len(values) > 8 else shown or "none"
