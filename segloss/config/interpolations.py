"""Resolves the interpolations of a config, without OmegaConf's own machinery.

OmegaConf's resolvers (`${oc.env:HOME}`, and all that a program registers) run code. OmegaConf runs
them wherever it resolves a value, so no value is resolved by OmegaConf here: its grammar reads a
text, and the references and resolvers that it finds come to this module. A reference is followed by
a tuple of keys; a resolver is refused unless it is allowed.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

from omegaconf import AnyNode, Container, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from omegaconf.grammar.gen.OmegaConfGrammarLexer import OmegaConfGrammarLexer
from omegaconf.grammar.gen.OmegaConfGrammarParser import OmegaConfGrammarParser
from omegaconf.grammar_parser import parse
from omegaconf.grammar_visitor import GrammarVisitor

from segloss.config.limits import (
    MAX_CHARACTERS,
    MAX_DEPTH,
    MAX_INTERPOLATIONS,
    MAX_VALUES,
    check_interpolated_text,
)
from segloss.config.paths import Path, path_text
from segloss.foundation.arguments import is_allowed, shown

MISSING = "???"
"""OmegaConf's mark of a value that must be given."""

_PLAIN_REFERENCE = re.compile(r"\$\{(\.*)(\w+(?:\.\w+|\[\w+\])*)\}", re.ASCII)
"""A text that is one reference, of plain keys. OmegaConf's grammar reads it in the same way, but
takes 120 microseconds for it."""


class Node(NamedTuple):
    """A value that is not an interpolation, and its path; values inside it are not resolved."""

    value: Any
    path: Path


class ResolutionError(ValueError):
    """An error for a value that can't, or must not, be resolved."""


