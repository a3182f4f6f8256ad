"""The page on the command line shows what the commands print."""

from __future__ import annotations

import re

import command_line
import pytest

BLOCKS = dict(command_line.BLOCK.findall(command_line.PAGE.read_text()))


def words(text: str) -> set[str]:
    """The words of a help text, whatever Typer draws around them."""
    return set(re.findall(r"[\w-]+", re.sub(r"<\w+>", "", text)))


def without_times(text: str) -> str:
    """What is said of losses before they are timed."""
    return text.split("A step here")[0]


def without_digits(text: str) -> str:
    """Rounding errors differ from machine to machine."""
    return re.sub(r"\d[\d.e+-]*", "#", text)


def test_the_page_shows_every_kind_of_output() -> None:
    assert {command.split()[0] for command in BLOCKS} == {"--help", "list", "explain", "check"}
    assert all(BLOCKS.values())


def test_the_help_has_the_words_of_the_page() -> None:
    assert words(command_line.printed("--help")) == words(BLOCKS["--help"])


@pytest.mark.parametrize("command", [c for c in BLOCKS if c != "--help"])
def test_a_command_prints_what_the_page_shows(command) -> None:
    printed, shown = command_line.printed(command), BLOCKS[command]
    change = without_digits if command.startswith("check") else without_times
    assert change(printed) == change(shown)


def test_the_pages_times_are_of_every_loss() -> None:
    [shown] = [text for text in BLOCKS.values() if "A step here" in text]
    times = shown.split("A step here")[1]
    assert re.findall(r"^  (\w+) +[\d.]+ +\d+%", times, re.MULTILINE) == ["seg", "balanced_ce"]
