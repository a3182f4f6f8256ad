"""Losses from configs: every dialect is read into one list of specs, and one builder makes losses.

Paths in error messages are those of the config, such as `loss_params.compound_loss.loss_list[1]`.
"""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch import Tensor

from segloss.arguments import check_choice, check_flag, check_keys, is_list, nearest, shown
from segloss.compat.mmf import SampleListLoss, takes_sample_lists
from segloss.config_size import check_config_objects, check_config_text, read_config_file
from segloss.interpolations import Interpolations
from segloss.legacy import ROOT_KEYS, is_legacy, legacy_spec
from segloss.loss import Loss
from segloss.loss_wrapper import LossWrapper
from segloss.multi_loss import MultiLoss
from segloss.registry import find_target
from segloss.schedule import WeightSchedule
from segloss.specs import CompoundSpec, LossSpec

_PATHS = (
    "loss_params.compound_loss",
    "loss_params.multi_loss",
    "loss_params.multiloss",
    "loss",
    "losses",
)

_MODELS = "model_config"
"""Where MMF's configs have a section per model, each with its `losses`."""

_COMPOUND_KEYS = (
    "loss_list",
    "losses",
    "epoch_thresholds",
    "pre_processes",
    "normalize_losses",
    "normalization_params",
    "check_finite",
)

_CONVERSIONS = ("none", "partial", "object", "all")
"""Hydra's values of `_convert_`, which all mean the same here: lists and mappings are plain."""

_HYDRA_KEYS = ("_target_", "_args_", "_recursive_", "_convert_")


def build_loss(cfg: Any, allow: Sequence[str] = ()) -> Loss | MultiLoss:
    """Builds the loss that a training config describes.

    The first of these keys that is there decides: `loss_params.compound_loss`,
    `loss_params.multi_loss` (or `multiloss`), `loss`, `losses`, `model_config.<model>.losses`. All
    give a `MultiLoss`, but for `loss`, which gives a `Loss`. The rest of the config is left alone.

    Args:
        cfg: A mapping, an OmegaConf config, the path of a YAML file, or YAML text.
        allow: Prefixes ("my_package.") of classes that may be instantiated beside segloss's and
            PyTorch's losses and those of segmentation-models-pytorch, MONAI, kornia and
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
    allow = _check_allow(allow)
    spec = read_loss(cfg, allow)
    if isinstance(spec, CompoundSpec):
        return _build_multi_loss(spec, allow)
    return _build_loss(spec.block, spec.path, allow)


def read_loss(cfg: Any, allow: Sequence[str] = ()) -> CompoundSpec | LossSpec:
    """What `build_loss` finds in a config, before anything is built of it.

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
    config = _as_source(cfg, _check_allow(allow))
    for path in _paths(config):
        node = _select(config, path)
        if node is None:
            continue
        if path.endswith("losses"):
            return _named_spec(config, node, path)
        content = _plain(config, node, path)
        if path == "loss":
            return LossSpec(1.0, f"{path}.weight", content, path)
        if path != _PATHS[0] and is_legacy(content):
            return legacy_spec(content, _root(config), path)
        return _compound_spec(content, path)
    raise ValueError(
        "The config has no loss: expected one of loss_params.compound_loss, loss_params.multi_loss "
        "and loss, or a list of losses, and not null; got the keys "
        f"{', '.join(map(str, config.nodes)) or 'none'}."
    )


def build_compound_loss_from_config(cfg: Any, allow: Sequence[str] = ()) -> MultiLoss:
    """Builds the `MultiLoss` of a `compound_loss` block.

    Args:
        cfg: The block: a mapping, an OmegaConf config, the path of a YAML file, or YAML text.
        allow: Prefixes of further classes that may be instantiated; see `build_loss`.

    Raises:
        TypeError, ValueError: The block is wrong; the message has the path in it.
    """
    allow = _check_allow(allow)
    config = _as_source(cfg, allow)
    block = _plain(config, config.nodes, "compound_loss", "")
    return _build_multi_loss(_compound_spec(block, "compound_loss"), allow)


def build_loss_from_config(cfg: Any, allow: Sequence[str] = ()) -> Loss | MultiLoss:
    """Builds the loss of a whole training config: `build_loss` under its older name."""
    return build_loss(cfg, allow)


class _Source(NamedTuple):
    """A config, and what checks its interpolations before they are resolved."""

    nodes: DictConfig
    interpolations: Interpolations


def _as_source(cfg: Any, allow: tuple[str, ...]) -> _Source:
    try:
        config = _loaded(cfg)
        if isinstance(config, DictConfig):
            return _Source(config, Interpolations(config, allow))
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
    except Exception as error:  # YAML's constructors raise any, of a number or date that is none
        raise ValueError(f"The config can't be read: {_cut(error)}") from error


