"""What check_loss does with its arguments, and that it leaves no trace."""

from __future__ import annotations

import copy
import json
import random

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from segloss import SegLoss
from segloss.compat import tutorial
from segloss.compat.tutorial import WeightedMSELoss
from segloss.tools.check import Check, LossReport, assert_loss, check_loss
from segloss.tools.check.examples import forms
from segloss.tools.check.examples.forms import TARGETS
from tests.tools.check.wrong import Counting, right

QUICK = ["scalar", "gradient flow"]


@pytest.fixture(autouse=True)
def _quick(monkeypatch) -> None:
    monkeypatch.setattr(forms, "LARGE_PIXELS", 2**12)


def states(loss: nn.Module) -> dict:
    return {
        "tensors": {k: v.clone() for k, v in loss.state_dict().items()},
        "grads": [p.grad for p in loss.parameters()],
        "modes": [part.training for part in loss.modules()],
    }


def same(a: dict, b: dict) -> bool:
    tensors = all(torch.equal(v, b["tensors"][k]) for k, v in a["tensors"].items())
    return (
        tensors
        and a["modes"] == b["modes"]
        and all(x is y for x, y in zip(a["grads"], b["grads"], strict=True))
    )


class Uncopyable(Counting):
    def __deepcopy__(self, memo):
        raise TypeError("not me")


@pytest.mark.parametrize("make", [Counting, Uncopyable])
@pytest.mark.parametrize("as_function", [False, True])
def test_the_loss_is_left_as_it_was(make, as_function) -> None:
    loss = make()
    loss.scale.grad = torch.ones(())
    before = states(loss)
    check_loss((lambda p, t: loss(p, t)) if as_function else loss)
    assert same(before, states(loss))


def test_norms_are_kept_and_used() -> None:
    loss = SegLoss(n_classes=3)
    batch = torch.randn(2, 3, 6, 5), torch.randint(0, 3, (2, 6, 5))
    loss.update_norm(*batch, 2)
    before = copy.deepcopy(loss.state_dict())
    report = check_loss(loss, batch, checks=["scalar"])
    assert loss.state_dict().keys() == before.keys()
    assert loss.norm == before["norm"]
    assert report["scalar"].reason == "1, float32"


def test_random_numbers_and_switches_are_left_as_they_were() -> None:
    np.random.seed(0)  # noqa: NPY002
    expected = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()  # noqa: NPY002
    before = torch.are_deterministic_algorithms_enabled()
    check_loss(right, checks=["deterministic", "autocast", "gradient values"])
    assert torch.equal(torch.get_rng_state(), expected[0])
    assert random.getstate() == expected[1]
    assert (np.random.get_state()[1] == expected[2]).all()  # noqa: NPY002
    assert torch.are_deterministic_algorithms_enabled() == before


def test_the_given_batch_is_left_as_it_was() -> None:
    def greedy(pred_batch, gt_batch) -> Tensor:
        gt_batch["mask"].zero_()
        gt_batch["more"] = 1
        return right(pred_batch["out"], gt_batch["mask"])

    pred = {"out": torch.randn(2, 1, 5, 4, requires_grad=True)}
    gt = {"mask": torch.ones(2, 1, 5, 4)}
    check_loss(greedy, (pred, gt))
    assert pred["out"].grad is None
    assert list(gt) == ["mask"]
    assert gt["mask"].all()


def test_it_works_where_gradients_are_off() -> None:
    with torch.no_grad():
        assert check_loss(right, checks=QUICK).passed


@pytest.mark.parametrize(
    ("loss", "kind"),
    [
        (nn.BCEWithLogitsLoss(), "logits of 1 channel(s), masks;"),
        (nn.BCELoss(), "probabilities of 1 channel(s), masks;"),
        (nn.CrossEntropyLoss(), "logits of 3 channel(s), label map;"),
        (nn.NLLLoss(), "logits of 3 channel(s), label map;"),
        (SegLoss(), "probabilities of 1 channel(s), masks in mappings;"),
        (SegLoss(n_classes=5), "logits of 5 channel(s), label map in mappings;"),
        (SegLoss(n_classes=3, from_logits=False), "probabilities of 3 channel(s) that add up to 1"),
    ],
)
def test_the_form_that_a_loss_takes_is_found(loss, kind) -> None:
    assert f"generated: {kind}" in check_loss(loss, checks=QUICK).example


@pytest.mark.parametrize("target", TARGETS)
def test_every_form_of_target_is_tried(target) -> None:
    shapes = {"label map": (4, 24, 20), "masks": (4, 3, 24, 20), "integer masks": (4, 3, 24, 20)}

    def picky(p: Tensor, t: Tensor) -> Tensor:
        if t.shape != shapes.get(target, (4, 1, 24, 20)) or p.shape[1] != 3:
            raise ValueError("not this shape")
        if t.is_floating_point() != (target.startswith("float") or target == "masks"):
            raise ValueError("not this dtype")
        if target.startswith("float mask") and t.max() > 1:
            raise ValueError("not a mask")
        return p.square().mean()

    assert f", {target};" in check_loss(picky, checks=QUICK).example


def test_functions_of_batches_get_batches() -> None:
    report = check_loss(lambda p, g: right(p["seg"], g["gt_polygons_image"]), checks=QUICK)
    assert report.passed
    assert "masks in mappings" in report.example


def test_a_loss_that_takes_nothing_is_reported_with_its_errors() -> None:
    def stubborn(prediction, target):
        raise ValueError("never\nmore")

    report = check_loss(stubborn)
    assert not report.passed
    assert "ValueError: never (for logits of 1 channel(s), masks and" in report["scalar"].reason
    assert "example=" in report["scalar"].remedy


