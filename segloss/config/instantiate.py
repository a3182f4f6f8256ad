"""Instantiates blocks with a `_target_`, after checks that the target takes the arguments.

`registry` decides which targets are allowed; `build` decides which blocks are losses.
"""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from segloss.config.construction import construct
from segloss.config.registry import is_trusted, resolve_target
from segloss.config.specs import check_block
from segloss.config.targets import OWN, allow_remedy, find_target
from segloss.foundation.arguments import (
    check_choice,
    check_flag,
    check_integer,
    check_number,
    is_list,
    list_meant,
    nearest,
    nearest_name,
    shown,
)
from segloss.foundation.names.meaning import of_same_meaning

_HYDRA_KEYS = ("_target_", "_args_", "_recursive_", "_convert_")

_BESIDE_TARGET = {
    **dict.fromkeys(("params", "kwargs", "arguments"), "write the arguments beside _target_"),
    "weights": "the weight of a loss in the sum is the key weight of its entry",
}

_CONVERSIONS = ("none", "partial", "object", "all")
"""Hydra's values of `_convert_`, which all mean the same here: lists and mappings are plain."""


def target_of(block: Mapping[str, Any], path: str, allow: tuple[str, ...]) -> Callable[..., Any]:
    """Returns the class or function that a block's `_target_` names.

    Raises:
        ImportError: The target's library is not installed.
        ValueError: There is no `_target_`, or it is not allowed or does not exist.
    """
    target = block.get("_target_")
    if not isinstance(target, str):
        keys = ", ".join(map(str, block)) or "none"
        meant = next((nearest(key, ["_target_"]) for key in map(str, block)), "")
        got = f"{shown(target)}" if "_target_" in block else f"the keys: {keys}{meant}"
        raise ValueError(f"{path} must have a _target_, such as 'segloss.SegLoss', got {got}.")
    with prefix_errors(f"{path}._target_"):
        return resolve_target(target, allow)


def accepts(target: Callable[..., Any], name: str) -> bool:
    """Returns whether a class or function has a parameter of that name."""
    signature = _signature(target)
    return signature is not None and name in signature.parameters


def instantiate(
    target: Callable[..., Any],
    block: Mapping[str, Any],
    path: str,
    allow: tuple[str, ...],
    belongs_elsewhere: Mapping[str, str] = MappingProxyType({}),
) -> Any:
    """Calls the target with the block's arguments, after checking that it takes them.

    Args:
        target: The class or function.
        block: The mapping with `_target_` and the arguments.
        path: The path of the block in the config.
        allow: As for `build_loss`.
        belongs_elsewhere: Keys that a user may write among the arguments, with their remedies.

    Raises:
        TypeError, ValueError: An argument is missing, unknown or wrong.
    """
    args, kwargs = _arguments(block, path, allow)
    _check_keywords(target, kwargs, path, belongs_elsewhere)
    positional, keywords = _with_tensors(target, args, kwargs, path)
    name = str(block["_target_"])
    with prefix_errors(path):
        if is_trusted(name, allow):
            return target(*positional, **keywords)
        remedy = allow_remedy(name)
        given = {**kwargs, "_args_": args}
        return construct(target, positional, keywords, given=given, remedy=remedy)


def build_pre_process(entry: Any, path: str, allow: tuple[str, ...]) -> Any:
    """Builds a pre-process: an instance of a class, or a function with its arguments bound.

    Raises:
        ImportError: The target's library is not installed.
        TypeError, ValueError: The entry is not a block, or its target or an argument is wrong.
    """
    block = check_block(entry, path)
    target = target_of(block, path, allow)
    if inspect.isclass(target):
        return instantiate(target, block, path, allow)
    args, kwargs = _arguments(block, path, allow)
    _check_keywords(target, kwargs, path)
    return functools.partial(target, *args, **kwargs)


@contextmanager
def prefix_errors(path: str) -> Iterator[None]:
    """Prefixes error messages with a path; all but TypeErrors and ImportErrors become ValueErrors.

    ImportErrors keep their message.
    """
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


def _arguments(
    block: Mapping[str, Any], path: str, allow: tuple[str, ...]
) -> tuple[list[Any], dict[str, Any]]:
    """Returns the positional and keyword arguments of a block, nested targets instantiated."""
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
                f"{path}.{key} is not supported; the supported keys of Hydra are: "
                f"{', '.join(_HYDRA_KEYS)}."
            )
    if not is_list(block.get("_args_", [])):
        raise TypeError(f"{path}._args_ must be a list, got {shown(block['_args_'])}.")
    with prefix_errors(path):
        check_flag("_recursive_", block.get("_recursive_", True))
        check_choice("_convert_", block.get("_convert_", "none"), _CONVERSIONS)


