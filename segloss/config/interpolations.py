"""Checks a config's interpolations before OmegaConf resolves them.

They may refer to other values of the config, within `limits`. OmegaConf's resolvers
(`${oc.env:HOME}`, and all that a program registers) run code, so a config may use only resolvers
that are allowed. Everything that OmegaConf will resolve is followed here first, without running
anything; the resolving itself is left to `read`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf

from segloss.config.limits import MAX_CHARACTERS, MAX_DEPTH, MAX_VALUES
from segloss.foundation.arguments import is_allowed, shown

_REFERENCE = re.compile(r"\$\{([^${}:]*)\}")
"""An interpolation that refers to another value, without an interpolation inside it."""

_RESOLVER = re.compile(r"\$\{\s*([^:${}\s]*)\s*:")
"""The beginning of a resolver's call."""

Path = tuple[Any, ...]
"""Keys and indices, from the config's root."""


class _Node(NamedTuple):
    """A value, not yet resolved, and its path."""

    value: Any
    path: Path


class Interpolations:
    """Checks the values that OmegaConf is about to resolve.

    Args:
        config: The config, or a part of a larger one.
        allow: Names or prefixes of the resolvers that may run.
    """

    def __init__(self, config: DictConfig, allow: Sequence[str]) -> None:
        self._root = OmegaConf.to_container(config._get_root(), resolve=False)
        self._start = _path_of(config)
        self._allow = allow
        self._values, self._characters = 0, 0

    def check(self, path: str, *, name: str, recursive: bool = False) -> None:
        """Checks the value at a dotted path, if there is one.

        Args:
            path: The path; empty: the config itself.
            name: The name of the value in messages.
            recursive: True if everything inside the value will be resolved too.

        Raises:
            ValueError: An interpolation uses a resolver that is not allowed, refers to nothing or
                in a circle, or the value becomes too large.
        """
        self._values, self._characters = 0, 0
        try:
            node = self._descend(_Node(self._root, ()), (*self._start, *_keys(path)), 0)
            node = node and self._resolved(node, 0)
            if node and recursive:
                self._visit(node, 0)
        except _ResolutionError as error:
            raise ValueError(f"{name} can't be resolved: {error}") from None

    def _visit(self, node: _Node, depth: int) -> None:
        """Checks everything inside a value."""
        self._count(depth)
        value, path = self._resolved(node, depth)
        if isinstance(value, (Mapping, list)):
            entries = value.items() if isinstance(value, Mapping) else enumerate(value)
            for key, entry in entries:
                self._visit(_Node(entry, (*path, key)), depth + 1)

    def _resolved(self, node: _Node, depth: int) -> _Node:
        """Returns the value that an interpolation stands for; any other value as it is."""
        text = node.value
        if not (isinstance(text, str) and "${" in text):
            return node
        replaced = 1
        while replaced:
            self._count(depth, len(text))
            reference = _REFERENCE.fullmatch(text)
            if reference is not None:
                return self._target(reference[1], node.path, depth + 1)
            text, replaced = _REFERENCE.subn(
                lambda match: self._as_text(match[1], node.path, depth + 1), text
            )
        remaining = _RESOLVER.sub(self._without_allowed, text)
        if "${" in remaining:
            raise _ResolutionError(f"{shown(node.value)} is not a supported interpolation.")
        return _Node(remaining, node.path)

    def _as_text(self, reference: str, path: Path, depth: int) -> str:
        """Returns the text that replaces a reference, without the characters "${}"."""
        text = re.sub(r"[${}]", "", str(self._target(reference, path, depth).value))
        self._count(depth, len(text))
        return text

    def _target(self, reference: str, path: Path, depth: int) -> _Node:
        """Returns the value at a reference; leading dots make it relative to `path`."""
        self._count(depth)
        keys = reference.strip().lstrip(".")
        dots = len(reference.strip()) - len(keys)
        base = path[: max(len(path) - dots, 0)] if dots else ()
        start = self._descend(_Node(self._root, ()), base, depth)
        found = start and self._descend(start, _keys(keys), depth)
        if found is None:
            raise _ResolutionError(f"there is nothing at {shown('${' + reference + '}')}.")
        return self._resolved(found, depth)

    def _descend(self, node: _Node, keys: Sequence[Any], depth: int) -> _Node | None:
        """Returns the value at some keys, starting from a node; None if there is none."""
        for key in keys:
            value, path = self._resolved(node, depth)
            names: Any = {}
            if isinstance(value, Mapping):
                names = {str(name): name for name in value}
            elif isinstance(value, list):
                names = {str(i): i for i in range(-len(value), len(value))}
            if str(key) not in names:
                return None
            name = names[str(key)]
            node = _Node(value[name], (*path, name))
        return node

    def _without_allowed(self, call: re.Match[str]) -> str:
        """Returns the empty string for an allowed resolver; raises an error for any other."""
        name = call[1]
        if not is_allowed(name, self._allow):
            raise _ResolutionError(
                f"the resolver {shown(name)} runs code. Write the value itself, resolve the config "
                f"first, or, if you trust it, allow it: build_loss(cfg, allow=({name!r},))."
            )
        return ""

    def _count(self, depth: int, characters: int = 0) -> None:
        """Counts one more value; raises an error beyond a limit."""
        self._values += 1
        self._characters += characters
        if depth > MAX_DEPTH:
            raise _ResolutionError(
                f"its interpolations lead through more than {MAX_DEPTH} levels, or in a circle."
            )
        if self._values > MAX_VALUES or self._characters > MAX_CHARACTERS:
            raise _ResolutionError(
                f"its interpolations stand for more than {MAX_VALUES} values or {MAX_CHARACTERS} "
                "characters."
            )


class _ResolutionError(ValueError):
    """An error for a value that can't, or must not, be resolved."""


def _path_of(config: DictConfig) -> Path:
    """Returns the path of a part within a larger config."""
    node: Any = config
    keys: list[Any] = []
    while node._get_parent() is not None:
        keys.insert(0, node._key())
        node = node._get_parent()
    return tuple(keys)


def _keys(reference: str) -> list[str]:
    """Returns the keys of a reference such as "a.b[0]"."""
    return [key for key in re.split(r"[.\[\]]", reference) if key]
