"""The base class of maps of distances to the border of each class."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from segloss.foundation.map_libraries import Array
from segloss.maps.mask_map import MaskMap
from segloss.maps.spacing import Spacing


class BorderMap(MaskMap):
    """A transform that adds distances to the border of each class: a subclass defines `distances`.

    Args:
        n_classes: The number of classes; see `MaskMap`.
        mask_key: The name of the mask among the keywords.
        out_key: The name of the maps in the result.
        spacing: The size of a pixel along each axis, or one number for all; None: 1.
        ignore_index: The label of ignored pixels, or a list of them; see `MaskMap`.

    Raises:
        TypeError, ValueError, MissingKeyError, ImportError: As for `MaskMap`; or the mask has
            another number of dimensions than `spacing`.
    """

    def __init__(
        self,
        n_classes: int,
        mask_key: str,
        out_key: str,
        spacing: float | Sequence[float] | None,
        ignore_index: int | Sequence[int] | None = None,
    ) -> None:
        super().__init__(n_classes, mask_key, out_key, ignore_index)
        self.spacing = Spacing(spacing)

    @abstractmethod
    def distances(self, inside: Array, spacing: Sequence[float]) -> Array:
        """Returns the distances (*spatial) for a mask (*spatial) of booleans."""

    def compute(self, labels: Array) -> Array:
        """Returns the distances `(C, *spatial)` of a label map `(*spatial)`."""
        spacing = self.spacing.along(labels.shape, self.mask_key)
        maps = self.zeros(labels)
        for class_map, label in zip(maps, self.class_labels(), strict=True):
            class_map[:] = self.distances(labels == label, spacing)
        return maps

    def __repr__(self) -> str:
        return f"{type(self).__name__}(n_classes={self.n_classes}, spacing={self.spacing})"
