"""The example with the Trainer of Hugging Face: the loss falls."""

from __future__ import annotations

from collections.abc import Iterator

import huggingface_segformer
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
    losses = huggingface_segformer.main(["--steps", "20", "--side", "32", "--samples", "32"])
    assert losses[-1] < 0.85 * losses[0]
    assert "The loss fell from" in capsys.readouterr().out
