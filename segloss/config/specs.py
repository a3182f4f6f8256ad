"""Specs of losses: every dialect of config is read into them before anything is built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from segloss.foundation.arguments import shown


@dataclass(frozen=True)
class LossSpec:
    """One loss of a config.

    Attributes:
        weight: Its weight in the sum, or one per epoch threshold.
        weight_path: Where the weight stands in the config.
        block: The mapping with `_target_` and the arguments.
        path: Where the block stands in the config.
    """

    weight: Any
    weight_path: str
    block: Mapping[str, Any]
    path: str


@dataclass(frozen=True)
class CompoundSpec:
    """A `MultiLoss` of a config.

    Attributes:
        path: Where it stands in the config.
        losses: Its losses.
        thresholds: The epochs of scheduled weights, or None.
        pre_processes: A list of mappings with `_target_`, or None.
        options: Further arguments of `MultiLoss`.
    """

    path: str
    losses: Sequence[LossSpec]
    thresholds: Any = None
    pre_processes: Any = None
    options: Mapping[str, Any] = field(default_factory=dict)


def check_block(value: Any, path: str) -> Mapping[str, Any]:
    """Returns a block of a config; raises TypeError if it is not a mapping."""
    if not isinstance(value, Mapping):
        raise TypeError(f"{path} must be a mapping with _target_, got {shown(value)}.")
    return value
