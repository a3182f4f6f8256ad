"""Reads configs: files, texts and mappings become nodes, and nodes become plain values.

It has no knowledge of losses: `find` knows which nodes hold them, and the dialects what they mean.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from segloss.config.interpolations import Interpolations
from segloss.config.limits import check_config_objects, check_config_text, read_config_file
from segloss.foundation.arguments import shown

_MAX_ERROR = 1000
"""The number of characters of another library's error that messages show."""


class ConfigSource(NamedTuple):
    """A config, and the checker of its interpolations."""

    nodes: DictConfig
    interpolations: Interpolations


def read_config(cfg: Any, allow: tuple[str, ...], keys: Collection[str]) -> ConfigSource:
    """Reads a config from a file, a text, a mapping or an OmegaConf config.

    Args:
        cfg: As for `build_loss`.
        allow: Names or prefixes of the resolvers that may run.
        keys: The keys of a mapping to keep if OmegaConf refuses other keys or their values.

    Raises:
        FileNotFoundError: There is no file at the path.
        TypeError, ValueError: The config is of another type, malformed or too large.
    """
    try:
        config = _loaded(cfg, keys)
        if isinstance(config, DictConfig):
            return ConfigSource(config, Interpolations(config, allow))
    except (OmegaConfBaseException, yaml.YAMLError) as error:
        raise ValueError(f"The config can't be read: {_cut(error)}") from error
    except RecursionError:
        raise ValueError("The config can't be read: it is nested too deeply.") from None
    raise TypeError(
        f"cfg must be a mapping, an OmegaConf config, the path of a YAML file or the text of a "
        f"YAML mapping, got {shown(cfg)}."
    )


def select(config: ConfigSource, path: str) -> Any:
    """Returns the node at a dotted path; None if it or one of its parents is absent or null.

    Raises:
        TypeError: A parent is not a mapping.
        ValueError: An interpolation on the path can't be resolved, or the value is missing (???).
    """
    node: Any = config.nodes
    keys = path.split(".")
    for i, key in enumerate(keys):
        if not isinstance(node, DictConfig):
            raise TypeError(f"{'.'.join(keys[:i])} must be a mapping, got {shown(node)}.")
        config.interpolations.check(".".join(keys[: i + 1]), name=path)
        if OmegaConf.is_missing(node, key):
            raise ValueError(f"{path} can't be resolved: it is '???', a value that is missing.")
        try:
            node = node.get(key)
        except OmegaConfBaseException as error:
            raise ValueError(f"{path} can't be resolved: {error}") from error
        if node is None:
            return None
    return node


def plain_mapping(
    config: ConfigSource, node: Any, path: str, node_path: str | None = None
) -> dict[str, Any]:
    """Returns a node as plain dicts and lists, interpolations resolved.

    Args:
        config: The config.
        node: The node.
        path: The name of the node in messages.
        node_path: The path of the node in the config; None: `path`.

    Raises:
        TypeError: The node is not a mapping.
        ValueError: A value in it can't be resolved.
    """
    if not isinstance(node, DictConfig):
        raise TypeError(f"{path} must be a mapping, got {shown(node)}.")
    return _resolved(config, node, path, node_path)  # type: ignore[no-any-return]


def plain_list(config: ConfigSource, node: Any, path: str) -> list[Any]:
    """Returns a list of at least one entry as plain values, interpolations resolved.

    Raises:
        ValueError: The node is not such a list, or a value in it can't be resolved.
    """
    if not isinstance(node, ListConfig) or len(node) == 0:
        raise ValueError(f"{path} must be a list of at least one loss, got {shown(node)}.")
    return _resolved(config, node, path)  # type: ignore[no-any-return]


def _loaded(cfg: Any, keys: Collection[str]) -> Any:
    """Returns files, texts and mappings as nodes; anything else as it is."""
    if isinstance(cfg, str) and _is_yaml_text(cfg):
        return _parsed(cfg)
    if isinstance(cfg, (str, Path)):
        return _parsed(read_config_file(cfg))
    if isinstance(cfg, Mapping) and not isinstance(cfg, DictConfig):
        check_config_objects(cfg)
        return _created(cfg, keys)
    return cfg


def _is_yaml_text(text: str) -> bool:
    return "\n" in text or (":" in text and not text.endswith((".yaml", ".yml")))


def _parsed(text: str) -> Any:
    check_config_text(text)
    try:
        return OmegaConf.create(text) if text.strip() else OmegaConf.create()
    except RecursionError:
        raise
    except Exception as error:  # YAML's constructors raise any error for a malformed number or date
        raise ValueError(f"The config can't be read: {_cut(error)}") from error


def _created(cfg: Mapping[Any, Any], keys: Collection[str]) -> DictConfig:
    """Returns a mapping as a config; if OmegaConf refuses it, only `keys` of it."""
    flags = {"allow_objects": True}
    try:
        return OmegaConf.create(dict(cfg), flags=flags)
    except OmegaConfBaseException:
        return OmegaConf.create({k: v for k, v in cfg.items() if k in keys}, flags=flags)


def _resolved(
    config: ConfigSource, node: DictConfig | ListConfig, path: str, node_path: str | None = None
) -> Any:
    config.interpolations.check(path if node_path is None else node_path, name=path, recursive=True)
    try:
        return OmegaConf.to_container(node, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise ValueError(f"{path} can't be resolved: {_cut(error)}") from error
    except RecursionError:
        raise ValueError(f"{path} can't be resolved: it is nested too deeply.") from None


def _cut(error: Exception) -> str:
    return str(error)[:_MAX_ERROR]
