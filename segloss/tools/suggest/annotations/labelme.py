"""LabelMe's annotations: a JSON file with shapes for each image."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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
    names = {str(s["label"]) for file in files.values() for s in file["shapes"] if _outline(s)}
    labels = labels_of(sorted(names))
    drawings = [
        Drawing(
            str(Path(file.get("imagePath") or path.name).name),
            int(file["imageHeight"]),
            int(file["imageWidth"]),
            [(labels[str(s["label"])], region) for s in file["shapes"] if (region := _region(s))],
        )
        for path, file in files.items()
    ]
    return Annotations(drawings, names_of(labels))


def _region(shape: dict[str, Any]) -> Region | None:
    outline = _outline(shape)
    return polygons([outline]) if outline else None


def _outline(shape: dict[str, Any]) -> list[float]:
    """Returns a shape as a polygon, x, y, x, y ...; empty if it has no area."""
    points = [(float(x), float(y)) for x, y in shape["points"]]
    kind = shape.get("shape_type", "polygon")
    if kind == "rectangle" and len(points) == 2:
        (left, top), (right, bottom) = points
        points = [(left, top), (right, top), (right, bottom), (left, bottom)]
    elif kind == "circle" and len(points) == 2:
        (x, y), edge = points
        radius = math.dist((x, y), edge)
        angles = [2 * math.pi * i / _CORNERS for i in range(_CORNERS)]
        points = [(x + radius * math.cos(a), y + radius * math.sin(a)) for a in angles]
    elif kind not in ("polygon", "rectangle"):
        points = []
    return [part for point in points for part in point] if len(points) >= 3 else []
