"""The option `ignore_index`: one value of a target that marks pixels to leave out, or several.

A loss keeps it in the form that is named here: an int, a tuple of two or more ints in order, or
    None.
`segloss.batch.assemble` gives all ignored pixels of a batch one value, so kernels know only one.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from segloss.foundation.arguments import as_python, check_integer, is_list, shown
from segloss.foundation.dtypes import can_hold, equals_any

IgnoreIndex = int | tuple[int, ...] | None
"""The type of a checked `ignore_index`."""


def check_ignore_index(value: Any, name: str = "ignore_index") -> IgnoreIndex:
    """Returns an int, or a list of ints as a sorted tuple (of one int: the int); None stays None.

    Raises:
        TypeError: `value` is neither an int nor a list of ints.
        ValueError: The list is empty or holds a value twice, or a value does not fit into 64 bits.
    """
    if value is None:
        return None
    value = as_python(value)
    if not (is_list(value) or isinstance(value, (set, frozenset))):
        return _check_value(name, value)
    if not value:
        raise ValueError(
            f"{name} must hold at least one value, got {shown(value)}: to ignore none, leave it "
            f"out, {name}=None."
        )
    values = sorted(_check_value(f"{name}[{i}]", each) for i, each in enumerate(value))
    different = sorted(set(values))
    if len(different) < len(values):
        raise ValueError(
            f"{name} must not hold a value twice, got {shown(value)}: pass {different}."
        )
    return values[0] if len(values) == 1 else tuple(values)


def values_of(ignore_index: IgnoreIndex) -> tuple[int, ...]:
    """Returns the values of a checked `ignore_index`, in order."""
    if ignore_index is None:
        return ()
    return ignore_index if isinstance(ignore_index, tuple) else (ignore_index,)


def written(ignore_index: IgnoreIndex) -> str:
    """Returns a checked `ignore_index` as a user writes it."""
    return str(list(ignore_index) if isinstance(ignore_index, tuple) else ignore_index)


def with_one_value(target: Tensor, ignore_index: IgnoreIndex) -> tuple[Tensor, int | None]:
    """Returns the target with one value for all ignored pixels, and that value.

    It is the first value that the target's dtype can hold; None if it can hold none. The target is
    copied only if its dtype can hold several.
    """
    if not isinstance(ignore_index, tuple):
        return target, ignore_index
    held = [value for value in ignore_index if can_hold(target.dtype, value)]
    if len(held) > 1:
        target = target.masked_fill(equals_any(target, held[1:]), held[0])
    return target, held[0] if held else None


def _check_value(name: str, value: Any) -> int:
    """Returns an ignored value as an int; raises TypeError with a remedy for anything else."""
    is_whole = (isinstance(value, float) and value.is_integer()) or (
        isinstance(value, str) and value.strip().lstrip("+-").isdecimal()
    )
    if is_whole:
        remedy = f": pass {int(value)}"
    elif is_list(value):
        remedy = ": pass one list of ints, without lists inside"
    else:
        return check_integer(name, value)
    raise TypeError(f"{name} must be an int, got {shown(value)} ({type(value).__name__}){remedy}.")
