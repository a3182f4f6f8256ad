"""Reads a file into an array: images and masks as PNG, TIFF, NumPy or NIfTI; checks masks.

The meaning of the numbers, such as classes or the ignored value, is left to `classes.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segloss.tools.suggest.tiles import TILE, largest_change, longest_first, numbers_of, tiles

Mask = NDArray[np.integer[Any]]
"""Whole numbers within 32 bits, (*spatial), or (channels, *spatial) with one file per class."""

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
    low, high = array.min(), array.max()
    if max(abs(int(low)), abs(int(high))) > np.iinfo(np.int32).max:
        raise ValueError(f"it holds {high:g}, which is not a label")
    if low < least:
        raise ValueError(
            f"it holds {int(low)}, but labels count from 0: if this marks pixels to leave out, "
            f"set ignore_index={int(low)} (--ignore-index {int(low)})"
        )
    mask = _whole_numbers(array, int(low), int(high))
    _check_not_image(mask)
    return mask


def _whole_numbers(array: NDArray[Any], low: int, high: int) -> Mask:
    """Returns the numbers as integers of as few bytes as they need; integers stay as they are."""
    if array.dtype.kind in "iu" and array.dtype.isnative and array.dtype.itemsize <= 4:
        return array
    mask = np.empty(array.shape, np.result_type(np.min_scalar_type(low), np.min_scalar_type(high)))
    for lines in tiles(array):
        mask[lines] = array[lines]
    return mask


def _without_colour(array: NDArray[Any]) -> NDArray[Any]:
    if array.ndim < 3 or array.shape[-1] not in (3, 4) or array.dtype != np.uint8:
        return array
    colours = array[..., :3]
    if all((colours[lines] == colours[lines][..., :1]).all() for lines in tiles(colours)):
        return np.ascontiguousarray(colours[..., 0])  # not a view of all channels
    found: NDArray[Any] = np.zeros(0, np.int64)
    for lines in tiles(colours):
        found = np.union1d(found, colours[lines].astype(np.int64) @ (65536, 256, 1))
    count = len(found)
    if count > MOST_LABELS:
        raise ValueError(f"it is a colour image, not a mask: it has {count:,} colours")
    raise ValueError(
        f"it is a colour image, of {count} colours: give each colour a label, 0, 1, 2 ..., and "
        "save the labels as an image of one channel"
    )


def _check_whole(array: NDArray[Any]) -> None:
    for lines in tiles(array):
        part = array[lines]
        if not np.isfinite(part).all():
            raise ValueError("it holds NaN or infinity, but labels are whole numbers")
        fractions = part[part != np.rint(part)]
        if fractions.size:
            raise ValueError(
                f"it holds fractions, such as {fractions[0]:.4g}, but labels are whole numbers: if "
                "these are probabilities, take their argmax, or compare them with a threshold"
            )


def _check_not_image(mask: Mask) -> None:
    mask = longest_first(mask)
    values, _ = numbers_of(mask)
    if len(values) <= _SUSPICIOUS_LABELS:
        return
    change = largest_change(mask)
    if change > _SUSPICIOUS_CHANGE or len(values) > MOST_LABELS:
        raise ValueError(
            f"it is an image, not a mask: it holds {len(values)} different numbers, and from one "
            f"pixel to the next they change {change:.0%} of the time"
        )


def _read_pillow(path: Path) -> NDArray[Any]:
    from PIL import Image

    with Image.open(path) as image:
        return _pixels(image.convert("L") if image.mode == "LA" else image)


def _pixels(image: Any) -> NDArray[Any]:
    """Returns the pixels of an image, copied in strips: Pillow would copy them twice at once."""
    if image.width * image.height <= TILE:
        return np.asarray(image)
    first = np.asarray(image.crop((0, 0, image.width, 1)))
    pixels = np.empty((image.height, *first.shape[1:]), first.dtype)
    rows = max(1, TILE // max(image.width, 1))
    for top in range(0, image.height, rows):
        bottom = min(top + rows, image.height)
        pixels[top:bottom] = np.asarray(image.crop((0, top, image.width, bottom)))
    return pixels


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
