"""Losses from configs: a text is read, its dialect makes specs of it, and these are built."""

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
