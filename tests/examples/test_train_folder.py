"""Training on folders: a tiny one from end to end, and all that can be wrong with folders."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import nibabel
import numpy as np
import pytest
import tifffile
import torch
import train_folder
import yaml
from example_parts.output_folder import LOCK
from PIL import Image
from train_folder import predict

SHORT = [
    "augmentation.crop=32",
    "training.batch_size=2",
    "model.stem_width=4",
    "model.encoder_channels=[8]",
    "model.decoder_channels=[8,8]",
]


@pytest.fixture(autouse=True)
def _deterministic_only_here() -> Iterator[None]:
    yield
    torch.use_deterministic_algorithms(False)


def scene(seed: int, shape: tuple[int, int] = (40, 48)) -> tuple[np.ndarray, np.ndarray]:
    """A bright square and a less bright one on a dark ground, and their labels."""
    random = np.random.default_rng(seed)
    labels = np.zeros(shape, np.uint8)
    row, column = random.integers(0, 15, 2)
    labels[row : row + 12, column : column + 12] = 1
    labels[-10:-4, -12:-3] = 2
    image = 80 * labels + random.normal(40, 10, shape)
    return np.clip(image, 0, 255).astype(np.uint8), labels


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Six images of two sizes, with their masks."""
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    for seed in range(6):
        image, labels = scene(seed, (40, 48) if seed % 2 else (30, 52))
        Image.fromarray(image).save(tmp_path / "images" / f"{seed}.png")
        Image.fromarray(labels).save(tmp_path / "masks" / f"{seed}_mask.png")
    return tmp_path


def run(folders: Path, *arguments: str) -> dict:
    where = ["--images", str(folders / "images"), "--masks", str(folders / "masks")]
    output = folders / "out"
    again = [] if "--resume" in arguments else ["--overwrite"]
    train_folder.main([*SHORT, *where, "--output", str(output), *again, *arguments])
    report = json.loads((output / "metrics.json").read_text())
    report.pop("seconds")
    return report


def refused(folders: Path, capsys, *arguments: str) -> str:
    """What is told to the user, who must get exit code 2."""
    with pytest.raises(SystemExit) as caught:
        run(folders, *arguments)
    assert caught.value.code == 2
    told = capsys.readouterr().err
    assert "Traceback" not in told
    return told


def test_a_run_writes_everything_and_says_why(folders: Path, capsys) -> None:
    report = run(folders, "training.epochs=2")
    assert set(report["dice"]) == {"class 0", "class 1", "class 2"}
    output = folders / "out"
    names = {path.name for path in output.iterdir()} - {LOCK}
    pictures = {"losses.png", "predictions.png", "dataset.png"}
    assert names == {"metrics.json", "checkpoint.pt", "loss.yaml", *pictures}
    for picture in pictures:
        assert (output / picture).read_bytes().startswith(b"\x89PNG")
    assert "Isensee" in capsys.readouterr().out
    assert yaml.safe_load((output / "loss.yaml").read_text())["loss_params"]


def test_training_learns(folders: Path) -> None:
    start = run(folders, "training.epochs=1")
    report = run(folders, "training.epochs=30", "training.learning_rate_epochs=[0,2,30]")
    assert report["mean_dice"] > max(0.45, 2 * start["mean_dice"])


def test_a_resumed_run_ends_with_the_numbers_of_an_uninterrupted_one(folders: Path) -> None:
    expected = run(folders, "training.epochs=3")
    run(folders, "training.epochs=1")
    assert run(folders, "training.epochs=3", "--resume") == expected


def test_a_config_is_used_as_it_is(folders: Path) -> None:
    config = folders / "mine.yaml"
    loss = {"_target_": "segloss.SegLoss", "n_classes": 4, "dice_coef": 1.0, "bce_coef": 0.0}
    params = {"compound_loss": {"loss_list": [loss]}}
    config.write_text(yaml.safe_dump({"loss_params": params, "training": {"epochs": 1}}))
    report = run(folders, "--config", str(config))
    assert report["dice"]["class 3"] is None or report["dice"]["class 3"] == 0
    assert not (folders / "out" / "loss.yaml").exists()
    history = torch.load(folders / "out" / "checkpoint.pt", weights_only=True)["history"]
    assert "seg.cross_entropy" not in history[0]["terms"]
    assert len(history) == 3  # an epoch of five images, two at a time


