"""Measures the cost of exact statistics: collectives and bytes in each step, for 1 to 4 ranks.

    pip install -e ".[bench]" && python benchmarks/scaling.py

The ranks are processes on this machine, connected by gloo on loopback.
"""

from __future__ import annotations

import os
import socket
import statistics
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

from segloss import SegLoss

SHAPES = {
    "1 mask, 512 x 512": (2, (1, 512, 512)),
    "19 classes, 64 x 64": (19, (19, 64, 64)),
    "19 classes, 512 x 512": (19, (19, 512, 512)),
    "150 classes, 256 x 256": (150, (150, 256, 256)),
}


class Counter:
    """Counts the collectives and their bytes, and passes them on."""

    def __init__(self) -> None:
        self.sent: list[int] = []
        self.reduce = dist.all_reduce
        dist.all_reduce = self

    def __call__(self, tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Reduces the tensor, and records its bytes."""
        self.sent.append(tensor.numel() * tensor.element_size())
        return self.reduce(tensor, *args, **kwargs)


def measure_rank(rank: int, ranks: int, port: int, folder: str, reduction: str, steps: int) -> None:
    """Measures the bytes and times of one rank, with and without synchronisation."""
    torch.set_num_threads(1)
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    dist.init_process_group("gloo", rank=rank, world_size=ranks)
    counter, rows = Counter(), {}
    for name, (classes, shape) in SHAPES.items():
        logits = torch.randn(1, *shape, requires_grad=True)
        target = torch.randint(0, classes, (1, *(shape if classes == 2 else shape[1:])))
        row: dict[str, Any] = {}
        for sync in (False, True):
            loss = SegLoss(
                n_classes=classes,
                from_logits=True,
                tversky_focal_coef=0.3,
                region_reduction=reduction,
                sync_statistics=sync,
            )
            row[f"ms {sync}"] = 1000 * statistics.median(
                timed(loss, logits, target) for _ in range(steps)
            )
            counter.sent.clear()
            timed(loss, logits, target)
            row[f"sent {sync}"] = list(counter.sent)
        rows[name] = row
    if rank == 0:
        torch.save(rows, Path(folder) / "rows.pt")
    dist.destroy_process_group()


def timed(loss: SegLoss, logits: Tensor, target: Tensor) -> float:
    """Returns the seconds of one step that all ranks start together."""
    dist.barrier()
    start = time.perf_counter()
    loss(logits, target)[0].backward()
    return time.perf_counter() - start


def measured(ranks: int, reduction: str, steps: int) -> dict[str, dict[str, Any]]:
    """Starts the ranks, and returns the rows of rank 0."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(measure_rank, (ranks, port, folder, reduction, steps), nprocs=ranks)
        rows: dict[str, dict[str, Any]] = torch.load(Path(folder) / "rows.pt")
    return rows


def main(steps: Annotated[int, typer.Option(help="Number of timed steps.")] = 30) -> None:
    """Prints the data that each step sends, and the time that this adds to the loss."""
    table = Table("reduction", "batch on each rank", "ranks", "collectives", "bytes", "added ms")
    for reduction in ("sample", "batch"):
        for ranks in track((1, 2, 3, 4), description=reduction):
            for name, row in measured(ranks, reduction, steps).items():
                sent, added = row["sent True"], row["ms True"] - row["ms False"]
                cells = (str(len(sent)), " + ".join(map(str, sent)) or "0", f"{added:.2f}")
                table.add_row(reduction, name, str(ranks), *cells)
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
