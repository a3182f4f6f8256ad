"""Builds losses from specs.

`find` reads a config of any dialect into specs, and `instantiate` makes the objects. Error messages
give the path within the config, such as `loss_params.compound_loss.loss_list[1]`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from segloss.config.dialects.compound import COMPOUND_KEYS
from segloss.config.dialects.mmf import SampleListLoss, takes_sample_lists
from segloss.config.find import check_allow, read_compound_loss, read_loss
from segloss.config.instantiate import (
    accepts,
    build_pre_process,
    instantiate,
    prefix_errors,
    target_of,
)
from segloss.config.specs import CompoundSpec, LossSpec
from segloss.foundation.arguments import is_list, shown
from segloss.losses.loss import Loss
from segloss.losses.loss_wrapper import LossWrapper
from segloss.losses.multi_loss import MultiLoss
from segloss.losses.schedule import WeightSchedule

_OF_LISTS = {
    "weight": "the factor of a loss in the sum is its weight",
    **{key: f"move {key} beside the list of losses" for key in COMPOUND_KEYS},
}
"""Keys that a user may write among the arguments of a loss in a list, with their remedies."""


def build_loss(cfg: Any, allow: Sequence[str] = ()) -> Loss | MultiLoss:
    """Builds the loss that a training config describes.

    The first of these keys that is present decides: `loss_params.compound_loss`,
    `loss_params.multi_loss` (or `multiloss`), `loss`, `losses`, `model_config.<model>.losses`. All
    give a `MultiLoss`, except `loss`, which gives a `Loss`. All other keys are ignored. A config
    without these keys may itself be the block of a loss, with a `_target_`.

    Args:
        cfg: A mapping, an OmegaConf config, the path of a YAML file, or YAML text.
        allow: Prefixes ("my_package.") of classes that may be instantiated in addition to the
            losses of segloss, PyTorch, segmentation-models-pytorch, MONAI, kornia and
            pytorch-toolbelt; and names of OmegaConf's resolvers ("oc.env") that may run.

    Raises:
        FileNotFoundError: There is no file at the path.
        ImportError: A loss's library is not installed.
        TypeError, ValueError: The config is wrong; the message has the path in it.

    Example:
        >>> build_loss('''
        ... loss:
        ...   _target_: segloss.SegLoss
        ...   n_classes: 4
        ... ''').n_classes
        4
    """
    allow = check_allow(allow)
    return build_spec(read_loss(cfg, allow), allow)


def build_spec(spec: CompoundSpec | LossSpec, allow: Sequence[str] = ()) -> Loss | MultiLoss:
    """Builds the loss of a spec from `read_loss`, so that a config that is also shown is read once.

    Raises:
        ImportError, TypeError, ValueError: As for `build_loss`.
    """
    allow = check_allow(allow)
    if isinstance(spec, CompoundSpec):
        return _build_multi_loss(spec, allow)
    return _build_loss(spec.block, spec.path, allow)


def build_compound_loss_from_config(cfg: Any, allow: Sequence[str] = ()) -> MultiLoss:
    """Builds the `MultiLoss` of a `compound_loss` block.

    Args:
        cfg: The block: a mapping, an OmegaConf config, the path of a YAML file, or YAML text.
        allow: Prefixes of additional classes that may be instantiated; see `build_loss`.

    Raises:
        TypeError, ValueError: The block is wrong; the message has the path in it.
    """
    allow = check_allow(allow)
    return _build_multi_loss(read_compound_loss(cfg, allow), allow)


def build_loss_from_config(cfg: Any, allow: Sequence[str] = ()) -> Loss | MultiLoss:
    """Builds the loss of an entire training config: the older name of `build_loss`."""
    return build_loss(cfg, allow)


def _build_multi_loss(spec: CompoundSpec, allow: tuple[str, ...]) -> MultiLoss:
    weights = [loss.weight for loss in spec.losses]
    for loss in spec.losses:
        if is_list(loss.weight) and spec.thresholds is None:
            raise ValueError(
                f"{loss.weight_path} is a schedule, {loss.weight}, and needs epoch_thresholds, "
                f"which belongs into {spec.path}, beside the list of losses. If it is an argument "
                "of the loss itself, write the entry under losses: instead, as "
                "{loss: {_target_: ..., weight: [...]}, weight: 1.0}."
            )
    with prefix_errors(spec.path):
        WeightSchedule([], spec.thresholds)
    WeightSchedule(weights, spec.thresholds, [loss.weight_path for loss in spec.losses])
    losses = [_build_loss(loss.block, loss.path, allow, _OF_LISTS) for loss in spec.losses]
    processes = _build_pre_processes(spec.pre_processes, f"{spec.path}.pre_processes", allow)
    with prefix_errors(spec.path):
        return MultiLoss(losses, weights, spec.thresholds, processes, **spec.options)


def _build_loss(
    block: Mapping[str, Any],
    path: str,
    allow: tuple[str, ...],
    belongs_elsewhere: Mapping[str, str] = MappingProxyType({}),
) -> Loss | MultiLoss:
    """Builds the loss of a block; `name` also names plain modules, which lack that argument."""
    target = target_of(block, path, allow)
    name = None
    if not accepts(target, "name"):
        block = dict(block)
        name = block.pop("name", None)
    loss = instantiate(target, block, path, allow, belongs_elsewhere)
    if isinstance(loss, (Loss, MultiLoss)):
        return loss
    with prefix_errors(path):
        if takes_sample_lists(loss):
            return SampleListLoss(loss, name or type(loss).__name__)
        return LossWrapper(loss, name=name)


def _build_pre_processes(entries: Any, path: str, allow: tuple[str, ...]) -> list[Any]:
    if entries is None:
        return []
    if not is_list(entries):
        raise TypeError(f"{path} must be a list of mappings with _target_, got {shown(entries)}.")
    return [build_pre_process(entry, f"{path}[{i}]", allow) for i, entry in enumerate(entries)]
