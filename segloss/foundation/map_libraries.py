"""The optional libraries that compute maps of masks, and the distance that two parts share."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from segloss.foundation.installation.extras import needs

Array = Any
"""A NumPy array."""


def library(module: str) -> Any:
    """Returns a module of an optional dependency."""
    with needs("A map of distances or skeletons", "maps"):
        return import_module(module)


def distance_to_border(inside: Array, spacing: Sequence[float] | None = None) -> Array:
    """Returns the distance of each pixel to the other side of the border; 0 without a border."""
    numpy, distance = library("numpy"), library("scipy.ndimage").distance_transform_edt
    if inside.all() or not inside.any():
        return numpy.zeros(inside.shape)
    # One of the two is 0
    return distance(inside, sampling=spacing) + distance(~inside, sampling=spacing)
