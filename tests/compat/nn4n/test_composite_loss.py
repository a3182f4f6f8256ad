"""CompositeLoss: the document's example, its types, inputs and errors."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from segloss import SegLoss, list_losses, register_loss
from segloss.compat.mmf import registry
from segloss.compat.nn4n import CompositeLoss
from segloss.compat.tutorial import DiceLoss

LOSS_CFG = {
    "loss_fr_1": {"type": "fr", "params": {"metric": "l2"}, "lambda": 1.0},
    "loss_mse": {"type": "mse", "lambda": 0.5},
}


def test_the_documents_example_runs() -> None:
    composite_loss = CompositeLoss(LOSS_CFG)
    states, pred, target = torch.rand(10, 100), torch.rand(10, 1), torch.rand(10, 1)
    total_loss, loss_dict = composite_loss.forward(
        {"loss_fr_1": {"states": states}, "loss_mse": {"input": pred, "target": target}}
    )
    rates = states.double().mean(0).square().mean().item()
    error = 0.5 * (pred - target).double().square().mean().item()
    assert loss_dict["loss_fr_1"].item() == pytest.approx(rates, rel=1e-6)
    assert loss_dict["loss_mse"].item() == pytest.approx(error, rel=1e-6)
    assert total_loss.item() == pytest.approx(rates + error, rel=1e-6)


STATE, WEIGHTS = torch.rand(2, 5, 4), torch.rand(4, 4)
LABELS = torch.randint(0, 3, (2, 6))
INPUTS = {
    "fr": {"state": STATE},
    "fr_dist": {"states": STATE},
    "rnn_conn": {"model": {"input": WEIGHTS, "hidden": WEIGHTS, "readout": WEIGHTS}},
    "state_pred": {"state": STATE},
    "entropy": {"states": STATE},
    "mse": {"pred": STATE, "target": STATE + 1},
    "cross_entropy": {"input": torch.rand(2, 3, 6), "target": LABELS},
    "hebbian": {"state": STATE, "weights": WEIGHTS},
    "dice": {"input": torch.rand(2, 6), "target": torch.rand(2, 6).round()},
    "seg": {"pred": torch.rand(2, 1, 6), "target": torch.rand(2, 1, 6).round()},
}


@pytest.mark.parametrize("kind", INPUTS)
def test_every_type_takes_its_inputs(kind: str) -> None:
    loss = CompositeLoss({"a": {"type": kind, "lambda": 3.0}})
    total, parts = loss({"a": INPUTS[kind]})
    assert total > 0
    assert parts["a"].item() == total.item()


def test_registered_losses_are_types() -> None:
    total, _ = CompositeLoss({"a": {"type": "dice", "lambda": 2.0}})({"a": INPUTS["dice"]})
    torch.testing.assert_close(total, 2 * DiceLoss()(*INPUTS["dice"].values()))
    total, _ = CompositeLoss({"a": {"type": "seg"}})({"a": INPUTS["seg"]})
    torch.testing.assert_close(total, SegLoss()(*INPUTS["seg"].values())[0])


def test_a_registered_loss_of_sample_lists_gets_its_inputs_in_its_order(monkeypatch) -> None:
    monkeypatch.setattr(registry, "_registered", {})

    @register_loss("distance")
    class Distance(nn.Module):
        def forward(self, sample_list, model_output):
            gap = model_output["scores"] - sample_list["targets"]
            return {"mean": gap.mean(), "least": gap.min()}

    outputs, samples = {"scores": torch.tensor([3.0, 5.0])}, {"targets": torch.ones(2)}
    loss = CompositeLoss({"a": {"type": "distance", "lambda": 2.0}})
    for output, sample in (("model_output", "sample_list"), ("input", "target")):
        total, parts = loss({"a": {output: outputs, sample: samples}})
        assert total == parts["a"] == 2 * (3.0 + 2.0)
    with pytest.raises(KeyError, match="'sample_list' or 'target'"):
        loss({"a": {"model_output": outputs}})


def test_gradients_flow_with_the_weights() -> None:
    states = torch.rand(10, 4, requires_grad=True)
    total, _ = CompositeLoss({"a": {"type": "fr", "params": {"metric": "l1"}, "lambda": 4.0}})(
        {"a": {"states": states}}
    )
    total.backward()
    torch.testing.assert_close(states.grad, torch.full((10, 4), 0.1))


@pytest.mark.parametrize(
    ("config", "error", "message"),
    [
        ({}, ValueError, "at least one loss"),
        ([], TypeError, "loss_cfg must be a mapping"),
        ({"a": "mse"}, TypeError, r"loss_cfg\['a'\] must be a mapping"),
        ({"a": {"type": "msee"}}, ValueError, "did you mean 'mse'"),
        ({"a": {}}, ValueError, "'type'.* must be one of .*'hebbian'"),
        ({"a": {"type": "mse", "weight": 1}}, ValueError, "weight is unknown"),
        ({"a": {"type": "mse", "lambda": -1}}, ValueError, "lambda"),
        ({"a": {"type": "fr", "params": {"metric": "l3"}}}, ValueError, "params.*metric must be"),
        ({"a": {"type": "fr", "params": {"norm": 1}}}, TypeError, "params.*norm"),
        ({"a": {"type": "fr", "params": 1}}, TypeError, "params.* must be a mapping"),
    ],
)
def test_wrong_configs_are_told_what_is_wrong(config, error, message: str) -> None:
    with pytest.raises(error, match=message):
        CompositeLoss(config)


def test_an_unknown_type_is_told_all_there_are() -> None:
    with pytest.raises(ValueError, match="type") as caught:
        CompositeLoss({"a": {"type": "nothing like it"}})
    assert all(repr(name) in str(caught.value) for name in ["fr", "rnn_conn", *list_losses()])


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"loss_fr_1": {"states": STATE}}, "'loss_mse'"),
        ({"loss_fr_1": {}, "loss_mse": {}}, "'state' or 'states'"),
        ({"loss_fr_1": {"states": STATE}, "loss_mse": {"input": STATE}}, "'target'"),
    ],
)
def test_missing_inputs_are_named(inputs, message: str) -> None:
    with pytest.raises(KeyError, match=message):
        CompositeLoss(LOSS_CFG)(inputs)


def test_it_is_a_module_with_its_losses() -> None:
    loss = CompositeLoss({"a": {"type": "seg", "params": {"class_weights": [2.0]}}})
    assert isinstance(loss, nn.Module)
    assert "losses.a.class_weights" in dict(loss.named_buffers())
    assert "losses.a.norm" in loss.state_dict()
