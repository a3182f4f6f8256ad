"""clDice: the authors' formula by PyTorch's pooling, in float64, and what batches may hold."""

from __future__ import annotations

import copy
import pickle
from itertools import product

import pytest
import torch
import torch.nn.functional as F
import yaml
from torch import Tensor

from segloss import (
    HausdorffDistanceLoss,
    LossWrapper,
    LovaszLoss,
    MultiLoss,
    SegLoss,
    SoftClDiceLoss,
    assert_loss,
    build_loss,
)
from segloss.losses.standalone.soft_skeleton import soft_skeleton

SPATIAL = [(23,), (9, 12), (5, 7, 6)]
POOL = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}


def textbook_skeleton(image: Tensor, iterations: int) -> Tensor:
    """The skeleton of Shit et al., with autograd through PyTorch's pooling."""
    dims = image.ndim - 2
    pool, eye = POOL[dims], torch.eye(dims, dtype=torch.long)

    def erode(x: Tensor) -> Tensor:
        along = [-pool(-x, (1 + 2 * e).tolist(), 1, e.tolist()) for e in eye]
        least = along[0]
        for each in along[1:]:
            least = torch.minimum(least, each)
        return least

    skeleton = F.relu(image - pool(erode(image), 3, 1, 1))
    for _ in range(iterations):
        image = erode(image)
        delta = F.relu(image - pool(erode(image), 3, 1, 1))
        skeleton = skeleton + F.relu(delta - skeleton * delta)
    return skeleton


def textbook(p: Tensor, g: Tensor, dims: list[int], iterations: int = 3, smooth: float = 1.0):
    """1 - clDice of probabilities and masks (N, K, *spatial), for each cell that `dims` leave."""
    predicted, true = textbook_skeleton(p, iterations), textbook_skeleton(g, iterations)
    precision = ((predicted * g).sum(dims) + smooth) / (predicted.sum(dims) + smooth)
    sensitivity = ((true * p).sum(dims) + smooth) / (true.sum(dims) + smooth)
    return 1 - 2 * precision * sensitivity / (precision + sensitivity)


def masks(channels: int, *spatial: int) -> tuple[Tensor, Tensor]:
    logits = 2 * torch.randn(2, channels, *spatial, dtype=torch.float64)
    return logits, torch.randint(0, 2, logits.shape)


def value_and_gradient(loss, x: Tensor, *others: Tensor) -> tuple[Tensor, Tensor]:
    x = x.clone().requires_grad_()
    value = loss(x, *others)
    return value.detach(), *torch.autograd.grad(value, x)


def assert_same(ours, theirs, x: Tensor, y: Tensor, rtol: float = 1e-9) -> None:
    results = [value_and_gradient(loss, x, y) for loss in (ours, theirs)]
    torch.testing.assert_close(*results, rtol=rtol, atol=1e-12)


def spatial_dims(x: Tensor) -> list[int]:
    return list(range(2, x.ndim))


@pytest.mark.parametrize("shape", [(2, 2, *s) for s in (*SPATIAL, (1, 8), (6, 1, 1), (2,), (1,))])
@pytest.mark.parametrize("levels", [None, 4, 1])  # 4 and 1: most neighbours are equal
@pytest.mark.parametrize("iterations", [0, 1, 3, 10])
def test_a_skeleton_and_its_gradient_are_those_of_pytorchs_pooling(shape, levels, iterations):
    image = torch.rand(shape, dtype=torch.float64)
    image = image if levels is None else (image * levels).round() / levels
    factors = torch.rand(shape, dtype=torch.float64)
    assert_same(
        lambda x, y: (soft_skeleton(x, iterations) * y).sum(),
        lambda x, y: (textbook_skeleton(x, iterations) * y).sum(),
        image,
        factors,
    )


