"""Checks of losses: try any loss on a batch, and report the faults found."""

from segloss.tools.check.report import Check, LossReport
from segloss.tools.check.run_checks import assert_loss, check_loss

__all__ = ["Check", "LossReport", "assert_loss", "check_loss"]
