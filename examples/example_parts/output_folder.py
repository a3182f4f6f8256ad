"""The folder for the results of a run, which only one run at a time may write."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

LOCK = ".lock"
"""The file that a run locks. The system unlocks it when the process ends, however it ends."""

RESULTS = ("*.pt", "*.ckpt", "metrics.*")
"""The files that show that a run has been here."""


class FolderInUseError(OSError):
    """Another run writes into the folder."""


def has_results(path: Path) -> bool:
    """Returns whether a folder holds the results of a run, finished or not."""
    return any(file for pattern in RESULTS for file in path.glob(pattern))


@contextmanager
def output_folder(path: Path) -> Iterator[OutputFolder]:
    """Offers a folder in a context, and frees it at the end."""
    folder = OutputFolder(path)
    try:
        yield folder
    finally:
        folder.free()


class OutputFolder:
    """A folder for results: nothing is written until it is taken.

    With several processes, the first one takes it for all.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: IO[bytes] | None = None

    def take(self) -> None:
        """Creates the folder, and keeps it from other runs.

        Raises:
            FolderInUseError: Another run has it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        if self._lock is not None or not is_first_process():
            return
        lock = (self.path / LOCK).open("ab")
        try:
            _lock(lock)
        except OSError:
            lock.close()
            raise FolderInUseError(
                f"Another run writes into {str(self.path)!r}. Wait until it ends, or choose "
                "another folder with --output."
            ) from None
        self._lock = lock

    def free(self) -> None:
        """Lets other runs have the folder."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def is_first_process() -> bool:
    """Returns whether torchrun or Lightning started this process as the first, or not at all."""
    rank = os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0"))
    return rank == "0"


def _lock(file: IO[bytes]) -> None:
    """Locks a file.

    Raises:
        OSError: Another run has locked it.
    """
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
