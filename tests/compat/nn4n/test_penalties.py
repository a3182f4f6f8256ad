"""Penalties on activity and weights, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from segloss.compat.nn4n import (
    EntropyLoss,
    FiringRateDistLoss,
    FiringRateLoss,
    HebbianLoss,
    RNNConnectivityLoss,
    StatePredictionLoss,
)

STATE = torch.randn(3, 7, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
S = STATE.numpy()
RATES = S.mean((0, 1))
OFF = np.abs(RATES - RATES.mean())
WEIGHTS = torch.randn(5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def entropy(state: np.ndarray, reg: float) -> float:
    p = np.abs(state) / (np.abs(state).sum(-1, keepdims=True) + 1e-8)
    spread = -(p * np.log(p + 1e-8)).sum(-1)
    return float(spread.mean() + reg * (state**2).sum(-1).mean())


def hebbian(state: np.ndarray, weights: np.ndarray) -> float:
    pairs = np.einsum("ntu,ntv->ntuv", state, state)
    return float(np.abs((pairs * weights).sum((-2, -1))).mean())


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (FiringRateLoss("l1"), np.abs(RATES).mean()),
        (FiringRateLoss(), (RATES**2).mean()),
        (FiringRateDistLoss(), RATES.std(ddof=1)),
        (FiringRateDistLoss("cv"), RATES.std(ddof=1) / RATES.mean()),
        (FiringRateDistLoss("mean_ad"), OFF.mean()),
        (FiringRateDistLoss("max_ad"), OFF.max()),
        (StatePredictionLoss(), ((S[:, 1:] - S[:, :-1]) ** 2).mean()),
        (StatePredictionLoss(tau=3), ((S[:, 3:] - S[:, :-3]) ** 2).mean()),
        (EntropyLoss(), entropy(S, 10)),
        (EntropyLoss(reg=0), entropy(S, 0)),
    ],
)
def test_a_penalty_is_that_of_its_formula(loss: nn.Module, expected: float) -> None:
    assert loss(STATE).item() == pytest.approx(expected, rel=1e-12)
    state = STATE.clone().requires_grad_()
    assert torch.autograd.gradcheck(loss, state)


def test_the_hebbian_penalty_never_writes_pairs_out() -> None:
    expected = hebbian(S, WEIGHTS.numpy())
    assert HebbianLoss()(STATE, WEIGHTS).item() == pytest.approx(expected, rel=1e-12)
    state = torch.randn(2, 3, 4000, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(_no_larger_than(4000**2), lambda x: x):
        HebbianLoss()(state, torch.eye(4000)).backward()


def _no_larger_than(numel: int):
    def pack(tensor: torch.Tensor) -> torch.Tensor:
        assert tensor.numel() <= numel
        return tensor

    return pack


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.input, self.hidden = nn.Linear(2, 4), nn.Linear(4, 4)
        self.readout = nn.Linear(4, 3)


def test_connectivity_is_the_norm_of_the_named_layers_weights() -> None:
    model = Network()
    weights = {name: layer.weight.detach().numpy() for name, layer in model.named_children()}
    for layer, weight in weights.items():
        fro = RNNConnectivityLoss(layer)(model).item()
        assert fro == pytest.approx(np.linalg.norm(weight), rel=1e-6)
        l1 = RNNConnectivityLoss(layer, "l1")(model).item()
        assert l1 == pytest.approx(np.abs(weight).sum(), rel=1e-6)
    total = sum(np.linalg.norm(weight) for weight in weights.values())
    assert RNNConnectivityLoss()(model).item() == pytest.approx(total, rel=1e-6)


def test_layers_may_be_anywhere() -> None:
    model = nn.ModuleDict({"core": nn.RNN(2, 4), "head": nn.Linear(4, 3)})
    paths = {"hidden": "core.weight_hh_l0", "readout": "head"}
    loss = RNNConnectivityLoss("hidden", layers=paths)(model)
    assert loss.item() == pytest.approx(model["core"].weight_hh_l0.norm().item())
    mapping = {"hidden": model["core"].weight_hh_l0}
    assert RNNConnectivityLoss("hidden")(mapping).item() == pytest.approx(loss.item())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: FiringRateLoss("l3"), "metric must be one of 'l1', 'l2', got 'l3'"),
        (lambda: FiringRateDistLoss("var"), "metric must be one of"),
        (lambda: RNNConnectivityLoss("output"), "layer must be one of"),
        (lambda: StatePredictionLoss(0), "tau must be"),
        (lambda: EntropyLoss(-1), "reg must be"),
        (lambda: StatePredictionLoss(7)(STATE), r"more than tau=7 .* got \(3, 7, 5\)"),
        (lambda: StatePredictionLoss()(STATE[0]), "3 dimensions"),
        (lambda: FiringRateLoss()(STATE[0, 0]), "2 dimensions or more"),
        (lambda: FiringRateDistLoss()(STATE[..., :1]), "at least 2 units"),
        (lambda: HebbianLoss()(STATE, WEIGHTS[:3]), r"\(5, 5\).* got \(3, 5\)"),
        (lambda: RNNConnectivityLoss("hidden")(nn.Linear(2, 2)), "must have a layer 'hidden'"),
        (lambda: RNNConnectivityLoss("hidden")({}), "must have a layer 'hidden'"),
    ],
)
def test_wrong_arguments_are_told_what_is_wrong(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_activity_must_be_a_tensor() -> None:
    with pytest.raises(TypeError, match="state must be a tensor, got list"):
        FiringRateLoss()([[1.0]])
