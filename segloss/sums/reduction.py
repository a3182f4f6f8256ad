"""The reduction of a region term from cells, one per sample and class, to one number."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from segloss.foundation.device_constants import on_device
from segloss.sums.confusion import SoftConfusion

POOLED_DIMS: dict[str, tuple[int, ...]] = {"sample": (), "batch": (0,), "micro": (0, 1)}
"""The dimensions of (samples, classes) that each region reduction adds up before the term."""


@dataclass(frozen=True)
class Reduction:
    """The mean over cells of samples and classes.

    Attributes:
        pooled: "sample": nothing is pooled; "batch": the samples; "micro": samples and classes.
        classes: The classes to look at; None: all.
        weights: Their weights in the mean; None: 1 for each.
        skip_absent: True if cells whose class does not occur in the target are left out.

    Cells whose pixels are all left out are left out too.
    """

    pooled: str = "sample"
    classes: tuple[int, ...] | None = None
    weights: tuple[float, ...] | None = None
    skip_absent: bool = False

    @property
    def fits_any_classes(self) -> bool:
        """True if it fits any number of classes."""
        return self.classes is None and self.weights is None

    def check_classes(self, channels: int) -> None:
        """Raises ValueError if the classes and their weights do not fit the channels."""
        if self.classes is not None and max(self.classes) >= channels:
            raise ValueError(
                f"region_classes={list(self.classes)} is out of range: there are {channels} "
                f"classes (0 to {channels - 1})."
            )
        expected = channels if self.classes is None else len(self.classes)
        if self.weights is not None and len(self.weights) != expected:
            raise ValueError(
                f"region_class_weights must have one weight per class: expected {expected}, got "
                f"{len(self.weights)}."
            )

    def pool(self, confusion: SoftConfusion) -> SoftConfusion:
        """Returns the sums of the classes that are looked at, pooled."""
        self.check_classes(confusion.pixel_weight.shape[1])
        if self.classes is not None:
            confusion = confusion.select(self.classes)
        dims = POOLED_DIMS[self.pooled]
        return confusion.pool(dims) if dims else confusion

    def cell_weights(self, pooled: SoftConfusion) -> Tensor:
        """Returns the weight of each cell that is left after pooling: 0 where it is left out."""
        included = pooled.pixel_weight > 0
        if self.skip_absent:
            included = included & (pooled.actual > 0)
        weights = included.to(pooled.actual.dtype)
        if self.weights is None:
            return weights
        return weights * on_device(self.weights, weights.device, weights.dtype)

    def class_weights(self, channels: int) -> list[float]:
        """Returns the weight of each class in the mean, -1 where it is not looked at."""
        classes = range(channels) if self.classes is None else self.classes
        given = [1.0] * len(classes) if self.weights is None else self.weights
        weights = [-1.0] * channels
        for place, weight in zip(classes, given, strict=True):
            weights[place] = weight
        return weights
