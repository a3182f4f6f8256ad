"""The names of labels, from a file beside the masks."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

_LISTS = ("class_names.txt", "classes.txt", "labels.txt", "class_list.txt")
"""A name in each line, from label 0 on."""

_LISTED_IGNORED = ("__ignore__",)
"""LabelMe's first line, which is not a label."""

_TABLE = "_classes.csv"
"""Roboflow's table of pixel values and classes."""

_DATASET = "dataset.json"
"""nnU-Net's description, in the folder above that of the masks."""


def label_names(folder: Path) -> dict[int, str]:
    """Returns the names of labels; an empty dict if no file beside the masks names them."""
    for path, read in (
        *((folder / name, _listed) for name in _LISTS),
        (folder / _TABLE, _tabled),
        (folder / _DATASET, _described),
        (folder.parent / _DATASET, _described),
    ):
        try:
            if path.is_file() and (names := read(path)):
                return names
        except (OSError, ValueError, KeyError, TypeError):
            continue  # the file is something else
    return {}


def _listed(path: Path) -> dict[int, str]:
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    names = [line for line in lines if line and line not in _LISTED_IGNORED]
    return dict(enumerate(names))


def _tabled(path: Path) -> dict[int, str]:
    with path.open(encoding="utf-8", newline="") as file:
        rows = [[cell.strip() for cell in row] for row in csv.reader(file)]
    return {int(row[0]): row[1] for row in rows if len(row) > 1 and row[0].isdigit()}


def _described(path: Path) -> dict[int, str]:
    labels: Any = json.loads(path.read_text(encoding="utf-8"))["labels"]
    pairs = [(name, value) for name, value in labels.items()]
    if all(str(key).isdigit() for key in labels):  # the Medical Segmentation Decathlon's form
        pairs = [(value, int(key)) for key, value in labels.items()]
    return {int(value): str(name) for name, value in pairs if isinstance(value, int)}
