"""The paths of the pass."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import segloss.confusion as confusion


@pytest.fixture(params=["auto", "chunks"])
def each_its_path(request) -> Iterator[None]:
    """Each path where it serves, even if the tests are run with one forced; with machine code or not."""
    before = confusion.current_path()
    confusion.use_path(request.param)
    yield
    confusion.use_path(before)
