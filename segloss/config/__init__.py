"""Losses from configs: reads them, turns their dialect into specs, and builds losses."""

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