def _created(cfg: Mapping[Any, Any]) -> DictConfig:
    """The mapping as a config; without its other keys, where OmegaConf does not take them."""
    flags = {"allow_objects": True}
    try:
        return OmegaConf.create(dict(cfg), flags=flags)
    except OmegaConfBaseException:
        own = {path.split(".")[0] for path in _PATHS} | set(_COMPOUND_KEYS)
        return OmegaConf.create({k: v for k, v in cfg.items() if k in own}, flags=flags)


def _is_yaml_text(text: str) -> bool:
    return "\n" in text or (":" in text and not text.endswith((".yaml", ".yml")))


def _select(config: _Source, path: str) -> Any:
    """The node at a dotted path, or None where it, or what it stands in, is absent or null."""
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


def _plain(config: _Source, node: Any, path: str, place: str | None = None) -> dict[str, Any]:
    """The node as plain dicts and lists, interpolations resolved.

    It stands at `place` in the config, or where messages say, at `path`.
    """
    if not isinstance(node, DictConfig):
        raise TypeError(f"{path} must be a mapping, got {shown(node)}.")
    return _resolved(config, node, path, place)  # type: ignore[no-any-return]


def _plain_list(config: _Source, node: Any, path: str) -> list[Any]:
    """A list of at least one entry as plain values, interpolations resolved."""
    if not isinstance(node, ListConfig) or len(node) == 0:
        raise ValueError(f"{path} must be a list of at least one loss, got {shown(node)}.")
    return _resolved(config, node, path)  # type: ignore[no-any-return]


