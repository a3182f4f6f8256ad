"""Random losses and batches, through every door and on every kernel, equal a naive textbook.

A sample; `python scripts/textbook_errors.py` compares thousands. A message is the code that runs
its configuration again:

    from tests.support.comparison import errors
    from tests.support.configurations import Configuration
    print(errors(Configuration(...)))
"""

from __future__ import annotations

import ast
import inspect
import math
from dataclasses import fields

import pytest
import torch
import torch.nn.functional as F

from segloss.terms import TERMS
from tests.support import textbook
from tests.support.comparison import ALL_KERNELS, ROUNDINGS, errors
from tests.support.configurations import DOORS, LAYOUTS, Configuration, drawn

SEEDS = range(300)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_loss_is_the_textbooks(seed: int) -> None:
    configuration = drawn(seed)
    wrong = [error for error in errors(configuration, ALL_KERNELS) if not error.is_rounding]
    assert not wrong, f"{wrong}\n{configuration!r}"


def test_the_sample_has_every_term_door_layout_and_kind_of_batch() -> None:
    sample = [drawn(seed) for seed in SEEDS]
    assert {name for each in sample for name in each.terms} == set(TERMS)
    assert {each.door for each in sample} == set(DOORS)
    assert {each.layout for each in sample} == {each.target_layout for each in sample}
    assert {each.layout for each in sample} == set(LAYOUTS)
    assert {each.dtype for each in sample} == {"float16", "bfloat16", "float32", "float64"}
    assert {"soft", "empty", "full", "absent"} <= {each.content for each in sample}
    assert {each.ignored for each in sample if each.ignore_index} == {"some", "samples", "all"}
    assert {len(each.shape) for each in sample} == {3, 4, 5}
    assert {0, 1} < {each.shape[0] for each in sample}
    assert max(each.shape[1] for each in sample) == 171
    assert any(math.prod(each.shape[2:]) > 4096 for each in sample)
    for field in fields(Configuration):
        values = {repr(getattr(each, field.name)) for each in sample}
        assert len(values) > 1, field.name


def test_a_configuration_is_printed_as_its_code() -> None:
    for seed in SEEDS:
        configuration = drawn(seed)
        assert eval(repr(configuration)) == configuration  # noqa: S307


def test_the_textbook_knows_nothing_of_segloss() -> None:
    tree = ast.parse(inspect.getsource(textbook))
    nodes = [node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]
    assert not [node for node in nodes if "segloss" in ast.unparse(node)]


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_the_textbooks_cross_entropy_is_pytorchs(activation: str) -> None:
    logits, options = torch.randn(3, 4, 30).double(), {"label_smoothing": 0.2}
    weights = [0.5, 0.0, 1.0, 2.0]
    if activation == "softmax":
        target = torch.randint(0, 4, (3, 30))
        expected = F.cross_entropy(logits, target, torch.tensor(weights).double(), **options)
        options["class_weights"] = weights
    else:
        target = torch.rand(3, 4, 30).double()
        positive = torch.tensor(weights).double().view(4, 1)
        expected = F.binary_cross_entropy_with_logits(
            logits, 0.8 * target + 0.1, pos_weight=positive
        )
        options["pos_weight"] = weights
    batch = textbook.batch_of(logits, target, activation=activation, **options)
    torch.testing.assert_close(textbook.term("cross_entropy", batch), expected, rtol=1e-13, atol=0)


@pytest.mark.parametrize("share", [1e-4, -1e-4])
def test_an_error_of_one_in_ten_thousand_would_be_seen(share: float, monkeypatch) -> None:
    configuration = Configuration(
        seed=0, terms={"dice": {"coef": 1.0}}, activation="sigmoid", shape=(2, 2, 9)
    )
    assert all(error.is_rounding for error in errors(configuration))
    value = Configuration.value
    monkeypatch.setattr(Configuration, "value", lambda *given: value(*given) * (1 + share))
    for error in errors(configuration):
        assert error.value_roundings > ROUNDINGS
        assert error.slope_roundings > ROUNDINGS


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_slopes_lost_by_cancellation_would_be_seen(activation: str, monkeypatch) -> None:
    """The Dice loss of confident pixels with 1 - p in float32, as most packages have it."""

    def naive_dice(self, tensors, prediction):
        p = prediction.softmax(1) if activation == "softmax" else prediction.sigmoid()
        g = tensors.target.float()
        hits = (p * g).sum(2)
        return (1 - (2 * hits + 1) / (p.sum(2) + g.sum(2) + 1)).mean() + 0 * prediction.sum()

    configuration = Configuration(
        seed=0,
        terms={"dice": {"coef": 1.0}},
        activation=activation,
        shape=(2, 2, 9),
        margin=8.0,
        target_dtype="float32",
    )
    assert all(error.is_rounding for error in errors(configuration))
    monkeypatch.setattr(Configuration, "value", naive_dice)
    assert not any(error.is_rounding for error in errors(configuration))
