"""State of a call that can't be passed, because the code in between is a user's: one per thread."""

from __future__ import annotations

import threading
from typing import Any


class ThreadInfo(threading.local):
    """A dictionary of which every thread has its own, empty at first. A copy starts empty.

    Attributes:
        values: The dictionary of the current thread.
    """

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def __deepcopy__(self, memo: Any) -> ThreadInfo:
        return ThreadInfo()

    def __reduce__(self) -> tuple[type[ThreadInfo], tuple[()]]:
        return ThreadInfo, ()
