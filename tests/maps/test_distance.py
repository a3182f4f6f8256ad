"""Distances to borders, by looking at all pairs of pixels."""

from __future__ import annotations

import numpy as np
import pytest

from segloss.maps import DistanceMap, SignedDistanceMap
from tests.maps.test_maps import blobs


def brute_force(inside: np.ndarray, spacing: list[float]) -> np.ndarray:
    if inside.all() or not inside.any():
        return np.zeros(inside.shape)
    places = np.stack(np.indices(inside.shape), -1).reshape(-1, inside.ndim) * np.array(spacing)
    pairs = np.linalg.norm(places[:, None] - places[None], axis=-1)
    other_side = inside.ravel()[:, None] != inside.ravel()[None]
    return np.where(other_side, pairs, np.inf).min(1).reshape(inside.shape)


@pytest.mark.parametrize("shape", [(11, 14), (5, 7, 6)])
@pytest.mark.parametrize("spacing", [None, 0.7, "per axis"])
@pytest.mark.parametrize("classes", [2, 4])
def test_distances_are_those_of_all_pairs_of_pixels(shape, spacing, classes: int) -> None:
    per_axis = [2.5, 0.8, 1.1][: len(shape)]
    sizes = per_axis if spacing == "per axis" else [spacing or 1.0] * len(shape)
    mask = blobs(np.random.default_rng(0), shape, classes)
    mask[0, :5] = 255
    size = per_axis if spacing == "per axis" else spacing
    transform = DistanceMap(classes, spacing=size, ignore_index=255)
    maps = transform(mask=mask)["gt_distance"]
    labels = [1] if classes == 2 else range(classes)
    assert (maps.dtype, maps.shape) == (np.float32, (len(labels), *shape))
    for found, label in zip(maps, labels, strict=True):
        np.testing.assert_allclose(found, brute_force(mask == label, sizes), rtol=1e-6)


def test_it_is_the_signed_distance_without_sign_and_a_pixel_more_inside() -> None:
    mask = blobs(np.random.default_rng(0), (20, 20), 2)
    signed = SignedDistanceMap()(mask=mask)["gt_distance_map"]
    expected = np.where(mask == 1, 1 - signed, signed)
    np.testing.assert_allclose(DistanceMap()(mask=mask)["gt_distance"], expected, rtol=1e-6)


def test_a_spacing_of_another_number_of_axes_is_refused() -> None:
    with pytest.raises(ValueError, match=r"one number per axis of mask.*expected 2, got 3"):
        DistanceMap(spacing=(1, 1, 1))(mask=np.eye(4))
