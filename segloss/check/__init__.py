"""Certifying losses: any loss, tried on a batch, and a report of what it can be trusted with."""

from segloss.check.certify import assert_loss, check_loss
from segloss.check.custom_loss import test_custom_loss
from segloss.check.report import Check, LossReport

__all__ = ["Check", "LossReport", "assert_loss", "check_loss", "test_custom_loss"]
