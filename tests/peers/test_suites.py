"""The suites of smp, MONAI, kornia, pytorch-toolbelt and PyTorch pass, through adapters."""

from __future__ import annotations

import importlib
import re
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from tests.peers.case import Case
from tests.peers.inexpressible import INEXPRESSIBLE

PAGE = Path(__file__).parents[2] / "docs" / "migrating_from_libraries.md"
SUITES = {
    "smp": ["smp"],
    "pytorch-toolbelt": ["toolbelt"],
    "MONAI": ["monai.overlaps", "monai.pixels", "monai.shapes", "monai.compounds"],
    "kornia": ["kornia"],
    "PyTorch": ["pytorch"],
}


def cases() -> dict[str, Case]:
    found = [
        (f"{peer}: {case.name}", case)
        for peer, modules in SUITES.items()
        for module in modules
        for case in importlib.import_module(f"tests.peers.{module}").cases()
    ]
    repeated = [name for name, count in Counter(name for name, _ in found).items() if count > 1]
    assert not repeated, repeated
    return dict(found)


CASES = cases()
EXPRESSIBLE = {name: case for name, case in CASES.items() if case.check is not None}


@pytest.mark.parametrize("name", EXPRESSIBLE)
def test_a_case_of_a_peers_suite_passes(name: str) -> None:
    case = EXPRESSIBLE[name]
    assert case.check is not None
    case.check()


def test_what_cannot_be_said_has_a_reason() -> None:
    assert set(INEXPRESSIBLE) == set(CASES) - set(EXPRESSIBLE)
    assert all(INEXPRESSIBLE.values())


def rows_of_the_page() -> list[str]:
    """Returns the rows of the page's table: losses, the number of their cases, the reason."""
    losses = defaultdict(list)
    for name, reason in INEXPRESSIBLE.items():
        peer, _, case = name.partition(": ")
        losses[peer, reason].append(re.split(r"[ ,]", case)[0])
    return [
        f"| {peer}: {', '.join(f'`{loss}`' for loss in dict.fromkeys(names))} | {len(names)} "
        f"| {reason} |"
        for (peer, reason), names in losses.items()
    ]


def test_the_page_says_what_cannot_be_said() -> None:
    section = PAGE.read_text().partition("\n## What can't be expressed\n")[2]
    assert re.findall(r"^\| [^|]+: .*$", section, re.MULTILINE) == rows_of_the_page()


def test_fewer_than_40_cases_cannot_be_said() -> None:
    assert len(INEXPRESSIBLE) < 40
    assert len(CASES) > 1300
