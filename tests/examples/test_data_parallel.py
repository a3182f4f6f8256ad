"""torchrun: two processes train as one does, and the first alone writes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import brain_tissue
import pytest
import torch
from example_parts.data_parallel import Ranks, ShareOfBatches

EXAMPLE = Path(brain_tissue.__file__)

PLAIN = [  # no mean but what is exact over processes, and no optimiser that amplifies rounding
    "data.slice_step=10",
    "augmentation.crop=32",
    "training.epochs=17",
    "training.optimizer=sgd",
    "training.learning_rate=[0.001,0.001,0.001]",
    "training.weight_decay=0",
    "loss_params.compound_loss.normalize_losses=false",
    "loss_params.compound_loss.loss_list.1.weight=[0,0]",
]


def start(output: Path, processes: int) -> tuple[list[float], subprocess.CompletedProcess[bytes]]:
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    done = subprocess.run(  # noqa: S603
        [sys.executable, *launch * (processes > 1), EXAMPLE, "--output", output, *PLAIN],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        check=False,  # and no text: that takes carriage returns for ends of lines
    )
    assert done.returncode == 0, done.stderr[-2000:].decode()
    checkpoint = torch.load(output / "checkpoint.pt", weights_only=True)
    return [record["total"] for record in checkpoint["history"]], done


def finished_bars(text: str) -> int:
    """Progress bars that end a line at the last step; what they show before is overwritten.

    A warning that is printed meanwhile ends the line too, and the bar is drawn again below it.
    """
    lines = (line.rsplit("\r", 1)[-1] for line in text.split("\n"))
    return sum(re.search(r"\| 51/51 \[[^]]*\]$", line) is not None for line in lines)


def test_two_processes_have_the_loss_curve_of_one(tmp_path: Path) -> None:
    one, alone = start(tmp_path / "one", 1)
    two, together = start(tmp_path / "two", 2)
    assert len(one) == len(two) > 50
    assert one[0] - min(one) > 0.3
    assert max(abs(a - b) for a, b in zip(one[:50], two[:50], strict=True)) < 1e-4
    assert together.stdout.count(b"Dice on the test slab") == 1
    assert [finished_bars(done.stderr.decode()) for done in (alone, together)] == [1, 1]


@pytest.mark.parametrize(("samples", "batches"), [(12, 3), (13, 3), (14, 4)])
def test_shares_of_batches(samples: int, batches: int) -> None:
    shares = [ShareOfBatches(range(samples), 4, Ranks(rank, 2)) for rank in range(2)]
    first, second = (list(share) for share in shares)
    assert len(shares[0]) == len(shares[1]) == len(first) == len(second) == batches
    assert first[0] == [0, 2]
    assert second[0] == [1, 3]
    seen = [i for pair in zip(first, second, strict=True) for share in pair for i in share]
    assert sorted(seen) == list(range(samples - samples % 4 % 2))


def test_a_batch_needs_a_sample_for_each_process() -> None:
    with pytest.raises(ValueError, match="at least the number of processes, 4, got 2"):
        ShareOfBatches(range(8), 2, Ranks(0, 4))
