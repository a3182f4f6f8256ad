"""Losses of frame fields are checked on examples that are made for them."""

from __future__ import annotations

import pytest

from segloss import (
    ComputeSegGrads,
    CrossfieldAlign90Loss,
    CrossfieldAlignLoss,
    CrossfieldSmoothLoss,
    Loss,
    MultiLoss,
    SegCrossfieldLoss,
    SegEdgeInteriorLoss,
    SegLoss,
    SegLossWeights,
    check_loss,
    compute_gt_field,
)

CHECKS = ["scalar", "gradient flow", "gradient values", "finite in float32", "sample order"]
PROCESSES = [SegLossWeights(), compute_gt_field, ComputeSegGrads()]


@pytest.mark.parametrize(
    "loss",
    [
        CrossfieldAlignLoss(),
        CrossfieldAlign90Loss(),
        CrossfieldSmoothLoss(crossfield_key="field"),
    ],
    ids=lambda loss: loss.name,
)
def test_a_loss_of_frame_fields_alone_passes(loss: Loss) -> None:
    report = check_loss(loss, checks=CHECKS)
    assert report.passed, str(report)
    assert report.example.startswith("generated:")


@pytest.mark.parametrize(
    "losses",
    [
        [SegLoss(gt_channel_selector=[0, 1])],
        [SegCrossfieldLoss(pred_channel=1)],
        [SegEdgeInteriorLoss()],
        [SegLoss(gt_channel_selector=[0, 1]), CrossfieldAlign90Loss(), SegEdgeInteriorLoss()],
    ],
    ids=lambda losses: "+".join(loss.name for loss in losses),
)
def test_losses_pass_behind_their_pre_processes(losses: list[Loss]) -> None:
    multi_loss = MultiLoss(losses, [1.0] * len(losses), pre_processes=PROCESSES)
    report = check_loss(multi_loss, checks=CHECKS)
    assert report.passed, str(report)
    assert "probabilities" in report.example
