"""The example with Accelerate: the loss falls, from the magnitude that its norms give it."""

from __future__ import annotations

from collections.abc import Iterator

import accelerate_unet
import pytest
import torch


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """More would wait for each other longer than they compute."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_the_loss_falls(capsys: pytest.CaptureFixture[str]) -> None:
    means = accelerate_unet.main(
        ["--epochs", "3", "--side", "32", "--samples", "32", "--accumulate", "2"]
    )
    assert means[-1] < 0.8 * means[0]
    assert means[0] == pytest.approx(2, abs=0.3)  # two losses of weight 1, each over its norm
    assert "epoch 3/3" in capsys.readouterr().out
