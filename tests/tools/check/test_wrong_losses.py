"""Every check fails on a loss that is wrong in what it checks, and on its right twin passes."""

from __future__ import annotations

import pytest

from segloss.tools.check import assert_loss, check_loss
from segloss.tools.check.run_checks import INSPECTIONS
from tests.tools.check.wrong import WRONG, log_of_zero, right


@pytest.mark.parametrize(
    ("name", "loss", "reason"), WRONG, ids=[getattr(w[1], "__name__", w[0]) for w in WRONG]
)
def test_a_wrong_loss_fails_the_check_that_is_about_it(name, loss, reason) -> None:
    check = check_loss(loss, n_classes=2, checks=[name])[name]
    assert check.verdict == "fail"
    assert reason in check.reason
    assert "\n" not in check.reason
    assert check.remedy


def test_every_check_is_seen_to_fail() -> None:
    assert {name for name, _, _ in WRONG} == {inspection.name for inspection in INSPECTIONS}


def test_the_loss_that_they_spoil_passes_everything() -> None:
    report = assert_loss(right)
    assert {c.name for c in report.checks if c.verdict == "not applicable"} == {"all ignored"}


def test_a_logarithm_fails_where_the_prediction_is_perfect_and_nowhere_else() -> None:
    report = check_loss(log_of_zero, checks=["gradient values", "precision", "perfect prediction"])
    assert [check.verdict for check in report.checks] == ["pass", "pass", "fail"]
    assert "-inf at a perfect prediction" in report["perfect prediction"].reason


def test_without_a_scalar_nothing_else_is_reported_as_wrong() -> None:
    report = check_loss(WRONG[0][1], n_classes=2)
    assert [check.name for check in report.failed] == ["scalar"]
    others = [check for check in report.checks if check.name != "scalar"]
    assert all(check.verdict == "not applicable" for check in others)
