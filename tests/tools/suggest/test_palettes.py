"""Palettes: from a name, a file of any form, a mapping, or the masks; and labels of colours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from segloss import suggest
from segloss.tools.suggest.pixels.colours import colour_of, number_of, numbers_of_pixels
from segloss.tools.suggest.pixels.palettes import KNOWN, known_palette, palette_of

LABELS = np.repeat(np.repeat(np.array([[0, 1], [2, 3]]), 12, 0), 12, 1)
COLOURS = {"car": (64, 0, 128), "road": (128, 64, 128), "void": (0, 0, 0), "sky": (9, 9, 9)}
PIXELS = np.array(list(COLOURS.values()), np.uint8)[LABELS]

FILES = {
    "class_dict.csv": "name,r,g,b\ncar,64,0,128\nroad,128,64,128\nvoid,0,0,0\nsky,9,9,9\n",
    "label_colors.txt": "64 0 128\tcar\n128 64 128\troad\n0 0 0\tvoid\n9 9 9\tsky\n",
    "labelmap.txt": "# label:color_rgb:parts:actions\n"
    "car:64,0,128::\nroad:128,64,128::\nvoid:0,0,0::\nsky:9,9,9::\n",
    "palette.gpl": "GIMP Palette\nName: mine\nColumns: 4\n#\n"
    " 64   0 128\tcar\n128  64 128\troad\n  0   0   0\tvoid\n  9   9   9\tsky\n",
    "hex.txt": "car #400080\nroad: #804080\nvoid #000000\nsky #090909\n",
    "ids.csv": "id,r,g,b,name\n0,64,0,128,car\n1,128,64,128,road\n2,0,0,0,void\n3,9,9,9,sky\n",
    "a.json": '{"car": [64, 0, 128], "road": "#804080", "void": [0, 0, 0], "sky": [9, 9, 9]}',
    "b.json": '[{"name": "car", "color": [64, 0, 128]}, {"name": "road", "color": [128, 64, 128]},'
    ' {"name": "void", "color": [0, 0, 0]}, {"name": "sky", "color": [9, 9, 9]}]',
}


@pytest.mark.parametrize("name", FILES)
def test_files_of_all_forms_give_the_same_palette(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(FILES[name])
    found = palette_of(path)
    assert found is not None
    assert dict(found.numbers) == {each: number_of(colour) for each, colour in COLOURS.items()}


def test_labels_follow_the_palette_and_the_void_becomes_255() -> None:
    found = suggest([PIXELS], colours=COLOURS).classes
    assert list(found.names) == ["car", "road", "sky"]
    assert found.ignore_index == 255
    expected = np.array([0, 1, 255, 2])[LABELS]
    assert np.array_equal(found.labels(PIXELS), expected)
    assert np.array_equal(found.labels(numbers_of_pixels(PIXELS)), expected)
    assert [c.pixels for c in found.present] == [144] * 3
    assert "#400080 is 0 (car)" in found.reason
    assert "#000000 must become 255" in found.reason


def test_the_void_is_no_pixel_of_a_class() -> None:
    suggestion = suggest([PIXELS], colours=COLOURS)
    assert suggestion.statistics.void == 144
    assert suggestion.classes.statistics[0].frequency == pytest.approx(1 / 3)


def test_a_class_of_the_palette_that_never_occurs_keeps_its_label() -> None:
    found = suggest([PIXELS], colours=COLOURS | {"bike": (1, 2, 3)}).classes
    assert found.n_classes == 4
    assert found.unused == [3]


def test_a_known_palette_gives_names_if_it_is_the_only_one() -> None:
    numbers = [number_of(c) for c in ((0, 0, 0), (128, 0, 0), (128, 64, 128), (64, 0, 128))]
    assert known_palette(numbers) is KNOWN["camvid"]
    assert known_palette([number_of(c) for c in ((0, 0, 0), (128, 0, 0), (128, 128, 0))]) is None
    assert known_palette([*numbers, number_of((1, 2, 3))]) is None


def test_colours_of_cityscapes_and_voc() -> None:
    assert len(KNOWN["cityscapes"].classes) == 19
    assert list(KNOWN["voc"].classes)[15] == "person"
    assert KNOWN["voc"].numbers["person"] == number_of((192, 128, 128))
    assert len(KNOWN["camvid"].numbers) == 32


def test_numbers_and_colours_are_inverse() -> None:
    for colour in ((0, 0, 0), (255, 255, 255), (7, 7, 7), (0, 0, 255), (255, 0, 0), (1, 2, 3)):
        assert colour_of(number_of(colour)) == colour
    pixels = np.array([[[5, 5, 5], [0, 0, 255]]], np.uint8)
    assert numbers_of_pixels(pixels).tolist() == [[5, number_of((0, 0, 255))]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("car,64,0,128\n", "at least two colours"),
        ("car,64,0,128\nbus,64,0,128\n", "a second time"),
        ("car,64,0,128\ncar,1,2,3\n", "a second time"),
        ("car,64,0,300\nbus,1,2,3\n", "0 to 255"),
    ],
)
def test_a_wrong_palette_is_told(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "palette.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=words):
        suggest([PIXELS], colours=path)


def test_an_unknown_palette_is_told() -> None:
    with pytest.raises(FileNotFoundError, match=r"neither a palette nor a file 'kamvid'.*camvid"):
        suggest([PIXELS], colours="kamvid")
    with pytest.raises(TypeError, match="colours must be 'data'"):
        suggest([PIXELS], colours=3)


def test_colours_that_number_objects_are_refused() -> None:
    masks = []
    for i in range(3):
        ids = np.repeat(np.repeat(np.arange(49).reshape(7, 7) + 50 * i, 6, 0), 6, 1)
        masks.append(np.stack([ids, 255 - ids, ids // 2], -1).astype(np.uint8))
    with pytest.raises(ValueError, match="147 are in a single mask, so they may number objects"):
        suggest(masks)
    assert suggest(masks, colours="data").classes.n_classes == 147
