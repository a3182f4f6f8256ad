"""The comparison of a loss with a program's own: value and gradient, to 1e-6."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

Criterion = Callable[[Tensor, Tensor], Any]
"""A loss of logits and a target."""


def assert_equal(ours: Criterion, theirs: Criterion, logits: Tensor, target: Tensor) -> None:
    results = []
    for loss in (ours, theirs):
        x = logits.clone().requires_grad_()
        value = loss(x, target)
        value.backward()
        results.append((value.item(), x.grad))
    (value, gradient), (expected, slope) = results
    assert value == pytest.approx(expected, abs=1e-6)
    torch.testing.assert_close(gradient, slope, rtol=0, atol=1e-6)
