"""Named tuples that are also numbers: those of their first entry, a tensor."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from torch import Tensor
from torch.utils import _pytree
from torch.utils._pytree import tree_map

Result = TypeVar("Result", bound=type[Any])

_OPERATORS = (
    *("add", "radd", "sub", "rsub", "mul", "rmul", "truediv", "rtruediv", "pow", "rpow"),
    *("floordiv", "rfloordiv", "mod", "neg", "pos", "abs", "float", "int", "format"),
    *("eq", "ne", "lt", "le", "gt", "ge"),
)
"""The operators that a result takes from its number. It is indexed, unpacked and tested for truth
as a tuple."""

_TYPES: list[type] = []
"""The named tuples that are also numbers."""


def as_number(result: Result) -> Result:
    """Gives a named tuple the operators and functions of its first entry, a tensor.

    Example:
        >>> from typing import NamedTuple
        >>> import torch
        >>> @as_number
        ... class Result(NamedTuple):
        ...     value: torch.Tensor
        ...     info: dict
        ...     def __getattr__(self, name):
        ...         return attribute(self, name)
        >>> result = Result(torch.tensor(0.5), {})
        >>> 2 * result, torch.isfinite(result), result.item()
        (tensor(1.), tensor(True), 0.5)
    """
    for name in _OPERATORS:
        setattr(result, f"__{name}__", _operator(f"__{name}__"))
    result.__torch_function__ = classmethod(_of_numbers)
    result.__array_priority__ = 1000  # NumPy leaves `number * result` to the result
    for name in ("__repr__", "__hash__"):
        setattr(result, name, getattr(tuple, name))
    result.__new__ = _made_of_entries(result.__new__)
    _TYPES.append(result)
    name = f"{result.__module__}.{result.__qualname__}"  # exported programs are saved with it
    _pytree._register_namedtuple(result, serialized_type_name=name)
    return result


def _made_of_entries(new: Callable[..., Any]) -> Callable[..., Any]:
    """Lets a named tuple be made of an iterable of its entries, as `tuple` is.

    `torch.amp.GradScaler.scale` builds a tuple this way, from the entries that it has scaled. It
    turns a mapping into an iterator over the keys, which the new tuple replaces by an empty
    mapping.
    """

    def make(cls: type, *entries: Any, **named: Any) -> Any:
        is_iterable = len(entries) == 1 and len(named) == 0 and not isinstance(entries[0], Tensor)
        if is_iterable:
            entries = tuple({} if isinstance(each, map) else each for each in entries[0])
        return new(cls, *entries, **named)

    return make


def _operator(name: str) -> Callable[..., Any]:
    def operate(result: Any, *others: Any) -> Any:
        return getattr(result[0], name)(*map(_number, others))

    return operate


def attribute(result: Any, name: str) -> Any:
    """Returns an attribute of a result's number, for the `__getattr__` of its class."""
    if name.startswith("_"):  # such as those that copy and pickle look for
        raise AttributeError(f"{type(result).__name__!r} object has no attribute {name!r}")
    return getattr(result[0], name)


def _of_numbers(
    cls: type,
    function: Callable[..., Any],
    types: Sequence[type],
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
) -> Any:
    """Calls a function of PyTorch with tensors in place of results."""
    args, kwargs = tree_map(_number, (args, kwargs or {}), is_leaf=_is_result)
    return function(*args, **kwargs)


def _is_result(value: Any) -> bool:
    return type(value) in _TYPES


def _number(value: Any) -> Any:
    return value[0] if _is_result(value) else value
