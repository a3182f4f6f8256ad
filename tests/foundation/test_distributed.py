"""Norms over several processes: real ones, with gloo on loopback."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from segloss import MultiLoss
from segloss.foundation.distributed import all_reduce_sum, world_size
from tests.support.ranks import on_ranks

VALUES = [[(2.0, 4), (3.0, 2)], [(10.0, 1)], []]
"""The losses and numbers of samples that each rank sees; the last one sees none."""


def norms_of_rank(rank: int, ranks: int) -> tuple[list[float], str]:
    multi_loss = MultiLoss([nn.L1Loss()], [1])
    loss = multi_loss.loss_funcs[0]
    zero = torch.zeros(1, 1, 2)
    norms = []
    for value, nums in VALUES[rank]:
        multi_loss.update_norm(zero + value, zero, nums)
    for _ in range(2):  # a second sync changes nothing
        multi_loss.sync(world_size=ranks)
        norms.append(loss.norm.item())
    if rank == 0:
        multi_loss.update_norm(zero + 5.0, zero, 3)
    multi_loss.sync()
    norms.append(loss.norm.item())
    message = ""
    try:
        multi_loss.sync(world_size=ranks + 1)
    except ValueError as error:
        message = str(error)
    return norms, message


@pytest.mark.parametrize("ranks", [2, 3])
def test_sync_gives_every_rank_the_average_over_all_samples(ranks: int, tmp_path: Path) -> None:
    first = (2 * 4 + 3 * 2 + 10) / 7
    then = (2 * 4 + 3 * 2 + 10 + 5 * 3) / 10
    for norms, message in on_ranks(ranks, tmp_path, norms_of_rank):
        assert norms == pytest.approx([first, first, then], rel=1e-12)
        assert f"process group, {ranks}, got {ranks + 1}" in message


def test_nothing_is_reduced_where_nothing_is_distributed() -> None:
    tensor = torch.rand(3)
    assert world_size() == 1
    assert all_reduce_sum(tensor) is tensor
