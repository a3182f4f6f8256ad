"""Wrapped losses: PyTorch's, other libraries', and plain functions."""

from __future__ import annotations

import sys

import kornia.losses
import monai.losses
import pytest
import pytorch_toolbelt.losses
import segmentation_models_pytorch as smp
import torch
from torch import nn

from segloss import LossWrapper, SegLoss

GT = "gt_polygons_image"


def data(channels: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(2, channels, 6, 5), torch.randint(0, max(channels, 2), (2, 6, 5))


def test_a_wrapped_cross_entropy_takes_batches() -> None:
    logits, labels = data()
    wrapped = LossWrapper(name="ce", loss_func=nn.CrossEntropyLoss())
    value, extra = wrapped({"seg": logits}, {GT: labels})
    torch.testing.assert_close(value, nn.CrossEntropyLoss()(logits, labels))
    assert extra == {}


@pytest.mark.parametrize("dtype", [torch.long, torch.uint8, torch.float32])
def test_a_label_map_with_a_channel_axis_fits_pytorchs_cross_entropy(dtype) -> None:
    logits, labels = data()
    value, _ = LossWrapper(nn.CrossEntropyLoss())(logits, labels.unsqueeze(1).to(dtype))
    torch.testing.assert_close(value, nn.CrossEntropyLoss()(logits, labels))


def test_class_probabilities_reach_pytorchs_cross_entropy_as_they_are() -> None:
    logits, _ = data()
    target = torch.rand_like(logits).softmax(1)
    value, _ = LossWrapper(nn.CrossEntropyLoss())(logits, target)
    torch.testing.assert_close(value, nn.CrossEntropyLoss()(logits, target))


def test_selectors_and_dtype_bring_a_batch_into_shape() -> None:
    pred, gt = torch.randn(2, 4, 6, 5), torch.randint(0, 2, (2, 3, 6, 5))
    wrapped = LossWrapper(
        nn.BCEWithLogitsLoss(),
        pred_channel_selector="1:3",
        gt_channel_selector=[0, 2],
        target_dtype="float32",
        pred_key="out",
        gt_key="masks",
    )
    value, _ = wrapped({"out": pred}, {"masks": gt})
    expected = nn.BCEWithLogitsLoss()(pred[:, 1:3], gt[:, [0, 2]].float())
    torch.testing.assert_close(value, expected)


def test_an_int_keeps_the_axis_of_dense_targets_and_drops_that_of_label_maps() -> None:
    seen = []

    def loss(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        seen.append(tuple(target.shape))
        return prediction.sum()

    gt = torch.randint(0, 2, (2, 3, 6, 5))
    for channels, selector in [(1, 0), (4, 0), (4, [0]), (4, slice(0, 1))]:
        LossWrapper(loss, gt_channel_selector=selector)(torch.rand(2, channels, 6, 5), gt)
    assert seen == [(2, 1, 6, 5), (2, 6, 5), (2, 1, 6, 5), (2, 1, 6, 5)]


@pytest.mark.parametrize(
    ("loss_func", "selector"),
    [
        (smp.losses.DiceLoss("multiclass"), 0),
        (smp.losses.LovaszLoss("multiclass"), 0),
        (monai.losses.DiceCELoss(softmax=True, to_onehot_y=True), [0]),
        (monai.losses.FocalLoss(to_onehot_y=True), [0]),
        (kornia.losses.FocalLoss(alpha=0.5, reduction="mean"), 0),
        (pytorch_toolbelt.losses.DiceLoss("multiclass"), 0),
    ],
)
def test_the_losses_of_other_libraries_train_under_the_same_contract(loss_func, selector) -> None:
    logits, labels = data()
    logits.requires_grad_()
    wrapped = LossWrapper(loss_func, gt_channel_selector=selector)
    value, _ = wrapped({"seg": logits}, {GT: labels.unsqueeze(1)})
    target = labels if selector == 0 else labels.unsqueeze(1)
    torch.testing.assert_close(value, loss_func(logits, target))
    value.backward()
    assert logits.grad is not None
    assert logits.grad.abs().sum() > 0


def test_half_precision_predictions_are_computed_in_float32() -> None:
    logits, labels = data()
    value, _ = LossWrapper(nn.CrossEntropyLoss())(logits.half(), labels)
    assert value.dtype == torch.float32


def test_a_wrapped_loss_has_a_norm_of_its_own() -> None:
    logits, labels = data()
    wrapped = LossWrapper(nn.CrossEntropyLoss())
    wrapped.update_norm(logits, labels, 2)
    torch.testing.assert_close(wrapped.norm.float(), nn.CrossEntropyLoss()(logits, labels))
    assert wrapped(logits, labels)[0].item() == pytest.approx(1)


def test_names_come_from_the_loss_where_none_is_given() -> None:
    class Named(nn.Module):
        name = "own"

    def my_loss(prediction, target): ...

    assert LossWrapper(Named()).name == "own"
    assert LossWrapper(my_loss).name == "my_loss"
    assert LossWrapper(nn.L1Loss()).name == "L1Loss"
    assert LossWrapper(nn.L1Loss(), name="l1").name == "l1"


def test_parameters_of_a_wrapped_module_belong_to_the_wrapper() -> None:
    wrapped = LossWrapper(nn.CrossEntropyLoss(weight=torch.ones(3)))
    assert "loss_func.weight" in wrapped.state_dict()


@pytest.mark.parametrize(
    ("make", "kind", "words"),
    [
        (lambda: LossWrapper(SegLoss()), TypeError, "already takes batches"),
        (lambda: LossWrapper(nn.L1Loss), TypeError, r"Make an instance: L1Loss\(\)"),
        (lambda: LossWrapper("L1Loss"), TypeError, "must be a module or a function, got 'L1Loss'"),
        (
            lambda: LossWrapper(nn.L1Loss(), target_dtype="int33"),
            ValueError,
            "target_dtype must be",
        ),
        (lambda: LossWrapper(nn.L1Loss(), target_dtype="nn"), ValueError, "target_dtype must be"),
        (lambda: LossWrapper(nn.L1Loss(), pred_key=3), TypeError, "pred_key must be a str"),
    ],
)
def test_wrong_wrappings_are_refused(make, kind, words: str) -> None:
    with pytest.raises(kind, match=words):
        make()


@pytest.mark.parametrize("dtype", [torch.int32, torch.uint8, torch.float32, torch.bool])
def test_label_maps_of_any_dtype_fit_pytorchs_cross_entropy(dtype) -> None:
    logits, labels = torch.randn(2, 2, 6), torch.randint(0, 2, (2, 6))
    value, _ = LossWrapper(nn.CrossEntropyLoss())(logits, labels.to(dtype))
    torch.testing.assert_close(value, nn.CrossEntropyLoss()(logits, labels))


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.bool])
def test_masks_of_any_dtype_fit_pytorchs_elementwise_losses(dtype) -> None:
    logits, mask = torch.randn(2, 1, 6), torch.randint(0, 2, (2, 1, 6))
    value, _ = LossWrapper(nn.BCEWithLogitsLoss())(logits, mask.to(dtype))
    torch.testing.assert_close(value, nn.BCEWithLogitsLoss()(logits, mask.float()))


