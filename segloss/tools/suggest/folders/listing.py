"""The files in a folder that may be masks, and what the folder holds if there are none."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Iterator
from pathlib import Path

from segloss.foundation.printable import printable
from segloss.tools.suggest.files import LOSSY, READERS, suffix_of
from segloss.tools.suggest.files.unreadable import REMEDIES

_SYSTEM_FOLDERS = ("__MACOSX", "@eaDir", "lost+found")
_SYSTEM_FILES = ("Thumbs.db", "desktop.ini")


def files_in(folder: Path, only: str | None = None) -> list[Path]:
    """Returns the files in a folder and its subfolders, in order, without hidden ones.

    Args:
        folder: The folder. Links to folders are followed, each folder once.
        only: A pattern that names, or paths in the folder, must match; None: all.
    """
    return sorted(
        path
        for path in _walk(folder)
        if only is None
        or fnmatch.fnmatch(path.name, only)
        or fnmatch.fnmatch(path.relative_to(folder).as_posix(), only)
    )


def _walk(folder: Path) -> Iterator[Path]:
    seen = set()
    for parent, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(parent)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [each for each in folders if not _is_hidden(each)]
        yield from (Path(parent, name) for name in names if not _is_hidden(name))


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name in (*_SYSTEM_FOLDERS, *_SYSTEM_FILES)


def mask_files(files: list[Path]) -> list[Path]:
    """Returns the files that may be masks, by their suffixes; JPEG only if there are no others."""
    readable = [path for path in files if suffix_of(path) is not None]
    return [path for path in readable if suffix_of(path) in READERS] or readable


def are_lossy(files: list[Path]) -> bool:
    """Returns whether files are JPEG."""
    return bool(files) and suffix_of(files[0]) in LOSSY


def check_folder(folder: Path) -> None:
    """Raises FileNotFoundError or NotADirectoryError for a path that is not a folder."""
    if not folder.exists():
        raise FileNotFoundError(f"There is no folder of masks at {str(folder)!r}.")
    if not folder.is_dir():
        raise NotADirectoryError(f"masks must be a folder, but {str(folder)!r} is a file.")


def no_masks(folder: Path, files: list[Path], only: str | None) -> FileNotFoundError:
    """Returns the error for a folder without masks."""
    matching = "" if only is None else f" whose names match {only!r}"
    return FileNotFoundError(
        f"{str(folder)!r} must hold masks ({', '.join(READERS)}){matching}, also in subfolders, "
        f"but holds {_contents(files)}."
    )


def _contents(files: list[Path]) -> str:
    """Returns the suffixes of files, in words, with the remedies that are known."""
    suffixes = sorted({path.suffix.lower() for path in files})
    if not suffixes:
        return "no files"
    remedies = dict.fromkeys(REMEDIES[suffix] for suffix in suffixes if suffix in REMEDIES)
    hint = f" ({'; '.join(remedies)})" if remedies else ""
    return f"only {', '.join(_suffix_text(suffix) for suffix in suffixes[:12])}{hint}"


def _suffix_text(suffix: str) -> str:
    return printable(suffix, 20) or "files without a suffix"
