"""The meaning of the numbers in masks: the classes, and the ignored value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segloss.foundation.ignore_index import IgnoreIndex, values_of
from segloss.foundation.printable import printable
from segloss.tools.suggest.meaning.void import Void
from segloss.tools.suggest.pixels.colours import (
    any_colour,
    colour_text,
    number_text,
    numbers_of_pixels,
)
from segloss.tools.suggest.pixels.mask import HALF
from segloss.tools.suggest.pixels.palettes import Palette, known_palette
from segloss.tools.suggest.statistics import ClassStatistics, DatasetStatistics

_CHECKED_FROM = 16
"""Above this number of labels, at least half of them must occur."""


_MOST_LISTED = 40
"""The largest number of labels in the code of a message."""

_LONGEST_NAME = 60
"""Characters of the name of a class that are shown."""


def class_text(name: str) -> str:
    """Returns the name of a class or mask for texts, in one line, cut if it is long."""
    return printable(name, _LONGEST_NAME)


@dataclass(frozen=True)
class Classes:
    """The interpretation of the masks by a loss.

    Attributes:
        n_classes: The loss's `n_classes`: 2 for sigmoid, with any number of channels.
        channels: The number of channels that the network must predict.
        sigmoid: True if channels are independent: two classes, or one file per class.
        ignore_index: The values of pixels to be left out; None: there are none.
        foreground: In masks of 0 and one other number, that number; the loss must get 1 instead.
            None for other masks.
        statistics: The counts of each class, in the order of labels or channels; None for a label
            that never occurs.
        names: The names of the classes, as they are; `class_text` makes them safe to show.
        reason: The evidence for this interpretation, in a sentence.
        kind: "labels"; "soft": numbers above `HALF` are the foreground; "objects": all numbers
            above 0 are; "colours": each number is a colour.
        values: The number of each label in the masks; empty with one file per class.
        void: The numbers in the masks of pixels to be left out.
        guesses: Sentences about what the masks leave open, each with the way to correct it.
    """

    n_classes: int
    channels: int
    sigmoid: bool
    ignore_index: IgnoreIndex
    foreground: int | None
    statistics: Sequence[ClassStatistics | None]
    names: Sequence[str]
    reason: str
    kind: str = "labels"
    values: Sequence[int] = ()
    void: tuple[int, ...] = ()
    guesses: tuple[str, ...] = ()

    @property
    def present(self) -> list[ClassStatistics]:
        """The classes that occur."""
        return [counted for counted in self.statistics if counted is not None]

    @property
    def unused(self) -> list[int]:
        """The labels that never occur."""
        return [i for i, counted in enumerate(self.statistics) if counted is None]

    @property
    def colours(self) -> list[str]:
        """The colours of the classes in the masks, such as #ff0000; empty for other masks."""
        return [colour_text(value) for value in self.values] if any_colour(self.values) else []

    def ignored(self, mask: NDArray[Any]) -> NDArray[np.bool_]:
        """Returns the pixels of a mask that are left out."""
        return np.isin(mask, self.void)

    def labels(self, mask: NDArray[Any]) -> NDArray[Any]:
        """Returns a mask for the loss: its labels are 0, 1, 2 ...

        Args:
            mask: A mask as it is in its file; colours are (*spatial, 3 or 4), or numbers (see
                `pixels.colours`).
        """
        if self.kind == "soft":
            return (mask > HALF).astype(np.uint8)
        if self.kind == "colours":
            return self._labels_of_colours(mask)
        if self.kind == "objects":
            return self._of_two(mask, mask != 0)
        if self.foreground in (None, 1):
            return mask
        return self._of_two(mask, mask == self.foreground)

    def _of_two(self, mask: NDArray[Any], foreground: NDArray[np.bool_]) -> NDArray[Any]:
        """Returns 0 and 1, and in pixels to be left out their number, or the loss's."""
        kept = self.void == values_of(self.ignore_index)
        left_out = mask if kept else np.array(self.ignore_index, np.uint8)
        return np.where(self.ignored(mask), left_out, foreground)

    def _labels_of_colours(self, mask: NDArray[Any]) -> NDArray[Any]:
        if mask.ndim == 3 and mask.shape[-1] in (3, 4) and mask.dtype == np.uint8:
            mask = numbers_of_pixels(mask)
        values = np.array(self.values)
        order = np.argsort(values)
        place = np.searchsorted(values[order], mask).clip(0, len(values) - 1)
        labels: NDArray[Any] = np.where(values[order][place] == mask, order[place], 0)
        for value in values_of(self.ignore_index):  # one at most
            labels[self.ignored(mask)] = value
        return labels


