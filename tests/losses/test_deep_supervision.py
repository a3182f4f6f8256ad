"""DeepSupervision: what each scale sees, the weights, and life inside other modules."""

from __future__ import annotations

import copy
import os
import pickle
import socket
from fractions import Fraction
from math import floor
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from segloss import CompoundLoss, Loss, LossWrapper, MissingKeyError, MultiLoss, SegLoss
from segloss.losses.deep_supervision import DeepSupervision
from segloss.terms import Boundary, CrossEntropy, Dice

GT, W = "gt_polygons_image", "seg_loss_weights"


class Recorder(Loss):
    """Keeps the batches that it is called with; the loss is the prediction's mean."""

    def __init__(self) -> None:
        super().__init__("recorder")
        self.seen: list[tuple] = []

    def compute(self, pred_batch, gt_batch) -> Tensor:
        self.seen.append((pred_batch, gt_batch))
        prediction = pred_batch if isinstance(pred_batch, Tensor) else pred_batch["seg"]
        self.extra_info["mean"] = prediction.mean()
        return prediction.mean()


def pyramid(*sizes: tuple[int, ...], channels: int = 3) -> list[Tensor]:
    return [torch.randn(2, channels, *size, dtype=torch.float64) for size in sizes]


def nearest(tensor: Tensor, size: tuple[int, ...]) -> Tensor:
    """The pixels whose centres are nearest, by fractions, one index at a time."""
    for dim, length in enumerate(size, start=-len(size)):
        present = tensor.shape[dim]
        index = [floor((i + Fraction(1, 2)) * present / length) for i in range(length)]
        tensor = torch.stack([tensor.select(dim, i) for i in index], dim)
    return tensor


def resized(entry: Tensor, size: tuple[int, ...]) -> Tensor:
    """What the inner loss sees of an entry at a scale."""
    inner = Recorder()
    finest = torch.zeros(entry.shape[0], 1, *entry.shape[-len(size) :])
    DeepSupervision(inner)([finest, torch.zeros(entry.shape[0], 1, *size)], entry)
    return inner.seen[1][1]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 6, 7, 10, 11, 12, 13])
def test_truths_are_resized_to_the_nearest_pixel_centres(size: int) -> None:
    line = torch.arange(26).reshape(2, 13)
    assert torch.equal(resized(line, (size,)), nearest(line, (size,)))


@pytest.mark.parametrize(
    ("full", "size"), [((8, 8), (4, 4)), ((9, 7), (4, 3)), ((6, 8, 4), (3, 2, 4)), ((64,), (5,))]
)
def test_resizing_is_pytorchs_nearest_exact(full, size) -> None:
    dense = torch.rand(2, 3, *full)
    expected = F.interpolate(dense, size, mode="nearest-exact")
    assert torch.equal(resized(dense, size), expected)
    assert torch.equal(resized(dense[:, 0], size), expected[:, 0])


@pytest.mark.parametrize(
    "dtype", [torch.uint8, torch.uint16, torch.int64, torch.bool, torch.bfloat16, torch.float64]
)
def test_resizing_keeps_the_dtype_and_every_value(dtype) -> None:
    labels = torch.randint(0, 2, (2, 9, 7)).to(dtype)
    small = resized(labels, (4, 3))
    assert small.dtype == dtype
    assert torch.equal(small, nearest(labels, (4, 3)))


def test_large_integers_are_not_rounded() -> None:
    labels = torch.tensor([[2**62 + 1, 2**62 + 3]])
    assert resized(labels, (1,)).tolist() == [[2**62 + 3]]


def test_entries_of_the_finest_size_are_resized_and_others_handed_on() -> None:
    fine, coarse = pyramid((8, 6), (4, 3))
    gt = {
        GT: torch.randint(0, 3, (2, 8, 6)),
        W: torch.rand(2, 1, 8, 6),
        "maps": torch.rand(2, 3, 8, 6),
        "other batch": torch.rand(3, 8, 6),
        "class weights": torch.rand(6),
        "other size": torch.rand(2, 6, 8),
        "lambda": torch.tensor(0.5),
        "names": ["a", "b"],
    }
    inner, frames = Recorder(), torch.rand(2, 4, 8, 6)
    DeepSupervision(inner)({"seg": [fine, coarse], "crossfield": frames}, gt)
    (first_pred, first), (second_pred, second) = inner.seen
    assert first_pred["seg"] is fine
    assert second_pred["seg"] is coarse
    assert first_pred["crossfield"] is second_pred["crossfield"] is frames
    assert all(first[key] is gt[key] for key in gt)
    for key, entry in gt.items():
        if key in (GT, W, "maps"):
            assert torch.equal(second[key], nearest(entry, (4, 3)))
        else:
            assert second[key] is entry


def test_an_axis_of_equal_size_and_a_scale_of_equal_size_are_left_alone() -> None:
    fine, same, flat = pyramid((4, 6), (4, 6), (4, 3))
    gt = torch.rand(2, 1, 4, 6)
    inner = Recorder()
    DeepSupervision(inner)([fine, same, flat], gt)
    assert inner.seen[1][1] is gt
    assert torch.equal(inner.seen[2][1], nearest(gt, (4, 3)))


