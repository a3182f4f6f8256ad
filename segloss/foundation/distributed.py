r"""Sums over the ranks of a process group; without a group, they do nothing.

With statistics :math:`S = \sum_r s_r` added up over R ranks, each rank has the loss f(S) of the
whole batch. Its gradient with respect to the parameters is :math:`\sum_r f'(S)\,\partial s_r`, and
`DistributedDataParallel` averages the gradients of the ranks, so each must have :math:`R
f'(S)\,\partial s_r`: the backward pass adds up the ranks' upstream gradients f'(S).
"""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from segloss.foundation.arguments import check_flag, shown


class _Pause(threading.local):
    """The number of `local_statistics` contexts that the current thread is in."""

    depth = 0


_pause = _Pause()


def is_distributed() -> bool:
    """Returns whether a process group is initialised."""
    return dist.is_available() and dist.is_initialized()


def world_size() -> int:
    """Returns the number of ranks; 1 without a process group."""
    return dist.get_world_size() if is_distributed() else 1


def rank() -> int:
    """Returns the number of this rank; 0 without a process group."""
    return dist.get_rank() if is_distributed() else 0


def all_reduce_sum(tensor: Tensor, group: Any = None) -> Tensor:
    """Returns the sum of `tensor` over all ranks, on every rank; no gradient flows through it."""
    if not is_distributed() or dist.get_world_size(group) == 1:
        return tensor
    total = tensor.detach().to(_collective_device(tensor, group), copy=True)
    dist.all_reduce(total, group=group)
    return total.to(tensor.device)


@contextlib.contextmanager
def local_statistics() -> Iterator[None]:
    """Pauses every `RankSum` in this thread, so that statistics stay local to the rank."""
    _pause.depth += 1
    try:
        yield
    finally:
        _pause.depth -= 1


class RankSum:
    """Adds up statistics over the ranks of a process group, with a gradient.

    It adds up only while gradients are computed, so that one rank may validate alone.

    Args:
        enabled: True to add up, False to do nothing.
        in_eval: True to add up without gradients, too. Then all ranks must take part.
        group: The process group; None: all ranks.

    A copy shares the process group. A pickle does not: an unpickled object uses all ranks.

    Raises:
        TypeError: An argument has a wrong type.
    """

    def __init__(self, enabled: bool, in_eval: bool, group: Any = None) -> None:
        self.enabled = check_flag("sync_statistics", enabled)
        self.in_eval = check_flag("sync_in_eval", in_eval)
        if group is not None and not (dist.is_available() and isinstance(group, dist.ProcessGroup)):
            raise TypeError(
                "process_group must be a torch.distributed.ProcessGroup or None, got "
                f"{shown(group)}."
            )
        self.group = group

    @property
    def is_active(self) -> bool:
        """True if a call would add up over several ranks now."""
        if not self.enabled or _pause.depth > 0 or not is_distributed():
            return False
        wanted = torch.is_grad_enabled() or self.in_eval
        return wanted and dist.get_world_size(self.group) > 1

    def __call__(self, statistics: Mapping[str, Sequence[Tensor]]) -> dict[str, list[Tensor]]:
        """Returns the sums over the ranks of all tensors, in one collective."""
        if not self.is_active:
            return {name: list(tensors) for name, tensors in statistics.items()}
        sums: dict[str, list[Tensor]] = _summed(statistics, self.group)
        return sums

    def __deepcopy__(self, memo: Any) -> RankSum:
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "group": None}


@torch._disable_dynamo  # type: ignore[attr-defined]  # torch.compiler.disable would import the compiler
def _summed(statistics: Mapping[str, Sequence[Tensor]], group: Any) -> dict[str, list[Tensor]]:
    tensors = list(itertools.chain.from_iterable(statistics.values()))
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
    parts = _AllReduceSum.apply(flat, group).split([tensor.numel() for tensor in tensors])
    sums = iter(part.view(t.shape) for part, t in zip(parts, tensors, strict=True))
    return {name: [next(sums) for _ in values] for name, values in statistics.items()}


class _AllReduceSum(torch.autograd.Function):
    """The sum over ranks; its gradient is the sum of the ranks' upstream gradients."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, group: Any) -> Tensor:
        ctx.group = group
        return all_reduce_sum(tensor, group)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return _AllReduceSum.apply(grads[0], ctx.group), None


def _collective_device(tensor: Tensor, group: Any = None) -> torch.device:
    """Returns the device on which the group communicates: NCCL does not take CPU tensors."""
    if tensor.device.type == "cpu" and "nccl" in dist.get_backend(group):
        return torch.device("cuda", torch.cuda.current_device())
    return tensor.device
