"""The arguments of a loss: the values that a config sets, and the defaults."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from segloss.config.registry import resolve_target
from segloss.foundation.arguments import is_list


class Parameter(NamedTuple):
    """An argument of a loss.

    Attributes:
        name: The name.
        value: The value, as a config writes it.
        default: The default; `inspect.Parameter.empty` if there is none.
    """

    name: str
    value: Any
    default: Any

    @property
    def differs(self) -> bool:
        """True if the value is not the default."""
        return self.default is inspect.Parameter.empty or bool(self.value != self.default)

    def __str__(self) -> str:
        if not self.differs or self.default is inspect.Parameter.empty:
            return f"{self.name} = {as_config(self.value)}"
        return f"{self.name} = {as_config(self.value)} (default {as_config(self.default)})"


def parameters_of(block: Mapping[str, Any], allow: Sequence[str] = ()) -> list[Parameter]:
    """Returns the arguments of a loss in a config, in the order of its signature.

    Example:
        >>> parameters = parameters_of({"_target_": "torch.nn.HuberLoss", "delta": 2.0})
        >>> print(*parameters)
        reduction = 'mean' delta = 2.0 (default 1.0)
    """
    if "_target_" not in block:
        return []
    target = resolve_target(block["_target_"], allow)
    defaults = _defaults(target)
    given = {key: value for key, value in block.items() if not key.startswith("_")}
    given.update(zip(defaults, block.get("_args_", ()), strict=False))
    names = [name for name in defaults if name in given or _has_default(defaults[name])]
    names += [name for name in given if name not in defaults]
    empty = inspect.Parameter.empty
    return [Parameter(n, given.get(n, defaults.get(n)), defaults.get(n, empty)) for n in names]


def as_config(value: Any) -> str:
    """Returns a value as a config might write it in one line; a `_target_` becomes a call.

    Example:
        >>> as_config({"_target_": "torch.nn.CrossEntropyLoss", "weight": [1.0, 2.0]})
        'CrossEntropyLoss(weight=[1.0, 2.0])'
    """
    if isinstance(value, Mapping) and "_target_" in value:
        arguments = [as_config(item) for item in value.get("_args_", ())]
        arguments += [f"{k}={as_config(v)}" for k, v in value.items() if not k.startswith("_")]
        return f"{value['_target_'].rpartition('.')[2]}({', '.join(arguments)})"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {as_config(item)}" for key, item in value.items()) + "}"
    if is_list(value):
        return "[" + ", ".join(map(as_config, value)) + "]"
    return repr(value)


def _defaults(target: Any) -> dict[str, Any]:
    """Returns the defaults by the names of the arguments."""
    return {
        name: parameter.default
        for name, parameter in inspect.signature(target).parameters.items()
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    }


def _has_default(default: Any) -> bool:
    return default is not inspect.Parameter.empty
