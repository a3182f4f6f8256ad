"""The memory that a large mask needs, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[3]
SIDE = 4000
PIXELS = SIDE * SIDE


def measured(folder: Path) -> float:
    """The peak memory of a suggestion beyond that after the imports, in bytes for each pixel."""
    done = subprocess.run(  # noqa: S603
        [sys.executable, str(ROOT / "benchmarks" / "suggest.py"), "--measure", str(folder), "1"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads(done.stdout)
    assert result["largest"] == PIXELS
    return 2**20 * result["megabytes"] / PIXELS


@pytest.fixture(scope="module")
def mask() -> np.ndarray:
    generator = np.random.default_rng(0)
    coarse = generator.integers(0, 3, (SIDE // 20, SIDE // 20), dtype=np.uint8)
    return np.repeat(np.repeat(coarse, 20, 0), 20, 1)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(("name", "most"), [("mask.png", 5), ("grey as colour.png", 12)])
def test_a_large_mask_needs_little_more_than_its_pixels(
    name: str, most: float, mask: np.ndarray, tmp_path: Path
) -> None:
    """It needed 20 bytes for each pixel; 5 are those of two copies, and of a tile."""
    pixels = np.stack([mask] * 3, -1) if "colour" in name else mask
    Image.fromarray(pixels).save(tmp_path / name, compress_level=1)
    assert measured(tmp_path) < most
