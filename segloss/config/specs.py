"""Specs of losses: the common form into which every dialect is read before anything is built.

Specs are checked only as far as reading needs; `build` checks weights, targets and arguments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from segloss.foundation.arguments import shown

LISTS = {
    "_target_": "loss_params.compound_loss.loss_list",
    "loss": "loss_params.compound_loss.losses",
    "type": "losses",
}
"""The lists of losses, by the key that every entry of the list has."""


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


def check_entry(entry: Any, path: str, key: str) -> Mapping[str, Any]:
    """Returns an entry of the list whose entries have `key`.

    Raises:
        TypeError: The entry is not a mapping.
        ValueError: It is an entry of another list; the message names the list.
    """
    block = check_block(entry, path)
    others = [other for other in LISTS if other in block and key not in block]
    if others:
        raise ValueError(
            f"{path} must have the key {key}, got an entry with {others[0]}: move it to the list "
            f"{LISTS[others[0]]}, whose entries have that key."
        )
    return block
