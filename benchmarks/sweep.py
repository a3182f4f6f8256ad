"""Times the kernel for GPUs by block size and number of warps, forward and backward.

    python benchmarks/sweep.py              # on a GPU
    TRITON_INTERPRET=1 python benchmarks/sweep.py --dry-run

Prints a table for each workload and dtype, the fastest first. Put the fastest blocks into
`layout.py` of the kernel, with the card and these figures beside them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any
from unittest import mock

import torch
import typer
from harness.contenders import WORKLOADS, Workload
from harness.devices import Cuda, Device, StandIn
from harness.measure_cuda import reason, timed
from rich.console import Console
from rich.progress import track
from rich.table import Table

from segloss.batch.options import PixelOptions
from segloss.batch.pixel_batch import PixelBatch
from segloss.sums.kernels.triton_ops import launch, layout
from segloss.sums.plan import CROSS_ENTROPY, REGION, plan_of

SWEPT = {
    "city19": [layout.Block(pixels, warps) for pixels in (32, 64, 128) for warps in (1, 2, 4, 8)],
    "ade150": [layout.Block(pixels, warps) for pixels in (16, 32, 64) for warps in (2, 4, 8, 16)],
    "binary2d": [
        layout.Block(pixels, warps) for pixels in (512, 1024, 2048) for warps in (2, 4, 8)
    ],
}
PLAN = plan_of([REGION, CROSS_ENTROPY])


def main(
    seconds: Annotated[float, typer.Option(help="Seconds of timing for each figure.")] = 0.1,
    budget: Annotated[
        float, typer.Option(help="Seconds after which no measurement starts.")
    ] = 120.0,
    results: Annotated[Path, typer.Option(help="The file for the raw results.")] = Path(
        "sweep.json"
    ),
    dry_run: Annotated[bool, typer.Option(help="Use tiny batches on the CPU.")] = False,
) -> None:
    """Times all blocks, and prints them by time."""
    device: Device = StandIn() if dry_run else Cuda()
    end = time.monotonic() + budget
    measured: list[dict[str, Any]] = []
    jobs = [
        (name, dtype, block)
        for dtype in (torch.float32, torch.bfloat16)
        for name, blocks in SWEPT.items()
        for block in blocks
    ]
    for name, dtype, block in track(jobs, "sweeping"):
        if time.monotonic() < end:
            workload = tiny(WORKLOADS[name]) if dry_run else WORKLOADS[name]
            measured.append(
                {"workload": name, "dtype": str(dtype).removeprefix("torch."), **block._asdict()}
                | figures(workload, dtype, block, device, seconds)
            )
            results.write_text(json.dumps({"device": device.describe(), "blocks": measured}))
    console = Console(width=100)
    console.print(*device.describe().values(), sep=", ")
    for name, dtype in dict.fromkeys((row["workload"], row["dtype"]) for row in measured):
        rows = [row for row in measured if (row["workload"], row["dtype"]) == (name, dtype)]
        console.print(table(f"{name}, {dtype}", rows))
    if left := len(jobs) - len(measured):
        console.print(f"{left} of {len(jobs)} were not measured: the budget was spent")


def tiny(workload: Workload) -> Workload:
    """Returns the workload with few pixels."""
    return Workload((1, workload.shape[1], 8, 8), workload.classes)


def figures(
    workload: Workload, dtype: torch.dtype, block: layout.Block, device: Device, seconds: float
) -> dict[str, Any]:
    """Returns the milliseconds of the sums and of the gradient, or the reason for their absence."""
    logits, target = workload.batch(dtype, device.where)
    flat = target.flatten(2) if workload.classes == 2 else target.flatten(1)
    activation = "sigmoid" if workload.classes == 2 else "softmax"
    pixels = PixelBatch(
        logits.detach().flatten(2), flat, PixelOptions(workload.classes, activation)
    )
    with blocks_of(block):
        try:
            slopes = torch.ones_like(launch.sums(pixels, PLAN))
            passes = {
                "forward": lambda: launch.sums(pixels, PLAN),
                "backward": lambda: launch.gradient(pixels, PLAN, slopes),
            }
            return {
                name: 1e3 * timed(device, run, 2e-3, seconds)["seconds"]
                for name, run in passes.items()
            }
        except Exception as error:  # too many registers, or too much shared memory
            return {"missing": reason(error)}


@contextmanager
def blocks_of(block: layout.Block) -> Iterator[None]:
    """Makes the kernel use a block for any batch."""
    caches = (layout.cut_channels, layout.cut_classes)
    with (
        mock.patch.object(layout, "block_of_channel", return_value=block),
        mock.patch.object(layout, "block_of_classes", return_value=block),
    ):
        for cache in caches:
            cache.cache_clear()
        yield
    for cache in caches:
        cache.cache_clear()


def table(title: str, measured: list[dict[str, Any]]) -> Table:
    """Returns a table of the figures, the fastest step first."""
    result = Table("pixels", "warps", "forward, ms", "backward, ms", "both, ms", title=title)
    timed_rows = [row for row in measured if "missing" not in row]
    for row in sorted(timed_rows, key=lambda row: row["forward"] + row["backward"]):
        both = row["forward"] + row["backward"]
        times = (f"{value:.4f}" for value in (row["forward"], row["backward"], both))
        result.add_row(str(row["pixels"]), str(row["warps"]), *times)
    for row in measured:
        if "missing" in row:
            result.add_row(str(row["pixels"]), str(row["warps"]), row["missing"], "", "")
    return result


if __name__ == "__main__":
    typer.run(main)
