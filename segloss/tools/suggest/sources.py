"""Sources of masks: a folder, a list of files, or arrays; each source gives one mask.

A folder has one of two layouts. A folder of label maps has a file for each mask, also in
subfolders. A folder of classes has a subfolder for each class, with the same names in all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segloss.foundation.arguments import shown
from segloss.foundation.ignore_index import IgnoreIndex, values_of
from segloss.foundation.printable import printable
from segloss.tools.suggest.reading import (
    READERS,
    Mask,
    as_mask,
    read_array,
    stem_of,
    suffix_of,
)
from segloss.tools.suggest.tiles import longest_first, numbers_of, tiles

LAYOUTS = ("auto", "labels", "classes")


@dataclass(frozen=True)
class Source:
    """One mask, before it is read.

    Attributes:
        name: The name for messages.
        parts: A file or array; with one file per class, one for each class.
        by_class: True if there is one file, or channel, per class.
        ignore_index: The ignored values. They may be below 0, and occur in a mask of one class.
    """

    name: str
    parts: Sequence[Any]
    by_class: bool
    ignore_index: IgnoreIndex

    def read(self) -> Mask:
        """Reads the mask, (*spatial), or (classes, *spatial) of 0 and 1 with one file per class.

        Raises:
            OSError, ValueError: A part can't be read, or is not a mask.
        """
        least = min([0, *values_of(self.ignore_index)])
        masks = (as_mask(_array_of(part), least=least) for part in self.parts)
        if not self.by_class:
            return next(masks)
        channels = [_one_class(mask, self.ignore_index) for mask in masks]
        if len({channel.shape for channel in channels}) > 1:
            shapes = ", ".join(str(channel.shape) for channel in channels)
            raise ValueError(f"its files must have one shape, but have {shapes}")
        return np.stack(channels)


@dataclass(frozen=True)
class Collection:
    """The masks of a dataset.

    Attributes:
        sources: The masks, for one iteration only.
        count: The number of masks; None: unknown.
        class_names: The names of the classes' folders; None for label maps and arrays.
        by_class: True if there is one file, or channel, per class.
    """

    sources: Iterable[Source]
    count: int | None
    class_names: Sequence[str] | None
    by_class: bool


def find_masks(masks: Any, layout: str, ignore_index: IgnoreIndex) -> Collection:
    """Returns the masks in a folder, a list of files, or arrays.

    Raises:
        FileNotFoundError: The folder does not exist, or has no file that could be a mask.
        TypeError: `masks` is something else.
        ValueError: The folders of the classes hold different names.
    """
    if isinstance(masks, (str, Path)):
        return _find_in_folder(Path(masks), layout, ignore_index)
    if not isinstance(masks, Iterable):
        raise TypeError(
            f"masks must be a folder, a list of files, or arrays, got {shown(masks)}: pass the "
            "path of the folder."
        )
    by_class = layout == "classes"
    count = len(masks) if isinstance(masks, Sized) else None
    if count == 0:
        raise ValueError("masks must hold at least one mask, but is empty.")
    return Collection(_sources_of(masks, by_class, ignore_index), count, None, by_class)


def mask_files(folder: Path) -> list[Path]:
    """Returns the files in a folder and its subfolders that may be masks, in order."""
    files = folder.rglob("*")
    return sorted(path for path in files if _is_mask(path) and not path.name.startswith("."))


def _find_in_folder(folder: Path, layout: str, ignore_index: IgnoreIndex) -> Collection:
    files = _files_of(folder)
    by_folder: dict[Path, dict[str, Path]] = {}
    for path in files:
        by_folder.setdefault(path.parent, {})[stem_of(path)] = path
    if layout == "labels" or (layout == "auto" and not _are_classes(by_folder, folder)):
        names = (str(path.relative_to(folder)) for path in files)
        sources = [Source(n, [p], False, ignore_index) for n, p in zip(names, files, strict=True)]
        return Collection(sources, len(sources), None, False)
    stems = _same_names(by_folder)
    sources = [
        Source(stem, [inside[stem] for inside in by_folder.values()], True, ignore_index)
        for stem in stems
    ]
    names_of_classes = [str(path.relative_to(folder)) for path in by_folder]
    return Collection(sources, len(sources), names_of_classes, True)


def _files_of(folder: Path) -> list[Path]:
    if not folder.exists():
        raise FileNotFoundError(f"There is no folder of masks at {str(folder)!r}.")
    if not folder.is_dir():
        raise NotADirectoryError(f"masks must be a folder, but {str(folder)!r} is a file.")
    files = mask_files(folder)
    if not files:
        raise FileNotFoundError(
            f"{str(folder)!r} must hold masks ({', '.join(READERS)}), also in subfolders, but "
            f"holds {_contents(folder)}."
        )
    return files


def _contents(folder: Path) -> str:
    """Returns the suffixes of the files in a folder, in words."""
    suffixes = sorted({path.suffix.lower() for path in folder.rglob("*") if path.is_file()})
    if not suffixes:
        return "no files"
    lossy = {".jpg", ".jpeg"} & set(suffixes)
    hint = " (JPEG changes labels near edges: export the masks again, as PNG)" if lossy else ""
    return f"only {', '.join(_suffix_text(suffix) for suffix in suffixes[:12])}{hint}"


def _suffix_text(suffix: str) -> str:
    return printable(suffix, 20) or "files without a suffix"


def _are_classes(by_folder: dict[Path, dict[str, Path]], folder: Path) -> bool:
    """Returns whether folders look like classes: two or more siblings with much the same names."""
    if len(by_folder) < 2 or any(inside.parent != folder for inside in by_folder):
        return False
    names = [set(stems) for stems in by_folder.values()]
    return len(set.intersection(*names)) > len(set.union(*names)) / 2


def _same_names(by_folder: dict[Path, dict[str, Path]]) -> list[str]:
    stems_of_all = sorted(set().union(*by_folder.values()))
    missing = [
        f"{printable(folder.name, 60)} has no {printable(stem, 60)}"
        for folder, stems in by_folder.items()
        for stem in stems_of_all
        if stem not in stems
    ]
    if missing:
        more = f", and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise ValueError(
            "With one folder per class, all folders must hold the same names: "
            f"{', '.join(missing[:5])}{more}. If an image lacks a class, its mask is all 0. "
            "If these are label maps in subfolders, set layout='labels' (--layout labels)."
        )
    return stems_of_all


def _sources_of(
    masks: Iterable[Any], by_class: bool, ignore_index: IgnoreIndex
) -> Iterator[Source]:
    for number, mask in enumerate(masks):
        is_path = isinstance(mask, (str, Path))
        if by_class and is_path:
            raise ValueError(
                "layout='classes' takes a folder with a subfolder for each class, or arrays "
                "(classes, *spatial), but got a list of files."
            )
        name = str(mask) if is_path else f"mask {number}"
        yield Source(name, list(mask) if by_class else [mask], by_class, ignore_index)


def _array_of(part: Any) -> Any:
    return read_array(Path(part)) if isinstance(part, (str, Path)) else part


def _is_mask(path: Path) -> bool:
    return suffix_of(path) is not None and path.is_file()


def _one_class(mask: Mask, ignore_index: IgnoreIndex) -> Mask:
    """Returns the mask of a class as 0 and 1; ignored values stay."""
    ignored = values_of(ignore_index)
    values = {int(value) for value in numbers_of(longest_first(mask))[0]}.difference(ignored)
    if len(values - {0}) > 1:
        raise ValueError(
            "with one file per class, a file must hold 0 and one other number, but one holds "
            f"{', '.join(map(str, sorted(values)[:8]))}"
        )
    if not ignored:
        ones: Mask = (mask != 0).view(np.uint8)
        return ones
    dtype = np.result_type(*map(np.min_scalar_type, ignored), np.uint8)
    foreground: Mask = np.empty(mask.shape, dtype)
    for lines in tiles(mask):
        part = mask[lines]
        foreground[lines] = np.where(np.isin(part, ignored), part, part != 0)
    return foreground
