"""Data-parallel training: each process of torchrun gets a share of every batch.

    torchrun --standalone --nproc-per-node=2 examples/brain_tissue.py

Without torchrun there is one process, and this module has no effect.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import BatchSampler, Sampler


@dataclass(frozen=True)
class Ranks:
    """This process, and the number of all processes.

    Attributes:
        rank: The number of this process; only rank 0 writes files and draws.
        count: The number of processes.
        device: The device of this process.
    """

    rank: int = 0
    count: int = 1
    device: str = "cpu"

    @property
    def is_first(self) -> bool:
        """True if this process writes the files."""
        return self.rank == 0

    def parallel(self, model: nn.Module) -> nn.Module:
        """Returns the model, with gradients averaged over the processes."""
        return model if self.count == 1 else DistributedDataParallel(model)


ALONE = Ranks()
"""A single process, without torchrun."""


@contextmanager
def processes(device: str) -> Iterator[Ranks]:
    """Joins the processes of torchrun to a group in a context: gloo on CPUs, nccl on GPUs."""
    if "RANK" not in os.environ:
        yield Ranks(device=device)
        return
    if device == "cuda":
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield Ranks(dist.get_rank(), dist.get_world_size(), device)
    finally:
        dist.destroy_process_group()


class ShareOfBatches(Sampler[list[int]]):
    """The share of a process in each batch: every `count`-th sample, starting at its rank.

    A last batch that is too small for all processes is left out.

    Args:
        order: The samples of all processes, in the same order in each process.
        batch_size: The number of samples in a batch, over all processes.
        ranks: This process.
    """

    def __init__(self, order: Sampler[int], batch_size: int, ranks: Ranks) -> None:
        if batch_size < ranks.count:
            raise ValueError(
                f"training.batch_size counts the samples of all processes, and must be at least "
                f"the number of processes, {ranks.count}, got {batch_size}."
            )
        self.batches = BatchSampler(order, batch_size, drop_last=False)
        self.last = len(order) % batch_size  # type: ignore[arg-type]
        self.ranks = ranks

    def __iter__(self) -> Iterator[list[int]]:
        for batch in self.batches:
            if len(batch) >= self.ranks.count:
                yield batch[self.ranks.rank :: self.ranks.count]

    def __len__(self) -> int:
        return len(self.batches) - (0 < self.last < self.ranks.count)
