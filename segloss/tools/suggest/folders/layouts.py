"""The layouts of a folder: a file for each mask, or a file for each class of a mask.

The files of the classes are in a folder for each class, or their names end in the class.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from segloss.foundation.ignore_index import IgnoreIndex
from segloss.foundation.printable import printable
from segloss.tools.suggest.annotations import read_annotations
from segloss.tools.suggest.files import stem_of
from segloss.tools.suggest.folders.endings import (
    are_counted,
    are_numbered,
    are_views,
    endings_of,
)
from segloss.tools.suggest.folders.kinds import are_black_and_white, kind_of, masks_among
from segloss.tools.suggest.folders.listing import are_lossy, files_in, mask_files, no_masks
from segloss.tools.suggest.folders.names import label_names
from segloss.tools.suggest.pixels.mask import Reading
from segloss.tools.suggest.sources import Collection, Source

_SPLITS = (
    *("train", "training", "trainset", "trainval", "tr", "val", "valid", "validation", "va"),
    *("dev", "test", "testing", "testset", "ts", "holdout", "eval"),
)
"""Words in the names of folders that hold parts of a dataset, such as train2017 and labelsTs."""

_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")

_MOST_CLASSES = 256


@dataclass(frozen=True)
class Grid:
    """Files by class and by mask.

    Attributes:
        files: The files, by class and by the name of the mask.
        is_turned: True if a class is the name of a file in the folder of each mask.
    """

    files: dict[str, dict[str, Path]]
    is_turned: bool = False

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
    def in_several(self) -> int:
        """The number of masks with files of several classes."""
        counts = Counter(name for files in self.files.values() for name in files)
        return sum(count > 1 for count in counts.values())

    @property
    def kinds(self) -> dict[str, str]:
        """The kind of each class's files: "binary", "labels" ..."""
        return {name: kind_of(list(files.values())) for name, files in self.files.items()}


def masks_in(
    folder: Path, layout: str, ignore_index: IgnoreIndex, how: Reading, only: str | None = None
) -> Collection:
    """Returns the masks in a folder.

    Raises:
        FileNotFoundError: The folder has no file that could be a mask.
        ValueError: Files of classes are missing, or several kinds of masks are mixed.
    """
    everything = files_in(folder, only)
    files = mask_files(everything)
    is_lossy = are_lossy(files) and not are_black_and_white(files)
    annotations = [path for path in everything if path.suffix.lower() == ".json"]
    if annotations and (not files or is_lossy or kind_of(files) == "image"):
        return annotated_masks(annotations, ignore_index, how)
    if not files or is_lossy:
        raise no_masks(folder, everything, only)
    files, guesses = masks_among(folder, files)
    found = _arranged(folder, files, layout, ignore_index, how)
    names = label_names(folder)
    return replace(found, guesses=[*guesses, *found.guesses], label_names=names)


def annotated_masks(paths: Sequence[Path], ignore_index: IgnoreIndex, how: Reading) -> Collection:
    """Returns the masks that JSON files of annotations describe.

    Raises:
        ValueError: They describe none.
    """
    annotations = read_annotations(paths)
    sources = [
        Source(drawing.name, [drawing], False, ignore_index, how)
        for drawing in annotations.drawings
    ]
    return Collection(sources, len(sources), None, False, [], annotations.names)


def _arranged(
    folder: Path, files: list[Path], layout: str, ignore_index: IgnoreIndex, how: Reading
) -> Collection:
    """Returns the masks by the layout that is given, or that names and contents show."""
    if layout == "labels":
        return _label_maps(folder, files, ignore_index, replace(how, is_volume=True))
    folders, endings = _turned(by_folder(folder, files)), by_ending(folder, files)
    if layout == "classes":
        if len(folders.files) < 2 <= len(endings.files):
            return _classes(endings, ignore_index, how)
        if len(folders.files) < 2:
            return _channels(folder, files, ignore_index, how)
        return _classes(_complete(folders), ignore_index, how)
    if _look_like_classes(folders):
        return _class_folders(folder, files, folders, ignore_index, how)
    if len(endings.files) > 1 and not are_numbered(endings.files) and not are_views(endings.files):
        return _class_endings(folder, files, endings, ignore_index, how)
    return _label_maps(folder, files, ignore_index, how)


