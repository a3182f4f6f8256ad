"""Real processes with gloo on loopback, for the tests of what is distributed."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from datetime import timedelta
from multiprocessing import set_forkserver_preload
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

Work = Callable[[int, int], Any]
"""What a rank does, given its number and the number of ranks; the result can be saved."""


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _run(
    rank: int, ranks: int, port: int, folder: str, work: Work, seconds: float, whole: bool
) -> None:
    torch.set_num_threads(1)
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    timeout = timedelta(seconds=seconds)
    dist.init_process_group("gloo", rank=rank, world_size=ranks, timeout=timeout)
    torch.save(work(rank, ranks), Path(folder) / f"{rank}.pt")
    if whole:
        dist.barrier()
    os._exit(0)  # under PyTorch 2.4 destroy_process_group may wait for ranks that are gone


def on_ranks(
    ranks: int, folder: Path, work: Work, seconds: float = 60, whole: bool = True
) -> list[Any]:
    """The results of all ranks; raises what a rank raised. Not `whole`: a rank leaves early."""
    set_forkserver_preload(["segloss", "torch.nn.parallel"])  # read once, and not by every rank
    arguments = (ranks, free_port(), str(folder), work, seconds, whole)
    mp.start_processes(_run, arguments, nprocs=ranks, start_method="forkserver")
    return [torch.load(folder / f"{rank}.pt") for rank in range(ranks)]
