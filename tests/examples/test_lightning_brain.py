"""The brain example with Lightning, shortened: it trains, logs, resumes and tests."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import lightning_brain
import pytest
import torch

SHORT = [
    "--quiet",
    "data.slice_step=16",
    "augmentation.crop=32",
    "loss_params.compound_loss.normalization_params.max_samples=4",
]


@pytest.fixture(autouse=True)
def _deterministic_only_here() -> Iterator[None]:
    yield
    torch.use_deterministic_algorithms(False)


def run(output: Path, *arguments: str) -> dict[str, float]:
    return lightning_brain.main([*SHORT, "--output", str(output), *arguments])


def logged(output: Path, key: str) -> list[float]:
    with (output / "metrics.csv").open() as lines:
        return [float(row[key]) for row in csv.DictReader(lines) if row[key]]


def test_a_resumed_run_ends_with_the_numbers_of_an_uninterrupted_one(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    expected = run(whole, "training.epochs=3")
    run(parts, "training.epochs=2")
    assert run(parts, "training.epochs=3", "--resume") == expected
    assert {"dice/grey matter", "dice/mean"} <= set(expected)

    losses, weights = logged(whole, "loss/seg"), logged(whole, "loss/balanced_ce/weight")
    assert len(losses) > 5
    assert losses[-1] < losses[0]
    assert weights == sorted(weights, reverse=True)
    assert weights[-1] < weights[0] == 1
    assert len(set(logged(whole, "loss/seg/norm"))) == 1
    assert logged(whole, "loss/seg/norm")[0] != 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--resume"], "There is nothing to resume: no checkpoint at"),
        (["training.epoch=2"], "no field 'training.epoch'; did you mean 'training.epochs'"),
    ],
)
def test_mistakes_end_with_a_message(arguments: list[str], words: str, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=words):
        run(tmp_path, *arguments)
