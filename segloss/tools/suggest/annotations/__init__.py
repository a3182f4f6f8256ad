"""Annotations as outlines, in JSON: a module for each format, COCO and LabelMe.

A module's `read` takes files that are parsed, and returns None if they have another format.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from segloss.foundation.printable import printable
from segloss.tools.suggest.annotations import coco, labelme
from segloss.tools.suggest.annotations.drawing import Annotations, Drawing

__all__ = ["Annotations", "Drawing", "read_annotations"]


def read_annotations(paths: Iterable[Path]) -> Annotations:
    """Returns the annotations in JSON files.

    Raises:
        ValueError: The files hold none, or can't be parsed, or have no outlines.
    """
    parsed = {}
    for path in paths:
        try:
            parsed[path] = json.loads(path.read_text(encoding="utf-8-sig"))
        except (OSError, ValueError) as error:
            raise ValueError(f"{printable(path, 300)} can't be read as JSON: {error}.") from error
    found = coco.read(parsed) or labelme.read(parsed)
    if found is None:
        names = ", ".join(printable(path.name, 60) for path in list(parsed)[:6])
        do = "does" if len(parsed) == 1 else "do"
        raise ValueError(
            f"JSON must hold the annotations of COCO or LabelMe, but {names} {do} not: export the "
            "annotations as COCO JSON with segmentations, or as masks (PNG)."
        )
    return found
