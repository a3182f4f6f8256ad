"""LabelMe's annotations: a JSON file with shapes for each image."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segloss.foundation.printable import printable
from segloss.tools.suggest.annotations.drawing import (
    Annotations,
    Drawing,
    Region,
    labels_of,
    names_of,
    polygons,
)

_KEYS = {"shapes", "imageHeight", "imageWidth"}
_CORNERS = 64
"""The corners of the polygon that stands for a circle."""


def read(parsed: Mapping[Path, Any]) -> Annotations | None:
    """Returns the annotations in files of LabelMe; None if no file has its keys.

    Labels follow the alphabet. Points and lines have no area, and are left out.
    """
    files = {
        path: found
        for path, found in parsed.items()
        if isinstance(found, dict) and found.keys() >= _KEYS
    }
    if not files:
        return None
    found = {path: _objects(path, file["shapes"]) for path, file in files.items()}
    labels = labels_of(sorted({name for objects in found.values() for name, _ in objects}))
    drawings = [
        Drawing(
            str(Path(file.get("imagePath") or path.name).name),
            int(file["imageHeight"]),
            int(file["imageWidth"]),
            [(labels[name], region) for name, region in found[path]],
        )
        for path, file in files.items()
    ]
    return Annotations(drawings, names_of(labels))


def _objects(path: Path, shapes: Sequence[dict[str, Any]]) -> list[tuple[str, Region]]:
    """Returns the name and the region of each shape that has an area."""
    found = []
    for shape in shapes:
        kind = shape.get("shape_type") or "polygon"
        if kind not in _REGIONS:
            raise ValueError(
                f"Shapes must be one of {', '.join(_REGIONS)}, but {printable(path, 300)} has "
                f"{printable(kind, 60)}: change it in LabelMe, or export masks (PNG)."
            )
        region = _REGIONS[kind](shape)
        if region is not None:
            found.append((str(shape["label"]), region))
    return found


def _points(shape: dict[str, Any]) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in shape["points"]]


def _polygon(points: Sequence[tuple[float, float]]) -> Region | None:
    outline = [part for point in points for part in point]
    return polygons([outline]) if len(points) >= 3 else None


def _rectangle(shape: dict[str, Any]) -> Region | None:
    points = _points(shape)
    if len(points) != 2:
        return _polygon(points)  # with its four corners, in newer versions
    (left, top), (right, bottom) = points
    return _polygon([(left, top), (right, top), (right, bottom), (left, bottom)])


def _circle(shape: dict[str, Any]) -> Region | None:
    (x, y), edge = _points(shape)
    radius = math.dist((x, y), edge)
    angles = [2 * math.pi * i / _CORNERS for i in range(_CORNERS)]
    return _polygon([(x + radius * math.cos(a), y + radius * math.sin(a)) for a in angles])


def _mask(shape: dict[str, Any]) -> Region:
    """Returns the pixels of a small PNG, at its upper left corner in the image."""
    from PIL import Image

    stamp = np.asarray(Image.open(io.BytesIO(base64.b64decode(shape["mask"])))) > 0
    left, top = (round(part) for part in _points(shape)[0])

    def region(height: int, width: int) -> NDArray[np.bool_]:
        drawn = np.zeros((height, width), dtype=bool)
        inside = stamp[max(-top, 0) : height - top, max(-left, 0) : width - left]
        top_inside, left_inside = max(top, 0), max(left, 0)
        rows, columns = inside.shape
        drawn[top_inside : top_inside + rows, left_inside : left_inside + columns] = inside
        return drawn

    return region


def _without_area(shape: dict[str, Any]) -> None:
    """Points and lines have no area."""


_REGIONS: dict[str, Callable[[dict[str, Any]], Region | None]] = {
    "polygon": lambda shape: _polygon(_points(shape)),
    "rectangle": _rectangle,
    "oriented_rectangle": lambda shape: _polygon(_points(shape)),
    "circle": _circle,
    "mask": _mask,
    **dict.fromkeys(("point", "points", "line", "linestrip"), _without_area),
}
"""The region of a shape, by its type."""