def test_a_skeleton_of_pixels_next_to_one_keeps_its_digits_in_float32() -> None:
    """The derivative is a quotient there: of the product, and of a factor near 0."""
    ulps = torch.randint(0, 5, (1, 1, 7, 40))
    image = torch.rand(1, 1, 7, 40) * 1e-7
    image[:, :, 3] = 1 - 2.0**-24 * ulps[:, :, 3]
    factors = torch.rand_like(image)
    loss = lambda x, y: (soft_skeleton(x, 3) * y).sum()  # noqa: E731
    (_, given), (_, exact) = (
        value_and_gradient(loss, image.to(dtype), factors.to(dtype))
        for dtype in (torch.float32, torch.float64)
    )
    torch.testing.assert_close(given.double(), exact, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("spatial", SPATIAL)
@pytest.mark.parametrize("mode", ["binary", "multilabel"])
@pytest.mark.parametrize("smooth", [1.0, 1e-3])
def test_sigmoid_is_the_mean_over_samples_and_channels(spatial, mode: str, smooth: float) -> None:
    logits, mask = masks(1 if mode == "binary" else 3, *spatial)

    def theirs(x: Tensor, y: Tensor) -> Tensor:
        return textbook(x.sigmoid(), y.double(), spatial_dims(x), smooth=smooth).mean()

    assert_same(SoftClDiceLoss(mode, smooth=smooth), theirs, logits, mask)


@pytest.mark.parametrize("spatial", SPATIAL)
@pytest.mark.parametrize(("reduction", "dims"), [("sample", []), ("batch", [0]), ("micro", [0, 1])])
def test_softmax_leaves_the_background_out(spatial, reduction: str, dims: list[int]) -> None:
    logits, _ = masks(4, *spatial)
    labels = torch.randint(0, 4, (2, *spatial))

    def theirs(x: Tensor, y: Tensor) -> Tensor:
        one_hot = F.one_hot(y, 4).movedim(-1, 1)[:, 1:].double()
        return textbook(x.softmax(1)[:, 1:], one_hot, [*dims, *spatial_dims(x)], 5).mean()

    assert_same(SoftClDiceLoss("multiclass", 5, region_reduction=reduction), theirs, logits, labels)


def test_classes_weights_and_absent_classes_are_those_of_region_terms() -> None:
    logits, _ = masks(5, 9, 12)
    labels = torch.randint(0, 4, (2, 9, 12))  # 4 is absent
    one_hot = F.one_hot(labels, 5).movedim(-1, 1).double()
    cells = textbook(logits.softmax(1), one_hot, [2, 3])
    options = {"classes": [0, 3, 4], "region_class_weights": [1.0, 2.0, 5.0]}
    value = SoftClDiceLoss("multiclass", skip_absent_classes=True, **options)(logits, labels)
    torch.testing.assert_close(value, (cells[:, 0] + 2 * cells[:, 3]).sum() / 6)
    value = SoftClDiceLoss("multiclass", classes=[0, 3], reduction="none")(logits, labels)
    torch.testing.assert_close(value, cells[:, [0, 3]])


def test_probabilities_dense_targets_and_masks_without_channels_are_taken() -> None:
    logits, mask = masks(1, 9, 12)
    expected = SoftClDiceLoss()(logits, mask)
    given = SoftClDiceLoss(from_logits=False)(logits.sigmoid(), mask)
    torch.testing.assert_close(given, expected)
    assert torch.equal(SoftClDiceLoss()(logits, mask[:, 0].to(torch.uint8)), expected)
    logits, labels = torch.randn(2, 3, 9, 12), torch.randint(0, 3, (2, 1, 9, 12))
    dense = F.one_hot(labels[:, 0], 3).movedim(-1, 1).float()
    loss = SoftClDiceLoss("multiclass")
    assert torch.equal(loss(logits, dense), loss(logits, labels))


def test_soft_targets_have_soft_skeletons() -> None:
    logits, _ = masks(2, 9, 12)
    target = torch.rand(logits.shape, dtype=torch.float64)
    theirs = lambda x, y: textbook(x.sigmoid(), y, [2, 3]).mean()  # noqa: E731
    assert_same(SoftClDiceLoss("multilabel"), theirs, logits, target)


def test_many_channels_are_their_mean() -> None:
    logits, labels = torch.randn(1, 171, 8, 8).double(), torch.randint(0, 171, (1, 8, 8))
    one_hot = F.one_hot(labels, 171).movedim(-1, 1).double()
    value = SoftClDiceLoss("multiclass")(logits, labels)
    expected = textbook(logits.softmax(1), one_hot, [2, 3])[:, 1:].mean()
    torch.testing.assert_close(value, expected)


@pytest.mark.parametrize("mode", ["binary", "multiclass"])
def test_ignored_pixels_are_zero_in_both_masks_and_may_hold_nan(mode: str) -> None:
    channels = 1 if mode == "binary" else 3
    logits = torch.randn(2, channels, 9, 12, dtype=torch.float64)
    labels = torch.randint(0, 2, (2, 9, 12))
    kept = torch.rand(labels.shape) > 0.3
    marked = torch.where(kept, labels, 255)
    broken = torch.where(kept.unsqueeze(1), logits, torch.nan)
    loss = SoftClDiceLoss(mode, ignore_index=255)
    (value, gradient), (same, same_gradient) = (
        value_and_gradient(loss, x, marked) for x in (logits, broken)
    )
    assert torch.equal(value, same)
    assert torch.equal(gradient, same_gradient)
    assert not gradient.movedim(1, -1)[~kept].any()
    p = logits.sigmoid() if mode == "binary" else logits.softmax(1)[:, 1:]
    one_hot = (
        F.one_hot(labels, channels + 1).movedim(-1, 1)[:, 1:]
        if mode == "binary"
        else (F.one_hot(labels, channels).movedim(-1, 1)[:, 1:])
    )
    expected = textbook(p * kept.unsqueeze(1), one_hot * kept.unsqueeze(1).double(), [2, 3]).mean()
    torch.testing.assert_close(value, expected)


def test_a_sample_that_is_ignored_altogether_is_left_out() -> None:
    logits, mask = masks(1, 9, 12)
    both = mask.clone()
    both[1] = 255
    loss = SoftClDiceLoss(ignore_index=255)
    torch.testing.assert_close(loss(logits, both), loss(logits[:1], mask[:1]))


@pytest.mark.parametrize("shape", [(2, 3, 5, 4), (0, 3, 5, 4), (2, 3, 0, 4)])
@pytest.mark.parametrize("mode", ["multiclass", "multilabel"])
def test_no_pixels_at_all_give_zero_with_a_zero_gradient(shape, mode: str) -> None:
    logits = torch.randn(shape, requires_grad=True)
    target = torch.full(shape if mode == "multilabel" else (shape[0], *shape[2:]), 255)
    value = SoftClDiceLoss(mode, ignore_index=255)(logits, target)
    value.backward()
    assert value == 0
    assert torch.equal(logits.grad, torch.zeros(shape))


@pytest.mark.parametrize("smooth", [0.0, 1.0])
def test_hard_masks_cost_what_their_skeletons_say(smooth: float) -> None:
    line = torch.zeros(1, 1, 9, 30)
    line[:, :, 3:6, 2:28] = 1
    none, away = torch.zeros_like(line), line.roll(5, 2)
    loss = SoftClDiceLoss(smooth=smooth, from_logits=False)
    assert loss(line, line) == 0
    assert loss(none, none) == 0
    if smooth == 0:
        assert loss(none, line) == 1
        assert loss(line, none) == 1
        assert loss(away, line) == 1
    thick = F.max_pool2d(line, 3, 1, 1)
    assert loss(thick, line) == 0  # its skeleton is within the line, and the line's within it


def test_a_gap_costs_more_than_as_many_pixels_along_the_side() -> None:
    line = torch.zeros(1, 1, 15, 60)
    line[:, :, 5:10] = 1
    gap, thin = line.clone(), line.clone()
    gap[..., 25:37] = 0
    thin[:, :, 5] = 0
    assert gap.sum() == thin.sum()
    loss = SoftClDiceLoss(from_logits=False, iterations=5)
    assert loss(gap, line) > 2 * loss(thin, line)


def test_derivatives_pass_gradcheck_twice_and_in_batches() -> None:
    logits, labels = masks(3, 4, 5)[0], torch.randint(0, 3, (2, 4, 5))
    labels[0, 0] = 255
    loss = SoftClDiceLoss("multiclass", ignore_index=255)
    x = logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(x, labels), x, check_batched_grad=True)
    assert torch.autograd.gradgradcheck(lambda x: loss(x, labels), x, fast_mode=True)
    expected = torch.autograd.grad(loss(x, labels), x)[0]
    functional = torch.func.grad(lambda x: loss(x, labels))(x.detach())
    torch.testing.assert_close(functional, expected)
    along = torch.randn_like(logits)
    _, slope = torch.func.jvp(lambda x: loss(x, labels), (x.detach(),), (along,))
    torch.testing.assert_close(slope, (expected * along).sum())


