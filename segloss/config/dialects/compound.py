"""The dialects of a compound block: entries with `weight` inline, or beside `loss`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from segloss.config.read import COMPOUND_KEYS
from segloss.config.specs import CompoundSpec, LossSpec, check_block
from segloss.foundation.arguments import (
    check_keys,
    is_list,
    shown,
)


def compound_spec(block: Mapping[str, Any], path: str) -> CompoundSpec:
    """Reads a compound block."""
    check_keys(path, block, COMPOUND_KEYS)
    options = {
        "normalize_losses": block.get("normalize_losses", True),
        "normalization_params": block.get("normalization_params"),
        "check_finite": block.get("check_finite", False),
    }
    specs, thresholds = _specs(block, path), block.get("epoch_thresholds")
    return CompoundSpec(path, specs, thresholds, block.get("pre_processes"), options)


def _specs(block: Mapping[str, Any], path: str) -> list[LossSpec]:
    """Returns the losses of a compound block, in either dialect."""
    dialects = [key for key in ("loss_list", "losses") if key in block]
    if len(dialects) != 1:
        raise ValueError(
            f"{path} must have one of loss_list (entries with _target_ and weight) and losses "
            f"(entries with loss and weight), got {' and '.join(dialects) or 'neither'}."
        )
    [key] = dialects
    entries, path = block[key], f"{path}.{key}"
    if not is_list(entries) or not entries:
        raise ValueError(f"{path} must be a list of at least one loss, got {shown(entries)}.")
    read = _inline_spec if key == "loss_list" else _nested_spec
    return [read(entry, f"{path}[{i}]") for i, entry in enumerate(entries)]


def _inline_spec(entry: Any, path: str) -> LossSpec:
    """Returns the spec of `{_target_: ..., weight: ..., further arguments}`."""
    block = dict(check_block(entry, path))
    return LossSpec(block.pop("weight", 1.0), f"{path}.weight", block, path)


def _nested_spec(entry: Any, path: str) -> LossSpec:
    """Returns the spec of `{loss: {_target_: ..., arguments}, weight: ...}`."""
    check_keys(path, check_block(entry, path), ("loss", "weight"))
    block = check_block(entry.get("loss"), f"{path}.loss")
    return LossSpec(entry.get("weight", 1.0), f"{path}.weight", block, f"{path}.loss")
