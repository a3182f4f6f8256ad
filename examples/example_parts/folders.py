"""Folders of images and masks: which belong together, and everything that is wrong with them.

Nothing is trained here. `read_folders` names all mistakes at once, so that they can be mended at
once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import track

from segloss.tools.suggest.reading import READERS, read_array, suffix_of, values_of
from segloss.tools.suggest.sources import Source, find_masks
from segloss.tools.suggest.streaming import in_order

PHOTOGRAPHS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")
"""Files that Pillow reads; the others are read as masks are."""

MOST_CHANNELS = 16
"""More in an image's last axis than this mean that it is a volume."""

_MASK_ENDING = re.compile(r"[-_. ]?(mask|masks|label|labels|seg|gt)$", re.IGNORECASE)


@dataclass(frozen=True)
class Pair:
    """An image with its mask.

    Attributes:
        name: What they have in common of their names.
        image: The image's file.
        mask: The mask, or one file a class.
        size: Height and width.
        channels: How many channels the image has.
        values: The numbers in the mask; 0 and 1 with one file a class.
        brightness: The sums of the image's values and of their squares, by channel, and the pixels.
    """

    name: str
    image: Path
    mask: Source
    size: tuple[int, int]
    channels: int
    values: frozenset[int]
    brightness: tuple[NDArray[np.float64], NDArray[np.float64], int]


class BadFoldersError(ValueError):
    """What is wrong with images and masks, a line each."""


def read_folders(images: Path, masks: Path, layout: str, ignore_index: int | None) -> list[Pair]:
    """The pairs of images and masks, all of which can be read and fit.

    Raises:
        FileNotFoundError, NotADirectoryError: There is no such folder, or it has no such files.
        BadFoldersError: Images and masks are unmatched, can't be read, or differ in size.
    """
    by_image = {_key(path, images): path for path in _images_in(images)}
    by_mask = _masks_by_name(masks, layout, ignore_index, by_image)
    problems = [f"{by_image[name]} has no mask in {masks}" for name in by_image.keys() - by_mask]
    problems += [
        f"{by_mask[name].name} ({masks}) has no image" for name in by_mask.keys() - by_image
    ]
    names = sorted(by_image.keys() & by_mask)

    def read(name: str) -> Pair | str:
        return _read_pair(name, by_image[name], by_mask[name])

    found = in_order(read, names, workers=2)
    results = list(track(found, "checking", total=len(names), console=Console(stderr=True)))
    pairs = [result for result in results if isinstance(result, Pair)]
    problems += [result for result in results if isinstance(result, str)]
    problems += _odd_channels(pairs)
    raise_all(problems)
    return pairs


def raise_all(problems: Iterable[str]) -> None:
    """Raises BadFoldersError with all problems, if there are any."""
    if listed := sorted(problems):
        count = f"{len(listed)} thing{'s' if len(listed) > 1 else ''}"
        raise BadFoldersError("\n  ".join([f"{count} to mend before training:", *listed]))


def read_image(path: Path) -> NDArray[np.float32]:
    """An image as (height, width, channels); transparency is left out.

    Raises:
        OSError, ValueError: It can't be read, or is not a 2D image.
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
            f"it must be (height, width) or (height, width, channels), and is {image.shape}: of "
            "volumes, save the slices"
        )
    image = image.astype(np.float32)
    if not np.isfinite(image).all():
        raise ValueError("it holds NaN or infinity")
    return image


def _images_in(folder: Path) -> list[Path]:
    if not folder.exists():
        raise FileNotFoundError(f"There is no folder of images at {str(folder)!r} (--images).")
    if not folder.is_dir():
        raise NotADirectoryError(f"--images must be a folder, and {str(folder)!r} is a file.")
    found = [path for path in sorted(folder.rglob("*")) if _is_image(path)]
    if not found:
        known = ", ".join(dict.fromkeys([*PHOTOGRAPHS, *READERS]))
        raise FileNotFoundError(f"{str(folder)!r} must hold images ({known}), and holds none.")
    return found


def _is_image(path: Path) -> bool:
    known = path.suffix.lower() in PHOTOGRAPHS or suffix_of(path) is not None
    return known and path.is_file() and not path.name.startswith(".")


def _key(path: Path, folder: Path) -> str:
    """A file's name within its folder, without the suffix."""
    suffix = suffix_of(path) or path.suffix
    return str(path.relative_to(folder))[: -len(suffix)]


def _masks_by_name(
    folder: Path, layout: str, ignore_index: int | None, images: Iterable[str]
) -> dict[str, Source]:
    """The masks by the names of their images; an ending such as _mask need not be there."""
    found = find_masks(folder, layout, ignore_index)
    if found.by_class:
        return {source.name: source for source in found.sources}
    named = {_key(folder / source.name, folder): source for source in found.sources}
    known = set(images)
    return {n if n in known else _MASK_ENDING.sub("", n): source for n, source in named.items()}


def _read_pair(name: str, image: Path, mask: Source) -> Pair | str:
    try:
        pixels = read_image(image)
    except (OSError, ValueError) as error:
        return f"{image}: {error}"
    try:
        labels = mask.read()
    except (OSError, ValueError) as error:
        return f"{mask.name}: {error}"
    size = labels.shape[1:] if mask.by_class else labels.shape
    if size != pixels.shape[:2]:
        return f"{name}: the image is {pixels.shape[:2]}, its mask {size}"
    flat = pixels.reshape(-1, pixels.shape[-1]).astype(np.float64)
    values = frozenset(map(int, values_of(labels)[0]))
    sums = (flat.sum(0), (flat**2).sum(0), len(flat))
    height, width, channels = pixels.shape
    return Pair(name, image, mask, (height, width), channels, values, sums)


def _odd_channels(pairs: Sequence[Pair]) -> list[str]:
    """Images whose number of channels is not that of most."""
    counts: list[Any] = [pair.channels for pair in pairs]
    usual = max(set(counts), key=counts.count, default=0)
    return [
        f"{pair.image}: it has {pair.channels} channel{'s' if pair.channels > 1 else ''}, and "
        f"most images have {usual}"
        for pair in pairs
        if pair.channels != usual
    ]
