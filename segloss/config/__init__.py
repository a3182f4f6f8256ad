"""Losses from configs: reads a config, turns its dialect into specs, and builds the losses.

`read` turns a config into plain values, `limits` bounds them, and `interpolations` resolves those
that `find` takes, by `paths`. `find` gives them to one of `dialects`, which returns `specs`.
`build` makes losses from these, with `instantiate`, `construction`, `registry` and `targets`.
"""

from segloss.config.build import (
    build_compound_loss_from_config,
    build_loss,
    build_loss_from_config,
)
from segloss.config.registry import get_loss, list_losses, register_loss

__all__ = [
    "build_compound_loss_from_config",
    "build_loss",
    "build_loss_from_config",
    "get_loss",
    "list_losses",
    "register_loss",
]
