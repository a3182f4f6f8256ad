"""The reduction of a region term from its cells to one number.

A cell is one (sample, class) pair.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from segloss.foundation.arguments import check_class_range
from segloss.foundation.device_constants import on_device
from segloss.sums.confusion import SoftConfusion

POOLED_DIMS: dict[str, tuple[int, ...]] = {
    "sample": (),
    "batch": (0,),
    "micro": (0, 1),
    "sample_micro": (1,),
}
"""The dimensions of (samples, classes) that a reduction adds up before the term is computed."""


@dataclass(frozen=True)
class Reduction:
    """A mean over cells.

    Attributes:
        pooled: "sample": nothing is pooled; "batch": the samples; "micro": samples and classes;
            "sample_micro": the classes of each sample.
        classes: The classes that count; None: all.
        weights: Their weights in the mean; None: 1 for each.
        skip_absent: True if cells whose class does not occur in the target are left out.

    Cells without any pixel that counts are always left out.
    """

    pooled: str = "sample"
    classes: tuple[int, ...] | None = None
    weights: tuple[float, ...] | None = None
    skip_absent: bool = False

    @property
    def pools_samples(self) -> bool:
        """True if there is one cell for all samples."""
        return 0 in POOLED_DIMS[self.pooled]

    @property
    def pools_classes(self) -> bool:
        """True if there is one cell for all classes."""
        return 1 in POOLED_DIMS[self.pooled]

    @property
    def fits_any_classes(self) -> bool:
        """True if it fits any number of classes."""
        return self.classes is None and self.weights is None

    def check_classes(self, channels: int) -> None:
        """Raises ValueError if the classes and their weights do not fit the channels."""
        if self.classes is not None:
            check_class_range("region_classes", self.classes, channels)
        expected = channels if self.classes is None else len(self.classes)
        if self.weights is not None and len(self.weights) != expected:
            raise ValueError(
                f"region_class_weights must have one weight per class: expected {expected}, got "
                f"{len(self.weights)}."
            )

    def pool(self, confusion: SoftConfusion) -> SoftConfusion:
        """Returns the pooled sums of the classes that count."""
        self.check_classes(confusion.pixel_weight.shape[1])
        if self.classes is not None:
            confusion = confusion.select(self.classes)
        dims = POOLED_DIMS[self.pooled]
        return confusion.pool(dims) if dims else confusion

    def cell_weights(self, pooled: SoftConfusion) -> Tensor:
        """Returns the weight of each cell of the pooled sums; 0 if the cell is left out."""
        included = pooled.pixel_weight > 0
        if self.skip_absent:
            included = included & (pooled.actual > 0)
        weights = included.to(pooled.actual.dtype)
        if self.weights is None:
            return weights
        return weights * on_device(self.weights, weights.device, weights.dtype)

    def class_weights(self, channels: int) -> list[float]:
        """Returns the weight of each class in the mean; -1 if the class does not count."""
        classes = range(channels) if self.classes is None else self.classes
        class_weights = [1.0] * len(classes) if self.weights is None else self.weights
        weights = [-1.0] * channels
        for c, weight in zip(classes, class_weights, strict=True):
            weights[c] = weight
        return weights
