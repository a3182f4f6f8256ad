"""Losses of hard pixels: against sorts in PyTorch, with the definitions of other programs."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

import segloss
from segloss import HardPixelLoss, LossWrapper, OhemCrossEntropyLoss, Threshold, TopK
from segloss.terms import CrossEntropy, Dice, Focal
from tests.support.ranks import on_ranks


def batch(*spatial: int, classes: int = 4, ignored: float = 0.2) -> tuple[Tensor, Tensor]:
    logits = 2 * torch.randn(2, classes, *spatial, dtype=torch.float64)
    labels = torch.randint(0, classes, (2, *spatial))
    return logits.requires_grad_(), labels.masked_fill(torch.rand(labels.shape) < ignored, 255)


def same(ours: Tensor, theirs: Tensor, x: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-14)
    gradients = [torch.autograd.grad(each, x)[0] for each in (ours, theirs)]
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-14)


def of_counted(
    logits: Tensor, labels: Tensor, weight: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The cross-entropies and the probabilities of the true class, of the pixels that count."""
    kept = labels != 255
    losses = F.cross_entropy(logits, labels, weight, ignore_index=255, reduction="none")[kept]
    index = labels.masked_fill(~kept, 0).unsqueeze(1)
    return losses, logits.softmax(1).gather(1, index).squeeze(1)[kept].detach()


@pytest.mark.parametrize("weights", [None, [1.0, 0.5, 2.0, 0.25]])
@pytest.mark.parametrize("spatial", [(300,), (20, 15), (5, 8, 7)])
@pytest.mark.parametrize(("threshold", "min_kept"), [(0.7, 10), (0.3, 150), (0.05, 0), (1.0, 1)])
def test_it_is_mining_by_threshold_with_a_least_number(
    spatial, weights, threshold: float, min_kept: int
) -> None:
    """As PIDNet and mmsegmentation: below the greater of t and the min_kept-th probability."""
    logits, labels = batch(*spatial)
    weight = None if weights is None else torch.tensor(weights).double()
    losses, p = of_counted(logits, labels, weight)
    limit = max(float(p.sort().values[min_kept]), threshold)
    ours = OhemCrossEntropyLoss(
        threshold=threshold, min_kept=min_kept, class_weights=weights, ignore_index=255
    )
    same(ours(logits, labels), losses[p < limit].mean(), logits)


@pytest.mark.parametrize("min_kept", [5, 200])
def test_it_is_bisenets_form_in_cross_entropies(min_kept: int) -> None:
    logits, labels = batch(20, 15, ignored=0)
    ranked = (
        F.cross_entropy(logits, labels, reduction="none").flatten().sort(descending=True).values
    )
    limit = -math.log(0.7)
    hard = ranked[ranked > limit] if ranked[min_kept] > limit else ranked[:min_kept]
    same(OhemCrossEntropyLoss(min_kept=min_kept)(logits, labels), hard.mean(), logits)


@pytest.mark.parametrize("select", [TopK(20), Threshold(0.6, min_kept=10)])
def test_focal_losses_of_hard_pixels(select) -> None:
    logits, labels = batch(20, 15)
    losses, p = of_counted(logits, labels)
    focal = (1 - (-losses).exp()) ** 2 * losses
    expected = (
        focal.topk(int(len(focal) * 0.2)).values if isinstance(select, TopK) else focal[p < 0.6]
    )
    ours = HardPixelLoss(Focal(), select, "multiclass", ignore_index=255)
    same(ours(logits, labels), expected.mean(), logits)


def test_sigmoid_channels_are_ranked_together_by_the_probability_of_their_target() -> None:
    x = torch.randn(2, 3, 40, dtype=torch.float64, requires_grad=True)
    mask = torch.randint(0, 2, x.shape)
    p = torch.where(mask == 1, x.sigmoid(), (-x).sigmoid())
    ours = OhemCrossEntropyLoss("multilabel", 0.4, min_kept=3)(x, mask)
    same(ours, -p[p < 0.4].log().mean(), x)


