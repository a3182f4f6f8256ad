"""The study of outcomes: its scores are right, and all losses of a seed see the same batches."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import outcomes.report
import pytest
import torch
from outcomes.data import Dataset
from outcomes.scores import objects, scores
from typer.testing import CliRunner


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A data set of squares, with a pixel that does not count in each image."""
    generator = np.random.default_rng(0)
    labels = np.zeros((12, 32, 32), dtype=np.uint8)
    for i, (top, left) in enumerate(generator.integers(1, 24, (12, 2))):
        labels[i, top : top + 6, left : left + 6] = 1
    images = np.repeat(200 * labels[..., None], 3, -1) + generator.integers(0, 40, (12, 32, 32, 3))
    labels[:, 0, 0] = 255
    np.savez(
        tmp_path / "squares.npz",
        image=images.astype(np.uint8),
        label=labels,
        split=np.array([0] * 8 + [1] * 2 + [2] * 2, dtype=np.int8),
    )
    return tmp_path / "squares.npz"


def test_objects_are_found_if_more_than_half_of_the_union_is_hit() -> None:
    truth = np.zeros((8, 12), dtype=bool)
    truth[1:4, 1:4] = truth[5:7, 1:11] = True
    prediction = np.zeros_like(truth)
    prediction[1:4, 1:3] = True  # 6 of 9
    prediction[5:7, 1:6] = True  # 10 of 20: half is too little
    prediction[0, 11] = True
    areas, found, predicted = objects(prediction, truth)
    assert (areas, found, predicted) == ([9, 20], [True, False], 3)


def test_dice_is_over_all_pixels_that_count() -> None:
    truth = np.array([[[0, 0, 1, 1, 255]], [[1, 0, 0, 0, 0]]])
    prediction = np.array([[[0, 1, 1, 1, 1]], [[0, 0, 0, 0, 0]]])
    result = scores([*prediction], [*truth], 2)
    assert result["dice"] == pytest.approx([2 * 5 / 12, 2 * 2 / 6])
    assert result["objects_f1"] == pytest.approx(2 * 1 / (2 + 1))


def test_batches_depend_on_the_seed_alone(path: Path) -> None:
    dataset = Dataset.load(path)
    first, second, other = (
        torch.cat([batch["image"] for batch in dataset.batches(3, 4, seed)]) for seed in (0, 0, 1)
    )
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    assert not torch.equal(first, other)


def test_images_and_labels_turn_together(path: Path) -> None:
    for batch in Dataset.load(path).batches(4, 4, 0):
        bright = batch["image"].mean(1) > 0.2
        counts = batch["gt_polygons_image"] != 255
        assert torch.equal(bright[counts], batch["gt_polygons_image"][counts] == 1)


def test_a_run_is_written_once_and_shown(path: Path, tmp_path: Path) -> None:
    from outcomes_study import app

    command = [str(path), "--losses", "default", "--seeds", "1", "--steps", "3"]
    command += ["--output", str(tmp_path / "runs.jsonl")]
    for _ in range(2):
        shown = CliRunner().invoke(app, command, catch_exceptions=False)
        assert "default" in shown.stdout
    [line] = (tmp_path / "runs.jsonl").read_text().splitlines()
    run = json.loads(line)
    [value] = outcomes.report.values_of([run], "default", "test", "foreground Dice")
    assert 0 <= value <= 1


def test_an_unknown_loss_is_refused_with_the_names(path: Path) -> None:
    from outcomes_study import app

    shown = CliRunner().invoke(app, [str(path), "--losses", "dise"])
    assert shown.exit_code == 2
    assert "dise" in shown.output
