"""`segloss suggest`, through Typer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from segloss import build_loss
from segloss.tools.cli.suggest import suggest

app = typer.Typer()
app.command()(suggest)


@pytest.fixture
def masks(tmp_path: Path) -> Path:
    folder = tmp_path / "masks"
    folder.mkdir()
    for number in range(3):
        mask = np.zeros((40, 40), np.uint8)
        mask[: 4 + number] = 255
        Image.fromarray(mask).save(folder / f"{number}.png")
    return folder


def run(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_it_writes_a_config_and_a_picture_and_says_why(masks: Path, tmp_path: Path) -> None:
    config, picture = tmp_path / "loss.yaml", tmp_path / "dataset.png"
    result = run(masks, "--output", config, "--picture", picture, "--workers", 2)
    assert result.exit_code == 0, result.output
    assert build_loss(config).loss_funcs[0].n_classes == 2
    assert picture.read_bytes().startswith(b"\x89PNG")
    words = " ".join(result.stdout.split())
    assert "3 masks, 2D, sides of 40 pixels; masks hold 0 and 255" in words
    assert "terms.focal_tversky" in words
    assert "Salehi" in words


def test_several_ignored_values_go_into_the_config(masks: Path, tmp_path: Path) -> None:
    marked = np.zeros((40, 40), np.uint8)
    marked[:9], marked[9:12], marked[12:15] = 255, 254, 253
    Image.fromarray(marked).save(masks / "marked.png")
    config = tmp_path / "loss.yaml"
    written = ("--output", config, "--picture", tmp_path / "dataset.png")
    result = run(masks, *written, "--ignore-index", 254, "--ignore-index", 253)
    assert result.exit_code == 0, result.output
    assert build_loss(config).loss_funcs[0].ignore_index == (253, 254)


def test_what_is_there_is_kept_before_any_mask_is_read(masks: Path, tmp_path: Path) -> None:
    config = tmp_path / "loss.yaml"
    config.write_text("mine")
    arguments = ("--output", config, "--picture", tmp_path / "dataset.png")
    unreadable = tmp_path / "unreadable"
    unreadable.mkdir()
    (unreadable / "0.png").write_text("no picture")
    result = run(unreadable, *arguments)
    assert isinstance(result.exception, FileExistsError)
    assert "--force" in str(result.exception)
    assert config.read_text() == "mine"
    assert run(masks, *arguments, "--force").exit_code == 0
    assert build_loss(config)


def test_mistakes_are_exceptions_that_write_nothing(masks: Path, tmp_path: Path) -> None:
    output = ("--output", tmp_path / "loss.yaml", "--picture", tmp_path / "dataset.png")
    missing = run(tmp_path / "nowhere", *output).exception
    assert isinstance(missing, FileNotFoundError)
    assert "There is no folder of masks at" in str(missing)
    assert "layout must be one of" in str(run(masks, *output, "--layout", "x").exception)
    assert "hold only" in str(run(masks, *output, "--ignore-index", "255").exception)
    assert [path.name for path in tmp_path.iterdir()] == ["masks"]
