"""Masks in files: every format gives the same labels, and what is no mask is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

import segloss
from segloss import suggest

LABELS = np.repeat(np.repeat(np.array([[0, 1], [2, 1]], np.uint8), 8, 0), 8, 1)


def write(folder: Path, name: str, mask: np.ndarray) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    if name.endswith((".tif", ".tiff")):
        tifffile.imwrite(path, mask)
    elif name.endswith(".npy"):
        np.save(path, mask)
    elif name.endswith(".npz"):
        np.savez_compressed(path, mask=mask)
    elif name.endswith((".nii", ".nii.gz")):
        nibabel.save(nibabel.Nifti1Image(mask, np.eye(4)), path)
    else:
        Image.fromarray(mask).save(path)
    return path


@pytest.mark.parametrize(
    "name", ["a.png", "A.PNG", "a.bmp", "a.tif", "a.tiff", "a.npy", "a.npz", "a.nii", "a.nii.gz"]
)
def test_every_format_gives_the_same_counts(name: str, tmp_path: Path) -> None:
    write(tmp_path, name, LABELS)
    counted = suggest(tmp_path).classes.statistics
    assert [c.pixels for c in counted] == [64, 128, 64]


def test_a_list_of_files_and_an_iterable_of_tensors_do_too(tmp_path: Path) -> None:
    path = write(tmp_path, "a.png", LABELS)
    expected = suggest(tmp_path).config
    assert suggest([path]).config == suggest([str(path)]).config == expected
    assert suggest(iter([torch.from_numpy(LABELS)])).config == expected
    assert suggest([LABELS.astype(np.float32)]).config == expected


def test_the_indices_of_a_palette_are_the_labels(tmp_path: Path) -> None:
    image = Image.fromarray(LABELS, mode="P")
    image.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    image.save(tmp_path / "a.png")
    assert suggest(tmp_path).classes.n_classes == 3


def test_grey_saved_as_colour_is_grey(tmp_path: Path) -> None:
    write(tmp_path, "a.png", np.stack([LABELS] * 3, -1))
    write(tmp_path, "b.png", np.stack([*[LABELS] * 3, np.full_like(LABELS, 255)], -1))
    assert suggest(tmp_path).classes.n_classes == 3


def test_volumes_are_counted_whole(tmp_path: Path) -> None:
    volume = np.zeros((6, 7, 8), np.uint8)
    volume[2:4, 2:4, 2:4] = 1
    write(tmp_path, "a.nii.gz", volume)
    suggestion = suggest(tmp_path)
    assert suggestion.classes.statistics[1].sizes == {8: 1}
    assert "3D" in str(suggestion)
    suggestion.plot(tmp_path / "dataset.png")


def test_subfolders_of_label_maps_are_read_too(tmp_path: Path) -> None:
    write(tmp_path / "berlin", "a.png", LABELS)
    write(tmp_path / "paris", "b.png", LABELS)
    assert suggest(tmp_path).statistics.masks == 2


def test_a_folder_a_class_gives_channels_with_their_names(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        write(tmp_path / "walls", name, np.where(LABELS == 1, np.uint8(255), np.uint8(0)))
        write(tmp_path / "interior", name, (LABELS > 0).astype(np.uint8))
    suggestion = suggest(tmp_path)
    assert list(suggestion.classes.names) == ["interior", "walls"]
    assert [c.pixels for c in suggestion.classes.statistics] == [2 * 192, 2 * 128]
    assert suggest(tmp_path, layout="labels", values="objects").statistics.masks == 4


def test_a_mask_that_one_class_lacks_is_named(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "c.png"):
        write(tmp_path / "walls", name, LABELS)
        write(tmp_path / "interior", name, LABELS)
    (tmp_path / "walls" / "b.png").unlink()
    with pytest.raises(ValueError, match=r"walls has no b\. .*its mask is all 0"):
        suggest(tmp_path)


def test_files_of_one_mask_must_have_one_shape(tmp_path: Path) -> None:
    write(tmp_path / "walls", "a.png", (LABELS == 1).astype(np.uint8))
    write(tmp_path / "interior", "a.png", (LABELS == 1)[:8].astype(np.uint8))
    with pytest.raises(ValueError, match=r"one shape, but have \(8, 16\), \(16, 16\)"):
        suggest(tmp_path)


def test_a_class_file_with_several_labels_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "walls", "a.png", LABELS)
    write(tmp_path / "interior", "a.png", (LABELS == 1).astype(np.uint8))
    with pytest.raises(ValueError, match="0 and one other number, but one holds 0, 1, 2"):
        suggest(tmp_path)


def test_a_folder_that_is_not_there_is_empty_or_a_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="There is no folder of masks at"):
        suggest(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="but holds no files"):
        suggest(tmp_path)
    path = write(tmp_path, "a.png", LABELS)
    with pytest.raises(NotADirectoryError, match="is a file"):
        suggest(path)


def test_jpegs_are_no_masks(tmp_path: Path) -> None:
    write(tmp_path, "a.jpg", LABELS)
    with pytest.raises(FileNotFoundError, match=r"holds only \.jpg \(JPEG changes labels"):
        suggest(tmp_path)


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (np.full((4, 4), 0.5), "holds fractions, such as 0.5"),
        (np.array([[0.0, np.nan]]), "NaN or infinity"),
        (np.array([[0, -1]]), r"holds -1, .*ignore_index=-1 \(--ignore-index -1\)"),
        (np.arange(900).reshape(30, 30), "an image, not a mask: it holds 900 different numbers"),
        (np.random.default_rng(0).integers(0, 99, (64, 64)), "an image, not a mask"),
        (np.zeros((0, 4), int), "no pixels"),
        (np.array([[0, 2**40]]), "which is not a label"),
        (np.zeros((1, 1, 4, 4), int), "one to three dimensions"),
        (np.array([["a"]]), "must hold numbers"),
        (np.array([[0, -1, -2]]), r"holds 2 numbers below 0, from -2 on.*the folder of the masks"),
        (  # a scan in Hounsfield units
            np.random.default_rng(0).normal(-500, 300, (64, 64)).astype(np.int16),
            "an image, not a mask.* If these are images, pass the folder of the masks",
        ),
        (  # a soft mask of many greys
            np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8),
            r"an image, not a mask: .*\(for a soft mask of one class, set values='soft'",
        ),
        (np.random.default_rng(0).normal(size=(4, 9, 9)), "several classes, take the argmax; for"),
        ((np.zeros((4, 4, 3)), np.zeros((4, 4))), "but is a tuple: pass the masks alone"),
        ({"image": np.zeros((4, 4)), "mask": np.zeros((4, 4))}, "but is a dict: pass the masks"),
        ([torch.zeros(2, 3, 4, 4), torch.zeros(2, 4, 4)], "but is a list: pass the masks"),
        (torch.zeros(4, 4, device="meta"), "meta tensor, which has no numbers"),
        (np.random.default_rng(0).integers(0, 9, (9, 9, 3), np.uint8), "colour image, of "),
        (
            np.random.default_rng(0).integers(0, 255, (99, 99, 3), np.uint8),
            "colour image, not a mask",
        ),
    ],
)
def test_what_is_no_mask_is_told(mask: np.ndarray, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        suggest([mask])


def test_all_bad_masks_are_told_at_once(tmp_path: Path) -> None:
    write(tmp_path, "good.png", LABELS)
    write(tmp_path, "half.npy", np.full((4, 4), 0.5))
    (tmp_path / "broken.png").write_bytes(b"\x89PNG and no more")
    (tmp_path / "broken.tif").write_bytes(b"II*")
    (tmp_path / "broken.nii.gz").write_bytes(b"no gzip")
    (tmp_path / "pickled.npy").write_bytes(b"")
    with pytest.raises(ValueError, match="5 of 6 masks can't be used") as caught:
        suggest(tmp_path)
    for name in ("half.npy", "broken.png", "broken.tif", "broken.nii.gz", "pickled.npy"):
        assert f"{name}: " in str(caught.value)
    assert "good.png" not in str(caught.value)


def test_no_masks_at_all() -> None:
    with pytest.raises(ValueError, match="at least one mask"):
        suggest([])
    with pytest.raises(ValueError, match="at least one mask"):
        suggest(iter([]))


def test_wrong_arguments_are_told() -> None:
    with pytest.raises(ValueError, match="layout must be one of"):
        suggest([LABELS], layout="clases")
    with pytest.raises(ValueError, match="workers must be at least 1"):
        suggest([LABELS], workers=0)
    with pytest.raises(TypeError, match="ignore_index"):
        suggest([LABELS], ignore_index="255")


def test_it_is_a_name_of_the_package() -> None:
    assert segloss.suggest is suggest
    assert "suggest" in dir(segloss)


@pytest.mark.parametrize(
    "change",
    [
        lambda mask: mask.bfloat16(),
        lambda mask: mask.half(),
        lambda mask: mask.float().requires_grad_(),
        lambda mask: mask.to_sparse(),
        lambda mask: mask * 1.0000001,
        lambda mask: (mask.double() * 100).numpy() * 0.01,
        lambda mask: mask.double().numpy() * (1 - 1e-7),
        lambda mask: mask.tolist(),
    ],
)
def test_numbers_of_any_type_are_the_labels(change: Callable[[torch.Tensor], Any]) -> None:
    mask = torch.as_tensor(LABELS)
    found = suggest([change(mask)]).statistics.classes
    expected = suggest([LABELS]).statistics.classes
    assert {value: c.pixels for value, c in found.items()} == {
        value: c.pixels for value, c in expected.items()
    }


def test_an_array_of_two_dimensions_is_announced_as_several_masks() -> None:
    assert suggest(LABELS).classes.guesses[0].endswith("; if it is one mask, pass [mask]")
    assert not suggest([LABELS]).classes.guesses


def test_jpeg_is_refused_whatever_the_name(tmp_path: Path) -> None:
    blob = np.kron(LABELS, np.ones((6, 6), np.uint8))
    Image.fromarray(30 * blob).save(tmp_path / "a.png", "JPEG")
    with pytest.raises(ValueError, match=r"must not be JPEG.* 1 of 1 are, whatever the endings"):
        suggest(tmp_path)
    Image.fromarray(255 * (blob > 0).astype(np.uint8)).save(tmp_path / "a.png", "JPEG")
    assert suggest(tmp_path).classes.n_classes == 2
