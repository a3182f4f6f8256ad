"""Specs of losses: the common form into which every dialect is read before anything is built.

Specs are checked only as far as reading needs; `build` checks weights, targets and arguments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from segloss.foundation.arguments import shown


@dataclass(frozen=True)
class LossSpec:
    """One loss of a config.

    Attributes:
        weight: The weight in the sum, or one per epoch threshold.
        weight_path: The path of the weight in the config.
        block: The mapping with `_target_` and the arguments.
        path: The path of the block in the config.
    """

    weight: Any
    weight_path: str
    block: Mapping[str, Any]
    path: str


@dataclass(frozen=True)
class CompoundSpec:
    """A `MultiLoss` of a config.

    Attributes:
        path: The path in the config.
        losses: The specs of the losses.
        thresholds: The epochs of scheduled weights, or None.
        pre_processes: A list of mappings with `_target_`, or None.
        options: Other arguments of `MultiLoss`.
    """

    path: str
    losses: Sequence[LossSpec]
    thresholds: Any = None
    pre_processes: Any = None
    options: Mapping[str, Any] = field(default_factory=dict)


def check_block(value: Any, path: str) -> Mapping[str, Any]:
    """Returns `value` if it is a mapping; raises TypeError with its path otherwise."""
    if not isinstance(value, Mapping):
        raise TypeError(f"{path} must be a mapping with _target_, got {shown(value)}.")
    return value
