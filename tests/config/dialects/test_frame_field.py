"""The legacy dialect: switches ask for the frame-field losses, coefs weight them."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from omegaconf import OmegaConf

from segloss import build_loss, build_loss_from_config
from segloss.config.dialects.frame_field import LOSSES
from tests.frame_field.frame_fields import batches

CONFIG: dict[str, Any] = {
    "compute_seg": True,
    "compute_crossfield": True,
    "seg_params": {"compute_interior": True, "compute_edge": True, "compute_vertex": False},
    "loss_params": {
        "seg_loss_params": {
            "bce_coef": 1.0,
            "dice_coef": 0.2,
            "tversky_focal_coef": 0.1,
            "use_dist": True,
            "use_size": True,
            "w0": 30,
            "sigma": 5,
        },
        "multiloss": {
            "normalization_params": {"max_samples": 100},
            "coefs": {
                "epoch_thresholds": [0, 10],
                "seg": 10,
                "crossfield_align": 1,
                "crossfield_align90": 0.2,
                "crossfield_smooth": 0.005,
                "seg_interior_crossfield": [0, 0.2],
                "seg_edge_crossfield": [0, 0.2],
                "seg_edge_interior": [0, 0.2],
            },
        },
    },
    "batch_size": 8,
}


def changed(path: str, value: Any) -> Any:
    config = OmegaConf.create(copy.deepcopy(CONFIG))
    OmegaConf.update(config, path, value, merge=False, force_add=True)
    return config


def test_a_key_that_omegaconf_refuses_does_not_hide_the_switches() -> None:
    multi = build_loss({**copy.deepcopy(CONFIG), ("a", 1): 0})
    assert tuple(loss.name for loss in multi.loss_funcs) == LOSSES


@pytest.mark.parametrize("key", ["multiloss", "multi_loss"])
def test_the_switches_build_all_seven_losses_in_order(key: str) -> None:
    config = copy.deepcopy(CONFIG)
    config["loss_params"][key] = config["loss_params"].pop("multiloss")
    multi = build_loss_from_config(config)
    assert tuple(loss.name for loss in multi.loss_funcs) == LOSSES
    assert multi.normalization_params == {"max_samples": 100}
    seg = multi.loss_funcs[0]
    assert seg.mixture.coefficients == {"cross_entropy": 1.0, "dice": 0.2, "focal_tversky": 0.1}
    names = [getattr(p, "func", type(p)).__name__ for p in multi.pre_processes]
    assert names == ["SegLossWeights", "compute_gt_field", "ComputeSegGrads"]
    assert (multi.pre_processes[0].w0, multi.pre_processes[0].sigma) == (30, 5)


def test_the_sum_is_that_of_the_weighted_losses() -> None:
    multi = build_loss(CONFIG)
    pred, gt = batches()
    total, losses, _ = multi(pred, gt, normalize=False, epoch=5)
    weights = dict(zip(LOSSES, [10, 1, 0.2, 0.005, 0.1, 0.1, 0.1], strict=True))
    assert total.item() == pytest.approx(sum(weights[n] * losses[n].item() for n in LOSSES))


@pytest.mark.parametrize(
    ("switches", "left"),
    [
        ({"compute_crossfield": False}, ("seg", "seg_edge_interior")),
        ({"compute_seg": False}, LOSSES[1:4]),
        ({"seg_params.compute_edge": False}, (*LOSSES[:4], "seg_interior_crossfield")),
        ({"seg_params.compute_interior": False}, (*LOSSES[:4], "seg_edge_crossfield")),
    ],
)
def test_a_switch_that_is_off_leaves_its_losses_out(switches, left) -> None:
    [(path, value)] = switches.items()
    multi = build_loss(changed(path, value))
    assert tuple(loss.name for loss in multi.loss_funcs) == left
    pred, gt = batches()
    if "seg" in left and "seg_edge_interior" not in left:
        pred["seg"] = pred["seg"][:, :1]
    multi(pred, gt, epoch=0)


def test_masks_select_the_targets_channels_and_the_predictions() -> None:
    multi = build_loss(changed("seg_params.compute_interior", False))
    pred, gt = batches()
    _, losses, _ = multi({**pred, "seg": pred["seg"][:, :1]}, gt, epoch=0)
    other = {**gt, "gt_polygons_image": gt["gt_polygons_image"].clone()}
    other["gt_polygons_image"][:, 0] = 0  # the interior, which nothing looks at
    _, same, _ = multi({**pred, "seg": pred["seg"][:, :1]}, other, epoch=0)
    assert losses["seg_edge_crossfield"] == same["seg_edge_crossfield"]


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("loss_params.multiloss.coefs.seg", None, r"multiloss\.coefs\.seg is missing"),
        ("loss_params.multiloss.coefs.sge", 1, r"coefs\.sge is unknown.*did you mean 'seg'"),
        ("loss_params.multiloss.coefs.seg", "much", r"coefs\.seg"),
        ("loss_params.multiloss.coefs.epoch_thresholds", None, "needs epoch_thresholds"),
        ("loss_params.multiloss.coef", {}, r"multiloss\.coef is unknown"),
        ("compute_seg", "yes", "compute_seg must be"),
        ("seg_params", {"compute_vertex": False}, "at least one of compute_interior"),
        ("seg_params", 3, "seg_params must be a mapping"),
        ("loss_params.seg_loss_params.dice_cof", 1, r"seg_loss_params\.dice_cof is unknown"),
        ("loss_params.seg_loss_params.sigma", 0, "sigma must be"),
    ],
)
def test_a_wrong_config_is_told_what_is_wrong(path: str, value: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        build_loss(changed(path, value))


def test_a_config_that_asks_for_nothing_is_refused() -> None:
    config = changed("compute_seg", False)
    config.compute_crossfield = False
    with pytest.raises(ValueError, match="does not request a loss"):
        build_loss(config)
