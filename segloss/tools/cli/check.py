"""`segloss check`: the report on each loss of a config, and on all of them together."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from segloss.tools.check import LossReport
from segloss.tools.check.run_checks import check_each
from segloss.tools.cli.configs import Allowed, Config, ConfigPath, load_config
from segloss.tools.cli.terminal import name_text, progress, show_lines

FAILED = 1
"""The exit code after a failed check."""


def check(
    config: ConfigPath,
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CHECK",
            help="Run only this check, such as 'finite in float16'; may be given several times.",
        ),
    ] = None,
    allow: Allowed = None,
) -> None:
    """Check the losses of a config for known faults.

    Tests each loss, and all of them together: half precision, empty masks, ignored pixels, the
    order of samples, compilation and more. The exit code is 1 if a check failed.
    """
    loaded = load_config(config, allow)
    reports = _reports(loaded, only)
    show_lines("\n\n".join(map(str, reports)))
    failed = [report.loss for report in reports if not report.passed]
    verdict = f"failed: {', '.join(failed)}" if failed else "passed"
    show_lines(f"\n{name_text(loaded.title)}: {verdict}")
    if failed:
        raise typer.Exit(FAILED)


def _reports(config: Config, only: list[str] | None) -> list[LossReport]:
    """Returns a report on each loss with its pre-processes, and on all if there are several."""
    config.multi_loss.set_epoch(config.busiest_epoch)
    count = len(config.components)
    reports = progress(
        check_each(config.multi_loss, only), "checking", count + 1 if count > 1 else 1
    )
    return [replace(report, loss=name_text(report.loss)) for report in reports]
