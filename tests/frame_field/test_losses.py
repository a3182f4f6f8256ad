"""The frame-field losses are the textbook's, and say what is wrong with a batch."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from segloss import (
    ComputeSegGrads,
    CrossfieldAlign90Loss,
    CrossfieldAlignLoss,
    CrossfieldSmoothLoss,
    Loss,
    MixUp,
    MultiLoss,
    SegCrossfieldLoss,
    SegEdgeInteriorLoss,
    compute_gt_field,
)
from tests.frame_field.frame_fields import alignment, batches, laplacian, seg_gradient, tangent


def losses() -> list[Loss]:
    return [
        CrossfieldAlignLoss("align"),
        CrossfieldAlign90Loss("align90"),
        CrossfieldSmoothLoss("smooth"),
        SegCrossfieldLoss("seg_crossfield", pred_channel=1),
        SegEdgeInteriorLoss("edge_interior"),
    ]


def expected(name: str, pred: dict[str, Tensor], gt: dict[str, Tensor]) -> float:
    crossfield, seg = pred["crossfield"].numpy(), pred["seg"].numpy()
    _, edge, vertex = gt["gt_polygons_image"].numpy().transpose(1, 0, 2, 3)
    gradient = seg_gradient(seg)
    if name == "align":
        return float(np.mean(alignment(tangent(gt), crossfield) * edge))
    if name == "align90":
        walls = np.clip(edge - vertex, 0, 1)
        return float(np.mean(alignment(1j * tangent(gt), crossfield) * walls))
    if name == "smooth":
        roughness = np.array([[laplacian(c) for c in sample] for sample in crossfield])
        return float(np.mean(np.abs(roughness) * (1 - edge)[:, None]))
    if name == "seg_crossfield":
        norm = np.abs(gradient[:, 1])
        return float(np.mean(alignment(gradient[:, 1] / (norm + 1e-6), crossfield) * norm))
    interior, norm = seg[:, 0], np.abs(gradient[:, 0])
    counts = np.maximum((np.cos(np.pi * interior) + 1) / 2, (1 - np.cos(np.pi * norm)) / 2)
    return float(np.mean(np.abs(seg[:, 1] - norm) * counts))


def evaluate(loss: Loss, pred: dict[str, Tensor], gt: dict[str, Tensor]) -> Tensor:
    return loss(*ComputeSegGrads()(pred, gt))[0]


@pytest.mark.parametrize("loss", losses(), ids=lambda loss: loss.name)
def test_a_loss_is_the_textbooks(loss: Loss) -> None:
    pred, gt = batches()
    assert evaluate(loss, pred, gt).item() == pytest.approx(expected(loss.name, pred, gt), rel=1e-9)


@pytest.mark.parametrize("loss", losses(), ids=lambda loss: loss.name)
def test_gradients_are_those_of_numerical_differences(loss: Loss) -> None:
    pred, gt = batches(1, 4, 3)
    inputs = [value.requires_grad_() for value in pred.values()]

    def value(*tensors: Tensor) -> Tensor:
        return evaluate(loss, dict(zip(pred, tensors, strict=True)), gt)

    assert torch.autograd.gradcheck(value, inputs)


@pytest.mark.parametrize("loss", losses(), ids=lambda loss: loss.name)
def test_flat_masks_and_fields_have_finite_gradients(loss: Loss) -> None:
    pred, gt = batches(dtype=torch.float32)
    pred = {key: torch.zeros_like(value).requires_grad_() for key, value in pred.items()}
    evaluate(loss, pred, gt).backward()
    assert all(value.grad is None or value.grad.isfinite().all() for value in pred.values())


@pytest.mark.parametrize("loss", losses(), ids=lambda loss: loss.name)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(loss: Loss, dtype: torch.dtype) -> None:
    pred, gt = batches()
    pred = {key: value.to(dtype) for key, value in pred.items()}
    with torch.autocast("cpu", torch.bfloat16):
        value = evaluate(loss, pred, gt)
    rounded = {key: tensor.double() for key, tensor in pred.items()}
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(expected(loss.name, rounded, gt), rel=1e-5)


@pytest.mark.parametrize("loss", losses(), ids=lambda loss: loss.name)
def test_a_loss_compiles_whole_and_can_be_copied_and_pickled(loss: Loss) -> None:
    pred, gt = batches()
    value = evaluate(loss, pred, gt)
    torch._dynamo.reset()
    compiled = torch.compile(lambda p, g: evaluate(loss, p, g), backend="eager", fullgraph=True)
    for result in (
        compiled(pred, gt),
        evaluate(copy.deepcopy(loss), pred, gt),
        evaluate(pickle.loads(pickle.dumps(loss)), pred, gt),
    ):
        torch.testing.assert_close(result, value)


def test_a_field_along_the_walls_and_across_them_is_perfect() -> None:
    _, gt = batches()
    z = torch.tensor(tangent(gt))
    u, v = z**2, (1j * z) ** 2
    parts = [(u * v).real, (u * v).imag, -(u + v).real, -(u + v).imag]
    pred = {"crossfield": torch.stack(parts, 1)}
    for loss in (CrossfieldAlignLoss("a"), CrossfieldAlign90Loss("b")):
        assert loss(pred, gt)[0] < 1e-28


def test_the_directions_may_be_there_or_come_from_the_angle() -> None:
    pred, gt = batches()
    value, _ = CrossfieldAlignLoss("align")(pred, gt)
    _, with_field = compute_gt_field(pred, gt)
    del with_field["gt_crossfield_angle"]
    torch.testing.assert_close(CrossfieldAlignLoss("align")(pred, with_field)[0], value)


def test_mixup_blends_with_the_partners_walls() -> None:
    pred, gt = batches()
    _, mixed = MixUp(0.5)(torch.rand(2, 3, 5, 4), gt)
    lam, order = mixed["mixup_lam"], mixed["mixup_index"]
    partner = {key: value[order] for key, value in gt.items()}
    loss = CrossfieldAlignLoss("align", use_mixup=True)
    expected_value = lam * loss(pred, gt)[0] + (1 - lam) * loss(pred, partner)[0]
    torch.testing.assert_close(loss(pred, mixed)[0], expected_value)


def test_keys_can_be_renamed() -> None:
    pred, gt = batches()
    loss = CrossfieldAlignLoss("a", crossfield_key="field", gt_key="masks", angle_key="angle")
    renamed = {"masks": gt["gt_polygons_image"], "angle": gt["gt_crossfield_angle"]}
    value, _ = loss({"field": pred["crossfield"]}, renamed)
    torch.testing.assert_close(value, CrossfieldAlignLoss("a")(pred, gt)[0])


def without(batch: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in batch.items() if key not in keys}


P, G = ComputeSegGrads()(*batches())
MASKS = G["gt_polygons_image"]


@pytest.mark.parametrize(
    ("loss", "pred", "gt", "words"),
    [
        (CrossfieldAlignLoss("a"), without(P, "crossfield"), G, ["pred_batch", "'crossfield'"]),
        (CrossfieldAlignLoss("a"), {"crossfield": P["seg"]}, G, ["(N, 4, H, W)", "(2, 2, 5, 4)"]),
        (CrossfieldAlignLoss("a"), {"crossfield": P["crossfield"][0]}, G, ["(4, 5, 4)"]),
        (CrossfieldAlignLoss("a"), P, without(G, "gt_crossfield_angle"), ["gt_field", "angle"]),
        (CrossfieldAlignLoss("a"), P, without(G, "gt_polygons_image"), ["'gt_polygons_image'"]),
        (
            CrossfieldAlignLoss("a"),
            P,
            {**G, "gt_polygons_image": MASKS[:, :1]},
            ["at least 2", "(2, 1, 5, 4)"],
        ),
        (
            CrossfieldAlign90Loss("a"),
            P,
            {**G, "gt_polygons_image": MASKS[:, :2]},
            ["at least 3", "(2, 2, 5, 4)"],
        ),
        (
            CrossfieldAlignLoss("a"),
            P,
            {**G, "gt_polygons_image": MASKS[..., :3]},
            ["N, H, W = (2, 5, 4)", "(2, 3, 5, 3)"],
        ),
        (CrossfieldSmoothLoss("a"), P, {"gt_polygons_image": 255 * MASKS}, ["in [0, 1]", "got"]),
        (
            CrossfieldSmoothLoss("a"),
            P,
            {"gt_polygons_image": MASKS.clone().requires_grad_()},
            ["must not require grad", "detach"],
        ),
        (SegCrossfieldLoss("a"), without(P, "seg_grads_normed"), G, ["ComputeSegGrads"]),
        (SegCrossfieldLoss("a", 2), P, G, ["pred_channel=2", "0 to 1"]),
        (SegEdgeInteriorLoss("a"), without(P, "seg_grad_norm"), G, ["ComputeSegGrads"]),
        (SegEdgeInteriorLoss("a"), {**P, "seg": 9 * P["seg"]}, G, ["probabilities", "sigmoid"]),
        (SegEdgeInteriorLoss("a"), {**P, "seg": P["seg"][:, :1]}, G, ["at least 2"]),
        (
            SegEdgeInteriorLoss("a"),
            {**P, "seg": P["seg"][..., :2]},
            G,
            ["seg_grad_norm", "(2, 5, 2)", "(2, 5, 4)"],
        ),
    ],
)
def test_a_wrong_batch_is_told_what_is_wrong(loss, pred, gt, words) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)) as caught:
        loss(pred, gt)
    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize(
    "angle",
    [
        torch.linspace(-2 * torch.pi, 2 * torch.pi, 40),
        torch.linspace(0, 3, 40).masked_fill(torch.arange(40) % 2 == 0, 255),
        torch.linspace(0, 3, 40).masked_fill(torch.arange(40) % 2 == 0, -100),
        torch.full((40,), 90.0),
    ],
    ids=["radians", "a marker of 255", "a marker of -100", "one angle"],
)
def test_angles_in_radians_and_markers_are_taken(angle: torch.Tensor) -> None:
    gt = {**G, "gt_crossfield_angle": angle.reshape(2, 1, 5, 4)}
    assert CrossfieldAlignLoss("a")(P, gt)[0].isfinite()


def test_wrong_arguments_are_refused_when_a_loss_is_made() -> None:
    with pytest.raises(ValueError, match="pred_channel must be"):
        SegCrossfieldLoss("a", pred_channel=-1)
    with pytest.raises(TypeError, match="crossfield_key"):
        CrossfieldAlignLoss("a", crossfield_key=3)
    with pytest.raises(TypeError, match="name"):
        CrossfieldAlignLoss(name=None)


def test_all_losses_make_a_multi_loss_with_norms() -> None:
    pred, gt = batches()
    multi = MultiLoss(losses(), [1.0] * 5, pre_processes=[compute_gt_field, ComputeSegGrads()])
    multi.update_norm(pred, gt, nums=2)
    total, _, _ = multi(pred, gt)
    assert total.item() == pytest.approx(5.0)
    assert set(pred) == {"crossfield", "seg"}
