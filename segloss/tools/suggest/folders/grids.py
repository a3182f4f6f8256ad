"""Files by class and by image: the class may be a folder, a file's name, or the ending of names."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from segloss.tools.suggest.files import stem_of
from segloss.tools.suggest.folders.endings import (
    Split,
    are_numbered,
    are_views,
    endings_of,
    has_number,
    without_common_start,
    words_of,
)
from segloss.tools.suggest.folders.kinds import kind_of

_SPLITS = (
    *("train", "training", "trainset", "trainval", "tr", "val", "valid", "validation", "va"),
    *("dev", "test", "testing", "testset", "ts", "holdout", "eval"),
)
"""Words in the names of folders that hold parts of a dataset, such as train2017 and labelsTs."""

_MOST_CLASSES = 256


@dataclass(frozen=True)
class Grid:
    """Files by class and by mask.

    Attributes:
        files: The files, by class and by the name of the mask.
    """

    files: dict[str, dict[str, Path]]

    @property
    def classes(self) -> list[str]:
        """The names of the classes, or of what looks like classes."""
        return list(self.files)

    @property
    def names(self) -> list[str]:
        """The names of the masks, in order."""
        return sorted(set().union(*self.files.values()))

    @property
    def missing(self) -> list[tuple[str, str]]:
        """The class and the name of each file that is missing."""
        return [
            (name_of_class, name)
            for name_of_class, files in self.files.items()
            for name in self.names
            if name not in files
        ]

    @property
    def kinds(self) -> dict[str, str]:
        """The kind of each class's files: "binary", "labels" ..."""
        return {name: kind_of(list(files.values())) for name, files in self.files.items()}

    @property
    def holds_same_names(self) -> bool:
        """True if there are several classes, and most names occur in all of them."""
        names = [set(files) for files in self.files.values()]
        return len(names) > 1 and len(set.intersection(*names)) > len(set.union(*names)) / 2

    @property
    def are_folders(self) -> bool:
        """True if classes may be folders: single ones, or some inside others, but not a tree."""
        depths = {name.count("/") for name in self.files}
        return "" not in self.files and (0 in depths or len(depths) > 1)

    @property
    def shares_names(self) -> bool:
        """True if at least a tenth of the names occur in several classes."""
        count = sum(len(files) for files in self.files.values())
        return len(self.files) > 1 and count - len(self.names) >= len(self.names) / 10

    @property
    def shares_folders(self) -> bool:
        """True if some folder holds files of several classes."""
        folders = [{path.parent for path in files.values()} for files in self.files.values()]
        return sum(map(len, folders)) > len(set().union(*folders))


def by_folder(folder: Path, files: Sequence[Path]) -> Grid:
    """Returns files by their subfolders, without those of splits such as train and val.

    Parts of the paths that all files share, such as "masks", are left out too. In folders of
    folders, such as a folder for each class of each patient, one level may be that of the classes,
    if files hold one class.
    """
    parts = _parts(folder, files)
    level = _level_of_classes({tuple(own) for _, own in parts.values()})
    if level is not None and kind_of(files) != "binary":
        level = None
    found: dict[str, dict[str, Path]] = defaultdict(dict)
    for path, (splits, own) in parts.items():
        name_of_class = "/".join(own) if level is None else own.pop(level)
        others = [] if level is None else own
        found[name_of_class]["/".join([*splits, *others, stem_of(path)])] = path
    return Grid(dict(found))


def _level_of_classes(paths: set[tuple[str, ...]]) -> int | None:
    """Returns the level with the fewest names that are in most folders of the others."""
    depths = {len(path) for path in paths}
    if len(depths) > 1 or max(depths) < 2:
        return None
    names = [set(level) for level in zip(*paths, strict=True)]
    levels = [
        level
        for level, found in enumerate(names)
        if len(found) > 1
        and not (are_numbered(found) or are_views(found))
        and _are_in_most(level, len(found), paths)
    ]
    return min(levels, key=lambda level: len(names[level]), default=None)


