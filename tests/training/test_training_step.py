"""Whole training steps: under autocast, with a GradScaler, compiled."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import segloss
from segloss import ComputeSegGrads, MultiLoss, SegLoss
from segloss.compat import tutorial
from segloss.terms import TERMS
from tests.frame_field.frame_fields import batches
from tests.support.ranks import on_ranks

MAPS = ("boundary", "skeleton_recall")


def masks_and_maps() -> dict[str, Tensor]:
    torch.manual_seed(0)
    mask = torch.rand(2, 1, 16, 16).gt(0.6).float()
    return {"gt_polygons_image": mask, "gt_distance_map": 1 - 2 * mask, "gt_skeleton": mask}


LOSSES: dict[str, segloss.Loss] = {
    **{
        name: SegLoss(bce_coef=0, dice_coef=0, extra_terms={name: 1.0}, from_logits=True)
        for name in TERMS
    },
    "with all": SegLoss(tversky_focal_coef=0.5, from_logits=True),
    "deep": segloss.DeepSupervision(SegLoss(from_logits=True)),
    "lovasz": segloss.LossWrapper(segloss.LovaszLoss("binary")),
    "topk": segloss.LossWrapper(segloss.TopKCrossEntropyLoss("binary")),
    "dice_bce": segloss.LossWrapper(tutorial.DiceBCELoss()),
    "wrapped": segloss.LossWrapper(nn.BCEWithLogitsLoss()),
}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", LOSSES)
def test_under_autocast_a_loss_is_computed_in_float32(name: str, dtype: torch.dtype) -> None:
    loss, batch = LOSSES[name], masks_and_maps()
    logits = torch.randn(2, 1, 16, 16).to(dtype).requires_grad_()
    expected = loss({"seg": logits.detach().float()}, batch)[0]
    with torch.autocast("cpu", dtype=dtype):
        value = loss({"seg": logits}, batch)[0]
    value.backward()
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, expected, rtol=1e-6, atol=1e-7)
    assert logits.grad is not None
    assert logits.grad.dtype == dtype


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_frame_field_losses_under_autocast(dtype: torch.dtype) -> None:
    pred, gt = ComputeSegGrads()(*batches())
    for loss in (
        segloss.CrossfieldAlignLoss("align"),
        segloss.CrossfieldSmoothLoss("smooth"),
        segloss.SegCrossfieldLoss("seg_crossfield", pred_channel=1),
        segloss.SegEdgeInteriorLoss("edge_interior"),
    ):
        single = {key: value.float() for key, value in pred.items()}
        expected = loss(single, gt)[0]
        with torch.autocast("cpu", dtype=dtype):
            torch.testing.assert_close(loss(single, gt)[0], expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", LOSSES)
def test_no_step_is_skipped_because_of_the_loss(name: str) -> None:
    torch.manual_seed(0)
    model = nn.Conv2d(1, 1, 3, padding=1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=65536.0)
    batch = masks_and_maps()
    for _ in range(3):
        before = model.weight.detach().clone()
        logits = model(batch["gt_polygons_image"]).half()
        optimizer.zero_grad()
        scaler.scale(LOSSES[name]({"seg": logits}, batch)[0]).backward()
        scaler.step(optimizer)
        scaler.update()
        assert not torch.equal(model.weight, before)
        assert model.weight.isfinite().all()
    assert scaler.get_scale() == 65536.0


class Step(nn.Module):
    """A model and its losses, of which one has a scheduled weight."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.model = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 1))
        seg = SegLoss(n_classes=3, extra_terms={"focal": 0.5, "mcc": 0.1}, **options)
        self.loss = MultiLoss(
            [seg, nn.CrossEntropyLoss()], [1.0, [0.0, 1.0]], epoch_thresholds=[0, 10]
        )

    def forward(self, image: Tensor, target: Tensor) -> Tensor:
        return self.loss(self.model(image), target)[0]


def batch() -> tuple[Tensor, Tensor]:
    return torch.randn(2, 2, 8, 8), torch.randint(0, 3, (2, 8, 8))


def test_a_step_compiles_whole_and_once() -> None:
    step = Step()
    torch._dynamo.reset()
    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
    with torch._dynamo.config.patch(error_on_recompile=True):
        for epoch in (0.0, 2.5, 5, 10, 20):
            step.loss.set_epoch(epoch)
            image, target = batch()
            step.zero_grad()
            value = compiled(image, target)
            value.backward()
            gradient = step.model[0].weight.grad.clone()
            step.zero_grad()
            expected = step(image, target)
            expected.backward()
            torch.testing.assert_close(value, expected)
            torch.testing.assert_close(gradient, step.model[0].weight.grad)


def compiled_on(rank: int, ranks: int) -> list[Tensor]:
    torch.manual_seed(0)
    step = Step(sync_statistics=True)
    step.loss.set_epoch(0)
    image, target = batch()
    image, target = image[rank : rank + 1], target[rank : rank + 1]
    compiled = torch.compile(step, backend="aot_eager")  # its graph breaks at the collective
    values = []
    for run in (compiled, step):
        step.zero_grad()
        value = run(image, target)
        value.backward()
        values += [value.detach(), step.model[0].weight.grad.clone()]
    return values


def test_with_synchronisation_a_compiled_step_is_the_eager_one(tmp_path: Any) -> None:
    for values in on_ranks(2, tmp_path, compiled_on):
        torch.testing.assert_close(values[:2], values[2:])
