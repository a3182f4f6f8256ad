"""Losses of (prediction, target) that take more tensors of a batch, such as weights and maps."""

from __future__ import annotations

from typing import ClassVar


class TakesCompanions:
    """A loss that leaves pixels out itself, is 0 over none, and takes companions of the target.

    Attributes:
        companions: The names of the arguments of `forward` for them: of "pixel_weights", "maps",
            "annotated" and "sample_weights".
        map_keys: The keys of the maps that it needs.
    """

    companions: ClassVar[tuple[str, ...]] = ()
    map_keys: tuple[str, ...] = ()