def kept_images(iterations: int, monkeypatch) -> int:
    """The most images that the gradient holds eroded at one time, apart from those of a step."""
    from segloss.losses.standalone import soft_skeleton as module

    depth = most = 0
    gradient = module._gradient

    def counted(*arguments):
        nonlocal depth, most
        depth += 1
        most = max(most, depth)
        result = gradient(*arguments)
        depth -= 1
        return result

    monkeypatch.setattr(module, "_gradient", counted)
    image = torch.rand(1, 1, 5, 5, requires_grad=True)
    soft_skeleton(image, iterations).sum().backward()
    monkeypatch.undo()
    return most


def test_between_the_passes_only_two_images_are_kept_whatever_the_iterations(monkeypatch) -> None:
    for iterations in (3, 50):
        skeleton = soft_skeleton(torch.rand(1, 1, 8, 8, requires_grad=True), iterations)
        kept = skeleton.grad_fn.saved_tensors
        assert len(kept) == 2
    assert kept_images(3, monkeypatch) == 3
    assert kept_images(50, monkeypatch) <= 7  # 1 + log2(51)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_and_autocast_are_computed_in_float32(dtype) -> None:
    logits, mask = masks(1, 9, 12)
    logits, loss = logits.to(dtype), SoftClDiceLoss()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss(logits, mask)
    assert value.dtype == torch.float32
    assert torch.equal(value, loss(logits.float(), mask))


