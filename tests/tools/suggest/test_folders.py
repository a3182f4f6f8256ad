"""Every kind of mask folder is judged right, or refused with what was found and the remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

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
    assert str(suggestion).startswith("Guess: 11 marks pixels to be left out; if not, set")
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
