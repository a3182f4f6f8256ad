"""Measures `segloss suggest` on large masks and on many small ones: seconds and peak memory.

    pip install -e ".[bench,suggest]" && python benchmarks/suggest.py

Each row is a process of its own. The seconds are those of all threads. "Beyond the start" is the
peak memory beyond that after the imports and a first small mask; it includes the decoded picture.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from PIL import Image
from rich import box
from rich.console import Console
from rich.table import Table

from segloss import suggest

SIDE = 64
"""The side of a small mask."""


def main(
    side: Annotated[int, typer.Option(help="The side of the large mask.")] = 8000,
    count: Annotated[int, typer.Option(help="The number of small masks.")] = 100_000,
    workers: Annotated[int, typer.Option(help="The number of masks to read at a time.")] = 2,
    only: Annotated[str, typer.Option(help="The rows to measure, separated by commas.")] = "all",
) -> None:
    """Measures each row in a process of its own, and prints a table."""
    table = Table(
        "masks", "CPU seconds", "MB beyond the start", "bytes per pixel", box=box.SIMPLE_HEAD
    )
    for name, (title, write) in ROWS.items():
        if only != "all" and name not in only.split(","):
            continue
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder), side, count)
            command = [sys.executable, __file__, "--measure", folder, str(workers)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
        result = json.loads(done.stdout)
        title = title.format(side=f"{side:,} x {side:,}", count=f"{count:,}", small=SIDE)
        per_pixel = 2**20 * result["megabytes"] / result["largest"]
        cells = (f"{result['seconds']:.1f}", f"{result['megabytes']:.0f}", f"{per_pixel:.1f}")
        table.add_row(title, *cells[:2], "" if name == "small" else cells[2])
    Console().print(table)


def measure(folder: str, workers: int) -> None:
    """Prints the seconds and the megabytes of a suggestion for a folder, as JSON."""
    suggest([label_map(SIDE, 3, 0)])
    before, start = memory("VmRSS"), time.process_time()
    found = suggest(Path(folder), workers=workers)
    seconds = time.process_time() - start
    megabytes = (memory("VmHWM") - before) / 2**20
    largest = found.statistics.pixels // found.statistics.masks
    print(json.dumps({"seconds": seconds, "megabytes": megabytes, "largest": largest}))


def memory(field: str) -> int:
    """Returns a field of this process's status in bytes, such as VmHWM, its peak."""
    status = Path("/proc/self/status").read_text()
    [kilobytes] = re.findall(rf"^{field}:\s+(\d+) kB", status, re.MULTILINE)
    return 1024 * int(kilobytes)


def label_map(side: int, classes: int, seed: int) -> NDArray[np.uint8]:
    """Returns a mask with blobs of about 32 pixels, and a few single pixels."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, classes, (-(-side // 32),) * 2, dtype=np.uint8)
    mask = np.repeat(np.repeat(coarse, 32, 0), 32, 1)[:side, :side]
    rows, columns = generator.integers(0, side, (2, side))
    mask[rows, columns] = generator.integers(0, classes, side, dtype=np.uint8)
    return mask


def write_large(folder: Path, side: int, _count: int) -> None:
    """Writes one large PNG."""
    Image.fromarray(label_map(side, 5, 0)).save(folder / "large.png", compress_level=1)


def write_large_tiff(folder: Path, side: int, _count: int) -> None:
    """Writes one large TIFF."""
    import tifffile

    tifffile.imwrite(folder / "large.tif", label_map(side, 5, 0), compression="zlib")


def write_large_classes(folder: Path, side: int, _count: int) -> None:
    """Writes a large PNG for each of two classes."""
    mask = label_map(side, 3, 0)
    for value in (1, 2):
        (folder / f"class {value}").mkdir()
        image = Image.fromarray((mask == value).astype(np.uint8))
        image.save(folder / f"class {value}" / "large.png", compress_level=1)


def write_small(folder: Path, _side: int, count: int) -> None:
    """Writes many small PNGs, in subfolders of a thousand."""
    for number in range(count):
        subfolder = folder / f"{number // 1000:03}"
        subfolder.mkdir(exist_ok=True)
        image = Image.fromarray(label_map(SIDE, 3, number))
        image.save(subfolder / f"{number:06}.png", compress_level=1)


ROWS: dict[str, tuple[str, Callable[[Path, int, int], None]]] = {
    "png": ("a PNG, {side}", write_large),
    "tiff": ("a TIFF, {side}", write_large_tiff),
    "classes": ("a PNG for each of two classes, {side}", write_large_classes),
    "small": ("{count} PNGs, {small} x {small}", write_small),
}
"""The title of each row, and the function that writes its masks."""


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        measure(sys.argv[2], int(sys.argv[3]))
    else:
        typer.run(main)