def find_classes(
    statistics: DatasetStatistics,
    void: Void,
    *,
    by_class: bool,
    names: Sequence[str] | None,
    kind: str = "labels",
    reason: str = "",
    label_names: Mapping[int, str] | None = None,
) -> Classes:
    """Returns the classes, from the counts.

    Args:
        statistics: The counts in all masks; for kinds "soft" and "objects", those of 0 and 1.
        void: The numbers to leave out.
        by_class: True if there is one file, or channel, per class.
        names: The names of the classes; None: unknown.
        kind: The kind of the masks: "labels", "soft" or "objects".
        reason: The evidence for the kind.
        label_names: The names of labels that are known.

    Raises:
        ValueError: There is only one class, or labels have gaps that can't be intended.
    """
    if by_class:
        return _channels(statistics, void.ignore_index, names)
    labels = [value for value in sorted(statistics.classes) if value not in void.values]
    label_names = label_names or {}
    _check_labels(labels, void, label_names)
    if labels[0] == 0 and len(labels) == 2:
        return _two_classes(statistics, labels[1], void, kind, reason, label_names)
    return _many_classes(statistics, labels, void, label_names)


def _two_classes(
    statistics: DatasetStatistics,
    foreground: int,
    void: Void,
    kind: str,
    reason: str,
    names: Mapping[int, str],
) -> Classes:
    conversion = "" if foreground == 1 else f": {foreground} is the foreground, and must become 1"
    counted = statistics.classes
    is_free = 1 not in void.values  # or the foreground, which becomes 1, would be left out
    moved = "" if is_free else f"; {_listed(void.values)} must become {_void_label(2)}"
    return Classes(
        n_classes=2,
        channels=1,
        sigmoid=True,
        ignore_index=void.ignore_index if is_free else _void_label(2),
        foreground=foreground,
        statistics=[counted[0], counted[foreground]],
        names=[names.get(0, "background"), names.get(foreground, "foreground")],
        reason=(reason or f"masks hold 0 and {foreground}{conversion}") + moved + _after(void),
        kind=kind,
        values=[0, foreground],
        void=void.values,
    )


def _many_classes(
    statistics: DatasetStatistics, labels: list[int], void: Void, names: Mapping[int, str]
) -> Classes:
    count = labels[-1] + 1
    missing = [label for label in range(count) if label not in labels]
    gaps = (
        f"; {_listed(missing)} never {'occur' if len(missing) > 1 else 'occurs'}" if missing else ""
    )
    counted = statistics.classes
    return Classes(
        n_classes=count,
        channels=count,
        sigmoid=False,
        ignore_index=void.ignore_index,
        foreground=None,
        statistics=[counted[label] if label in labels else None for label in range(count)],
        names=[names.get(label, f"class {label}") for label in range(count)],
        reason=f"masks hold the labels {_listed(labels)}{gaps}{_after(void)}",
        values=list(range(count)),
        void=void.values,
    )


def find_colours(
    statistics: DatasetStatistics, void: Void, palette: Palette | None = None
) -> Classes:
    """Returns the classes of colour-coded masks.

    Args:
        statistics: The counts of the numbers of colours.
        void: The numbers of the colours to leave out.
        palette: The palette; None: the colours that occur are the classes, in the order of a known
            palette that holds them all, or of their numbers.

    Raises:
        ValueError: There are colours that the palette lacks, or a single one.
    """
    present = [value for value in sorted(statistics.classes) if value not in void.values]
    known = palette or known_palette(sorted(statistics.classes))
    if known is None:
        named = dict(zip(_texts(present, black="background"), present, strict=True))
    else:
        _check_colours(statistics, present, known)
        named = {
            name: value
            for name, value in known.classes.items()
            if value not in void.values and (palette is not None or value in present)
        }
    _check_several(present, void.ignore_index)
    values = list(named.values())
    two = len(values) == 2
    counted = statistics.classes
    return Classes(
        n_classes=len(values),
        channels=1 if two else len(values),
        sigmoid=two,
        ignore_index=_void_label(len(values)) if void.values else None,
        foreground=values[1] if two else None,
        statistics=[counted.get(value) for value in values],
        names=list(named),
        reason=_colours_reason(named, void, known),
        kind="colours",
        values=values,
        void=void.values,
    )


def _colours_reason(named: Mapping[str, int], void: Void, palette: Palette | None) -> str:
    """Returns the label of each colour, and that of the colours to be left out."""
    texts = _texts([*named.values(), *void.values])
    pairs = [
        f"{text} is {label}" + ("" if palette is None else f" ({class_text(name)})")
        for label, (text, name) in enumerate(zip(texts, named, strict=False))
    ]
    source = "" if palette is None else f" of the palette {class_text(palette.title)}"
    colours = ", ".join(texts[len(named) :])
    left_out = f"; {colours} must become {_void_label(len(named))}" if void.values else ""
    held = "colours" if palette or any_colour(named.values()) else "numbers"
    return f"masks hold {held}{source}: {', '.join(pairs)}{left_out}{_after(void)}"


