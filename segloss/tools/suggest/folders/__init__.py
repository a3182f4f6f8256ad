"""Folders of masks, and other sources: a module for each question that a folder asks.

- `listing`: Which files may be masks?
- `kinds`: Which of them are images, colours for viewing, or numbers of objects, beside the masks?
- `endings`: Which parts do names have in common, such as "_mask" or "_car"?
- `grids`: Which files would be those of the same class, or of the same image?
- `layouts`: Is a file a mask, or is there a file for each class?
- `files_of_objects`: Or is there a file for each object?
- `names`: Do files beside the masks name the labels?
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from segloss.foundation.ignore_index import IgnoreIndex
from segloss.tools.suggest.folders.layouts import annotated_masks, masks_in
from segloss.tools.suggest.folders.listing import check_folder
from segloss.tools.suggest.pixels.mask import Reading
from segloss.tools.suggest.sources import Collection, sources_of

__all__ = ["find_masks"]


def find_masks(
    masks: Any,
    layout: str,
    ignore_index: IgnoreIndex,
    how: Reading | None = None,
    only: str | None = None,
) -> Collection:
    """Returns the masks in a folder, a JSON file of annotations, a list of files, or arrays.

    Raises:
        FileNotFoundError: The folder does not exist, or has no file that could be a mask.
        TypeError: `masks` is something else.
        ValueError: Files of classes are missing, or several kinds of masks are mixed.
    """
    how = how or Reading()
    if not isinstance(masks, (str, Path)):
        if only is not None:
            raise ValueError(f"only={only!r} takes a folder of masks: leave it out.")
        return sources_of(masks, layout, ignore_index, how)
    path = Path(masks)
    if path.suffix.lower() == ".json" and path.is_file():
        return annotated_masks([path], ignore_index, how)
    check_folder(path)
    return masks_in(path, layout, ignore_index, how, only)
