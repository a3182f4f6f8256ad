"""The report on a loss: a list of checks, printed as a table."""

from __future__ import annotations

import textwrap
from dataclasses import asdict, dataclass
from typing import Any

from segloss.foundation.printable import printable

PASS, FAIL, NOT_APPLICABLE = "pass", "fail", "not applicable"

_WIDTH = 100


@dataclass(frozen=True)
class Check:
    """One check of a loss.

    Attributes:
        name: The name of the check.
        verdict: "pass", "fail" or "not applicable".
        reason: The finding.
        remedy: The advice for a failure; empty unless the verdict is "fail".
        advisory: True if a "fail" only informs, and leaves the report passed.
    """

    name: str
    verdict: str
    reason: str
    remedy: str = ""
    advisory: bool = False


@dataclass(frozen=True)
class LossReport:
    """The checks of a loss, as data, or as a table when printed.

    Attributes:
        loss: The name of the loss.
        example: The batch of the checks, in words.
        checks: The checks, in the order in which they ran.

    Example:
        >>> report = LossReport("dice", "given", [Check("scalar", "fail", "it is 7", "mean()")])
        >>> report.passed
        False
        >>> print(report)
        dice: failed (0 passed, 1 failed, 0 not applicable)
        example: given
        <BLANKLINE>
        check   verdict  found
        ------  -------  -------
        scalar  fail     it is 7
                         > mean()
    """

    loss: str
    example: str
    checks: list[Check]

    @property
    def failed(self) -> list[Check]:
        """The checks that failed, without those that only inform."""
        return [check for check in self.checks if check.verdict == FAIL and not check.advisory]

    @property
    def passed(self) -> bool:
        """True if no check failed."""
        return not self.failed

    def __getitem__(self, name: str) -> Check:
        """Returns the check of a name; raises KeyError with all names if there is none."""
        for check in self.checks:
            if check.name == name:
                return check
        raise KeyError(f"There is no check {name!r}; there are: {', '.join(self._names())}.")

    def to_dict(self) -> dict[str, Any]:
        """Returns the report in plain types, ready for JSON."""
        return {
            "loss": self.loss,
            "example": self.example,
            "passed": self.passed,
            "checks": [asdict(check) for check in self.checks],
        }

    def __str__(self) -> str:
        lines = textwrap.wrap(f"example: {self.example}", _WIDTH, subsequent_indent="  ")
        return "\n".join(map(printable, [self._summary(), *lines, "", *self._table()]))

    def _repr_html_(self) -> str:
        from html import escape

        return f"<pre>{escape(str(self))}</pre>"

    def _names(self) -> list[str]:
        return [check.name for check in self.checks]

    def _summary(self) -> str:
        advice = sum(_shown(check) == "advice" for check in self.checks)
        passed = sum(check.verdict == PASS for check in self.checks)
        not_applicable = sum(check.verdict == NOT_APPLICABLE for check in self.checks)
        counts = f"{passed} passed, {len(self.failed)} failed, {not_applicable} not applicable"
        counts += f", {advice} advice" if advice else ""
        return f"{printable(self.loss)}: {'passed' if self.passed else 'failed'} ({counts})"

    def _table(self) -> list[str]:
        first = max(len(text) for text in ["check", *self._names()])
        second = max(len(text) for text in ["verdict", *map(_shown, self.checks)])
        width = max(_WIDTH - first - second - 4, 30)
        rows = [_Row("check", "verdict", ["found"])]
        rows += [_Row(check.name, _shown(check), _found(check, width)) for check in self.checks]
        third = max(len(line) for row in rows for line in row.lines[:1])
        rows.insert(1, _Row("-" * first, "-" * second, ["-" * third]))
        indent = " " * (first + second + 4)
        return [
            line
            for row in rows
            for line in [
                f"{row.name:<{first}}  {row.verdict:<{second}}  {row.lines[0]}",
                *(indent + line for line in row.lines[1:]),
            ]
        ]


@dataclass(frozen=True)
class _Row:
    name: str
    verdict: str
    lines: list[str]


def _shown(check: Check) -> str:
    """Returns the verdict as the table shows it."""
    if check.verdict == FAIL:
        return "advice" if check.advisory else FAIL
    return "n/a" if check.verdict == NOT_APPLICABLE else check.verdict


def _found(check: Check, width: int) -> list[str]:
    """Returns the reason and the remedy, in lines."""
    lines = textwrap.wrap(check.reason, width) or [""]
    if check.remedy:
        lines += textwrap.wrap(f"> {check.remedy}", width, subsequent_indent="  ")
    return lines
