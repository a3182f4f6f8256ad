"""Two processes with DistributedDataParallel: one norm, the same keys, means over the ranks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import segloss

PACKAGE = "lightning.pytorch"
RUN = Path(__file__).with_name("ddp_run.py")
ROOT = Path(segloss.__file__).parents[1]


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    folder = tmp_path_factory.mktemp("ddp")
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    subprocess.run(  # noqa: S603
        [sys.executable, str(RUN), PACKAGE, str(folder)],
        check=True,
        env={**os.environ, "PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": ""},
        timeout=120,
    )
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


def test_each_rank_takes_its_share_of_its_own_samples(ranks: list[Any]) -> None:
    assert [rank["samples"] for rank in ranks] == [[3, 3], [3, 3]]  # of max_samples=10 five each
    first, second = (rank["seen"][0][0] for rank in ranks)
    assert not set(first) & set(second)


def test_all_ranks_have_the_average_over_all_samples(ranks: list[Any]) -> None:
    raw = torch.tensor([row for rank in ranks for row in rank["raw"]]).double().mean(0)
    for rank in ranks:
        norms = [rank["loss"][f"loss_funcs.{i}.norm"] for i in range(2)]
        torch.testing.assert_close(torch.stack(norms), raw, rtol=1e-6, atol=0)
        assert rank["loss"]["loss_funcs.0.norm_count"] == 6  # an equal share of the twelve


def test_all_ranks_log_the_same_keys_and_values(ranks: list[Any]) -> None:
    first, second = (rank["logged"] for rank in ranks)
    assert list(first) == list(second)
    assert {"loss/seg_step", "loss/seg_epoch", "loss/l1/weight_step", "loss/l1/norm_step"} <= set(
        first
    )
    torch.testing.assert_close(first, second, rtol=0, atol=0, equal_nan=True)
    totals = torch.tensor([rank["total"] for rank in ranks])
    assert not torch.equal(*totals)
    # The second weight is 0 in this epoch, so that the total is the first loss.
    sizes = torch.tensor([len(index) for index, _, _ in ranks[0]["seen"]])
    mean = (totals.mean(0) * sizes).sum() / sizes.sum()
    torch.testing.assert_close(first["loss/seg_epoch"], mean, rtol=1e-5, atol=0)
