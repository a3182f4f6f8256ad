"""Per-thread state of a call, for what can't be passed because a user's code is in between."""

from __future__ import annotations

import threading
from typing import Any


class ThreadInfo(threading.local):
    """A dictionary with contents of its own in every thread, empty at first. A copy starts empty.

    Attributes:
        values: The dictionary of the current thread.
    """

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def __deepcopy__(self, memo: Any) -> ThreadInfo:
        return ThreadInfo()

    def __reduce__(self) -> tuple[type[ThreadInfo], tuple[()]]:
        return ThreadInfo, ()
