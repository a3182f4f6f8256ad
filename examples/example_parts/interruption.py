"""Ctrl-C, which ends a run at once with one line, wherever it is."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_requested = threading.Event()


@contextmanager
def ended_by_ctrl_c() -> Iterator[None]:
    """Ends the program with a message if it is interrupted in a context.

    Python drops an exception that is raised in a destructor or a callback of C, and ignores Ctrl-C
    in a program that a shell started in the background. So the interruption is also remembered,
    and `check_interruption` raises it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread has signals
        return
    _requested.clear()
    before = signal.signal(signal.SIGINT, _interrupt)
    try:
        yield
    except KeyboardInterrupt:
        raise SystemExit("Interrupted.") from None
    finally:
        signal.signal(signal.SIGINT, before)


def check_interruption() -> None:
    """Raises KeyboardInterrupt if the program was interrupted before."""
    if _requested.is_set():
        raise KeyboardInterrupt


def _interrupt(number: int, frame: FrameType | None) -> None:
    _requested.set()
    raise KeyboardInterrupt
