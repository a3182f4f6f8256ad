"""Finds the loss in a training config, and has the right dialect read it into specs.

`read` turns files and texts into plain values; `build` makes losses of the specs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from segloss.config.dialects.compound import compound_spec
from segloss.config.dialects.frame_field import ROOT_PATHS, frame_field_spec, is_frame_field
from segloss.config.dialects.mmf import mmf_spec
from segloss.config.interpolations import Node
from segloss.config.paths import Path, path_text
from segloss.config.read import (
    ConfigSource,
    keys_of,
    plain,
    plain_list,
    plain_mapping,
    read_config,
    select,
)
from segloss.config.specs import LISTS, CompoundSpec, LossSpec, check_entry
from segloss.foundation.arguments import nearest, shown

_COMPOUND_LOSS: Path = ("loss_params", "compound_loss")
_MULTI_LOSS: tuple[Path, ...] = (("loss_params", "multi_loss"), ("loss_params", "multiloss"))
"""The paths of blocks in the compound or the frame-field dialect."""

_LOSS: Path = ("loss",)
_LOSSES = "losses"
"""The key of a list in MMF's dialect."""

_PATHS: tuple[Path, ...] = (_COMPOUND_LOSS, *_MULTI_LOSS, _LOSS, (_LOSSES,))
"""The paths at which a config may have a loss, in order of precedence."""

_ABOVE = {path[:depth] for path in _PATHS for depth in range(1, len(path) + 1)}
"""These paths, and those above them."""

_INNER: dict[Any, Path] = {
    "loss_list": _COMPOUND_LOSS,
    **{path[-1]: path[:-1] for path in (_COMPOUND_LOSS, *_MULTI_LOSS)},
}
"""Keys inside of others, with the paths at which they belong."""

_MODELS: Path = ("model_config",)
"""The path in MMF's configs of a section per model, each with its `losses`."""


def read_loss(cfg: Any, allow: Sequence[str] = ()) -> CompoundSpec | LossSpec:
    """Reads the losses of a config into specs, from which `build_loss` builds them.

    Args:
        cfg: As for `build_loss`.
        allow: As for `build_loss`.

    Raises:
        FileNotFoundError: There is no file at the path.
        TypeError, ValueError: The config is wrong; the message has the path in it.

    Example:
        >>> read_loss("loss: {_target_: segloss.SegLoss, n_classes: 4}").block
        {'_target_': 'segloss.SegLoss', 'n_classes': 4}
        >>> read_loss("{_target_: segloss.SegLoss, n_classes: 4}").block  # the config is the loss
        {'_target_': 'segloss.SegLoss', 'n_classes': 4}
    """
    config = read_config(cfg, check_allow(allow))
    for path in _paths(config):
        node = select(config, path)
        if node is not None:
            return _spec(config, node, path)
    keys = keys_of(config)
    if "_target_" in keys:
        block = plain_mapping(config, select(config, ()), "config")
        return LossSpec(1.0, "config.weight", block, "config")
    raise ValueError(
        "The config has no loss: expected one of loss_params.compound_loss, "
        "loss_params.multi_loss, loss, losses and _target_; got the keys "
        f"{', '.join(map(str, keys)) or 'none'}{_meant(config, keys)}."
    )


def read_compound_loss(cfg: Any, allow: Sequence[str] = ()) -> CompoundSpec:
    """Reads a `compound_loss` block by itself into a spec.

    Args:
        cfg: As for `build_compound_loss_from_config`.
        allow: As for `build_loss`.

    Raises:
        FileNotFoundError: There is no file at the path.
        TypeError, ValueError: The block is wrong; the message has the path in it.
    """
    config = read_config(cfg, check_allow(allow))
    block = plain_mapping(config, select(config, ()), "compound_loss")
    return compound_spec(block, "compound_loss")


def check_allow(allow: Any) -> tuple[str, ...]:
    """Returns the allowed prefixes as a tuple; raises TypeError for anything else."""
    if not isinstance(allow, (tuple, list)) or not all(
        isinstance(entry, str) and entry for entry in allow
    ):
        raise TypeError(
            f"allow must be a tuple of prefixes, such as ('my_package.',), got {shown(allow)}."
        )
    return tuple(allow)


def _paths(config: ConfigSource) -> Iterator[Path]:
    """Yields the paths at which this config may have a loss, in order of precedence."""
    yield from _PATHS
    models = select(config, _MODELS)
    if models is not None and isinstance(models.value, Mapping):
        paths = [(*_MODELS, model, _LOSSES) for model in models.value]
        found = [path for path in paths if select(config, path) is not None]
        if len(found) > 1:
            raise ValueError(
                f"{path_text(_MODELS)} has losses of several models, "
                f"{', '.join(map(path_text, found))}: pass the section of one, such as "
                "build_loss({'losses': [...]})."
            )
        yield from found


def _meant(config: ConfigSource, keys: Sequence[Any]) -> str:
    """Returns the remedy for a key that is misplaced, null or almost right, or an empty text."""
    first = list(dict.fromkeys(str(path[0]) for path in (*_PATHS, _MODELS)))
    for key in keys:
        node = select(config, (key,)) if key in first else None
        inner = node.value if node is not None and isinstance(node.value, Mapping) else {}
        for path in ((key,), *((key, name) for name in inner)):
            place = _INNER.get(path[-1])
            if place is not None and place != path[:-1]:
                return f"; {path[-1]} belongs in {path_text(place)}"
        for path in ((key,), *((key, name) for name in inner)):
            if path in _ABOVE and select(config, path) is None:
                return f"; {path_text(path)} is null: indent what belongs to it"
        if key in first:
            known = [str(path[1]) for path in _PATHS if path[0] == key and len(path) > 1]
            guesses = {f"{key}.{name}": nearest(name, known) for name in inner}
        else:
            guesses = {f"{key}": nearest(key, first)}
        for name, guess in guesses.items():
            if guess:
                return f"; {name}{guess}"
    return ""


def _spec(config: ConfigSource, node: Node, path: Path) -> CompoundSpec | LossSpec:
    """Reads the loss at a path, in the dialect that the path and the keys indicate."""
    name = path_text(path)
    if path[-1] == _LOSSES:
        return mmf_spec(plain_list(config, node, name), name)
    if path == _LOSS and isinstance(node.value, list):
        raise TypeError(
            f"{name} must be one loss, a mapping, got a list of {len(node.value)}: move the list "
            f"to {LISTS['_target_']}."
        )
    if path == _LOSS and isinstance(node.value, str):
        raise TypeError(
            f"{name} must be a mapping, got {shown(node.value)}: write "
            f"{name}: {{_target_: {node.value}}}."
        )
    block = plain_mapping(config, node, name)
    if path == _LOSS:
        return LossSpec(1.0, f"{name}.weight", check_entry(block, name, "_target_"), name)
    if path in _MULTI_LOSS and is_frame_field(block):
        return frame_field_spec(block, _root(config), name)
    return compound_spec(block, name)


def _root(config: ConfigSource) -> dict[Path, Any]:
    """Returns the parts of the entire config that the frame-field dialect reads."""
    nodes = {path: select(config, path) for path in ROOT_PATHS}
    return {
        path: None if node is None else plain(config, node, path_text(path))
        for path, node in nodes.items()
    }
