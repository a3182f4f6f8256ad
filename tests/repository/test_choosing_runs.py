"""The runs behind docs/choosing.md, shortened, and that the page says what they were."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import choosing_runs
import numpy as np
import pytest
import torch
import yaml
from choosing_runs import Outcome, best_by_seed, mean_and_range, recipes

PAGE = choosing_runs.ROOT / "docs" / "choosing.md"
SHORT = [
    "data.slice_step=16",
    "augmentation.crop=32",
    "training.epochs=1",
    "loss_params.compound_loss.normalization_params.max_samples=4",
]


@pytest.fixture(autouse=True)
def _deterministic_only_here() -> Iterator[None]:
    yield
    torch.use_deterministic_algorithms(False)


def example_losses() -> list[dict]:
    config = yaml.safe_load((choosing_runs.HERE / "brain_tissue.yaml").read_text())
    return config["loss_params"]["compound_loss"]["loss_list"]


def test_the_page_is_written_by_the_runs(tmp_path: Path) -> None:
    page = tmp_path / "choosing.md"
    page.write_text(
        re.sub(
            r"(<!-- runs: \w+ -->\n).*?(<!-- end -->)", r"\1\2", PAGE.read_text(), flags=re.DOTALL
        )
    )
    options = ["--output", str(tmp_path / "runs"), "--page", str(page), "--images", str(tmp_path)]
    choosing_runs.main([*SHORT, "--seeds", "1", *options])
    text = page.read_text()
    assert "Seeds for each loss: 1. Epochs of each run: 1, with `data.slice_step=16`" in text
    for name in recipes(example_losses()):
        assert len(re.findall(rf"^\| {name} \| [\d.]+ ", text, re.MULTILINE)) == 2
    for picture in ("dice.png", "reliability.png", "slices.png"):
        assert (tmp_path / picture).read_bytes().startswith(b"\x89PNG")
    losses = {
        recipe: torch.load(choosing_runs.folder_of(tmp_path / "runs", recipe, 0) / "checkpoint.pt")
        for recipe in recipes(example_losses())
    }
    terms = {recipe: set(state["history"][0]["terms"]) for recipe, state in losses.items()}
    assert terms["cross-entropy alone"] == {"seg.cross_entropy"}
    assert terms["Dice alone"] == {"seg.dice"}
    assert terms["SegLoss"] == {"seg.cross_entropy", "seg.dice", "seg.focal_tversky"}
    assert set(losses["SegLoss, scheduled"]["history"][0]["losses"]) == {"seg", "balanced_ce"}


def test_the_configs_on_the_page_are_those_of_the_runs() -> None:
    blocks = re.findall(r"^```yaml\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    shown = [yaml.safe_load(b)["loss_params"]["compound_loss"]["loss_list"] for b in blocks]
    made = recipes(example_losses())
    assert shown == [made["SegLoss"], made["SegLoss, scheduled"]]


def test_the_page_has_results() -> None:
    text = PAGE.read_text()
    for name in recipes(example_losses()):
        assert len(re.findall(rf"^\| {name} \| [\d.]+ ", text, re.MULTILINE)) == 2
    for picture in re.findall(r"\]\((images/choosing/[^)]+)\)", text):
        assert (PAGE.parent / picture).is_file()


def test_sure_errors_are_a_share_of_the_errors() -> None:
    confidence = np.array([0.999, 0.999, 0.6, 0.995], dtype=np.float32)
    right = np.array([True, False, False, False])
    outcome = Outcome({"a": 0.5, "b": 0.7}, confidence, right, 0.1)
    assert outcome.sure_errors == pytest.approx(2 / 3)
    assert outcome.mean_dice == pytest.approx(0.6)


def test_the_best_of_each_seed_is_counted() -> None:
    def outcomes(*scores: float) -> list[Outcome]:
        return [Outcome({"a": score}, np.ones(1), np.ones(1, bool), 0.0) for score in scores]

    groups = {"one": outcomes(0.9, 0.1, 0.8), "two": outcomes(0.5, 0.2, 0.7)}
    assert best_by_seed(groups) == "Number of seeds with the best mean: one 2, two 1."


def test_a_spread_has_its_mean_and_its_ends() -> None:
    assert mean_and_range([0.5]) == "0.500"
    assert mean_and_range([0.5, 0.7, 0.9]) == "0.700 (0.500 to 0.900)"
