"""The kinds of files side by side in a folder: masks, images, colours, and numbers of objects.

A few files of each group, which share their folder and the ending of their names, show its kind.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from segloss.foundation.printable import printable
from segloss.tools.suggest.files import read_file, stem_of, suffix_of
from segloss.tools.suggest.folders.endings import are_counted, endings_of
from segloss.tools.suggest.pixels.colours import is_colour
from segloss.tools.suggest.pixels.mask import HALF, ImageError, Reading, load_mask
from segloss.tools.suggest.statistics import VOID
from segloss.tools.suggest.tiles import longest_first, numbers_of

SAMPLES = 4
"""The number of files of a group that are examined."""

MOST_GROUPS = 40
"""With more groups, the folder is taken as a whole."""

_MANY = 64
_FIRST_ID = 1000
"""Numbers from here on are those of objects, or combine a class and an object."""

_OBJECT_WORDS = ("segmentationobject", "instance", "panoptic")
_CLASS_WORDS = ("color", "colour", "semantic")

PREFERRED = ("labelTrainIds", "labelIds")
"""Endings for the same labels (of Cityscapes) in the order of preference."""


@dataclass(frozen=True)
class Group:
    """Files that share a folder and an ending.

    Attributes:
        folder: The folder, relative to that of the masks.
        ending: The ending of their names; may be empty.
        files: The files.
        kind: "binary", "labels", "colours", "ids", "image", or "unreadable".
    """

    folder: str
    ending: str
    files: Sequence[Path]
    kind: str

    @property
    def numbers_objects(self) -> bool:
        """True if the name says that labels are numbers of objects, as VOC's SegmentationObject."""
        words = f"{self.folder} {self.ending}".lower()
        are_objects = any(word in words for word in _OBJECT_WORDS)
        are_classes = any(word in words for word in _CLASS_WORDS)
        return self.kind in ("labels", "colours") and are_objects and not are_classes

    @property
    def title(self) -> str:
        """The files in words."""
        shown = f"*{self.ending}{suffix_of(self.files[0])}"
        return printable(f"{self.folder}/{shown}" if self.folder else shown, 60)


def masks_among(folder: Path, files: list[Path]) -> tuple[list[Path], list[str]]:
    """Returns the files that are masks, and guesses about the others.

    Raises:
        ValueError: Each image has a file for each object.
    """
    groups = groups_of(folder, files)
    kept = _preferred([group for group in groups if group.kind in _best_kinds(groups)])
    dropped = [group for group in groups if group not in kept]
    if not dropped or not kept:
        return files, []
    _check_not_a_file_for_each_object(kept, dropped)
    left_out = ", ".join(f"{group.title} ({_KINDS[group.kind]})" for group in dropped[:4])
    more = f" and {len(dropped) - 4} more" if len(dropped) > 4 else ""
    guess = (
        f"only {', '.join(group.title for group in kept[:4])} hold masks, and {left_out}{more} are "
        "left out; to read others, pass their folder, or --only with a pattern"
    )
    return sorted(path for group in kept for path in group.files), [guess]


def _check_not_a_file_for_each_object(kept: Sequence[Group], dropped: Sequence[Group]) -> None:
    """Raises ValueError if folders hold one image and many masks of two classes, with numbers."""
    masks = [path for group in kept if group.kind == "binary" for path in group.files]
    images = [path for group in dropped if group.kind == "image" for path in group.files]
    many, one = (Counter(path.parent.parent for path in files) for files in (masks, images))
    of_one = [folder for folder in many if one[folder] == 1]
    if 1 < len(of_one) == len(many) < len(masks) / 2 and are_counted(stem_of(p) for p in masks):
        raise ValueError(
            f"An image must have one mask, but {len(many)} folders hold one image each and "
            f"{len(masks)} masks, such as {printable(masks[0], 300)}, so these may be objects: "
            "merge the files of an image, for example with numpy.maximum.reduce(files)."
        )


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
    for ending in PREFERRED:
        chosen = [group for group in groups if group.ending.endswith(ending)]
        if chosen:
            others = [group for group in groups if not group.ending.endswith(PREFERRED)]
            return [*chosen, *others]
    by_name = [group for group in groups if group.numbers_objects]
    return [group for group in groups if group not in by_name] or groups


def groups_of(folder: Path, files: Sequence[Path]) -> list[Group]:
    """Returns the groups of files; a single group if there are too many."""
    names = {path: _name_in(folder, path) for path in files}
    for longest in (False, True):
        endings = endings_of(list(names.values()), longest=longest)
        parents = {name: _parent(beginning) for name, (beginning, _) in endings.items()}
        roles = {name: _role(name) for name in endings}
        for folders in (parents, roles):
            groups = defaultdict(list)
            for path, name in names.items():
                groups[folders[name], endings[name][1], suffix_of(path)].append(path)
            if 1 < len(groups) <= MOST_GROUPS:
                return [Group(*key[:2], found, kind_of(found)) for key, found in groups.items()]
    return [Group("", "", files, "labels")]


def _name_in(folder: Path, path: Path) -> str:
    """Returns the path of a file within a folder, without the suffix."""
    return path.relative_to(folder).with_name(stem_of(path)).as_posix()


def _parent(name: str) -> str:
    """Returns the folder of a file, within that of the masks."""
    parent = str(Path(name).parent)
    return "" if parent == "." else parent


def _role(name: str) -> str:
    """Returns the folder of a file that tells its role, such as images: the last one."""
    return Path(name).parent.name


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
