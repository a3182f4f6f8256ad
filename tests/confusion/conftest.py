"""The paths of the pass."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import segloss.confusion as confusion


@pytest.fixture(params=["auto", "chunks"])
def each_its_path(request) -> Iterator[None]:
    """Each path where it serves, whatever is forced, with machine code and without."""
    before = confusion.current_path()
    confusion.use_path(request.param)
    yield
    confusion.use_path(before)