def test_binary_masks_of_0_and_255_in_tiff_and_colour_images(folders: Path) -> None:
    for path in (folders / "masks").iterdir():
        mask = np.asarray(Image.open(path))
        path.unlink()
        tifffile.imwrite(path.with_suffix(".tif"), np.where(mask == 1, 255, 0).astype(np.uint8))
    for path in (folders / "images").iterdir():
        Image.open(path).convert("RGB").save(path)
    report = run(folders, "training.epochs=1")
    assert set(report["dice"]) == {"foreground"}


def test_a_folder_a_class(folders: Path, capsys) -> None:
    for path in list((folders / "masks").iterdir()):
        mask = np.asarray(Image.open(path))
        for label, name in ((1, "large"), (2, "small")):
            (folders / "masks" / name).mkdir(exist_ok=True)
            one = Image.fromarray((255 * (mask == label)).astype(np.uint8))
            one.save(folders / "masks" / name / path.name.replace("_mask", ""))
        path.unlink()
    assert set(run(folders, "training.epochs=1")["dice"]) == {"large", "small"}
    config = (folders / "out" / "loss.yaml").rename(folders / "mine.yaml")
    report = run(folders, "training.epochs=1", "--config", str(config))
    assert set(report["dice"]) == {"large", "small"}
    loss = "{_target_: segloss.SegLoss, n_classes: 3}"
    config.write_text(f"loss_params: {{compound_loss: {{loss_list: [{loss}]}}}}")
    assert "need a loss with a sigmoid" in refused(folders, capsys, "--config", str(config))


def test_pixels_left_out_count_nowhere(folders: Path) -> None:
    for path in (folders / "masks").iterdir():
        mask = np.asarray(Image.open(path)).copy()
        mask[:2] = 255
        Image.fromarray(mask).save(path)
    assert set(run(folders, "training.epochs=1")["dice"]) == {"class 0", "class 1", "class 2"}


def test_whole_images_of_any_size_are_predicted() -> None:
    model = torch.nn.Conv2d(1, 2, 1)
    for shape in ((3, 5), (17, 100), (32, 32)):
        image = torch.randn(1, 1, *shape)
        assert torch.allclose(predict(model, image), model(image), atol=1e-6)


def test_all_mistakes_are_told_at_once_and_nothing_is_written(folders: Path, capsys) -> None:
    images, masks = folders / "images", folders / "masks"
    (masks / "0_mask.png").unlink()
    (images / "1.png").unlink()
    (images / "2.png").write_bytes(b"\x89PNG and no more")
    (masks / "3_mask.png").write_bytes(b"")
    Image.fromarray(scene(4, (20, 20))[1]).save(masks / "4_mask.png")
    Image.open(images / "5.png").convert("RGB").save(images / "5.png")
    for seed in (7, 8):
        image, labels = scene(seed)
        Image.fromarray(image).save(images / f"{seed}.png")
        Image.fromarray(labels).save(masks / f"{seed}.png")
    told = refused(folders, capsys)
    assert "6 problems to correct before training" in told
    for words in (
        "0.png has no mask in",
        "1_mask.png (",
        "has no image",
        "2.png: cannot identify image file",
        "3_mask.png: it can't be read",
        "4: the image is (30, 52), but its mask (20, 20)",
        "5.png: it has 3 channels, but most images have 1",
    ):
        assert words in told
    assert not (folders / "out").exists()


