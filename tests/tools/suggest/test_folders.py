"""Every kind of mask folder is judged right, or refused with what was found and the remedy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segloss import suggest
from segloss.tools.cli.app import run
from tests.support.mask_folders import KINDS, Judged, Kind, Refused, written


@pytest.mark.parametrize("name", [n for n, k in KINDS.items() if isinstance(k.expected, Judged)])
def test_a_folder_is_judged_right(name: str, tmp_path: Path) -> None:
    kind: Kind = KINDS[name]
    expected = kind.expected
    suggestion = suggest(written(kind, tmp_path / "masks"), **kind.options)
    found = suggestion.classes
    assert (found.n_classes, found.ignore_index) == (expected.n_classes, expected.ignore_index)
    assert found.channels == (expected.channels or expected.n_classes)
    assert found.sigmoid == (expected.channels is not None)
    if expected.masks is not None:
        assert suggestion.statistics.masks == expected.masks
    text = " ".join(found.guesses)
    assert all(words in text for words in expected.guesses)
    assert bool(expected.guesses) == bool(found.guesses), text
    assert suggestion.build()


@pytest.mark.parametrize("name", [n for n, k in KINDS.items() if isinstance(k.expected, Refused)])
def test_a_folder_is_refused_with_a_remedy(name: str, tmp_path: Path) -> None:
    kind = KINDS[name]
    masks = written(kind, tmp_path / "masks")
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        suggest(masks, **kind.options)
    assert [words for words in kind.expected.words if words not in str(caught.value)] == []


def test_a_guess_is_the_first_line(tmp_path: Path) -> None:
    suggestion = suggest(written(KINDS["void last"], tmp_path / "masks"))
    first, second, *_ = str(suggestion).splitlines()
    assert first == "Guess: 11 marks pixels to be left out; if not, set --ignore-index none."
    assert second.startswith("6 masks, 2D")
    lines = suggestion.to_yaml().splitlines()
    assert lines[1].startswith("# Guess: 11 marks")


def test_bad_files_are_a_list_on_the_terminal(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    written(KINDS["broken files"], tmp_path / "masks")
    assert run(["suggest", "masks"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "segloss: error: 4 of 7 masks can't be used:"
    assert [line.split(":")[0] for line in lines[1:]] == [
        "  1.png",
        "  2.png",
        "  3.png",
        "  9.png",
    ]


def test_labels_are_what_the_loss_takes(tmp_path: Path) -> None:
    for name, values in {
        "binary masks after JPEG": {0, 1},
        "nuclei": {0, 1},
        "trimaps": {0, 1, 128},
        "void last": set(range(12)),
        "colours": set(range(5)),
    }.items():
        masks = written(KINDS[name], tmp_path / name)
        found = suggest(masks).classes
        labels = [found.labels(np.asarray(Image.open(path))) for path in masks.iterdir()]
        assert set(np.unique(np.concatenate([each.ravel() for each in labels]))) == values


def test_statistics_are_those_without_the_pixels_left_out(tmp_path: Path) -> None:
    masks = written(KINDS["void last"], tmp_path / "masks")
    guessed, given = suggest(masks), suggest(masks, ignore_index=11)
    assert guessed.config == given.config
    assert guessed.statistics.void == given.statistics.void > 0


def test_an_iterator_is_told_to_be_a_list_where_masks_are_counted_twice(tmp_path: Path) -> None:
    masks = [np.asarray(Image.open(p)) for p in written(KINDS["nuclei"], tmp_path).iterdir()]
    assert suggest(masks).classes.n_classes == 2
    assert suggest(iter(masks), values="objects").classes.n_classes == 2
    with pytest.raises(ValueError, match="pass a list or a folder"):
        suggest(iter(masks))


def test_names_of_labels_come_from_files_beside_the_masks(tmp_path: Path) -> None:
    masks = written(KINDS["label maps"], tmp_path / "masks")
    (masks / "classes.txt").write_text("ground\ncar\nroad\nsky\n")
    assert list(suggest(masks).classes.names) == ["ground", "car", "road", "sky"]
    (masks / "classes.txt").unlink()
    (masks / "_classes.csv").write_text("Pixel Value, Class\n0, ground\n3, sky\n")
    assert list(suggest(masks).classes.names) == ["ground", "class 1", "class 2", "sky"]


def test_compressed_tiff_is_read_without_other_libraries(tmp_path: Path) -> None:
    labels = np.repeat(np.arange(4, dtype=np.uint8), 100).reshape(20, 20)
    Image.fromarray(labels).save(tmp_path / "a.tif", compression="tiff_lzw")
    assert suggest(tmp_path).classes.n_classes == 4
