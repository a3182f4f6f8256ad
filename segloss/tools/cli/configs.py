"""The config of a command: its specs, and the losses built from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from segloss.config.build import build_spec
from segloss.config.find import read_loss
from segloss.config.specs import CompoundSpec, LossSpec
from segloss.losses.loss import Loss
from segloss.losses.multi_loss import MultiLoss

ConfigPath = Annotated[
    Path,
    typer.Argument(metavar="CONFIG", help="A YAML file with a loss, for build_loss."),
]

Allowed = Annotated[
    list[str] | None,
    typer.Option(
        "--allow",
        metavar="PREFIX",
        help="Also accept classes with this prefix, such as my_package. (with the dot); may be "
        "given several times. Their code runs.",
    ),
]


@dataclass(frozen=True)
class Component:
    """A loss of a config.

    Attributes:
        loss: The loss itself.
        block: Its mapping in the config, with `_target_`.
    """

    loss: Loss
    block: Mapping[str, Any]


@dataclass(frozen=True)
class Config:
    """A config and the losses built from it; a single loss counts as a sum of one.

    Attributes:
        title: The file's name.
        multi_loss: The sum of all losses.
        components: The single losses.
    """

    title: str
    multi_loss: MultiLoss
    components: Sequence[Component]

    @property
    def busiest_epoch(self) -> float:
        """The threshold epoch with the most weights above 0; the first of several."""
        schedule = self.multi_loss.schedule
        return max(
            schedule.thresholds or [0.0], key=lambda epoch: sum(w > 0 for w in schedule.at(epoch))
        )


def load_config(path: Path, allow: Sequence[str] | None) -> Config:
    """Reads a config and builds its losses.

    Raises:
        FileNotFoundError, ImportError, TypeError, ValueError: See `build_loss`.
    """
    allow = tuple(allow or ())
    spec = read_loss(path, allow)
    loss = build_spec(spec, allow)
    multi_loss = loss if isinstance(loss, MultiLoss) else MultiLoss([loss], [1.0])
    losses = [member for member in multi_loss.loss_funcs if isinstance(member, Loss)]
    components = [
        Component(member, block)
        for member, block in zip(losses, _blocks(spec, len(losses)), strict=True)
    ]
    return Config(path.name, multi_loss, components)


def _blocks(spec: CompoundSpec | LossSpec, count: int) -> Sequence[Mapping[str, Any]]:
    """Returns the specs of the config's losses."""
    if isinstance(spec, CompoundSpec):
        return [loss.block for loss in spec.losses]
    blocks = spec.block.get("loss_funcs", [spec.block])  # a MultiLoss under `loss:`
    return blocks if len(blocks) == count else [{}] * count
