"""Both Lightning packages, one after the other."""

from __future__ import annotations

import warnings
from importlib import import_module
from types import ModuleType

import pytest


@pytest.fixture(params=["lightning.pytorch", "pytorch_lightning"])
def package(request: pytest.FixtureRequest) -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return import_module(request.param)
