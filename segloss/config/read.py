"""Reads configs: files, texts, mappings and OmegaConf's configs become plain values.

It has no knowledge of losses: `find` knows which values are losses, and the dialects what they
mean.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any, NamedTuple

import yaml
from omegaconf import Container, DictConfig, OmegaConf, ValueNode
from omegaconf.errors import OmegaConfBaseException

from segloss.config.interpolations import MISSING, Interpolations, Node, ResolutionError
from segloss.config.limits import check_config_objects, check_config_text, read_config_file
from segloss.config.paths import Path, path_text
from segloss.foundation.arguments import shown

_MAX_ERROR = 1000
"""The number of characters of another library's error that messages show."""


class _Loader(yaml.SafeLoader):
    """YAML as OmegaConf reads it: 1e3 is a number, dates are texts, and no key occurs twice.

    Only 1:3 is a text here, the slice of a selector, in place of 63 in base 60.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if key.tag != "tag:yaml.org,2002:str":
                continue
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    "while constructing a mapping",
                    node.start_mark,
                    f"found duplicate key {key.value}",
                    key.start_mark,
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(\d[\d_]*\.?[\d_]*|\.\d[\d_]*)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)

_Loader.yaml_implicit_resolvers = {
    first: [
        ("tag:yaml.org,2002:str", re.compile(r"[-+]?\d[\d_]*(:[0-5]?\d)+(\.[\d_]*)?$")),
        *resolvers,
    ]
    if first in [*"-+0123456789"]
    else resolvers
    for first, resolvers in _Loader.yaml_implicit_resolvers.items()
}
"""In YAML, 1:3 is the number 63 in base 60. Here it is a text, such as that of a slice."""


class ConfigSource(NamedTuple):
    """A config as plain values, not yet resolved.

    Attributes:
        base: The path of the config, if it is a part of a larger one that interpolations may use.
        interpolations: The larger config, or the config itself.
    """

    base: Path
    interpolations: Interpolations


def read_config(cfg: Any, allow: tuple[str, ...]) -> ConfigSource:
    """Reads a config from a file, a text, a mapping or an OmegaConf config.

    Args:
        cfg: As for `build_loss`.
        allow: Names or prefixes of the resolvers that may run.

    Raises:
        FileNotFoundError: There is no file at the path.
        TypeError, ValueError: The config is of another type, malformed or too large.
    """
    try:
        if isinstance(cfg, DictConfig):
            root: Any = cfg._get_root()
            cache = OmegaConf.get_cache(root)
            return ConfigSource(_path_of(cfg), Interpolations(_plain(root), allow, cache))
        values = _loaded(cfg)
        if isinstance(values, Mapping):
            check_config_objects(values)
            return ConfigSource((), Interpolations(_plain(values), allow))
    except (OmegaConfBaseException, yaml.YAMLError) as error:
        raise ValueError(f"{_not_readable(cfg)}: {_cut(error)}") from error
    except RecursionError:
        raise ValueError("The config can't be read: it is nested too deeply.") from None
    raise TypeError(
        f"cfg must be a mapping, an OmegaConf config, the path of a YAML file or the text of a "
        f"YAML mapping, got {shown(cfg)}."
    )


def keys_of(config: ConfigSource) -> list[Any]:
    """Returns the keys at the top of a config."""
    found = config.interpolations.find(config.base)
    return list(found.value) if found and isinstance(found.value, Mapping) else []


def select(config: ConfigSource, path: Path) -> Node | None:
    """Returns the value at a path; None if it or one of its parents is absent or null.

    Values inside it are not resolved yet.

    Raises:
        TypeError: A parent is not a mapping.
        ValueError: An interpolation on the path can't be resolved, or the value is missing (???).
    """
    node: Node | None = None
    for i in range(len(path) + 1):
        if node is not None and not isinstance(node.value, Mapping):
            raise TypeError(
                f"{path_text(path[: i - 1])} must be a mapping, got {shown(node.value)}."
            )
        try:
            node = config.interpolations.find((*config.base, *path[:i]))
        except ResolutionError as error:
            raise ValueError(f"{path_text(path)} can't be resolved: {error}") from error.__cause__
        if node is None or node.value is None:
            return None
        if isinstance(node.value, str) and node.value == MISSING:
            missing = path_text(path[:i]) if i < len(path) else "it"
            raise ValueError(
                f"{path_text(path)} can't be resolved: {missing} is '{MISSING}', a value that is "
                "missing."
            )
    return node


def plain(config: ConfigSource, node: Node, name: str) -> Any:
    """Returns a value as plain dicts and lists, interpolations resolved.

    Args:
        config: The config.
        node: The value.
        name: The name of the value in messages.

    Raises:
        ValueError: A value in it can't be resolved.
    """
    try:
        return config.interpolations.plain(node)
    except ResolutionError as error:
        raise ValueError(f"{name} can't be resolved: {error}") from error.__cause__


def plain_mapping(config: ConfigSource, node: Node | None, name: str) -> dict[str, Any]:
    """Returns a mapping as `plain` does.

    Raises:
        TypeError: The value is not a mapping.
        ValueError: A value in it can't be resolved.
    """
    if node is None or not isinstance(node.value, Mapping):
        raise TypeError(f"{name} must be a mapping, got {shown(node and node.value)}.")
    return plain(config, node, name)  # type: ignore[no-any-return]


def plain_list(config: ConfigSource, node: Node, name: str) -> list[Any]:
    """Returns a list of at least one entry as `plain` does.

    Raises:
        ValueError: The value is not such a list, or a value in it can't be resolved.
    """
    if not isinstance(node.value, list) or not node.value:
        remedy = ": begin each entry with a dash" if isinstance(node.value, Mapping) else ""
        raise ValueError(
            f"{name} must be a list of at least one loss, got {shown(node.value)}{remedy}."
        )
    return plain(config, node, name)  # type: ignore[no-any-return]


def _loaded(cfg: Any) -> Any:
    """Returns files and texts as values; anything else as it is."""
    if isinstance(cfg, str) and _is_yaml_text(cfg):
        return _parsed(cfg)
    if isinstance(cfg, (str, FilePath)):
        return _parsed(read_config_file(cfg), cfg)
    return cfg


def _is_yaml_text(text: str) -> bool:
    return "\n" in text or (":" in text and not text.endswith((".yaml", ".yml")))


def _parsed(text: str, cfg: Any = None) -> Any:
    """Returns the values of a YAML text, that of the file `cfg` if it is not None."""
    check_config_text(text)
    try:
        values = yaml.load(text, Loader=_Loader)  # noqa: S506
    except RecursionError:
        raise
    except Exception as error:  # YAML's constructors raise any error for a malformed number or date
        raise ValueError(f"{_not_readable(cfg)}: {_cut(error)}") from error
    return {} if values is None else values


def _plain(value: Any) -> Any:
    """Returns a value with mappings as dicts, and sequences as lists; nothing is resolved."""
    if isinstance(value, Container):
        return _plain(OmegaConf.to_container(value, resolve=False))
    if isinstance(value, ValueNode):
        return value._value()
    if dataclasses.is_dataclass(value) or hasattr(value, "__attrs_attrs__"):
        return _of_dataclass(value)
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return [_plain(item) for item in value]
    return value


def _of_dataclass(value: Any) -> Any:
    """Returns a dataclass as a dict; one that OmegaConf does not take as it is."""
    try:
        return _plain(OmegaConf.structured(value))
    except OmegaConfBaseException:
        return value


def _path_of(config: DictConfig) -> Path:
    """Returns the path of a part within a larger config."""
    node: Any = config
    keys: list[Any] = []
    while node._get_parent() is not None:
        keys.insert(0, node._key())
        node = node._get_parent()
    return tuple(keys)


def _not_readable(cfg: Any) -> str:
    """Returns the beginning of a message about a config that is not YAML."""
    is_text = isinstance(cfg, str) and _is_yaml_text(cfg)
    name = "" if is_text or not isinstance(cfg, (str, FilePath)) else f" {str(cfg)!r}"
    return f"The config{name} can't be read"


def _cut(error: Exception) -> str:
    """Returns the message of another library, without YAML's name for a text."""
    text = str(error).replace(' in "<unicode string>",', " in")[:_MAX_ERROR]
    has_tab = "found character '\\t'" in text
    return f"indent it with spaces, not with tabs. It has an error {text}" if has_tab else text
