"""Sources of masks: one for each mask of a folder, a list of files, or arrays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from segloss.foundation.arguments import shown
from segloss.foundation.ignore_index import IgnoreIndex, values_of
from segloss.tools.suggest.files import Content, read_file
from segloss.tools.suggest.pixels.mask import HALF, Loaded, Mask, Reading, content_of, load_mask
from segloss.tools.suggest.tiles import longest_first, numbers_of, tiles

LAYOUTS = ("auto", "labels", "classes")

Part = Any
"""A file, an array, or a function without arguments that returns an array; None: all 0."""


@dataclass(frozen=True, eq=False)
class Source:
    """One mask, before it is read. It equals only itself.

    Attributes:
        name: The name for messages.
        parts: A file or array; with one file per class, one for each class.
        by_class: True if there is one file, or channel, per class.
        ignore_index: The ignored values. They may be below 0, and occur in a mask of one class.
        how: The way to read it.
    """

    name: str
    parts: Sequence[Part]
    by_class: bool
    ignore_index: IgnoreIndex
    how: Reading = field(default_factory=Reading)

    def read(self) -> Mask:
        """Reads the mask, (*spatial), or (classes, *spatial) of 0 and 1 with one file per class.

        Raises:
            OSError, ValueError: A part can't be read, or is not a mask.
        """
        return self.load().mask

    def load(self) -> Loaded:
        """Reads the mask, with findings about it; otherwise as `read`."""
        how = replace(self.how, least=min([0, *values_of(self.ignore_index)]))
        if not self.by_class:
            return load_mask(_content_of(self.parts[0]), how)
        channels = [
            None if part is None else self._channel(load_mask(_content_of(part), how).mask)
            for part in self._channels()
        ]
        return Loaded(_stacked(channels))

    def _channels(self) -> Sequence[Part]:
        """Returns the parts; of a single file of channels, these."""
        if len(self.parts) > 1 or not isinstance(self.parts[0], (str, Path)):
            return self.parts
        array = _content_of(self.parts[0]).array
        if array.ndim < 3:
            raise ValueError(
                f"with layout 'classes', it must be (classes, *spatial), but is {array.shape}"
            )
        last = array.shape[-1] < array.shape[0]
        return list(np.moveaxis(array, -1, 0) if last else array)

    def _channel(self, mask: Mask) -> Mask:
        if self.how.soft:
            return (mask > HALF).view(np.uint8)
        return _one_class(mask, self.ignore_index)


@dataclass(frozen=True)
class Collection:
    """The masks of a dataset.

    Attributes:
        sources: The masks; a list, or an iterator for one iteration.
        count: The number of masks; None: unknown.
        class_names: The names of the classes; None: unknown.
        by_class: True if there is one file, or channel, per class.
        guesses: Sentences about choices that files leave open, each with the way to correct it.
        label_names: The names of labels, from a file beside the masks, or from annotations.
    """

    sources: Iterable[Source]
    count: int | None
    class_names: Sequence[str] | None
    by_class: bool
    guesses: Sequence[str] = ()
    label_names: dict[int, str] = field(default_factory=dict)


def sources_of(masks: Any, layout: str, ignore_index: IgnoreIndex, how: Reading) -> Collection:
    """Returns the masks in a list of files, or in arrays.

    Raises:
        TypeError: `masks` is something else.
        ValueError: There are none.
    """
    if not isinstance(masks, Iterable):
        raise TypeError(
            f"masks must be a folder, a list of files, or arrays, got {shown(masks)}: pass the "
            "path of the folder, or the masks one by one: (mask for image, mask in dataset)."
        )
    by_class = layout == "classes"
    count = len(masks) if isinstance(masks, Sized) else None
    if count == 0:
        raise ValueError("masks must hold at least one mask, but is empty.")
    found = _Sources(masks, by_class, ignore_index, how)
    sources = iter(found) if iter(masks) is masks else found
    return Collection(sources, count, None, by_class, guesses=_guesses(masks))


def _guesses(masks: Iterable[Any]) -> list[str]:
    if getattr(masks, "ndim", None) != 2:
        return []
    return [f"the array holds {len(masks)} masks of one dimension; if it is one mask, pass [mask]"]  # type: ignore[arg-type]


@dataclass(frozen=True)
class _Sources:
    """The sources of masks, made anew for each iteration."""

    masks: Iterable[Any]
    by_class: bool
    ignore_index: IgnoreIndex
    how: Reading

    def __iter__(self) -> Iterator[Source]:
        for number, mask in enumerate(self.masks):
            is_path = isinstance(mask, (str, Path))
            if self.by_class and is_path:
                raise ValueError(
                    "layout='classes' takes a folder with a subfolder for each class, or arrays "
                    "(classes, *spatial), but got a list of files."
                )
            name = str(mask) if is_path else f"mask {number}"
            parts = list(mask) if self.by_class else [mask]
            yield Source(name, parts, self.by_class, self.ignore_index, self.how)


def _content_of(part: Part) -> Content:
    if isinstance(part, (str, Path)):
        return read_file(Path(part))
    return Content(part(), colour=False) if callable(part) else content_of(part)


def _stacked(channels: Sequence[Mask | None]) -> Mask:
    """Returns channels of one shape as one array; None is all 0."""
    found = [channel for channel in channels if channel is not None]
    if len({channel.shape for channel in found}) > 1:
        shapes = ", ".join(str(channel.shape) for channel in found)
        raise ValueError(f"its files must have one shape, but have {shapes}")
    empty = np.zeros_like(found[0])
    return np.stack([empty if channel is None else channel for channel in channels])


def _one_class(mask: Mask, ignore_index: IgnoreIndex) -> Mask:
    """Returns the mask of a class as 0 and 1; ignored values stay."""
    ignored = values_of(ignore_index)
    values = {int(value) for value in numbers_of(longest_first(mask))[0]}.difference(ignored)
    if len(values - {0}) > 1:
        raise ValueError(
            "with one file per class, a file must hold 0 and one other number, but one holds "
            f"{', '.join(map(str, sorted(values)[:8]))}: for masks that JPEG or resizing blurred, "
            "set values='soft' (--values soft)"
        )
    if not ignored:
        ones: Mask = (mask != 0).view(np.uint8)
        return ones
    dtype = np.result_type(*map(np.min_scalar_type, ignored), np.uint8)
    foreground: Mask = np.empty(mask.shape, dtype)
    for lines in tiles(mask):
        part = mask[lines]
        foreground[lines] = np.where(np.isin(part, ignored), part, part != 0)
    return foreground
