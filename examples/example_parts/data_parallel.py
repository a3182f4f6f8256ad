"""Several processes, each with a share of every batch, where torchrun has started them.

    torchrun --standalone --nproc-per-node=2 examples/brain_tissue.py

Without torchrun there is one process, and nothing here does anything.
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
    """This process, and how many there are.

    Attributes:
        rank: The number of this process; that of rank 0 alone writes files and draws.
        count: How many there are.
        device: Where this one computes.
    """

    rank: int = 0
    count: int = 1
    device: str = "cpu"

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that writes."""
        return self.rank == 0

    def parallel(self, model: nn.Module) -> nn.Module:
        """The model, with gradients that are averaged over the processes."""
        return model if self.count == 1 else DistributedDataParallel(model)


ALONE = Ranks()
"""One process, as without torchrun."""


@contextmanager
def processes(device: str) -> Iterator[Ranks]:
    """The processes that torchrun has started, joined to a group: gloo on CPUs, nccl on GPUs."""
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
    """A process's share of each batch: every `count`-th sample, from its own number on.

    A last batch that has no sample for some process is left out.

    Args:
        order: The samples of all processes, in the same order in each.
        batch_size: The samples of a batch, in all processes together.
        ranks: This process.
    """

    def __init__(self, order: Sampler[int], batch_size: int, ranks: Ranks) -> None:
        if batch_size < ranks.count:
            raise ValueError(
                f"training.batch_size is that of all processes together, and must be at least "
                f"their number, {ranks.count}, got {batch_size}."
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