def test_pixel_weights_weigh_the_mean_and_leave_pixels_out() -> None:
    logits, labels = batch(300)
    weights = torch.rand(2, 1, 300).double() * (torch.rand(2, 1, 300) > 0.3)
    loss = OhemCrossEntropyLoss(threshold=0.5, min_kept=0, ignore_index=255)
    values = F.cross_entropy(logits, labels, ignore_index=255, reduction="none")
    hard = (values > -math.log(0.5)) * weights[:, 0]
    expected = (hard * values).sum() / hard.sum()
    same(loss(logits, labels, pixel_weights=weights), expected, logits)
    batches = {"seg": logits}, {"gt_polygons_image": labels, "seg_loss_weights": weights}
    torch.testing.assert_close(LossWrapper(loss)(*batches)[0], expected)
    with_nan = weights.masked_fill(labels.unsqueeze(1) == 255, torch.nan)
    torch.testing.assert_close(loss(logits, labels, pixel_weights=with_nan), expected)


@pytest.mark.parametrize("size", [50, 200_000])
@pytest.mark.parametrize("values", [2, 3, 1000])
def test_equal_losses_share_what_is_left_of_the_number(size: int, values: int) -> None:
    """The mean is that of exactly K pixels, and equal pixels have equal gradients."""
    levels = torch.randint(0, values, (1, 1, size)).double()
    x, mask = levels.clone().requires_grad_(), torch.zeros(1, 1, size)
    loss = HardPixelLoss(CrossEntropy(), TopK(13), "binary")(x, mask)
    loss.backward()
    k = int(size * 0.13)
    torch.testing.assert_close(loss, F.softplus(levels).flatten().topk(k).values.mean())
    torch.testing.assert_close(x.grad.sum(), (levels.sigmoid().flatten().topk(k).values).mean())
    for level in levels.unique():
        assert len(x.grad[levels == level].unique()) == 1


@pytest.mark.parametrize("size", [9, 90_000])
@pytest.mark.parametrize("share", [0.1, 1, 37, 100])
def test_the_search_for_the_least_of_the_largest_is_a_sort(size: int, share: float) -> None:
    for spread in (torch.randn(size), torch.randn(size) ** 9, torch.arange(size) % 7.0):
        x = spread.reshape(1, 1, size)
        k = max(1, int(size * share / 100))
        loss = HardPixelLoss(CrossEntropy(), TopK(share), "binary")(x, torch.zeros(1, 1, size))
        expected = F.softplus(spread.double()).topk(k).values.mean()
        torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=0)


def test_selections_are_values_and_configs_can_say_them() -> None:
    assert Threshold(0.7) == Threshold(0.7, min_kept=100_000)
    logits, labels = batch(200, ignored=0)
    for config, select in (
        ({"threshold": 0.6, "min_kept": 10}, Threshold(0.6, 10)),
        ({"k": 30}, TopK(30)),
    ):
        block = {"_target_": "hard_pixels", "terms": {"focal": 1.0}, "select": config}
        built = segloss.build_loss({"loss": block})
        made = LossWrapper(HardPixelLoss(Focal(), select))
        batches = {"seg": logits}, {"gt_polygons_image": labels}
        torch.testing.assert_close(built(*batches)[0], made(*batches)[0])
    ohem = segloss.build_loss({"loss": {"_target_": "ohem_cross_entropy", "min_kept": 10}})
    expected = OhemCrossEntropyLoss(min_kept=10)(logits, labels)
    torch.testing.assert_close(ohem({"seg": logits}, {"gt_polygons_image": labels})[0], expected)


