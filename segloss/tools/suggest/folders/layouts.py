"""The layouts of a folder: a file for each mask, or a file for each class of a mask.

The files of the classes are in a folder for each class, or their names are or end in the class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from segloss.foundation.ignore_index import IgnoreIndex
from segloss.foundation.printable import printable
from segloss.tools.suggest.annotations import read_annotations
from segloss.tools.suggest.folders.endings import are_numbered, are_of_several_roles, are_views
from segloss.tools.suggest.folders.files_of_objects import check_one_mask_per_image
from segloss.tools.suggest.folders.grids import Grid, by_ending, by_folder, by_name
from segloss.tools.suggest.folders.kinds import are_black_and_white, kind_of, masks_among
from segloss.tools.suggest.folders.listing import are_lossy, files_in, mask_files, no_masks
from segloss.tools.suggest.folders.names import label_names
from segloss.tools.suggest.pixels.mask import Reading
from segloss.tools.suggest.sources import Collection, Source


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
    found = _arranged(folder, everything, files, layout, ignore_index, how)
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
    folder: Path,
    everything: Sequence[Path],
    files: list[Path],
    layout: str,
    ignore_index: IgnoreIndex,
    how: Reading,
) -> Collection:
    """Returns the masks by the layout that is given, or that names and contents show."""
    if layout == "labels":
        return _label_maps(folder, files, ignore_index, replace(how, is_volume=True))
    names, folders, endings = (by(folder, files) for by in (by_name, by_folder, by_ending))
    have_folders = folders.holds_same_names and folders.are_folders
    are_classes = not (are_numbered(endings.files) or are_views(endings.files))
    have_endings = are_classes and len(endings.files) > 1
    if layout == "classes":
        if names.files:
            return _classes(names, ignore_index, how)
        if (have_endings and not have_folders) or len(folders.files) < 2 <= len(endings.files):
            return _classes(endings, ignore_index, how)
        if len(folders.files) < 2:
            return _channels(folder, files, ignore_index, how)
        return _classes(_complete(folders), ignore_index, how)
    if names.files:
        return _class_names(folder, files, names, "{}.*", ignore_index, how)
    if not have_endings:
        check_one_mask_per_image(everything, files)
    if have_folders:
        return _class_folders(folder, files, folders, ignore_index, how)
    if have_endings:
        return _class_names(folder, files, endings, "*{}.*", ignore_index, how)
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
    if set(grid.kinds.values()) == {"labels"}:
        _complete(grid)
        guess = f"the subfolders {shown} hold label maps with the same names, not a class each"
        return _label_maps(folder, files, ignore_index, how, [guess])
    if are_of_several_roles(grid.classes) or any("/" in name for name in grid.classes):
        nested = [name for name in grid.classes if "/" in name] or grid.classes
        top = nested[0].partition("/")[0]
        raise _several_kinds(f"the subfolders {shown} hold the same names", f"*{top}/*")
    _complete(grid)
    guess = (
        f"each subfolder is a class ({shown}), because they hold the same names; if each file is a "
        "label map, set --layout labels"
    )
    return replace(_classes(grid, ignore_index, how), guesses=[guess])


def _class_names(
    folder: Path,
    files: list[Path],
    grid: Grid,
    pattern: str,
    ignore_index: IgnoreIndex,
    how: Reading,
) -> Collection:
    """Returns masks whose names are or end in the class, if all their files hold one class.

    Args:
        folder: The folder.
        files: The masks.
        grid: The masks by class.
        pattern: The pattern of `only` for the files of a class.
        ignore_index: The ignored values.
        how: The way to read masks.
    """
    kinds = grid.kinds
    shown = _some(grid.classes)
    are, has = ("end in", "") if pattern.startswith("*") else ("are", "a folder with ")
    one = pattern.format(printable(grid.classes[0], 60))
    if set(kinds.values()) <= {"labels", "colours"}:
        guess = (
            f"names {are} {shown}, and each file is a mask; to read one kind, set --only {one!r}"
        )
        guesses = [guess] if grid.shares_names else []
        return _label_maps(folder, files, ignore_index, how, guesses)
    if set(kinds.values()) != {"binary"}:
        others = [name for name, kind in kinds.items() if kind != "binary"]
        several = next((name for name in others if kinds[name] == "labels"), others[0])
        one = pattern.format(printable(several, 60))
        raise ValueError(
            f"Files whose names {are} {shown} must be of one kind, but only some hold several "
            f"labels ({printable(several, 60)}): read one kind with only={one!r} "
            f"(--only {one!r}), or all as label maps with layout='labels' (--layout labels)."
        )
    if are_of_several_roles(grid.classes) or not (grid.shares_names or grid.shares_folders):
        examples = [min(found.values()).relative_to(folder) for found in grid.files.values()]
        raise _several_kinds(f"there are {_some([*map(Path.as_posix, examples)])}", one)
    if not grid.shares_names:
        guess = f"each file is a mask; if their names {are} the class ({shown})"
        return _label_maps(folder, files, ignore_index, how, [f"{guess}, set --layout classes"])
    absent = len(grid.missing)
    empty = f"; {absent} files that are missing count as all 0" if absent else ""
    guess = (
        f"names {are} the class ({shown}), and each image has {has}a file for each class{empty}; "
        "if each file is a mask of its own, set --layout labels"
    )
    return replace(_classes(grid, ignore_index, how), guesses=[guess])


def _several_kinds(found: str, pattern: str) -> ValueError:
    """Returns the error for masks of several kinds, each of the same images."""
    return ValueError(
        f"Masks must be of one kind, but {found}: pass the folder of one kind, or name it, for "
        f"example with only={pattern!r} (--only {pattern!r}). If each kind is a class, set "
        "layout='classes' (--layout classes); if each file is a mask of its own, "
        "layout='labels' (--layout labels)."
    )


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
