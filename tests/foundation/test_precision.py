"""Buffers that keep their precision."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from segloss import LossWrapper, SegLoss
from segloss.foundation.precision import accumulation_dtype, arithmetic_dtype


@pytest.mark.parametrize("cast", [nn.Module.half, nn.Module.bfloat16, nn.Module.float])
def test_casting_a_model_does_not_round_the_buffers_of_its_loss(cast) -> None:
    model = nn.ModuleDict({"net": nn.Conv1d(1, 1, 1), "loss": SegLoss(pos_weight=0.1)})
    cast(model)
    assert model["loss"].pos_weight.dtype == torch.float64
    assert model["loss"].pos_weight.item() == 0.1
    assert model["net"].weight.dtype != torch.float64


def test_a_wrapped_loss_keeps_its_precision_too() -> None:
    loss = LossWrapper(nn.CrossEntropyLoss(weight=torch.tensor([1.003, 2.0, 3.0])))
    logits, labels = torch.randn(2, 3, 4).half(), torch.randint(0, 3, (2, 4))
    expected = loss(logits, labels)[0]
    assert torch.equal(loss.bfloat16()(logits, labels)[0], expected)
    assert loss.double().loss_func.weight.dtype == torch.float64


def test_empty_and_shared_modules_can_be_made() -> None:
    empty = SegLoss().to("meta").to_empty(device="cpu")
    assert {buffer.device.type for buffer in empty.buffers()} == {"cpu"}
    shared = SegLoss()
    shared.share_memory()
    assert shared.norm.is_shared()


def test_buffers_move_with_the_module() -> None:
    loss = SegLoss(class_weights=[0.5]).to("meta")
    assert {buffer.device.type for buffer in loss.buffers()} == {"meta"}


def test_buffers_are_not_shared_by_copies() -> None:
    loss = SegLoss()
    other = copy.deepcopy(loss).half()
    other.norm.fill_(3.0)
    assert loss.norm.item() == 1.0


def test_sums_are_float64_except_where_there_is_none() -> None:
    assert accumulation_dtype(torch.device("cpu")) == torch.float64
    assert accumulation_dtype(torch.device("mps")) == torch.float32
    assert arithmetic_dtype(torch.bfloat16) == torch.float32
    assert arithmetic_dtype(torch.float64) == torch.float64