@pytest.mark.parametrize(
    ("mode", "spatial"), [("multiclass", SPATIAL[0]), *product(["multilabel"], SPATIAL[1:])]
)
def test_a_compiler_takes_it_in_one_graph(mode: str, spatial) -> None:
    torch.compiler.reset()
    loss = SoftClDiceLoss(mode, ignore_index=255)
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    logits = torch.randn(2, 3, *spatial)
    target = torch.randint(0, 2, (2, *spatial) if mode == "multiclass" else logits.shape)
    target[torch.rand(target.shape) < 0.2] = 255
    results = [value_and_gradient(each, logits, target) for each in (compiled, loss)]
    torch.testing.assert_close(*results)


def test_it_is_a_loss_by_name_beside_dice_in_a_config() -> None:
    config = yaml.safe_load("""
losses:
  - {type: seg, params: {from_logits: true}, weight: 0.7, name: seg}
  - {type: cldice, params: {iterations: 5}, weight: 0.3, name: cldice}
""")
    logits, mask = masks(1, 9, 12)
    cldice = SoftClDiceLoss(iterations=5)
    seg = SegLoss(from_logits=True)
    expected = MultiLoss([seg, LossWrapper(cldice, "cldice")], [0.7, 0.3])
    batch = {"seg": logits}, {"gt_polygons_image": mask}
    total, losses, _ = build_loss(config)(*batch)
    torch.testing.assert_close(total, expected(*batch)[0])
    torch.testing.assert_close(losses["cldice"], cldice(logits, mask))


@pytest.mark.parametrize("make", [SoftClDiceLoss, HausdorffDistanceLoss, LovaszLoss])
def test_binary_is_one_channel_so_a_forgotten_mode_is_told(make) -> None:
    labels = torch.randint(0, 3, (2, 6, 5))
    with pytest.raises(ValueError, match=r"3 channels .* set mode='multiclass'"):
        make("binary")(torch.randn(2, 3, 6, 5), labels)


@pytest.mark.parametrize(
    "options", [{"region_class_weights": [1.0, 5.0]}, {"region_reduction": "batch"}]
)
@pytest.mark.parametrize("make", [SoftClDiceLoss, HausdorffDistanceLoss])
def test_without_a_reduction_its_options_are_refused(make, options) -> None:
    with pytest.raises(ValueError, match="reduction='none' gives the loss of each sample and"):
        make("multiclass", reduction="none", **options)


def test_the_losses_check_finds_nothing() -> None:
    assert_loss(SoftClDiceLoss())
    assert_loss(SoftClDiceLoss("multiclass", ignore_index=255))


def test_copies_and_pickles_are_the_same_loss() -> None:
    logits, mask = masks(1, 9, 12)
    loss = SoftClDiceLoss(iterations=5, smooth=0.5)
    for other in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss)), loss.half()):
        assert torch.equal(other(logits, mask), loss(logits, mask))
        assert repr(other) == "SoftClDiceLoss('binary', iterations=5, from_logits=True)"
    assert not loss.state_dict()


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"mode": "multiclas"}, ValueError, "mode must be one of .*did you mean 'multiclass'"),
        ({"iterations": -1}, ValueError, "iterations must be at least 0, got -1"),
        ({"iterations": 2.5}, TypeError, "iterations must be an int"),
        ({"smooth": -1}, ValueError, "smooth must be .*at least 0"),
        ({"classes": []}, ValueError, "classes must name at least one"),
        ({"region_reduction": "mean"}, ValueError, "region_reduction must be one of"),
        ({"reduction": "sum_"}, ValueError, "reduction must be one of"),
        ({"ignore_index": 1.5}, TypeError, "ignore_index must be"),
        ({"from_logits": 1}, TypeError, "from_logits must be True or False"),
    ],
)
def test_wrong_arguments_are_refused_when_the_loss_is_made(options, kind, words: str) -> None:
    with pytest.raises(kind, match=words):
        SoftClDiceLoss(**options)


@pytest.mark.parametrize(
    ("options", "prediction", "target", "words"),
    [
        ({}, torch.rand(2, 4), torch.zeros(2, 4), r"spatial dimensions.*got the shape \(2, 4\)"),
        ({"mode": "multiclass"}, torch.rand(2, 1, 4), torch.zeros(2, 4), "set mode='binary'"),
        (
            {"classes": [3]},
            torch.rand(2, 1, 4),
            torch.zeros(2, 4),
            r"classes=\[3\] is out of range",
        ),
        ({}, torch.rand(2, 1, 4), torch.full((2, 4), 255.0), r"must hold values in \[0, 1\]"),
        ({"mode": "multiclass"}, torch.rand(2, 3, 4), torch.full((2, 4), 3), "the label 3"),
    ],
)
def test_wrong_batches_are_refused(options, prediction, target, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        SoftClDiceLoss(**options)(prediction, target)