def _instantiated(value: Any, path: str, allow: tuple[str, ...]) -> Any:
    """Returns the value, with all blocks in it that have a `_target_` instantiated."""
    if isinstance(value, Mapping) and "_target_" in value:
        return instantiate(target_of(value, path, allow), value, path, allow)
    if isinstance(value, Mapping):
        return {key: _instantiated(item, f"{path}.{key}", allow) for key, item in value.items()}
    if is_list(value):
        return [_instantiated(item, f"{path}[{i}]", allow) for i, item in enumerate(value)]
    return value


def _signature(target: Callable[..., Any]) -> inspect.Signature | None:
    """Returns the target's signature; None if Python doesn't know it, as for `slice`."""
    try:
        return inspect.signature(target)
    except ValueError:
        return None


def _check_keywords(
    target: Callable[..., Any],
    kwargs: Mapping[str, Any],
    path: str,
    belongs_elsewhere: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Raises ValueError for an argument that the target does not take."""
    signature = _signature(target)
    if signature is None:
        return
    parameters = signature.parameters
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    for key in kwargs:
        if key not in parameters and not takes_any:
            of_target = getattr(target, "belongs_elsewhere", {})
            elsewhere = {**_BESIDE_TARGET, **of_target, **belongs_elsewhere}
            beside = f": {_BESIDE_TARGET[key]}" if key in _BESIDE_TARGET else ""
            namesake = _namesake_with(target, key)
            typo = _typo_of(key, parameters, belongs_elsewhere)
            meant = beside or namesake or typo or nearest(key, parameters, elsewhere)
            remedy = meant or f"; it takes: {', '.join(parameters) or 'no arguments'}"
            raise ValueError(f"{path}.{key} is unknown to {target.__name__}{remedy}.")


def _typo_of(key: str, parameters: Iterable[str], beside_list: Mapping[str, str]) -> str:
    """Returns the remedy for a key that is spelled like one of a list or its entries."""
    meant = nearest_name(key, [*parameters, *beside_list])
    is_typo = meant in beside_list and not of_same_meaning(key, beside_list)
    return f" (did you mean {meant!r}?)" if is_typo and key not in beside_list else ""


def _namesake_with(target: Callable[..., Any], name: str) -> str:
    """Returns the remedy for a parameter that another loss of segloss of the same name has."""
    is_own = target.__module__.startswith("segloss.")
    for public in OWN if is_own else ():
        if public.endswith(f".{target.__name__}"):
            other = find_target(public)
            if other is not target and accepts(other, name):
                return f" (did you mean the other loss of this name, {public}?)"
    return ""


def _with_tensors(
    target: Callable[..., Any], args: list[Any], kwargs: dict[str, Any], path: str
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Converts lists of numbers to tensors for parameters that don't take lists."""
    signature = _signature(target)
    if signature is None:
        return tuple(args), kwargs
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError as error:
        raise TypeError(f"{path}: {target.__name__} can't be made: {error}.") from error
    hints = _hints(target)
    for key, value in bound.arguments.items():
        _check_kind(value, hints.get(key), f"{path}.{key}")
        if isinstance(value, (list, str)) and _wants_tensor(hints.get(key)):
            bound.arguments[key] = _as_tensor(value, f"{path}.{key}")
    return bound.args, bound.kwargs


def _hints(target: Callable[..., Any]) -> dict[str, Any]:
    """Returns the types of the target's parameters; empty if they can't be resolved."""
    try:
        return typing.get_type_hints(target.__init__ if inspect.isclass(target) else target)
    except (AttributeError, NameError, TypeError):
        return {}


def _check_kind(value: Any, hint: Any, path: str) -> None:
    """Raises TypeError for a text, bool or list where a type admits a number or a bool only.

    Many constructors take anything, and fail or compute something else at the first batch.
    """
    is_union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    kinds = set(typing.get_args(hint) if is_union else (hint,)) - {type(None)}
    if isinstance(value, str) and str not in kinds:
        kinds &= {int, float, bool}  # a list may be right, and a text is not
    if not kinds or not kinds <= {int, float, bool} or value is None:
        return
    if kinds == {bool} and isinstance(value, (str, list)):
        check_flag(path, value)
    elif bool not in kinds and isinstance(value, (str, list, bool)):
        check = check_number if float in kinds else check_integer
        check(path, value)
    elif isinstance(value, (str, list)):
        check_number(path, value)


def _wants_tensor(hint: Any) -> bool:
    """Returns whether a type admits a tensor, and otherwise at most a number or None."""
    members = typing.get_args(hint) or (hint,)
    return Tensor in members and set(members) <= {Tensor, type(None), float, int}


def _as_tensor(values: Sequence[Any], path: str) -> Tensor:
    try:
        return torch.tensor(values, dtype=torch.get_default_dtype())
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(
            f"{path} must be a list of numbers, got {shown(values)}{list_meant(path, values)}."
        ) from error