def test_the_callers_batches_are_not_changed() -> None:
    scales, target = pyramid((4,), (2,)), torch.randint(0, 3, (2, 4))
    pred, gt = {"seg": scales, "more": target}, {GT: target}
    DeepSupervision(SegLoss(n_classes=3))(pred, gt)
    assert pred == {"seg": scales, "more": target}
    assert gt == {GT: target}


def segmented(weights) -> tuple[Tensor, dict, list[Tensor]]:
    """DeepSupervision of a SegLoss, and the losses of each scale computed by hand."""
    scales, labels = pyramid((8, 6), (4, 3), (2, 2)), torch.randint(0, 3, (2, 8, 6))
    pixel_weights = torch.rand(2, 1, 8, 6)
    seg = SegLoss(n_classes=3)
    expected = [
        seg(p, {GT: nearest(labels, size), W: nearest(pixel_weights, size)})[0]
        for p in scales
        for size in [tuple(p.shape[2:])]
    ]
    loss = DeepSupervision(SegLoss(n_classes=3), weights)
    value, extra = loss({"seg": tuple(scales)}, {GT: labels, W: pixel_weights})
    return value, extra, expected


def test_weights_are_halves_that_sum_to_one_by_default() -> None:
    value, _, (fine, middle, coarse) = segmented(None)
    torch.testing.assert_close(value, (4 * fine + 2 * middle + coarse) / 7)


def test_given_weights_are_used_as_they_are() -> None:
    value, _, (fine, middle, coarse) = segmented([3, 0.5, 2])
    torch.testing.assert_close(value, 3 * fine + 0.5 * middle + 2 * coarse)


def test_extra_information_has_each_scale_and_the_finests_own() -> None:
    _, extra, expected = segmented([1, 0, 0.5])
    assert {"scale_0", "scale_2", "cross_entropy", "dice", "dice/0", "dice/1", "dice/2"} == set(
        extra
    )
    assert torch.equal(extra["scale_0"], expected[0])
    assert torch.equal(extra["scale_2"], expected[2])
    torch.testing.assert_close((extra["dice"] + extra["cross_entropy"]) / 2, extra["scale_0"])
    assert not any(value.requires_grad for value in extra.values())


@pytest.mark.parametrize("wrap", [lambda p: p, lambda p: [p], lambda p: (p,)])
def test_one_scale_is_the_loss_itself(wrap) -> None:
    logits, labels = torch.randn(2, 3, 8, 6), torch.randint(0, 3, (2, 8, 6))
    seg = SegLoss(n_classes=3, tversky_focal_coef=0.4)
    loss = DeepSupervision(seg)
    for given in (wrap(logits), {"seg": wrap(logits)}):
        assert torch.equal(loss(given, labels)[0], seg(logits, labels)[0])


def test_modules_and_functions_are_wrapped() -> None:
    scales, labels = pyramid((6,), (3,)), torch.randint(0, 3, (2, 6))
    value, _ = DeepSupervision(nn.CrossEntropyLoss(), [1, 1])(scales, labels)
    expected = F.cross_entropy(scales[0], labels) + F.cross_entropy(
        scales[1], nearest(labels, (3,))
    )
    torch.testing.assert_close(value, expected)

    def mean_error(prediction: Tensor, target: Tensor) -> Tensor:
        return (prediction.argmax(1) - target).double().mean()

    assert DeepSupervision(nn.CrossEntropyLoss()).name == "CrossEntropyLoss"
    assert DeepSupervision(mean_error).name == "mean_error"
    assert DeepSupervision(SegLoss("masks")).name == "masks"
    assert DeepSupervision(SegLoss("masks"), name="deep").name == "deep"


def test_keys_are_the_inner_losses() -> None:
    scales, labels = pyramid((6,), (3,)), torch.randint(0, 3, (2, 6))
    inner = SegLoss(n_classes=3, pred_key="out", gt_key="labels", weight_key="importance")
    weights = torch.rand(2, 1, 6)
    gt = {"labels": labels, "importance": weights, GT: torch.zeros(2, 6)}
    value, _ = DeepSupervision(inner)({"out": scales, "seg": None}, gt)
    expected, _ = DeepSupervision(SegLoss(n_classes=3))(scales, {GT: labels, W: weights})
    assert torch.equal(value, expected)


