"""Marks of tests that need a newer release than the oldest that is allowed."""

from __future__ import annotations

from importlib.metadata import version

import pytest

MONAI_1_5 = version("monai").startswith("1.5.")

needs_monai_1_6 = pytest.mark.skipif(MONAI_1_5, reason="losses of MONAI 1.6")