def _void_label(n_classes: int) -> int:
    return 255 if n_classes <= 255 else 65535


def _texts(values: Sequence[int], black: str = "") -> list[str]:
    """Returns each number as a colour, or as it is if all are grey; 0 as `black`, if given."""
    text = colour_text if any_colour(values) else str
    return [black if black and value == 0 else text(value) for value in values]


def _check_colours(statistics: DatasetStatistics, present: Sequence[int], palette: Palette) -> None:
    unknown = [value for value in present if value not in palette.numbers.values()]
    if unknown:
        share = sum(statistics.classes[value].pixels for value in unknown) / statistics.pixels
        raise ValueError(
            f"All colours must be in the palette {class_text(palette.title)}, but "
            f"{_some([colour_text(value) for value in unknown])} are not, with {share:.2%} of the "
            "pixels: add them to the palette (a line such as car,64,0,128 for each class), or, if "
            "JPEG or resizing blended colours, export the masks again as PNG."
        )


def _after(void: Void) -> str:
    return f"; {void.evidence}" if void.evidence else ""


def _channels(
    statistics: DatasetStatistics, ignore_index: IgnoreIndex, names: Sequence[str] | None
) -> Classes:
    check_1_is_free(ignore_index, "With one file per class")
    count = len(names) if names else max(statistics.classes, default=0) + 1
    names = names or [f"channel {i}" for i in range(count)]
    empty = [class_text(name) for i, name in enumerate(names) if i not in statistics.classes]
    if empty:
        raise ValueError(
            f"Every class must occur, but the masks of {_some(empty)} are all 0: leave out "
            "classes that never occur."
        )
    return Classes(
        n_classes=2,
        channels=count,
        sigmoid=True,
        ignore_index=ignore_index,
        foreground=None,
        statistics=[statistics.classes[i] for i in range(count)],
        names=names,
        void=values_of(ignore_index),
        reason=f"one file per class: {count} channels, each with a sigmoid, which may overlap",
    )


def check_1_is_free(ignore_index: IgnoreIndex, where: str) -> None:
    """Raises ValueError if 1 is to be left out, where it is the foreground after reading."""
    if 1 in values_of(ignore_index):
        raise ValueError(
            f"{where}, 1 is the foreground, and can't mark pixels to leave out: change these "
            "pixels to 255 in the files, and set ignore_index=255 (--ignore-index 255)."
        )


def _check_labels(labels: list[int], void: Void, names: Mapping[int, str]) -> None:
    _check_several(labels, void.ignore_index)
    if labels[-1] in names:
        return
    count = labels[-1] + 1
    if len(labels) > 2 and count > _CHECKED_FROM and count > 2 * len(labels):
        ignored = "".join(f" --ignore-index {value}" for value in void.values)
        code = f", or renumber them, for example with {_renumbering(labels, void)}"
        raise ValueError(
            f"Labels must be 0, 1, 2 ..., but most of those up to {labels[-1]} are missing: masks "
            f"hold {_listed(labels)}{_after(void)}. Have them numbered in this order by "
            f"colours='data' (--colours data{ignored}), which shows the new numbers"
            f"{code if len(labels) <= _MOST_LISTED else ''}."
        )


def _renumbering(labels: Sequence[int], void: Void) -> str:
    """Returns the code that numbers labels 0, 1, 2 ..., and keeps pixels to be left out apart."""
    code = f"numpy.searchsorted({[*labels]}, mask)"
    if not void.values:
        return code
    return f"numpy.where(numpy.isin(mask, {[*void.values]}), {_void_label(len(labels))}, {code})"


def _check_several(labels: Sequence[int], ignore_index: IgnoreIndex) -> None:
    if len(labels) >= 2:
        return
    found = f"only {number_text(labels[0])}" if labels else "no label"
    values = " and ".join(map(str, values_of(ignore_index)))
    besides = f" besides the ignore value {values}" if values else ""
    raise ValueError(
        f"Masks must hold at least two classes, but all of these hold {found}{besides}: check "
        "that this is the right folder, and that the export did not lose the labels."
    )


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 12} more" if len(names) > 12 else ""
    return ", ".join(names[:12]) + more


def _listed(labels: Sequence[int]) -> str:
    if len(labels) > 3 and labels[-1] - labels[0] == len(labels) - 1:
        return f"{labels[0]} to {labels[-1]}"
    shown = ", ".join(map(str, labels[:8]))
    return f"{shown} ... {labels[-1]}" if len(labels) > 8 else shown
