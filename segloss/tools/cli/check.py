"""`segloss check`: the trust report of each loss of a config, and of all together."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

import typer

from segloss.tools.check import LossReport, check_loss
from segloss.tools.cli.configs import Allowed, Config, ConfigPath, load_config
from segloss.tools.cli.progress import progress

FAILED = 1
"""The exit code where a check failed."""

_TOGETHER = "all together"


def check(
    config: ConfigPath,
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CHECK",
            help="Make this check alone, such as 'finite in float16'; may be given several times.",
        ),
    ] = None,
    allow: Allowed = None,
) -> None:
    """Check what the losses of a config can be trusted with.

    Tries each loss, and all of them together, in the ways in which losses are known to go wrong:
    half precision, empty masks, ignored pixels, the order of samples, compilation and more. The
    exit code is 1 if a check failed.
    """
    loaded = load_config(config, allow)
    reports = _reports(loaded, only)
    print("\n\n".join(map(str, reports)))
    failed = [report.loss for report in reports if not report.passed]
    print(f"\n{loaded.title}: {'failed: ' + ', '.join(failed) if failed else 'passed'}")
    if failed:
        raise typer.Exit(FAILED)


def _reports(config: Config, only: list[str] | None) -> list[LossReport]:
    """Returns a report on each loss behind the pre-processes, and on all if there are several."""
    losses: dict[str, Any] = {part.loss.name: part.alone for part in config.components}
    if len(losses) > 1:
        config.multi_loss.set_epoch(config.busiest_epoch)
        losses[_TOGETHER] = config.multi_loss
    return [
        replace(check_loss(loss, checks=only), loss=name)
        for name, loss in progress(list(losses.items()), "checking")
    ]
