"""The kinds of files side by side in a folder: masks, images, colours, and numbers of objects.

A few files of each group, which share their folder and the ending of their names, show its kind.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from segloss.foundation.printable import printable
from segloss.tools.suggest.files import read_file, stem_of, suffix_of
from segloss.tools.suggest.folders.endings import (
    endings_of,
    starting_role,
    words_of,
)
from segloss.tools.suggest.pixels.colours import is_colour
from segloss.tools.suggest.pixels.mask import HALF, ImageError, Reading, load_mask
from segloss.tools.suggest.statistics import VOID
from segloss.tools.suggest.tiles import longest_first, numbers_of

SAMPLES = 4
"""The number of files of a group that are examined."""

MOST_GROUPS = 40
"""With more groups, the folder is taken as a whole."""

_SHOWN = 4
"""The largest number of groups in a guess."""

_NUMBER = re.compile(r"\d+")

_OBJECT_WORDS = ("object", "instance", "panoptic")

_MANY = 64
_FIRST_ID = 1000
"""Numbers from here on are those of objects, or combine a class and an object."""

PREFERRED = ("labelTrainIds", "labelIds")
"""Endings for the same labels (of Cityscapes) in the order of preference."""


@dataclass(frozen=True)
class Group:
    """Files that share a folder, and the ending or the first word of their names.

    Attributes:
        folder: The folder, relative to that of the masks.
        start: The role that begins their names, such as "mask"; may be empty.
        ending: The ending of their names; may be empty.
        files: The files.
        kind: "binary", "labels", "colours", "ids", "image", or "unreadable".
    """

    folder: str
    start: str
    ending: str
    files: Sequence[Path]
    kind: str

    @property
    def words(self) -> set[str]:
        """The words of the folder and of the ending."""
        return {*words_of(f"{self.folder} {self.ending}")}

    def numbers_objects(self, words: set[str]) -> bool:
        """Returns whether words say that labels are numbers of objects, as SegmentationObject."""
        if self.kind not in ("labels", "colours"):
            return False
        is_id = self.kind == "colours" and not words.isdisjoint(("id", "ids"))
        return is_id or any(each in word for word in words for each in _OBJECT_WORDS)

    @property
    def title(self) -> str:
        """The files in words."""
        shown = f"{self.start}*{self.ending}{suffix_of(self.files[0])}"
        return printable(f"{self.folder}/{shown}" if self.folder else shown, 60)


def masks_among(folder: Path, files: list[Path]) -> tuple[list[Path], list[str]]:
    """Returns the files that are masks, and guesses about the others."""
    groups = groups_of(folder, files)
    kept = _preferred([group for group in groups if group.kind in _best_kinds(groups)])
    dropped = [group for group in groups if group not in kept]
    if not dropped or not kept:
        return files, []
    left_out = _first([f"{group.title} ({_KINDS[group.kind]})" for group in dropped])
    guess = (
        f"only {_first([group.title for group in kept])} hold masks, and {left_out} are left out; "
        "to read others, pass their folder, or --only with a pattern"
    )
    return sorted(path for group in kept for path in group.files), [guess]


def _first(titles: Sequence[str]) -> str:
    """Returns a few titles; of many, those that differ in more than numbers."""
    if len(titles) > _SHOWN:
        titles = list(dict.fromkeys(_NUMBER.sub("*", title) for title in titles))
    more = f" and {len(titles) - _SHOWN} more" if len(titles) > _SHOWN else ""
    return ", ".join(titles[:_SHOWN]) + more


_KINDS = {
    "image": "images",
    "colours": "colours",
    "ids": "numbers of objects",
    "unreadable": "can't be read",
    "labels": "the same labels",
    "binary": "two classes",
}


def _best_kinds(groups: Sequence[Group]) -> tuple[str, ...]:
    """Returns the kinds to keep: colours and numbers of objects only where no labels are."""
    kinds = {group.kind for group in groups}
    for best in (("labels", "binary"), ("colours",), ("ids",)):
        if kinds.intersection(best):
            return (*best, "unreadable")
    return ("image", "unreadable")


def _preferred(groups: list[Group]) -> list[Group]:
    """Returns the groups without those that hold the same labels in another numbering."""
    if not groups:
        return []
    for ending in PREFERRED:
        chosen = [group for group in groups if group.ending.endswith(ending)]
        if chosen:
            others = [group for group in groups if not group.ending.endswith(PREFERRED)]
            return [*chosen, *others]
    shared = set.intersection(*(group.words for group in groups))
    return [group for group in groups if not group.numbers_objects(group.words - shared)] or groups


def groups_of(folder: Path, files: Sequence[Path]) -> list[Group]:
    """Returns the groups of files; a single group if there are too many."""
    names = {path: _name_in(folder, path) for path in files}
    endings = endings_of(list(names.values()))
    groups = defaultdict(list)
    for path, name in names.items():
        beginning, ending = endings[name]
        parent = str(Path(beginning).parent)
        start = "" if ending else starting_role(name)
        groups["" if parent == "." else parent, start, ending, suffix_of(path)].append(path)
    if len(groups) > MOST_GROUPS:
        groups.clear()
        for path, name in names.items():
            groups[_role(name), "", endings[name][1], suffix_of(path)].append(path)
    if not 1 < len(groups) <= MOST_GROUPS:
        return [Group("", "", "", files, "labels")]
    return [Group(*key[:3], found, kind_of(found)) for key, found in groups.items()]


def _name_in(folder: Path, path: Path) -> str:
    """Returns the path of a file within a folder, without the suffix."""
    return path.relative_to(folder).with_name(stem_of(path)).as_posix()


def _role(name: str) -> str:
    """Returns the folder of a file that tells its role, such as images: the last, less numbers."""
    return _NUMBER.sub("*", Path(name).parent.name)


def kind_of(files: Sequence[Path]) -> str:
    """Returns the kind of most of a few files, in the order of `_KINDS` if there are several."""
    step = max(1, len(files) // SAMPLES)
    kinds = [_kind_of_file(path) for path in files[::step][:SAMPLES]]
    known = [kind for kind in kinds if kind != "unreadable"] or kinds
    if set(known) <= {"binary", "labels"}:
        return "labels" if "labels" in known else "binary"
    return "colours" if "colours" in known else max(sorted(set(known)), key=known.count)


def _kind_of_file(path: Path) -> str:
    try:
        mask = load_mask(read_file(path), Reading()).mask
    except ImageError:
        return "image"
    except (OSError, ValueError) as error:
        return "labels" if "--ignore-index" in str(error) else "unreadable"
    values = numbers_of(longest_first(mask))[0]
    labels = [value for value in values.tolist() if value != 0]
    if len(labels) <= 1 or labels == [1, VOID]:
        return "binary"
    if is_colour(labels[-1]):
        return "colours"
    if labels[-1] >= _FIRST_ID or len(labels) > 256:
        return "ids"
    if len(labels) <= _MANY:
        return "labels"
    return "binary" if _is_black_and_white(path) else "image"


def _is_black_and_white(path: Path) -> bool:
    """Returns whether nearly all pixels of a file are near black or near white, and some white."""
    mask = load_mask(read_file(path), Reading()).mask
    values, pixels = numbers_of(longest_first(mask))
    dark, bright = pixels[values < HALF // 4].sum(), pixels[values > 2 * HALF - HALF // 4].sum()
    return bool(values[-1] > HALF and dark + bright > 0.8 * mask.size)


def are_black_and_white(files: Sequence[Path]) -> bool:
    """Returns whether a few files are black and white, as JPEG leaves them."""
    step = max(1, len(files) // SAMPLES)
    try:
        return any(_is_black_and_white(path) for path in files[::step][:SAMPLES])
    except (OSError, ValueError):
        return False
