"""A loss's arguments say which predictions it takes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from segloss import (
    DiceLoss,
    FocalLoss,
    GeneralizedWassersteinDiceLoss,
    LossWrapper,
    LovaszLoss,
    MultiLoss,
    SegLoss,
    SoftClDiceLoss,
)
from segloss.tools.check import check_loss
from segloss.tools.check.examples.requirements import requirements_of

DISTANCES = [[0, 1, 1, 1], [1, 0, 0.5, 1], [1, 0.5, 0, 1], [1, 1, 1, 0]]


def example_of(loss) -> str:
    """Returns the form of the example on which a loss is checked, in words."""
    report = check_loss(loss, checks=["scalar"])
    assert report.passed, str(report)
    return report.example.removeprefix("generated: ").split(";")[0].removesuffix(" in mappings")


@pytest.mark.parametrize(
    "loss",
    [
        FocalLoss("multiclass", alpha=[0.1, 0.2, 0.3, 0.4]),
        DiceLoss("multiclass", region_classes=[1, 3]),
        DiceLoss("multiclass", region_class_weights=[1.0, 1.0, 2.0, 2.0]),
        DiceLoss("multiclass", region_groups={"body": [1, 2], "edge": [3]}),
        GeneralizedWassersteinDiceLoss("multiclass", distances=DISTANCES),
        LovaszLoss("multiclass", classes=[1, 3]),
        SoftClDiceLoss("multiclass", classes=[1, 3]),
        nn.CrossEntropyLoss(weight=torch.ones(4)),
        nn.BCEWithLogitsLoss(pos_weight=torch.ones(4, 1, 1)),
        SegLoss(from_logits=True, pred_channel_selector=[3]),
    ],
    ids=lambda loss: str(loss).replace("\n", " ")[:60],
)
def test_arguments_for_four_classes_are_checked_with_four_channels(loss) -> None:
    assert "of 4 channel(s)" in example_of(loss)


@pytest.mark.parametrize(
    ("name", "arguments", "form"),
    [
        ("DiceLoss", {}, "probabilities of 1 channel(s), masks"),
        ("DiceLoss", {"sigmoid": True}, "logits of 1 channel(s), masks"),
        ("DiceLoss", {"softmax": True}, "logits of 3 channel(s), masks"),
        (
            "DiceCELoss",
            {"softmax": True, "to_onehot_y": True},
            "logits of 3 channel(s), label map with a channel axis",
        ),
        (
            "HausdorffDTLoss",
            {},
            "probabilities of 3 channel(s) that add up to 1, masks",
        ),
        ("HausdorffDTLoss", {"sigmoid": True}, "logits of 3 channel(s), masks"),
        (
            "HausdorffDTLoss",
            {"sigmoid": True, "include_background": True},
            "logits of 1 channel(s), masks",
        ),
    ],
)
def test_a_loss_of_monai_is_checked_on_what_its_arguments_are_for(name, arguments, form) -> None:
    losses = pytest.importorskip("monai.losses")
    assert example_of(getattr(losses, name)(**arguments)) == form


@pytest.mark.parametrize("name", ["DiceLoss", "JaccardLoss", "TverskyLoss"])
def test_a_loss_of_smp_is_checked_in_its_mode(name) -> None:
    losses = pytest.importorskip("segmentation_models_pytorch.losses")
    kind = getattr(losses, name)
    assert example_of(kind("binary")) == "logits of 1 channel(s), masks"
    assert example_of(kind("multiclass")) == "logits of 3 channel(s), label map"
    assert example_of(kind("multilabel")) == "logits of 3 channel(s), masks"
    assert example_of(kind("binary", from_logits=False)) == "probabilities of 1 channel(s), masks"


def test_requirements_say_which_argument_makes_them() -> None:
    assert list(map(str, requirements_of(SegLoss(n_classes=5)))) == [
        "5 channels (n_classes=5)",
        "logits (from_logits=True)",
    ]
    assert list(map(str, requirements_of(LossWrapper(FocalLoss())))) == [
        "one channel (mode='binary')",
        "logits (from_logits=True)",
    ]
    assert list(map(str, requirements_of(nn.BCELoss()))) == ["probabilities (BCELoss)"]
    assert requirements_of(nn.MSELoss()) == []


def test_a_multi_loss_has_the_requirements_of_its_losses() -> None:
    losses = [SegLoss(n_classes=5), FocalLoss("multiclass")]
    texts = map(str, requirements_of(MultiLoss(losses, [1, 1])))
    assert {"5 channels (n_classes=5)", "several channels (mode='multiclass')"} <= set(texts)


def test_selected_channels_are_not_the_channels_of_the_prediction() -> None:
    loss = SegLoss(n_classes=3, pred_channel_selector=[0, 1, 2])
    assert [each.takes for each in requirements_of(loss)] == ["logits"]


def test_a_number_of_classes_that_contradicts_the_loss_is_refused_with_the_reason() -> None:
    report = check_loss(SegLoss(n_classes=4), n_classes=3, checks=["scalar"])
    assert not report.passed
    assert "needs 4 channels (n_classes=4)" in report["scalar"].reason