@pytest.mark.parametrize("include_background", [True, False])
@pytest.mark.parametrize("size", [(16, 12), (15, 9), (9, 8, 7)])
def test_it_is_monais_where_settings_are_equal(include_background: bool, size) -> None:
    sizes = [size, tuple(s // 2 for s in size), tuple(s // 4 for s in size)]
    scales = [torch.randn(2, 3, *s).requires_grad_() for s in sizes]
    labels = torch.randint(0, 3, (2, 1, *size))
    monai = pytest.importorskip("monai.losses")  # here, as processes would import it for nothing
    dice = monai.DiceLoss(softmax=True, to_onehot_y=True, include_background=include_background)
    theirs = monai.DeepSupervisionLoss(dice, weight_mode="exp")(scales, labels.float())
    ours, _ = DeepSupervision(LossWrapper(dice), [1, 0.5, 0.25])(scales, labels)
    torch.testing.assert_close(ours, theirs)
    gradients = [torch.autograd.grad(value, scales) for value in (ours, theirs)]
    for mine, reference in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, reference)


def test_it_is_nnunets_with_its_weights() -> None:
    nnunet = pytest.importorskip("nnunetv2.training.loss.deep_supervision")
    scales, labels = pyramid((16, 12), (8, 6), (4, 3)), torch.randint(0, 3, (2, 16, 12))
    targets = [nearest(labels, tuple(p.shape[2:])) for p in scales]
    weights = [2 / 3, 1 / 3, 0]  # 1, 1/2 and nothing for the coarsest, over their sum
    theirs = nnunet.DeepSupervisionWrapper(nn.CrossEntropyLoss(), weights)(scales, targets)
    ours, _ = DeepSupervision(nn.CrossEntropyLoss(), weights)(scales, labels)
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("count", [2, 3, 5, 8])
def test_nnunets_and_monais_weights_have_their_names(count: int) -> None:
    sizes = [(2 ** (8 - i),) for i in range(count)]
    scales, labels = pyramid(*sizes), torch.randint(0, 3, (2, 256))
    losses = [F.cross_entropy(p, nearest(labels, tuple(p.shape[2:]))) for p in scales]

    halves = [1 / 2**i for i in range(count)]
    halves[-1] = 0  # as nnU-Net's trainer computes them
    expected = sum(w * loss for w, loss in zip(halves, losses, strict=True)) / sum(halves)
    value, _ = DeepSupervision(nn.CrossEntropyLoss(), "nnunet")(scales, labels)
    torch.testing.assert_close(value, expected)

    monai = pytest.importorskip("monai.losses")
    theirs = monai.DeepSupervisionLoss(LossOfLabels())(scales, labels.unsqueeze(1).double())
    value, _ = DeepSupervision(nn.CrossEntropyLoss(), "monai")(scales, labels)
    torch.testing.assert_close(value.float(), theirs)


class LossOfLabels(nn.Module):
    """Cross-entropy as MONAI calls it: of float32 predictions and label maps (N, 1, ...)."""

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(prediction, target.squeeze(1).long())


@pytest.mark.parametrize("weights", ["nnunet", "monai"])
def test_named_weights_of_one_scale_are_1(weights: str) -> None:
    [finest], labels = pyramid((8, 6)), torch.randint(0, 3, (2, 8, 6))
    value, _ = DeepSupervision(SegLoss(n_classes=3), weights)(finest, labels)
    assert torch.equal(value, SegLoss(n_classes=3)(finest, labels)[0])
    assert f"weights='{weights}'" in repr(DeepSupervision(SegLoss(), weights))


# A target for each scale


def of_each_scale(scales: list[Tensor], channels: tuple[int, ...] = ()) -> list[Tensor]:
    """Label maps of each scale that are not resizes of one another."""
    return [torch.randint(0, 3, (2, *channels, *p.shape[2:])) for p in scales]


SIZES = {1: ((8,), (4,), (2,)), 2: ((8, 6), (4, 3), (2, 2)), 3: ((8, 6, 4), (4, 3, 4), (2, 2, 2))}


@pytest.mark.parametrize("dims", SIZES)
@pytest.mark.parametrize("channels", [(), (1,)])
@pytest.mark.parametrize("kind", [list, tuple])
@pytest.mark.parametrize("weights", [None, "nnunet", [1, 0.5, 2]])
def test_a_list_has_a_target_for_each_scale(dims, channels, kind, weights) -> None:
    scales = pyramid(*SIZES[dims])
    targets = of_each_scale(scales, channels)
    seg = SegLoss(n_classes=3)
    values = [seg(p, t)[0] for p, t in zip(scales, targets, strict=True)]
    numbers = {None: [4 / 7, 2 / 7, 1 / 7], "nnunet": [2 / 3, 1 / 3, 0]}
    used = weights if isinstance(weights, list) else numbers[weights]
    expected = sum(w * value for w, value in zip(used, values, strict=True))
    loss = DeepSupervision(seg, weights)
    for pred, gt in (
        (scales, kind(targets)),
        (scales, {GT: kind(targets)}),
        ({"seg": kind(scales)}, kind(targets)),
        ({"seg": scales}, {GT: kind(targets)}),
    ):
        torch.testing.assert_close(loss(pred, gt)[0], expected)
        torch.testing.assert_close(loss.as_criterion()(pred, gt), expected)


def test_weights_and_maps_are_lists_too_or_resized() -> None:
    scales = pyramid((8, 6), (4, 3))
    targets = of_each_scale(scales)
    weights = [torch.rand(2, 1, *p.shape[2:]) for p in scales]
    maps = [torch.randn(p.shape) for p in scales]
    seg = SegLoss(n_classes=3, extra_terms={Boundary(): 0.5})
    key = seg.map_keys[0]

    def expected(weights: list[Tensor], maps: list[Tensor]) -> Tensor:
        parts = zip(scales, targets, weights, maps, strict=True)
        values = [seg(p, {GT: t, W: w, key: m})[0] for p, t, w, m in parts]
        return (2 * values[0] + values[1]) / 3

    value, _ = DeepSupervision(seg)(scales, {GT: targets, W: weights, key: maps})
    torch.testing.assert_close(value, expected(weights, maps))
    value, _ = DeepSupervision(seg)(scales, {GT: targets, W: weights[0], key: maps[0]})
    resizes = [[each[0], nearest(each[0], (4, 3))] for each in (weights, maps)]
    torch.testing.assert_close(value, expected(*resizes))
    wrapped = DeepSupervision(LossWrapper(CompoundLoss(seg.mixture, "multiclass")))
    value, _ = wrapped(scales, {GT: targets, W: weights, key: maps})
    torch.testing.assert_close(value, expected(weights, maps))


def test_lists_under_keys_that_the_loss_does_not_read_are_passed_on() -> None:
    inner, others = Recorder(), [torch.zeros(2, 8, 6), torch.zeros(2, 4, 3)]
    scales = pyramid((8, 6), (4, 3))
    DeepSupervision(inner)(scales, {GT: of_each_scale(scales), "others": others})
    assert all(gt["others"] is others for _, gt in inner.seen)


def test_a_target_for_each_scale_with_other_losses_norms_and_mixup() -> None:
    scales = pyramid((8, 6), (4, 3))
    targets = of_each_scale(scales)
    loss = DeepSupervision(SegLoss(n_classes=3, ignore_index=2, use_mixup=True))
    value, _ = loss(scales, targets)
    multi = MultiLoss([loss, DeepSupervision(SegLoss("other", n_classes=3))], [1.0, 0.0])
    torch.testing.assert_close(multi(scales, targets)[0], value)

    loss.update_norm(scales, targets, 2)
    torch.testing.assert_close(loss.norm, value)
    share = (targets[0] != 2).double().mean()
    torch.testing.assert_close(loss.norm_count, 2 * share)
    loss.reset_norm()

    partners = [target.flip(0) for target in targets]
    expected = 0.3 * value + 0.7 * loss(scales, partners)[0]
    mixed = {"mixup_y_a": targets, "mixup_y_b": partners, "mixup_lam": 0.3}
    torch.testing.assert_close(loss(scales, mixed)[0], expected)
    indexed = {**mixed, GT: targets, "mixup_index": torch.tensor([1, 0])}
    torch.testing.assert_close(loss(scales, indexed)[0], expected)


FINE, COARSE = torch.zeros(2, 3, 4, 6), torch.zeros(2, 3, 2, 3)
OF_FINE, OF_COARSE = torch.zeros(2, 4, 6).long(), torch.zeros(2, 2, 3).long()


@pytest.mark.parametrize(
    ("pred", "gt", "kind", "words"),
    [
        (
            [FINE, COARSE],
            [OF_FINE],
            ValueError,
            "gt_batch must hold one tensor per prediction, got 1 for 2: pass the finest alone",
        ),
        ([FINE], [OF_FINE, OF_COARSE], ValueError, r"got 2 for 1: .* alone, pass gt_batch\[0\]"),
        (FINE, [OF_FINE, OF_COARSE], ValueError, r"got 2 for 1: .* alone, pass gt_batch\[0\]"),
        (
            FINE,
            {GT: [OF_FINE, OF_COARSE]},
            ValueError,
            r"got 2 for 1: .* alone, pass gt_batch\['gt_polygons_image'\]\[0\]",
        ),
        ([FINE, COARSE, COARSE], list(OF_FINE), ValueError, r"pass torch.stack\(gt_batch\)"),
        ([FINE, COARSE], [], ValueError, "got 0 for 2"),
        ([FINE, COARSE], [OF_FINE, "two"], TypeError, r"gt_batch\[1\] must be a tensor, got str"),
        ([FINE, COARSE], {GT: (OF_FINE, None)}, TypeError, r"image'\]\[1\] must be .* NoneType"),
        (
            [FINE, COARSE],
            [OF_COARSE, OF_FINE],
            ValueError,
            r"size of prediction 0.*\(2, 4, 6\) .*got \(2, 2, 3\): sort .*pass gt_batch\[::-1\]",
        ),
        (
            [FINE, COARSE],
            [OF_FINE, OF_FINE],
            ValueError,
            r"prediction 1, .*\(2, 2, 3\) .*got \(2, 4, 6\): pass gt_batch\[0\] alone",
        ),
        ([FINE, COARSE], [OF_FINE[:1], OF_COARSE], ValueError, r"got \(1, 4, 6\)\."),
        (
            [FINE, COARSE],
            {GT: OF_FINE, W: [torch.ones(2, 1, 4, 6)]},
            ValueError,
            r"gt_batch\['seg_loss_weights'\] must hold one tensor per prediction, got 1 for 2",
        ),
    ],
)
def test_lists_that_do_not_match_the_predictions_are_refused(pred, gt, kind, words: str) -> None:
    with pytest.raises(kind, match=words):
        DeepSupervision(SegLoss(n_classes=3))(pred, gt)


# Heads in one tensor


def heads(count: int, channels: int, *size: int) -> Tensor:
    return torch.randn(2, count, channels, *size, dtype=torch.float64).requires_grad_()


def masks(channels: int, *size: int) -> Tensor:
    return torch.randint(0, 2, (2, channels, *size)).double()


INNER = {
    "SegLoss": lambda: SegLoss(n_classes=4),
    "CompoundLoss": lambda: CompoundLoss(CrossEntropy() + Dice(), "multiclass"),
    "cross-entropy": lambda: nn.CrossEntropyLoss(),
}


@pytest.mark.parametrize("size", [(7,), (7, 6), (7, 6, 5)])
@pytest.mark.parametrize("channels", [(), (1,)])
@pytest.mark.parametrize("inner", INNER)
@pytest.mark.parametrize("count", [2, 3, 4])
def test_stacked_heads_are_scales(count: int, inner: str, channels, size) -> None:
    stacked, labels = heads(count, 4, *size), torch.randint(0, 4, (2, *channels, *size))
    loss = DeepSupervision(INNER[inner]())
    expected, _ = loss(list(stacked.unbind(1)), labels)
    for pred in (stacked, {"seg": stacked}):
        value, info = loss(pred, {GT: labels})
        assert torch.equal(value, expected)
        assert f"scale_{count - 1}" in info
    gradient, reference = (torch.autograd.grad(each, stacked)[0] for each in (value, expected))
    assert torch.equal(gradient, reference)
    assert torch.equal(loss(stacked[:, 0], labels)[0], loss.loss(stacked[:, 0], labels)[0])


@pytest.mark.parametrize("size", [(7,), (7, 6), (7, 6, 5)])
def test_stacked_heads_of_masks_are_scales(size) -> None:
    stacked, target = heads(2, 1, *size), masks(1, *size)
    for inner in (SegLoss(from_logits=True), CompoundLoss(Dice()), nn.BCEWithLogitsLoss()):
        for mask in (target, target.long(), target.bool(), target[:, 0]):
            if isinstance(inner, nn.BCEWithLogitsLoss) and mask.ndim < target.ndim:
                continue
            loss = DeepSupervision(inner)
            assert torch.equal(loss(stacked, mask)[0], loss(stacked.unbind(1), mask)[0])
    stacked, target = heads(2, 3, *size), masks(3, *size)
    loss = DeepSupervision(SegLoss(n_classes=3, activation="sigmoid"))
    assert torch.equal(loss(stacked, target)[0], loss(stacked.unbind(1), target)[0])


def test_volumes_of_masks_can_only_be_stacked_heads() -> None:
    stacked, target = heads(2, 3, 7, 6, 5), masks(3, 7, 6, 5)
    for inner in (SegLoss(from_logits=True), CompoundLoss(Dice(), "multilabel"), Recorder()):
        loss = DeepSupervision(inner)
        assert torch.equal(loss(stacked, target)[0], loss(stacked.unbind(1), target)[0])


@pytest.mark.parametrize("inner", [SegLoss(from_logits=True), CompoundLoss(Dice(), "multilabel")])
def test_a_label_map_for_sigmoid_channels_is_not_heads(inner) -> None:
    loss, logits = DeepSupervision(inner), torch.randn(2, 2, 8, 6)
    labels = torch.randint(0, 2, (2, 8, 6))
    if isinstance(inner, SegLoss):
        with pytest.raises(ValueError, match="Channels are independent with sigmoid"):
            loss(logits, labels)
    else:
        one_hot = F.one_hot(labels).movedim(-1, 1)
        torch.testing.assert_close(loss(logits, labels)[0], inner(logits, one_hot))
    with pytest.raises(ValueError, match="fits both"):
        loss(logits, torch.randint(0, 2, (2, 8, 6)).float())


def test_stacked_heads_take_a_target_for_each() -> None:
    stacked = heads(2, 3, 8, 6)
    targets = of_each_scale(list(stacked.unbind(1)))
    loss = DeepSupervision(SegLoss(n_classes=3))
    assert torch.equal(loss(stacked, targets)[0], loss(stacked.unbind(1), targets)[0])


@pytest.mark.parametrize("size", [(3, 4), (4, 3), (3, 3, 2), (1, 4), (2, 1, 3)])
@pytest.mark.parametrize("inner", INNER)
def test_an_image_with_a_side_as_long_as_the_classes_is_one_scale(inner: str, size) -> None:
    logits, labels = torch.randn(2, 4, *size), torch.randint(0, 4, (2, *size))
    labels[0, 0] = 3
    loss = DeepSupervision(INNER[inner]())
    value = loss(logits, labels)[0]
    assert torch.equal(value, loss([logits], labels)[0])


@pytest.mark.parametrize(
    ("inner", "stacked", "target"),
    [
        (SegLoss(n_classes=3), heads(3, 3, 6), F.one_hot(OF_FINE[:, 0], 3).movedim(-1, 1).float()),
        (nn.CrossEntropyLoss(), heads(2, 3, 4, 6), F.one_hot(OF_FINE, 3).movedim(-1, 1)),
        (lambda pred, gt: (pred.sigmoid() - gt).square().mean(), heads(2, 3, 4), masks(3, 4)),
        (lambda pred, gt: (pred.sigmoid() - gt).square().mean(), heads(2, 1, 4), masks(1, 4)),
    ],
)
def test_a_target_that_fits_heads_and_an_image_is_refused(inner, stacked, target) -> None:
    loss = DeepSupervision(inner)
    words = r"fits both: pass prediction.unbind\(1\) for heads, or \[prediction\] for one"
    with pytest.raises(ValueError, match=words):
        loss(stacked, target)
    loss(stacked.unbind(1), target)


def test_monais_dynunet_trains_and_validates_with_one_loss() -> None:
    nets = pytest.importorskip("monai.networks.nets")
    settings = {"strides": [1, 2, 2, 2], "kernel_size": [3] * 4, "upsample_kernel_size": [2] * 3}
    network = nets.DynUNet(
        2, 1, 3, **settings, filters=[4] * 4, deep_supervision=True, deep_supr_num=2
    )
    images, labels = torch.randn(2, 1, 16, 16), torch.randint(0, 3, (2, 1, 16, 16))
    loss = DeepSupervision(SegLoss(n_classes=3), "monai").as_criterion()
    outputs = network(images)
    assert outputs.shape == (2, 3, 3, 16, 16)
    expected = sum(
        0.5**i * SegLoss(n_classes=3)(head, labels)[0] for i, head in enumerate(outputs.unbind(1))
    )
    torch.testing.assert_close(loss(outputs, labels), expected)
    loss(outputs, labels).backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    network.eval()
    torch.testing.assert_close(
        loss(network(images), labels), SegLoss(n_classes=3)(network(images), labels)[0]
    )


@pytest.mark.parametrize("index", [0, 1, 2])
def test_a_scale_of_weight_zero_is_not_computed_and_stays_in_the_graph(index: int) -> None:
    scales = [p.requires_grad_() for p in pyramid((8, 6), (4, 3), (2, 2))]
    with torch.no_grad():
        scales[index].fill_(torch.nan)
        scales[index][0] = torch.inf
    weights = [0.0 if i == index else 1.0 for i in range(3)]
    inner = Recorder()
    value, extra = DeepSupervision(inner, weights)(scales, torch.zeros(2, 8, 6))
    assert len(inner.seen) == 2
    assert f"scale_{index}" not in extra
    torch.testing.assert_close(value, sum(p.mean() for i, p in enumerate(scales) if i != index))
    value.backward()
    for i, prediction in enumerate(scales):
        assert prediction.grad is not None
        expected = 0.0 if i == index else 1 / prediction.numel()
        assert torch.equal(prediction.grad, torch.full_like(prediction, expected))


def test_the_norm_is_that_of_the_sum_and_the_inner_norm_is_not_used() -> None:
    scales, labels = pyramid((8, 6), (4, 3)), torch.randint(0, 3, (2, 8, 6))
    inner = SegLoss(n_classes=3)
    inner.update_norm(scales[0] * 9, labels, 1)
    loss = DeepSupervision(inner)
    raw = loss(scales, labels)[0]
    torch.testing.assert_close(raw, DeepSupervision(SegLoss(n_classes=3))(scales, labels)[0])
    loss.update_norm(scales, labels, 2)
    torch.testing.assert_close(loss.norm, raw)
    assert loss(scales, labels)[0].item() == pytest.approx(1)
    assert loss(scales, labels, normalize=False)[0] == raw


@pytest.mark.parametrize("with_index", [True, False])
def test_mixup_is_the_inner_losses_and_blends_all_scales(with_index: bool) -> None:
    scales, y = pyramid((8, 6), (4, 3)), torch.randint(0, 3, (2, 8, 6))
    w = torch.rand(2, 1, 8, 6)
    plain = DeepSupervision(SegLoss(n_classes=3))
    mixed = DeepSupervision(SegLoss(n_classes=3, use_mixup=True))
    lam, flipped = 0.3, [1, 0]
    batch = {W: w, "mixup_y_a": y, "mixup_y_b": y[flipped], "mixup_lam": torch.tensor(lam)}
    partner_weights = w
    if with_index:
        batch |= {GT: y, "mixup_index": torch.tensor(flipped)}
        partner_weights = w[flipped]
    value, extra = mixed(scales, batch)
    value_a, extra_a = plain(scales, {GT: y, W: w})
    value_b, extra_b = plain(scales, {GT: y[flipped], W: partner_weights})
    torch.testing.assert_close(value, lam * value_a + (1 - lam) * value_b, rtol=1e-6, atol=0)
    for key in ("scale_0", "scale_1", "dice"):
        expected = lam * extra_a[key] + (1 - lam) * extra_b[key]
        torch.testing.assert_close(extra[key], expected, rtol=1e-6, atol=0)
    with pytest.raises(ValueError, match="set use_mixup=True"):
        plain(scales, batch)


def test_mixup_is_taken_with_renamed_keys() -> None:
    scales, y = pyramid((8, 6), (4, 3)), torch.randint(0, 3, (2, 8, 6))
    batch = {"labels": y, "mixup_y_a": y, "mixup_y_b": y.flip(0), "mixup_lam": 0.3}
    value, _ = DeepSupervision(SegLoss(n_classes=3, use_mixup=True, gt_key="labels"))(scales, batch)
    plain = DeepSupervision(SegLoss(n_classes=3))
    expected = 0.3 * plain(scales, y)[0] + 0.7 * plain(scales, y.flip(0))[0]
    torch.testing.assert_close(value, expected)


def test_it_works_beside_other_losses_in_a_multi_loss() -> None:
    scales, labels = pyramid((8, 6), (4, 3)), torch.randint(0, 3, (2, 8, 6))
    deep = DeepSupervision(SegLoss(n_classes=3), name="deep")
    plain = LossWrapper(nn.CrossEntropyLoss(), "ce", pred_key="finest")
    multi = MultiLoss([deep, plain], [1.0, [0.0, 1.0]], epoch_thresholds=[0, 2])
    pred, gt = {"seg": scales, "finest": scales[0]}, {GT: labels}
    total, losses, extra = multi(pred, gt, epoch=1)
    expected = deep(scales, labels)[0]
    torch.testing.assert_close(losses["deep"], expected)
    torch.testing.assert_close(total, expected + 0.5 * F.cross_entropy(scales[0], labels))
    assert "scale_1" in extra["deep"]
    multi.update_norm(pred, gt, 2)
    assert multi(pred, gt)[0].item() == pytest.approx(1.5)
    alone = MultiLoss([DeepSupervision(SegLoss(n_classes=3))], [1.0])  # takes a bare list
    torch.testing.assert_close(alone(scales, labels)[0], expected)


def test_copies_pickles_and_checkpoints_are_the_same_loss() -> None:
    scales, labels = pyramid((8, 6), (4, 3)), torch.randint(0, 3, (2, 8, 6))
    loss = DeepSupervision(SegLoss(n_classes=3, class_weights=[1, 2, 3]), [1, 0.3])
    loss.update_norm(scales, labels, 2)
    restored = DeepSupervision(SegLoss(n_classes=3, class_weights=[1, 2, 3]), [1, 0.3])
    restored.load_state_dict(loss.state_dict())
    for other in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss)), restored):
        assert torch.equal(other(scales, labels)[0], loss(scales, labels)[0])