def _class_folders(
    folder: Path, files: list[Path], grid: Grid, ignore_index: IgnoreIndex, how: Reading
) -> Collection:
    """Returns masks of subfolders with the same names, if their files hold a class each."""
    shown = _some(grid.classes)
    if are_numbered(grid.classes) or all(name.isdigit() for name in grid.classes):
        guess = f"the subfolders {shown} are numbered, so each file is a mask, not a class"
        remedy = "if a subfolder is a class, set --layout classes"
        return _label_maps(folder, files, ignore_index, how, [f"{guess}; {remedy}"])
    _complete(grid)
    if set(grid.kinds.values()) == {"labels"}:
        guess = f"the subfolders {shown} hold label maps with the same names, not a class each"
        return _label_maps(folder, files, ignore_index, how, [guess])
    each = "file of a subfolder" if grid.is_turned else "subfolder"
    guess = (
        f"each {each} is a class ({shown}), because all subfolders hold the same names; if each "
        "file is a label map, set --layout labels"
    )
    return replace(_classes(grid, ignore_index, how), guesses=[guess])


def _class_endings(
    folder: Path, files: list[Path], grid: Grid, ignore_index: IgnoreIndex, how: Reading
) -> Collection:
    """Returns masks whose names end in the class, if all their files hold one class."""
    kinds = grid.kinds
    if set(kinds.values()) <= {"labels", "colours"}:
        return _label_maps(folder, files, ignore_index, how)
    shown = _some(grid.classes)
    if set(kinds.values()) != {"binary"}:
        others = [name for name, kind in kinds.items() if kind != "binary"]
        several = next((name for name in others if kinds[name] == "labels"), others[0])
        raise ValueError(
            f"Files whose names end in {shown} must be of one kind, but only some hold several "
            f"labels ({printable(several, 60)}): read one kind with only='*{several}.*' "
            f"(--only '*{several}.*'), or all as label maps with layout='labels' (--layout labels)."
        )
    if grid.in_several < len(grid.names) / 2:
        raise ValueError(
            f"Names end in {shown}, but few images have files with several of these endings: if "
            f"they are several kinds of masks, read one with only='*{grid.classes[0]}.*' (--only "
            f"'*{grid.classes[0]}.*'); if the ending is the class, set layout='classes' (--layout "
            "classes); if each file is a mask of its own, set layout='labels' (--layout labels)."
        )
    absent = len(grid.missing)
    empty = f"; {absent} files that are missing count as all 0" if absent else ""
    guess = (
        f"names end in the class ({shown}), and each image has a file for each class{empty}; if "
        "each file is a mask of its own, set --layout labels"
    )
    return replace(_classes(grid, ignore_index, how), guesses=[guess])


def by_folder(folder: Path, files: Iterable[Path]) -> Grid:
    """Returns files by their subfolders, without those of splits such as train and val.

    Parts of the paths that all files share, such as "masks", are left out too.
    """
    paths = {path: path.relative_to(folder).parent.parts for path in files}
    shared = set.intersection(*(set(parts) for parts in paths.values()))
    all_splits = _splits(paths.values())
    found: dict[str, dict[str, Path]] = defaultdict(dict)
    for path, parts in paths.items():
        splits = [part for part in parts if part in all_splits]
        own = [part for part in parts if part not in splits and part not in shared]
        found["/".join(own)]["/".join([*splits, stem_of(path)])] = path
    return Grid(dict(found))


def _turned(grid: Grid) -> Grid:
    """Returns the files of a folder for each mask, whose names are the classes, by class.

    Classes have names without numbers, and are fewer than masks.
    """
    if not _look_like_classes(grid) or are_counted(grid.names):
        return grid
    if not 1 < len(grid.names) < len(grid.files):
        return grid
    turned = {
        name: {folder: files[name] for folder, files in grid.files.items() if name in files}
        for name in grid.names
    }
    return Grid(turned, is_turned=True) if {*Grid(turned).kinds.values()} == {"binary"} else grid


