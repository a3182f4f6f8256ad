"""Folders with a file for each object of an image, whose files must be merged first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from segloss.foundation.printable import printable
from segloss.tools.suggest.files import read_array, suffix_of
from segloss.tools.suggest.folders.kinds import kind_of


def check_one_mask_per_image(everything: Iterable[Path], masks: Sequence[Path]) -> None:
    """Raises ValueError if most images have several masks of the same size.

    The images are each in a folder beside that of their masks, such as 7/images and 7/masks.
    """
    known = set(masks)
    images = _by_case(p for p in everything if p not in known and suffix_of(p) is not None)
    masks_of = _by_case(masks)
    several = {
        case: found
        for case, found in masks_of.items()
        if len(found) > 1 == len(images.get(case, []))
    }
    if len(several) < 2 or 2 * len(several) < len(masks_of) or kind_of(masks) != "binary":
        return
    case, found = next(iter(several.items()))
    if not _have_same_size(images[case][0], found[0]):
        return
    raise ValueError(
        f"An image must have one mask, but {len(several)} folders hold one image each and "
        f"{sum(map(len, several.values()))} masks, such as {printable(found[0], 300)}: if these "
        "are objects, merge the files of an image, for example with numpy.maximum.reduce(masks); "
        "if each file is a mask of its own, set layout='labels' (--layout labels)."
    )


def _by_case(paths: Iterable[Path]) -> dict[Path, list[Path]]:
    """Returns paths by the folder above their own."""
    found = defaultdict(list)
    for path in paths:
        found[path.parent.parent].append(path)
    return found


def _have_same_size(image: Path, mask: Path) -> bool:
    """Returns whether two files can be read, and have the same height and width."""
    try:
        return read_array(image).shape[:2] == read_array(mask).shape[:2]
    except (OSError, ValueError):
        return False
