"""The brain example, shortened: it trains, resumes, evaluates, draws, and says what is wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import brain_tissue
import numpy as np
import pytest
import torch

SHORT = [
    "data.slice_step=16",
    "augmentation.crop=32",
    "loss_params.compound_loss.normalization_params.max_samples=4",
]


@pytest.fixture(autouse=True)
def _deterministic_only_here() -> Iterator[None]:
    yield
    torch.use_deterministic_algorithms(False)


def run(output: Path, *arguments: str) -> dict:
    brain_tissue.main([*SHORT, "--output", str(output), *arguments])
    report = json.loads((output / "metrics.json").read_text())
    report.pop("seconds")
    return report


def losses(output: Path) -> list[float]:
    checkpoint = torch.load(output / "checkpoint.pt", weights_only=True)
    return [record["total"] for record in checkpoint["history"]]


def test_a_run_writes_metrics_a_checkpoint_and_pictures(tmp_path: Path) -> None:
    report = run(tmp_path, "training.epochs=1")
    assert set(report["dice"]) == {"other tissue", "grey matter", "white matter"}
    assert report["mean_dice"] == pytest.approx(np.mean([*report["dice"].values()]))
    assert 0.9 < report["lookup_mean_dice"] < 0.96
    assert (tmp_path / "checkpoint.pt").stat().st_size > 0
    for picture in ("losses.png", "slices.png"):
        assert (tmp_path / picture).read_bytes().startswith(b"\x89PNG")


def test_a_resumed_run_ends_with_the_numbers_of_an_uninterrupted_one(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    expected = run(whole, "training.epochs=3")
    run(parts, "training.epochs=1")
    assert run(parts, "training.epochs=3", "--resume") == expected
    assert losses(parts) == losses(whole)


def test_any_field_of_the_config_can_be_overridden(tmp_path: Path) -> None:
    run(tmp_path, "training.epochs=1", "loss_params.compound_loss.loss_list.0.dice_coef=0")
    history = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["history"]
    assert "seg.dice" not in history[0]["terms"]
    assert "seg.focal_tversky" in history[0]["terms"]


def test_training_slices_keep_their_distance_from_the_test() -> None:
    settings = brain_tissue.load_config(
        brain_tissue.BrainSettings, Path(brain_tissue.__file__).with_suffix(".yaml")
    )
    brain = brain_tissue.load_brain(settings.data.tissue_threshold)
    training, test = brain_tissue.split(brain, settings.data)
    distances = np.abs(training.height[:, None] - test.height[None])
    assert distances.min() > settings.data.gap
    assert set(np.unique(test.labels)) == {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["training.epoch=2"], "no field 'training.epoch'; did you mean 'training.epochs'"),
        (["training.epochs"], "An override must be field=value"),
        (["training.epochs=many"], "does not fit"),
        (["training.epochs=0"], "training.epochs must be at least 1, got 0"),
        (["loss_params.compound_loss.loss_list.0.dice_coef=-1"], "dice_coef must be"),
        (["--config", "nowhere.yaml"], "There is no config file at 'nowhere.yaml'"),
        (["--resume"], "There is nothing to resume: no checkpoint at"),
    ],
)
def test_mistakes_end_with_a_message_and_write_nothing(
    arguments: list[str], words: str, tmp_path: Path
) -> None:
    output = tmp_path / "new"
    with pytest.raises(SystemExit, match=words):
        brain_tissue.main(["--output", str(output), *arguments])
    assert not output.exists()


def test_a_checkpoint_of_other_settings_is_not_resumed(tmp_path: Path) -> None:
    run(tmp_path, "training.epochs=1")
    with pytest.raises(SystemExit, match=r"training.learning_rate.1 was 0.003, is 0.1"):
        run(tmp_path, "training.epochs=2", "training.learning_rate=[0,0.1,0]", "--resume")
