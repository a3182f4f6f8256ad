"""Batches that the tests share, seeded, in float64."""

from __future__ import annotations

import os
from collections.abc import Iterator

import hypothesis
import pytest
import torch

from segloss.sums.kernels.registry import current_backend, use_backend

if (workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))) > 1:
    threads = max(1, (os.cpu_count() or 1) // workers)
    torch.set_num_threads(threads)
    os.environ["OMP_NUM_THREADS"] = str(threads)  # of the processes that tests start

hypothesis.settings.register_profile("same", derandomize=True)
hypothesis.settings.register_profile("explore")
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.default_generator.manual_seed(0)  # on the CPU alone: faster than `torch.manual_seed`


@pytest.fixture(autouse=True)
def _same_backend() -> Iterator[None]:
    """Takes back the kernel that a test chose by a call, which holds for the process."""
    before = current_backend()
    yield
    if current_backend() != before:
        use_backend(before)


@pytest.fixture
def binary() -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and masks of two sigmoid channels, (3, 2, 7, 6)."""
    return torch.randn(3, 2, 7, 6, dtype=torch.float64), torch.rand(3, 2, 7, 6).gt(0.6).double()


@pytest.fixture
def multiclass() -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of four classes and a label map in which each occurs in each sample, (3, 4, 7, 6)."""
    labels = torch.randint(0, 4, (3, 7, 6))
    labels[:, 0, :4] = torch.arange(4)
    return torch.randn(3, 4, 7, 6, dtype=torch.float64), labels