def _resolved(
    config: _Source, node: DictConfig | ListConfig, path: str, place: str | None = None
) -> Any:
    config.interpolations.check(path if place is None else place, of=path, whole=True)
    try:
        return OmegaConf.to_container(node, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise ValueError(f"{path} can't be resolved: {_cut(error)}") from error
    except RecursionError:
        raise ValueError(f"{path} can't be resolved: it is nested too deeply.") from None


def _check_allow(allow: Any) -> tuple[str, ...]:
    if not isinstance(allow, (tuple, list)) or not all(
        isinstance(entry, str) and entry for entry in allow
    ):
        raise TypeError(
            f"allow must be a tuple of prefixes, such as ('my_package.',), got {shown(allow)}."
        )
    return tuple(allow)


@contextmanager
def _at(path: str) -> Iterator[None]:
    """Puts the path in front of an error's message; what is no TypeError becomes a ValueError."""
    try:
        yield
    except ImportError:
        raise
    except TypeError as error:
        raise TypeError(f"{path}: {error}") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    except Exception as error:  # of a library's constructor, such as an assertion
        raise ValueError(f"{path}: {type(error).__name__} {error}") from error


def _paths(config: _Source) -> Iterator[str]:
    """Where the config may have a loss, the first that counts first."""
    yield from _PATHS
    models = _select(config, _MODELS)
    if isinstance(models, DictConfig):
        paths = [f"{_MODELS}.{model!s}.losses" for model in models]
        found = [path for path in paths if _select(config, path) is not None]
        if len(found) > 1:
            raise ValueError(
                f"{_MODELS} has losses of several models, {', '.join(found)}: pass the section of "
                "one, such as build_loss({'losses': [...]})."
            )
        yield from found


def _named_spec(config: _Source, node: Any, path: str) -> CompoundSpec:
    """The spec of a list of names, or of `{type, params, weight}`."""
    entries = _plain_list(config, node, path)
    return CompoundSpec(path, [_named_loss(e, f"{path}[{i}]") for i, e in enumerate(entries)])


def _named_loss(entry: Any, path: str) -> LossSpec:
    if isinstance(entry, str):
        entry = {"type": entry}
    check_keys(path, _check_mapping(entry, path), ("type", "params", "weight", "name"))
    if not isinstance(entry.get("type"), str):
        raise ValueError(f"{path}.type must be the name of a loss, got {shown(entry.get('type'))}.")
    params = _check_mapping(entry.get("params") or {}, f"{path}.params")
    block = {"name": entry.get("name", entry["type"]), **params, "_target_": entry["type"]}
    return LossSpec(entry.get("weight", 1.0), f"{path}.weight", block, path)


def _root(config: _Source) -> dict[str, Any]:
    """What the legacy dialect reads of the whole config."""
    nodes = {key: _select(config, key) for key in ROOT_KEYS}
    return {
        key: _plain(config, node, key) if isinstance(node, DictConfig) else node
        for key, node in nodes.items()
    }


def _compound_spec(block: Mapping[str, Any], path: str) -> CompoundSpec:
    check_keys(path, block, _COMPOUND_KEYS)
    options = {
        "normalize_losses": block.get("normalize_losses", True),
        "normalization_params": block.get("normalization_params"),
        "check_finite": block.get("check_finite", False),
    }
    specs, thresholds = _specs(block, path), block.get("epoch_thresholds")
    return CompoundSpec(path, specs, thresholds, block.get("pre_processes"), options)


def _build_multi_loss(spec: CompoundSpec, allow: tuple[str, ...]) -> MultiLoss:
    weights = [loss.weight for loss in spec.losses]
    for loss in spec.losses:
        if is_list(loss.weight) and spec.thresholds is None:
            raise ValueError(
                f"{loss.weight_path} is a schedule, {loss.weight}, and needs epoch_thresholds. If "
                "it is an argument of the loss itself, write the entry under losses: instead, as "
                "{loss: {_target_: ..., weight: [...]}, weight: 1.0}."
            )
    with _at(spec.path):
        WeightSchedule([], spec.thresholds)
    WeightSchedule(weights, spec.thresholds, [loss.weight_path for loss in spec.losses])
    losses = [_build_loss(loss.block, loss.path, allow) for loss in spec.losses]
    processes = _build_pre_processes(spec.pre_processes, f"{spec.path}.pre_processes", allow)
    with _at(spec.path):
        return MultiLoss(losses, weights, spec.thresholds, processes, **spec.options)


def _specs(block: Mapping[str, Any], path: str) -> list[LossSpec]:
    """The losses of a compound block, in either dialect."""
    dialects = [key for key in ("loss_list", "losses") if key in block]
    if len(dialects) != 1:
        raise ValueError(
            f"{path} must have one of loss_list (entries with _target_ and weight) and losses "
            f"(entries with loss and weight), got {' and '.join(dialects) or 'neither'}."
        )
    [key] = dialects
    entries, path = block[key], f"{path}.{key}"
    if not is_list(entries) or not entries:
        raise ValueError(f"{path} must be a list of at least one loss, got {shown(entries)}.")
    read = _inline_spec if key == "loss_list" else _nested_spec
    return [read(entry, f"{path}[{i}]") for i, entry in enumerate(entries)]


def _inline_spec(entry: Any, path: str) -> LossSpec:
    """The spec of `{_target_: ..., weight: ..., further arguments}`."""
    block = dict(_check_mapping(entry, path))
    return LossSpec(block.pop("weight", 1.0), f"{path}.weight", block, path)


def _nested_spec(entry: Any, path: str) -> LossSpec:
    """The spec of `{loss: {_target_: ..., arguments}, weight: ...}`."""
    check_keys(path, _check_mapping(entry, path), ("loss", "weight"))
    block = _check_mapping(entry.get("loss"), f"{path}.loss")
    return LossSpec(entry.get("weight", 1.0), f"{path}.weight", block, f"{path}.loss")


def _check_mapping(value: Any, path: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError(f"{path} must be a mapping with _target_, got {shown(value)}.")
    return value


def _build_loss(block: Mapping[str, Any], path: str, allow: tuple[str, ...]) -> Loss | MultiLoss:
    """The loss of a block; `name` names a plain module that has no such argument."""
    target = _find(block, path, allow)
    name = None
    if not _accepts(target, "name"):
        block = dict(block)
        name = block.pop("name", None)
    loss = _call(target, block, path, allow)
    if isinstance(loss, (Loss, MultiLoss)):
        return loss
    with _at(path):
        if takes_sample_lists(loss):
            return SampleListLoss(loss, name or type(loss).__name__)
        return LossWrapper(loss, name=name)


def _build_pre_processes(entries: Any, path: str, allow: tuple[str, ...]) -> list[Any]:
    if entries is None:
        return []
    if not is_list(entries):
        raise TypeError(f"{path} must be a list of mappings with _target_, got {shown(entries)}.")
    return [_build_pre_process(entry, f"{path}[{i}]", allow) for i, entry in enumerate(entries)]


def _build_pre_process(entry: Any, path: str, allow: tuple[str, ...]) -> Any:
    """A pre-process: an instance of a class, or a function, with its arguments bound."""
    block = _check_mapping(entry, path)
    target = _find(block, path, allow)
    if inspect.isclass(target):
        return _call(target, block, path, allow)
    args, kwargs = _arguments(block, path, allow)
    _check_keywords(target, kwargs, path)
    return functools.partial(target, *args, **kwargs)


def _find(block: Mapping[str, Any], path: str, allow: tuple[str, ...]) -> Callable[..., Any]:
    """What the `_target_` of a block names."""
    target = block.get("_target_")
    if not isinstance(target, str):
        keys = ", ".join(map(str, block)) or "none"
        raise ValueError(
            f"{path} must have a _target_, such as 'segloss.SegLoss'; the keys that there are: "
            f"{keys}."
        )
    with _at(f"{path}._target_"):
        return find_target(target, allow)


def _call(
    target: Callable[..., Any], block: Mapping[str, Any], path: str, allow: tuple[str, ...]
) -> Any:
    """Calls the target with the block's arguments, after checking that it takes them."""
    args, kwargs = _arguments(block, path, allow)
    _check_keywords(target, kwargs, path)
    positional, keywords = _with_tensors(target, args, kwargs, path)
    with _at(path):
        return target(*positional, **keywords)


def _arguments(
    block: Mapping[str, Any], path: str, allow: tuple[str, ...]
) -> tuple[list[Any], dict[str, Any]]:
    """The positional and keyword arguments of a block, nested targets instantiated."""
    _check_hydra_keys(block, path)
    args = block.get("_args_", [])
    kwargs = {key: value for key, value in block.items() if key not in _HYDRA_KEYS}
    if block.get("_recursive_", True):
        args = [_instantiated(arg, f"{path}._args_[{i}]", allow) for i, arg in enumerate(args)]
        kwargs = {key: _instantiated(kwargs[key], f"{path}.{key}", allow) for key in kwargs}
    return list(args), kwargs


def _check_hydra_keys(block: Mapping[str, Any], path: str) -> None:
    for key in block:
        if str(key).startswith("_") and str(key).endswith("_") and key not in _HYDRA_KEYS:
            raise ValueError(
                f"{path}.{key} is not supported; of Hydra's keys these are: "
                f"{', '.join(_HYDRA_KEYS)}."
            )
    if not is_list(block.get("_args_", [])):
        raise TypeError(f"{path}._args_ must be a list, got {shown(block['_args_'])}.")
    with _at(path):
        check_flag("_recursive_", block.get("_recursive_", True))
        check_choice("_convert_", block.get("_convert_", "none"), _CONVERSIONS)


def _instantiated(value: Any, path: str, allow: tuple[str, ...]) -> Any:
    """The value, with all blocks in it that have a `_target_` instantiated."""
    if isinstance(value, Mapping) and "_target_" in value:
        return _call(_find(value, path, allow), value, path, allow)
    if isinstance(value, Mapping):
        return {key: _instantiated(item, f"{path}.{key}", allow) for key, item in value.items()}
    if is_list(value):
        return [_instantiated(item, f"{path}[{i}]", allow) for i, item in enumerate(value)]
    return value


def _signature(target: Callable[..., Any]) -> inspect.Signature | None:
    """The signature of the target, or None where Python doesn't know it (of `slice`)."""
    try:
        return inspect.signature(target)
    except ValueError:
        return None


def _accepts(target: Callable[..., Any], name: str) -> bool:
    signature = _signature(target)
    return signature is not None and name in signature.parameters


def _check_keywords(target: Callable[..., Any], kwargs: Mapping[str, Any], path: str) -> None:
    signature = _signature(target)
    if signature is None:
        return
    parameters = signature.parameters
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    for key in kwargs:
        if key not in parameters and not takes_any:
            raise ValueError(
                f"{path}.{key} is unknown to {target.__name__}{nearest(key, parameters)}; it "
                f"takes: {', '.join(parameters) or 'no arguments'}."
            )


def _with_tensors(
    target: Callable[..., Any], args: list[Any], kwargs: dict[str, Any], path: str
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments, with lists of numbers made tensors where only a tensor will do."""
    signature = _signature(target)
    if signature is None:
        return tuple(args), kwargs
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError as error:
        raise TypeError(f"{path}: {target.__name__} has {error}.") from error
    hints = _hints(target)
    for key, value in bound.arguments.items():
        if is_list(value) and _wants_tensor(hints.get(key)):
            bound.arguments[key] = _as_tensor(value, f"{path}.{key}")
    return bound.args, bound.kwargs


def _as_tensor(values: Sequence[Any], path: str) -> Tensor:
    try:
        return torch.tensor(values, dtype=torch.get_default_dtype())
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"{path} must be a list of numbers, got {shown(values)}.") from error


def _hints(target: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(target.__init__ if inspect.isclass(target) else target)
    except (AttributeError, NameError, TypeError):
        return {}


def _wants_tensor(hint: Any) -> bool:
    members = typing.get_args(hint) or (hint,)
    return Tensor in members and set(members) <= {Tensor, type(None), float, int}
