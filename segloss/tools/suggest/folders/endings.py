"""The endings that names of files have in common, such as "car" in a_car.png and b_car.png."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Sequence

_SEPARATOR = re.compile(r"[-_. /]+")
_MASKS = ("mask", "masks", "label", "labels", "seg", "segmentation", "gt", "target")
_ROLES = (
    *_MASKS,
    *("image", "images", "img", "color", "colour", "labelids", "labeltrainids", "instanceids"),
)
"""Names of files that say what a file holds, not which one it is."""

_DIGITS = re.compile(r"\d+")
_LETTERS = re.compile(r"[A-Za-z]+")
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")

_VIEWS = frozenset(
    [
        *("left", "right", "l", "r", "top", "bottom"),
        *("flip", "hflip", "vflip", "fliplr", "flipud", "mirror", "rot", "rotate", "rotated"),
        *("transpose", "transposed", "orig", "original", "aug", "augmented", "crop"),
    ]
)
"""Endings, without numbers, that tell views of one image apart, such as left and rot90."""

_NUMBERED_CLASSES = frozenset(["c", "class", "cls", "label", "channel", "category", "cat"])
"""Words that make a number the number of a class."""

_FEWEST_NUMBERS = 3
"""Each of several words has this many numbers or more on average, if names are numbered."""


Split = tuple[str, str]
"""The beginning and the ending of a name."""


def endings_of(names: Sequence[str]) -> dict[str, Split]:
    """Returns for each name its beginning and the ending that it shares with other names.

    Several splits are possible: 1_l_eye may be the eye of 1_l, or the l_eye of 1. The one with the
    fewest missing files is right, where each beginning is an image; then the one with the fewest
    images.

    Args:
        names: Paths within the folder, without suffixes. A slash separates too, but what follows
            is an ending only if it is the name of a role, or one of few in many folders.

    Returns:
        The beginning and the ending of each name; the ending is empty if no other name has it, and
        it is not the name of a role.
    """
    counts = _shared_endings(names)
    frequent = _with_images_apart({name: _most_frequent(name, counts) for name in names})
    numbers = Counter(map(_without_numbers, counts))
    distinct = {ending for ending in counts if numbers[_without_numbers(ending)] == 1}
    longest = _with_images_apart({name: _longest(name, distinct) for name in names})
    return longest if _is_better(longest, frequent) else frequent


def _shared_endings(names: Sequence[str]) -> dict[str, int]:
    """Returns the endings of several names or of roles, with the number of names."""
    shared = Counter(ending for name in names for _, ending in _splits(name))
    files = Counter(name.rpartition("/")[2] for name in names if "/" in name)
    return {
        ending: count
        for ending, count in shared.items()
        if ending.lower() in _ROLES
        or (count > 1 and (ending not in files or count > 2 * len(files)))
    }


def _most_frequent(name: str, counts: dict[str, int]) -> Split:
    """Returns the split with the most frequent ending, and of these the longest."""
    splits = [split for split in _splits(name) if split[1] in counts]
    return max(splits, key=lambda split: (counts[split[1]], len(split[1])), default=(name, ""))


def _longest(name: str, endings: Container[str]) -> Split:
    """Returns the split with the longest of the endings."""
    return next((split for split in _splits(name) if split[1] in endings), (name, ""))


def _with_images_apart(splits: dict[str, Split]) -> dict[str, Split]:
    """Returns splits in which a name that is itself the beginning of others has no ending."""
    beginnings = {beginning for beginning, ending in splits.values() if ending}
    return {name: (name, "") if name in beginnings else split for name, split in splits.items()}


def without_common_start(splits: dict[str, Split]) -> dict[str, Split]:
    """Returns splits in which the words that begin all endings are parts of the beginnings."""
    endings = {ending for _, ending in splits.values() if ending}
    start = len(_common_start(endings)) if endings else 0
    return {
        name: (name[: len(name) - len(ending[start:])].rstrip("-_. /"), ending[start:])
        if ending and start
        else (beginning, ending)
        for name, (beginning, ending) in splits.items()
    }


def _common_start(endings: Iterable[str]) -> str:
    """Returns the words that begin all of several endings, with the separator that follows."""
    first, *others = endings
    starts = [first[: match.end()] for match in _SEPARATOR.finditer(first)]
    shared = [start for start in starts if all(other.startswith(start) for other in others)]
    return max(shared, key=len, default="")


def _is_better(splits: dict[str, Split], others: dict[str, Split]) -> bool:
    """Returns whether splits have fewer missing files than others; or as few, and fewer images."""
    images, endings = map(set, zip(*splits.values(), strict=True))
    other_images, other_endings = map(set, zip(*others.values(), strict=True))
    missing, other_missing = len(images) * len(endings), len(other_images) * len(other_endings)
    if len(images) >= len(other_images) or ("" in endings and "" not in other_endings):
        return False
    return missing < other_missing or (missing == other_missing and len(endings) <= len(images))


def _splits(name: str) -> Iterator[tuple[str, str]]:
    """Yields beginnings and endings that begin with a letter and lie within a file's name."""
    for match in _SEPARATOR.finditer(name):
        beginning, ending = name[: match.start()], name[match.end() :]
        if beginning and ending[:1].isalpha() and "/" not in ending:
            yield beginning, ending


def are_numbered(names: Iterable[str]) -> bool:
    """Returns whether names differ only in numbers, such as those of patients or folds.

    There may be several words, if each has several numbers, such as seg1, seg2 ... and track1 ...
    """
    names = set(names)
    words = {_without_numbers(name).strip("-_. ").lower() for name in names}
    is_one_of_few = len(words) == 1 or _FEWEST_NUMBERS * len(words) <= len(names)
    has_numbers = len(names) > 1 and all(map(has_number, names))
    return has_numbers and is_one_of_few and not words & _NUMBERED_CLASSES


def has_number(name: str) -> bool:
    """Returns whether a name holds digits."""
    return bool(_DIGITS.search(name))


def are_views(endings: Iterable[str]) -> bool:
    """Returns whether endings are those of views, such as left and right, or differ only so."""
    words = [_SEPARATOR.split(_without_numbers(ending).lower()) for ending in endings]
    while len(words) > 1 and all(len(each) > 1 and each[-1] == words[0][-1] for each in words):
        words = [each[:-1] for each in words]
    return all(set(each) <= _VIEWS for each in words)


def are_of_several_roles(names: Iterable[str]) -> bool:
    """Returns whether some names say that files are masks, and others don't, unlike classes."""
    last_words = [words_of(name)[-1:] for name in names]
    return len({bool(last) and last[0] in _MASKS for last in last_words}) > 1


def words_of(name: str) -> list[str]:
    """Returns the words of a name, in lowercase, also those of SegmentationObject."""
    return [word.lower() for word in _WORD.findall(name)]


def starting_role(name: str) -> str:
    """Returns the role that begins the name of a file, such as "mask" in "mask (1)", or ""."""
    word = _LETTERS.match(name.rpartition("/")[2])
    return word[0] if word and word[0].lower() in _ROLES else ""


def _without_numbers(name: str) -> str:
    return _DIGITS.sub("", name)
