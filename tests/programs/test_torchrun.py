"""Plain PyTorch under torchrun: two processes train the network that one trains."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from programs import torchrun
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from tests.support.ranks import on_ranks

ROOT = Path(__file__).parents[2]
CLASSES = 4


def batches() -> tuple[Tensor, Tensor]:
    """Images and label maps in which some samples have few pixels that count, or none."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(32, 3, 16, 16, dtype=torch.float64, generator=generator)
    labels = torch.randint(0, CLASSES, (32, 16, 16), generator=generator)
    for n, label in enumerate(labels):
        label[: [0, 15, 16, 4][n * 3 // 4 % 4]] = 255
    return images, labels


def network() -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, CLASSES, 3, padding=1)
    return nn.Sequential(*layers).double()


def train(rank: int, ranks: int) -> list[Tensor]:
    model = DistributedDataParallel(network()) if ranks > 1 else network()
    torchrun.train(model, *batches(), steps=8, batch_size=4, rank=rank, ranks=ranks)
    return [parameter.detach() for parameter in model.parameters()]


def test_two_processes_train_the_network_of_one(tmp_path: Path) -> None:
    alone = train(0, 1)
    for together in on_ranks(2, tmp_path, train):
        for parameter, expected in zip(together, alone, strict=True):
            torch.testing.assert_close(parameter, expected, rtol=0, atol=1e-6)


def test_the_network_learns() -> None:
    model = network()
    images, labels = batches()
    learnable = (images[:, :CLASSES].argmax(1)).masked_fill(labels == 255, 255)
    step = partial(torchrun.train, model, images, learnable, batch_size=4, rank=0, ranks=1)
    first = step(steps=8)
    for _ in range(10):
        last = step(steps=8)
    assert last < 0.8 * first


def printed(processes: int) -> list[float]:
    """The loss of the last step that each process of the recipe prints."""
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(  # noqa: S603
        [sys.executable, *launch * (processes > 1), torchrun.__file__],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    # Processes write at the same time, so an end of line may come late
    return [float(number) for number in re.findall(r"\d\.\d+?(?=\d\.|\s|$)", done.stdout)]


def test_the_recipe_prints_the_same_loss_under_torchrun() -> None:
    [alone] = printed(1)
    assert printed(2) == pytest.approx([alone, alone], abs=1e-6)
