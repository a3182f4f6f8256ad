"""The Hausdorff distance loss: its formula with distances by all pairs of pixels, in float64."""

from __future__ import annotations

import copy
import pickle
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader

from segloss import DistanceMap, HausdorffDistanceLoss, LossWrapper, MixUp, assert_loss
from segloss.batch.keys import MissingKeyError

SPATIAL = [(17,), (8, 9), (4, 5, 6)]


def distances(masks: Tensor) -> Tensor:
    """The distance of each pixel to the nearest on the other side, by all pairs of pixels."""
    found = torch.zeros(masks.shape, dtype=torch.float64)
    places = torch.stack(torch.meshgrid(*map(torch.arange, masks.shape[2:]), indexing="ij"), -1)
    places = places.reshape(-1, masks.ndim - 2).double()
    pairs = torch.cdist(places, places)
    for out, mask in zip(found.flatten(0, 1), masks.flatten(0, 1), strict=True):
        inside = mask.flatten()
        if inside.any() and not inside.all():
            other_side = inside[:, None] != inside[None]
            out.copy_(torch.where(other_side, pairs, torch.inf).amin(1).reshape(out.shape))
    return found


def textbook(p: Tensor, g: Tensor, alpha: float = 2.0, *, one_sided: bool = False) -> Tensor:
    """The squared error times powers of distances, at each pixel (N, K, *spatial)."""
    weights = distances(g > 0.5) ** alpha
    weights = weights if one_sided else weights + distances(p.detach() > 0.5) ** alpha
    return (p - g) ** 2 * weights


def batch(classes: int, *spatial: int) -> tuple[Tensor, Tensor]:
    logits = 2 * torch.randn(2, classes, *spatial, dtype=torch.float64)
    return logits, torch.randint(0, classes, (2, *spatial))


def one_hot(labels: Tensor, classes: int) -> Tensor:
    return F.one_hot(labels, classes).movedim(-1, 1).double()


def value_and_gradient(loss, x: Tensor, *others) -> tuple[Tensor, Tensor]:
    x = x.clone().requires_grad_()
    value = loss(x, *others)
    return value.detach(), *torch.autograd.grad(value, x)


@pytest.mark.parametrize("spatial", SPATIAL)
@pytest.mark.parametrize("alpha", [0.5, 1, 2])
@pytest.mark.parametrize("one_sided", [False, True])
def test_masks_are_the_textbooks(spatial, alpha: float, one_sided: bool) -> None:
    logits, _ = batch(3, *spatial)
    mask = torch.randint(0, 2, logits.shape)
    ours = HausdorffDistanceLoss("multilabel", alpha, predicted_distance=not one_sided)
    theirs = lambda x, y: textbook(x.sigmoid(), y.double(), alpha, one_sided=one_sided).mean()  # noqa: E731
    torch.testing.assert_close(
        *(value_and_gradient(loss, logits, mask) for loss in (ours, theirs)), rtol=1e-10, atol=1e-12
    )


@pytest.mark.parametrize("spatial", SPATIAL)
def test_softmax_leaves_the_background_out(spatial) -> None:
    logits, labels = batch(4, *spatial)
    theirs = lambda x, y: textbook(x.softmax(1)[:, 1:], one_hot(y, 4)[:, 1:]).mean()  # noqa: E731
    ours = HausdorffDistanceLoss("multiclass")
    torch.testing.assert_close(
        *(value_and_gradient(loss, logits, labels) for loss in (ours, theirs)),
        rtol=1e-10,
        atol=1e-12,
    )
    every = HausdorffDistanceLoss("multiclass", classes=range(4), reduction="none")(logits, labels)
    expected = textbook(logits.softmax(1), one_hot(labels, 4)).flatten(2).mean(2)
    torch.testing.assert_close(every, expected)


