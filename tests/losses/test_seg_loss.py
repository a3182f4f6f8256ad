"""SegLoss: every parameter against the textbook, batches in every form, wrong input."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from omegaconf import OmegaConf
from torch import Tensor

import segloss
from segloss import SegLoss, functional
from segloss.terms import Dice, Jaccard
from tests.support import naive

GT, W = "gt_polygons_image", "seg_loss_weights"


def one_hot(labels: Tensor, classes: int) -> Tensor:
    return F.one_hot(labels, classes).movedim(-1, 1).double()


def batches(pred: Tensor, gt: Tensor, weights: Tensor | None = None) -> tuple[dict, dict]:
    return {"seg": pred}, {GT: gt} if weights is None else {GT: gt, W: weights}


def test_the_defaults_are_the_documents() -> None:
    loss = SegLoss()
    assert loss.name == "seg"
    assert loss.mixture.coefficients == {"cross_entropy": 0.5, "dice": 0.5}
    assert not loss.from_logits
    assert (loss.activation, loss.label_smoothing, loss.mixup.alpha) == ("sigmoid", 0.0, 0.5)


@pytest.mark.parametrize("spatial", [(11,), (5, 4), (3, 4, 2)])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_three_binary_terms_are_the_textbooks(spatial, weighted: bool, smoothing: float) -> None:
    p = torch.rand(2, 2, *spatial, dtype=torch.float64)
    g = torch.randint(0, 2, (2, 2, *spatial))
    w = torch.rand(2, 1, *spatial, dtype=torch.float64) if weighted else None
    loss = SegLoss(
        bce_coef=0.7,
        dice_coef=1.3,
        tversky_focal_coef=0.4,
        use_label_smooth=True,
        smooth_factor=smoothing,
    )
    value, extra = loss(*batches(p, g, w))
    table = naive.cells(p, g, w)
    parts = {
        "cross_entropy": naive.binary_cross_entropy(p, g, w, smoothing),
        "dice": naive.region_mean(table, naive.dice),
        "focal_tversky": naive.region_mean(table, naive.focal_tversky),
    }
    assert {name: extra[name].item() for name in parts} == pytest.approx(parts, rel=1e-12)
    expected = 0.7 * parts["cross_entropy"] + 1.3 * parts["dice"] + 0.4 * parts["focal_tversky"]
    assert value.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("spatial", [(11,), (5, 4), (3, 4, 2)])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("class_weights", [None, [1.0, 0.5, 2.0]])
def test_three_multiclass_terms_are_the_textbooks(
    spatial, weighted: bool, smoothing: float, class_weights
) -> None:
    logits = torch.randn(2, 3, *spatial, dtype=torch.float64)
    labels = torch.randint(0, 3, (2, 1, *spatial))
    w = torch.rand(2, 1, *spatial, dtype=torch.float64) if weighted else None
    loss = SegLoss(
        n_classes=3,
        bce_coef=0.7,
        dice_coef=1.3,
        tversky_focal_coef=0.4,
        use_label_smooth=True,
        smooth_factor=smoothing,
        class_weights=class_weights,
    )
    value, _ = loss(*batches(logits, labels, w))
    p, g = logits.softmax(1), one_hot(labels.squeeze(1), 3)
    table = naive.cells(p, g, w)
    expected = (
        0.7 * naive.cross_entropy(p, g, w, class_weights, smoothing)
        + 1.3 * naive.region_mean(table, naive.dice)
        + 0.4 * naive.region_mean(table, naive.focal_tversky)
    )
    assert value.item() == pytest.approx(expected, rel=1e-12)


def test_smooth_factor_counts_only_with_use_label_smooth(binary) -> None:
    logits, target = binary
    plain = SegLoss(from_logits=True)(logits, target)[0]
    switched_off = SegLoss(from_logits=True, smooth_factor=0.3)(logits, target)[0]
    assert torch.equal(plain, switched_off)


def test_label_smoothing_touches_the_cross_entropy_alone(binary) -> None:
    logits, target = binary
    options = {"from_logits": True, "bce_coef": 0.0, "tversky_focal_coef": 1.0}
    plain = SegLoss(**options)(logits, target)[0]
    smooth = SegLoss(**options, use_label_smooth=True, smooth_factor=0.3)(logits, target)[0]
    assert torch.equal(plain, smooth)


def test_softmax_with_two_classes_takes_two_channels_and_a_label_map() -> None:
    logits, labels = torch.randn(2, 2, 9, dtype=torch.float64), torch.randint(0, 2, (2, 9))
    loss = SegLoss(activation="softmax", from_logits=True, dice_coef=0)
    torch.testing.assert_close(
        loss(logits, labels)[0], 0.5 * F.cross_entropy(logits, labels), rtol=1e-12, atol=0
    )


def test_sigmoid_with_more_classes_takes_independent_channels(binary) -> None:
    logits, target = binary
    logits, target = torch.cat([logits, logits], 1), torch.cat([target, target], 1)
    many = SegLoss(n_classes=4, activation="sigmoid")(logits, target)[0]
    assert torch.equal(many, SegLoss(from_logits=True)(logits, target)[0])


@pytest.mark.parametrize(
    ("options", "logits"),
    [
        ({}, False),
        ({"use_mixed_precision": True}, True),
        ({"from_logits": True}, True),
        ({"from_logits": True, "use_mixed_precision": True}, True),
        ({"n_classes": 3}, True),
        ({"n_classes": 3, "use_mixed_precision": True}, True),
        ({"n_classes": 3, "from_logits": False}, False),
        ({"activation": "softmax"}, False),
        ({"n_classes": 3, "activation": "sigmoid"}, True),
    ],
)
def test_what_predictions_are_follows_from_the_arguments(options, logits: bool) -> None:
    assert SegLoss(**options).from_logits is logits


def test_channel_selectors_pick_prediction_target_and_weight_channels() -> None:
    pred, gt = torch.rand(2, 4, 6), torch.rand(2, 5, 6)
    weights = torch.rand(2, 5, 6)
    loss = SegLoss(gt_channel_selector=slice(1, 3), pred_channel_selector=[3, 0])
    value, _ = loss(*batches(pred, gt, weights))
    expected = SegLoss()(*batches(pred[:, [3, 0]], gt[:, 1:3], weights[:, 1:3]))[0]
    assert torch.equal(value, expected)
    shared, _ = loss(*batches(pred, gt, weights[:, :1]))
    assert torch.equal(shared, SegLoss()(*batches(pred[:, [3, 0]], gt[:, 1:3], weights[:, :1]))[0])


def test_an_int_selects_a_label_map_among_channels(multiclass) -> None:
    logits, labels = multiclass
    gt = torch.stack([torch.zeros_like(labels), labels], 1)
    weights = torch.rand(gt.shape)
    value, _ = SegLoss(gt_channel_selector=1, n_classes=4)(*batches(logits, gt, weights))
    expected, _ = SegLoss(n_classes=4)(*batches(logits, labels, weights[:, 1:]))
    assert torch.equal(value, expected)


def test_every_key_can_be_renamed() -> None:
    p, g, w = torch.rand(2, 1, 6), torch.randint(0, 2, (2, 1, 6)), torch.rand(2, 1, 6)
    loss = SegLoss(pred_key="out", gt_key="mask", weight_key="importance")
    value, _ = loss({"out": p}, {"mask": g, "importance": w})
    assert torch.equal(value, SegLoss()(*batches(p, g, w))[0])


def test_ignored_pixels_are_as_good_as_absent(multiclass) -> None:
    logits, labels = multiclass
    ignored = labels.clone()
    ignored[:, 3:] = 255
    loss = SegLoss(n_classes=4, tversky_focal_coef=0.3, ignore_index=255)
    value, _ = loss(logits, ignored)
    torch.testing.assert_close(value, loss(logits[:, :, :3], labels[:, :3])[0], rtol=1e-14, atol=0)


def test_a_valid_class_can_be_the_ignored_one() -> None:
    logits, labels = torch.randn(2, 3, 9), torch.randint(0, 3, (2, 9))
    value, _ = SegLoss(n_classes=3, ignore_index=0, dice_coef=0)(logits, labels)
    torch.testing.assert_close(value, 0.5 * F.cross_entropy(logits, labels, ignore_index=0))


def test_everything_ignored_is_zero_with_zero_gradient() -> None:
    logits = torch.full((2, 3, 9), torch.nan, requires_grad=True)
    loss = SegLoss(n_classes=3, tversky_focal_coef=0.3, ignore_index=255)
    value, _ = loss(logits, torch.full((2, 9), 255))
    value.backward()
    assert value.item() == 0
    assert logits.grad is not None
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_an_empty_batch_is_zero() -> None:
    value, _ = SegLoss(n_classes=3)(torch.zeros(0, 3, 4, 4), torch.zeros(0, 4, 4).long())
    assert value.item() == 0


def test_region_options_reach_the_region_terms(multiclass) -> None:
    logits, labels = multiclass
    options = {
        "region_reduction": "batch",
        "region_classes": [1, 3],
        "region_class_weights": torch.tensor([1.0, 2.0]),
        "skip_absent_classes": True,
    }
    value, extra = SegLoss(n_classes=4, bce_coef=0, dice_coef=1, **options)(logits, labels)
    expected = functional.dice_loss(logits, labels, n_classes=4, **options)
    assert torch.equal(value, expected)
    assert [key for key in extra if "/" in key] == ["dice/1", "dice/3"]


def test_extra_information_has_each_term_and_the_classes_of_the_region_terms(multiclass) -> None:
    logits, labels = multiclass
    loss = SegLoss(n_classes=4, tversky_focal_coef=1, skip_absent_classes=True)
    _, extra = loss(logits.requires_grad_(), labels.clamp(max=2))
    classes = [f"{term}/{c}" for term in ("dice", "focal_tversky") for c in range(4)]
    assert set(extra) == {"cross_entropy", "dice", "focal_tversky", *classes}
    assert not any(value.requires_grad or value.ndim for value in extra.values())
    per_class = segloss.per_class(extra, "dice")
    assert per_class.isnan().tolist() == [False, False, False, True]
    torch.testing.assert_close(per_class.nanmean(), extra["dice"])


def test_a_term_of_coefficient_zero_is_not_computed() -> None:
    loss = SegLoss(bce_coef=0.0, dice_coef=0.0, tversky_focal_coef=1.0)
    _, extra = loss(torch.rand(2, 1, 5), torch.randint(0, 2, (2, 1, 5)))
    assert set(extra) == {"focal_tversky"}


def test_extra_terms_are_named_or_given(binary) -> None:
    logits, target = binary
    base = SegLoss(from_logits=True)(logits, target)[0]
    jaccard = functional.jaccard_loss(logits, target)
    named = SegLoss(from_logits=True, extra_terms={"jaccard": 0.2})(logits, target)[0]
    torch.testing.assert_close(named, base + 0.2 * jaccard)
    second = SegLoss(from_logits=True, extra_terms={Jaccard(region_classes=[1]): 0.2})
    only = functional.jaccard_loss(logits, target, region_classes=[1])
    torch.testing.assert_close(second(logits, target)[0], base + 0.2 * only)


def test_terms_by_name_have_the_parameters_of_the_loss(binary) -> None:
    logits, target = binary
    options = {"tversky_alpha": 0.1, "tversky_beta": 0.9, "extra_terms": {"tversky": 1.0}}
    _, extra = SegLoss(from_logits=True, **options)(logits, target)
    expected = functional.tversky_loss(logits, target, alpha=0.1, beta=0.9)
    torch.testing.assert_close(extra["tversky"], expected)


def test_lists_are_taken_wherever_a_tensor_is(multiclass) -> None:
    logits, labels = multiclass
    weights = [0.1, 1.0, 2.0, 0.7]
    values = [
        SegLoss(n_classes=4, class_weights=kind(weights), region_class_weights=kind(weights))(
            logits, labels
        )[0]
        for kind in (list, tuple, torch.tensor, OmegaConf.create, np.array)
    ]
    for value in values[1:]:
        torch.testing.assert_close(value, values[0], rtol=1e-7, atol=0)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_memory_layout_makes_no_difference(memory_format, multiclass) -> None:
    logits, labels = multiclass
    logits = logits.to(memory_format=memory_format).requires_grad_()
    value, _ = SegLoss(n_classes=4)(logits, labels)
    value.backward()
    assert value.item() == pytest.approx(
        SegLoss(n_classes=4)(logits.detach().contiguous(), labels)[0].item(), rel=1e-14
    )
    assert logits.grad is not None
    assert logits.grad.is_contiguous(memory_format=memory_format)


def test_expanded_and_strided_inputs_are_taken() -> None:
    logits = torch.randn(1, 2, 4, 1).expand(3, 2, 4, 6)
    target = torch.randint(0, 2, (3, 4, 6, 2)).movedim(-1, 1)[:, :, :, ::1]
    loss = SegLoss(from_logits=True)
    assert torch.equal(loss(logits, target)[0], loss(logits.contiguous(), target.contiguous())[0])


@pytest.mark.parametrize("n_classes", [2, 3])
def test_gradients_pass_gradcheck(n_classes: int) -> None:
    pred = torch.randn(2, 3, 6, dtype=torch.float64).requires_grad_()
    gt = torch.randint(0, n_classes, (2, 3, 6) if n_classes == 2 else (2, 6))
    loss = SegLoss(n_classes=n_classes, from_logits=True, tversky_focal_coef=0.5, ignore_index=0)
    assert torch.autograd.gradcheck(lambda x: loss(x, gt)[0], pred)


def test_a_loss_of_float32_is_right_to_an_ulp_on_a_million_pixels() -> None:
    logits, labels = torch.randn(1, 2, 1000, 1000), torch.randint(0, 2, (1, 1000, 1000))
    loss = SegLoss(activation="softmax", from_logits=True, tversky_focal_coef=0.5)
    value, exact = loss(logits, labels)[0], loss(logits.double(), labels)[0]
    assert abs(value.item() - exact.item()) <= 2**-24 * max(1.0, exact.item())


def pred_and_gt(**changes) -> tuple[dict, dict]:
    pred = changes.pop("pred", torch.rand(2, 1, 4, 4))
    gt = {GT: torch.randint(0, 2, (2, 1, 4, 4)), **changes}
    return {"seg": pred}, gt


LABELS = torch.randint(0, 4, (2, 4, 4))

BAD_BATCHES = [
    ({}, {GT: torch.zeros(2, 1, 4, 5)}, ValueError, r"\(2, 1, 4, 4\).*got \(2, 1, 4, 5\)"),
    ({}, {GT: torch.zeros(3, 1, 4, 4)}, ValueError, r"\(2, 1, 4, 4\).*got \(3, 1, 4, 4\)"),
    ({}, {GT: torch.zeros(2, 3, 4, 4)}, ValueError, r"got \(2, 3, 4, 4\).*channel selectors"),
    ({}, {"pred": torch.rand(2, 1)}, ValueError, r"pred_batch\['seg'\] must have the shape"),
    ({}, {"pred": torch.rand(1, 1, 1, 1, 1, 1)}, ValueError, "1 to 3 spatial dimensions"),
    (
        {},
        {"pred": torch.zeros(2, 1, 4, 4).long()},
        TypeError,
        "must be floating-point .*, got torch.i",
    ),
    ({}, {"pred": torch.randn(2, 1, 4, 4) * 9}, ValueError, r"in \[0, 1\].*from_logits=True"),
    ({}, {"pred": torch.full((2, 1, 4, 4), torch.nan)}, ValueError, "from nan to nan"),
    (
        {},
        {GT: torch.full((2, 1, 4, 4), 255)},
        ValueError,
        r"in \[0, 1\].*255.*divide it, gt_batch\['gt_polygons_image'\] / 255",
    ),
    ({}, {GT: torch.full((2, 1, 4, 4), 0.5, requires_grad=True)}, TypeError, "must not require gr"),
    ({}, {GT: torch.zeros(2, 1, 4, 4, dtype=torch.complex64)}, TypeError, "must be real"),
    ({}, {GT: torch.zeros(2, 1, 4, 4, device="meta")}, ValueError, "device of .*cpu.*got meta"),
    ({}, {W: -torch.ones(2, 1, 4, 4)}, ValueError, r"\['seg_loss_weights'\] must hold finite .*-1"),
    ({}, {W: torch.full((2, 1, 4, 4), torch.inf)}, ValueError, "finite numbers"),
    ({}, {W: torch.ones(2, 2, 4, 4)}, ValueError, r"expected \(2, 1, 4, 4\).*got \(2, 2, 4, 4\)"),
    ({}, {W: torch.ones(2, 1, 4, 4, requires_grad=True)}, TypeError, "weights.*must not require"),
    (
        {"n_classes": 4},
        {GT: LABELS},
        ValueError,
        r"expected 4 channels \(n_classes\), got 1.*sigmo",
    ),
    (
        {"n_classes": 4},
        {"pred": torch.rand(2, 4, 4, 4), GT: LABELS + 1},
        ValueError,
        r"holds the label 4, expected 0 to 3 for 4 classes.*subtract 1",
    ),
    (
        {"n_classes": 4},
        {"pred": torch.rand(2, 4, 4, 4), GT: LABELS - 100},
        ValueError,
        r"holds the label -100, expected 0 to 3",
    ),
    (
        {"n_classes": 4, "ignore_index": 9},
        {"pred": torch.rand(2, 4, 4, 4), GT: torch.where(LABELS == 0, 255, LABELS)},
        ValueError,
        r"holds the label 255.*ignore_index=255, since no pixel has the value 9",
    ),
    (
        {"n_classes": 4},
        {"pred": torch.rand(2, 4, 4, 4), GT: LABELS / 2},
        ValueError,
        "whole numbers as a label map",
    ),
    (
        {"n_classes": 4},
        {"pred": torch.rand(2, 4, 4, 4), GT: torch.zeros(2, 3, 4, 4)},
        ValueError,
        r"expected \(2, 4, 4, 4\) or, as a label map, \(2, 4, 4\) or \(2, 1, 4, 4\), got \(2, 3, 4",
    ),
    (
        {"gt_channel_selector": 3},
        {},
        ValueError,
        r"gt_channel_selector=3 is out of range: gt_batch\['gt_polygons_image'\] has 1 channel",
    ),
    ({"pred_channel_selector": 3}, {}, ValueError, "pred_channel_selector=3 is out of range"),
    ({"class_weights": [1.0, 2.0]}, {}, ValueError, "expected 1, got 2.*use pos_weight"),
    ({"n_classes": 3, "activation": "sigmoid"}, {}, ValueError, "expected 3 channels"),
    (
        {"gt_channel_selector": 0},
        {GT: torch.zeros(2, 3, 4, 4), W: torch.ones(2, 2, 4, 4)},
        ValueError,
        r"weights'\] must have one channel, or as many as .*\(2, 3, 4, 4\), got \(2, 2, 4, 4\)",
    ),
    (
        {"gt_channel_selector": 0},
        {GT: torch.zeros(2, 4, 4)},
        ValueError,
        r"needs channels: gt_batch.* 2 spatial dimensions, got \(2, 4, 4\)",
    ),
    (
        {"n_classes": 4, "ignore_index": 0},
        {"pred": torch.rand(2, 4, 4, 4), GT: torch.zeros(2, 4, 4, 4)},
        ValueError,
        "would leave out every pixel .* is dense: pass a label map",
    ),
    ({}, {GT: torch.zeros(2, 1, 4, 4).to_sparse()}, TypeError, "real and dense"),
    (
        {"pos_weight": [1.0, 2.0]},
        {},
        ValueError,
        "pos_weight must be one number or.*expected 1, got 2",
    ),
    ({"region_classes": [1]}, {}, ValueError, r"region_classes=\[1\] is out of range"),
]


@pytest.mark.parametrize(("options", "changes", "kind", "words"), BAD_BATCHES)
def test_wrong_batches_are_refused_with_the_key_and_the_remedy(
    options, changes, kind, words: str
) -> None:
    with pytest.raises(kind, match=words):
        SegLoss(**options)(*pred_and_gt(**changes))


BAD_ARGUMENTS = [
    ({"name": ""}, ValueError, "name must not be empty"),
    ({"n_classes": 1}, ValueError, "n_classes must be at least 2, got 1.*n_classes=2"),
    ({"n_classes": 2.0}, TypeError, "n_classes must be an int"),
    ({"bce_coef": -1.0}, ValueError, "bce_coef must be .* at least 0, got -1"),
    ({"dice_coef": math.nan}, ValueError, "dice_coef must be a finite number"),
    ({"tversky_focal_coef": math.inf}, ValueError, "tversky_focal_coef must be a finite number"),
    ({"bce_coef": "0.5"}, TypeError, "bce_coef must be a number, got '0.5'"),
    ({"bce_coef": 0, "dice_coef": 0}, ValueError, "the loss has no term"),
    ({"use_mixed_precision": "yes"}, TypeError, "use_mixed_precision must be True or False"),
    ({"use_mixed_precision": True, "from_logits": False}, ValueError, "contradicts"),
    ({"from_logits": 1}, TypeError, "from_logits must be True or False"),
    ({"use_mixup": None}, TypeError, "use_mixup must be True or False"),
    ({"mixup_alpha": 0.0}, ValueError, "mixup_alpha must be .*above 0, got 0"),
    ({"use_label_smooth": 1}, TypeError, "use_label_smooth must be True or False"),
    ({"smooth_factor": 1.5}, ValueError, r"smooth_factor must be in \[0, 1\], got 1.5"),
    ({"activation": "tanh"}, ValueError, "activation must be one of 'sigmoid', 'softmax'"),
    ({"ignore_index": 1.5}, TypeError, "ignore_index must be an int"),
    ({"class_weights": [1.0, -2.0]}, ValueError, r"class_weights\[1\] must be .* at least 0"),
    ({"class_weights": []}, ValueError, "class_weights must hold at least one"),
    ({"class_weights": "balanced"}, TypeError, "class_weights.*got 'balanced'\\.$"),
    ({"class_weights": torch.rand(2, 2)}, TypeError, r"pass class_weights\.flatten\(\)"),
    ({"class_weights": [0, 0]}, ValueError, "at least one weight above 0"),
    ({"class_weights": torch.rand(2, requires_grad=True)}, TypeError, "must not require grad"),
    ({"n_classes": 3, "class_weights": [1.0, 2.0]}, ValueError, "expected 3, got 2"),
    ({"n_classes": 3, "pos_weight": 2.0}, ValueError, "pos_weight belongs to binary"),
    ({"n_classes": 3, "region_classes": [3]}, ValueError, r"region_classes=\[3\] is out of range"),
    ({"n_classes": 3, "region_class_weights": [1.0]}, ValueError, "expected 3, got 1"),
    ({"region_reduction": "class"}, ValueError, "region_reduction must be one of"),
    ({"smooth": -1}, ValueError, "smooth must be"),
    ({"tversky_alpha": -1}, ValueError, "tversky_alpha must be"),
    ({"tversky_gamma": 0}, ValueError, "tversky_gamma must be .*above 0"),
    ({"extra_terms": ["jaccard"]}, TypeError, "extra_terms must be a mapping"),
    ({"extra_terms": {"jacard": 1.0}}, ValueError, "did you mean 'jaccard'"),
    ({"extra_terms": {"jaccard": -1.0}}, ValueError, r"extra_terms\['jaccard'\] must be"),
    ({"extra_terms": {"dice": 1.0}}, ValueError, "must not repeat"),
    ({"extra_terms": {Dice(region_classes=[5]): 1.0}, "n_classes": 3}, ValueError, "not repeat"),
    ({"gt_channel_selector": 0.5}, TypeError, "gt_channel_selector must be an int, a slice"),
    ({"pred_key": None}, TypeError, "pred_key must be a str"),
    ({"weight_key": ""}, ValueError, "weight_key must not be empty"),
]


@pytest.mark.parametrize(("options", "kind", "words"), BAD_ARGUMENTS)
def test_wrong_arguments_are_refused_when_the_loss_is_made(options, kind, words: str) -> None:
    with pytest.raises(kind, match=words):
        SegLoss(**options)


def test_the_first_large_dense_target_of_a_shape_is_read_and_some_values_of_others() -> None:
    loss, pred = SegLoss(), torch.rand(1, 1, 300, 300)
    with pytest.raises(ValueError, match="must hold values in"):
        loss(pred, torch.full((1, 1, 300, 300), 2.0))
    with pytest.raises(ValueError, match="must hold values in"):  # a failure does not count
        loss(pred, torch.full((1, 1, 300, 300), 2.0))
    loss(pred, torch.ones(1, 1, 300, 300))
    later = torch.ones(1, 1, 300, 300)
    later.view(-1)[::301] = 2.0  # of a shape that was seen: about a thousand values are read
    for _ in range(3):
        with pytest.raises(ValueError, match="must hold values in"):
            loss(pred, later)
    with pytest.raises(ValueError, match="must hold values in"):
        loss(pred[..., :299], torch.full((1, 1, 300, 299), 2.0))


def test_weights_of_ignored_pixels_may_hold_nan() -> None:
    target = torch.tensor([[[1, 0, 255, 1]]])
    weights = torch.tensor([[[1.0, 2.0, torch.nan, 1.0]]])
    value, _ = SegLoss(ignore_index=255)(torch.rand(1, 1, 4), {GT: target, W: weights})
    assert value.isfinite()


def test_shared_weights_go_with_masks_ignored_channel_by_channel() -> None:
    p, target = torch.rand(2, 3, 5), torch.randint(0, 2, (2, 3, 5))
    target[:, 1, :2] = 255
    weights = torch.rand(2, 1, 5)
    value, _ = SegLoss(ignore_index=255)(p, {GT: target, W: weights})
    kept = weights * (target != 255)
    expected, _ = SegLoss()(p, {GT: target.clamp(max=1), W: kept})
    torch.testing.assert_close(value, expected)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.int32, torch.bool])
def test_integers_of_any_width_are_taken(dtype) -> None:
    logits, labels = torch.rand(2, 2, 5), torch.randint(0, 2, (2, 5))
    loss = SegLoss(activation="softmax")
    assert torch.equal(loss(logits, labels.to(dtype))[0], loss(logits, labels)[0])


def test_rounding_of_probabilities_is_tolerated() -> None:
    p = torch.tensor([[[1 + 5e-7, -5e-7, 0.5]]], requires_grad=True)
    value, _ = SegLoss(tversky_focal_coef=1)(p, torch.tensor([[[1, 0, 1]]]))
    value.backward()
    assert value.isfinite()
    assert p.grad is not None
    assert p.grad.isfinite().all()


NAMES = ["background", "road", "roof", "void"]


@pytest.mark.parametrize("annotated", [False, True], ids=["analytic", "autograd"])
@pytest.mark.parametrize("reduction", ["sample", "batch", "micro", "sample_micro"])
def test_extra_information_is_scalars_by_class_names(
    multiclass, annotated: bool, reduction: str
) -> None:
    logits, labels = multiclass
    batch = {"gt_polygons_image": labels}
    if annotated:
        batch["annotated"] = torch.ones(len(logits), 4, dtype=torch.bool)
    terms = Dice(region_reduction=reduction) + Jaccard(region_classes=[3, 1])
    _, info = SegLoss(n_classes=4, terms=terms, class_names=NAMES)(logits, batch)
    dice = [] if reduction.endswith("micro") else [f"dice/{name}" for name in NAMES]
    assert list(info) == ["dice", *dice, "jaccard", "jaccard/void", "jaccard/road"]
    assert all(value.ndim == 0 for value in info.values())
    _, by_index = SegLoss(n_classes=4, terms=terms)(logits, batch)
    assert list(by_index.values()) == list(info.values())
    torch.testing.assert_close(segloss.per_class(info, "dice").mean(), info["dice"])


def test_extra_information_has_the_classes_of_sigmoid_channels_too() -> None:
    logits, masks = torch.randn(2, 3, 5), torch.randint(0, 2, (2, 3, 5))
    _, info = SegLoss(from_logits=True, class_names=["a", "b", "c"])(logits, masks)
    assert list(info)[:4] == [
        "cross_entropy",
        "cross_entropy/a",
        "cross_entropy/b",
        "cross_entropy/c",
    ]
    _, of_one = SegLoss(from_logits=True)(logits[:, :1], masks[:, :1])
    assert list(of_one) == ["cross_entropy", "dice"]


@pytest.mark.parametrize(
    ("names", "error"),
    [("abc", TypeError), ([1, 2], TypeError), (["a", ""], ValueError), (["a", "a"], ValueError)],
)
def test_class_names_are_different_texts(names: object, error: type[Exception]) -> None:
    with pytest.raises(error, match="class_names"):
        SegLoss(n_classes=4, class_names=names)


def test_there_is_a_class_name_for_each_class(multiclass) -> None:
    with pytest.raises(ValueError, match=r"one name per channel of the prediction, 4, got 2"):
        SegLoss(n_classes=4, class_names=["a", "b"])(*multiclass)


def test_per_class_names_what_there_is(multiclass) -> None:
    _, info = SegLoss(n_classes=4)(*multiclass)
    with pytest.raises(KeyError, match=r"'jaccard' is not in .* cross_entropy, dice"):
        segloss.per_class(info, "jaccard")
