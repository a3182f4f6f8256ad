"""Sums over the ranks of a process group; nothing happens where nothing is distributed."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor


def world_size() -> int:
    """The number of ranks; 1 where nothing is distributed."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def all_reduce_sum(tensor: Tensor) -> Tensor:
    """The sum of `tensor` over all ranks, on every rank; no gradient flows through it."""
    if world_size() == 1:
        return tensor
    total = tensor.detach().to(_collective_device(tensor), copy=True)
    dist.all_reduce(total)
    return total.to(tensor.device)


def _collective_device(tensor: Tensor) -> torch.device:
    """Where the group communicates: nccl takes nothing from the CPU."""
    if tensor.device.type == "cpu" and "nccl" in dist.get_backend():
        return torch.device("cuda", torch.cuda.current_device())
    return tensor.device
