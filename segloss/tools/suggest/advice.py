"""Advice, the result of a rule: a setting, its value, the reason, and the rule's source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Advice:
    """A setting of the loss.

    Attributes:
        key: The setting's name, as in the config.
        value: Its value; None: it is left as it is.
        why: The reason, with the figures that it comes from.
        source: Where the rule comes from; empty where it is common sense.
    """

    key: str
    value: Any
    why: str
    source: str = ""


@dataclass(frozen=True)
class Note:
    """Something found in the masks that no setting mends.

    Attributes:
        what: What it is about.
        found: The finding, and the remedy.
    """

    what: str
    found: str