@pytest.mark.parametrize("classes", [2, 4])
def test_maps_of_the_data_loader_are_the_distances_of_the_target(classes: int) -> None:
    """Mask, transform, data loader, wrapper: as computed in the loss."""
    masks = [np.random.default_rng(i).integers(0, classes, (12, 9)) for i in range(2)]
    samples = [DistanceMap(classes)(mask=mask) for mask in masks]
    loaded = next(iter(DataLoader(samples, batch_size=2)))
    channels = 1 if classes == 2 else classes
    mode = "binary" if classes == 2 else "multiclass"
    logits = torch.randn(2, channels, 12, 9, dtype=torch.float64)
    gt_batch = {
        "gt_polygons_image": loaded["mask"].unsqueeze(1),
        "gt_distance": loaded["gt_distance"],
    }
    with_map = LossWrapper(HausdorffDistanceLoss(mode, map_key="gt_distance"))
    value, _ = with_map({"seg": logits}, gt_batch)
    expected = HausdorffDistanceLoss(mode)(logits, loaded["mask"])
    torch.testing.assert_close(value, expected, rtol=1e-6, atol=0)
    doubled, _ = with_map({"seg": logits}, {**gt_batch, "gt_distance": 9 + loaded["gt_distance"]})
    assert doubled > value
    with pytest.raises(MissingKeyError, match=r"'gt_distance'.*DistanceMap"):
        with_map({"seg": logits}, {"gt_polygons_image": loaded["mask"].unsqueeze(1)})


def test_mixup_keeps_maps_with_their_targets() -> None:
    logits, mask = torch.randn(2, 1, 8, 9), torch.randint(0, 2, (2, 1, 8, 9))
    maps = torch.rand(2, 1, 8, 9)
    loss = HausdorffDistanceLoss(map_key="gt_distance")
    wrapped = LossWrapper(loss, use_mixup=True)
    _, mixed = MixUp(0.4)(logits, {"gt_polygons_image": mask, "gt_distance": maps})
    lam, order = mixed["mixup_lam"], mixed["mixup_index"]
    value, _ = wrapped({"seg": logits}, mixed)
    parts = [
        loss(logits, mask, maps={"gt_distance": maps}),
        loss(logits, mask[order], maps={"gt_distance": maps[order]}),
    ]
    torch.testing.assert_close(value, lam * parts[0] + (1 - lam) * parts[1])


@pytest.mark.parametrize("reduction", ["sample", "batch", "micro"])
def test_pooled_means_are_over_the_pixels_that_count(reduction: str) -> None:
    logits, labels = batch(3, 8, 9)
    marked = labels.clone()
    marked[0, :5] = 255
    marked[1, 7] = 255
    kept = (marked != 255).unsqueeze(1)
    p = torch.where(kept, logits.softmax(1), 0)[:, 1:]
    g = torch.where(kept, one_hot(labels, 3), 0)[:, 1:]
    errors, counts = textbook(p, g), kept.double().expand(p.shape)
    errors = torch.where(kept, errors, 0)
    dims = {"sample": [2, 3], "batch": [0, 2, 3], "micro": [0, 1, 2, 3]}[reduction]
    expected = (errors.sum(dims) / counts.sum(dims)).mean()
    loss = HausdorffDistanceLoss("multiclass", region_reduction=reduction, ignore_index=255)
    broken = torch.where(kept, logits, torch.nan)
    value, gradient = value_and_gradient(loss, broken, marked)
    torch.testing.assert_close(value, expected)
    assert gradient.isfinite().all()
    assert not gradient.masked_select(~kept).any()


def test_maps_may_hold_nan_where_pixels_are_ignored() -> None:
    logits, mask = torch.randn(1, 1, 6, 6), torch.randint(0, 2, (1, 1, 6, 6))
    mask[:, :, 2] = 255
    maps = torch.rand(1, 1, 6, 6).where(mask != 255, torch.nan)
    loss = HausdorffDistanceLoss(map_key="d", ignore_index=255)
    assert loss(logits, mask, maps={"d": maps}).isfinite()


def test_soft_targets_and_probabilities_are_cut_at_a_half_for_distances() -> None:
    p, g = torch.rand(2, 1, 8, 9).double(), torch.rand(2, 1, 8, 9).double()
    value = HausdorffDistanceLoss(from_logits=False)(p, g)
    torch.testing.assert_close(value, textbook(p, g).mean())


@pytest.mark.parametrize("full", [0, 1])
def test_masks_without_a_border_have_no_distances(full: int) -> None:
    mask = torch.full((1, 1, 6, 6), full)
    assert HausdorffDistanceLoss()(torch.full((1, 1, 6, 6), 3.0), mask) == 0


