"""The buildings example, shortened, and its scenes, whose truth is exact."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import building_footprints
import numpy as np
import pytest
import torch
from example_parts.scenes import distance_to_wall, is_inside, make_scene

from segloss.frame_field.arithmetic import image_gradient

SHORT = [
    "data.side=96",
    "data.buildings=3",
    "data.training_scenes=6",
    "data.test_scenes=4",
    "training.batch_size=3",
    "loss_params.compound_loss.normalization_params.max_samples=3",
]


@pytest.fixture(autouse=True)
def _deterministic_only_here() -> Iterator[None]:
    yield
    torch.use_deterministic_algorithms(False)


def run(output: Path, *arguments: str) -> dict:
    building_footprints.main([*SHORT, "--output", str(output), *arguments])
    report = json.loads((output / "metrics.json").read_text())
    report.pop("seconds")
    return report


def test_a_run_writes_metrics_checkpoints_and_pictures(tmp_path: Path) -> None:
    report = run(tmp_path, "training.epochs=1")
    assert set(report) == {"frame field", "masks alone"}
    for values in report.values():
        assert 0 <= values["interior_iou"] <= 1
        assert 0 <= values["field_angle"] <= 45
    history = torch.load(tmp_path / "frame_field.pt", weights_only=True)["history"]
    assert len(history[0]["losses"]) == 7
    assert len(torch.load(tmp_path / "masks_alone.pt", weights_only=True)["history"]) == 2
    for picture in ("losses.png", "buildings.png"):
        assert (tmp_path / picture).read_bytes().startswith(b"\x89PNG")


def test_a_resumed_run_ends_with_the_numbers_of_an_uninterrupted_one(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    smaller = ["data.training_scenes=3", "data.test_scenes=2"]
    expected = run(whole, *smaller, "training.epochs=2")
    run(parts, *smaller, "training.epochs=1")
    (parts / "masks_alone.pt").unlink()  # as if interrupted before the second training
    assert run(parts, *smaller, "training.epochs=2", "--resume") == expected


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["data.side=100"], "data.side must be a multiple of 16"),
        (["data.buildings=1"], "data.buildings must be at least 2"),
        (["--resume"], "nothing to resume"),
        (["loss_params.compound_loss.loss_list.1.weigth=3"], "weigth"),
    ],
)
def test_mistakes_are_told_in_a_line(arguments, words: str, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as caught:
        building_footprints.main(["--output", str(tmp_path / "new"), *arguments])
    assert words in str(caught.value.code)
    assert not (tmp_path / "new").exists()


def test_a_scene_follows_from_its_seed() -> None:
    first, again, other = make_scene(96, 4, 1), make_scene(96, 4, 1), make_scene(96, 4, 2)
    assert np.array_equal(first.image, again.image)
    assert not np.array_equal(first.image, other.image)


def test_walls_surround_interiors_and_corners_lie_on_walls() -> None:
    scene = make_scene(128, 5, 0)
    interior, walls, corners = scene.masks.astype(bool)
    change = np.zeros_like(interior)
    change[1:] |= interior[1:] != interior[:-1]
    assert walls[change].mean() > 0.99
    assert (corners & walls).any()
    assert scene.sizes[~interior].min() == 1
    assert 0 < scene.sizes[interior].max() < 0.1
    assert scene.distances.min() * 256 > 3  # the gap between two buildings, at least


def test_the_outline_of_a_square_is_surveyed_exactly() -> None:
    square = np.array([[2.0, 2.0], [2.0, 6.0], [6.0, 6.0], [6.0, 2.0]])
    pixels = np.stack(np.mgrid[:8, :8], -1) + 0.5
    expected = np.zeros((8, 8), dtype=bool)
    expected[2:6, 2:6] = True
    assert np.array_equal(is_inside(square, pixels), expected)
    distance = distance_to_wall(pixels, square[0], square[1])
    assert distance[2, 3] == pytest.approx(0.5)
    assert distance[0, 0] == pytest.approx(np.hypot(1.5, 1.5))


def test_the_angle_is_that_of_the_nearest_wall() -> None:
    scene = make_scene(128, 4, 3)
    interior, walls, corners = scene.masks
    smooth = torch.from_numpy(interior).float()[None, None]
    smooth = torch.nn.functional.avg_pool2d(smooth, 7, 1, 3)
    rows, columns = image_gradient(smooth)[0, 0].numpy()
    along = np.arctan2(-rows, columns)  # a quarter turn from the gradient
    off = np.abs(along - scene.angle) % np.pi
    off = np.degrees(np.minimum(off, np.pi - off))
    assert np.median(off[(walls > 0) & (corners == 0)]) < 5
