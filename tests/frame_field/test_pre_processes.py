"""What is added to batches before the frame-field losses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from segloss import ComputeSegGrads, SegLoss, SegLossWeights, compute_gt_field
from tests.frame_field.frame_fields import batches, seg_gradient


def test_gradients_of_masks_are_those_of_the_textbook() -> None:
    pred, gt = batches()
    added, _ = ComputeSegGrads()(pred, gt)
    gradient = seg_gradient(pred["seg"].numpy())
    norm = np.abs(gradient)
    parts = np.stack([gradient.real, gradient.imag], 2)
    assert added["seg_grads"].numpy() == pytest.approx(parts, abs=1e-14)
    assert added["seg_grad_norm"].numpy() == pytest.approx(norm, abs=1e-14)
    normed = parts / (norm + 1e-6)[:, :, None]
    assert added["seg_grads_normed"].numpy() == pytest.approx(normed, abs=1e-12)
    assert set(pred) == {"crossfield", "seg"}


def test_the_field_is_the_cosine_and_sine_of_the_angle() -> None:
    pred, gt = batches()
    _, added = compute_gt_field(pred, gt)
    angle = gt["gt_crossfield_angle"]
    assert added["gt_field"].equal(torch.cat([angle.cos(), angle.sin()], 1))
    assert "gt_field" not in gt


def expected_weights(gt: dict[str, Tensor], use_dist: bool, use_size: bool) -> np.ndarray:
    masks, frequencies = gt["gt_polygons_image"].numpy(), gt["class_freq"].numpy()
    distances, sizes = gt["distances"].numpy()[:, 0], gt["sizes"].numpy()[:, 0]
    samples, classes, height, width = masks.shape
    weights = np.zeros(masks.shape)
    for n, c, i, j in np.ndindex(samples, classes, height, width):
        set_here = masks[n, c, i, j] > 0.5
        f = frequencies[n, c] if set_here else 1 - frequencies[n].sum()
        d = distances[n, i, j] * (height + width)
        weight = 1 / f + (20 * np.exp(-((d / 3) ** 2)) if use_dist else 0)
        if use_size:
            weight *= 1 + 1 / (np.sqrt(height * width) / 2 * sizes[n, i, j])
        weights[n, c, i, j] = weight
    return weights


@pytest.mark.parametrize("use_dist", [False, True])
@pytest.mark.parametrize("use_size", [False, True])
def test_pixel_weights_are_those_of_the_formula(use_dist: bool, use_size: bool) -> None:
    pred, gt = batches()
    _, added = SegLossWeights(use_dist, use_size, w0=20, sigma=3)(pred, gt)
    expected = expected_weights(gt, use_dist, use_size)
    assert added["seg_loss_weights"].numpy() == pytest.approx(expected, rel=1e-12)
    loss = SegLoss(gt_channel_selector=slice(0, 2))
    assert loss(pred, added)[0] != loss(pred, gt)[0]


def test_what_a_class_does_not_need_may_be_missing() -> None:
    pred, gt = batches()
    gt["gt_polygons_image"][0, 1] = 0
    gt["class_freq"][0, 1] = 0  # a class that does not occur
    SegLossWeights(use_dist=False, use_size=False)(
        pred, {key: gt[key] for key in ("gt_polygons_image", "class_freq")}
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"class_freq": torch.tensor([[0.1, 0.2, 0.3], [0.1, 0.0, 0.2]])}, ["class_freq", "[1]"]),
        ({"class_freq": torch.tensor([[0.5, 0.5, 0.0], [0.1, 0.1, 0.1]])}, ["class_freq", "[0]"]),
        ({"class_freq": torch.ones(2, 1)}, ["expected (2, 3)", "(2, 1)"]),
        ({"sizes": torch.zeros(2, 1, 5, 4)}, ["sizes", "[0, 1]", "size 1"]),
        ({"sizes": torch.ones(2, 5, 4)}, ["sizes", "(N, 1, H, W)"]),
        ({"distances": torch.ones(2, 1, 5, 5)}, ["distances", "N, H, W"]),
        ({"gt_polygons_image": torch.full((2, 3, 5, 4), 255)}, ["[0, 1]", "255"]),
    ],
)
def test_wrong_truths_are_told_what_is_wrong(change, words) -> None:
    pred, gt = batches()
    with pytest.raises(ValueError, match="gt_batch") as caught:
        SegLossWeights()(pred, {**gt, **change})
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_what_is_missing_is_named() -> None:
    pred, gt = batches()
    for key in ("gt_polygons_image", "class_freq", "distances", "sizes"):
        with pytest.raises(KeyError, match=key):
            SegLossWeights()(pred, {name: value for name, value in gt.items() if name != key})
    with pytest.raises(KeyError, match="gt_crossfield_angle"):
        compute_gt_field(pred, {})
    with pytest.raises(KeyError, match="'seg'"):
        ComputeSegGrads()({}, gt)


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="sigma must be"):
        SegLossWeights(sigma=0)
    with pytest.raises(TypeError, match="use_dist"):
        SegLossWeights(use_dist="yes")
    with pytest.raises(TypeError, match="seg_key"):
        ComputeSegGrads(seg_key=0)
