"""The data sets of the study of outcomes are made right, here from small synthetic packages."""

from __future__ import annotations

import gzip
import io
import itertools
import sys
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from nibabel.gifti.gifti import GiftiDataArray, GiftiImage
from nibabel.nifti1 import Nifti1Image
from numpy.typing import NDArray
from outcomes.data import VOID, Dataset
from outcomes.sets import SETS, brain, cortex, earth, examples, hemispheres
from outcomes.sets.cortex import Surface
from outcomes.sets.packages import Package
from outcomes_sets import app
from PIL import Image
from scipy.spatial import ConvexHull
from typer.testing import CliRunner

Files = Mapping[str, bytes]


def make(*arguments: str | Path, **environment: str) -> Result:
    """Runs the program."""
    return CliRunner().invoke(app, [str(each) for each in arguments], env=environment)


def write_tar(path: Path, files: Files) -> None:
    with tarfile.open(path, "w:gz") as file:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))


def write_wheel(path: Path, files: Files) -> None:
    with zipfile.ZipFile(path, "w") as file:
        for name, content in files.items():
            file.writestr(name, content)


def write_debian_package(path: Path, files: Files) -> None:
    """Writes an `ar` archive, with a member of odd size before the data."""
    write_tar(path.with_suffix(".tar"), files)
    members = {"debian-binary": b"2.0", "data.tar.gz": path.with_suffix(".tar").read_bytes()}
    content = b"!<arch>\n"
    for name, data in members.items():
        header = f"{name:16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(data):<10}`\n".encode()
        content += header + data + b"\n" * (len(data) % 2)
    path.write_bytes(content)


