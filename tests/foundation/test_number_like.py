"""The result of a loss is a pair, and also a number."""

from __future__ import annotations

import copy
import operator
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from segloss import CompoundLoss, DeepSupervision, Loss, LossWrapper, MultiLoss, SegLoss
from tests.support.versions import needs_a_newer_compiler

LOGITS = torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(16).reshape(2, 8) % 3

LOSSES: dict[str, Callable[[], nn.Module]] = {
    "SegLoss": lambda: SegLoss(n_classes=3),
    "LossWrapper": lambda: LossWrapper(nn.CrossEntropyLoss()),
    "DeepSupervision": lambda: DeepSupervision(SegLoss(n_classes=3)),
    "MultiLoss": lambda: MultiLoss([SegLoss(n_classes=3), nn.CrossEntropyLoss()], [1.0, 0.5]),
}


@pytest.fixture(params=LOSSES.values(), ids=LOSSES)
def loss(request: Any) -> nn.Module:
    made: nn.Module = request.param()
    return made


def gradient(step: Callable[[Tensor], Any]) -> Tensor:
    logits = LOGITS.clone().requires_grad_()
    step(logits).backward()
    assert logits.grad is not None
    return logits.grad


@pytest.mark.parametrize(
    "use",
    [
        lambda result: result,
        lambda result: result.mean(),
        lambda result: result / 2 + result / 2,
        lambda result: 3 * result - 2 * result,
        lambda result: sum([result]),
        lambda result: torch.stack([result, result]).mean(),
        lambda result: torch.zeros(()) + result,
        lambda result: result.to(torch.float64),
        lambda result: 1 - (1 - result),
        lambda result: 0 - (-result),
        lambda result: (2 * result) ** 1 / 2,
    ],
)
def test_it_is_the_number_that_it_holds(loss: nn.Module, use: Callable[[Any], Any]) -> None:
    of_number = gradient(lambda logits: use(loss(logits, LABELS)))
    of_value = gradient(lambda logits: loss(logits, LABELS)[0])
    torch.testing.assert_close(of_number, of_value)


def test_it_compares_prints_and_converts_as_a_number(loss: nn.Module) -> None:
    result = loss(LOGITS, LABELS)
    value = result[0].item()
    assert float(result) == result.item() == value
    assert f"{result:.3f}" == f"{value:.3f}"
    assert 0 < result < value + 1
    assert abs(-result) >= value
    assert torch.isfinite(result)
    assert result.requires_grad is False
    assert result.shape == ()


def test_it_unpacks_and_prints_as_a_tuple(loss: nn.Module) -> None:
    result = loss(LOGITS, LABELS)
    value, *others = result
    assert value is result[0]
    assert len(result) == 1 + len(others)
    assert repr(result) == repr(tuple(result))


def test_accumulation_adds_the_numbers(loss: nn.Module) -> None:
    total = torch.zeros(())
    for _ in range(3):
        total += loss(LOGITS, LABELS)
    torch.testing.assert_close(total, 3 * loss(LOGITS, LABELS)[0])


def test_containers_of_tensors_look_into_it(loss: nn.Module) -> None:
    result = loss(LOGITS, LABELS)
    assert any(leaf is result[0] for leaf in tree_leaves(result))
    for copied in (copy.deepcopy(result), pickle.loads(pickle.dumps(result)), copy.copy(result)):
        assert type(copied) is type(result)
        torch.testing.assert_close(copied[0], result[0])


def test_a_gradient_scaler_scales_it(loss: nn.Module) -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    scaled = gradient(lambda logits: scaler.scale(loss(logits, LABELS)))
    torch.testing.assert_close(scaled, 8 * gradient(lambda logits: loss(logits, LABELS)))


def test_an_attribute_that_numbers_lack_is_an_error(loss: nn.Module) -> None:
    with pytest.raises(AttributeError, match="backwards"):
        loss(LOGITS, LABELS).backwards()


@needs_a_newer_compiler
def test_compiled_code_takes_it_for_a_number(loss: nn.Module) -> None:
    def step(logits: Tensor) -> Tensor:
        number: Tensor = loss(logits, LABELS) * 2 + loss(logits, LABELS).mean()
        return number

    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(LOGITS), 3 * loss(LOGITS, LABELS)[0])


def test_a_criterion_returns_a_plain_tensor() -> None:
    for criterion in (SegLoss(n_classes=3).as_criterion(), CompoundLoss({"dice": 1}, "multiclass")):
        assert type(criterion(LOGITS, LABELS)) is Tensor


def test_it_compares_with_numbers_as_its_tensor_does(loss: nn.Module) -> None:
    result = loss(LOGITS, LABELS)
    nan = result._replace(**{result._fields[0]: torch.tensor(torch.nan)})
    assert nan != nan
    assert result == result[0]


@pytest.mark.parametrize("operate", [operator.add, operator.sub, operator.mul, operator.truediv])
def test_numpys_numbers_leave_arithmetic_to_it(
    loss: nn.Module, operate: Callable[[Any, Any], Any]
) -> None:
    for logits in (LOGITS, LOGITS.clone().requires_grad_()):
        result = loss(logits, LABELS)
        lam = np.float64(0.25)
        torch.testing.assert_close(operate(lam, result), operate(0.25, result[0]))
        torch.testing.assert_close(operate(result, lam), operate(result[0], 0.25))


def test_a_loss_may_return_the_result_of_another() -> None:
    class Twice(Loss):
        def compute(self, pred_batch: Any, gt_batch: Any) -> Any:
            self.extra_info["inner"] = inner(pred_batch, gt_batch)
            return inner(pred_batch, gt_batch)

    inner = SegLoss(n_classes=3)
    logits = LOGITS.clone().requires_grad_()
    value, info = Twice("twice")(logits, LABELS)
    assert torch.equal(value, inner(logits, LABELS)[0])
    assert not info["inner"].value.requires_grad
    wrapped = LossWrapper(lambda prediction, target: inner(prediction, target))
    assert torch.equal(wrapped(logits, LABELS)[0], value)
