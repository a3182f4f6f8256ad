"""Checks of losses: any loss is tried on a batch, and a report says what it can be trusted with."""

from segloss.tools.check.report import Check, LossReport
from segloss.tools.check.run_checks import assert_loss, check_loss

__all__ = ["Check", "LossReport", "assert_loss", "check_loss"]
