"""Reads configs: files, texts and mappings become nodes, and nodes become plain values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from segloss.config.interpolations import Interpolations
from segloss.config.limits import check_config_objects, check_config_text, read_config_file
from segloss.foundation.arguments import (
    shown,
)

PATHS = (
    "loss_params.compound_loss",
    "loss_params.multi_loss",
    "loss_params.multiloss",
    "loss",
    "losses",
)


COMPOUND_KEYS = (
    "loss_list",
    "losses",
    "epoch_thresholds",
    "pre_processes",
    "normalize_losses",
    "normalization_params",
    "check_finite",
)


class ConfigSource(NamedTuple):
    """A config, and the checker of its interpolations."""

    nodes: DictConfig
    interpolations: Interpolations


def as_source(cfg: Any, allow: tuple[str, ...]) -> ConfigSource:
    """Reads a config from a file, a text, a mapping or an OmegaConf config."""
    try:
        config = _loaded(cfg)
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


def _cut(error: Exception) -> str:
    return str(error)[:1000]


def _loaded(cfg: Any) -> Any:
    if isinstance(cfg, str) and _is_yaml_text(cfg):
        return _parsed(cfg)
    if isinstance(cfg, (str, Path)):
        return _parsed(read_config_file(cfg))
    if isinstance(cfg, Mapping) and not isinstance(cfg, DictConfig):
        check_config_objects(cfg)
        return _created(cfg)
    return cfg


def _parsed(text: str) -> Any:
    check_config_text(text)
    try:
        return OmegaConf.create(text) if text.strip() else OmegaConf.create()
    except RecursionError:
        raise
    except Exception as error:  # YAML's constructors raise any error for a malformed number or date
        raise ValueError(f"The config can't be read: {_cut(error)}") from error


def _created(cfg: Mapping[Any, Any]) -> DictConfig:
    """Returns a mapping as a config, without keys of others that OmegaConf refuses."""
    flags = {"allow_objects": True}
    try:
        return OmegaConf.create(dict(cfg), flags=flags)
    except OmegaConfBaseException:
        own = {path.split(".")[0] for path in PATHS} | set(COMPOUND_KEYS)
        return OmegaConf.create({k: v for k, v in cfg.items() if k in own}, flags=flags)


def _is_yaml_text(text: str) -> bool:
    return "\n" in text or (":" in text and not text.endswith((".yaml", ".yml")))


def select(config: ConfigSource, path: str) -> Any:
    """Returns the node at a dotted path; None if it or one of its parents is absent or null."""
    node: Any = config.nodes
    keys = path.split(".")
    for i, key in enumerate(keys):
        if not isinstance(node, DictConfig):
            raise TypeError(f"{'.'.join(keys[:i])} must be a mapping, got {shown(node)}.")
        config.interpolations.check(".".join(keys[: i + 1]), of=path)
        if OmegaConf.is_missing(node, key):
            raise ValueError(f"{path} can't be resolved: it is '???', a value still to be given.")
        try:
            node = node.get(key)
        except OmegaConfBaseException as error:
            raise ValueError(f"{path} can't be resolved: {error}") from error
        if node is None:
            return None
    return node


def plain_mapping(
    config: ConfigSource, node: Any, path: str, place: str | None = None
) -> dict[str, Any]:
    """Returns the node as plain dicts and lists, interpolations resolved.

    It stands at `place` in the config; None: at `path`, its name in messages.
    """
    if not isinstance(node, DictConfig):
        raise TypeError(f"{path} must be a mapping, got {shown(node)}.")
    return _resolved(config, node, path, place)  # type: ignore[no-any-return]


def plain_list(config: ConfigSource, node: Any, path: str) -> list[Any]:
    """Returns a list of at least one entry as plain values, interpolations resolved."""
    if not isinstance(node, ListConfig) or len(node) == 0:
        raise ValueError(f"{path} must be a list of at least one loss, got {shown(node)}.")
    return _resolved(config, node, path)  # type: ignore[no-any-return]


def _resolved(
    config: ConfigSource, node: DictConfig | ListConfig, path: str, place: str | None = None
) -> Any:
    config.interpolations.check(path if place is None else place, of=path, whole=True)
    try:
        return OmegaConf.to_container(node, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise ValueError(f"{path} can't be resolved: {_cut(error)}") from error
    except RecursionError:
        raise ValueError(f"{path} can't be resolved: it is nested too deeply.") from None


@contextmanager
def error_path(path: str) -> Iterator[None]:
    """Prefixes error messages with a path; all but TypeErrors become ValueErrors."""
    try:
        yield
    except ImportError:
        raise
    except TypeError as error:
        raise TypeError(f"{path}: {error}") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    except Exception as error:  # an error of a library's constructor, such as an assertion
        raise ValueError(f"{path}: {type(error).__name__} {error}") from error
