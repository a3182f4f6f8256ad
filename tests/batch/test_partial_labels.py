"""Partially labelled data: classes that were not looked for teach nothing."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from segloss import MixUp, SegLoss
from tests.support.versions import needs_a_newer_compiler

ANNOTATED = torch.tensor([[True, True, False, True], [True, False, False, True], [True] * 4])
REGION = {"jaccard": 0.5, "tversky": 0.3}


def softmax_batch() -> tuple[Tensor, Tensor]:
    labels = torch.randint(0, 4, (3, 6, 5))
    for sample, annotated in zip(labels, ANNOTATED, strict=True):
        sample[~annotated[sample]] = 0  # what nobody looked for bears the background's label
    return torch.randn(3, 4, 6, 5, dtype=torch.float64), labels


def run(loss: SegLoss, logits: Tensor, target: Tensor, **more: Tensor) -> tuple[Tensor, Tensor]:
    logits = logits.clone().requires_grad_()
    batch = {"gt_polygons_image": target, **more}
    value, _ = loss({"seg": logits}, batch)
    return value.detach(), torch.autograd.grad(value, logits)[0]


def merged(logits: Tensor) -> Tensor:
    """Log-probabilities with those of classes that are not annotated in the background's."""
    p = logits.softmax(1)
    out = ~ANNOTATED[:, :, None, None]
    background = p[:, :1] + (p * out).sum(1, keepdim=True)
    return torch.cat([background, p.masked_fill(out, 0)[:, 1:]], 1)


def test_a_sigmoid_channel_that_is_not_annotated_has_no_weight() -> None:
    logits, masks = torch.randn(3, 4, 6, 5).double(), (torch.rand(3, 4, 6, 5) > 0.5).double()
    loss = SegLoss(from_logits=True, tversky_focal_coef=0.3, extra_terms={"focal": 0.5})
    weights = ANNOTATED[:, :, None, None].double().expand_as(masks)
    expected = run(loss, logits, masks, seg_loss_weights=weights)
    torch.testing.assert_close(run(loss, logits, masks, annotated=ANNOTATED), expected)
    out = ~ANNOTATED[:, :, None, None].expand_as(masks)
    hostile = run(loss, logits, masks.masked_fill(out, torch.nan), annotated=ANNOTATED)
    torch.testing.assert_close(hostile, expected)


def test_pixel_weights_and_annotations_multiply() -> None:
    logits, masks = torch.randn(3, 4, 6, 5).double(), (torch.rand(3, 4, 6, 5) > 0.5).double()
    weights = torch.rand(3, 1, 6, 5).double()
    loss = SegLoss(from_logits=True)
    both = weights * ANNOTATED[:, :, None, None]
    expected = run(loss, logits, masks, seg_loss_weights=both)
    given = run(loss, logits, masks, seg_loss_weights=weights, annotated=ANNOTATED)
    torch.testing.assert_close(given, expected)


@pytest.mark.parametrize("region_reduction", ["sample", "batch"])
def test_region_terms_leave_out_the_cells(region_reduction: str) -> None:
    logits, labels = softmax_batch()
    loss = SegLoss(
        n_classes=4, bce_coef=0, dice_coef=1, smooth=0, region_reduction=region_reduction
    )
    p, g = logits.softmax(1), F.one_hot(labels, 4).movedim(-1, 1)
    kept = ANNOTATED.double()
    hit, both = (p * g).sum((2, 3)) * kept, (p + g).sum((2, 3)) * kept
    if region_reduction == "batch":
        expected = (1 - 2 * hit.sum(0) / both.sum(0)).mean()
    else:
        expected = (1 - 2 * hit / both)[ANNOTATED].mean()
    value, gradient = run(loss, logits, labels, annotated=ANNOTATED)
    torch.testing.assert_close(value, expected)
    assert gradient.isfinite().all()


def test_cross_entropy_is_the_marginal_loss() -> None:
    logits, labels = softmax_batch()
    loss = SegLoss(n_classes=4, bce_coef=1, dice_coef=0, merge_unannotated=True)
    free = logits.clone().requires_grad_()
    expected = F.nll_loss(merged(free).log(), labels)
    (gradient,) = torch.autograd.grad(expected, free)
    ours = run(loss, logits, labels, annotated=ANNOTATED)
    torch.testing.assert_close(ours, (expected.detach(), gradient))


def test_region_terms_see_the_merged_background() -> None:
    logits, labels = softmax_batch()
    loss = SegLoss(n_classes=4, bce_coef=1, dice_coef=1, smooth=0, merge_unannotated=True)
    p, g = merged(logits), F.one_hot(labels, 4).movedim(-1, 1)
    dice = 1 - 2 * (p * g).sum((2, 3)) / (p + g).sum((2, 3))
    expected = F.nll_loss(p.log(), labels) + dice[ANNOTATED].mean()
    torch.testing.assert_close(run(loss, logits, labels, annotated=ANNOTATED)[0], expected)


def test_given_probabilities_and_dense_targets_are_merged_too() -> None:
    logits, labels = softmax_batch()
    options = {"n_classes": 4, "merge_unannotated": True}
    expected, _ = run(SegLoss(**options), logits, labels, annotated=ANNOTATED)
    given = SegLoss(**options, from_logits=False)
    p = logits.softmax(1)
    torch.testing.assert_close(run(given, p, labels, annotated=ANNOTATED)[0], expected)
    dense = F.one_hot(labels, 4).movedim(-1, 1).double()
    torch.testing.assert_close(
        run(SegLoss(**options), logits, dense, annotated=ANNOTATED)[0], expected
    )


