"""What is drawn of a loss is the loss of the disc, computed directly."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

pytest.importorskip("matplotlib")

from torch import nn

from segloss import (
    BoundaryLoss,
    CompoundLoss,
    DiceLoss,
    HausdorffDistanceLoss,
    LossWrapper,
    MultiLoss,
    SegLoss,
    SignedDistanceMap,
    SkeletonRecallLoss,
    build_loss,
    compute_gt_field,
)
from segloss.frame_field import ComputeSegGrads, CrossfieldAlignLoss, SegCrossfieldLoss
from segloss.sums.plan import MapSum
from segloss.terms import Boundary
from segloss.terms.base import RegionTerm
from segloss.tools.plots import plot_landscape
from segloss.tools.plots.reference_shape import CENTRE, RADIUS, SIDE, Setting, loss_of_disc


def disc(shift: float = 0.0, factor: float = 1.0) -> torch.Tensor:
    """How deep each pixel is inside of a disc, counted pixel by pixel, (1, 1, SIDE, SIDE)."""
    row, column = CENTRE
    depth = [
        [factor * RADIUS - math.hypot(y - row, x - column - shift) for x in range(SIDE)]
        for y in range(SIDE)
    ]
    return torch.tensor(depth, dtype=torch.float64)[None, None]


def curves(figure) -> list[tuple[np.ndarray, np.ndarray]]:
    return [axes.lines[0].get_data() for axes in figure.axes]


def test_the_dice_loss_of_a_disc_by_the_book() -> None:
    moved, resized, blurred = curves(plot_landscape(DiceLoss()))
    g = (disc() > 0).double()

    def dice(logits: torch.Tensor) -> float:
        p = logits.clamp(-8, 8).sigmoid()
        return (1 - (2 * (p * g).sum() + 1) / (p.sum() + g.sum() + 1)).item()

    for i in (0, 7, 40):
        assert moved[1][i] == pytest.approx(dice(disc(shift=moved[0][i])), rel=1e-5)
    for i in (0, 20, 42):
        assert resized[1][i] == pytest.approx(dice(disc(factor=resized[0][i])), rel=1e-5)
    for i in (0, 36):
        assert blurred[1][i] == pytest.approx(dice(disc() / blurred[0][i]), rel=1e-5)


def test_probabilities_give_the_same_curve_as_their_logits() -> None:
    of_logits = plot_landscape(SegLoss(from_logits=True))
    of_probabilities = plot_landscape(SegLoss(from_logits=False))
    for (_, left), (_, right) in zip(curves(of_logits), curves(of_probabilities), strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-4, atol=1e-6)


def test_two_exclusive_classes_are_the_disc_and_the_rest() -> None:
    binary = plot_landscape(nn.BCEWithLogitsLoss())
    softmax = plot_landscape(SegLoss(n_classes=2, activation="softmax", bce_coef=1, dice_coef=0))
    for (_, left), (_, right) in zip(curves(binary), curves(softmax), strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-4)


@pytest.mark.parametrize(
    "loss",
    [
        SegLoss(n_classes=4),
        nn.CrossEntropyLoss(weight=torch.tensor([0.2, 1.0, 1.0, 2.0])),
        SegLoss(n_classes=5, gt_channel_selector=0),
        LossWrapper(nn.CrossEntropyLoss(), gt_channel_selector=0),
        MultiLoss([SegLoss(n_classes=3)], [2.0]),
    ],
    ids=str,
)
def test_a_loss_of_several_classes_is_least_where_the_prediction_is_right(loss) -> None:
    moved, resized, _ = curves(plot_landscape(loss))
    assert moved[1].argmin() <= 1
    assert moved[1][-1] > 3 * moved[1][0]
    assert resized[0][resized[1].argmin()] == pytest.approx(1, abs=0.08)


def test_a_term_of_maps_gets_the_maps_of_the_disc() -> None:
    pytest.importorskip("skimage")
    (_, moved), _, _ = curves(plot_landscape(BoundaryLoss()))
    assert moved[0] < 0 < moved[-1]


@pytest.mark.parametrize(
    "loss",
    [
        BoundaryLoss("multiclass"),
        SkeletonRecallLoss("multiclass"),
        HausdorffDistanceLoss("multiclass", map_key="own", predicted_distance=False),
        DiceLoss("multiclass", region_groups="components"),
        SegLoss(n_classes=2, activation="softmax", from_logits=True, terms=Boundary()),
        BoundaryLoss("multilabel"),
    ],
    ids=lambda loss: str(loss).replace("\n", " ")[:50],
)
def test_a_term_of_maps_gets_a_map_of_each_class(loss) -> None:
    """With one map for all classes, the loss of exclusive classes would not change."""
    pytest.importorskip("skimage")
    (_, moved), _, _ = curves(plot_landscape(loss))
    assert moved[-1] > moved[0] + 0.1


def test_the_boundary_loss_of_classes_by_the_book() -> None:
    pytest.importorskip("skimage")
    loss = CompoundLoss(Boundary(region_classes=[1, 2]), mode="multiclass")
    (shifts, moved), _, _ = curves(plot_landscape(loss))
    row, column = CENTRE
    y, x = np.mgrid[:SIDE, :SIDE]
    inside = np.hypot(y - row, x - column) < RADIUS
    below = np.arctan2(y - row, x - column) > 0  # (the sectors' sides are at -pi and 0)
    labels = np.where(inside, np.where(below, 2, 1), 0)
    maps = SignedDistanceMap(3)(mask=labels)["gt_distance_map"]
    for i in (0, 10, 40):
        distance = np.hypot(y - row, x - column - shifts[i])
        angle = np.arctan2(y - row, x - column - shifts[i])
        from_side = np.minimum(np.abs(angle), np.pi - np.abs(angle)) * np.sign(angle) * distance
        sectors = [np.minimum(RADIUS - distance, side) for side in (-from_side, from_side)]
        logits = np.clip(np.stack([distance - RADIUS, *sectors]), -8, 8) / 2
        p = np.exp(logits) / np.exp(logits).sum(0)
        expected = np.mean([(p[k] * maps[k]).mean() for k in (1, 2)])
        assert moved[i] == pytest.approx(expected, rel=1e-3)


def test_a_map_that_no_transform_here_makes_is_named() -> None:
    class Own(RegionTerm):
        name = "own"
        sums = (MapSum("heat"),)

        def cell_loss(self, confusion):
            return confusion[MapSum("heat").hit] / confusion.pixel_weight

    with pytest.raises(ValueError, match="needs maps that can't be made here: heat"):
        plot_landscape(CompoundLoss(Own()))


def test_the_field_of_a_disc_is_aligned_with_it_until_it_is_moved() -> None:
    align = MultiLoss([CrossfieldAlignLoss()], [1.0], pre_processes=[compute_gt_field])
    contour = MultiLoss([SegCrossfieldLoss()], [1.0], pre_processes=[ComputeSegGrads()])
    assert loss_of_disc(align)(Setting()) == pytest.approx(0, abs=1e-9)
    assert loss_of_disc(align)(Setting(shift=10)) > 0.01
    assert loss_of_disc(contour)(Setting()) < 1e-3


def test_the_loss_and_the_number_of_threads_are_left_as_they_were() -> None:
    loss = build_loss("loss: {_target_: segloss.SegLoss}")
    loss.train()
    threads = torch.get_num_threads()
    plot_landscape(loss)
    assert loss.training
    assert loss.norm.item() == 1
    assert torch.get_num_threads() == threads


def test_the_title_is_the_losss_name_or_the_one_given() -> None:
    loss = SegLoss(name="buildings")
    assert plot_landscape(loss).get_suptitle() == "buildings"
    assert plot_landscape(loss, title="Mine").get_suptitle() == "Mine"
    assert plot_landscape(nn.BCEWithLogitsLoss()).get_suptitle() == "BCEWithLogitsLoss"


@pytest.mark.parametrize("loss", [DiceLoss, "dice"])
def test_what_is_no_loss_is_refused(loss) -> None:
    with pytest.raises(TypeError, match="must be a module or a function"):
        plot_landscape(loss)


def test_a_loss_of_something_else_is_refused_with_its_own_message() -> None:
    with pytest.raises(ValueError, match="TripletMarginLoss takes no prediction of a disc"):
        plot_landscape(nn.TripletMarginLoss())
