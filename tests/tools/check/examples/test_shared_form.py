"""Losses of one `MultiLoss` are checked on one prediction and one target."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from segloss import DiceLoss, FocalLoss, LossWrapper, MultiLoss, SegLoss
from segloss.tools.check import check_loss
from segloss.tools.check.examples.example_search import SPATIAL, NoExampleError
from segloss.tools.check.examples.requirements import channels_of
from segloss.tools.check.examples.shared_form import SharedForm, find_shared_form
from segloss.tools.check.run_checks import check_each


def shared(*losses) -> SharedForm:
    multi_loss = MultiLoss(list(losses), [1.0] * len(losses))
    return find_shared_form(multi_loss, channels_of(multi_loss, None), SPATIAL)


def monai(name: str, **arguments) -> LossWrapper:
    losses = pytest.importorskip("monai.losses")
    return LossWrapper(getattr(losses, name)(**arguments), name=name)


def smp(name: str, mode: str) -> LossWrapper:
    losses = pytest.importorskip("segmentation_models_pytorch.losses")
    return LossWrapper(getattr(losses, name)(mode), name=f"smp {name}")


@pytest.mark.parametrize(
    ("make", "form"),
    [
        (lambda: FocalLoss("multiclass"), "logits of 5 channel(s), label map in mappings"),
        (nn.CrossEntropyLoss, "logits of 5 channel(s), label map in mappings"),
        (
            lambda: monai("HausdorffDTLoss", softmax=True, to_onehot_y=True),
            "logits of 5 channel(s), label map with a channel axis in mappings",
        ),
        (
            lambda: monai("DiceLoss", softmax=True),
            "logits of 5 channel(s), masks in mappings",
        ),
        (lambda: smp("DiceLoss", "multiclass"), "logits of 5 channel(s), label map in mappings"),
    ],
)
@pytest.mark.parametrize("is_first", [True, False])
def test_losses_beside_one_of_five_classes_get_five_channels(make, form, is_first) -> None:
    losses = [SegLoss(n_classes=5), make()]
    found = shared(*losses[:: 1 if is_first else -1])
    assert set(map(str, found.forms.values())) == {form}
    assert not found.refusals


def test_all_reports_are_on_the_same_numbers() -> None:
    seen = []

    class Watching(nn.Module):
        def forward(self, prediction, target):
            seen.append((prediction.detach().clone(), target.clone()))
            return nn.functional.cross_entropy(prediction, target)

    losses = [
        SegLoss(n_classes=4),
        LossWrapper(Watching(), name="one"),
        LossWrapper(Watching(), name="two"),
    ]
    reports = list(check_each(MultiLoss(losses, [1.0, 1.0, 1.0]), ["scalar"]))
    assert [report.loss for report in reports] == ["seg", "one", "two", "all together"]
    assert all(report.passed for report in reports)
    for prediction, target in seen[-4:]:
        torch.testing.assert_close(prediction, seen[-1][0])
        torch.testing.assert_close(target, seen[-1][1])
    assert seen[-1][0].shape == (4, 4, *SPATIAL)


def test_maps_of_all_losses_are_in_the_batch() -> None:
    distance = SegLoss("a", n_classes=3, extra_terms={"boundary": 0.5})
    skeleton = SegLoss("b", n_classes=3, extra_terms={"skeleton_recall": 0.5})
    example = shared(distance, skeleton).example("a", SPATIAL)
    assert {"gt_polygons_image", "gt_distance_map", "gt_skeleton"} == set(example.gt)
    assert example.gt["gt_skeleton"].shape == example.pred["seg"].shape


def test_losses_of_two_predictions_need_not_agree() -> None:
    edge = LossWrapper(FocalLoss(), name="edge", pred_key="edge", gt_key="edges")
    found = shared(SegLoss(n_classes=5), edge)
    assert {name: form.channels for name, form in found.forms.items()} == {"seg": 5, "edge": 1}
    example = found.example("edge", SPATIAL)
    assert example.prediction.shape[1] == 1
    assert set(example.pred) == {"seg", "edge"}
    multi_loss = MultiLoss([SegLoss(n_classes=5), edge], [1.0, 1.0])
    assert all(report.passed for report in check_each(multi_loss, ["scalar", "gradient flow"]))


def test_losses_of_one_prediction_may_have_targets_of_their_own() -> None:
    masks = monai("DiceLoss", softmax=True)
    with pytest.raises(NoExampleError):
        shared(smp("DiceLoss", "multiclass"), masks)
    masks.gt_key = "masks"
    found = shared(smp("DiceLoss", "multiclass"), masks)
    assert [form.target for form in found.forms.values()] == ["label map", "masks"]


def test_losses_may_look_at_channels_of_their_own() -> None:
    classes = SegLoss("classes", n_classes=3, pred_channel_selector=[0, 1, 2])
    edge = SegLoss("edge", from_logits=True, pred_channel_selector=[3], gt_key="edges")
    found = shared(classes, edge)
    assert {form.channels for form in found.forms.values()} == {4}


@pytest.mark.parametrize(
    ("losses", "message"),
    [
        (
            lambda: [SegLoss(), FocalLoss()],
            r"'seg' takes probabilities \(from_logits=False\), and 'FocalLoss' takes logits "
            r"\(from_logits=True\). Let all of them take logits",
        ),
        (
            lambda: [SegLoss(n_classes=4), FocalLoss()],
            r"'seg' takes 4 channels \(n_classes=4\), and 'FocalLoss' takes one channel "
            r"\(mode='binary'\). Give them the same n_classes, mode",
        ),
        (
            lambda: [SegLoss(n_classes=4), nn.CrossEntropyLoss(weight=torch.ones(3))],
            r"'seg' takes 4 channels \(n_classes=4\), and 'CrossEntropyLoss' takes 3 channels "
            r"\(a weight of 3 classes\)",
        ),
        (
            lambda: [SegLoss(n_classes=4), monai("DiceLoss", to_onehot_y=True)],
            r"'DiceLoss' takes probabilities \(sigmoid=False, softmax=False\).*softmax=True",
        ),
        (
            lambda: [smp("DiceLoss", "multiclass"), smp("FocalLoss", "multilabel")],
            "'smp DiceLoss' takes label map .* as the target, and 'smp FocalLoss' takes .* as "
            "the target. Give them the same mode",
        ),
        (
            lambda: [smp("DiceLoss", "multilabel"), smp("FocalLoss", "multiclass")],
            "'smp DiceLoss' takes .*masks; 'smp FocalLoss' takes .*label map. Give them the same",
        ),
        (
            lambda: [DiceLoss("binary"), nn.BCELoss()],
            r"'DiceLoss' takes logits .* and 'BCELoss' takes probabilities \(BCELoss\)",
        ),
    ],
)
def test_losses_that_can_not_see_one_batch_are_refused_with_the_reason(losses, message) -> None:
    with pytest.raises(NoExampleError, match=f"can't see one prediction.*{message}"):
        shared(*losses())


def test_a_multi_loss_that_can_not_be_is_a_failed_report() -> None:
    report = check_loss(MultiLoss([SegLoss(), FocalLoss()], [1.0, 1.0]))
    assert "'seg' takes probabilities" in report["scalar"].reason


def test_a_loss_of_something_else_does_not_hinder_the_others() -> None:
    losses = [SegLoss(n_classes=4), nn.TripletMarginLoss()]
    reports = list(check_each(MultiLoss(losses, [1.0, 1.0]), ["scalar"]))
    assert [report.passed for report in reports] == [True, False, False]
    assert "'TripletMarginLoss': TypeError" in reports[-1]["scalar"].reason
