"""Tiles from slices of a brain: the left hemisphere for training, the right one for the rest."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from outcomes.data import PARTS
from outcomes.sets.arrays import Arrays

TRAINING, VALIDATION, TEST = (PARTS.index(part) for part in ("training", "validation", "test"))

LEFT_OUT = 255
"""The part of slices that are in no part."""

Volume = NDArray[np.uint8]


def tiles(
    image: Volume,
    label: Volume,
    *,
    midline: int,
    left: int,
    width: int,
    thickness: int,
    gap: int,
    smallest: int,
) -> Arrays:
    """Returns the slices of each hemisphere, with the midline at the left edge.

    Those of the right hemisphere are in slabs, for validation and test in turn.

    Args:
        image: (columns, rows, slices).
        label: Like the image, with 0 for the background.
        midline: The column between the hemispheres.
        left: The direction of the left hemisphere: 1 for growing columns, or -1.
        width: The columns of a tile.
        thickness: The slices of a slab.
        gap: The slices between slabs, which are left out.
        smallest: The pixels beyond the background that a tile needs.
    """
    occupied = np.flatnonzero(label.any((0, 1)))
    slices = slice(occupied[0], occupied[-1] + 1)
    images, labels = (
        np.concatenate(
            [outwards(volume[..., slices], midline, side, width).T for side in (left, -left)]
        )
        for volume in (image, label)
    )
    of_right = slab_parts(len(labels) // 2, thickness, gap)
    parts = np.concatenate([np.full_like(of_right, TRAINING), of_right])
    kept = (parts != LEFT_OUT) & ((labels > 0).sum((1, 2)) >= smallest)
    return {"image": images[kept][..., None], "label": labels[kept], "split": parts[kept]}


def outwards(volume: Volume, midline: int, direction: int, width: int) -> Volume:
    """Returns columns (width, rows, slices) from the midline on, and zeros beyond the volume."""
    columns = midline + direction * np.arange(width)
    within = (columns >= 0) & (columns < len(volume))
    hemisphere = np.zeros((width, *volume.shape[1:]), volume.dtype)
    hemisphere[within] = volume[columns[within]]
    return hemisphere


def slab_parts(slices: int, thickness: int, gap: int) -> NDArray[np.uint8]:
    """Returns the part of each slice: validation and test in turn, `LEFT_OUT` between slabs."""
    slab, place = np.divmod(np.arange(slices), thickness + gap)
    parts = np.where(slab % 2 == 0, VALIDATION, TEST)
    return np.where(place < thickness, parts, LEFT_OUT).astype(np.uint8)