class Interpolations:
    """Resolves the values of a config; every interpolation once.

    Args:
        root: The whole config, of plain mappings, lists and values.
        allow: Names or prefixes of the resolvers that may run.
        cache: Results of resolvers that OmegaConf has cached for the config, by resolver.
    """

    def __init__(
        self, root: Mapping[Any, Any], allow: Sequence[str], cache: dict[str, Any] | None = None
    ) -> None:
        self._root = Node(root, ())
        self._allow = allow
        self._cache = defaultdict(dict) if cache is None else cache
        self._resolved: dict[Path, Node] = {}
        self._open: list[Path] = []
        self._values = self._characters = self._parsed = 0

    def find(self, path: Path) -> Node | None:
        """Returns the value at a path; None if it is absent.

        Raises:
            ResolutionError: An interpolation on the path can't or must not be resolved.
        """
        node: Node | None = self._root
        for key in path:
            node = node and self._child(node, key)
        return node

    def plain(self, node: Node) -> Any:
        """Returns a value with all interpolations inside it resolved, as new lists and dicts.

        Raises:
            ResolutionError: An interpolation can't or must not be resolved, or the value becomes
                too large.
        """
        value, path = node
        self._count(path)
        if isinstance(value, str):
            self._count_characters(path, value)
        if isinstance(value, str) and value == MISSING:
            raise ResolutionError(f"{_place(path)} is '{MISSING}', a value that is missing.")
        if isinstance(value, Mapping):
            return {key: self._plain_entry(item, (*path, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [self._plain_entry(item, (*path, i)) for i, item in enumerate(value)]
        return value

    def _plain_entry(self, value: Any, path: Path) -> Any:
        self._enter(path)
        try:
            return self.plain(self._node(value, path))
        finally:
            self._open.pop()

    def _node(self, value: Any, path: Path) -> Node:
        """Returns the value at a path; an interpolation is followed."""
        if not (isinstance(value, str) and "${" in value):
            return Node(value, path)
        if path not in self._resolved:
            self._enter(path)
            try:
                self._resolved[path] = self._evaluated(value, path)
            finally:
                self._open.pop()
        return self._resolved[path]

    def _evaluated(self, text: str, path: Path) -> Node:
        reference = _PLAIN_REFERENCE.fullmatch(text)
        if reference is not None:
            return self._target(path, len(reference[1]), re.findall(r"\w+", reference[2]))
        self._parsed += text.count("${")
        if self._parsed > MAX_INTERPOLATIONS:
            raise ResolutionError(f"it has more than {MAX_INTERPOLATIONS} interpolations.")
        try:
            check_interpolated_text(text)
            value = self._visitor(path).visit(parse(text))
        except OmegaConfBaseException as error:
            raise ResolutionError(
                f"{shown(text)}{_at(path)} is not a supported interpolation: {str(error)[:200]}"
            ) from None
        return value if isinstance(value, Node) else self._computed(value, path)

    def _computed(self, value: Any, path: Path) -> Node:
        """Returns the result of a text or a resolver; it is not read for interpolations again."""
        if isinstance(value, str):
            self._count_characters(path, value)
        return Node(value, path)

    def _visitor(self, path: Path) -> _Visitor:
        return _Visitor(
            lambda dots, keys: self._target(path, dots, keys),
            self.plain,
            lambda name, args, args_str: self._call(name, args, args_str, path),
        )

    def _target(self, path: Path, dots: int, keys: Sequence[str]) -> Node:
        """Returns the value at a reference; each leading dot leads one level up from `path`."""
        self._count(path)
        if dots > len(path):
            raise ResolutionError(f"a reference{_at(path)} leads above the config's root.")
        node = self.find(path[: len(path) - dots] if dots else ())
        for key in keys:
            node = node and self._child(node, key)
        if node is None:
            written = "${" + "." * dots + path_text(keys) + "}"
            raise ResolutionError(f"there is nothing at {shown(written)}{_at(path)}.")
        return node

    def _child(self, node: Node, key: Any) -> Node | None:
        value, path = node
        if isinstance(value, Mapping):
            return self._node(value[key], (*path, key)) if key in value else None
        if isinstance(value, list):
            index = int(key) if re.fullmatch("[0-9]{1,9}", str(key)) else len(value)
            return self._node(value[index], (*path, index)) if index < len(value) else None
        return None

    def _call(self, name: str, args: Any, args_str: Any, path: Path) -> Any:
        """Returns the value of a resolver that is allowed."""
        if not is_allowed(name, self._allow):
            raise ResolutionError(
                f"the resolver {shown(name)} runs code{_at(path)}. Write the value itself, resolve "
                f"the config first, or, if you trust it, allow it: build_loss(cfg, allow=({name!r},"
                "))."
            )
        resolver = OmegaConf._get_resolver(name)
        if resolver is None:
            raise ResolutionError(
                f"there is no resolver {shown(name)}{_at(path)}: register it with "
                "OmegaConf.register_new_resolver."
            )
        config = _ConfigOfResolvers(name, self._cache, lambda tree: self._visitor(path).visit(tree))
        key = path[-1] if path else None
        try:
            value = resolver(config, config, AnyNode(None, key=key, parent=config), args, args_str)
        except ResolutionError:
            raise
        except Exception as error:  # a resolver is a user's code
            raise ResolutionError(
                f"the resolver {shown(name)}{_at(path)} raised {type(error).__name__}: "
                f"{str(error)[:200]}"
            ) from error
        if isinstance(value, Container):
            value = self.plain(Node(OmegaConf.to_container(value, resolve=False), path))
        return value

    def _enter(self, path: Path) -> None:
        self._open.append(path)
        if len(self._open) > MAX_DEPTH:
            raise ResolutionError(
                f"its interpolations lead through more than {MAX_DEPTH} levels, or in a circle"
                f"{_at(path)}."
            )

    def _count(self, path: Path) -> None:
        """Counts one more value; raises an error beyond a limit."""
        self._values += 1
        if self._values > MAX_VALUES:
            raise ResolutionError(
                f"its interpolations stand for more than {MAX_VALUES} values{_at(path)}."
            )

    def _count_characters(self, path: Path, text: str) -> None:
        self._characters += len(text)
        if self._characters > MAX_CHARACTERS:
            raise ResolutionError(
                f"its interpolations stand for more than {MAX_CHARACTERS} characters{_at(path)}."
            )


class _Visitor(GrammarVisitor):
    """Evaluates what OmegaConf's grammar has parsed; references and resolvers go to functions.

    Args:
        target: Returns the value at a reference: the number of its dots, and its keys.
        plain: Returns a value as plain lists and dicts.
        call: Returns the value of a resolver.
    """

    def __init__(
        self,
        target: Callable[[int, Sequence[str]], Node],
        plain: Callable[[Node], Any],
        call: Callable[[str, Any, Any], Any],
    ) -> None:
        super().__init__(_unused, call, memo=None)
        self._target, self._plain = target, plain

    def visitConfigValue(self, ctx: Any) -> Any:  # noqa: N802
        """Returns the value of a text; of a single reference, the node that it leads to."""
        text = ctx.getChild(0)
        only = text.getChild(0).getChild(0) if _is_one_interpolation(text) else None
        if isinstance(only, OmegaConfGrammarParser.InterpolationNodeContext):
            return self._reference(only)
        return self.visit(text)

    def visitInterpolationNode(self, ctx: Any) -> Any:  # noqa: N802
        """Returns the value at a reference, as a part of a text or an argument."""
        return self._plain(self._reference(ctx))

    def _reference(self, ctx: Any) -> Node:
        dots, keys = 0, []
        for child in ctx.getChildren():
            if isinstance(child, OmegaConfGrammarParser.ConfigKeyContext):
                keys.append(self.visitConfigKey(child))
            elif child.symbol.type == OmegaConfGrammarLexer.DOT and not keys:
                dots += 1
        return self._target(dots, keys)


class _ConfigOfResolvers(DictConfig):
    """The config that an allowed resolver gets in place of the one that is read: it is empty.

    Through the real one, a resolver could make OmegaConf run others, which are not allowed. Text
    that a resolver parses (`oc.decode`) is evaluated under the same rules as the config itself.
    """

    def __init__(
        self, resolver: str, cache: dict[str, Any], evaluate: Callable[[Any], Any]
    ) -> None:
        super().__init__({})
        OmegaConf.set_cache(self, cache)
        self.__dict__["resolver"], self.__dict__["evaluate"] = resolver, evaluate

    def resolve_parse_tree(self, parse_tree: Any, *_: Any, **__: Any) -> Any:
        """Returns the value of a parsed text."""
        return self.__dict__["evaluate"](parse_tree)

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise ResolutionError(
            f"the resolver {shown(self.__dict__['resolver'])} reads the config by itself, which "
            "could run other resolvers. Resolve the config first, with OmegaConf.resolve(cfg)."
        )

    _select_impl = _resolve_key_and_root = _get_node = __iter__ = _refuse


def _unused(*_: Any) -> NoReturn:
    raise AssertionError("_Visitor follows references itself.")


def _is_one_interpolation(text: Any) -> bool:
    return text.getChildCount() == 1 and isinstance(
        text.getChild(0), OmegaConfGrammarParser.InterpolationContext
    )


def _place(path: Path) -> str:
    return path_text(path) or "it"


def _at(path: Path) -> str:
    """Returns the place of an interpolation, for messages."""
    return f" (at {path_text(path)})" if path else ""