def _splits(paths: Iterable[Sequence[str]]) -> set[str]:
    """Returns the folders that hold parts of a dataset: all their siblings do, unlike classes."""
    siblings: dict[Sequence[str], set[str]] = defaultdict(set)
    for parts in paths:
        for depth, part in enumerate(parts):
            siblings[parts[:depth]].add(part)
    groups = [names for names in siblings.values() if all(map(_names_split, names))]
    return set().union(*groups)


def _names_split(name: str) -> bool:
    return any(word.lower() in _SPLITS for word in _WORD.findall(name))


def by_ending(folder: Path, files: Sequence[Path]) -> Grid:
    """Returns files by the endings of their names; an empty grid if some have none.

    Where long endings share a short one, such as l_eye and r_eye, the fewest files are missing.
    """
    names = {path: path.relative_to(folder).with_name(stem_of(path)).as_posix() for path in files}
    grids = [_by_ending(names, longest=longest) for longest in (False, True)]
    return min((grid for grid in grids if grid.files), key=_missing, default=Grid({}))


def _by_ending(names: dict[Path, str], *, longest: bool) -> Grid:
    endings = endings_of(list(names.values()), longest=longest)
    found: dict[str, dict[str, Path]] = defaultdict(dict)
    for path, name in names.items():
        beginning, ending = endings[name]
        found[ending][beginning] = path
    if "" in found or len(found) > min(_MOST_CLASSES, len(names) // 2):
        return Grid({})
    return _without_own_folders(Grid(dict(sorted(found.items()))))


def _missing(grid: Grid) -> int:
    return len(grid.missing)


def _without_own_folders(grid: Grid) -> Grid:
    """Returns the names of masks without their folders, if each class has its own folder."""
    folders = [{str(Path(name).parent) for name in files} for files in grid.files.values()]
    if len(set().union(*folders)) != sum(map(len, folders)) or any(len(f) > 1 for f in folders):
        return grid
    return Grid(
        {
            name_of_class: {Path(name).name: path for name, path in files.items()}
            for name_of_class, files in grid.files.items()
        }
    )


def _look_like_classes(grid: Grid) -> bool:
    """Returns whether there are two or more siblings with much the same names."""
    if len(grid.files) < 2 or any("/" in name or not name for name in grid.classes):
        return False
    names = [set(files) for files in grid.files.values()]
    return len(set.intersection(*names)) > len(set.union(*names)) / 2


def _label_maps(
    folder: Path,
    files: Sequence[Path],
    ignore_index: IgnoreIndex,
    how: Reading,
    guesses: Sequence[str] = (),
) -> Collection:
    sources = [
        Source(str(path.relative_to(folder)), [path], False, ignore_index, how) for path in files
    ]
    return Collection(sources, len(sources), None, False, guesses)


def _channels(
    folder: Path, files: Sequence[Path], ignore_index: IgnoreIndex, how: Reading
) -> Collection:
    """Returns masks in files that hold a channel for each class."""
    maps = _label_maps(folder, files, ignore_index, how)
    return replace(maps, sources=[replace(s, by_class=True) for s in maps.sources], by_class=True)


def _classes(grid: Grid, ignore_index: IgnoreIndex, how: Reading) -> Collection:
    sources = [
        Source(name, [files.get(name) for files in grid.files.values()], True, ignore_index, how)
        for name in grid.names
    ]
    return Collection(sources, len(sources), grid.classes, True)


def _complete(grid: Grid) -> Grid:
    """Returns a grid in which no file is missing."""
    missing = [
        f"{printable(Path(name_of_class).name, 60)} has no {printable(name, 60)}"
        for name_of_class, name in grid.missing
    ]
    if missing:
        more = f", and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise ValueError(
            "With one folder per class, all folders must hold the same names: "
            f"{', '.join(missing[:5])}{more}. If an image lacks a class, its mask is all 0. "
            "If these are label maps in subfolders, set layout='labels' (--layout labels)."
        )
    return grid


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 6} more" if len(names) > 6 else ""
    return ", ".join(printable(name, 60) for name in names[:6]) + more