def test_shapes_that_would_broadcast_are_refused() -> None:
    words = (
        r"target must have the shape of .*\(2, 1, 4, 4\), got \(2, 4, 4\).*target.unsqueeze\(1\)"
    )
    with pytest.raises(ValueError, match=words):
        LossWrapper(nn.MSELoss())(torch.rand(2, 1, 4, 4), torch.rand(2, 4, 4))


def test_fractions_are_no_labels() -> None:
    with pytest.raises(ValueError, match="must hold whole numbers as a label map"):
        LossWrapper(nn.CrossEntropyLoss(), "ce")(torch.rand(2, 3, 4), torch.rand(2, 4))


@pytest.mark.skipif(sys.version_info < (3, 11), reason="exceptions take no notes before 3.11")
def test_an_error_inside_a_wrapped_loss_says_where_it_is() -> None:
    with pytest.raises(IndexError) as caught:
        LossWrapper(lambda p, t: p[9].sum(), "ninth")(torch.rand(2, 3, 4), torch.ones(2, 4))
    assert "In the loss 'ninth': prediction (2, 3, 4) of torch.float32" in caught.value.__notes__[0]


def test_autocast_does_not_reach_a_wrapped_loss() -> None:
    weight = torch.randn(3, 3)
    wrapped = LossWrapper(lambda p, t: (p.mT @ weight).mean(), "matmul")
    logits, labels = torch.randn(2, 3, 4), torch.zeros(2, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value, _ = wrapped(logits, labels)
    assert torch.equal(value, wrapped(logits, labels)[0])


def test_a_loss_that_returns_no_scalar_is_refused() -> None:
    logits, labels = data()
    with pytest.raises(ValueError, match=r"'CrossEntropyLoss' must return a scalar.*reduction"):
        LossWrapper(nn.CrossEntropyLoss(reduction="none"))(logits, labels)
    with pytest.raises(TypeError, match="must return a tensor, got float"):
        LossWrapper(lambda prediction, target: 0.5, name="half")(logits, labels)