def test_it_grows_with_the_square_of_the_distance_of_a_false_alarm() -> None:
    mask = torch.zeros(1, 1, 1, 100)
    mask[..., :10] = 1
    values = []
    for place in (29, 69):
        p = mask.clone()
        p[..., place] = 1
        loss = HausdorffDistanceLoss(from_logits=False, predicted_distance=False)
        values.append(loss(p, mask) * 100)
    assert values == [20**2, 60**2]


@pytest.mark.parametrize("shape", [(2, 3, 5, 4), (0, 3, 5, 4), (2, 3, 0, 4)])
def test_no_pixels_at_all_give_zero_with_a_zero_gradient(shape) -> None:
    logits = torch.randn(shape, requires_grad=True)
    target = torch.full((shape[0], *shape[2:]), 255)
    value = HausdorffDistanceLoss("multiclass", ignore_index=255)(logits, target)
    value.backward()
    assert value == 0
    assert torch.equal(logits.grad, torch.zeros(shape))


def test_many_channels_are_their_mean() -> None:
    logits, labels = torch.randn(1, 40, 6, 6).double(), torch.randint(0, 40, (1, 6, 6))
    expected = textbook(logits.softmax(1)[:, 1:], one_hot(labels, 40)[:, 1:]).mean()
    torch.testing.assert_close(HausdorffDistanceLoss("multiclass")(logits, labels), expected)


def test_derivatives_pass_gradcheck_twice() -> None:
    logits, labels = batch(3, 4, 5)
    loss = HausdorffDistanceLoss("multiclass", 1.5)
    x = logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(x, labels), x)
    assert torch.autograd.gradgradcheck(lambda x: loss(x, labels), x)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_and_autocast_are_computed_in_float32(dtype) -> None:
    logits, labels = batch(3, 8, 9)
    logits, loss = logits.to(dtype), HausdorffDistanceLoss("multiclass")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss(logits, labels)
    assert value.dtype == torch.float32
    assert torch.equal(value, loss(logits.float(), labels))


@pytest.mark.parametrize("map_key", [None, "gt_distance"])
def test_a_compiler_takes_it_in_one_graph(map_key) -> None:
    torch.compiler.reset()
    loss = HausdorffDistanceLoss("multiclass", map_key=map_key, ignore_index=255)
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    logits, labels = batch(3, 8, 9)
    labels[0, :3] = 255
    maps = {} if map_key is None else {map_key: torch.rand(logits.shape)}
    results = [value_and_gradient(each, logits, labels, maps) for each in (compiled, loss)]
    torch.testing.assert_close(*results)


def test_the_losses_check_finds_nothing() -> None:
    assert_loss(HausdorffDistanceLoss())
    assert_loss(HausdorffDistanceLoss("multiclass", ignore_index=255))


def test_copies_and_pickles_are_the_same_loss() -> None:
    logits, labels = batch(3, 8, 9)
    loss = HausdorffDistanceLoss("multiclass", 1.5)
    for other in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss)), loss.half()):
        assert torch.equal(other(logits, labels), loss(logits, labels))


def test_a_missing_library_is_named_with_the_command(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.ndimage", None)
    with pytest.raises(ImportError, match=r'scipy.ndimage.*pip install "pytorch-segloss\[maps\]"'):
        HausdorffDistanceLoss()(torch.randn(1, 1, 4, 4), torch.eye(4)[None, None])


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"alpha": 0}, ValueError, "alpha must be .*above 0, got 0"),
        ({"predicted_distance": 1}, TypeError, "predicted_distance must be True or False"),
        ({"map_key": ""}, ValueError, "map_key must not be empty"),
        ({"mode": "multi"}, ValueError, "mode must be one of"),
    ],
)
def test_wrong_arguments_are_refused_when_the_loss_is_made(options, kind, words: str) -> None:
    with pytest.raises(kind, match=words):
        HausdorffDistanceLoss(**options)


def test_wrong_maps_are_refused() -> None:
    loss = HausdorffDistanceLoss(map_key="gt_distance")
    x, y = torch.randn(2, 1, 4, 4), torch.zeros(2, 1, 4, 4)
    with pytest.raises(ValueError, match="maps must have 'gt_distance' for HausdorffDistanceLoss"):
        loss(x, y)
    with pytest.raises(ValueError, match="gt_distance must have the shape"):
        loss(x, y, maps={"gt_distance": torch.zeros(2, 4, 4)})
