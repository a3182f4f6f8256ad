"""Kinds of mask folders: for each, a function that writes one, and how it must be judged.

Scenes are random, of several sizes, with regions of all sizes; `COUNT` masks of each.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import tifffile
from PIL import Image
from scipy import ndimage
from skimage.segmentation import find_boundaries

COUNT = 6
RANDOM = np.random.default_rng

CAMVID = {
    "sky": (128, 128, 128), "building": (128, 0, 0), "road": (128, 64, 128), "tree": (128, 128, 0),
    "car": (64, 0, 128), "void": (0, 0, 0),
}  # fmt: skip


@dataclass(frozen=True)
class Judged:
    """The judgement of a folder, and words of its guesses; no words: there must be no guess."""

    n_classes: int
    ignore_index: int | tuple[int, ...] | None = None
    channels: int | None = None
    masks: int | None = None
    guesses: tuple[str, ...] = ()


@dataclass(frozen=True)
class Refused:
    """The words of the message that refuses a folder: what was found, and the remedy."""

    words: tuple[str, ...]


@dataclass(frozen=True)
class Kind:
    """A kind of folder: writes one, and says how it must be judged.

    Attributes:
        write: Writes the folder; may return the path of the masks in it, or arrays.
        expected: The judgement.
        options: Options of `suggest`.
    """

    write: Callable[[Path], Any]
    expected: Judged | Refused
    options: dict[str, Any] = field(default_factory=dict)


def scene(seed: int, classes: int, side: int = 96, blur: float = 7) -> np.ndarray:
    """A label map with regions of all sizes; the first class is the largest."""
    noise = RANDOM(seed).normal(size=(classes, side, side + 8 * (seed % 3)))
    smooth = np.array([ndimage.gaussian_filter(one, blur) for one in noise])
    smooth[0] += 0.3 * smooth.std()
    return smooth.argmax(0).astype(np.uint8)


def blob(seed: int, side: int = 96) -> np.ndarray:
    """A mask of 0 and 1."""
    return (scene(seed, 3, side) == 1).astype(np.uint8)


def photo(seed: int, side: int = 96, channels: int = 3) -> np.ndarray:
    """A picture with texture."""
    noise = RANDOM(seed).normal(size=(side, side + 8 * (seed % 3), channels))
    smooth = ndimage.gaussian_filter(noise, (6, 6, 0))
    grey = 128 + 60 * smooth / smooth.std() + 8 * noise
    return np.clip(grey, 0, 255).astype(np.uint8)


def save(path: Path, array: np.ndarray, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)


def jpeg(array: np.ndarray, quality: int = 85) -> np.ndarray:
    """What JPEG makes of an array."""
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream))


def each(make: Callable[[int], np.ndarray], name: str = "{}.png", **options: Any) -> Callable:
    """A writer of `COUNT` files with the arrays that a function makes from a seed."""

    def write(folder: Path) -> None:
        for seed in range(COUNT):
            save(folder / name.format(seed), make(seed), **options)

    return write


def arrays(make: Callable[[int], np.ndarray], name: str = "{}.npy") -> Callable:
    def write(folder: Path) -> None:
        for seed in range(COUNT):
            path = folder / name.format(seed)
            if name.endswith(".npy"):
                np.save(path, make(seed))
            elif name.endswith((".tif", ".tiff")):
                tifffile.imwrite(path, make(seed))
            else:
                nibabel.save(nibabel.Nifti1Image(make(seed), np.eye(4)), path)

    return write


def voids(seed: int, classes: int, void: int, shift: int = 0) -> np.ndarray:
    """Labels with a void along their borders, in patches, and in bits."""
    labels = scene(seed, classes, 128).astype(int)
    random = RANDOM(100 + seed)
    gaps = find_boundaries(labels, mode="thick") & (random.random(labels.shape) < 0.8)
    patches = ndimage.gaussian_filter(random.normal(size=labels.shape), 4)
    gaps |= (patches > np.quantile(patches, 0.98)) | (random.random(labels.shape) < 0.003)
    return np.where(gaps, void, labels + shift).astype(np.uint8)


def bordered(seed: int) -> np.ndarray:
    """Labels with a white border of 255 around each object, as in VOC and Cityscapes."""
    labels = scene(seed, 5)
    return np.where(find_boundaries(labels), 255, labels).astype(np.uint8)


def trimap(seed: int) -> np.ndarray:
    """A foreground of 255, with a band of unknown pixels of 128."""
    mask = blob(seed, 128)
    inner = ndimage.binary_erosion(mask, iterations=3)
    outer = ndimage.binary_dilation(mask, iterations=3)
    return np.where(inner, 255, np.where(outer, 128, 0)).astype(np.uint8)


def coloured(labels: np.ndarray, colours: Any = None) -> np.ndarray:
    return np.array(colours or list(CAMVID.values()), np.uint8)[labels]


def red(seed: int) -> np.ndarray:
    return coloured(blob(seed), [(0, 0, 0), (255, 0, 0)])


def nuclei(seed: int, dtype: type = np.uint16) -> np.ndarray:
    """Numbered discs, of which later ones cover earlier ones."""
    random = RANDOM(seed)
    mask = np.zeros((128, 128), dtype)
    rows, columns = np.indices(mask.shape)
    for number in range(1, int(random.integers(15, 30))):
        row, column, radius = *random.integers(0, 128, 2), random.integers(4, 9)
        disc = (rows - row) ** 2 + (columns - column) ** 2 < radius**2
        mask[disc & (mask == 0)] = number
    numbers = np.unique(mask)
    return np.searchsorted(numbers, mask).astype(dtype)


def many_nuclei(seed: int) -> np.ndarray:
    """Hundreds of numbered cells, close together."""
    noise = ndimage.gaussian_filter(RANDOM(seed).normal(size=(300, 320)), 2)
    return ndimage.label(noise > 0.8 * noise.std())[0].astype(np.int32)


def one_hot(seed: int, axis: int, dtype: type = np.uint8) -> np.ndarray:
    labels = scene(seed, 4)
    return np.stack([labels == c for c in range(4)], axis).astype(dtype)


def volume(seed: int, depth: int = 12) -> np.ndarray:
    noise = RANDOM(seed).normal(size=(3, depth, 40, 44))
    return np.array([ndimage.gaussian_filter(n, 4) for n in noise]).argmax(0).astype(np.uint8)


def paletted(path: Path, labels: np.ndarray, palette: Any) -> None:
    image = Image.fromarray(labels, mode="P")
    image.putpalette([part for colour in palette for part in colour])
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def voc_palette() -> list[tuple[int, ...]]:
    def part(label: int, channel: int) -> int:
        return sum((label >> (3 * bit + channel) & 1) << (7 - bit) for bit in range(3))

    return [tuple(part(label, channel) for channel in range(3)) for label in range(256)]


def write_voc(folder: Path) -> None:
    for seed in range(COUNT):
        labels = scene(seed, 5)
        labels = np.array([0, 3, 8, 15, 20], np.uint8)[labels]
        border = find_boundaries(labels)
        paletted(
            folder / f"{seed}.png", np.where(border, 255, labels).astype(np.uint8), voc_palette()
        )


def write_two_palettes(folder: Path) -> None:
    for seed in range(COUNT):
        labels, colours = scene(seed, 3), [(0, 0, 0), (255, 0, 0), (0, 255, 0)]
        order = [0, 1, 2] if seed % 2 else [0, 2, 1]
        paletted(folder / f"{seed}.png", np.argsort(order)[labels].astype(np.uint8), [
            colours[i] for i in order
        ])  # fmt: skip


def write_black_last(folder: Path) -> None:
    for seed in range(COUNT):
        paletted(folder / f"{seed}.png", 1 - blob(seed), [(255, 255, 255), (0, 0, 0)])


def write_splits(folder: Path, names: tuple[str, ...] = ("train", "val")) -> None:
    for number, name in enumerate(names):
        for seed in range(COUNT):
            save(folder / name / f"{seed}.png", 255 * blob(50 * number + seed))


def write_vehicles(folder: Path) -> None:
    for seed in range(COUNT):
        labels = scene(seed, 3)
        for label, name in ((1, "train"), (2, "bus")):
            save(folder / name / f"{seed}.png", 255 * (labels == label).astype(np.uint8))


def write_voc_root(folder: Path) -> None:
    for seed in range(COUNT):
        save(folder / "JPEGImages" / f"{seed}.jpg", photo(seed))
        for name, labels in (("Class", scene(seed, 4)), ("Object", scene(seed, 7))):
            paletted(folder / f"Segmentation{name}" / f"{seed}.png", labels, voc_palette())


def write_classes_in_splits(folder: Path) -> None:
    for number, split in enumerate(("train", "val")):
        for seed in range(COUNT):
            labels = scene(seed + 50 * number, 3)
            for label, name in ((1, "car"), (2, "road")):
                save(
                    folder / split / name / f"{seed}.png", 255 * (labels == label).astype(np.uint8)
                )


def write_cities(folder: Path) -> None:
    for city in ("berlin", "paris"):
        for seed in range(COUNT):
            save(folder / city / f"tile_{seed}.png", scene(seed + len(city), 4))


def write_class_folders(folder: Path) -> None:
    for seed in range(COUNT):
        labels = scene(seed, 3)
        for label, name in ((1, "liver"), (2, "tumour")):
            save(folder / name / f"{seed}.png", 255 * (labels == label).astype(np.uint8))


def write_endings(folder: Path) -> None:
    for seed in range(COUNT):
        labels = scene(seed, 4)
        for label, name in ((1, "car"), (2, "road"), (3, "traffic_light")):
            mask = 255 * (labels == label).astype(np.uint8)
            save(folder / f"img_{seed:03}_{name}.png", mask)


def write_endings_with_gaps(folder: Path) -> None:
    write_endings(folder)
    (folder / "img_001_car.png").unlink()
    (folder / "img_004_road.png").unlink()


def write_views(folder: Path) -> None:
    for seed in range(COUNT):
        save(folder / f"{seed}_left.png", 255 * blob(seed))
        save(folder / f"{seed}_right.png", 255 * blob(seed + 50))


def write_rotations(folder: Path) -> None:
    for seed in range(COUNT):
        for name, view in (("orig", 0), ("rot90", 1), ("rot180", 2)):
            save(folder / f"{seed}_{name}.png", 255 * np.rot90(blob(seed), view))


def write_endings_with_a_common_end(folder: Path) -> None:
    """Left and right parts, whose names end alike, as in CelebAMask."""
    for seed in range(COUNT):
        for label, name in enumerate(("hair", "l_eye", "r_eye", "l_lip", "u_lip")):
            save(folder / f"{seed:05}_{name}.png", 255 * blob(60 * label + seed))


def write_parts(folder: Path, *names: str) -> None:
    """A file for each class of each image, whose names are patterns for its number."""
    for seed in range(COUNT):
        for label, name in enumerate(names):
            save(folder / name.format(seed), 255 * blob(60 * label + seed))


def write_slices_of_patients(folder: Path, name: str) -> None:
    """A file for each class of each slice of each patient."""
    for seed in range(COUNT):
        for slice_ in range(2):
            for label, organ in enumerate(("liver", "tumour", "vessel")):
                mask = blob(60 * label + 2 * seed + slice_)
                save(folder / name.format(patient=seed, slice=slice_, organ=organ), mask)


def write_people(folder: Path) -> None:
    """A folder for each person, by name, with a file for each class."""
    for number, person in enumerate(("anna", "bert", "carl", "dora")):
        for label, name in enumerate(("heart", "lung")):
            save(folder / person / f"{name}.png", blob(60 * label + number))


def write_many_patients(folder: Path) -> None:
    """Scans beside the masks of the classes, in more folders than are examined one by one."""
    for seed in range(45):
        save(folder / f"s{seed:04}" / "scan.png", photo(seed, 40))
        for label, name in enumerate(("left_lung", "right_lung", "liver")):
            save(folder / f"s{seed:04}" / "organs" / f"{name}.png", blob(60 * label + seed, 40))


def write_regions_beside_classes(folder: Path) -> None:
    """Folders of classes, and of areas that count, at another depth, as in Agriculture-Vision."""
    write_parts(folder, "labels/dry/{}.png", "labels/water/{}.png", "boundaries/{}.png")


def write_cameras(folder: Path) -> None:
    """Label maps of the same names, in a folder for each camera of each day; one is missing."""
    for day in "12":
        for number, camera in enumerate(("back", "front")):
            for seed in range(COUNT - (day + camera == "1back")):
                save(folder / f"day{day}" / camera / f"{seed}.png", scene(seed + 9 * number, 4))


def write_predictions_beside(folder: Path) -> None:
    for seed in range(COUNT):
        save(folder / f"{seed}_lab.png", scene(seed, 4))
        save(folder / f"{seed}_pred.png", scene(seed + 50, 4))


def write_before_and_after(folder: Path) -> None:
    """Masks of two kinds, as in xView2."""
    for seed in range(COUNT):
        save(folder / f"{seed}_pre_disaster_target.png", blob(seed))
        save(folder / f"{seed}_post_disaster_target.png", scene(seed, 4))


def write_roles_first(folder: Path) -> None:
    for seed in range(COUNT):
        save(folder / f"image ({seed}).png", photo(seed))
        save(folder / f"mask ({seed}).png", 255 * blob(seed))


def write_endings_in_their_folders(folder: Path) -> None:
    """A folder and an ending for each class, as in IDRiD."""
    for seed in range(COUNT):
        for label, (name, ending) in enumerate((("1. Spots", "EX"), ("2. Bleedings", "HE"))):
            save(folder / name / f"ID_{seed:02}_{ending}.png", blob(60 * label + seed))


def write_two_kinds(folder: Path) -> None:
    """Masks of vessels, and of the field of view, of other images."""
    for seed in range(COUNT):
        save(folder / "manual" / f"{seed}_manual1.png", 255 * blob(seed))
        save(folder / "mask" / f"{seed + 20}_mask.png", 255 * blob(seed + 50))


def write_organs(folder: Path, patient: str, file: str) -> None:
    """A folder for each patient, with a file for each organ, as in TotalSegmentator."""
    for seed in range(COUNT):
        for label, organ in enumerate(("heart", "left_lung", "liver")):
            save(folder / patient.format(seed) / file.format(organ), blob(60 * label + seed))


def write_files_of_objects(folder: Path) -> None:
    """A folder for each image, with a file for each cell, as in the Data Science Bowl 2018."""
    for seed in range(COUNT):
        save(folder / f"{seed}ab" / "images" / f"{seed}ab.png", photo(seed))
        for label in range(4):
            cell = blob(60 * label + seed)
            save(folder / f"{seed}ab" / "masks" / f"{seed}cd{label}.png", 255 * cell)


def write_coloured_objects(folder: Path, classes: str, objects: str) -> None:
    """Colours of classes beside colours of objects, as CVAT and iSAID write them."""
    for seed in range(COUNT):
        labels = scene(seed, 3)
        regions = ndimage.label(labels)[0]
        random = [tuple(RANDOM(n).integers(0, 255, 3)) for n in range(1, 1 + regions.max())]
        save(folder / classes.format(seed), coloured(labels, [(0, 0, 0), (255, 0, 9), (0, 9, 99)]))
        save(folder / objects.format(seed), coloured(regions, [(0, 0, 0), *random]))


def write_patients(folder: Path) -> None:
    for patient in range(4):
        for seed in range(3):
            save(folder / f"patient{patient}" / f"slice_{seed}.png", blob(7 * patient + seed))


def write_patients_with_images(folder: Path) -> None:
    for seed in range(COUNT):
        save(folder / f"case{seed}" / "image.png", photo(seed))
        save(folder / f"case{seed}" / "mask.png", scene(seed, 3))


def write_scans(folder: Path) -> None:
    """Volumes of scans beside those of masks, as in BraTS."""
    for seed in range(COUNT):
        case = folder / f"Case{seed}"
        case.mkdir()
        scan = RANDOM(seed).normal(size=(12, 40, 44)).astype(np.float32)
        for name, array in (("t1", scan), ("flair", 2 * scan), ("seg", volume(seed))):
            nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), case / f"Case{seed}_{name}.nii.gz")


def write_mixed(folder: Path) -> None:
    for seed in range(COUNT):
        save(folder / f"img{seed}.png", photo(seed))
        save(folder / f"img{seed}_mask.png", scene(seed, 3))


def write_images_and_masks(folder: Path) -> None:
    for seed in range(COUNT):
        save(folder / "images" / f"{seed}.png", photo(seed))
        save(folder / "masks" / f"{seed}.png", 255 * blob(seed))


def write_jpeg_images_beside(folder: Path) -> None:
    for seed in range(COUNT):
        save(folder / f"{seed}.jpg", photo(seed))
        save(folder / f"{seed}.png", scene(seed, 3))


def write_cityscapes(folder: Path, *, train_ids: bool = True) -> None:
    ids = np.array([7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 33], np.uint8)
    colours = [(10 * label, 255 - label, 0) for label in range(len(ids))]
    for seed in range(COUNT):
        labels = scene(seed, len(ids), blur=4)
        start = folder / "aachen" / f"aachen_{seed:06}_000019_gtFine"
        save(Path(f"{start}_labelIds.png"), ids[labels])
        if train_ids:
            border = find_boundaries(labels)
            save(Path(f"{start}_labelTrainIds.png"), np.where(border, 255, labels).astype(np.uint8))
        save(Path(f"{start}_color.png"), coloured(labels, colours))
        objects = np.where(labels == 13, 26000 + ndimage.label(labels == 13)[0], ids[labels])
        save(Path(f"{start}_instanceIds.png"), objects.astype(np.uint16))
        Path(f"{start}_polygons.json").write_text("{}")


def write_hidden(folder: Path) -> None:
    each(lambda seed: scene(seed, 3))(folder)
    (folder / ".DS_Store").write_bytes(b"Bud1")
    (folder / "Thumbs.db").write_bytes(b"db")
    (folder / "._1.png").write_bytes(b"Mac OS X")
    save(folder / ".ipynb_checkpoints" / "1-checkpoint.png", scene(9, 9))
    save(folder / "__MACOSX" / "1.png", scene(9, 9))


def write_broken(folder: Path) -> None:
    each(lambda seed: scene(seed, 3))(folder)
    (folder / "1.png").write_bytes(b"\x89PNG and no more")
    (folder / "2.png").write_bytes(b"")
    (folder / "3.png").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n")
    (folder / "9.png").symlink_to(folder / "nowhere.png")


def write_links(folder: Path) -> Path:
    each(lambda seed: scene(seed, 3))(folder / "store")
    masks = folder / "masks"
    masks.mkdir()
    (masks / "linked").symlink_to(folder / "store", target_is_directory=True)
    (masks / "0.png").symlink_to(folder / "store" / "0.png")
    (masks / "loop").symlink_to(masks, target_is_directory=True)
    return masks


def write_archives(folder: Path) -> None:
    for seed in range(COUNT):
        labels = scene(seed, 3)
        np.savez(folder / f"{seed}.npz", image=photo(seed), label=labels)


def write_unnamed_archives(folder: Path) -> None:
    for seed in range(COUNT):
        np.savez(folder / f"{seed}.npz", a=photo(seed), b=scene(seed, 3))


def write_nnunet(folder: Path) -> Path:
    each(lambda seed: voids(seed, 4, 4))(folder / "labelsTr")
    names = {"background": 0, "liver": 1, "spleen": 2, "kidney": 3, "ignore": 4}
    (folder / "dataset.json").write_text(json.dumps({"labels": names}))
    return folder / "labelsTr"


def write_coco(folder: Path) -> None:
    images, annotations = [], []
    for seed in range(COUNT):
        images.append({"id": seed, "file_name": f"{seed}.jpg", "height": 60, "width": 80})
        box = [5.0 + seed, 5, 35, 5, 35, 30, 5 + seed, 30]
        annotations.append({"image_id": seed, "category_id": 7, "segmentation": [box]})
        counts = [60 * 50 + 10, 20, 40, 20, 60 * 80 - 60 * 50 - 90]
        rle = {"size": [60, 80], "counts": counts}
        annotations.append({"image_id": seed, "category_id": 3, "segmentation": rle, "iscrowd": 1})
        save(folder / f"{seed}.jpg", photo(seed))
    categories = [{"id": i, "name": name} for i, name in ((0, "none"), (3, "cat"), (7, "dog"))]
    found = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "_annotations.coco.json").write_text(json.dumps(found))


def write_boxes(folder: Path) -> None:
    images = [{"id": 0, "file_name": "0.jpg", "height": 60, "width": 80}]
    annotations = [{"image_id": 0, "category_id": 1, "bbox": [1, 2, 3, 4], "segmentation": []}]
    found = {
        "images": images, "annotations": annotations, "categories": [{"id": 1, "name": "cat"}],
    }  # fmt: skip
    (folder / "boxes.json").write_text(json.dumps(found))


def write_labelme(folder: Path) -> None:
    for seed in range(COUNT):
        shapes = [
            {"label": "dog", "points": [[1, 1], [30, 2], [20, 25]], "shape_type": "polygon"},
            {"label": "cat", "points": [[40, 5], [60, 30]], "shape_type": "rectangle"},
            {"label": "cat", "points": [[40, 45], [45, 45]], "shape_type": "circle"},
            {"label": "nose", "points": [[2, 2]], "shape_type": "point"},
        ]
        found = {
            "shapes": shapes, "imagePath": f"{seed}.jpg", "imageHeight": 60, "imageWidth": 80,
        }  # fmt: skip
        (folder / f"{seed}.json").write_text(json.dumps(found))


def write_rgba(folder: Path) -> None:
    for seed in range(COUNT):
        labels = scene(seed, 3)
        colours = np.array([(9, 9, 9, 0), (255, 0, 0, 255), (0, 255, 0, 255)], np.uint8)
        save(folder / f"{seed}.png", colours[labels])


def alpha_only(seed: int) -> np.ndarray:
    pixels = np.zeros((*blob(seed).shape, 4), np.uint8)
    pixels[..., 3] = 255 * blob(seed)
    return pixels


def blended(seed: int) -> np.ndarray:
    image = Image.fromarray(255 * blob(seed, 160))
    return np.asarray(image.resize((96, 96)))


def soft(seed: int) -> np.ndarray:
    edges = ndimage.gaussian_filter(blob(seed).astype(float), 1.5)
    return edges.astype(np.float32)


def organs(seed: int) -> np.ndarray:
    """Numbered strips of different widths in every image, each one region: classes."""
    widths = np.array([30, 3, 8, 15, 5, 20, 2, 6, 9, 4, 12, 7, 14]) + RANDOM(seed).integers(
        0, 2, 13
    )
    return np.repeat(np.arange(13), widths)[:, None].repeat(60, 1).astype(np.uint8)


def thin_last(seed: int) -> np.ndarray:
    """Classes of which the last is thin, but lies within others: poles."""
    labels = scene(seed, 5, 128)
    labels[:, 10::24] = 5
    return labels


def box(seed: int) -> np.ndarray:
    """A rectangle, whose edges run along the axes."""
    mask = np.zeros((128, 128), np.uint8)
    row, column = RANDOM(seed).integers(10, 60, 2)
    mask[row : row + 40, column : column + 50] = 1
    return mask


def scale(seed: int) -> np.ndarray:
    """Labels in steps, as of heights, each of which touches the next ones alone."""
    smooth = ndimage.gaussian_filter(RANDOM(seed).normal(size=(96, 96)), 9)
    return np.clip(5.5 + 2.5 * smooth / smooth.std(), 0, 10).astype(np.uint8)


def signals(seed: int) -> np.ndarray:
    return np.repeat(RANDOM(seed).integers(0, 3, 40), 12).astype(np.int64)


BAD = "masks can't be used"

KINDS: dict[str, Kind] = {
    # labels
    "label maps": Kind(each(lambda s: scene(s, 4)), Judged(4)),
    "0 and 1": Kind(each(blob), Judged(2, channels=1)),
    "0 and 255": Kind(each(lambda s: 255 * blob(s)), Judged(2, channels=1)),
    "1 bit": Kind(each(lambda s: blob(s).astype(bool)), Judged(2, channels=1)),
    "16 bits": Kind(each(lambda s: scene(s, 4).astype(np.uint16)), Judged(4)),
    "0 and 65535": Kind(each(lambda s: 65535 * blob(s).astype(np.uint16)), Judged(2, channels=1)),
    "bmp": Kind(each(lambda s: scene(s, 3), "{}.bmp"), Judged(3)),
    "gif": Kind(each(lambda s: 255 * blob(s), "{}_mask.gif"), Judged(2, channels=1)),
    "uppercase suffixes": Kind(each(lambda s: scene(s, 3), "{}.PNG"), Judged(3, masks=COUNT)),
    "labels from 1": Kind(
        each(lambda s: scene(s, 4) + 1), Judged(5, guesses=("labels begin at 1", "subtract 1"))
    ),
    "grey codes": Kind(
        each(lambda s: 50 * scene(s, 4)), Refused(("0, 50, 100, 150", "--colours data"))
    ),
    "grey codes, numbered": Kind(each(lambda s: 50 * scene(s, 4)), Judged(4), {"colours": "data"}),
    "thin classes": Kind(each(thin_last), Judged(6)),
    "organs": Kind(each(organs), Judged(13)),
    # pixels to be left out
    "255 around objects": Kind(each(bordered), Judged(5, 255, guesses=("255 marks",))),
    "255 as a class": Kind(
        each(lambda s: np.array([0, 1, 255], np.uint8)[scene(s, 3)]),
        Refused(("masks hold 0, 1, 255",)),
        {"ignore_index": "none"},
    ),
    "void last": Kind(each(lambda s: voids(s, 11, 11)), Judged(11, 11, guesses=("11 marks",))),
    "void first": Kind(each(lambda s: voids(s, 12, 0, 1)), Judged(13, 0, guesses=("0 marks",))),
    "void last, as a class": Kind(
        each(lambda s: voids(s, 11, 11)), Judged(12), {"ignore_index": "none"}
    ),
    "several voids": Kind(
        each(lambda s: np.where(bordered(s) == 255, 254 + (s % 2), scene(s, 5)).astype(np.uint8)),
        Judged(5, (254, 255), guesses=("254 and 255 mark",)),
    ),
    "trimaps": Kind(each(trimap), Judged(2, 128, channels=1, guesses=("128 marks",))),
    "three greys": Kind(
        each(lambda s: np.array([0, 128, 255], np.uint8)[scene(s, 3, blur=3)]),
        Refused(("masks hold 0, 128, 255", "--ignore-index 128", "--colours data")),
    ),
    "-1": Kind(
        arrays(lambda s: scene(s, 4).astype(int) - 1),
        Refused((BAD, "it holds -1", "--ignore-index -1")),
    ),
    "all void": Kind(
        each(lambda s: np.full((40, 40), 255, np.uint8)), Refused(("hold only 255", "right folder"))
    ),
    "one class": Kind(
        each(lambda s: np.zeros((40, 40), np.uint8)), Refused(("hold only 0", "right folder"))
    ),
    "void by its name": Kind(write_nnunet, Judged(4, 4, guesses=("4 marks",))),
    # blurred
    "binary masks resized": Kind(
        each(blended), Judged(2, channels=1, guesses=("blurred", "mask > 127", "--values labels"))
    ),
    "binary masks after JPEG": Kind(
        each(lambda s: jpeg(255 * blob(s))), Judged(2, channels=1, guesses=("blurred",))
    ),
    "binary JPEG files": Kind(
        each(lambda s: 255 * blob(s), "{}.jpg"), Judged(2, channels=1, guesses=("blurred",))
    ),
    "label maps after JPEG": Kind(
        each(lambda s: jpeg(20 * scene(s, 9))), Refused(("JPEG", "as PNG", "NEAREST"))
    ),
    "small labels after JPEG": Kind(
        each(lambda s: jpeg(scene(s, 9))), Refused(("JPEG or resizing blurred", "--values labels"))
    ),
    "small labels resized": Kind(
        each(lambda s: np.asarray(Image.fromarray(scene(s, 9)).resize((70, 70)))),
        Refused(("JPEG or resizing blurred", "NEAREST")),
    ),
    "small labels resized, as labels": Kind(
        each(lambda s: np.asarray(Image.fromarray(scene(s, 9)).resize((70, 70)))),
        Judged(10),
        {"values": "labels"},
    ),
    "a scale of labels": Kind(each(scale), Judged(11)),
    "boxes resized": Kind(
        each(lambda s: np.asarray(Image.fromarray(255 * box(s)).resize((100, 90)))),
        Judged(2, channels=1, guesses=("blurred",)),
    ),
    "JPEG files of labels": Kind(
        each(lambda s: scene(s, 9), "{}.jpg"), Refused(("JPEG changes labels", "as PNG"))
    ),
    "label maps resized": Kind(
        each(lambda s: np.asarray(Image.fromarray(20 * scene(s, 9)).resize((70, 70)))),
        Refused(("blurred", "NEAREST")),
    ),
    "soft masks": Kind(arrays(soft), Refused((BAD, "fractions", "--values soft"))),
    "soft masks, said so": Kind(arrays(soft), Judged(2, channels=1), {"values": "soft"}),
    "probabilities": Kind(
        arrays(lambda s: np.stack([soft(s), 1 - soft(s)])), Refused((BAD, "fractions", "argmax"))
    ),
    "whole floats": Kind(arrays(lambda s: scene(s, 4).astype(np.float64)), Judged(4)),
    # images and objects
    "photos": Kind(each(photo), Refused((BAD, "colour image, not a mask"))),
    "grey photos": Kind(
        each(lambda s: photo(s, channels=1)[..., 0]), Refused((BAD, "image, not a mask"))
    ),
    "nuclei": Kind(each(nuclei), Judged(2, channels=1, guesses=("count objects", "mask > 0"))),
    "many nuclei": Kind(
        arrays(many_nuclei, "{}.tif"),
        Judged(2, channels=1, guesses=("count objects",)),
    ),
    "objects of classes": Kind(
        each(
            lambda s: np.where(nuclei(s) > 0, 1000 * (1 + nuclei(s) % 3) + nuclei(s), 0).astype(
                np.uint16
            )
        ),
        Refused(("combine a class and the number of an object", "mask // 1000")),
    ),
    # colours
    "colours": Kind(
        each(lambda s: coloured(scene(s, 5))), Judged(5, guesses=("each of the 5 colours",))
    ),
    "colours of a palette": Kind(
        each(lambda s: coloured(scene(s, 6))),
        Judged(31, 255),
        {"colours": "camvid"},
    ),
    "colours of a mapping": Kind(
        each(lambda s: coloured(scene(s, 6))), Judged(5, 255), {"colours": CAMVID}
    ),
    "unknown colours": Kind(
        each(lambda s: coloured(scene(s, 6))),
        Refused(("#804080", "add them to the palette")),
        {"colours": {"a": (0, 0, 0), "b": (1, 2, 3)}},
    ),
    "red on black": Kind(each(red), Judged(2, channels=1, guesses=("each of the 2 colours",))),
    "RGBA": Kind(write_rgba, Judged(3, guesses=("each of the 3 colours",))),
    "alpha": Kind(each(alpha_only), Judged(2, channels=1)),
    "grey RGB": Kind(each(lambda s: np.stack([scene(s, 4)] * 3, -1)), Judged(4)),
    "colours after JPEG": Kind(
        each(lambda s: jpeg(coloured(scene(s, 6)))), Refused((BAD, "colour", "as PNG"))
    ),
    "VOC": Kind(write_voc, Judged(21, 255, guesses=("255 marks", "names of voc"))),
    "palettes that differ": Kind(
        write_two_palettes, Refused(("Palettes must be the same", "--colours data"))
    ),
    "palettes that differ, by colours": Kind(write_two_palettes, Judged(3), {"colours": "data"}),
    # arrays and volumes
    "palettes with black last": Kind(
        write_black_last, Refused(("index 1 is black", "--colours data"))
    ),
    "palettes with black last, by colours": Kind(
        write_black_last, Judged(2, channels=1), {"colours": "data"}
    ),
    "pages of TIFF": Kind(arrays(volume, "{}.tif"), Judged(3)),
    "three pages of TIFF": Kind(arrays(lambda s: volume(s, 3), "{}.tif"), Judged(3)),
    "volumes": Kind(arrays(volume, "{}.nii.gz"), Judged(3)),
    "flat volumes": Kind(
        arrays(lambda s: np.moveaxis(volume(s, 4), 0, -1), "{}.nii.gz"), Judged(3)
    ),
    "one-hot volumes": Kind(
        arrays(
            lambda s: np.stack([volume(s) == c for c in range(3)], -1).astype(np.uint8),
            "{}.nii.gz",
        ),
        Judged(3, guesses=("one-hot",)),
    ),
    "one-hot, channels first": Kind(
        arrays(lambda s: one_hot(s, 0)), Judged(4, guesses=("one-hot",))
    ),
    "one-hot, channels last": Kind(
        arrays(lambda s: one_hot(s, -1)), Judged(4, guesses=("one-hot",))
    ),
    "one-hot floats": Kind(
        arrays(lambda s: one_hot(s, 0, np.float32)), Judged(4, guesses=("one-hot",))
    ),
    "one-hot without background": Kind(
        arrays(lambda s: one_hot(s, 0)[1:]), Judged(4, guesses=("one-hot",))
    ),
    "channels that overlap": Kind(
        arrays(lambda s: np.stack([blob(s), blob(s) | np.roll(blob(s), 4, 0)])),
        Refused((BAD, "--layout classes", "--layout labels")),
    ),
    "channels that overlap, said so": Kind(
        arrays(lambda s: np.stack([blob(s), blob(s) | np.roll(blob(s), 4, 0)])),
        Judged(2, channels=2),
        {"layout": "classes"},
    ),
    "bools": Kind(arrays(lambda s: blob(s).astype(bool)), Judged(2, channels=1)),
    "signals": Kind(arrays(signals), Judged(3)),
    "archives with images": Kind(write_archives, Judged(3)),
    "archives without names": Kind(write_unnamed_archives, Refused((BAD, "holds a, b", "savez"))),
    # folders
    "train and val": Kind(write_splits, Judged(2, channels=1, masks=2 * COUNT)),
    "train2017 and val2017": Kind(
        lambda folder: write_splits(folder, ("train2017", "val2017")),
        Judged(2, channels=1, masks=2 * COUNT),
    ),
    "labelsTr and labelsTs": Kind(
        lambda folder: write_splits(folder, ("labelsTr", "labelsTs")),
        Judged(2, channels=1, masks=2 * COUNT),
    ),
    "a class named train": Kind(
        write_vehicles, Judged(2, channels=2, masks=COUNT, guesses=("bus, train",))
    ),
    "all of VOC": Kind(write_voc_root, Judged(4, masks=COUNT, guesses=("SegmentationObject",))),
    "cities": Kind(write_cities, Judged(4, masks=2 * COUNT, guesses=("berlin, paris",))),
    "patients": Kind(write_patients, Judged(2, channels=1, masks=12, guesses=("numbered",))),
    "patients with images": Kind(
        write_patients_with_images, Judged(3, masks=COUNT, guesses=("*mask.png",))
    ),
    "a folder for each class": Kind(
        write_class_folders,
        Judged(2, channels=2, masks=COUNT, guesses=("liver, tumour", "--layout labels")),
    ),
    "classes in splits": Kind(
        write_classes_in_splits, Judged(2, channels=2, masks=2 * COUNT, guesses=("car, road",))
    ),
    "an ending for each class": Kind(
        write_endings,
        Judged(2, channels=3, masks=COUNT, guesses=("car, road, traffic_light", "--layout labels")),
    ),
    "an ending for each class, with gaps": Kind(
        write_endings_with_gaps,
        Judged(2, channels=3, masks=COUNT, guesses=("2 files that are missing",)),
    ),
    "left and right": Kind(write_views, Judged(2, channels=1, masks=2 * COUNT)),
    "rotations": Kind(write_rotations, Judged(2, channels=1, masks=3 * COUNT)),
    "endings with a common end": Kind(
        write_endings_with_a_common_end,
        Judged(2, channels=5, masks=COUNT, guesses=("hair, l_eye, l_lip, r_eye, u_lip",)),
    ),
    "left and right with a common end": Kind(
        lambda folder: write_parts(folder, "{}_left_mask.png", "{}_right_mask.png"),
        Judged(2, channels=1, masks=2 * COUNT),
    ),
    "endings with a common end alone": Kind(
        lambda folder: write_parts(
            folder, "{}_l_eye.png", "{}_r_eye.png", "{}_l_lip.png", "{}_u_lip.png"
        ),
        Judged(2, channels=4, masks=COUNT, guesses=("(l_eye, l_lip, r_eye, u_lip), and",)),
    ),
    "endings with a common start and end": Kind(
        lambda folder: write_parts(
            folder,
            *("ISIC_{}_attribute_globules.png", "ISIC_{}_attribute_milia_like_cyst.png"),
            *("ISIC_{}_attribute_negative_network.png", "ISIC_{}_attribute_pigment_network.png"),
        ),
        Judged(
            2,
            channels=4,
            masks=COUNT,
            guesses=("(globules, milia_like_cyst, negative_network, pigment_network), and",),
        ),
    ),
    "endings with a common end, in numbered folders": Kind(
        lambda folder: write_parts(
            folder,
            *(f"0/{{}}_{e}.png" for e in ("hair", "l_eye", "neck_l")),
            *(f"1/9{{}}_{e}.png" for e in ("hair", "l_eye", "r_eye")),
        ),
        Judged(2, channels=4, masks=2 * COUNT),
        {"layout": "classes"},
    ),
    "classes of slices of patients": Kind(
        lambda folder: write_slices_of_patients(folder, "p{patient}_slice_{slice}_{organ}.png"),
        Judged(2, channels=3, masks=2 * COUNT, guesses=("(liver, tumour, vessel)",)),
    ),
    "a folder for each class in those of patients": Kind(
        lambda folder: write_slices_of_patients(folder, "p{patient}/{organ}/{slice}.png"),
        Judged(2, channels=3, masks=2 * COUNT, guesses=("liver, tumour, vessel",)),
    ),
    "a folder for each patient in those of classes": Kind(
        lambda folder: write_slices_of_patients(folder, "{organ}/p{patient}/{slice}.png"),
        Judged(2, channels=3, masks=2 * COUNT, guesses=("liver, tumour, vessel",)),
    ),
    "endings in their own folders": Kind(
        write_endings_in_their_folders,
        Judged(2, channels=2, masks=COUNT, guesses=("EX, HE), and each image has",)),
    ),
    "endings in their own folders, by their layout": Kind(
        write_endings_in_their_folders, Judged(2, channels=2, masks=COUNT), {"layout": "classes"}
    ),
    "masks of two kinds": Kind(
        write_two_kinds,
        Refused(("manual/0_manual1.png, mask/20_mask.png", "--only '*manual1.*'")),
    ),
    "masks of two kinds, of the same images": Kind(
        lambda folder: write_parts(folder, "manual/{}_manual1.png", "mask/{}_training_mask.png"),
        Refused(("one kind", "manual/0_manual1.png, mask/0_training_mask.png", "--only")),
    ),
    "masks of two kinds, as classes": Kind(
        write_two_kinds, Judged(2, channels=2, masks=2 * COUNT), {"layout": "classes"}
    ),
    "endings that no image shares, as classes": Kind(
        lambda folder: write_parts(folder, "1{}_summer.png", "2{}_winter.png"),
        Judged(2, channels=2, masks=2 * COUNT),
        {"layout": "classes"},
    ),
    "folders of views in those of patients": Kind(
        lambda folder: write_parts(
            folder,
            *(f"p{patient}/{side}/{{}}.png" for patient in "12" for side in ("left", "right")),
        ),
        Judged(2, channels=1, masks=4 * COUNT),
    ),
    "label maps of cameras in folders of days": Kind(write_cameras, Judged(4, masks=4 * COUNT - 1)),
    "endings that no image shares": Kind(
        lambda folder: write_parts(folder, "1{}_summer.png", "2{}_winter.png"),
        Judged(2, channels=1, masks=2 * COUNT, guesses=("each file is a mask", "summer, winter")),
    ),
    "folders at different depths": Kind(
        write_regions_beside_classes,
        Refused(("boundaries, labels/dry, labels/water", "--only '*labels/*'")),
    ),
    "folders at different depths, by a pattern": Kind(
        write_regions_beside_classes,
        Judged(2, channels=2, masks=COUNT, guesses=("dry, water",)),
        {"only": "*labels/*"},
    ),
    "areas beside masks": Kind(
        lambda folder: write_parts(folder, "areas/{}.png", "masks/{}.png"),
        Refused(("areas, masks hold the same names", "--only", "--layout classes")),
    ),
    "predictions beside labels": Kind(
        write_predictions_beside,
        Judged(4, masks=2 * COUNT, guesses=("lab, pred", "--only '*lab.*'")),
    ),
    "labels of two kinds": Kind(
        write_before_and_after, Refused(("only='*post_disaster_target.*'", "--layout labels"))
    ),
    "labels of two kinds, by a pattern": Kind(
        write_before_and_after, Judged(4, masks=COUNT), {"only": "*post_disaster_target.*"}
    ),
    "masks of two kinds, by a pattern": Kind(
        write_two_kinds, Judged(2, channels=1, masks=COUNT), {"only": "*manual1.*"}
    ),
    "a folder for each patient, a file for each organ": Kind(
        lambda folder: write_organs(folder, "s{:04}", "segmentations/{}.png"),
        Judged(2, channels=3, masks=COUNT, guesses=("(heart, left_lung, liver)",)),
    ),
    "a folder for each person": Kind(
        write_people, Judged(2, channels=2, masks=4, guesses=("(heart, lung)", "--layout labels"))
    ),
    "scans beside the files of many patients": Kind(
        write_many_patients,
        Judged(2, channels=3, masks=45, guesses=("scan", "(left_lung, liver, right_lung)")),
    ),
    "the same, by its layout": Kind(
        lambda folder: write_organs(folder, "s{:04}", "{}.png"),
        Judged(2, channels=3, masks=COUNT),
        {"layout": "classes"},
    ),
    "a file for each object": Kind(
        write_files_of_objects, Refused(("6 folders hold one image each", "numpy.maximum"))
    ),
    "a file for each object, as masks": Kind(
        write_files_of_objects,
        Judged(2, channels=1, masks=4 * COUNT, guesses=("images",)),
        {"layout": "labels"},
    ),
    "classes and objects in colours, in folders": Kind(
        lambda folder: write_coloured_objects(
            folder, "SegmentationClass/{}.png", "SegmentationObject/{}.png"
        ),
        Judged(3, masks=COUNT, guesses=("SegmentationObject", "3 colours")),
    ),
    "classes and objects in colours, by endings": Kind(
        lambda folder: write_coloured_objects(
            folder, "{}_instance_color_RGB.png", "{}_instance_id_RGB.png"
        ),
        Judged(3, masks=COUNT, guesses=("instance_id_RGB", "3 colours")),
    ),
    "scans among masks": Kind(
        write_scans, Judged(3, masks=COUNT, guesses=("*seg.nii.gz", "images"))
    ),
    "names that begin with what they hold": Kind(
        write_roles_first, Judged(2, channels=1, masks=COUNT, guesses=("mask*.png", "images"))
    ),
    "images among masks": Kind(
        write_mixed, Judged(3, masks=COUNT, guesses=("*mask.png", "images"))
    ),
    "images beside masks": Kind(
        write_images_and_masks,
        Judged(2, channels=1, masks=COUNT, guesses=("masks/*.png", "images/*.png")),
    ),
    "JPEG images among masks": Kind(write_jpeg_images_beside, Judged(3, masks=COUNT)),
    "Cityscapes": Kind(
        write_cityscapes,
        Judged(17, 255, masks=COUNT, guesses=("labelTrainIds", "255 marks")),
    ),
    "Cityscapes without train ids": Kind(
        lambda folder: write_cityscapes(folder, train_ids=False),
        Judged(34, masks=COUNT, guesses=("labelIds",)),
    ),
    "a pattern": Kind(write_cityscapes, Judged(34, masks=COUNT), {"only": "*_labelIds.png"}),
    "a pattern without files": Kind(
        write_cityscapes, Refused(("match '*_mask.png'", "holds no files")), {"only": "*_mask.png"}
    ),
    "hidden files": Kind(write_hidden, Judged(3, masks=COUNT)),
    "links": Kind(write_links, Judged(3, masks=COUNT + 1)),
    "broken files": Kind(
        write_broken,
        Refused(
            (
                "4 of 7",
                "\n  1.png: ",
                "\n  2.png: it can't be read: it is empty",
                "git lfs",
                "\n  9.png: ",
            )
        ),
    ),
    "an empty folder": Kind(lambda folder: None, Refused(("holds no files",))),
    "another format": Kind(
        lambda folder: (folder / "a.nrrd").write_bytes(b"NRRD"), Refused(("only .nrrd", "NIfTI"))
    ),
    # annotations
    "COCO": Kind(write_coco, Judged(3, masks=COUNT)),
    "boxes": Kind(write_boxes, Refused(("only boxes", "segmentations"))),
    "LabelMe": Kind(write_labelme, Judged(3, masks=COUNT)),
}


def written(kind: Kind, folder: Path) -> Any:
    """Writes a folder, and returns the masks."""
    folder.mkdir(parents=True, exist_ok=True)
    found = kind.write(folder)
    return found if isinstance(found, Path) else folder


def files_below(folder: Path) -> Iterator[Path]:
    return (Path(parent, name) for parent, _, names in os.walk(folder) for name in names)
