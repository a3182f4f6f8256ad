"""Losses of (prediction, target) that take more tensors of a batch, such as weights and maps."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from segloss.batch.pixel_batch import PixelBatch
from segloss.terms.algebra import RefusesOperators


class TakesCompanions(RefusesOperators):
    """A loss that leaves out pixels itself, is 0 if none count, and takes companions of the target.

    Attributes:
        companions: The names of `forward`'s arguments for them, among "pixel_weights", "maps",
            "annotated" and "sample_weights".
        map_keys: The keys of the maps that it needs.
        pixels: The method that returns the checked batch for the arguments of `forward`.
    """

    companions: ClassVar[tuple[str, ...]] = ()
    map_keys: tuple[str, ...] = ()
    pixels: Callable[..., PixelBatch]