def test_labels_of_classes_that_are_not_annotated_count_as_background() -> None:
    logits, labels = softmax_batch()
    loss = SegLoss(n_classes=4, merge_unannotated=True)
    expected = run(loss, logits, labels, annotated=ANNOTATED)
    labels[1, 0, labels[1, 0] == 0] = 2
    torch.testing.assert_close(run(loss, logits, labels, annotated=ANNOTATED), expected)


@pytest.mark.parametrize("dense", [False, True])
def test_ignored_pixels_leave_no_trace(dense: bool) -> None:
    logits, labels = softmax_batch()
    target = F.one_hot(labels, 4).movedim(-1, 1).double() if dense else labels
    loss = SegLoss(n_classes=4, merge_unannotated=True, ignore_index=255)
    target[..., 2, :] = 255
    expected, expected_gradient = run(loss, logits, target, annotated=ANNOTATED)
    logits[..., 2, :] = torch.nan
    value, gradient = run(loss, logits, target, annotated=ANNOTATED)
    torch.testing.assert_close((value, gradient), (expected, expected_gradient))


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_all_annotated_is_the_plain_loss(activation: str) -> None:
    logits, labels = softmax_batch()
    target = F.one_hot(labels, 4).movedim(-1, 1).double() if activation == "sigmoid" else labels
    options = {"n_classes": 4, "activation": activation, "from_logits": True}
    everything = torch.ones(3, 4, dtype=torch.bool)
    given = run(SegLoss(**options, merge_unannotated=True), logits, target, annotated=everything)
    torch.testing.assert_close(given, run(SegLoss(**options), logits, target))


def test_mixup_mixes_annotations_with_their_targets() -> None:
    logits, labels = softmax_batch()
    loss = SegLoss(n_classes=4, merge_unannotated=True, use_mixup=True)
    batch = {"gt_polygons_image": labels, "annotated": ANNOTATED}
    _, mixed = MixUp()(torch.rand(3, 1, 6, 5), batch, torch.Generator().manual_seed(1))
    order, lam = mixed["mixup_index"], mixed["mixup_lam"].double()
    first, _ = run(loss, logits, labels, annotated=ANNOTATED)
    second, _ = run(loss, logits, labels[order], annotated=ANNOTATED[order])
    value, _ = loss({"seg": logits}, mixed)
    torch.testing.assert_close(value, lam * first + (1 - lam) * second)


@needs_a_newer_compiler
@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_compiled_without_a_break(activation: str) -> None:
    logits, labels = softmax_batch()
    target = F.one_hot(labels, 4).movedim(-1, 1).double() if activation == "sigmoid" else labels
    loss = SegLoss(n_classes=4, activation=activation, from_logits=True, merge_unannotated=True)
    batch = {"gt_polygons_image": target, "annotated": ANNOTATED}
    torch._dynamo.reset()
    compiled = torch.compile(
        lambda x: loss({"seg": x}, batch)[0], fullgraph=True, backend="aot_eager"
    )
    torch.testing.assert_close(compiled(logits), loss({"seg": logits}, batch)[0])


def test_without_merging_pixel_terms_are_refused() -> None:
    logits, labels = softmax_batch()
    with pytest.raises(ValueError, match=r"cross_entropy would learn.*merge_unannotated=True"):
        run(SegLoss(n_classes=4), logits, labels, annotated=ANNOTATED)
    region = SegLoss(n_classes=4, bce_coef=0, dice_coef=0, extra_terms=REGION)
    assert run(region, logits, labels, annotated=ANNOTATED)[0] > 0


@pytest.mark.parametrize(
    ("annotated", "error", "message"),
    [
        (ANNOTATED.float(), TypeError, r"must be booleans.*\.bool\(\)"),
        (ANNOTATED[:, :3], ValueError, r"expected \(3, 4\), got \(3, 3\)"),
        ("all", TypeError, "must be a tensor"),
    ],
)
def test_wrong_annotations_are_refused(annotated, error, message: str) -> None:
    logits, labels = softmax_batch()
    with pytest.raises(error, match=message):
        run(SegLoss(n_classes=4, merge_unannotated=True), logits, labels, annotated=annotated)


def test_smoothing_and_merging_contradict() -> None:
    with pytest.raises(ValueError, match="merge_unannotated=True leaves classes without"):
        SegLoss(n_classes=4, merge_unannotated=True, use_label_smooth=True, smooth_factor=0.1)


def test_annotations_follow_the_selected_channels() -> None:
    logits, masks = torch.randn(3, 2, 6, 5).double(), (torch.rand(3, 4, 6, 5) > 0.5).double()
    annotated = ANNOTATED.clone()
    annotated[0, 1] = False
    loss = SegLoss(from_logits=True, gt_channel_selector=[1, 3])
    plain = SegLoss(from_logits=True)
    expected = run(plain, logits, masks[:, [1, 3]], annotated=annotated[:, [1, 3]])
    torch.testing.assert_close(run(loss, logits, masks, annotated=annotated), expected)