def test_a_given_example_that_the_loss_refuses_is_a_verdict() -> None:
    report = check_loss(nn.BCEWithLogitsLoss(), (torch.zeros(2, 1, 4), torch.zeros(2, 4)))
    assert [check.name for check in report.failed] == ["scalar"]
    assert report["scalar"].reason.startswith("ValueError: Target size")


def test_predictions_that_require_grad_must_all_get_one() -> None:
    def half_blind(pred_batch, gt_batch) -> Tensor:
        return right(pred_batch["seg"], gt_batch["mask"])

    gt = {"mask": torch.ones(2, 1, 5, 4)}
    for flag, verdict in ((False, "pass"), (True, "fail")):
        pred = {k: torch.randn(2, 1, 5, 4).requires_grad_(flag) for k in ("seg", "edge")}
        report = check_loss(half_blind, (pred, gt), checks=["gradient flow"])
        assert report["gradient flow"].verdict == verdict


def test_tuples_that_start_with_the_loss_are_taken() -> None:
    report = check_loss(tutorial.CombinedLoss(), (torch.randn(4, 3), torch.randn(4, 3)))
    assert report["gradient values"].verdict == "pass"


def test_a_value_beyond_the_dtype_is_not_held_against_a_loss() -> None:
    report = check_loss(nn.MSELoss(), checks=["finite in float32", "finite in float16"])
    assert report.passed
    assert "not representable at predictions of +-1e+30" in report["finite in float32"].reason


def test_a_loss_that_is_partly_float32_is_judged_as_such() -> None:
    def mixed(p: Tensor, t: Tensor) -> Tensor:
        return right(p.float(), t) + nn.functional.mse_loss(p, t)

    check = check_loss(mixed, n_classes=2, checks=["gradient values"])["gradient values"]
    assert check.verdict == "pass"
    assert "computed in float32" in check.reason


def test_a_loss_that_refuses_float64_is_checked_in_float32() -> None:
    def only_float32(p: Tensor, t: Tensor) -> Tensor:
        if p.dtype == torch.float64:
            raise TypeError("float32 alone")
        return right(p, t)

    report = check_loss(only_float32, checks=["gradient values", "precision"])
    assert report["gradient values"].verdict == "pass"
    assert report["precision"].verdict == "not applicable"


def test_compiling_many_losses_meets_no_limit() -> None:
    for _ in range(10):
        assert check_loss(nn.BCEWithLogitsLoss(), n_classes=2, checks=["compile"]).passed


def test_the_report_is_a_table_and_data() -> None:
    report = LossReport(
        "l", "e", [Check("a", "pass", "fine"), Check("b", "fail", "broken", "mend", advisory=True)]
    )
    assert str(report).splitlines() == [
        "l: passed (1 passed, 0 failed, 0 not applicable, 1 advice)",
        "example: e",
        "",
        "check  verdict  found",
        "-----  -------  ------",
        "a      pass     fine",
        "b      advice   broken",
        "                > mend",
    ]
    assert json.loads(json.dumps(report.to_dict()))["checks"][1]["remedy"] == "mend"
    assert "&gt; mend" in report._repr_html_()
    with pytest.raises(KeyError, match="there are: a, b"):
        report["c"]


def test_tables_are_no_wider_than_a_page() -> None:
    lines = str(check_loss(nn.CrossEntropyLoss(), checks=["finite in float16"])).splitlines()
    assert max(map(len, lines)) <= 100


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"loss": SegLoss}, TypeError, r"make an instance, SegLoss\(\)"),
        ({"loss": 3}, TypeError, "loss must be a module or a function, got 3"),
        ({"checks": ["scaler"]}, ValueError, "did you mean 'scalar'"),
        ({"checks": "scalar"}, TypeError, "checks must be a list"),
        ({"n_classes": 1}, ValueError, "n_classes must be at least 2"),
        ({"spatial": ()}, ValueError, "1 to 3 sizes"),
        ({"spatial": (0, 4)}, ValueError, r"spatial\[0\] must be at least 1"),
        ({"example": torch.zeros(1)}, TypeError, "must be a tuple"),
        ({"example": ({}, {})}, TypeError, "mapping without tensors"),
    ],
)
def test_wrong_arguments_are_refused(arguments, error, message) -> None:
    with pytest.raises(error, match=message):
        check_loss(**{"loss": right, **arguments})


def test_assert_loss_raises_the_table() -> None:
    with pytest.raises(AssertionError, match="the gradient is none at all"):
        assert_loss(lambda p, t: right(p.detach(), t), checks=QUICK)


def test_the_tutorials_check_passes_its_loss(capsys) -> None:
    assert tutorial.test_custom_loss(WeightedMSELoss()) is None
    assert tutorial.test_custom_loss(loss_fn=WeightedMSELoss(), input_shape=(3, 4)) is None
    assert capsys.readouterr().out.count("✓") == 6


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (nn.MSELoss(reduction="none"), r"shape \(10,\)"),
        (lambda p, t: nn.functional.mse_loss(p.detach(), t), "gradient"),
        (lambda p, t: (p.exp() - t.exp()).square().mean(), "must be finite"),
    ],
)
def test_the_tutorials_check_fails_wrong_losses(loss, message) -> None:
    with pytest.raises(AssertionError, match=message):
        tutorial.test_custom_loss(loss)


def test_pytest_does_not_collect_it() -> None:
    assert tutorial.test_custom_loss.__test__ is False


def test_the_classes_of_an_example_are_those_of_the_class_weights() -> None:
    loss = nn.CrossEntropyLoss(weight=torch.ones(5))
    assert "of 5 channel(s)" in check_loss(loss, checks=["scalar"]).example
