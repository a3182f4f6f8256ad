"""Maps made of masks: distances by brute force, skeletons by their properties, data loaders."""

from __future__ import annotations

import pickle
import sys

import albumentations
import numpy as np
import pytest
import scipy.ndimage
import skimage.morphology
import torch
from albumentations.pytorch import ToTensorV2
from torch.utils.data import DataLoader, Dataset

from segloss import MissingKeyError
from segloss.batch.remedies import _TRANSFORMS
from segloss.maps import (
    ComponentMap,
    DistanceMap,
    MaskMap,
    SignedDistanceMap,
    SkeletonMap,
    UNetWeightMap,
)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def blobs(rng: np.random.Generator, shape: tuple[int, ...], classes: int) -> np.ndarray:
    """Labels in patches of some pixels."""
    coarse = rng.integers(0, classes, [(size + 2) // 3 for size in shape])
    for axis, size in enumerate(shape):
        coarse = coarse.repeat(3, axis).take(range(size), axis)
    return coarse


def brute_force(inside: np.ndarray, spacing: list[float]) -> np.ndarray:
    """The signed distance by looking at all pairs of pixels."""
    if inside.all() or not inside.any():
        return np.zeros(inside.shape)
    places = np.stack(np.indices(inside.shape), -1).reshape(-1, inside.ndim) * np.array(spacing)
    flat = inside.ravel()
    pairs = np.linalg.norm(places[:, None] - places[None], axis=-1)
    to_class, to_rest = pairs[:, flat].min(1), pairs[:, ~flat].min(1)
    return np.where(flat, min(spacing) - to_rest, to_class).reshape(inside.shape)


@pytest.mark.parametrize("shape", [(11, 14), (5, 7, 6)])
@pytest.mark.parametrize("spacing", [None, 0.7, "per axis"])
def test_distances_are_those_of_all_pairs_of_pixels(rng, shape, spacing) -> None:
    per_axis = [2.5, 0.8, 1.1][: len(shape)]
    given = per_axis if spacing == "per axis" else spacing
    sizes = per_axis if spacing == "per axis" else [spacing or 1.0] * len(shape)
    mask = blobs(rng, shape, 2)
    maps = SignedDistanceMap(spacing=given)(mask=mask)["gt_distance_map"]
    assert (maps.dtype, maps.shape) == (np.float32, (1, *shape))
    np.testing.assert_allclose(maps[0], brute_force(mask == 1, sizes), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("shape", [(11, 14), (5, 7, 6)])
def test_each_class_has_its_own_distances(rng, shape) -> None:
    mask = blobs(rng, shape, 4)
    mask[0, :5] = 255
    maps = SignedDistanceMap(4, ignore_index=255)(mask=mask)["gt_distance_map"]
    assert maps.shape == (4, *shape)
    for label in range(4):
        expected = brute_force(mask == label, [1.0] * len(shape))
        np.testing.assert_allclose(maps[label], expected, rtol=1e-6)
    assert (maps[:, mask == 255] >= 1).all()


def test_the_sign_says_inside_and_the_border_inside_is_zero(rng) -> None:
    mask = blobs(rng, (20, 20), 2)
    signed = SignedDistanceMap()(mask=mask)["gt_distance_map"][0]
    border = (mask == 1) & ~scipy.ndimage.binary_erosion(mask, border_value=1)
    assert (signed[border] == 0).all()
    assert (signed[(mask == 1) & ~border] < 0).all()
    assert (signed[mask == 0] >= 1).all()


def test_no_pixel_inside_is_positive_whatever_the_spacing(rng) -> None:
    mask = blobs(rng, (12, 9, 9), 2)
    signed = SignedDistanceMap(spacing=(3.0, 0.7, 0.71))(mask=mask)["gt_distance_map"][0]
    assert (signed[mask == 1] <= 0).all()
    assert (signed[mask == 0] > 0).all()


@pytest.mark.parametrize("label", [0, 1, 255])
def test_a_class_absent_or_everywhere_has_a_map_of_zeros(label: int) -> None:
    mask = np.full((6, 5), label)
    for classes in (2, 3):
        transform = SignedDistanceMap(classes, ignore_index=255)
        assert not transform(mask=mask)["gt_distance_map"].any()


def test_ignored_pixels_are_outside(rng) -> None:
    mask = np.array([[255, -1, 1, 1, 1, 255]] * 2)
    signed = SignedDistanceMap(ignore_index=[255, -1])(mask=mask)["gt_distance_map"]
    assert signed[0, 0].tolist() == [2, 1, 0, -1, 0, 1]


def line(shape: tuple[int, ...], width: int) -> np.ndarray:
    """A bar along the last axis, `width` pixels thick, away from the image's edges."""
    mask = np.zeros(shape, dtype=np.uint8)
    middle = tuple(slice(s // 2 - width // 2, s // 2 - width // 2 + width) for s in shape[:-1])
    mask[(*middle, slice(3, shape[-1] - 3))] = 1
    return mask


@pytest.mark.parametrize("shape", [(15, 30), (15, 15, 30)])
@pytest.mark.parametrize("radius", [0, 1, 2, 3])
def test_the_skeleton_of_a_bar_is_its_middle_widened_by_the_radius(shape, radius: int) -> None:
    mask = line(shape, 9)
    skeleton = SkeletonMap(radius=radius)(mask=mask)["gt_skeleton"]
    assert (skeleton.dtype, skeleton.shape) == (np.float32, (1, *shape))
    cut = skeleton[0, ..., shape[-1] // 2]
    middle = np.array(cut.shape).reshape(-1, *[1] * cut.ndim) // 2
    steps = np.abs(np.indices(cut.shape) - middle).sum(0)
    assert np.array_equal(cut, steps <= radius)


@pytest.mark.parametrize("shape", [(40, 40), (12, 15, 15)])
@pytest.mark.parametrize("radius", [0, 2])
def test_it_is_the_dilated_skeleton_of_the_foreground_cut_into_classes(rng, shape, radius) -> None:
    """As in the paper: binarised, thinned, dilated by the cross's two-fold, given their classes."""
    mask = blobs(rng, shape, 3)
    mask[0, 2:] = 255
    foreground = (mask == 1) | (mask == 2)
    expected = skimage.morphology.skeletonize(foreground)
    if radius:
        cross = scipy.ndimage.generate_binary_structure(len(shape), 1)
        footprint = scipy.ndimage.iterate_structure(cross, radius)
        expected = skimage.morphology.dilation(expected.astype(np.uint8), footprint)
    maps = SkeletonMap(3, radius=radius, ignore_index=255)(mask=mask)["gt_skeleton"]
    assert maps.shape == (3, *shape)
    assert not maps[0].any()
    for label in (1, 2):
        assert maps[label].any()
        assert np.array_equal(maps[label], expected * (mask == label))


def test_the_skeleton_stays_within_the_mask_and_has_each_of_its_parts(rng) -> None:
    mask = np.zeros((60, 60), dtype=np.int64)
    mask[5:9, 5:50] = mask[20:50, 10:13] = mask[30:40, 30:40] = 1
    skeleton = SkeletonMap()(mask=mask)["gt_skeleton"][0]
    assert set(np.unique(skeleton)) == {0, 1}
    assert not skeleton[mask == 0].any()
    parts, count = scipy.ndimage.label(mask)
    assert count == 3
    assert all(skeleton[parts == part].any() for part in range(1, 4))
    assert skeleton.sum() < mask.sum()


@pytest.mark.parametrize("label", [0, 255])
def test_without_foreground_there_is_no_skeleton(label: int) -> None:
    for classes in (2, 3):
        transform = SkeletonMap(classes, ignore_index=255)
        assert not transform(mask=np.full((6, 5), label))["gt_skeleton"].any()


@pytest.mark.parametrize("connectivity", [1, 2, None])
@pytest.mark.parametrize("shape", [(13, 17), (5, 7, 6)])
def test_components_are_those_of_scikit_image(rng, shape, connectivity: int | None) -> None:
    mask = (rng.random(shape) > 0.7) * rng.integers(1, 3, shape)
    maps = ComponentMap(3, connectivity=connectivity)(mask=mask)["gt_components"]
    assert maps.dtype == np.int16
    for label, ids in enumerate(maps):
        expected = skimage.measure.label(mask == label, connectivity=connectivity)
        pairs = set(zip(ids.ravel().tolist(), expected.ravel().tolist(), strict=True))
        assert len(pairs) == ids.max() + 1 == expected.max() + 1  # the same up to the order
        assert ((ids > 0) == (mask == label)).all()


@pytest.mark.parametrize("spacing", [None, [1.0, 3.0]])
def test_nearest_gives_every_pixel_to_a_component_that_no_other_is_nearer_to(rng, spacing) -> None:
    mask = np.asarray(rng.random((14, 11)) > 0.93, dtype=int)
    own = ComponentMap()(mask=mask)["gt_components"][0]
    ids = ComponentMap(partition="nearest", spacing=spacing)(mask=mask)["gt_components"][0]
    assert (ids > 0).all()
    scale = np.array([1.0, 1.0] if spacing is None else spacing)
    places = {k: np.argwhere(own == k) for k in range(1, own.max() + 1)}
    for pixel in np.ndindex(*mask.shape):
        distance = {
            k: np.sqrt((((place - pixel) * scale) ** 2).sum(1)).min() for k, place in places.items()
        }
        assert distance[ids[pixel]] == pytest.approx(min(distance.values()))


@pytest.mark.parametrize("partition", ["component", "nearest"])
@pytest.mark.parametrize("label", [0, 255])
def test_without_a_class_there_are_no_components(label: int, partition: str) -> None:
    transform = ComponentMap(partition=partition, ignore_index=255)
    assert not transform(mask=np.full((6, 5), label))["gt_components"].any()


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32"])
def test_the_dtype_of_components_can_be_chosen(rng, dtype: str) -> None:
    mask = blobs(rng, (13, 17), 2)
    maps = ComponentMap(dtype=dtype)(mask=torch.from_numpy(mask))["gt_components"]
    assert maps.dtype == getattr(torch, dtype)
    assert np.array_equal(maps.numpy(), ComponentMap()(mask=mask)["gt_components"])


TRANSFORMS = [
    SignedDistanceMap(),
    SkeletonMap(),
    ComponentMap(),
    SignedDistanceMap(3),
    SkeletonMap(3),
    ComponentMap(3, partition="nearest"),
]


@pytest.mark.parametrize("transform", TRANSFORMS, ids=repr)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "int64", "float32", "bool"])
def test_the_masks_dtype_makes_no_difference(rng, transform, dtype: str) -> None:
    mask = blobs(rng, (13, 17), 2)
    expected = transform(mask=mask)[transform.out_key]
    maps = transform(mask=mask.astype(dtype))[transform.out_key]
    assert np.array_equal(maps, expected)
    tensor = transform(mask=torch.from_numpy(mask).to(getattr(torch, dtype)))[transform.out_key]
    assert tensor.dtype == (torch.int16 if isinstance(transform, ComponentMap) else torch.float32)
    assert np.array_equal(tensor.numpy(), expected)


def test_views_and_flipped_arrays_are_taken(rng) -> None:
    mask = blobs(rng, (13, 17), 2)[::-1, ::2]
    for transform in TRANSFORMS:
        maps = transform(mask=mask)[transform.out_key]
        assert np.array_equal(maps, transform(mask=mask.copy())[transform.out_key])


@pytest.mark.parametrize("transform", TRANSFORMS, ids=repr)
def test_everything_else_is_handed_on_and_nothing_changed(rng, transform) -> None:
    mask, image = blobs(rng, (6, 5), 2), rng.random((6, 5, 3))
    before = mask.copy()
    result = transform(image=image, mask=mask, name="a")
    assert list(result) == ["image", "mask", "name", transform.out_key]
    assert result["image"] is image
    assert result["mask"] is mask
    assert np.array_equal(mask, before)


def test_keys_can_be_named(rng) -> None:
    mask = blobs(rng, (6, 5), 2)
    result = SkeletonMap(mask_key="roads", out_key="thin")(roads=mask)
    assert np.array_equal(result["thin"], SkeletonMap()(mask=mask)["gt_skeleton"])
    result = SignedDistanceMap(mask_key="roads", out_key="far")(roads=mask)
    assert np.array_equal(result["far"], SignedDistanceMap()(mask=mask)["gt_distance_map"])


class Masks(Dataset):
    """Images and masks, augmented, with both maps."""

    def __init__(self, classes: int, *, tensors: bool) -> None:
        self.augment = albumentations.Compose(
            [albumentations.HorizontalFlip(p=1), *([ToTensorV2()] if tensors else [])]
        )
        self.maps = [SignedDistanceMap(classes), SkeletonMap(classes)]
        rng = np.random.default_rng(1)
        self.masks = [blobs(rng, (24, 20), classes).astype(np.uint8) for _ in range(4)]

    def __len__(self) -> int:
        return len(self.masks)

    def __getitem__(self, index: int) -> dict:
        mask = self.masks[index]
        sample = self.augment(image=np.zeros((24, 20, 3), dtype=np.uint8), mask=mask)
        for transform in self.maps:
            sample = transform(**sample)
        return sample


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("tensors", [False, True])
@pytest.mark.parametrize(("classes", "channels"), [(2, 1), (3, 3)])
def test_a_data_loader_makes_batches_of_maps(workers, tensors, classes, channels) -> None:
    dataset = Masks(classes, tensors=tensors)
    batches = list(DataLoader(dataset, batch_size=2, num_workers=workers))
    assert len(batches) == 2
    for number, batch in enumerate(batches):
        for transform in dataset.maps:
            maps = batch[transform.out_key]
            assert (maps.dtype, maps.shape) == (torch.float32, (2, channels, 24, 20))
            for place in range(2):
                flipped = dataset.masks[2 * number + place][:, ::-1]
                expected = transform(mask=flipped.copy())[transform.out_key]
                assert np.array_equal(maps[place].numpy(), expected)


@pytest.mark.parametrize("transform", TRANSFORMS, ids=repr)
def test_pickles_are_the_same_transform(rng, transform) -> None:
    mask = blobs(rng, (9, 9), 2)
    other = pickle.loads(pickle.dumps(transform))
    assert repr(other) == repr(transform)
    assert np.array_equal(other(mask=mask)[other.out_key], transform(mask=mask)[transform.out_key])


@pytest.mark.parametrize(
    ("transform", "module"),
    [
        (SignedDistanceMap(), "scipy.ndimage"),
        (ComponentMap(), "scipy.ndimage"),
        (SkeletonMap(), "skimage.morphology"),
        (SkeletonMap(), "scipy.ndimage"),
        (SkeletonMap(), "numpy"),
    ],
)
def test_a_missing_library_is_named_with_the_command(monkeypatch, transform, module) -> None:
    mask = torch.eye(5)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=rf'{module}.*pip install "pytorch-segloss\[maps\]"'):
        transform(mask=mask)


@pytest.mark.parametrize(
    ("make", "kind", "words"),
    [
        (lambda: SignedDistanceMap(1), ValueError, "n_classes must be at least 2, got 1"),
        (lambda: SkeletonMap(2.0), TypeError, "n_classes must be an int"),
        (lambda: SkeletonMap(radius=-1), ValueError, "radius must be at least 0, got -1"),
        (lambda: SkeletonMap(radius=1.5), TypeError, "radius must be an int"),
        (lambda: SkeletonMap(mask_key=""), ValueError, "mask_key must not be empty"),
        (lambda: SkeletonMap(out_key=3), TypeError, "out_key must be a str"),
        (lambda: SkeletonMap(out_key="mask"), ValueError, "the mask would be lost"),
        (lambda: SignedDistanceMap(spacing=0), ValueError, "spacing must be .*above 0, got 0"),
        (lambda: SignedDistanceMap(spacing=[1, -1]), ValueError, r"spacing\[1\] must be"),
        (lambda: SignedDistanceMap(spacing="1 mm"), TypeError, "spacing must be a number"),
    ],
)
def test_wrong_arguments_are_refused_when_the_transform_is_made(make, kind, words: str) -> None:
    with pytest.raises(kind, match=words):
        make()


@pytest.mark.parametrize("transform", [SignedDistanceMap(), SkeletonMap()], ids=repr)
@pytest.mark.parametrize(
    ("mask", "kind", "words"),
    [
        ([[0, 1]], TypeError, "mask must be a NumPy array or a tensor, got list"),
        (np.zeros((4, 4, 1)), ValueError, r"without a channel axis, got \(4, 4, 1\).*squeeze\(-1"),
        (np.zeros((1, 4, 4)), ValueError, r"got \(1, 4, 4\): remove the axis with mask.squeeze\(0"),
        (np.zeros((1, 1, 4, 4)), ValueError, r"remove these axes with mask.squeeze\(\(0, 1\)\)"),
        (np.zeros((2, 1, 4, 4)), ValueError, r"if this is a batch, make the map of each sample\."),
        (torch.zeros(4), ValueError, r"\(H, W\) or \(D, H, W\).*got \(4,\)"),
        (torch.rand(4, 4), ValueError, "must hold whole numbers, the classes, got fractions"),
        (np.full((4, 4), np.nan), ValueError, "fractions or NaN"),
        (np.full((4, 4), "a"), TypeError, "must hold numbers, got <U1"),
        (None, MissingKeyError, "needs the mask as mask=.*'image', 'mask'"),
    ],
)
def test_wrong_masks_are_refused(transform, mask, kind, words: str) -> None:
    with pytest.raises(kind, match=words):
        transform(image=None, mask=mask)


WRONG_LABELS = {
    "0 and 255": ([0, 255, 255], 2, r"mask holds the label 255, expected 0 to 1.*mask // 255"),
    "a class too many": ([0, 1, 2], 2, r"mask holds the label 2.*n_classes=3"),
    "void": ([0, 1, 255], 2, r"If 255 marks pixels to leave out, set ignore_index=255"),
    "void of -1": ([0, 2, -1], 3, r"mask holds the label -1.*set ignore_index=-1"),
    "labels from 1": ([1, 2, 3], 3, r"these start at 1: subtract 1, mask - 1"),
}


@pytest.mark.parametrize("name", WRONG_LABELS)
@pytest.mark.parametrize("kind", [SignedDistanceMap, SkeletonMap, ComponentMap, DistanceMap])
def test_a_label_that_is_neither_a_class_nor_ignored_is_refused(kind, name: str) -> None:
    row, classes, words = WRONG_LABELS[name]
    mask = np.array([row] * 3)
    for given in (mask, mask.astype(float), torch.from_numpy(mask)):
        with pytest.raises(ValueError, match=words):
            kind(classes)(mask=given)


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float32"])
def test_an_ignored_class_has_no_map(dtype: str) -> None:
    mask = np.array([[0, 0, 1, 2, 2, 7]] * 2).astype(dtype)
    maps = ComponentMap(3, ignore_index=[0, 7, -100])(mask=mask)["gt_components"]
    assert maps[:, 0].tolist() == [[0, 0, 0, 0, 0, 0], [0, 0, 1, 0, 0, 0], [0, 0, 0, 1, 1, 0]]


@pytest.mark.parametrize("shape", [(9, 8), (5, 6, 7)])
@pytest.mark.parametrize("axis", [0, -1])
@pytest.mark.parametrize("transform", [SkeletonMap(), SkeletonMap(6), UNetWeightMap()], ids=repr)
def test_one_hot_masks_are_not_taken_for_a_volume(rng, transform, axis: int, shape) -> None:
    classes = getattr(transform, "n_classes", 2)
    one_hot = np.eye(classes)[blobs(rng, shape, classes)]
    with pytest.raises(ValueError, match=rf"got one-hot masks.*pass mask.argmax\({axis}\)"):
        transform(mask=np.moveaxis(one_hot, -1, axis))


def test_flat_volumes_are_taken(rng) -> None:
    for mask in (blobs(rng, (2, 9, 9), 2), np.zeros((2, 5, 5)), np.ones((3, 5, 5))):
        assert SkeletonMap()(mask=mask)["gt_skeleton"].shape == (1, *mask.shape)


def test_remedies_name_the_transform_of_each_key() -> None:
    transforms = [SignedDistanceMap(), SkeletonMap(), DistanceMap()]
    assert {each.out_key: type(each).__name__ for each in transforms} == _TRANSFORMS


def test_a_spacing_of_another_number_of_axes_is_refused() -> None:
    with pytest.raises(ValueError, match=r"one number per axis of mask.*expected 2, got 3"):
        SignedDistanceMap(spacing=(1, 1, 1))(mask=np.eye(4))


def test_a_subclass_must_say_what_it_computes() -> None:
    with pytest.raises(NotImplementedError, match=r"MaskMap must define compute\(\)"):
        MaskMap(2, "mask", "out")(mask=np.eye(4))
