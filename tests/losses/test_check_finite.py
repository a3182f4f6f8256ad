"""A loss that is not finite is named before the optimiser steps."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from segloss import MultiLoss, SegLoss, build_loss


def multi(check: bool = True) -> MultiLoss:
    losses = [SegLoss(from_logits=True), nn.L1Loss()]
    return MultiLoss(losses, [1.0, [0.5, 1.0]], epoch_thresholds=[0, 10], check_finite=check)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_finite_is_named(bad: float) -> None:
    logits, mask = torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2)
    loss = multi()
    loss.set_epoch(5)
    loss(logits, mask)
    logits[0, 0, 0, 0] = bad
    with pytest.raises(
        FloatingPointError, match=r"L1Loss is not finite.* on rank 0 in epoch 5"
    ) as e:
        loss(logits, mask)
    assert "weights {'seg': 1.0, 'L1Loss': 0.75}" in str(e.value)
    assert "norms {'seg': 1.0, 'L1Loss': 1.0}" in str(e.value)


def test_the_part_of_a_loss_is_named_too() -> None:
    loss = MultiLoss([SegLoss(from_logits=True)], [1.0], check_finite=True)
    with pytest.raises(FloatingPointError, match=r"\(seg.cross_entropy, seg.dice\)"):
        loss(torch.full((1, 1, 2, 2), math.nan), torch.zeros(1, 1, 2, 2))


def test_without_it_nothing_is_checked() -> None:
    loss = multi(check=False)
    total, _, _ = loss(torch.full((1, 1, 2, 2), math.nan), torch.zeros(1, 1, 2, 2), epoch=0)
    assert total.isnan()


def test_from_a_config() -> None:
    block = {"loss_list": [{"_target_": "segloss.SegLoss", "weight": 1.0}], "check_finite": True}
    assert build_loss({"loss_params": {"multi_loss": block}}).check_finite
    block["check_finite"] = "yes"
    with pytest.raises(TypeError, match="check_finite must be True or False"):
        build_loss({"loss_params": {"multi_loss": block}})


def test_a_compiled_loss_is_not_checked() -> None:
    loss = MultiLoss([nn.L1Loss()], [1.0], check_finite=True)
    compiled = torch.compile(lambda x, y: loss(x, y)[0], fullgraph=True, backend="eager")
    assert compiled(torch.full((1, 1, 2), math.nan), torch.zeros(1, 1, 2)).isnan()