def lossless(pixels: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()


def nifti(volume: NDArray[np.uint8], affine: NDArray[np.float64]) -> bytes:
    return gzip.compress(Nifti1Image(volume, affine).to_bytes(), compresslevel=1)


def write_maps(folder: Path, image: NDArray[np.uint8], igbp: NDArray[np.uint8]) -> None:
    write_wheel(folder / earth.BLUE_MARBLE.archive, {earth.IMAGE_FILE: lossless(image)})
    write_wheel(folder / earth.MODIS.archive, {earth.CLASSES_FILE: lossless(igbp)})


def sphere(centre: tuple[float, float, float], radius: float) -> Surface:
    """Returns a surface of about 4000 triangles, spread evenly."""
    height = np.linspace(-1, 1, 2000)
    turn = np.arange(2000) * np.pi * (3 - np.sqrt(5))
    circle = np.sqrt(1 - height**2)
    points = np.stack([circle * np.cos(turn), circle * np.sin(turn), height], 1)
    return Surface(radius * points + centre, ConvexHull(points).simplices.astype(np.int64))


def distances(shape: tuple[int, ...], centre: tuple[float, ...]) -> NDArray[np.float64]:
    grid = np.indices(shape) - np.reshape(centre, (-1, 1, 1, 1))
    return np.sqrt((grid**2).sum(0))


# Earth


def test_a_block_is_in_one_part_and_each_part_has_blocks() -> None:
    corners = np.array([*itertools.product(range(0, 960, 96), range(0, 1920, 96))])
    labels = np.random.default_rng(1).integers(0, 3, (len(corners), 4, 4)).astype(np.uint8)
    parts = earth.split(labels, corners)
    of_block: dict[tuple[int, ...], set[int]] = {}
    for corner, part in zip(corners, parts, strict=True):
        of_block.setdefault(tuple(corner // earth.BLOCK), set()).add(int(part))
    assert len(of_block) == 3 * 5
    assert all(len(found) == 1 for found in of_block.values())
    assert {*parts.tolist()} == {0, 1, 2}


def test_parts_have_similar_classes_and_the_shares_of_tiles_asked_for() -> None:
    counts = np.array([[9.0, 1], [1, 9]] * 10)
    sizes = np.full(20, 16)
    parts = earth.most_alike(counts, sizes)
    for part, share in enumerate(earth.PART_SHARES):
        assert np.mean(parts == part) == pytest.approx(share, abs=0.06)
        first, second = counts[parts == part].sum(0)
        assert 0.6 < first / second < 1.6


def test_parts_with_other_classes_are_less_alike_and_an_empty_one_is_not_allowed() -> None:
    counts = np.array([[6.0, 6], [2, 2], [4, 0], [0, 4]])
    sizes = np.array([3, 1, 1, 1])
    mixed, apart, empty = (
        earth.unlikeness(np.array(parts), counts, sizes)
        for parts in ([0, 1, 2, 2], [0, 2, 1, 2], [0, 1, 1, 1])
    )
    assert mixed < apart < empty == float("inf")


def test_parts_of_other_sizes_are_less_alike() -> None:
    counts, sizes = np.ones((5, 2)), np.full(5, 4)
    wanted, other = (
        earth.unlikeness(np.array(parts), counts, sizes)
        for parts in ([0, 0, 0, 1, 2], [0, 0, 1, 1, 2])
    )
    assert wanted == pytest.approx(0)
    assert other == pytest.approx(3 * (0.2 + 0.2))


def test_void_pixels_do_not_count_for_the_split() -> None:
    corners = np.array([(0, left) for left in range(0, 3840, 384)])
    labels = np.random.default_rng(0).integers(0, 2, (10, 4, 8)).astype(np.uint8)
    hidden = labels.copy()
    hidden[:, :, 4:] = VOID
    expected = earth.split(labels[:, :, :4], corners)
    np.testing.assert_array_equal(earth.split(hidden, corners), expected)


def test_the_sea_and_tiny_pieces_are_void_and_lakes_are_not() -> None:
    water = np.zeros((120, 200), dtype=bool)
    water[0:100, 80:160] = True  # 8000 pixels
    water[10:14, 20:25] = water[40, 30:33] = True  # lakes
    water[60, 40:42] = True  # two pixels
    water[80:90, :5] = water[80:90, -5:] = True  # an ocean at the date line
    expected = np.zeros(water.shape, dtype=np.uint8)
    expected[10:14, 20:25] = expected[40, 30:33] = 1
    expected[0:100, 80:160] = expected[60, 40:42] = VOID
    expected[80:90, :5] = expected[80:90, -5:] = VOID
    np.testing.assert_array_equal(earth.lake_labels(water), expected)


def test_pieces_of_water_that_touch_at_a_corner_are_one_lake() -> None:
    water = np.zeros((9, 9), dtype=bool)
    water[[3, 4, 5], [3, 4, 5]] = True
    np.testing.assert_array_equal(earth.lake_labels(water), water)


def test_classes_are_those_at_the_centres_of_pixels() -> None:
    finer = np.arange(24, dtype=np.uint8).reshape(4, 6)
    np.testing.assert_array_equal(earth.resampled(finer, (2, 2)), finer[[1, 3]][:, [1, 4]])
    coarser = earth.resampled(finer, (8, 12))
    np.testing.assert_array_equal(coarser, finer.repeat(2, 0).repeat(2, 1))


def test_tiles_that_a_mask_covers_too_much_and_those_in_the_far_south_are_left_out() -> None:
    label = np.arange(0, 2400 * 384).reshape(2400, 384).astype(np.uint8)
    image = np.stack([label] * 3, -1)
    mask = np.zeros(label.shape, dtype=bool)
    mask[96:192, 96:144] = True  # half of a tile
    mask[192:288, 0:49] = True  # more than half
    arrays = earth.tiles(image, label, [(mask, 0.5)])
    assert len(arrays["label"]) == 23 * 4 - 1
    np.testing.assert_array_equal(arrays["label"][5], label[96:192, 96:192])
    np.testing.assert_array_equal(arrays["label"][8], label[192:288, 96:192])
    np.testing.assert_array_equal(arrays["label"][-1], label[2112:2208, 288:384])
    np.testing.assert_array_equal(arrays["image"], np.stack([arrays["label"]] * 3, -1))


@pytest.mark.parametrize(
    ("groups", "codes"),
    [(earth.LAND_COVER.values(), range(17)), (brain.REGIONS.values(), range(1, 117))],
)
def test_each_code_is_in_one_group(groups: list[list[int]], codes: range) -> None:
    assert sorted(itertools.chain(*groups)) == [*codes]


@pytest.fixture
def earth_folder(tmp_path: Path) -> Path:
    """Packages with random land, a lake and sea; the classes have twice the sides of the image."""
    generator = np.random.default_rng(0)
    igbp = generator.choice([1, 3, 10, 14], (96, 480)).repeat(8, 0).repeat(8, 1).astype(np.uint8)
    igbp[:, :192] = earth.WATER  # the first column of tiles
    igbp[400:420, 1000:1030] = earth.WATER
    igbp[:192, 3648:] = earth.ICE  # a corner
    image = generator.integers(0, 256, (384, 1920, 3)).astype(np.uint8)
    write_maps(tmp_path, image, igbp)
    return tmp_path


def test_landcover_merges_classes_and_leaves_out_sea_and_ice(earth_folder: Path) -> None:
    shown = make("landcover", "--source", earth_folder, "--folder", earth_folder / "data")
    assert shown.exit_code == 0, shown.output
    arrays = np.load(earth_folder / "data" / "landcover.npz")
    assert {*arrays.files} == {"image", "label", "split"}
    assert arrays["label"].shape == (4 * 19 - 1, 96, 96)
    names = [[*earth.LAND_COVER][index] for index in np.unique(arrays["label"])]
    assert names == ["water", "needleleaf forest", "grassland", "cropland"]
    dataset = Dataset.load(earth_folder / "data" / "landcover.npz")
    assert all(len(dataset.part(part)[0]) for part in ("training", "validation", "test"))


def test_lakes_are_the_foreground_on_the_same_land(earth_folder: Path) -> None:
    for name in ("landcover", "lakes"):
        assert make(name, "--source", earth_folder, "--folder", earth_folder).exit_code == 0
    land, lakes = (np.load(earth_folder / f"{name}.npz") for name in ("landcover", "lakes"))
    np.testing.assert_array_equal(lakes["image"], land["image"])
    np.testing.assert_array_equal(lakes["label"] == 1, land["label"] == 0)
    assert (lakes["label"] == 1).sum() == 10 * 15


# Hemispheres


def two_halves() -> NDArray[np.uint8]:
    """Returns a volume with 1 to the left of column 10, 2 to the right, in slices 3 to 42."""
    volume = np.zeros((21, 8, 50), dtype=np.uint8)
    volume[:10, 2:6, 3:43], volume[11:, 2:6, 3:43] = 1, 2
    return volume


LAYOUT = {"midline": 10, "left": -1, "width": 11, "thickness": 4, "gap": 2, "smallest": 1}


def test_hemispheres_are_mirrored_and_the_left_is_for_training() -> None:
    label = two_halves()
    column = np.broadcast_to(np.abs(np.arange(21) - 10)[:, None, None], label.shape)
    arrays = hemispheres.tiles(column.astype(np.uint8), label, **LAYOUT)
    expected = np.broadcast_to(np.arange(11)[:, None], arrays["image"].shape)
    np.testing.assert_array_equal(arrays["image"], expected)
    for part, hemisphere in enumerate([1, 2, 2]):
        classes = arrays["label"][arrays["split"] == part]
        assert {*classes.flat} == {0, hemisphere}


def test_slabs_are_for_validation_and_test_in_turn_with_slices_between() -> None:
    label = two_halves()
    number = np.broadcast_to(np.arange(50, dtype=np.uint8), label.shape)
    arrays = hemispheres.tiles(number, label, **LAYOUT)
    slices = arrays["image"][:, 0, 0, 0]
    training, validation, test = (slices[arrays["split"] == part].tolist() for part in range(3))
    assert training == [*range(3, 43)]
    assert validation[:8] == [3, 4, 5, 6, 15, 16, 17, 18]
    assert test[:8] == [9, 10, 11, 12, 21, 22, 23, 24]
    assert min(abs(a - b) for a in validation for b in test) == 3
    assert max(validation + test) == 42


def test_tiles_with_little_foreground_are_left_out() -> None:
    label = two_halves()
    label[:, :, 20] = 0
    label[:4, 2, 20] = 1
    for smallest, expected in ((4, 40), (5, 39)):
        arrays = hemispheres.tiles(label, label, **{**LAYOUT, "smallest": smallest})
        assert (arrays["split"] == 0).sum() == expected


def test_tiles_are_zero_beyond_the_volume() -> None:
    volume = np.ones((7, 2, 3), dtype=np.uint8)
    assert hemispheres.outwards(volume, 4, 1, 5)[:, 0, 0].tolist() == [1, 1, 1, 0, 0]
    assert hemispheres.outwards(volume, 4, -1, 6)[:, 0, 0].tolist() == [1, 1, 1, 1, 1, 0]


def test_brain_has_the_front_at_the_top_and_regions_merged(tmp_path: Path) -> None:
    regions = np.zeros((181, 217, 30), dtype=np.uint8)
    regions[50:90, 30:190, 4:28], regions[91:131, 30:190, 4:28] = 1, 44
    forward = np.broadcast_to(np.arange(217, dtype=np.uint8)[:, None], regions.shape)
    files = {brain.IMAGE_FILE: forward, brain.REGIONS_FILE: regions}
    path = tmp_path / "mricron-data_1.0_all.deb"
    write_debian_package(path, {name: nifti(file, np.eye(4)) for name, file in files.items()})
    arrays = brain.brain(tmp_path)
    assert arrays["image"].shape == (24 + 3 * 6, 192, 96, 1)
    rows = arrays["image"][0, :, 0, 0].astype(int)
    assert rows.tolist() == [*range(109 + 95, 109 - 97, -1)]
    classes = [{*arrays["label"][arrays["split"] == part].flat} for part in range(3)]
    frontal, occipital = ([*brain.REGIONS].index(name) for name in ("frontal", "occipital"))
    assert classes == [{0, frontal}, {0, occipital}, {0, occipital}]
    assert not arrays["image"][..., 91:, :].any()


# Cortex


def test_the_ribbon_lies_between_the_surfaces() -> None:
    shape, centre = (40, 42, 44), (19.3, 20.0, 22.5)
    ribbon = cortex.ribbon(sphere(centre, 9), sphere(centre, 14), shape)
    radius = distances(shape, centre)
    assert ribbon[(radius > 9.1) & (radius < 13.9)].all()
    assert not ribbon[(radius < 8.9) | (radius > 14.1)].any()


def test_lines_through_vertices_and_edges_cross_once() -> None:
    corners = np.concatenate([6 * np.eye(3), -6 * np.eye(3)]) + 10
    octahedron = Surface(corners, ConvexHull(corners).simplices.astype(np.int64))
    mask = cortex.inside(octahedron, (21, 21, 21))
    away = np.abs(np.indices(mask.shape) - 10).sum(0)
    assert mask[away < 6].all()
    assert not mask[away > 6].any()


def surface_file(surface: Surface, affine: NDArray[np.float64]) -> bytes:
    points = surface.vertices @ affine[:3, :3].T + affine[:3, 3]
    arrays = [
        GiftiDataArray(points.astype(np.float32), "NIFTI_INTENT_POINTSET"),
        GiftiDataArray(surface.triangles.astype(np.int32), "NIFTI_INTENT_TRIANGLE"),
    ]
    return GiftiImage(darrays=arrays).to_bytes()


def test_cortex_reads_surfaces_in_millimetres_and_mirrors_the_right(tmp_path: Path) -> None:
    affine = np.array([[-1.0, 0, 0, 40], [0, 0, 1, -70], [0, -1, 0, 20], [0, 0, 0, 1]])
    left = {"wm_lh": sphere((57, 70, 20), 9), "pia_lh": sphere((57, 70, 20), 13)}
    right = {"wm_rh": sphere((25, 70, 20), 8), "pia_rh": sphere((25, 70, 20), 11)}
    files = {
        f"{cortex.SUBJECT}/surfaces/{name}.gii": surface_file(surface, affine)
        for name, surface in (left | right).items()
    }
    column = np.broadcast_to(np.arange(80, dtype=np.uint8)[:, None, None], (80, 140, 40))
    files[cortex.IMAGE_FILE] = nifti(column, affine)
    write_tar(tmp_path / cortex.PYCORTEX.archive, files)
    arrays = cortex.cortex(tmp_path)
    images, labels, parts = (arrays[key] for key in ("image", "label", "split"))
    assert images[parts == 0][0, 0, :40, 0].tolist() == [*range(40, 80)]
    assert images[parts == 1][0, 0, :41, 0].tolist() == [*range(40, -1, -1)]
    assert parts.tolist() == [0] * 25 + [1] * 10 + [2] * 8
    slabs = [*range(10, 20), *range(23, 31)]
    for is_left, slices, centre, (inner, outer) in (
        (True, slice(8, 33), 57 - 40, (9, 13)),
        (False, slabs, 40 - 25, (8, 11)),
    ):
        radius = distances((40, 128, 128), (20, 64, centre))[slices]
        clear = (np.abs(radius - inner) > 0.1) & (np.abs(radius - outer) > 0.1)
        expected = (radius > inner) & (radius < outer)
        np.testing.assert_array_equal(labels[(parts == 0) == is_left][clear], expected[clear])


# Packages


def test_an_unknown_name_is_refused_with_the_names(tmp_path: Path) -> None:
    shown = make("lakes", "rivers", "--folder", tmp_path / "data")
    assert shown.exit_code == 2
    assert "'rivers'" in shown.output
    assert all(name in shown.output for name in SETS)


@pytest.mark.parametrize("name", [name for name, source in SETS.items() if source.packages])
def test_a_missing_archive_is_told(name: str, tmp_path: Path) -> None:
    shown = make(name, "--source", tmp_path, "--folder", tmp_path)
    assert shown.exit_code == 1
    assert f"{tmp_path} has no {SETS[name].packages[0].archive}" in shown.output
    assert not [*tmp_path.iterdir()]


def test_a_file_that_an_archive_lacks_is_told(tmp_path: Path) -> None:
    write_tar(tmp_path / cortex.PYCORTEX.archive, {cortex.IMAGE_FILE: b""})
    write_debian_package(tmp_path / "mricron-data_1_all.deb", {brain.IMAGE_FILE: b""})
    write_wheel(tmp_path / earth.BLUE_MARBLE.archive, {"other.jpg": b""})
    missing = {
        "cortex": cortex.SURFACE_FILES[-1],
        "brain": brain.REGIONS_FILE,
        "lakes": earth.IMAGE_FILE,
    }
    for name, file in missing.items():
        shown = make(name, "--source", tmp_path, "--folder", tmp_path)
        assert shown.exit_code == 1
        assert file in shown.output


def test_a_machine_without_apt_is_told_which_file_to_download(tmp_path: Path) -> None:
    shown = make("brain", "--folder", tmp_path, PATH=str(tmp_path))
    assert shown.exit_code == 1
    assert "no apt-get" in shown.output
    assert "mricron-data_*_all.deb" in shown.output
    assert "--source" in shown.output


def test_a_command_downloads_into_the_folder_and_its_failure_is_told(tmp_path: Path) -> None:
    works = Package("some-*.whl", (sys.executable, "-c", "open('some-1.whl', 'w').close()"))
    works.download(tmp_path)
    assert works.find(tmp_path) == tmp_path / "some-1.whl"
    fails = Package("some-*.whl", (sys.executable, "-c", "raise SystemExit(3)"))
    with pytest.raises(FileNotFoundError, match=r"failed. Download some-\*.whl yourself"):
        fails.download(tmp_path)


def test_buildings_have_walls_and_all_parts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(examples, "SCENES", (2, 1, 1))
    arrays = SETS["buildings"].make(tmp_path)
    assert arrays["image"].shape == (4, 128, 128, 3)
    assert arrays["split"].tolist() == [0, 0, 1, 2]
    assert [*np.unique(arrays["label"])] == [0, 1, 2]


def test_tissues_have_slabs_that_do_not_touch(tmp_path: Path) -> None:
    import brain_tissue

    arrays = SETS["tissues"].make(tmp_path)
    assert [*np.unique(arrays["label"])] == [0, 1, 2, 3]
    whole = brain_tissue.load_brain(0.5)
    places = {image.tobytes(): index for index, image in enumerate(whole.image)}
    index = np.array([places[image.tobytes()] for image in arrays["image"]])
    heights = [whole.height[index[arrays["split"] == part]] for part in range(3)]
    for first, second in ((0, 1), (0, 2), (1, 2)):
        assert np.abs(heights[first][:, None] - heights[second]).min() > 5
