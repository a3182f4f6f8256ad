"""Coronal slices of one brain, with the ribbon of the cerebral cortex between its surfaces."""

from __future__ import annotations

import gzip
import itertools
from pathlib import Path
from typing import NamedTuple

import numpy as np
from nibabel.affines import apply_affine
from nibabel.gifti.gifti import GiftiImage
from nibabel.nifti1 import Nifti1Image
from numpy.typing import NDArray

from outcomes.sets import hemispheres
from outcomes.sets.arrays import Arrays
from outcomes.sets.packages import source_of_pypi

PYCORTEX = source_of_pypi("pycortex", "1.4.0")
SUBJECT = "pycortex-1.4.0/filestore/db/S1"
IMAGE_FILE = f"{SUBJECT}/anatomicals/raw.nii.gz"
SURFACE_FILES = [
    f"{SUBJECT}/surfaces/{name}_{side}h.gii" for side in "lr" for name in ("wm", "pia")
]

SIDE = 128
"""The side of a tile in voxels."""

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]


class Surface(NamedTuple):
    """A closed surface of triangles.

    Attributes:
        vertices: (V, 3), in voxels.
        triangles: (T, 3), indices of vertices.
    """

    vertices: Floats
    triangles: NDArray[np.int64]


def cortex(folder: Path) -> Arrays:
    """Makes tiles of one hemisphere with 1 for the cerebral cortex.

    The axes of the scan point left, down and forward, and its voxels are cubes of 1 mm.

    Args:
        folder: The folder with the archive of `PYCORTEX`.
    """
    content, *surfaces = PYCORTEX.read(folder, IMAGE_FILE, *SURFACE_FILES)
    scan = Nifti1Image.from_bytes(gzip.decompress(content))
    to_voxels = np.linalg.inv(scan.affine)
    left_white, left_pial, right_white, right_pial = (
        read_surface(surface, to_voxels) for surface in surfaces
    )
    left = ribbon(left_white, left_pial, scan.shape)
    right = ribbon(right_white, right_pial, scan.shape)
    label = (left | right).astype(np.uint8)
    first = round(np.nonzero(label)[1].mean()) - SIDE // 2
    rows = slice(first, first + SIDE)
    return hemispheres.tiles(
        np.asarray(scan.dataobj)[:, rows],
        label[:, rows],
        midline=midline(left, right),
        left=1,
        width=SIDE,
        thickness=12,
        gap=3,
        smallest=50,
    )


def midline(left: Mask, right: Mask) -> int:
    """Returns the column in the middle between two masks, of which the right has lower columns."""
    first_of_left = np.flatnonzero(left.any((1, 2)))[0]
    last_of_right = np.flatnonzero(right.any((1, 2)))[-1]
    return round(float(first_of_left + last_of_right) / 2)


def read_surface(content: bytes, to_voxels: Floats) -> Surface:
    """Returns the surface in a GIfTI file, moved from millimetres to voxels."""
    vertices, triangles = (array.data for array in GiftiImage.from_bytes(content).darrays)
    moved = apply_affine(to_voxels, vertices)  # type: ignore[no-untyped-call]
    return Surface(moved, triangles.astype(np.int64))


def ribbon(white: Surface, pial: Surface, shape: tuple[int, ...]) -> Mask:
    """Returns the voxels inside the pial surface and outside the surface of the white matter."""
    return inside(pial, shape) & ~inside(white, shape)


def inside(surface: Surface, shape: tuple[int, ...]) -> Mask:
    """Returns the voxels whose centre is inside a closed surface, which lies in the volume.

    A line along the last axis enters or leaves the surface wherever it crosses a triangle, so a
    centre is inside if an odd number of crossings lie before it.
    """
    crossings = np.zeros((*shape[:2], shape[2] + 1), dtype=np.int64)
    aside = np.array([1.23e-4, 2.71e-4])  # so that no line meets a vertex or an edge
    corners = surface.vertices[:, :2][surface.triangles] - aside
    depths = surface.vertices[:, 2][surface.triangles]
    first = np.ceil(corners.min(1)).astype(int)
    last = np.floor(corners.max(1)).astype(int)
    for step in itertools.product(*(range(extent + 1) for extent in (last - first).max(0))):
        lines = first + step
        near = (lines <= last).all(1)
        weights = barycentric(lines[near], corners[near])
        hit = (weights >= 0).all(1)
        crossed = (weights[hit] * depths[near][hit]).sum(1)
        np.add.at(crossings, (*lines[near][hit].T, np.ceil(crossed).astype(int)), 1)
    odd: Mask = crossings.cumsum(2)[..., :-1] % 2 == 1
    return odd


def barycentric(points: NDArray[np.int_], corners: Floats) -> Floats:
    """Returns the weights (N, 3) of the corners of triangles that sum to points (N, 2).

    They are negative for points outside a triangle, and not finite if the triangle has no area.

    Args:
        points: (N, 2).
        corners: (N, 3, 2).
    """
    a, b, c = corners.swapaxes(0, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        of_a = _twice_the_area(points, b, c) / _twice_the_area(a, b, c)
        of_b = _twice_the_area(points, c, a) / _twice_the_area(a, b, c)
    return np.stack([of_a, of_b, 1 - of_a - of_b], axis=1)


def _twice_the_area(a: NDArray[np.number], b: Floats, c: Floats) -> Floats:
    """Returns twice the area of triangles, which is negative if they turn clockwise."""
    (ab_x, ab_y), (ac_x, ac_y) = (b - a).T, (c - a).T
    area: Floats = ab_x * ac_y - ab_y * ac_x
    return area
