"""Advice, the result of a rule: a setting, its value, the reason, and the source of the rule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Advice:
    """A setting of the loss.

    Attributes:
        key: The name of the setting in the config.
        value: The value; None: the default stays.
        why: The reason, with the figures behind it.
        source: The publication of the rule; empty if the rule is common sense.
    """

    key: str
    value: Any
    why: str
    source: str = ""


@dataclass(frozen=True)
class Note:
    """A finding about the masks that no setting corrects.

    Attributes:
        what: The subject.
        found: The finding, and the remedy.
    """

    what: str
    found: str