def test_its_text_names_the_weights_and_the_inner_loss() -> None:
    assert "'seg', weights=[1.0, 0.5]" in repr(DeepSupervision(SegLoss(), [1, 0.5]))
    assert "(loss): SegLoss(" in repr(DeepSupervision(SegLoss()))


@pytest.mark.parametrize(("weights", "dynamic"), [(None, False), ([1, 0.5, 0], True)])
def test_a_compiler_takes_it_in_one_graph(weights, dynamic: bool) -> None:
    torch.compiler.reset()
    loss = DeepSupervision(SegLoss(n_classes=3, tversky_focal_coef=0.2), weights)
    compiled = torch.compile(
        lambda p, g: loss(p, g)[0], fullgraph=True, dynamic=dynamic, backend="aot_eager"
    )
    for height in (8, 16):
        sizes = [(height, 6), (height // 2, 3), (height // 4, 2)]
        scales = [p.float().requires_grad_() for p in pyramid(*sizes)]
        pred, gt = {"seg": scales}, {GT: torch.randint(0, 3, (2, height, 6))}
        value, expected = compiled(pred, gt), loss(pred, gt)[0]
        torch.testing.assert_close(value, expected)
        gradients = [torch.autograd.grad(each, scales) for each in (value, expected)]
        for mine, reference in zip(*gradients, strict=True):
            torch.testing.assert_close(mine, reference)


def test_half_precision_scales_give_a_float32_loss() -> None:
    scales, labels = pyramid((8, 6), (4, 3)), torch.randint(0, 3, (2, 8, 6))
    for weights in (None, [1, 0], [0, 1]):
        loss = DeepSupervision(SegLoss(n_classes=3), weights)
        value, _ = loss([p.half() for p in scales], labels)
        assert value.dtype == torch.float32
        torch.testing.assert_close(
            value, loss([p.half().float() for p in scales], labels)[0], rtol=0, atol=0
        )


ONE, TWO = torch.zeros(2, 3, 4), torch.zeros(2, 3, 2)
LABELS = torch.zeros(2, 4).long()


@pytest.mark.parametrize(
    ("weights", "pred", "kind", "words"),
    [
        ([1, 2], [ONE, TWO, TWO], ValueError, "there are 3 predictions and 2 weights"),
        ([1, 2], ONE, ValueError, r"there are 1 predictions and 2 weights.*inner loss \(.loss\)"),
        (None, [], ValueError, "pred_batch must hold one prediction per scale, got an empty"),
        (None, {"seg": ()}, ValueError, r"pred_batch\['seg'\] must hold one prediction per scale"),
        (None, [ONE, "two"], TypeError, r"pred_batch\[1\] must be a tensor, got str"),
        (None, {"seg": [ONE, [TWO]]}, TypeError, r"pred_batch\['seg'\]\[1\] must be .* got list"),
        (None, [ONE, ONE[:1]], ValueError, r"\[1\] must be of the same batch .*got \(1, 3, 4\)"),
        (None, [ONE, torch.zeros(2, 3, 2, 2)], ValueError, "must be of the same batch as the"),
        (None, [torch.zeros(2, 3), ONE], ValueError, r"\[0\] must have the shape \(N, C, \*spat"),
        (
            None,
            [TWO, ONE],
            ValueError,
            r"\[1\] must not be larger.*\(2, 3, 2\), got \(2, 3, 4\): s",
        ),
        (None, {"out": [ONE]}, MissingKeyError, "must have the key 'seg'.*'out'"),
        (None, {"seg": "one"}, TypeError, r"pred_batch\['seg'\] must be a tensor, got str"),
        (None, 3, TypeError, "pred_batch must be a mapping"),
        (None, [ONE, TWO[:, :2]], ValueError, "expected 3 channels"),
    ],
)
def test_wrong_predictions_are_refused(weights, pred, kind, words: str) -> None:
    with pytest.raises(kind, match=words):
        DeepSupervision(SegLoss(n_classes=3), weights)(pred, LABELS)


def test_a_target_of_another_size_is_refused_by_the_inner_loss() -> None:
    with pytest.raises(ValueError, match=r"expected .*\(2, 4\).*got \(2, 8\)"):
        DeepSupervision(SegLoss(n_classes=3))([ONE, TWO], torch.zeros(2, 8).long())


@pytest.mark.parametrize(
    ("make", "kind", "words"),
    [
        (lambda: DeepSupervision(SegLoss(), [1, -1]), ValueError, r"weights\[1\] must be .* -1"),
        (lambda: DeepSupervision(SegLoss(), [0, 0]), ValueError, "at least one weight above 0"),
        (lambda: DeepSupervision(SegLoss(), []), ValueError, "weights must hold at least one"),
        (lambda: DeepSupervision(SegLoss(), ["1"]), TypeError, r"weights\[0\] must be a num"),
        (lambda: DeepSupervision(SegLoss(), "nnunets"), ValueError, "did you mean 'nnunet'"),
        (lambda: DeepSupervision(SegLoss(), name=""), ValueError, "name must not be empty"),
        (lambda: DeepSupervision(nn.L1Loss), TypeError, r"Make an instance: L1Loss\(\)"),
        (lambda: DeepSupervision(MultiLoss([SegLoss()], [1])), TypeError, "must not be a MultiL"),
    ],
)
def test_wrong_arguments_are_refused_when_it_is_made(make, kind, words: str) -> None:
    with pytest.raises(kind, match=words):
        make()


class TwoHeads(nn.Module):
    """A network that predicts at full and at half resolution."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(1, 4, 3, padding=1)
        self.fine, self.coarse = nn.Conv2d(4, 3, 1), nn.Conv2d(4, 3, 1)

    def forward(self, images: Tensor) -> list[Tensor]:
        features = self.body(images).relu()
        return [self.fine(features), self.coarse(F.avg_pool2d(features, 2))]


def network_and_batch() -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(3)
    return TwoHeads(), torch.rand(4, 1, 8, 8), torch.randint(0, 3, (4, 8, 8))


def deep_loss() -> DeepSupervision:
    return DeepSupervision(nn.CrossEntropyLoss(), [1.0, 0.0])


def train_rank(rank: int, ranks: int, port: int, folder: str) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    dist.init_process_group("gloo", rank=rank, world_size=ranks)
    network, images, labels = network_and_batch()
    parallel = DistributedDataParallel(network)
    loss = deep_loss()
    share = slice(2 * rank, 2 * rank + 2)
    for _ in range(3):  # a parameter without a gradient stops the second step
        parallel.zero_grad()
        loss(parallel(images[share]), labels[share])[0].backward()
    gradients = {name: p.grad for name, p in network.named_parameters()}
    torch.save(gradients, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


def test_a_head_of_weight_zero_is_no_unused_parameter_to_distributed_training(
    tmp_path: Path,
) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = int(sock.getsockname()[1])
    mp.spawn(train_rank, (2, port, str(tmp_path)), nprocs=2)
    network, images, labels = network_and_batch()
    deep_loss()(network(images), labels)[0].backward()
    for rank in range(2):
        gradients = torch.load(tmp_path / f"{rank}.pt")
        for name, parameter in network.named_parameters():
            torch.testing.assert_close(gradients[name], parameter.grad)
            if name.startswith("coarse"):
                assert not gradients[name].any()


def test_an_image_with_a_label_map_of_one_line_is_not_taken_for_heads() -> None:
    logits, labels = torch.randn(2, 4, 6, 6), torch.zeros(2, 6, 6, dtype=torch.long)
    labels[:, 2] = 1  # one pixel of class 1 in each column, as in a one-hot target
    loss = CompoundLoss(mode="multiclass")
    torch.testing.assert_close(
        DeepSupervision(loss, [1.0])(logits, labels)[0], loss(logits, labels)
    )
