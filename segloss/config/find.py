"""Finds the loss in a training config, in any dialect."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from omegaconf import DictConfig

from segloss.config.dialects.compound import compound_spec
from segloss.config.dialects.frame_field import ROOT_KEYS, frame_field_spec, is_frame_field
from segloss.config.dialects.mmf import named_spec
from segloss.config.read import PATHS, ConfigSource, as_source, plain_mapping, select
from segloss.config.specs import CompoundSpec, LossSpec
from segloss.foundation.arguments import (
    shown,
)

_MODELS = "model_config"
"""The key of MMF's configs that holds a section per model, each with its `losses`."""


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
    config = as_source(cfg, check_allow(allow))
    for path in _paths(config):
        node = select(config, path)
        if node is None:
            continue
        if path.endswith("losses"):
            return named_spec(config, node, path)
        content = plain_mapping(config, node, path)
        if path == "loss":
            return LossSpec(1.0, f"{path}.weight", content, path)
        if path != PATHS[0] and is_frame_field(content):
            return frame_field_spec(content, _root(config), path)
        return compound_spec(content, path)
    raise ValueError(
        "The config has no loss: expected one of loss_params.compound_loss, loss_params.multi_loss "
        "and loss, or a list of losses, and not null; got the keys "
        f"{', '.join(map(str, config.nodes)) or 'none'}."
    )


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
    """Yields the paths at which a config may have a loss, in order of precedence."""
    yield from PATHS
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


def _root(config: ConfigSource) -> dict[str, Any]:
    """Returns the parts of the whole config that the frame-field dialect reads."""
    nodes = {key: select(config, key) for key in ROOT_KEYS}
    return {
        key: plain_mapping(config, node, key) if isinstance(node, DictConfig) else node
        for key, node in nodes.items()
    }
