"""Folders of images and masks: the matching pairs, and all problems of the files.

The slices of a volume are images: along the last axis of NIfTI, and the first of other files.

`read_folders` lists all problems in one error, so that you can correct them in one go.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import track

from segloss.tools.suggest.files import READERS, read_array, suffix_of
from segloss.tools.suggest.folders import find_masks
from segloss.tools.suggest.interpretation import reading_of
from segloss.tools.suggest.pixels.mask import Mask
from segloss.tools.suggest.sources import Source
from segloss.tools.suggest.streaming import in_order
from segloss.tools.suggest.tiles import numbers_of

PHOTOGRAPHS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")
"""Files that Pillow reads; for other files, the readers of masks are used."""

VOLUMES = 8
"""The number of volumes that stay in memory."""

MOST_CHANNELS = 16
"""An image with more numbers than this in its last axis is taken for a volume."""

_MASK_ENDING = re.compile(r"[-_. ]?(mask|masks|label|labels|seg|gt)$", re.IGNORECASE)


@dataclass(frozen=True)
class Pair:
    """An image with its mask, or a slice of two volumes.

    Attributes:
        name: The common part of their names.
        image: The file of the image.
        mask: The mask, or one file per class.
        plane: The axis and the number of the slice; None: they are images.
        size: Height and width.
        channels: The number of channels of the image.
        values: The numbers in the mask; 0 and 1 with one file per class.
        brightness: The sum of the values and the sum of their squares, by channel, and the number
            of pixels.
    """

    name: str
    image: Path
    mask: Source
    plane: Plane | None
    size: tuple[int, int]
    channels: int
    values: frozenset[int]
    brightness: tuple[NDArray[np.float64], NDArray[np.float64], int]

    @property
    def title(self) -> str:
        """The name, with the number of the slice."""
        return self.name if self.plane is None else f"{self.name} {self.plane.number}"

    def read_image(self) -> NDArray[np.float32]:
        """Reads the image, (height, width, channels)."""
        if self.plane is None:
            return read_image(self.image)
        return self.plane.of_image(_read_volume(self.image))

    def read_mask(self) -> Mask:
        """Reads the mask, (height, width), or (classes, height, width)."""
        if self.plane is None:
            return self.mask.read()
        return self.plane.of_mask(_read_mask(self.mask), self.mask.by_class)


@dataclass(frozen=True)
class Plane:
    """A slice of a volume.

    Attributes:
        axis: The axis across the slices.
        number: The index of the slice.
    """

    axis: int
    number: int

    def of_image(self, volume: NDArray[Any]) -> NDArray[np.float32]:
        """Returns the slice of an image, (height, width, channels)."""
        pixels = volume.take(self.number, self.axis).astype(np.float32)
        return pixels if pixels.ndim == 3 else pixels[..., None]

    def of_mask(self, volume: Mask, by_class: bool) -> Mask:
        """Returns the slice of a mask."""
        return volume.take(self.number, self.axis + by_class)


class BadFoldersError(ValueError):
    """The problems of images and masks, one per line."""


@dataclass(frozen=True)
class MaskOptions:
    """The options of `segloss.suggest` about masks, which has their descriptions."""

    layout: str = "auto"
    ignore_index: int | str | None = None
    values: str = "auto"
    colours: str | None = None
    only: str | None = None


def read_folders(images: Path, masks: Path, options: MaskOptions) -> list[Pair]:
    """Returns the pairs of images and masks, after checking all files; volumes give their slices.

    Raises:
        FileNotFoundError, NotADirectoryError: A folder does not exist, or holds no such files.
        BadFoldersError: Images and masks do not match, can't be read, or differ in size.
    """
    if images.resolve() == masks.resolve():
        raise_all([f"images and masks are both {images}: put them into two folders"])
    by_image = {_key(path, images): path for path in _images_in(images)}
    by_mask = _masks_by_name(masks, options, by_image)
    problems = [f"{by_image[name]} has no mask in {masks}" for name in by_image.keys() - by_mask]
    problems += [
        f"{by_mask[name].name} ({masks}) has no image" for name in by_mask.keys() - by_image
    ]
    names = sorted(by_image.keys() & by_mask)

    def read(name: str) -> list[Pair] | str:
        return _read_pairs(name, by_image[name], by_mask[name])

    found = in_order(read, names, workers=2)
    results = list(track(found, "checking", total=len(names), console=Console(stderr=True)))
    pairs = [pair for result in results if isinstance(result, list) for pair in result]
    problems += [result for result in results if isinstance(result, str)]
    problems += _odd_channels(pairs)
    raise_all(problems)
    return pairs


def raise_all(problems: Iterable[str]) -> None:
    """Raises BadFoldersError with all problems, if there are any."""
    if listed := sorted(problems):
        count = f"{len(listed)} problem{'s' if len(listed) > 1 else ''}"
        raise BadFoldersError("\n  ".join([f"{count} to correct before training:", *listed]))


def read_image(path: Path) -> NDArray[np.float32]:
    """Reads an image as (height, width, channels), without transparency.

    Raises:
        OSError, ValueError: The file can't be read, or is not a 2D image.
    """
    if path.suffix.lower() in PHOTOGRAPHS:
        with Image.open(path) as opened:
            grey = {"LA": "L", "1": "L"}.get(opened.mode, opened.mode)
            colour = "RGB" if opened.mode in ("P", "PA", "RGBA", "CMYK", "YCbCr", "HSV") else grey
            image = np.asarray(opened.convert(colour))
    else:
        image = read_array(path)
    image = image[..., None] if image.ndim == 2 else image
    if image.ndim != 3 or image.shape[-1] > MOST_CHANNELS:
        raise ValueError(
            f"it must be (height, width) or (height, width, channels), but is {image.shape}"
        )
    return _finite(image.astype(np.float32))


def _finite(image: NDArray[Any]) -> NDArray[Any]:
    if not np.isfinite(image).all():
        raise ValueError("it holds NaN or infinity")
    return image


@lru_cache(maxsize=VOLUMES)
def _read_volume(path: Path) -> NDArray[Any]:
    return read_array(path)


@lru_cache(maxsize=VOLUMES)
def _read_mask(source: Source) -> Mask:
    return source.read()


def _images_in(folder: Path) -> list[Path]:
    if not folder.exists():
        raise FileNotFoundError(f"There is no folder of images at {str(folder)!r} (--images).")
    if not folder.is_dir():
        raise NotADirectoryError(f"--images must be a folder, but {str(folder)!r} is a file.")
    found = [path for path in sorted(folder.rglob("*")) if _is_image(path)]
    if not found:
        suffixes = ", ".join(dict.fromkeys([*PHOTOGRAPHS, *READERS]))
        raise FileNotFoundError(f"{str(folder)!r} must hold images ({suffixes}), but holds none.")
    return found


def _is_image(path: Path) -> bool:
    readable = path.suffix.lower() in PHOTOGRAPHS or suffix_of(path) is not None
    return readable and path.is_file() and not path.name.startswith(".")


def _key(path: Path, folder: Path) -> str:
    """Returns the path of a file within a folder, without the suffix."""
    suffix = suffix_of(path) or path.suffix
    return str(path.relative_to(folder))[: -len(suffix)]


def _masks_by_name(folder: Path, options: MaskOptions, images: Iterable[str]) -> dict[str, Source]:
    """Returns the masks by the names of their images, without an ending such as _mask."""
    ignored, how = reading_of(options.ignore_index, options.values, options.colours)
    found = find_masks(folder, options.layout, ignored, how, options.only)
    if found.by_class:
        return {source.name: source for source in found.sources}
    named = {_key(folder / source.name, folder): source for source in found.sources}
    image_names = set(images)
    return {
        name if name in image_names else _MASK_ENDING.sub("", name): source
        for name, source in named.items()
    }


def _read_pairs(name: str, image: Path, mask: Source) -> list[Pair] | str:
    """Returns the pair of a name, or those of the slices of two volumes; or what is wrong."""
    try:
        labels = mask.read()
    except (OSError, ValueError) as error:
        return f"{mask.name}: {error}"
    size = labels.shape[1:] if mask.by_class else labels.shape
    try:
        pixels = _finite(read_array(image)) if len(size) == 3 else read_image(image)
    except (OSError, ValueError) as error:
        return f"{image}: {error}"
    if pixels.shape[: len(size)] != size or pixels.ndim > len(size) + 1:
        shape = pixels.shape[:2] if len(size) == 2 else pixels.shape
        return f"{name}: the image is {shape}, but its mask {size}"
    if len(size) == 2:
        return [_pair(name, image, mask, None, pixels, labels)]
    axis = 2 if str(suffix_of(image)).startswith(".nii") else 0
    planes = [Plane(axis, number) for number in range(size[axis])]
    return [
        _pair(name, image, mask, p, p.of_image(pixels), p.of_mask(labels, mask.by_class))
        for p in planes
    ]


def _pair(
    name: str,
    image: Path,
    mask: Source,
    plane: Plane | None,
    pixels: NDArray[np.float32],
    labels: Mask,
) -> Pair:
    flat = pixels.reshape(-1, pixels.shape[-1]).astype(np.float64)
    values = frozenset(map(int, numbers_of(labels)[0]))
    sums = (flat.sum(0), (flat**2).sum(0), len(flat))
    height, width, channels = pixels.shape
    return Pair(name, image, mask, plane, (height, width), channels, values, sums)


def _odd_channels(pairs: Sequence[Pair]) -> list[str]:
    """Returns messages about images whose number of channels differs from most images."""
    counts: list[Any] = [pair.channels for pair in pairs]
    usual = max(set(counts), key=counts.count, default=0)
    return [
        f"{pair.image}: it has {pair.channels} channel{'s' if pair.channels > 1 else ''}, but "
        f"most images have {usual}"
        for pair in pairs
        if pair.channels != usual
    ]
