"""Reads NIfTI, whose axes are spatial, and whose fourth may hold classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from segloss.tools.suggest.files.content import Content


def read_nifti(path: Path) -> Content:
    """Reads a volume; axes of length 1 beyond the second are left out."""
    import nibabel

    array = np.asarray(nibabel.load(path).dataobj)  # type: ignore[attr-defined]
    if array.dtype.names:  # colours of NIfTI are records of R, G and B
        return Content(np.stack([array[name] for name in array.dtype.names], -1), colour=True)
    while array.ndim > 2 and array.shape[-1] == 1:
        array = array[..., 0]
    return Content(array, colour=False)
