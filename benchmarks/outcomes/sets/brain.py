"""Axial slices of one brain, labelled with the lobes and with structures inside it."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
from nibabel.nifti1 import Nifti1Image

from outcomes.sets import hemispheres
from outcomes.sets.arrays import Arrays, merged
from outcomes.sets.packages import package_of_debian

MRICRON = package_of_debian("mricron-data")
IMAGE_FILE = "./usr/share/mricron/templates/ch2.nii.gz"
REGIONS_FILE = "./usr/share/mricron/templates/aal.nii.gz"

REGIONS = {
    "other": (),
    "frontal": range(1, 29),
    "parietal": range(57, 71),
    "occipital": range(43, 55),
    "temporal": (*range(39, 41), *range(55, 57), *range(79, 91)),
    "insula": range(29, 31),
    "cingulate": range(31, 37),
    "cerebellum": range(91, 117),
    "hippocampus": range(37, 39),
    "amygdala": range(41, 43),
    "caudate": range(71, 73),
    "putamen": range(73, 75),
    "pallidum": range(75, 77),
    "thalamus": range(77, 79),
}
"""The classes, each merged from the 116 regions of the atlas."""

MIDLINE = 90
"""The column between the hemispheres, at 0 mm."""

ROWS, COLUMNS = 192, 96


def brain(folder: Path) -> Arrays:
    """Makes tiles of one hemisphere, with the classes of `REGIONS` and the front at the top.

    Args:
        folder: The folder with the archive of `MRICRON`.
    """
    image, regions = (
        Nifti1Image.from_bytes(gzip.decompress(content))
        for content in MRICRON.read(folder, IMAGE_FILE, REGIONS_FILE)
    )
    label = merged(np.asarray(regions.dataobj), REGIONS.values())
    rows = np.flatnonzero(label.any((0, 2)))
    first = (rows[0] + rows[-1]) // 2 - ROWS // 2
    from_front = np.arange(first, first + ROWS)[::-1]
    return hemispheres.tiles(
        np.asarray(image.dataobj)[:, from_front],
        label[:, from_front],
        midline=MIDLINE,
        left=-1,
        width=COLUMNS,
        thickness=6,
        gap=2,
        smallest=100,
    )