def test_masks_with_values_that_no_class_has_are_told(folders: Path, capsys) -> None:
    run(folders, "training.epochs=1")
    config = str(folders / "mine.yaml")
    (folders / "out" / "loss.yaml").rename(config)
    for seed in (1, 4):
        path = folders / "masks" / f"{seed}_mask.png"
        mask = np.asarray(Image.open(path)).copy()
        mask[0, 0] = 3 + seed
        Image.fromarray(mask).save(path)
    told = refused(folders, capsys, "--config", config)
    assert "2 problems to correct" in told
    assert "1_mask.png: it holds 4, but the config's labels are 0, 1, 2" in told
    assert "4_mask.png: it holds 7, but the config's labels are 0, 1, 2" in told


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--images", "nowhere"], "There is no folder of images at 'nowhere'"),
        (["--masks", "nowhere"], "There is no folder of masks at 'nowhere'"),
        (["--config", "nowhere.yaml"], "There is no config file at 'nowhere.yaml'"),
        (["--resume"], "There is no config file at"),
        (["training.epoch=2"], "did you mean 'training.epochs'"),
        (["data.validation_share=1"], "must lie between 0 and 1"),
        (["data.validation_share=0.99"], "images for training and for validation: of 6"),
        (["augmentation.crop=30"], "must be a multiple of 16"),
        (["loss_params.compound_loss.loss_list.0.terms.dice=-1"], "terms['dice'] must be"),
    ],
)
def test_other_mistakes_are_told_in_a_line(arguments, words: str, folders: Path, capsys) -> None:
    assert words in refused(folders, capsys, *arguments)


def test_masks_of_one_class_alone_are_told(folders: Path, capsys) -> None:
    for path in (folders / "masks").iterdir():
        Image.fromarray(np.zeros_like(np.asarray(Image.open(path)))).save(path)
    assert "all of these hold only 0" in refused(folders, capsys)


def test_a_config_of_another_kind_of_masks_is_told(folders: Path, capsys) -> None:
    config = folders / "mine.yaml"
    config.write_text(
        "loss_params: {compound_loss: {loss_list: [{_target_: torch.nn.CrossEntropyLoss}]}}"
    )
    assert "must have a segloss.SegLoss" in refused(folders, capsys, "--config", str(config))


def test_slices_of_volumes_are_images_and_stay_together(tmp_path: Path) -> None:
    for case in range(4):
        slices = [scene(10 * case + number) for number in range(3)]
        for folder, volume in zip(("images", "masks"), zip(*slices, strict=True), strict=True):
            (tmp_path / folder).mkdir(exist_ok=True)
            image = nibabel.Nifti1Image(np.stack(volume, -1), np.eye(4))
            nibabel.save(image, tmp_path / folder / f"case{case}.nii.gz")
    report = run(tmp_path, "training.epochs=1")
    assert report["images"] == {"validation": 3}
    assert set(report["dice"]) == {"class 0", "class 1", "class 2"}


def test_colours_are_classes_and_the_void_counts_nowhere(folders: Path) -> None:
    colours = np.array([(128, 128, 128), (128, 0, 0), (0, 0, 0)], np.uint8)  # sky, building, void
    for path in (folders / "masks").iterdir():
        Image.fromarray(colours[np.asarray(Image.open(path))]).save(path)
    report = run(folders, "training.epochs=1", "--colours", "camvid")
    assert report["dice"]["Sky"] is not None
    assert "Void" not in report["dice"]
    (folders / "out" / "loss.yaml").rename(folders / "mine.yaml")
    again = run(folders, "training.epochs=1", "--colours", "camvid", "--config",
                str(folders / "mine.yaml"))  # fmt: skip
    assert again == report


def test_a_file_for_each_class_by_the_ending_of_its_name(folders: Path) -> None:
    for path in list((folders / "masks").iterdir()):
        mask = np.asarray(Image.open(path))
        for label, name in ((1, "large"), (2, "small")):
            one = Image.fromarray((255 * (mask == label)).astype(np.uint8))
            one.save(folders / "masks" / path.name.replace("mask", name))
        path.unlink()
    assert set(run(folders, "training.epochs=1")["dice"]) == {"large", "small"}


def test_numbered_objects_and_blurred_masks_are_two_classes(folders: Path) -> None:
    for path in (folders / "masks").iterdir():
        mask = Image.open(path).point(lambda label: 255 * (label == 1))
        mask.resize([4 * side for side in mask.size]).resize(mask.size).save(path)
    assert set(run(folders, "training.epochs=1")["dice"]) == {"foreground"}


def test_one_folder_for_images_and_masks_is_refused(folders: Path, capsys) -> None:
    told = refused(folders, capsys, "--images", str(folders / "masks"))
    assert f"images and masks are both {folders / 'masks'}: put them into two folders" in told
