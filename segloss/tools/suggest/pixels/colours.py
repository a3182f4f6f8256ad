"""One number for each colour, so that colour-coded masks are counted like label maps.

The number of a grey is that grey, and the number of any other colour is 0x1RRGGBB. So black is 0
and white 255, in colour images and in images of one channel alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segloss.tools.suggest.tiles import tiles

FIRST_COLOUR = 0x1000000
"""The numbers of colours that are not grey begin here."""


def number_of(colour: Sequence[int]) -> int:
    """Returns the number of a colour (R, G, B)."""
    red, green, blue = (int(part) for part in colour)
    return red if red == green == blue else FIRST_COLOUR + (red << 16) + (green << 8) + blue


def colour_of(number: int) -> tuple[int, int, int]:
    """Returns the colour (R, G, B) of a number."""
    if number < FIRST_COLOUR:
        return number, number, number
    return (number >> 16) & 255, (number >> 8) & 255, number & 255


def colour_text(number: int) -> str:
    """Returns the colour of a number, such as #ff0000."""
    return "#{:02x}{:02x}{:02x}".format(*colour_of(number))


def is_colour(number: int) -> bool:
    """Returns whether a number is that of a colour that is not grey."""
    return FIRST_COLOUR <= number <= FIRST_COLOUR + 0xFFFFFF


def any_colour(numbers: Iterable[int]) -> bool:
    """Returns whether one of the numbers is that of a colour that is not grey."""
    return any(map(is_colour, numbers))


def number_text(number: int) -> str:
    """Returns a number of a mask as text: a colour, such as #ff0000, or the number itself."""
    return colour_text(number) if is_colour(number) else str(number)


def numbers_of_pixels(pixels: NDArray[Any]) -> NDArray[Any]:
    """Returns the numbers of pixels (..., 3 or 4); transparent pixels are black.

    Pixels of one colour that differ only in alpha give their alpha.
    """
    colours, alpha = pixels[..., :3], _alpha_of(pixels)
    if alpha is not None and _all_equal(colours):
        return np.ascontiguousarray(alpha)
    if alpha is None and all(_are_grey(colours[lines]) for lines in tiles(colours)):
        return np.ascontiguousarray(colours[..., 0])  # not a view of all channels
    numbers = np.empty(pixels.shape[:-1], np.int32)
    for lines in tiles(numbers):
        part = colours[lines].astype(np.int32)
        coded = FIRST_COLOUR + (part[..., 0] << 16) + (part[..., 1] << 8) + part[..., 2]
        grey = (part[..., 0] == part[..., 1]) & (part[..., 1] == part[..., 2])
        numbers[lines] = np.where(grey, part[..., 0], coded)
        if alpha is not None:
            numbers[lines][alpha[lines] == 0] = 0
    return numbers


def _alpha_of(pixels: NDArray[Any]) -> NDArray[Any] | None:
    """Returns the alpha of pixels; None if it is the same everywhere."""
    if pixels.shape[-1] < 4 or _all_equal(pixels[..., 3:]):
        return None
    alpha: NDArray[Any] = pixels[..., 3]
    return alpha


def _all_equal(pixels: NDArray[Any]) -> bool:
    first = pixels[(0,) * (pixels.ndim - 1)]
    return all((pixels[lines] == first).all() for lines in tiles(pixels))


def _are_grey(colours: NDArray[Any]) -> bool:
    return bool((colours == colours[..., :1]).all())
