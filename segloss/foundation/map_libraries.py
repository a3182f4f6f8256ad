"""The optional libraries that compute maps of masks, and the distance that two parts share."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

Array = Any
"""A NumPy array."""


def library(module: str) -> Any:
    """Returns a module of an optional dependency."""
    try:
        return import_module(module)
    except ImportError as error:
        raise ImportError(
            f"Maps of masks need {module}, which can't be imported ({error}): "
            'pip install "pytorch-segloss[maps]".'
        ) from error


def distance_to_border(inside: Array, spacing: Sequence[float] | None = None) -> Array:
    """Returns the distance of each pixel to the nearest on the other side; 0 without a border."""
    numpy, distance = library("numpy"), library("scipy.ndimage").distance_transform_edt
    if inside.all() or not inside.any():
        return numpy.zeros(inside.shape)
    # One of the two is 0
    return distance(inside, sampling=spacing) + distance(~inside, sampling=spacing)
