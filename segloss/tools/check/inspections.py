"""Inspections: functions that return a finding, or raise an error with the reason of a failure."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from segloss.tools.check.loss_under_test import LossUnderTest, Outcome, first_line, preserved
from segloss.tools.check.report import FAIL, NOT_APPLICABLE, PASS, Check


class FoundWrongError(Exception):
    """The loss fails the inspection; the message says how."""


class DoesNotApplyError(Exception):
    """The inspection does not apply; the message says why."""


class Inspection(NamedTuple):
    """One check of a loss.

    Attributes:
        name: The check's name.
        inspect: A function that returns a finding if the loss is right, and raises otherwise.
        remedy: The advice for a loss that fails.
        advisory: True if a failure only informs.
    """

    name: str
    inspect: Callable[[LossUnderTest], str]
    remedy: str
    advisory: bool = False

    def check(self, tested: LossUnderTest) -> Check:
        """Runs the check; an exception of the loss becomes a verdict."""
        try:
            with preserved(tested.loss):
                found = self.inspect(tested.fresh())
        except FoundWrongError as wrong:
            return Check(self.name, FAIL, str(wrong), self.remedy, self.advisory)
        except DoesNotApplyError as reason:
            return Check(self.name, NOT_APPLICABLE, str(reason))
        except Exception as error:
            if _lacks_kernel(error):
                return Check(self.name, NOT_APPLICABLE, first_line(error))
            return Check(self.name, FAIL, first_line(error), self.remedy, self.advisory)
        return Check(self.name, PASS, found)


def _lacks_kernel(error: Exception) -> bool:
    """Returns whether PyTorch lacks an operation for this precision on this device."""
    text = str(error)
    return "not implemented for 'Half'" in text or "not implemented for 'BFloat16'" in text


def value_error(value: Tensor, expected: Tensor) -> float:
    """Returns the error relative to the expected value, or to 1e-3 if that is larger."""
    value, expected = value.double(), expected.double()
    if bool(value.isnan() & expected.isnan()) or torch.equal(value, expected):
        return 0.0
    error = ((value - expected).abs() / expected.abs().clamp(min=1e-3)).item()
    return float(error) if error == error else float("inf")


def gradient_error(outcome: Outcome, expected: Outcome) -> float:
    """Returns the Euclidean norm of the gradient's error, relative to the expected gradient."""
    present = [g is not None for g in outcome.gradients]
    if present != [g is not None for g in expected.gradients]:
        return float("inf")
    computed, exact = outcome.flat(), expected.flat()
    if torch.equal(computed, exact):
        return 0.0
    error = (computed - exact).norm() / exact.norm().clamp(min=1e-12)
    return float(error) if not error.isnan() else float("inf")


def require_same(what: str, outcome: Outcome, expected: Outcome, value: float, grad: float) -> str:
    """Returns the errors in words; raises FoundWrongError if they are above the limits."""
    errors = value_error(outcome.value, expected.value), gradient_error(outcome, expected)
    text = f"error of the value {errors[0]:.0e}, of the gradient {errors[1]:.0e}"
    if errors[0] > value or errors[1] > grad:
        raise FoundWrongError(f"{what}: {text} (limits {value:g} and {grad:g})")
    return text
