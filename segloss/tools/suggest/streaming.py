"""Counts masks one by one in several workers; each holds one mask in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from segloss.foundation.ignore_index import IgnoreIndex
from segloss.foundation.printable import printable
from segloss.tools.bar import with_bar
from segloss.tools.listed import ListedError
from segloss.tools.suggest.pixels.mask import ImageError, Mask
from segloss.tools.suggest.sources import Collection, Source
from segloss.tools.suggest.statistics import DatasetStatistics, count_mask

Item = TypeVar("Item")
Result = TypeVar("Result")

_SHOWN = 20
"""The largest number of unusable masks in a message."""

_LONGEST = 500
"""Characters of a name or of an error in a message."""

_IMAGES = (
    " If these are images, pass the folder of the masks, or, if both are in one folder, a pattern "
    "of their names, such as only='*mask*' (--only '*mask*'). If they are masks that JPEG or "
    "resizing blurred, export them again as PNG, and resize them with mask.resize(size, "
    "Image.NEAREST)."
)
"""The remedy for files that are images."""


def count_masks(
    masks: Collection,
    ignore_index: IgnoreIndex,
    *,
    workers: int,
    progress: bool,
    convert: Callable[[Mask], Mask] | None = None,
) -> DatasetStatistics:
    """Returns the statistics of all masks; one error lists all unusable masks.

    Args:
        masks: The masks.
        ignore_index: The values to leave out; None: unknown.
        workers: The number of masks read at the same time.
        progress: True shows a progress bar.
        convert: A function that changes each mask before it is counted; None: none does.

    Raises:
        ValueError: Masks can't be used, or there are no masks.
    """
    images: list[str] = []

    def counted(source: Source) -> DatasetStatistics | str:
        try:
            loaded = source.load()
            mask = loaded.mask if convert is None else convert(loaded.mask)
            found = count_mask(mask, source.name, ignore_index, by_class=masks.by_class)
        except (OSError, ValueError) as error:
            if isinstance(error, ImageError):
                images.append(source.name)
            return f"{printable(source.name, _LONGEST)}: {printable(error, _LONGEST)}"
        found.one_hot = int(loaded.one_hot)
        found.lossy = int(loaded.lossy)
        found.palette = {index: {colour} for index, colour in loaded.palette.items()}
        return found

    statistics, problems = DatasetStatistics(), []
    results = in_order(counted, masks.sources, workers)
    for result in with_bar(results, "reading masks", masks.count) if progress else results:
        if isinstance(result, str):
            problems.append(result)
        else:
            statistics.add(result)
    _check_usable(statistics, problems, _IMAGES if images else "")
    return statistics


def in_order(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int
) -> Iterator[Result]:
    """Yields the results of a function in order, with few items in memory.

    The workers are threads, because decoding and labelling of masks release Python's lock.
    """
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[Result]] = deque()
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _check_usable(statistics: DatasetStatistics, problems: list[str], remedy: str) -> None:
    if not problems:
        if not statistics.masks:
            raise ValueError("masks must hold at least one mask, but holds none.")
        return
    count = statistics.masks + len(problems)
    if count == 1:
        raise ValueError(f"The mask can't be used: {problems[0]}.{remedy}")
    found = f"{len(problems)} of {count} masks can't be used:"
    if len(problems) == 1:
        raise ValueError(f"{found} {problems[0]}.{remedy}")
    more = [f"... and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
    listed = "\n  ".join([found, *problems[:_SHOWN], *more])
    raise ListedError(f"{listed}\n{remedy.strip()}".rstrip())