def _are_in_most(level: int, count: int, paths: set[tuple[str, ...]]) -> bool:
    others = {path[:level] + path[level + 1 :] for path in paths}
    return len(others) > 1 and count * len(others) < 2 * len(paths)


def by_name(folder: Path, files: Sequence[Path]) -> Grid:
    """Returns files by their names, in a folder for each image; an empty grid for other folders.

    The names are those of classes if most have no number, they are in most folders, and the folders
    are numbered or more than the names.
    """
    parts = _parts(folder, files)
    folders = {"/".join(own) for _, own in parts.values()}
    found: dict[str, dict[str, Path]] = defaultdict(dict)
    for path, (splits, own) in parts.items():
        found[stem_of(path)]["/".join([*splits, *own])] = path
    grid = Grid(dict(sorted(found.items())))
    is_complete = len(grid.files) * len(grid.names) < 2 * len(files)
    are_images = len(folders) > len(grid.files) or are_numbered(folders)
    are_classes = 2 * sum(map(has_number, grid.classes)) < len(grid.classes)
    if min(len(folders), len(grid.files)) < 2 or are_views(grid.classes):
        return Grid({})
    return grid if is_complete and are_images and are_classes else Grid({})


def by_ending(folder: Path, files: Sequence[Path]) -> Grid:
    """Returns files by the endings of their names; an empty grid if some have none."""
    names = {path: path.relative_to(folder).with_name(stem_of(path)).as_posix() for path in files}
    splits = without_common_start(endings_of(list(names.values())))
    splits = _without_folders_of_endings(splits)
    found: dict[str, dict[str, Path]] = defaultdict(dict)
    for path, name in names.items():
        beginning, ending = splits[name]
        found[ending][beginning] = path
    if "" in found or len(found) > min(_MOST_CLASSES, len(files) // 2):
        return Grid({})
    return Grid(dict(sorted(found.items())))


def _without_folders_of_endings(splits: dict[str, Split]) -> dict[str, Split]:
    """Returns splits without those folders that, as their siblings, hold one ending each."""
    endings: dict[str, set[str]] = defaultdict(set)
    for beginning, ending in splits.values():
        for parent in Path(beginning).parents:
            endings[parent.as_posix()].add(ending)
    siblings: dict[str, set[str]] = defaultdict(set)
    for name in endings.keys() - {"."}:
        siblings[Path(name).parent.as_posix()].add(name)
    dropped = {
        name
        for parent, names in siblings.items()
        if len(endings[parent]) > 1 and all(len(endings[name]) == 1 for name in names)
        for name in names
    }
    shorter = {
        name: (_without(beginning, dropped), ending) for name, (beginning, ending) in splits.items()
    }
    return shorter if len(set(shorter.values())) == len(splits) else splits


def _without(beginning: str, folders: set[str]) -> str:
    """Returns a path without the folders of that path that are in a set."""
    path = Path(beginning)
    kept = [parent.name for parent in path.parents if parent.as_posix() not in folders]
    return "/".join([*filter(None, reversed(kept)), path.name])


def _parts(folder: Path, files: Iterable[Path]) -> dict[Path, tuple[list[str], list[str]]]:
    """Returns for each file the folders of splits, and the others that not all files share."""
    paths = {path: path.relative_to(folder).parent.parts for path in files}
    shared = set.intersection(*(set(parts) for parts in paths.values()))
    all_splits = _splits(paths.values())
    return {
        path: (
            [part for part in parts if part in all_splits],
            [part for part in parts if part not in all_splits and part not in shared],
        )
        for path, parts in paths.items()
    }


def _splits(paths: Iterable[Sequence[str]]) -> set[str]:
    """Returns the folders that hold parts of a dataset: all their siblings do, unlike classes."""
    siblings: dict[Sequence[str], set[str]] = defaultdict(set)
    for parts in paths:
        for depth, part in enumerate(parts):
            siblings[parts[:depth]].add(part)
    groups = [names for names in siblings.values() if all(map(_names_split, names))]
    return set().union(*groups)


def _names_split(name: str) -> bool:
    return any(word in _SPLITS for word in words_of(name))
