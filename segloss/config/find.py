"""Finds the loss in a training config, and has the right dialect read it into specs.

`read` turns files and texts into plain values; `build` makes losses of the specs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from omegaconf import DictConfig

from segloss.config.dialects.compound import COMPOUND_KEYS, compound_spec
from segloss.config.dialects.frame_field import ROOT_KEYS, frame_field_spec, is_frame_field
from segloss.config.dialects.mmf import mmf_spec
from segloss.config.read import ConfigSource, plain_list, plain_mapping, read_config, select
from segloss.config.specs import CompoundSpec, LossSpec
from segloss.foundation.arguments import shown

_COMPOUND_LOSS = "loss_params.compound_loss"
_MULTI_LOSS = ("loss_params.multi_loss", "loss_params.multiloss")
"""The paths of blocks in the compound or the frame-field dialect."""

_PATHS = (_COMPOUND_LOSS, *_MULTI_LOSS, "loss", "losses")
"""The paths at which a config may have a loss, in order of precedence."""

_MODELS = "model_config"
"""The key of MMF's configs that holds a section per model, each with its `losses`."""

_KEYS = frozenset(path.split(".")[0] for path in (*_PATHS, *ROOT_KEYS, *COMPOUND_KEYS, _MODELS))
"""The top-level keys to keep if OmegaConf refuses the other keys of a mapping."""


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
    """
    config = read_config(cfg, check_allow(allow), _KEYS)
    for path in _paths(config):
        node = select(config, path)
        if node is not None:
            return _spec(config, node, path)
    raise ValueError(
        "The config has no loss: expected one of loss_params.compound_loss, loss_params.multi_loss "
        "and loss, or a list of losses, and not null; got the keys "
        f"{', '.join(map(str, config.nodes)) or 'none'}."
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
    config = read_config(cfg, check_allow(allow), _KEYS)
    block = plain_mapping(config, config.nodes, "compound_loss", node_path="")
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


def _paths(config: ConfigSource) -> Iterator[str]:
    """Yields the paths at which this config may have a loss, in order of precedence."""
    yield from _PATHS
    models = select(config, _MODELS)
    if isinstance(models, DictConfig):
        paths = [f"{_MODELS}.{model!s}.losses" for model in models]
        found = [path for path in paths if select(config, path) is not None]
        if len(found) > 1:
            raise ValueError(
                f"{_MODELS} has losses of several models, {', '.join(found)}: pass the section of "
                "one, such as build_loss({'losses': [...]})."
            )
        yield from found


def _spec(config: ConfigSource, node: Any, path: str) -> CompoundSpec | LossSpec:
    """Reads the loss at a path, in the dialect that the path and the keys indicate."""
    if path.endswith("losses"):
        return mmf_spec(plain_list(config, node, path), path)
    block = plain_mapping(config, node, path)
    if path == "loss":
        return LossSpec(1.0, f"{path}.weight", block, path)
    if path in _MULTI_LOSS and is_frame_field(block):
        return frame_field_spec(block, _root(config), path)
    return compound_spec(block, path)


def _root(config: ConfigSource) -> dict[str, Any]:
    """Returns the parts of the entire config that the frame-field dialect reads."""
    nodes = {key: select(config, key) for key in ROOT_KEYS}
    return {
        key: plain_mapping(config, node, key) if isinstance(node, DictConfig) else node
        for key, node in nodes.items()
    }
