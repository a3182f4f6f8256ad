"""Outlines of COCO and LabelMe, drawn as label maps."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segloss import suggest
from segloss.tools.suggest.annotations import read_annotations


def coco(folder: Path, segmentations: dict[int, Any], size: tuple[int, int] = (6, 8)) -> Path:
    """A file with an image, and an object of each category."""
    path = folder / "instances.json"
    annotations = [
        {"image_id": 1, "category_id": category, "segmentation": segmentation}
        for category, segmentation in segmentations.items()
    ]
    categories = [{"id": c, "name": f"c{c}"} for c in (0, *segmentations)]
    images = [{"id": 1, "file_name": "a.jpg", "height": size[0], "width": size[1]}]
    found = {"images": images, "annotations": annotations, "categories": categories}
    path.write_text(json.dumps(found))
    return path


def encoded(lengths: list[int]) -> str:
    """Run lengths as COCO writes them: differences from the third on, 5 bits a character."""
    text = ""
    for i, length in enumerate(lengths):
        number = length - lengths[i - 2] if i > 2 else length
        while True:
            bits, number = number & 31, number >> 5
            more = number != (-1 if bits & 16 else 0)
            text += chr(48 + bits + 32 * more)
            if not more:
                break
    return text


def lengths_of(mask: np.ndarray) -> list[int]:
    """Run lengths by columns, beginning with those outside."""
    flat = mask.T.ravel().astype(int)
    changes = np.flatnonzero(np.diff(np.concatenate([[0], flat, [-1]])))
    return np.diff(np.concatenate([[0], changes])).tolist()


@pytest.mark.parametrize("as_text", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_run_lengths_are_those_of_the_mask(seed: int, as_text: bool, tmp_path: Path) -> None:
    mask = np.random.default_rng(seed).random((40, 70)) < (0.5, 0.01, 0.99, 0.2, 0.0)[seed]
    mask[0, 0] |= seed == 4
    lengths = lengths_of(mask)
    counts = encoded(lengths) if as_text else lengths
    path = coco(tmp_path, {3: {"size": [40, 70], "counts": counts}}, mask.shape)
    [drawing] = read_annotations([path]).drawings
    assert np.array_equal(drawing(), mask)


def test_labels_follow_the_ids_of_categories_that_have_outlines(tmp_path: Path) -> None:
    square = [0, 0, 7, 0, 7, 5, 0, 5]
    small = [2, 2, 4, 2, 4, 4, 2, 4]
    path = coco(tmp_path, {9: [small], 4: [square]})
    found = suggest(path)
    assert list(found.classes.names) == ["background", "c4", "c9"]
    [drawing] = read_annotations([path]).drawings
    assert drawing()[3, 3] == 2  # the small one lies on the large one
    assert drawing()[0, 0] == 1


def test_run_lengths_of_another_size_are_told(tmp_path: Path) -> None:
    path = coco(tmp_path, {1: {"size": [6, 8], "counts": [40, 9]}})
    with pytest.raises(ValueError, match=r"a\.jpg: its run lengths must fill 6 x 8 pixels"):
        suggest(path)


def test_files_of_train_and_val_are_read_together(tmp_path: Path) -> None:
    square = [[1, 1, 4, 1, 4, 4, 1, 4]]
    for name in ("train", "val"):
        (tmp_path / name).mkdir()
        coco(tmp_path / name, {1: square})
    assert suggest(tmp_path).statistics.masks == 2


def test_the_outlines_of_people_with_keypoints_count_once(tmp_path: Path) -> None:
    path = coco(tmp_path, {1: [[1, 1, 4, 1, 4, 4, 1, 4]], 2: [[5, 1, 7, 1, 7, 4, 5, 4]]})
    found = json.loads(path.read_text())
    found["annotations"] = [{**found["annotations"][0], "keypoints": [2, 2, 2]}]
    (tmp_path / "person_keypoints.json").write_text(json.dumps(found))
    assert suggest(tmp_path).statistics.masks == 1
    path.unlink()
    assert suggest(tmp_path).statistics.masks == 1


def test_json_of_something_else_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"a": 1}')
    with pytest.raises(ValueError, match=r"a\.json does not: export the annotations as COCO"):
        suggest(tmp_path)
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(ValueError, match=r"a\.json can't be read as JSON"):
        suggest(tmp_path / "a.json")


def labelme(folder: Path, *shapes: dict[str, Any]) -> Path:
    """A file of an image of 6 x 8 pixels."""
    path = folder / "a.json"
    found = {"imagePath": "a.jpg", "imageHeight": 6, "imageWidth": 8, "shapes": shapes}
    path.write_text(json.dumps(found))
    return path


@pytest.mark.parametrize("corner", [(2, 1), (-1, -2), (6, 4)])
def test_masks_of_labelme_lie_at_their_corner(corner: tuple[int, int], tmp_path: Path) -> None:
    stamp = np.array([[1, 0, 1], [1, 1, 0], [0, 1, 1]], dtype=np.uint8)
    png = io.BytesIO()
    Image.fromarray(255 * stamp).save(png, "PNG")
    left, top = corner
    path = labelme(
        tmp_path,
        {"label": "dog", "points": [[0, 0], [7, 0], [7, 5], [0, 5]], "shape_type": "polygon"},
        {
            "label": "cat",
            "points": [corner, [left + 2, top + 2]],
            "shape_type": "mask",
            "mask": base64.b64encode(png.getvalue()).decode(),
        },
    )
    expected = np.full((12, 14), 2)
    expected[top + 3 : top + 6, left + 3 : left + 6][stamp > 0] = 1
    annotations = read_annotations([path])
    assert annotations.names == {0: "background", 1: "cat", 2: "dog"}
    [drawing] = annotations.drawings
    assert np.array_equal(drawing(), expected[3:9, 3:11])


@pytest.mark.parametrize("kind", ["rectangle", "oriented_rectangle", "polygon", None])
def test_four_corners_are_a_region_whatever_the_shape_is_called(kind, tmp_path: Path) -> None:
    corners = [[1, 1], [4, 1], [4, 3], [1, 3]]
    path = labelme(tmp_path, {"label": "a", "points": corners, "shape_type": kind})
    assert read_annotations([path]).drawings[0]().sum() == 12


def test_a_shape_that_is_unknown_is_told(tmp_path: Path) -> None:
    path = labelme(tmp_path, {"label": "a", "points": [[0, 0]], "shape_type": "ellipse"})
    with pytest.raises(ValueError, match=r"polygon, rectangle.*a\.json has ellipse: change it"):
        suggest(path)


@pytest.mark.parametrize("kind", ["point", "points", "line", "linestrip"])
def test_a_shape_without_area_is_no_class(kind: str, tmp_path: Path) -> None:
    square = {"label": "a", "points": [[1, 1], [4, 1], [4, 3]], "shape_type": "polygon"}
    path = labelme(tmp_path, square, {"label": "b", "points": [[0, 0]], "shape_type": kind})
    assert read_annotations([path]).names == {0: "background", 1: "a"}