@pytest.mark.parametrize("select", [TopK(30), Threshold(0.4, min_kept=3)])
def test_gradients_pass_gradcheck_twice(select) -> None:
    x = torch.randn(1, 3, 12, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(0, 3, (1, 12))
    loss = HardPixelLoss(CrossEntropy() + Focal(), select, class_weights=[1, 2, 3])
    assert torch.autograd.gradcheck(lambda x: loss(x, labels), x)
    assert torch.autograd.gradgradcheck(lambda x: loss(x, labels), x, fast_mode=True)


@pytest.mark.parametrize("select", [TopK(30), Threshold(0.4, min_kept=3), Threshold(0.4, 0)])
@pytest.mark.parametrize("shape", [(0, 3, 5), (2, 3, 0), (2, 3, 5)])
def test_nothing_but_ignored_pixels_is_zero(select, shape) -> None:
    x = torch.full(shape, torch.nan, requires_grad=True)
    loss = HardPixelLoss(Focal(), select, ignore_index=255)
    value = loss(x, torch.full((shape[0], shape[2]), 255))
    value.backward()
    assert value == 0
    assert not x.grad.any()


@pytest.mark.parametrize("select", [TopK(30), Threshold(0.4, min_kept=3)])
def test_a_compiler_takes_it_in_one_graph_and_nothing_waits(select) -> None:
    torch.compiler.reset()
    x = torch.randn(2, 3, 40, requires_grad=True)
    labels = torch.randint(0, 3, (2, 40)).masked_fill(torch.rand(2, 40) < 0.2, 255)
    loss = HardPixelLoss(Focal(), select, ignore_index=255)
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x, labels), loss(x, labels))
    gradients = [torch.autograd.grad(each(x, labels), x)[0] for each in (compiled, loss)]
    torch.testing.assert_close(*gradients)
    with FakeTensorMode():
        x = torch.rand(2, 3, 40, requires_grad=True)
        loss(x, torch.ones(2, 40).long()).backward()


def test_nan_in_a_pixel_that_counts_is_not_hidden() -> None:
    logits, labels = torch.randn(1, 3, 100_000), torch.randint(0, 3, (1, 100_000))
    logits[0, 0, 7] = torch.nan
    for select in (TopK(1), Threshold(0.5), Threshold(0.5, 0)):
        assert HardPixelLoss(CrossEntropy(), select)(logits, labels).isnan()


def _loss_of_rank(rank: int, world: int) -> list[Any]:
    torch.manual_seed(0)
    logits, labels = batch(50)
    loss = OhemCrossEntropyLoss(threshold=0.6, min_kept=0, ignore_index=255, sync_statistics=True)
    part = slice(rank, rank + 1)
    value = loss(logits[part], labels[part])
    [gradient] = torch.autograd.grad(value, logits)
    return [value.item(), (gradient / world).tolist()]


def test_two_ranks_have_the_threshold_loss_of_the_whole_batch(tmp_path: Path) -> None:
    torch.manual_seed(0)
    logits, labels = batch(50)
    value = OhemCrossEntropyLoss(threshold=0.6, min_kept=0, ignore_index=255)(logits, labels)
    [gradient] = torch.autograd.grad(value, logits)
    results = on_ranks(2, tmp_path, _loss_of_rank)
    total = sum(torch.tensor(slopes, dtype=torch.float64) for _, slopes in results)
    assert [found for found, _ in results] == pytest.approx([value.item()] * 2, rel=1e-12)
    torch.testing.assert_close(total, gradient)


@pytest.mark.parametrize(
    ("make", "kind", "words"),
    [
        (lambda: HardPixelLoss(Dice()), ValueError, "terms must be means over pixels.*MultiLoss"),
        (
            lambda: HardPixelLoss(select=0.7),
            TypeError,
            r"select must be .*Threshold\(0.7\).*got 0.7",
        ),
        (lambda: HardPixelLoss(select={"treshold": 0.7}), ValueError, "treshold"),
        (lambda: Threshold(0), ValueError, r"threshold must be in \(0, 1\], got 0"),
        (lambda: Threshold(0.7, -1), ValueError, "min_kept must be"),
        (lambda: Threshold(0.7, 0.5), TypeError, "min_kept must be"),
        (lambda: TopK(0), ValueError, r"k, a percentage, must be in \(0, 100\], got 0"),
        (lambda: OhemCrossEntropyLoss(threshold=1.5), ValueError, "threshold must be in"),
    ],
)
def test_wrong_arguments_are_refused(make, kind, words: str) -> None:
    with pytest.raises(kind, match=words):
        make()
