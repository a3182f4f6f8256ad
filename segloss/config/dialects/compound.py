"""The compound dialect: a block with a list of losses, and options of `MultiLoss` beside it.

Entries of `loss_list` have `weight` among the loss's arguments; entries of `losses` have it beside
the block `loss`. See `docs/configuration.md`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from segloss.config.specs import CompoundSpec, LossSpec, check_block, check_entry
from segloss.foundation.arguments import check_keys, is_list, shown

COMPOUND_KEYS = (
    "loss_list",
    "losses",
    "epoch_thresholds",
    "pre_processes",
    "normalize_losses",
    "normalization_params",
    "check_finite",
)
"""The keys of a compound block."""


def compound_spec(block: Mapping[str, Any], path: str) -> CompoundSpec:
    """Reads a compound block.

    Raises:
        TypeError, ValueError: The block has an unknown key, or not exactly one list of losses.
    """
    check_keys(path, block, COMPOUND_KEYS)
    options = {
        "normalize_losses": block.get("normalize_losses", True),
        "normalization_params": block.get("normalization_params"),
        "check_finite": block.get("check_finite", False),
    }
    specs, thresholds = _loss_specs(block, path), block.get("epoch_thresholds")
    return CompoundSpec(path, specs, thresholds, block.get("pre_processes"), options)


def _loss_specs(block: Mapping[str, Any], path: str) -> list[LossSpec]:
    """Returns the specs of the losses, from either list."""
    lists = [key for key in ("loss_list", "losses") if key in block]
    if len(lists) != 1:
        raise ValueError(
            f"{path} must have one of loss_list (entries with _target_ and weight) and losses "
            f"(entries with loss and weight), got {' and '.join(lists) or 'neither'}."
        )
    [key] = lists
    entries, path = block[key], f"{path}.{key}"
    if not is_list(entries) or not entries:
        remedy = ": begin each entry with a dash" if isinstance(entries, Mapping) else ""
        raise ValueError(
            f"{path} must be a list of at least one loss, got {shown(entries)}{remedy}."
        )
    read_entry = _inline_spec if key == "loss_list" else _nested_spec
    return [read_entry(entry, f"{path}[{i}]") for i, entry in enumerate(entries)]


def _inline_spec(entry: Any, path: str) -> LossSpec:
    """Returns the spec of `{_target_: ..., weight: ..., other arguments}`."""
    block = dict(check_entry(entry, path, "_target_"))
    return LossSpec(block.pop("weight", 1.0), f"{path}.weight", block, path)


def _nested_spec(entry: Any, path: str) -> LossSpec:
    """Returns the spec of `{loss: {_target_: ..., arguments}, weight: ...}`."""
    check_keys(path, check_entry(entry, path, "loss"), ("loss", "weight"))
    block = check_block(entry.get("loss"), f"{path}.loss")
    return LossSpec(entry.get("weight", 1.0), f"{path}.weight", block, f"{path}.loss")
