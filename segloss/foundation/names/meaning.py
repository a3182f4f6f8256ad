"""Compares names by meaning: other libraries' names, other letters, with or without "loss"."""

from __future__ import annotations

from collections.abc import Iterable

from segloss.foundation.names.synonyms import NAMES_ELSEWHERE


def of_same_meaning(word: str, choices: Iterable[str]) -> str | None:
    """Returns the first choice that is another name for a word, or the same in other letters."""
    exact = {_letters(name): name for name in choices if name != word}
    loose = {_of_loss(name): name for name in [*exact.values()][::-1]}
    for names, meanings in (
        (exact, [*_synonyms_of(_letters(word)), _letters(word)]),
        (loose, [_of_loss(word), *_synonyms_of(_of_loss(word))]),
    ):
        for meaning in filter(None, meanings):
            if meaning in names:
                return names[meaning]
    return None


def _letters(name: str) -> str:
    """Returns a name without case and punctuation: "Cross-Entropy" and "cross_entropy" are one."""
    return "".join(filter(str.isalnum, name)).lower()


def _of_loss(name: str) -> str:
    """Returns the letters of a loss's name without "loss": "DiceLoss" and "dice" are one."""
    return _letters(name).removesuffix("loss")


_SYNONYMS: dict[str, list[str]] = {}
for _names, _here in NAMES_ELSEWHERE.items():
    for _name in _names:
        _SYNONYMS.setdefault(_letters(_name), []).extend(map(_letters, _here))


def _synonyms_of(name: str) -> list[str]:
    """Returns the letters of the names here that mean the same as a name elsewhere, best first."""
    return _SYNONYMS.get(name, [])
