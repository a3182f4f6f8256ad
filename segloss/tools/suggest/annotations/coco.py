"""COCO's annotations: polygons and run lengths, in one JSON file for many images."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
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

_KEYS = {"images", "annotations", "categories"}


def read(parsed: Mapping[Path, Any]) -> Annotations | None:
    """Returns the annotations in files of COCO; None if no file has its keys.

    Labels follow the ids of the categories that have outlines. Files with the same categories, such
    as those of train and val, are read together. A file with keypoints repeats the outlines of
    people, so it is left out beside files without.

    Raises:
        ValueError: The files have boxes or keypoints, and no outlines.
    """
    files = [
        found for found in parsed.values() if isinstance(found, dict) and found.keys() >= _KEYS
    ]
    if not files:
        return None
    outlined = [file for file in files if any(map(_has_outline, file["annotations"]))]
    if not outlined:
        names = ", ".join(printable(path.name, 60) for path in list(parsed)[:6])
        raise ValueError(
            f"Annotations must have outlines ('segmentation'), but those of {names} have only "
            "boxes, keypoints or captions: export them with segmentations, or as masks."
        )
    outlined = [file for file in outlined if not _has_keypoints(file)] or outlined
    labels = labels_of(_used_names(outlined))
    drawings = [drawing for file in outlined for drawing in _drawings(file, labels)]
    return Annotations(drawings, names_of(labels))


def _has_outline(annotation: dict[str, Any]) -> bool:
    return bool(annotation.get("segmentation"))


def _has_keypoints(file: dict[str, Any]) -> bool:
    return any("keypoints" in annotation for annotation in file["annotations"])


def _used_names(files: list[Any]) -> list[str]:
    """Returns the names of the categories with outlines, in the order of their ids."""
    names: dict[str, int] = {}
    for file in files:
        used = {each["category_id"] for each in file["annotations"] if _has_outline(each)}
        for category in file["categories"]:
            if category["id"] in used:
                names.setdefault(str(category["name"]), int(category["id"]))
    return sorted(names, key=lambda name: names[name])


def _drawings(file: dict[str, Any], labels: dict[str, int]) -> list[Drawing]:
    names = {category["id"]: str(category["name"]) for category in file["categories"]}
    regions: dict[Any, list[tuple[int, Region]]] = defaultdict(list)
    for each in file["annotations"]:
        if _has_outline(each):
            label = labels[names[each["category_id"]]]
            regions[each["image_id"]].append((label, _region(each["segmentation"])))
    return [
        Drawing(str(i["file_name"]), int(i["height"]), int(i["width"]), regions[i["id"]])
        for i in file["images"]
    ]


def _region(segmentation: Any) -> Region:
    return _run_lengths(segmentation) if isinstance(segmentation, dict) else polygons(segmentation)


def _run_lengths(segmentation: dict[str, Any]) -> Region:
    """Returns the region of run lengths, which alternate between outside and inside by columns."""

    def region(height: int, width: int) -> NDArray[np.bool_]:
        counts = segmentation["counts"]
        lengths = _decoded(counts) if isinstance(counts, str) else counts
        inside = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
        if tuple(segmentation["size"]) != (height, width) or len(inside) != height * width:
            raise ValueError(
                f"its run lengths must fill {height} x {width} pixels, but fill {len(inside):,}"
            )
        return inside.reshape(width, height).T

    return region


def _decoded(text: str) -> list[int]:
    """Returns the run lengths in COCO's text: 5 bits a character, differences from the third on."""
    lengths: list[int] = []
    number = shift = 0
    for character in text:
        bits = ord(character) - 48
        number |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            number -= 1 << shift
        lengths.append(number + (lengths[-2] if len(lengths) > 2 else 0))
        number = shift = 0
    return lengths
