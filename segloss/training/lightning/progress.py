"""A progress bar in addition to Lightning's own, of the same kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Advance = Callable[[int], Any]
"""A function that advances a progress bar by a number of samples."""


@contextmanager
def progress(trainer: Any, description: str, total: int) -> Iterator[Advance]:
    """Shows progress on the first rank, if the Trainer shows its own.

    Args:
        trainer: The Trainer.
        description: The text beside the bar.
        total: The number of samples at the end.

    Yields:
        The function that advances the bar.
    """
    bar = trainer.progress_bar_callback
    if not trainer.is_global_zero or bar is None or not getattr(bar, "is_enabled", True):
        yield lambda _: None
    elif any(kind.__name__ == "RichProgressBar" for kind in type(bar).__mro__):
        with _rich(description, total) as advance:
            yield advance
    else:
        with _tqdm(description, total) as advance:
            yield advance


@contextmanager
def _tqdm(description: str, total: int) -> Iterator[Advance]:
    from tqdm.auto import tqdm

    with tqdm(desc=description, total=total, unit="sample", leave=False) as bar:
        yield bar.update


@contextmanager
def _rich(description: str, total: int) -> Iterator[Advance]:
    """Shows rich's bar, or none if rich is an older version and already shows another display."""
    from rich.errors import LiveError
    from rich.progress import Progress

    bar = Progress(transient=True)
    try:
        bar.start()
    except LiveError:
        yield lambda _: None
        return
    task = bar.add_task(description, total=total)
    try:
        yield lambda samples: bar.advance(task, samples)
    finally:
        bar.stop()
