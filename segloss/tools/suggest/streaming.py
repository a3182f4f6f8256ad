"""Counts masks one by one in several workers; each holds one mask in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from segloss.foundation.ignore_index import IgnoreIndex
from segloss.foundation.printable import printable
from segloss.tools.suggest.sources import Collection, Source
from segloss.tools.suggest.statistics import DatasetStatistics, count_mask

Item = TypeVar("Item")
Result = TypeVar("Result")

_SHOWN = 20
"""The largest number of unusable masks in a message."""

_LONGEST = 300
"""Characters of a name or of an error in a message."""


def count_masks(
    masks: Collection, ignore_index: IgnoreIndex, *, workers: int, progress: bool
) -> DatasetStatistics:
    """Returns the statistics of all masks; one error lists all unusable masks.

    Raises:
        ValueError: Masks can't be used, or there are no masks.
    """

    def counted(source: Source) -> DatasetStatistics | str:
        try:
            return count_mask(source.read(), source.name, ignore_index, by_class=masks.by_class)
        except (OSError, ValueError) as error:
            return f"{printable(source.name, _LONGEST)}: {printable(error, _LONGEST)}"

    statistics, problems = DatasetStatistics(), []
    results = in_order(counted, masks.sources, workers)
    for result in _shown(results, masks.count) if progress else results:
        if isinstance(result, str):
            problems.append(result)
        else:
            statistics.add(result)
    _check_usable(statistics, problems)
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


def _shown(results: Iterable[Any], count: int | None) -> Iterator[Any]:
    """Yields the results, with a progress bar on stderr, if it is a terminal."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    if not console.is_terminal:
        yield from results
        return
    yield from track(results, "reading masks", total=count, console=console, transient=True)


def _check_usable(statistics: DatasetStatistics, problems: list[str]) -> None:
    if not problems:
        if not statistics.masks:
            raise ValueError("masks must hold at least one mask, but holds none.")
        return
    count = statistics.masks + len(problems)
    if count == 1:
        raise ValueError(f"The mask can't be used: {problems[0]}.")
    listed = "\n  ".join(problems[:_SHOWN])
    more = f"\n  ... and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
    raise ValueError(f"{len(problems)} of {count} masks can't be used:\n  {listed}{more}")
