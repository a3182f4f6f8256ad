"""Files of masks: a module for each kind, and the table of their suffixes.

A reader takes a path, and returns the `Content` of the file: numbers, not yet labels. To read
another kind of file, write a reader, and add its suffix to `READERS`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from segloss.tools.suggest.files.content import Content
from segloss.tools.suggest.files.nifti import read_nifti
from segloss.tools.suggest.files.numpy_arrays import read_archive, read_numpy
from segloss.tools.suggest.files.pictures import read_picture
from segloss.tools.suggest.files.tiff import read_tiff
from segloss.tools.suggest.files.unreadable import reason_for

__all__ = ["LOSSY", "READERS", "Content", "read_array", "read_file", "stem_of", "suffix_of"]

READERS: dict[str, Callable[[Path], Content]] = {
    ".png": read_picture,
    ".bmp": read_picture,
    ".gif": read_picture,
    ".tif": read_tiff,
    ".tiff": read_tiff,
    ".npy": read_numpy,
    ".npz": read_archive,
    ".nii": read_nifti,
    ".nii.gz": read_nifti,
}
"""The readers by the suffixes of files."""

LOSSY: dict[str, Callable[[Path], Content]] = {".jpg": read_picture, ".jpeg": read_picture}
"""The readers of files that change labels: used only for masks of two classes, black and white."""


def read_file(path: Path) -> Content:
    """Reads a file, by its suffix.

    Raises:
        OSError, ValueError: The file is missing, damaged or of another format.
    """
    suffix = suffix_of(path)
    if suffix is None:
        raise ValueError(f"it must be one of {', '.join(READERS)}")
    try:
        return (READERS | LOSSY)[suffix](path)
    except (FileNotFoundError, ImportError):
        raise
    except Exception as error:  # libraries have their own errors, and damaged files raise any
        raise ValueError(f"it can't be read: {reason_for(path, error)}") from error


def read_array(path: Path) -> NDArray[Any]:
    """Reads the array in a file: colours come last, and a palette's indices are the numbers.

    Raises:
        OSError, ValueError: The file is missing, damaged or of another format.
    """
    return read_file(path).array


def suffix_of(path: Path) -> str | None:
    """Returns the suffix of a file that can be read; None if it can't be."""
    name = path.name.lower()
    return next((suffix for suffix in READERS | LOSSY if name.endswith(suffix)), None)


def stem_of(path: Path) -> str:
    """Returns the name of a file without its suffix."""
    return path.name[: -len(suffix_of(path) or path.suffix) or None]
