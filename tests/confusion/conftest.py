"""The paths of the pass."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import segloss.confusion as confusion


@pytest.fixture
def each_its_path() -> Iterator[None]:
    """Each path where it serves, even if the tests are run with one forced."""
    before = confusion._path
    confusion.use_path("auto")
    yield
    confusion.use_path(before)
