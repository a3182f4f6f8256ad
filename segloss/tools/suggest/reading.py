"""Reads a file into an array: images and masks as PNG, TIFF, NumPy or NIfTI; checks masks.

The meaning of the numbers, such as classes or the ignored value, is left to `classes.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.int32]
"""Whole numbers, (*spatial), or (channels, *spatial) with one file per class."""

MOST_LABELS = 256
"""A mask with more different numbers than this is taken for an image."""

_SUSPICIOUS_LABELS = 32
_SUSPICIOUS_CHANGE = 0.5
"""A mask with more labels than the first number, and with a larger share of neighbours that differ
than the second, is taken for an image. In most label maps, fewer than one in ten differ."""


def read_array(path: Path) -> NDArray[Any]:
    """Reads the array in a file, by the suffix of the file.

    A colour image is (height, width, channels); an image with a palette gives the indices.

    Raises:
        OSError, ValueError: The file is missing, damaged or of another format.
    """
    suffix = suffix_of(path)
    if suffix is None:
        raise ValueError(f"it must be one of {', '.join(READERS)}")
    try:
        return READERS[suffix](path)
    except (FileNotFoundError, ImportError):
        raise
    except Exception as error:  # libraries have their own errors, and damaged files raise any
        raise ValueError(f"it can't be read: {type(error).__name__}: {error}") from error


def as_mask(array: Any, *, least: int = 0) -> Mask:
    """Returns an array, or tensor, as a mask of whole numbers.

    Args:
        array: Bools, integers, or floats that are whole numbers; may also be a grey image with
            colour channels, which come last.
        least: The smallest valid number: 0, or an ignore value below it.

    Raises:
        ValueError: The array is an image, has fractions, or holds a number below `least`.
    """
    array = _without_colour(np.asarray(array))
    if array.size == 0:
        raise ValueError("it has no pixels")
    if not 1 <= array.ndim <= 3:
        raise ValueError(f"it must have one to three dimensions, but has the shape {array.shape}")
    if array.dtype.kind not in "biuf":
        raise ValueError(f"it must hold numbers, but holds {array.dtype}")
    if array.dtype.kind == "f":
        _check_whole(array)
    if max(abs(int(array.min())), abs(int(array.max()))) > np.iinfo(np.int32).max:
        raise ValueError(f"it holds {array.max():g}, which is not a label")
    mask: Mask = array.astype(np.int32)
    if mask.min() < least:
        raise ValueError(
            f"it holds {mask.min()}, but labels count from 0: if this marks pixels to leave out, "
            f"set ignore_index={mask.min()} (--ignore-index {mask.min()})"
        )
    _check_not_image(mask)
    return mask


def values_of(mask: Mask) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Returns the different numbers of a mask, and how many pixels have each."""
    low = mask.min()
    if mask.max() - low < 2**16:  # counting is ten times faster than sorting
        counts = np.bincount((mask - low).ravel())
        present = np.flatnonzero(counts)
        return present + low, counts[present]
    return np.unique(mask, return_counts=True)


def _without_colour(array: NDArray[Any]) -> NDArray[Any]:
    if array.ndim < 3 or array.shape[-1] not in (3, 4) or array.dtype != np.uint8:
        return array
    colours = array[..., :3]
    if (colours == colours[..., :1]).all():
        return colours[..., 0]
    count = len(np.unique(colours.astype(np.int64) @ (65536, 256, 1)))
    if count > MOST_LABELS:
        raise ValueError(f"it is a colour image, not a mask: it has {count:,} colours")
    raise ValueError(
        f"it is a colour image, of {count} colours: give each colour a label, 0, 1, 2 ..., and "
        "save the labels as an image of one channel"
    )


def _check_whole(array: NDArray[Any]) -> None:
    if not np.isfinite(array).all():
        raise ValueError("it holds NaN or infinity, but labels are whole numbers")
    fractions = array[array != np.rint(array)]
    if fractions.size:
        raise ValueError(
            f"it holds fractions, such as {fractions[0]:.4g}, but labels are whole numbers: if "
            "these are probabilities, take their argmax, or compare them with a threshold"
        )


def _check_not_image(mask: Mask) -> None:
    values, _ = values_of(mask)
    change = max(float((np.diff(mask, axis=axis) != 0).mean()) for axis in range(mask.ndim))
    noisy = len(values) > _SUSPICIOUS_LABELS and change > _SUSPICIOUS_CHANGE
    if noisy or len(values) > MOST_LABELS:
        raise ValueError(
            f"it is an image, not a mask: it holds {len(values)} different numbers, and from one "
            f"pixel to the next they change {change:.0%} of the time"
        )


def _read_pillow(path: Path) -> NDArray[Any]:
    from PIL import Image

    with Image.open(path) as image:
        return np.asarray(image.convert("L") if image.mode == "LA" else image)


def _read_tiff(path: Path) -> NDArray[Any]:
    import tifffile

    return np.asarray(tifffile.imread(path))


def _read_numpy(path: Path) -> NDArray[Any]:
    return np.asarray(np.load(path, allow_pickle=False))


def _read_archive(path: Path) -> NDArray[Any]:
    with np.load(path, allow_pickle=False) as archive:
        if len(archive.files) != 1:
            raise ValueError(f"it must hold one array, but holds {', '.join(archive.files)}")
        return np.asarray(archive[archive.files[0]])


def _read_nifti(path: Path) -> NDArray[Any]:
    import nibabel

    return np.asarray(nibabel.load(path).dataobj)  # type: ignore[attr-defined]


READERS: dict[str, Callable[[Path], NDArray[Any]]] = {
    ".png": _read_pillow,
    ".bmp": _read_pillow,
    ".gif": _read_pillow,
    ".tif": _read_tiff,
    ".tiff": _read_tiff,
    ".npy": _read_numpy,
    ".npz": _read_archive,
    ".nii": _read_nifti,
    ".nii.gz": _read_nifti,
}
"""The readers by the suffixes of files."""


def suffix_of(path: Path) -> str | None:
    """Returns the suffix of a file, among `READERS`; None if it is not among them."""
    name = path.name.lower()
    return next((suffix for suffix in READERS if name.endswith(suffix)), None)


def stem_of(path: Path) -> str:
    """Returns the name of a file without its suffix."""
    return path.name[: -len(suffix_of(path) or path.suffix) or None]
