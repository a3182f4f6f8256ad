"""Maps of instances: distances from one distance transform for each, and losses that use them."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import scipy.ndimage
import skimage.measure
import torch
from torch.utils.data import DataLoader

from segloss import SegLoss, SegLossWeights
from segloss.maps import InstanceDistanceMap, InstanceMap, InstanceSizeMap, UNetWeightMap


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def cells(rng: np.random.Generator, shape: tuple[int, ...], count: int) -> np.ndarray:
    """A mask that numbers discs or balls, of which some overlap or touch."""
    mask, places = np.zeros(shape, dtype=np.int64), np.indices(shape)
    for number in range(1, count + 1):
        centre = [rng.integers(0, size) for size in shape]
        offsets = places - np.reshape(centre, (-1, *[1] * len(shape)))
        mask[(offsets**2).sum(0) <= rng.uniform(0, 3) ** 2] = number
    return mask


def naive_distances(mask: np.ndarray, spacing: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """The distances to the two nearest labels, from a distance transform for each label."""
    labels = [label for label in np.unique(mask) if label != 0]
    all_distances = [
        scipy.ndimage.distance_transform_edt(mask != label, sampling=spacing) for label in labels
    ]
    all_distances += [np.full(mask.shape, np.inf)] * 2
    ordered = np.sort(np.stack(all_distances), 0)
    return ordered[0], ordered[1]


def naive_weights(mask, spacing, w0: float = 10.0, sigma: float = 5.0) -> np.ndarray:
    first, second = naive_distances(mask, spacing)
    return 1 + w0 * np.exp(-((first + second) ** 2) / (2 * sigma**2))


@pytest.mark.parametrize("shape", [(40, 33), (9, 14, 11)])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 17, 64])
@pytest.mark.parametrize("spacing", [None, "per axis"])
def test_weights_are_those_of_a_distance_transform_for_each_instance(rng, shape, count, spacing):
    per_axis = [2.5, 0.8, 1.1][: len(shape)]
    sizes = per_axis if spacing else [1.0] * len(shape)
    mask = cells(rng, shape, count)
    transform = UNetWeightMap(spacing=per_axis if spacing else None, instances="labels", sigma=3)
    weights = transform(mask=mask)["seg_loss_weights"]
    assert (weights.dtype, weights.shape) == (np.float32, (1, *shape))
    np.testing.assert_allclose(weights[0], naive_weights(mask, sizes, sigma=3), rtol=1e-6)


def test_components_are_connected_regions_of_equal_labels(rng) -> None:
    mask = cells(rng, (40, 33), 30)
    numbered = skimage.measure.label(mask, background=0)
    expected = naive_weights(numbered, [1, 1])
    weights = UNetWeightMap()(mask=mask)["seg_loss_weights"][0]
    np.testing.assert_allclose(weights, expected, rtol=1e-6)
    binary = mask > 0
    expected = naive_weights(scipy.ndimage.label(binary, np.ones((3, 3)))[0], [1, 1])
    weights = UNetWeightMap()(mask=binary)["seg_loss_weights"][0]
    np.testing.assert_allclose(weights, expected, rtol=1e-6)


def test_labels_need_not_be_small_or_positive() -> None:
    mask = np.array([[60_000, 0, -3, 0, 60_000, 0, 0, 7]])
    expected = naive_weights(mask, [1, 1])
    weights = UNetWeightMap(instances="labels")(mask=mask)["seg_loss_weights"][0]
    np.testing.assert_allclose(weights, expected, rtol=1e-6)


def test_instances_that_touch_have_weights_along_their_border_on_both_sides() -> None:
    mask = np.array([[1, 1, 1, 1, 2, 2, 2, 2]])
    weights = UNetWeightMap(w0=10, sigma=1)(mask=mask)["seg_loss_weights"][0, 0]
    assert weights[3] == weights[4] == pytest.approx(1 + 10 * np.exp(-0.5))
    assert (np.diff(weights[:4]) > 0).all()
    outside = UNetWeightMap(background_only=True)(mask=mask)["seg_loss_weights"]
    assert (outside == 1).all()


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_instances_have_no_border(count: int) -> None:
    mask = np.zeros((6, 7), dtype=np.uint8)
    mask[:count, 2:5] = 1
    assert (UNetWeightMap()(mask=mask)["seg_loss_weights"] == 1).all()
    assert (InstanceDistanceMap()(mask=mask)["distances"] == 1).all()


def test_ignored_pixels_have_no_weight_and_are_not_instances() -> None:
    mask = np.array([[1, 0, 255, 255, 0, 0, 1, 0, 255]])
    weights = UNetWeightMap(ignore_index=255)(mask=mask)["seg_loss_weights"][0]
    expected = naive_weights(np.where(mask == 255, 0, [[1, 0, 0, 0, 0, 0, 2, 0, 0]]), [1, 1])
    np.testing.assert_allclose(weights, np.where(mask == 255, 0, expected), rtol=1e-6)
    sizes = InstanceSizeMap(ignore_index=255)(mask=mask)["sizes"]
    assert sizes[0, 0].tolist() == pytest.approx([1 / 9, 1, 1, 1, 1, 1, 1 / 9, 1, 1])


def test_balanced_weights_give_both_classes_the_same_total(rng) -> None:
    mask = cells(rng, (40, 33), 12)
    mask[:3] = 255
    transform = UNetWeightMap(0, class_weights="balanced", ignore_index=255)
    weights = transform(mask=mask)["seg_loss_weights"][0]
    foreground, background = (mask > 0) & (mask != 255), mask == 0
    assert weights[foreground].sum() == pytest.approx(weights[background].sum(), rel=1e-5)
    assert weights[mask != 255].mean() == pytest.approx(1, rel=1e-5)
    empty = transform(mask=np.zeros((4, 4), dtype=np.uint8))["seg_loss_weights"]
    assert (empty == 1).all()


def test_weights_of_labels_are_added_to_the_borders() -> None:
    mask = np.array([[0, 1, 1, 0, 2, 0]])
    plain = UNetWeightMap()(mask=mask)["seg_loss_weights"]
    weighted = UNetWeightMap(class_weights={0: 0.5, 2: 3.0})(mask=mask)["seg_loss_weights"]
    np.testing.assert_allclose((weighted - plain)[0, 0], [-0.5, 0, 0, -0.5, 2, -0.5], atol=1e-5)


def test_distances_and_sizes_are_those_of_girard(rng) -> None:
    mask = cells(rng, (40, 33), 9)
    numbered = skimage.measure.label(mask, background=0)
    first, second = naive_distances(numbered, [1, 1])
    distances = InstanceDistanceMap()(mask=mask)["distances"]
    np.testing.assert_allclose(distances[0], np.minimum((first + second) / 73, 1), rtol=1e-6)
    sizes = InstanceSizeMap()(mask=mask)["sizes"]
    areas = np.bincount(numbered.ravel())[numbered] / (40 * 33)
    np.testing.assert_allclose(sizes[0], np.where(numbered > 0, areas, 1), rtol=1e-6)


def test_from_masks_to_the_loss_of_a_frame_field_training(rng) -> None:
    """Transforms, data loader, SegLossWeights, loss; and the weights by their formula."""
    masks = [cells(rng, (24, 20), 6) for _ in range(2)]
    samples = []
    for mask in masks:
        sample = {"instances": mask}
        for transform in (InstanceDistanceMap, InstanceSizeMap):
            sample = transform(mask_key="instances")(**sample)
        samples.append({**sample, "class_freq": np.array([(mask > 0).mean()])})
    loaded = next(iter(DataLoader(samples, batch_size=2)))
    gt_batch = {**loaded, "gt_polygons_image": (loaded["instances"] > 0).unsqueeze(1).float()}
    logits = torch.randn(2, 1, 24, 20)
    _, weighted = SegLossWeights(w0=50, sigma=10)({"seg": logits}, gt_batch)

    for mask, weights in zip(masks, weighted["seg_loss_weights"], strict=True):
        numbered = skimage.measure.label(mask, background=0)
        first, second = naive_distances(numbered, [1, 1])
        areas = np.where(numbered > 0, np.bincount(numbered.ravel())[numbered], mask.size)
        share = np.where(mask > 0, (mask > 0).mean(), (mask == 0).mean())
        border = 50 * np.exp(-((first + second) ** 2) / 100)
        radius = np.sqrt(mask.size) / 2
        expected = (1 / share + border) * (1 + 1 / (radius * areas / mask.size))
        np.testing.assert_allclose(weights[0], expected, rtol=1e-4)

    loss = SegLoss(from_logits=True)
    value, _ = loss({"seg": logits}, weighted)
    plain, _ = loss({"seg": logits}, gt_batch)
    assert value.isfinite()
    assert value != plain


def test_a_data_loader_makes_weights_of_a_loss(rng) -> None:
    masks = [cells(rng, (24, 20), 6) for _ in range(2)]
    loaded = next(iter(DataLoader([UNetWeightMap()(mask=mask) for mask in masks], batch_size=2)))
    assert loaded["seg_loss_weights"].shape == (2, 1, 24, 20)
    logits, target = torch.randn(2, 1, 24, 20), (loaded["mask"] > 0).unsqueeze(1)
    gt_batch = {"gt_polygons_image": target, "seg_loss_weights": loaded["seg_loss_weights"]}
    value, _ = SegLoss(from_logits=True, dice_coef=0, bce_coef=1)({"seg": logits}, gt_batch)
    weights = torch.from_numpy(np.stack([naive_weights(m, [1, 1]) for m in map(label, masks)]))
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(
        logits[:, 0].double(), target[:, 0].double(), reduction="none"
    )
    expected = (weights * entropy).sum() / weights.sum()
    torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=0)


def label(mask: np.ndarray) -> np.ndarray:
    return skimage.measure.label(mask, background=0)


TRANSFORMS = [
    UNetWeightMap(),
    UNetWeightMap(class_weights="balanced", instances="labels"),
    InstanceDistanceMap(),
    InstanceSizeMap(),
]


@pytest.mark.parametrize("transform", TRANSFORMS, ids=repr)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float32"])
def test_the_masks_dtype_makes_no_difference(rng, transform, dtype: str) -> None:
    mask = cells(rng, (20, 17), 7)
    expected = transform(mask=mask)[transform.out_key]
    assert np.array_equal(transform(mask=mask.astype(dtype))[transform.out_key], expected)
    tensor = transform(mask=torch.from_numpy(mask).to(getattr(torch, dtype)))[transform.out_key]
    assert np.array_equal(tensor.numpy(), expected)
    other = pickle.loads(pickle.dumps(transform))
    assert np.array_equal(other(mask=mask)[other.out_key], expected)


@pytest.mark.parametrize(
    ("make", "kind", "words"),
    [
        (lambda: UNetWeightMap(w0=-1), ValueError, "w0 must be"),
        (lambda: UNetWeightMap(sigma=0), ValueError, "sigma must be .*above 0"),
        (lambda: UNetWeightMap(class_weights="balance"), ValueError, "did you mean 'balanced'"),
        (lambda: UNetWeightMap(class_weights=[1, 2]), TypeError, "class_weights must be None"),
        (lambda: UNetWeightMap(class_weights={0: -1}), ValueError, r"class_weights\[0\] must be"),
        (lambda: UNetWeightMap(class_weights={"0": 1}), TypeError, "class_weights must be an int"),
        (lambda: UNetWeightMap(instances="label"), ValueError, "did you mean 'labels'"),
        (lambda: UNetWeightMap(ignore_index=1.5), TypeError, "ignore_index must be an int"),
        (lambda: UNetWeightMap(spacing=[]), ValueError, "got an empty list"),
        (lambda: InstanceSizeMap(out_key="mask"), ValueError, "the mask would be lost"),
    ],
)
def test_wrong_arguments_are_refused_when_the_transform_is_made(make, kind, words: str) -> None:
    with pytest.raises(kind, match=words):
        make()


def test_a_subclass_must_say_what_it_computes() -> None:
    with pytest.raises(NotImplementedError, match=r"InstanceMap must define compute_instances"):
        InstanceMap("labels", "mask", "out", None)(mask=np.eye(4))
