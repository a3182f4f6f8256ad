"""Draws outlines as a label map."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Region = Callable[[int, int], NDArray[np.bool_]]
"""Returns the pixels of an object in an image of a height and a width."""


@dataclass(frozen=True)
class Drawing:
    """The annotations of an image; a call draws them.

    Attributes:
        name: The file name of the image.
        height: The height of the image in pixels.
        width: Its width.
        regions: The label and the region of each object. Small objects are drawn over large ones.
    """

    name: str
    height: int
    width: int
    regions: Sequence[tuple[int, Region]]

    def __call__(self) -> NDArray[Any]:
        """Returns the label map, (height, width); 0 where there is no object."""
        drawn = [(label, region(self.height, self.width)) for label, region in self.regions]
        most = max((label for label, _ in drawn), default=0)
        labels = np.zeros((self.height, self.width), np.min_scalar_type(most))
        for label, region in sorted(drawn, key=lambda pair: -np.count_nonzero(pair[1])):
            labels[region] = label
        return labels


@dataclass(frozen=True)
class Annotations:
    """The annotations of a dataset.

    Attributes:
        drawings: The images.
        names: The names of the labels, with that of the background.
    """

    drawings: Sequence[Drawing]
    names: dict[int, str]


def polygons(outlines: Sequence[Sequence[float]]) -> Region:
    """Returns the region inside polygons, each x, y, x, y ... in pixels."""

    def region(height: int, width: int) -> NDArray[np.bool_]:
        from PIL import Image, ImageDraw

        image = Image.new("1", (width, height))
        draw = ImageDraw.Draw(image)
        for outline in outlines:
            if len(outline) >= 6:
                draw.polygon([float(number) for number in outline], fill=1)
        return np.asarray(image, dtype=bool)

    return region


def labels_of(names: Sequence[str]) -> dict[str, int]:
    """Returns the label of each class, from 1 on; "background" is 0."""
    background = ("background", "_background_", "__background__")
    others = [name for name in dict.fromkeys(names) if name.lower() not in background]
    return {name: label for label, name in enumerate(others, 1)} | dict.fromkeys(
        (name for name in names if name.lower() in background), 0
    )


def names_of(labels: dict[str, int]) -> dict[int, str]:
    """Returns the names by label, with that of the background."""
    return {0: "background"} | {label: name for name, label in labels.items() if label}
