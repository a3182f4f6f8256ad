"""Limits on the size of a config: checks of files, texts and mappings before they are parsed.

With aliases of aliases, a few lines of YAML can stand for more values than any memory holds, and
deep nesting exhausts the recursion of parsers. A config of losses is far from these limits.
`interpolations` applies the same limits to the values that interpolations refer to.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig

MAX_CHARACTERS = 200_000
"""Characters of a config's text. YAML takes up to two microseconds per character, twice."""

MAX_VALUES = 10_000
"""Values in a config with its aliases expanded, and with its interpolations resolved."""

MAX_DEPTH = 50
"""Levels of nested mappings and lists, and of interpolations that lead to others."""

MAX_INTERPOLATIONS = 1_000
"""Interpolations that OmegaConf's grammar reads. It takes up to 0.4 milliseconds for each."""

_MAX_DIGITS = 100
"""Characters of a number that is not in quotes."""

_MAX_IN_TEXT = 20
"""Interpolations in one text. OmegaConf's parser needs 17 s for 10,000 nested ones."""

_NUMBER = re.compile(r"\s*[-+]?[0-9.][-+0-9a-fA-FxobO_.:\s]*")


def read_config_file(path: str | Path) -> str:
    """Returns the text of a config file.

    Raises:
        FileNotFoundError: There is no regular file at the path.
        ValueError: It is too large, or is not UTF-8 text.
    """
    if not _is_regular(path):
        raise FileNotFoundError(
            f"There is no config file at {str(path)[:200]!r}: expected the path of a regular file."
        )
    with Path(path).open("rb") as file:
        content = file.read(4 * MAX_CHARACTERS + 1)
    if len(content) > 4 * MAX_CHARACTERS:
        raise _too_long(f"more than {4 * MAX_CHARACTERS} bytes")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise ValueError(
            f"The config file {str(path)!r} must be YAML, text in UTF-8, got {error.reason} at the "
            f"byte {error.start}: if it is a text, save it as UTF-8."
        ) from None


def check_config_text(text: str) -> None:
    """Raises ValueError if YAML text is too long, or has too many or too deeply nested values."""
    if len(text) > MAX_CHARACTERS:
        raise _too_long(str(len(text)))
    size = _Size()
    sizes: dict[str, int] = {}
    opened: list[tuple[str | None, int]] = []
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            opened.append((event.anchor, size.values))
            size.add(1, depth=len(opened))
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = opened.pop()
            if anchor is not None:
                sizes[anchor] = size.values - before
        elif isinstance(event, yaml.ScalarEvent):
            size.add_text(event.value, may_be_number=event.implicit[0] or event.tag)
            if event.anchor is not None:
                sizes[event.anchor] = 1
        elif isinstance(event, yaml.AliasEvent):
            if any(anchor == event.anchor for anchor, _ in opened):
                raise ValueError(
                    f"The config's alias *{event.anchor} is inside the value that it names."
                )
            size.add(sizes.get(str(event.anchor), 1))


def check_config_objects(config: Mapping[Any, Any]) -> None:
    """Raises ValueError if a mapping has too many or too deeply nested values, or holds itself.

    OmegaConf's configs in it are left out: they have been parsed.
    """
    size = _Size()
    entries: list[Iterator[Any]] = [iter([config])]
    while entries:
        for value in entries[-1]:
            if isinstance(value, str):
                size.add_text(value)
            else:
                size.add(1, depth=len(entries))
            if type(value) in (list, tuple):
                entries.append(iter(value))
                break
            if isinstance(value, Mapping) and not isinstance(value, DictConfig):
                entries.append(iter(value.values()))
                break
        else:
            entries.pop()


def check_interpolated_text(text: str) -> None:
    """Raises ValueError if a text has more interpolations than its parser takes at once."""
    interpolations = text.count("${")
    if interpolations > _MAX_IN_TEXT:
        raise ValueError(
            f"A text of the config must have at most {_MAX_IN_TEXT} interpolations, got "
            f"{interpolations} in {text[:50]!r}..."
        )


def _is_regular(path: str | Path) -> bool:
    try:
        return Path(path).is_file()
    except (OSError, ValueError):  # the name is too long, or has a null byte
        return False


def _too_long(size: str) -> ValueError:
    return ValueError(
        f"The config's text must have at most {MAX_CHARACTERS} characters, got {size}: pass the "
        "part that has the losses."
    )


class _Size:
    """Counts the values of a config; raises ValueError beyond a limit."""

    def __init__(self) -> None:
        self.values = 0

    def add(self, values: int, depth: int = 0) -> None:
        self.values += values
        if self.values > MAX_VALUES:
            raise ValueError(
                f"The config must have at most {MAX_VALUES} values, with aliases and shared "
                "values expanded, but has more: pass the part that has the losses, such as "
                "{'loss': cfg['loss']}."
            )
        if depth > MAX_DEPTH:
            raise ValueError(
                f"The config must have at most {MAX_DEPTH} nested levels, but is deeper, or holds "
                "itself."
            )

    def add_text(self, text: str, *, may_be_number: Any = False) -> None:
        self.add(1 + text.count("${"))
        check_interpolated_text(text)
        if may_be_number and len(text) > _MAX_DIGITS and _NUMBER.fullmatch(text):
            raise ValueError(
                f"A number of the config must have at most {_MAX_DIGITS} digits, got {len(text)} "
                f"in {text[:50]!r}...: put text in quotes."
            )
