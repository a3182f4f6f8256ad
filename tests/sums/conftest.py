"""The kernels that can be chosen on this machine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import segloss
from tests.support.kernels import BACKENDS


@pytest.fixture(params=BACKENDS)
def each_backend(request) -> Iterator[str]:
    """Each kernel in turn, wherever it serves, whatever is forced."""
    with segloss.use_backend(request.param):
        yield request.param
