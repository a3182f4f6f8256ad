"""From masks to classes: reads and counts masks, and decides what their numbers mean.

Where the masks leave it open, the evidence decides, and the choice is reported as a guess, with the
option that corrects it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

import numpy as np

from segloss.foundation.ignore_index import IgnoreIndex, check_ignore_index, values_of
from segloss.tools.suggest.classes import (
    Classes,
    check_1_is_free,
    class_text,
    find_classes,
    find_colours,
)
from segloss.tools.suggest.folders import find_masks
from segloss.tools.suggest.meaning import (
    Void,
    far_void,
    find_blur,
    find_border,
    find_objects,
    find_void,
    given_void,
)
from segloss.tools.suggest.pixels.colours import any_colour, colour_text, number_text
from segloss.tools.suggest.pixels.mask import HALF, Mask, Reading
from segloss.tools.suggest.pixels.palettes import KNOWN, Palette, known_palette, palette_of
from segloss.tools.suggest.sources import Collection
from segloss.tools.suggest.statistics import VOID, DatasetStatistics

NONE = "none"
"""The value of `ignore_index` that leaves nothing out, and keeps 255 and borders as classes."""


_MANY_COLOURS = 100
"""Above this number, colours may number objects."""


class Count(Protocol):
    """A function that counts masks."""

    def __call__(
        self,
        masks: Collection,
        ignore_index: IgnoreIndex,
        *,
        convert: Callable[[Mask], Mask] | None = None,
    ) -> DatasetStatistics:
        """Counts masks; see `streaming.count_masks`."""


@dataclass
class Interpretation:
    """Masks with their counts, on the way to classes.

    Attributes:
        masks: The masks.
        statistics: Their counts.
        ignored: The numbers that the user leaves out; None: unknown; empty: none.
        count: The function that counts masks.
        values: The meaning that the user states, or "auto".
        colours: True if the user gave colours.
        palette: The colours that the user gave; None: those in the masks.
    """

    masks: Collection
    statistics: DatasetStatistics
    ignored: IgnoreIndex
    count: Count
    values: str
    colours: bool
    palette: Palette | None

    def classes(self) -> Classes:
        """Returns the classes, after the last count."""
        guesses = list(self.masks.guesses)
        if self.statistics.one_hot:
            guesses.append(
                f"{self.statistics.one_hot:,} files are one-hot, an axis of 0 and 1 for the "
                "classes, whose argmax is the label; for volumes, set --layout labels"
            )
        classes = self._classes(guesses)
        return replace(classes, guesses=tuple(guesses))

    def _classes(self, guesses: list[str]) -> Classes:
        if self.masks.by_class:
            void = given_void(self.statistics, self.ignored)
            names = self.masks.class_names
            return find_classes(self.statistics, void, by_class=True, names=names)
        if self.colours or any_colour(self.statistics.classes):
            return self._coloured(guesses)
        self._check_palettes()
        kind, reason = self._kind(guesses)
        if kind == "labels":
            return self._labels(guesses)
        void = self._recounted_as(kind)
        return find_classes(
            self.statistics, void, by_class=False, names=None, kind=kind, reason=reason
        )

    def _kind(self, guesses: list[str]) -> tuple[str, str]:
        """Returns the kind of the masks, and the evidence for it."""
        if self.values == "soft":
            return "soft", f"masks are grey, and numbers above {HALF} of 255 are the foreground"
        if self.values == "objects":
            return "objects", "all numbers above 0 are the foreground, and must become 1"
        if self.values == "labels":
            return "labels", ""
        if evidence := find_objects(self.statistics):
            guesses.append(
                f"{evidence}; if they are classes, set --values labels, and if not, compute "
                "mask > 0 for the loss"
            )
            return "objects", "masks number objects: all numbers above 0 are the foreground"
        evidence = find_blur(self.statistics)
        if self.statistics.lossy and not evidence and len(self.statistics.classes) > 2:
            raise ValueError(
                f"Masks must not be JPEG, which changes labels, but {self.statistics.lossy:,} of "
                f"{self.statistics.masks:,} are, whatever the endings of their names: export them "
                "again as PNG. If all numbers are labels, set values='labels' (--values labels)."
            )
        if evidence:
            guesses.append(
                f"{evidence}: compute mask > {HALF} for the loss; if the numbers are labels, set "
                "--values labels"
            )
            return "soft", f"masks are black and white with greys between; 1 is above {HALF}"
        return "labels", ""

    def _recounted_as(self, kind: str) -> Void:
        """Counts masks of two classes again, and returns the numbers left out."""
        check_1_is_free(self.ignored, "In masks of two classes")
        ignored = values_of(self.ignored)
        convert = _above_half if kind == "soft" else partial(_any_number, ignored=ignored)
        self._recount(self.ignored or (), convert)
        foreground = self.statistics.classes
        if 1 in foreground and 0 in foreground:
            return given_void(self.statistics, self.ignored)
        found = "foreground" if 1 in foreground else "background"
        raise ValueError(
            f"Masks must hold at least two classes, but all of these hold only {found}: check "
            "that this is the right folder."
        )

    def _labels(self, guesses: list[str]) -> Classes:
        names = self._names(guesses)
        if self.ignored is None:
            void = find_void(self.statistics, names)
            if void.values:
                guesses.append(
                    f"{_listed(void.values)} {'marks' if len(void.values) == 1 else 'mark'} pixels "
                    "to be left out; if not, set --ignore-index none"
                )
            self._leave_out(void)
        else:
            void = given_void(self.statistics, self.ignored)
        classes = find_classes(self.statistics, void, by_class=False, names=None, label_names=names)
        first = min(value for value in self.statistics.classes if value not in void.values)
        if first == 1 and 0 not in void.values:
            guesses.append(
                "labels begin at 1, and 0 stays unused: to save its channel, subtract 1 from the "
                f"masks, and set n_classes to {classes.n_classes - 1}"
            )
        return classes

    def _names(self, guesses: list[str]) -> dict[int, str]:
        """Returns the names of labels, from a file or from a known palette."""
        if self.masks.label_names:
            return self.masks.label_names
        title, names = _named_by_palette(self.statistics)
        if names:
            guesses.append(f"classes have the names of {title}, whose palette the files have")
        return names

    def _coloured(self, guesses: list[str]) -> Classes:
        """Returns the classes of colours; the palette, or the place of black, shows the void."""
        is_coloured = any_colour(self.statistics.classes)
        if self.values == "auto" and not self.colours:
            find_blur(self.statistics)  # an error for colours that JPEG or resizing blended
        known = self.palette or known_palette(sorted(self.statistics.classes))
        if self.ignored is not None:
            void = given_void(self.statistics, self.ignored)
        elif known is not None and (self.palette or {*known.void} & self.statistics.classes.keys()):
            void = Void(known.void)
        else:
            void = find_border(self.statistics, (0, VOID))
            if void.values:
                guesses.append(
                    f"{_listed([number_text(v) for v in void.values])} marks pixels to be left "
                    "out; if it is a class, set --ignore-index none"
                )
            elif not is_coloured and (far := far_void(self.statistics)):
                marks = "is a class; if it marks" if len(far) == 1 else "are classes; if they mark"
                guesses.append(
                    f"{_listed(far)} {marks} pixels to be left out, set "
                    f"{' '.join(f'--ignore-index {value}' for value in far)}"
                )
        if self.ignored is None:
            self._leave_out(void)
        classes = find_colours(self.statistics, void, self.palette)
        if not self.colours:
            _check_not_numbering_objects(self.statistics, classes)
            title = "" if known is None else f", named by the palette {class_text(known.title)}"
            guesses.append(
                f"each of the {classes.n_classes} colours is a class{title}; to set the labels and "
                "names, pass --colours with a palette"
            )
        return classes

    def _leave_out(self, void: Void) -> None:
        """Counts again without the numbers to be left out, unless they were left out."""
        present = tuple(value for value in void.values if value in self.statistics.classes)
        if not present:
            self.statistics.take_void_back()
        elif present != (VOID,):
            self._recount(present, None)

    def _recount(self, ignored: IgnoreIndex, convert: Callable[[Mask], Mask] | None) -> None:
        if isinstance(self.masks.sources, Iterator):
            raise ValueError(
                "These masks must be counted twice, because their numbers are not plain labels, "
                "but an iterator yields them only once: pass a list or a folder, or set values and "
                "ignore_index."
            )
        self.statistics = self.count(self.masks, ignored, convert=convert)

    def _check_palettes(self) -> None:
        """Raises ValueError where indices of palettes are not labels, but colours are."""
        black = [index for index, colours in self.statistics.palette.items() if colours == {0}]
        if len(self.statistics.palette) == 2 and black and black != [0]:
            raise ValueError(
                f"Label 0 must be the background, but in these palettes the index {black[0]} is "
                "black: read the colours in place of the indices, with colours='data' (--colours "
                "data)."
            )
        for index, colours in self.statistics.palette.items():
            if len(colours) > 1:
                one, other = sorted(colours)[:2]
                raise ValueError(
                    f"Palettes must be the same in all files, but the index {index} is "
                    f"{colour_text(one)} in some files and {colour_text(other)} in others: read "
                    "the colours in place of the indices, with colours='data' (--colours data)."
                )


def interpret(
    masks: Any,
    *,
    layout: str,
    ignore_index: int | str | Sequence[int] | None,
    values: str,
    colours: Any,
    only: str | None,
    count: Count,
) -> tuple[Classes, DatasetStatistics]:
    """Reads and counts masks, and returns their classes and statistics.

    The arguments are those of `segloss.suggest`; `count` counts the masks.
    """
    ignored, how = reading_of(ignore_index, values, colours)
    palette = palette_of(colours)
    found = find_masks(masks, layout, ignored, how, only)
    if values in ("soft", "objects") and isinstance(found.sources, Iterator):
        found = replace(found, sources=list(found.sources))
    statistics = count(found, ignored)
    has_colours = colours is not None
    step = Interpretation(found, statistics, ignored, count, values, has_colours, palette)
    return step.classes(), step.statistics


def reading_of(
    ignore_index: int | str | Sequence[int] | None, values: str, colours: Any
) -> tuple[IgnoreIndex, Reading]:
    """Returns the numbers to ignore, and the way to read masks, for the arguments of `suggest`."""
    ignored = () if ignore_index == NONE else check_ignore_index(ignore_index)
    is_mask = values in ("soft", "objects")
    return ignored, Reading(soft=values == "soft", as_colours=colours is not None, is_mask=is_mask)


def _check_not_numbering_objects(statistics: DatasetStatistics, classes: Classes) -> None:
    """Raises ValueError for many colours of which most occur in a single mask."""
    single = sum(counted.masks == 1 for counted in classes.present)
    if (
        classes.n_classes > _MANY_COLOURS
        and single > classes.n_classes / 2
        and statistics.masks > 1
    ):
        raise ValueError(
            f"Each class must have one colour, but of {classes.n_classes} colours {single} are in "
            "a single mask, so they may number objects, as in the panoptic format of COCO: export "
            "masks of classes. If each colour is a class, set colours='data' (--colours data)."
        )


def _above_half(mask: Mask) -> Mask:
    return (mask > HALF).view(np.uint8)


def _any_number(mask: Mask, ignored: Sequence[int]) -> Mask:
    """Returns 1 for all numbers above 0; ignored numbers stay."""
    return np.where(np.isin(mask, ignored), mask, mask != 0)


def _named_by_palette(statistics: DatasetStatistics) -> tuple[str, dict[int, str]]:
    """Returns the known palette whose colours all labels have, and its names by label.

    The colours of Pascal VOC serve other data too, so its names need its last class, or its void.
    """
    labels = {label: colours for label, colours in statistics.palette.items() if label != VOID}
    if len(labels) < 3:
        return "", {}
    for title, palette in KNOWN.items():
        names, numbers = list(palette.classes), list(palette.classes.values())
        fits = all(
            label < len(names) and colours == {numbers[label]} for label, colours in labels.items()
        )
        if fits and (title != "voc" or {len(names) - 1, VOID} & statistics.palette.keys()):
            return title, dict(enumerate(names))
    return "", {}


def _listed(values: Sequence[Any]) -> str:
    return " and ".join(map(str, values))
