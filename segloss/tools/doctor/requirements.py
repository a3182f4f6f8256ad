"""The packages that an extra installs, and those that are missing here."""

from __future__ import annotations

import re
from importlib import metadata

from segloss.foundation.installation.mixture import DISTRIBUTION

_REQUIREMENT = re.compile(
    r"(?P<name>[\w.-]+)\s*(\[(?P<extras>[^]]*)\])?\s*(?P<versions>[^;]*?)\s*"
    r"(;.*\bextra\s*==\s*['\"](?P<extra>[\w.-]+)['\"].*)?"
)


def required_by(extra: str) -> dict[str, str]:
    """Returns the packages that an extra installs, with their versions, such as ">=13".

    Raises:
        PackageNotFoundError: The package runs from its sources, without an installation.
    """
    found: dict[str, str] = {}
    for requirement in metadata.requires(DISTRIBUTION) or ():
        parts = _REQUIREMENT.fullmatch(requirement)
        if parts is None or parts["extra"] != extra:
            continue
        if parts["name"] != DISTRIBUTION:
            found[parts["name"]] = parts["versions"]
            continue
        for included in parts["extras"].split(","):
            found |= required_by(included.strip())
    return found


def missing_of(extra: str) -> list[str]:
    """Returns the packages of an extra that are missing or too old, such as "rich>=13"."""
    return [
        f"{name}{wanted}" for name, wanted in required_by(extra).items() if _lacks(name, wanted)
    ]


def _lacks(name: str, wanted: str) -> bool:
    try:
        installed = metadata.version(name)
    except metadata.PackageNotFoundError:
        return True
    least = re.search(r">=\s*([\d.]+)", wanted)
    return least is not None and _release(installed) < _release(least[1])


def _release(version: str) -> tuple[int, ...]:
    """Returns the numbers of a version without zeros at the end: (2, 4) for 2.4.0rc1.

    Example:
        >>> _release("2.4.0rc1"), _release("2.10+cu132")
        ((2, 4), (2, 10))
    """
    release = re.match(r"(\d+!)?([\d.]*\d)", version)
    numbers = [int(part) for part in release[2].split(".")] if release else []
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
