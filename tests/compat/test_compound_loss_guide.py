"""The guide to compound losses that segloss must satisfy: its code blocks, tables and sentences.

The guide documents another package; only the imports are changed here. Every number is compared
with the textbook in float64.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn as nn
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import Tensor

from segloss import (
    LossWrapper,
    MultiLoss,
    SegLoss,
    build_compound_loss_from_config,
    build_loss,
    build_loss_from_config,
)
from tests.frame_field.frame_fields import alignment, tangent
from tests.support import naive

N, H, W = 3, 8, 6

YAML = """
loss_params:
  compound_loss:
    normalize_losses: true
    normalization_params:
      max_samples: 1000
    loss_list:
      - _target_: pytorch_segmentation_models_trainer.custom_losses.base_loss.SegLoss
        name: seg
        gt_channel_selector: 0
        bce_coef: 0.5
        dice_coef: 0.5
        weight: 1.0
      - _target_: pytorch_segmentation_models_trainer.custom_losses.base_loss.CrossfieldAlignLoss
        name: crossfield_align
        weight:
          - 0.0
          - 0.0
          - 1.0
          - 1.0
    epoch_thresholds: [0, 5, 10, 50]
"""


@pytest.fixture
def probabilities() -> Tensor:
    return torch.rand(N, 2, H, W, dtype=torch.float64) * 0.98 + 0.01


@pytest.fixture
def polygons() -> Tensor:
    """Interior, edge and vertex masks."""
    return torch.randint(0, 2, (N, 3, H, W)).double()


def seg_value(p: Tensor, g: Tensor, bce: float = 0.5, dice: float = 0.5, focal: float = 0.0):
    table = naive.cells(p, g)
    value = bce * naive.binary_cross_entropy(p, g) + dice * naive.region_mean(table, naive.dice)
    return value + (focal * naive.region_mean(table, naive.focal_tversky) if focal else 0.0)


def batches(p: Tensor, g: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    return {"seg": p}, {"gt_polygons_image": g}


# How MultiLoss combines losses


def test_multi_loss_returns_total_losses_and_extra_information(probabilities, polygons) -> None:
    pred_batch, gt_batch = batches(probabilities, polygons)
    current_epoch = 3
    multi_loss = MultiLoss(
        [SegLoss("seg", slice(0, 2)), SegLoss("tversky", slice(0, 2), 2, 0, 0, 1.0)], [1.0, 2.0]
    )
    total_loss, individual_losses, extra_info = multi_loss(
        pred_batch, gt_batch, normalize=True, epoch=current_epoch
    )
    g = polygons[:, :2]
    expected = {"seg": seg_value(probabilities, g), "tversky": seg_value(probabilities, g, 0, 0, 1)}
    assert {k: v.item() for k, v in individual_losses.items()} == pytest.approx(expected, rel=1e-9)
    assert total_loss.item() == pytest.approx(expected["seg"] + 2 * expected["tversky"], rel=1e-9)
    assert not individual_losses["seg"].requires_grad
    assert set(extra_info) == {"seg", "tversky"}


# The three dispatch paths


def paths(**present: dict) -> dict:
    loss = {"_target_": "segloss.SegLoss", "name": "seg", "gt_channel_selector": 0}
    blocks = {
        "compound_loss": {"loss_list": [{**loss, "name": "compound"}]},
        "multi_loss": {"losses": [{"loss": {**loss, "name": "multi"}}]},
    }
    params = {key: block for key, block in blocks.items() if key in present}
    return {"loss_params": params, **({"loss": loss} if "loss" in present else {})}


@pytest.mark.parametrize("build", [build_loss, build_loss_from_config])
def test_the_first_path_that_is_there_decides(build) -> None:
    everything = build(OmegaConf.create(paths(compound_loss={}, multi_loss={}, loss={})))
    assert [loss.name for loss in everything.loss_funcs] == ["compound"]
    legacy = build(OmegaConf.create(paths(multi_loss={}, loss={})))
    assert [loss.name for loss in legacy.loss_funcs] == ["multi"]
    assert isinstance(build(OmegaConf.create(paths(loss={}))), SegLoss)


def test_the_simple_path_is_what_hydra_instantiates(probabilities, polygons) -> None:
    cfg = OmegaConf.create(paths(loss={}))
    data = batches(probabilities[:, :1], polygons)
    by_hydra = instantiate(cfg.loss, _recursive_=False)
    assert by_hydra(*data)[0].item() == build_loss(cfg)(*data)[0].item()


def test_no_path_is_an_error_that_names_the_three() -> None:
    with pytest.raises(ValueError, match=r"loss_params\.multi_loss, loss, losses and _target_"):
        build_loss({"model": {}, "loss_params": {}})


# The LossWrapper class


def test_a_wrapped_loss_returns_value_and_extra_information() -> None:
    logits = torch.randn(N, 4, H, W, dtype=torch.float64)
    labels = torch.randint(0, 4, (N, H, W))
    pred_batch, gt_batch = batches(logits, labels)
    wrapped = LossWrapper(name="ce", loss_func=nn.CrossEntropyLoss())
    loss_val, extra = wrapped(pred_batch, gt_batch)
    g = naive.tensor(naive.one_hot(labels.numpy(), 4))
    expected = naive.cross_entropy(logits.softmax(1), g)
    assert loss_val.item() == pytest.approx(expected, rel=1e-9)
    assert extra == {}


def test_wrapped_and_own_losses_mix_in_one_multi_loss(probabilities, polygons) -> None:
    wrapped = LossWrapper(nn.BCELoss(), "bce", gt_channel_selector=slice(0, 2))
    multi_loss = MultiLoss([SegLoss("seg", slice(0, 2)), wrapped], [1.0, 1.0])
    total, _, _ = multi_loss(*batches(probabilities, polygons))
    g = polygons[:, :2]
    expected = seg_value(probabilities, g) + naive.binary_cross_entropy(probabilities, g)
    assert total.item() == pytest.approx(expected, rel=1e-9)


# SegLoss and its table of parameters


def test_the_documented_seg_loss(probabilities, polygons) -> None:
    seg_loss = SegLoss(
        name="seg",
        gt_channel_selector=slice(0, 2),
        n_classes=2,
        bce_coef=0.5,
        dice_coef=0.5,
        tversky_focal_coef=0.0,
        use_mixed_precision=False,
    )
    value, _ = seg_loss(*batches(probabilities, polygons))
    assert value.item() == pytest.approx(seg_value(probabilities, polygons[:, :2]), rel=1e-9)


def test_gt_channel_selector_may_be_an_int(probabilities, polygons) -> None:
    value, _ = SegLoss("seg", 1)(*batches(probabilities[:, :1], polygons))
    expected = seg_value(probabilities[:, :1], polygons[:, 1:2])
    assert value.item() == pytest.approx(expected, rel=1e-9)


def test_n_classes_above_two_is_cross_entropy() -> None:
    logits = torch.randn(N, 5, H, W, dtype=torch.float64)
    labels = torch.randint(0, 5, (N, 1, H, W))
    value, _ = SegLoss("seg", 0, n_classes=5)(*batches(logits, labels))
    p, g = logits.softmax(1), naive.tensor(naive.one_hot(labels[:, 0].numpy(), 5))
    dice = naive.region_mean(naive.cells(p, g), naive.dice)
    assert value.item() == pytest.approx(0.5 * naive.cross_entropy(p, g) + 0.5 * dice, rel=1e-9)


@pytest.mark.parametrize("coefs", [(0.3, 0.0, 0.0), (0.0, 2.0, 0.0), (0.0, 0.0, 0.7), (1, 2, 3)])
def test_coefficients_weight_the_three_terms(coefs, probabilities, polygons) -> None:
    bce, dice, focal = coefs
    loss = SegLoss("seg", slice(0, 2), bce_coef=bce, dice_coef=dice, tversky_focal_coef=focal)
    value, _ = loss(*batches(probabilities, polygons))
    expected = seg_value(probabilities, polygons[:, :2], bce, dice, focal)
    assert value.item() == pytest.approx(expected, rel=1e-9)


def test_use_mixed_precision_takes_logits_stably(polygons) -> None:
    logits = torch.randn(N, 2, H, W, dtype=torch.float64)
    loss = SegLoss("seg", slice(0, 2), use_mixed_precision=True)
    value, _ = loss(*batches(logits, polygons))
    assert value.item() == pytest.approx(seg_value(logits.sigmoid(), polygons[:, :2]), rel=1e-9)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half, _ = loss(*batches(logits.bfloat16() * 1000, polygons))
    assert half.isfinite()


def test_use_mixup_and_mixup_alpha(polygons) -> None:
    loss = SegLoss("seg", slice(0, 2), use_mixup=True, mixup_alpha=0.4)
    assert loss.mixup.alpha == 0.4
    images = torch.rand(N, 2, H, W, dtype=torch.float64)
    images, gt_batch = loss.mixup(images, {"gt_polygons_image": polygons})
    p = images * 0.98 + 0.01
    value, _ = loss({"seg": p}, gt_batch)
    lam = gt_batch["mixup_lam"].double().item()
    value_a = seg_value(p, gt_batch["mixup_y_a"][:, :2])
    value_b = seg_value(p, gt_batch["mixup_y_b"][:, :2])
    assert value.item() == pytest.approx(lam * value_a + (1 - lam) * value_b, rel=1e-9)


def test_use_label_smooth_and_smooth_factor(probabilities, polygons) -> None:
    loss = SegLoss("seg", slice(0, 2), dice_coef=0, use_label_smooth=True, smooth_factor=0.1)
    value, _ = loss(*batches(probabilities, polygons))
    expected = naive.binary_cross_entropy(probabilities, polygons[:, :2], smoothing=0.1)
    assert value.item() == pytest.approx(0.5 * expected, rel=1e-9)


def test_pixel_weights_from_the_batch(probabilities, polygons) -> None:
    weights = torch.rand(N, 1, H, W, dtype=torch.float64)
    pred_batch, gt_batch = batches(probabilities, polygons)
    value, _ = SegLoss("seg", slice(0, 2))(pred_batch, {**gt_batch, "seg_loss_weights": weights})
    g = polygons[:, :2]
    dice = naive.region_mean(naive.cells(probabilities, g, weights), naive.dice)
    expected = 0.5 * naive.binary_cross_entropy(probabilities, g, weights) + 0.5 * dice
    assert value.item() == pytest.approx(expected, rel=1e-9)


# Weight scheduling


@pytest.mark.parametrize("epoch", [0, 7, 10, 12.5, 15, 20, 33, 50, 80])
def test_a_scheduled_weight_ramps_up(epoch: float, probabilities, polygons) -> None:
    loss_a, loss_b = SegLoss("a", slice(0, 2)), SegLoss("b", slice(0, 2), dice_coef=0)
    multi_loss = MultiLoss(
        loss_funcs=[loss_a, loss_b],
        weights=[
            1.0,
            [0.0, 0.0, 1.0, 1.0],
        ],
        epoch_thresholds=[0, 10, 20, 50],
    )
    total_loss, _, _ = multi_loss(*batches(probabilities, polygons), epoch=epoch)
    weight = np.interp(epoch, [0, 10, 20, 50], [0.0, 0.0, 1.0, 1.0])
    g = polygons[:, :2]
    expected = seg_value(probabilities, g) + weight * seg_value(probabilities, g, dice=0)
    assert total_loss.item() == pytest.approx(expected, rel=1e-9)


# The YAML configuration


def test_the_documented_yaml_runs_unchanged(probabilities, polygons) -> None:
    p, g = probabilities[:, :1], polygons[:, :1]
    pred_batch = {"seg": p, "crossfield": torch.rand(N, 4, H, W, dtype=torch.float64)}
    gt_batch = {
        "gt_polygons_image": polygons,
        "gt_crossfield_angle": torch.rand(N, 1, H, W, dtype=torch.float64),
    }
    error = alignment(tangent(gt_batch), pred_batch["crossfield"].numpy())
    align = float(np.mean(error * polygons[:, 1].numpy()))
    from_file = build_loss(YAML)
    from_block = build_compound_loss_from_config(OmegaConf.create(YAML).loss_params.compound_loss)
    for multi_loss in (from_file, from_block):
        assert multi_loss.normalize_losses
        assert multi_loss.normalization_params == {"max_samples": 1000}
        for epoch, weight in [(0, 0), (7.5, 0.5), (30, 1)]:
            total, _, _ = multi_loss(pred_batch, gt_batch, epoch=epoch)
            assert total.item() == pytest.approx(seg_value(p, g) + weight * align, rel=1e-9)


# Distributed normalization


def test_norms_are_computed_as_documented(polygons) -> None:
    multi_loss = MultiLoss(
        [SegLoss("seg", slice(0, 2)), SegLoss("dice", slice(0, 2), 2, 0)], [1, 1]
    )
    model = nn.Sequential(nn.Conv2d(3, 2, 1), nn.Sigmoid()).double()
    dataloader = [
        {
            "image": torch.rand(size, 3, H, W, dtype=torch.float64),
            "gt_polygons_image": polygons[:size],
        }
        for size in (3, 3, 1)
    ]

    multi_loss.reset_norm()
    for batch in dataloader:
        pred = model(batch["image"])
        multi_loss.update_norm(pred, batch, batch["image"].shape[0])
    multi_loss.sync(world_size=1)

    raw = {"seg": 0.0, "dice": 0.0}
    for batch in dataloader:
        p, g = model(batch["image"]), batch["gt_polygons_image"][:, :2]
        raw["seg"] += len(p) * seg_value(p, g) / 7
        raw["dice"] += len(p) * seg_value(p, g, bce=0) / 7
    norms = {loss.name: loss.norm.item() for loss in multi_loss.loss_funcs}
    assert norms == pytest.approx(raw, rel=1e-9)

    p, g = model(dataloader[0]["image"]), polygons[:, :2]
    _, losses, _ = multi_loss({"seg": p}, dataloader[0])
    assert losses["seg"].item() == pytest.approx(seg_value(p, g) / raw["seg"], rel=1e-9)
    multi_loss.reset_norm()
    assert [loss.norm.item() for loss in multi_loss.loss_funcs] == [1, 1]
