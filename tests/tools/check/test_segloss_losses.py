"""The package's own losses pass, with examples that are made and with examples that are given."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from segloss import (
    BoundaryLoss,
    ComputeSegGrads,
    CrossfieldAlign90Loss,
    CrossfieldAlignLoss,
    CrossfieldSmoothLoss,
    DeepSupervision,
    DiceLoss,
    FocalLoss,
    GeneralizedDiceLoss,
    JaccardLoss,
    LossWrapper,
    LovaszLoss,
    MCCLoss,
    MultiLoss,
    SegCrossfieldLoss,
    SegEdgeInteriorLoss,
    SegLoss,
    TopKCrossEntropyLoss,
    TverskyLoss,
    UncertaintyWeighting,
    UnifiedFocalLoss,
)
from segloss.tools.check import assert_loss, check_loss
from segloss.tools.check.examples import forms
from segloss.tools.check.run_checks import INSPECTIONS
from tests.frame_field.frame_fields import batches

BUT_COMPILE = [inspection.name for inspection in INSPECTIONS if inspection.name != "compile"]
"""tests/terms/test_every_term.py compiles them all."""


@pytest.fixture(autouse=True)
def _quick(monkeypatch) -> None:
    monkeypatch.setattr(forms, "LARGE_PIXELS", 2**12)


LOSSES = [
    SegLoss(),
    SegLoss(from_logits=True, tversky_focal_coef=0.3, ignore_index=255),
    SegLoss(n_classes=4, tversky_focal_coef=0.3, ignore_index=255),
    SegLoss(n_classes=3, from_logits=False),
    SegLoss(extra_terms={"boundary": 0.3, "skeleton_recall": 0.2}, from_logits=True),
    DiceLoss(),
    DiceLoss("multilabel"),
    JaccardLoss("multiclass", ignore_index=7),
    TverskyLoss(from_logits=False),
    FocalLoss("multiclass"),
    GeneralizedDiceLoss("multiclass"),
    MCCLoss(),
    UnifiedFocalLoss(),
    BoundaryLoss(),
    LovaszLoss("multiclass"),
    LovaszLoss("binary", per_image=True),
    TopKCrossEntropyLoss("multiclass"),
    LossWrapper(nn.BCEWithLogitsLoss()),
    MultiLoss([SegLoss(from_logits=True), nn.BCEWithLogitsLoss()], [1.0, 0.5]),
    SegLoss(n_classes=3).as_criterion(),
    DeepSupervision(SegLoss(n_classes=3)),
]


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: str(loss).splitlines()[0])
def test_a_loss_of_this_package_passes(loss) -> None:
    report = assert_loss(loss, checks=BUT_COMPILE)
    assert report["gradient values"].verdict == report["precision"].verdict == "pass"


@pytest.mark.parametrize("spatial", [(40,), (7, 6, 5)])
def test_examples_have_the_spatial_size_that_is_asked_for(spatial) -> None:
    report = assert_loss(SegLoss(n_classes=3), spatial=spatial, checks=BUT_COMPILE)
    assert str((4, 3, *spatial)) in report.example


def test_a_loss_compiles() -> None:
    assert_loss(SegLoss(n_classes=3), checks=["compile"])


def test_a_wrapped_cross_entropy_passes_also_where_pytorchs_own_is_nan() -> None:
    report = check_loss(LossWrapper(nn.CrossEntropyLoss()))
    assert report.failed == []


def frame_field(samples: int = 3) -> tuple[dict, dict]:
    pred, gt = batches(samples, 6, 5, torch.float32)
    gt["class_freq"] = torch.rand(samples, 3)
    return pred, gt


@pytest.mark.parametrize(
    "loss",
    [
        CrossfieldAlignLoss(),
        CrossfieldAlign90Loss(),
        CrossfieldSmoothLoss(),
        MultiLoss([SegCrossfieldLoss()], [1.0], pre_processes=[ComputeSegGrads()]),
        MultiLoss([SegEdgeInteriorLoss()], [1.0], pre_processes=[ComputeSegGrads()]),
    ],
    ids=lambda loss: str(loss).splitlines()[0],
)
def test_a_frame_field_loss_passes_on_a_batch_of_its_own(loss) -> None:
    report = assert_loss(loss, frame_field(), checks=BUT_COMPILE)
    assert report["gradient values"].verdict == "pass"


def test_deep_supervision_passes_on_several_scales() -> None:
    scales = [torch.randn(3, 2, 8 // s, 6 // s, requires_grad=True) for s in (1, 2)]
    labels = torch.randint(0, 2, (3, 8, 6))
    loss = DeepSupervision(SegLoss(activation="softmax", from_logits=True))
    report = assert_loss(loss, (scales, labels), checks=BUT_COMPILE)
    assert report["gradient flow"].reason.startswith("2 of 2")


def test_what_sync_statistics_makes_exact_is_said_to_be() -> None:
    pooled = SegLoss(n_classes=3, region_reduction="batch")
    assert check_loss(pooled, checks=["data parallel"])["data parallel"].verdict == "fail"
    synced = SegLoss(n_classes=3, region_reduction="batch", sync_statistics=True)
    report = check_loss(synced, checks=["data parallel"])
    assert "sync_statistics=True" in report["data parallel"].reason
    both = MultiLoss([synced, nn.CrossEntropyLoss()], [1, 1])
    check = check_loss(both, n_classes=3, checks=["data parallel"])["data parallel"]
    assert check.verdict == "fail"


def test_advice_leaves_a_report_passed() -> None:
    report = check_loss(SegLoss(n_classes=3, region_reduction="batch"), checks=["data parallel"])
    assert report.passed
    assert report.failed == []


def test_a_combiners_parameters_are_no_obstacle() -> None:
    loss = MultiLoss([SegLoss(n_classes=3)], [1.0], combiner=UncertaintyWeighting(1))
    assert_loss(loss, checks=BUT_COMPILE)
