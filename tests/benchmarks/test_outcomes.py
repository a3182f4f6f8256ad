"""The study of outcomes: its scores are right, and all losses of a seed see the same batches."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import outcomes.report
import pytest
import torch
from outcomes.data import VOID, Dataset
from outcomes.losses import LOSSES, VARIANTS, of_name
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
        torch.cat([batch["image"] for batch in dataset.batches(3, 4, 24, seed)])
        for seed in (0, 0, 1)
    )
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    assert not torch.equal(first, other)
    assert first.shape == (12, 3, 24, 24)


def test_images_and_labels_turn_together(path: Path) -> None:
    for batch in Dataset.load(path).batches(4, 4, 128, 0):
        bright = batch["image"].mean(1) > 0.2
        counts = batch["gt_polygons_image"] != 255
        assert torch.equal(bright[counts], batch["gt_polygons_image"][counts] == 1)


def test_a_run_is_written_once_and_shown(path: Path, tmp_path: Path) -> None:
    from outcomes_study import app

    results, picture = tmp_path / "runs.jsonl", tmp_path / "differences.png"
    command = [str(path), "--seeds", "1", "--steps", "2", "--output", str(results)]
    for name in ("MONAI DiceCE", "default"):
        command += ["--loss", name]
    for _ in range(2):
        shown = CliRunner().invoke(
            app, [*command, "--picture", str(picture)], catch_exceptions=False
        )
        assert "default" in shown.stdout
    shown = CliRunner().invoke(app, [*command, "--page"], catch_exceptions=False)
    tables = [line.count("|") for line in shown.stdout.splitlines() if "|" in line]
    assert tables == [4] * 3 * len(outcomes.report.SCORES)
    runs = [json.loads(line) for line in results.read_text().splitlines()]
    assert [run["loss"] for run in runs] == ["MONAI DiceCE", "default"]
    for name in ("MONAI DiceCE", "default"):
        [value] = outcomes.report.values_of(runs, name, "test", "mean Dice")
        assert 0 <= value <= 1
    assert picture.stat().st_size > 0


def test_a_run_is_repeated_if_the_settings_of_its_loss_change(path: Path, tmp_path: Path) -> None:
    from outcomes_study import app

    results, config = tmp_path / "runs.jsonl", tmp_path / "loss.yaml"
    command = [str(path), "--seeds", "1", "--steps", "1", "--output", str(results)]
    for share in (0.4, 0.5, 0.5):
        config.write_text(
            "loss: {_target_: segloss.SegLoss, name: seg, from_logits: true, ignore_index: 255, "
            f"dice_coef: {share}}}"
        )
        CliRunner().invoke(app, [*command, "--loss", str(config)], catch_exceptions=False)
    assert len(results.read_text().splitlines()) == 2


def test_one_loss_under_two_names_runs_once(path: Path, tmp_path: Path) -> None:
    from outcomes_study import app

    results = tmp_path / "runs.jsonl"
    command = [str(path), "--seeds", "1", "--steps", "1", "--output", str(results), "--page"]
    for name in ("recommended", "suggestion"):  # every image has both classes
        command += ["--loss", name]
    shown = CliRunner().invoke(app, command, catch_exceptions=False)
    assert len(results.read_text().splitlines()) == 1
    assert "| recommended |" in shown.stdout
    assert "| suggestion |" in shown.stdout


def test_an_unknown_loss_is_refused_with_the_names(path: Path) -> None:
    from outcomes_study import app

    shown = CliRunner().invoke(app, [str(path), "--loss", "dise"])
    assert shown.exit_code == 2
    assert "dise" in shown.output


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("name", [*LOSSES, *VARIANTS])
def test_every_loss_is_less_for_better_logits(name: str, classes: int) -> None:
    if name.startswith("nnU-Net"):
        pytest.importorskip("nnunetv2")
    labels = torch.zeros(12, 32, 32, dtype=torch.uint8)
    labels[:, 8:20, 8:20] = 1
    labels[:6, 24:30, 2:8] = classes - 1
    labels[:, 0, 0] = VOID
    dataset = Dataset("squares", torch.zeros(12, 3, 32, 32), labels, torch.zeros(12))
    contender = of_name(name)(dataset)
    [batch] = dataset.batches(1, 4, 32, 0, contender.transforms)
    right = torch.nn.functional.one_hot(batch["gt_polygons_image"].long() % VOID, classes)
    logits = 8 * right.movedim(-1, 1).float()[:, -contender.channels :] - 4
    better, worse = (contender.loss(sign * logits, batch, 0.5) for sign in (1, -1))
    assert better < worse


def test_the_rarer_half_of_the_classes_has_the_least_pixels() -> None:
    run = {"shares": [0.1, 0.2, 0.02, 0.4, 0.28], "rarest": 2}
    scores = {"dice": [0.0, 0.3, 0.1, 0.0, 0.0], "objects_f1": 0.0, "small_objects_found": 0.0}
    assert outcomes.report.SCORES["rarer half of the classes"](run, scores) == pytest.approx(0.2)
    binary = {"shares": [0.1, 0.9], "rarest": 0}
    assert outcomes.report.SCORES["rarer half of the classes"](binary, scores) == 0.3


def test_the_best_peer_is_that_of_the_mean_and_differences_are_paired() -> None:
    def run(loss: str, seed: int, dice: float) -> dict[str, Any]:
        scores = {"dice": [1.0, dice], "objects_f1": 0.0, "small_objects_found": 0.0}
        facts = {"loss": loss, "seed": seed, "rarest": 1, "shares": [0.9, 0.1]}
        return {**facts, "scores": {"test": scores}}

    runs = [run("MONAI DiceCE", 0, 0.5), run("smp Dice + CE", 0, 0.4), run("default", 1, 0.75)]
    runs += [run("MONAI DiceCE", 1, 0.5), run("smp Dice + CE", 1, 0.8), run("default", 0, 0.5)]
    names = ["default", "MONAI DiceCE", "smp Dice + CE"]
    assert outcomes.report.best_peer(runs, names, "test", "mean Dice") == "smp Dice + CE"
    differences = outcomes.report.differences(runs, "default", "smp Dice + CE", "test")
    assert differences == pytest.approx([0.1, -0.05])
