"""Reads TIFF: images, and volumes of several pages."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from segloss.tools.suggest.files.content import Content

_DARKEST = 16
"""Programs write three or four pages as the planes of a colour. Labels are smaller than this."""


def read_tiff(path: Path) -> Content:
    """Reads all pages of the first series; only samples of a pixel ("S") are colours."""
    import tifffile

    with tifffile.TiffFile(path) as file:
        series = file.series[0]
        try:
            array = np.asarray(series.asarray())
        except ValueError as error:
            if "imagecodecs" not in str(error):
                raise
            return _read_with_pillow(path)  # which has the decoders of LZW and others
        axes = series.axes
    is_colour = "S" in axes and len(axes) == array.ndim
    if is_colour and axes[0] == "S" and array.max() < _DARKEST:
        return Content(array, colour=False)
    if is_colour:
        return Content(np.moveaxis(array, axes.index("S"), -1), colour=True)
    return Content(array, colour=False)


def _read_with_pillow(path: Path) -> Content:
    """Reads all pages with Pillow."""
    from PIL import Image, ImageSequence

    with Image.open(path) as image:
        is_colour = image.mode in ("RGB", "RGBA")
        pages = [np.array(page) for page in ImageSequence.Iterator(image)]
    return Content(pages[0] if len(pages) == 1 else np.stack(pages), is_colour)
