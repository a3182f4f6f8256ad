"""Reads NumPy's files: `.npy`, and the mask in an `.npz`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from segloss.tools.suggest.files.content import Content

MASK_NAMES = ("mask", "masks", "label", "labels", "seg", "segmentation", "target", "gt", "y")
"""The names of arrays that are taken for the mask in an archive with several."""


def read_numpy(path: Path) -> Content:
    """Reads an array; it does not say what its axes are."""
    return Content(np.asarray(np.load(path, allow_pickle=False)))


def read_archive(path: Path) -> Content:
    """Reads the only array of an archive, or the only one with the name of a mask."""
    with np.load(path, allow_pickle=False) as archive:
        names = [name for name in archive.files if name.lower() in MASK_NAMES]
        if len(archive.files) == 1:
            names = archive.files
        if len(names) != 1:
            raise ValueError(
                f"it must hold one array, or one named {', '.join(MASK_NAMES)}, but holds "
                f"{', '.join(archive.files) or 'none'}: save the mask alone, "
                f"numpy.savez_compressed({path.name!r}, mask=...)"
            )
        return Content(np.asarray(archive[names[0]]))
