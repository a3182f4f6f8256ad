"""Configs of the program that its documentation shows, and that version 1.0.1 refuses."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from segloss.compat.segmentation_models_trainer.losses import MultiLoss
from segloss.config import build_loss


def build_combined_loss(cfg: Any, pre_processes: Any = None) -> MultiLoss:
    """Builds the loss of the older configs, `multi_loss` with switches and `coefs`.

    Args:
        cfg: The entire training config.
        pre_processes: Not used: the config says which pre-processes are needed.
    """
    built: Any = build_loss(cfg)
    return MultiLoss(
        list(built.loss_funcs),
        built.schedule.weights,
        built.schedule.thresholds,
        built.pre_processes,
        normalize_losses=built.normalize_losses,
        normalization_params=built.normalization_params,
    )


def with_loss_lists(build: Callable[..., Any]) -> Callable[..., Any]:
    """Returns the program's builder of `compound_loss`, which then takes `loss_list`, too.

    An entry of `loss_list` has its weight beside the arguments of the loss.
    """

    @functools.wraps(build)
    def build_compound_loss(compound_loss_cfg: Any, pre_processes: Any = None) -> Any:
        return build(_with_losses(compound_loss_cfg), pre_processes)

    return build_compound_loss


def _with_losses(cfg: Any) -> Any:
    """Returns a `compound_loss` block with the key `losses` in place of `loss_list`."""
    if not cfg or "losses" in cfg or "loss_list" not in cfg:
        return cfg
    from omegaconf import OmegaConf

    block: Any = OmegaConf.to_container(cfg, resolve=True)
    block["losses"] = [_nested(entry) for entry in block.pop("loss_list")]
    return OmegaConf.create(block)


def _nested(entry: Mapping[str, Any]) -> dict[str, Any]:
    loss = {key: value for key, value in entry.items() if key != "weight"}
    return {"loss": loss, "weight": entry.get("weight", 1.0)}
