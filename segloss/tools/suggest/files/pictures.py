"""Reads PNG, BMP, GIF and JPEG."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segloss.tools.suggest.files.content import Content
from segloss.tools.suggest.tiles import TILE

_COLOUR_MODES = ("RGB", "RGBA")
_WITH_ALPHA = ("PA", "RGBa")
_OTHER_COLOUR_MODES = ("CMYK", "YCbCr", "HSV", "LAB", "RGBX", *_WITH_ALPHA)


def read_picture(path: Path) -> Content:
    """Reads a picture; one with a palette gives the indices."""
    from PIL import Image

    with Image.open(path) as opened:
        image: Image.Image = opened
        lossy = opened.format == "JPEG"
        if image.mode in _OTHER_COLOUR_MODES:
            image = image.convert("RGBA" if image.mode in _WITH_ALPHA else "RGB")
        if image.mode == "LA":
            return Content(_opaque(np.asarray(image)), colour=False)
        palette = _palette_of(image) if image.mode == "P" else None
        return Content(_pixels(image), image.mode in _COLOUR_MODES, palette, lossy)


def _palette_of(image: Any) -> NDArray[Any]:
    """Returns the colours of all 256 indices; those that the file leaves out are black."""
    colours = np.array(image.getpalette("RGB") or [], np.uint8).reshape(-1, 3)
    return np.concatenate([colours, np.zeros((256 - len(colours), 3), np.uint8)])


def _opaque(grey_and_alpha: NDArray[Any]) -> NDArray[Any]:
    """Returns the greys where a picture is opaque, and 0 elsewhere; or the alpha of one grey."""
    grey, alpha = grey_and_alpha[..., 0], grey_and_alpha[..., 1]
    if alpha.any() and (grey == grey.flat[0]).all() and (alpha != alpha.flat[0]).any():
        return np.ascontiguousarray(alpha)
    return np.where(alpha > 0, grey, 0).astype(np.uint8) if alpha.any() else grey.copy()


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
