"""Marks of tests that need a newer release than the oldest that is allowed."""

from __future__ import annotations

from importlib.metadata import version

import pytest

MONAI_1_5 = version("monai").startswith("1.5.")
TORCH_2_4 = version("torch").startswith("2.4.")

needs_monai_1_6 = pytest.mark.skipif(MONAI_1_5, reason="losses of MONAI 1.6")
needs_a_newer_compiler = pytest.mark.skipif(
    TORCH_2_4, reason="the compiler of PyTorch 2.4 follows no properties of named tuples"
)
