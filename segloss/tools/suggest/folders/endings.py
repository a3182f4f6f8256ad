"""The endings that names of files have in common, such as "car" in a_car.png and b_car.png."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

_SEPARATOR = re.compile(r"[-_. /]+")
_ROLES = (
    *("mask", "masks", "label", "labels", "seg", "segmentation", "gt", "target"),
    *("image", "images", "img", "color", "colour", "labelids", "labeltrainids", "instanceids"),
)
"""Names of files that say what a file holds, not which one it is."""

_DIGITS = re.compile(r"\d+")

_VIEWS = (
    *("left", "right", "l", "r", "top", "bottom", "orig", "original"),
    *("aug", "augmented", "crop", "scale", "zoom", "flip", "flipped", "hflip", "vflip", "mirror"),
    *("rot", "rotate", "rotated", "transpose", "transposed"),
)
"""Endings, without numbers, that tell views of one image apart, not classes or kinds of files."""

_NUMBERED_CLASSES = frozenset(["c", "class", "cls", "label", "channel", "category", "cat"])
"""Words that make a number the number of a class."""


def endings_of(names: Sequence[str], *, longest: bool = False) -> dict[str, tuple[str, str]]:
    """Returns for each name its beginning and the ending that it shares with most other names.

    Args:
        names: Paths within the folder, without suffixes. A slash separates too, but what follows
            is an ending only if it is the name of a role, or one of few in many folders.
        longest: True: the longest ending that it shares with any other name.

    Returns:
        The beginning and the ending of each name; the ending is empty if no other name has it, and
        it is not the name of a role.
    """
    shared = Counter(ending for name in names for _, ending in _splits(name))
    files = Counter(name.rpartition("/")[2] for name in names if "/" in name)
    counts = {
        ending: count
        for ending, count in shared.items()
        if ending.lower() in _ROLES
        or (count > 1 and (ending not in files or count > 2 * len(files)))
    }
    found = {name: _best(name, counts, longest) for name in names}
    beginnings = {beginning for beginning, ending in found.values() if ending}
    return {
        name: (name, "") if name in beginnings else beginning_and_ending
        for name, beginning_and_ending in found.items()
    }


def _best(name: str, counts: dict[str, int], longest: bool) -> tuple[str, str]:
    """Returns the split with the most frequent ending, and of these the longest."""

    def rank(split: tuple[str, str]) -> tuple[int, int]:
        return 0 if longest else counts[split[1]], len(split[1])

    splits = [split for split in _splits(name) if split[1] in counts]
    return max(splits, key=rank, default=(name, ""))


def _splits(name: str) -> Iterator[tuple[str, str]]:
    """Yields beginnings and endings that begin with a letter and lie within a file's name."""
    for match in _SEPARATOR.finditer(name):
        beginning, ending = name[: match.start()], name[match.end() :]
        if beginning and ending[:1].isalpha() and "/" not in ending:
            yield beginning, ending


def are_numbered(names: Iterable[str]) -> bool:
    """Returns whether names differ only in numbers, such as those of patients or folds."""
    names = list(names)
    words = {_DIGITS.sub("", name).strip("-_. ").lower() for name in names}
    has_numbers = all(_DIGITS.search(name) for name in names)
    return len(names) > 1 and has_numbers and len(words) == 1 and not words & _NUMBERED_CLASSES


def are_counted(names: Iterable[str]) -> bool:
    """Returns whether all names have numbers, so that they are not the names of classes."""
    return all(map(_DIGITS.search, names))


def are_views(names: Iterable[str]) -> bool:
    """Returns whether names are those of views, such as left and right."""
    return all(_DIGITS.sub("", name).lower() in _VIEWS for name in names)
