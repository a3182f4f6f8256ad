"""Checks of arguments, with error messages of one form.

A message names the argument, says what was expected and what was given, and suggests a remedy
where a likely cause is known. `names` knows how other libraries name arguments and losses.
"""

from __future__ import annotations

import difflib
import functools
import inspect
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from numbers import Integral, Real
from types import MappingProxyType
from typing import Any, ClassVar, TypeVar, cast

import torch
from torch import Tensor, nn
from typing_extensions import Self

from segloss.foundation.names.meaning import of_same_meaning
from segloss.foundation.precision import rounding_slack

Function = TypeVar("Function", bound=Callable[..., Any])

_MAX_CHARACTERS = 200
"""The number of characters of a value that messages show."""

_LARGEST_INTEGER = 2**63 - 1
"""The largest integer of 64 bits, as tensors hold them."""


class _SignatureOfInit:
    """The signature of `__init__` for a class. Python before 3.11.4 takes that of `__new__`."""

    def __get__(self, instance: object, owner: Any) -> inspect.Signature:
        """Returns the signature of the class; an instance has none of its own."""
        if instance is not None:
            raise AttributeError("__signature__")
        signature = inspect.signature(owner.__init__)
        return signature.replace(parameters=[*signature.parameters.values()][1:])


class ChecksKeywords:
    """A class whose constructor answers a wrong keyword with the argument that was probably meant.

    The check is made before `__init__`, so signatures, `help` and pickling are as without it.

    Attributes:
        belongs_elsewhere: Arguments that a caller may expect here, with the remedy of each.
    """

    __signature__ = _SignatureOfInit()
    belongs_elsewhere: ClassVar[Mapping[str, str]] = {}

    def __new__(cls, *args: Any, **keywords: Any) -> Self:
        """Returns a new object; raises TypeError for an unknown keyword."""
        if keywords:
            _check_keywords(
                cls.__name__, keywords, cls.__init__, belongs_elsewhere=cls.belongs_elsewhere
            )
        return super().__new__(cls)


def checks_keywords(remedy: str = "") -> Callable[[Function], Function]:
    """Makes a function answer a wrong keyword with the argument that was probably meant.

    For too many positional arguments, it names those that need a keyword.

    Args:
        remedy: The end of the message, if no argument is close.

    Example:
        >>> @checks_keywords()
        ... def scaled(value, factor=1.0):
        ...     return factor * value
        >>> scaled(2.0, factr=3.0)
        Traceback (most recent call last):
        ...
        TypeError: scaled() got an unexpected keyword argument 'factr' (did you mean 'factor'?).
    """

    def decorate(function: Function) -> Function:
        parameters = inspect.signature(function).parameters.values()
        known = frozenset(each.name for each in parameters)
        most = sum(each.kind is not each.KEYWORD_ONLY for each in parameters)

        @functools.wraps(function)
        def call(*args: Any, **keywords: Any) -> Any:
            if len(args) > most:
                refuse_positional(_name_of(function, args), len(args), most, function)
            for keyword in keywords:
                if keyword not in known:
                    _check_keywords(_name_of(function, args), keywords, function, remedy)
            return function(*args, **keywords)

        return cast(Function, call)

    return decorate


def _name_of(function: Callable[..., Any], args: Sequence[Any]) -> str:
    """Returns the name of a function; for a method, the name of its object's class."""
    is_method = "." in function.__qualname__ and "<locals>" not in function.__qualname__
    return type(args[0]).__name__ if is_method and args else function.__name__


def refuse_positional(name: str, given: int, most: int, function: Callable[..., Any]) -> None:
    """Raises TypeError for too many positional arguments."""
    parameters = inspect.signature(function).parameters.values()
    others = [f"{each.name}=..." for each in parameters if each.kind is each.KEYWORD_ONLY]
    method = int(next(iter(parameters)).name == "self")
    remedy = f": pass the others by keyword ({', '.join(others)})" if others else ""
    raise TypeError(
        f"{name}() takes {most - method} positional arguments, got {given - method}{remedy}."
    )


def _check_keywords(
    name: str,
    keywords: Iterable[str],
    function: Callable[..., Any],
    remedy: str = "",
    belongs_elsewhere: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Raises TypeError for a keyword that a function does not take."""
    parameters = inspect.signature(function).parameters
    if any(each.kind is each.VAR_KEYWORD for each in parameters.values()):
        return
    for keyword in keywords:
        if keyword not in parameters:
            known = [each for each in parameters if each != "self"]
            refuse_keyword(name, keyword, known, remedy, belongs_elsewhere)


def refuse_keyword(
    name: str,
    keyword: str,
    known: Collection[str],
    remedy: str = "",
    belongs_elsewhere: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Raises TypeError for a keyword that is not among the known ones."""
    meant = nearest(keyword, known, belongs_elsewhere)
    listed = f"; its arguments are: {', '.join(known) or 'none'}{remedy}"
    raise TypeError(f"{name}() got an unexpected keyword argument {keyword!r}{meant or listed}.")


def check_number(
    name: str, value: Any, low: float = 0.0, high: float = math.inf, *, open_low: bool = False
) -> float:
    """Returns `value` as a float if it is a finite number in [low, high], or (low, high].

    Raises:
        TypeError: `value` is not a number.
        ValueError: `value` is not finite or out of range.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(
            f"{name} must be a number, got {shown(value)} ({type(value).__name__})"
            f"{_meant(name, value, float)}."
        )
    try:
        number = float(value)
    except OverflowError:  # the int is too large for a float
        raise ValueError(
            f"{name} must be {_interval(low, high, open_low)}, got {shown(value)}."
        ) from None
    too_low = number <= low if open_low else number < low
    if not math.isfinite(number) or too_low or number > high:
        got = shown_number(number, low, high)
        raise ValueError(f"{name} must be {_interval(low, high, open_low)}, got {got}.")
    return number


def _interval(low: float, high: float, open_low: bool) -> str:
    if math.isinf(low):
        return "a finite number"
    if math.isinf(high):
        return f"a finite number {'above' if open_low else 'of at least'} {low:g}"
    return f"in {'(' if open_low else '['}{low:g}, {high:g}]"


def check_integer(
    name: str, value: Any, low: int | None = None, high: int = _LARGEST_INTEGER
) -> int:
    """Returns `value` as an int if it is a whole number of at least `low` and at most `high`.

    Raises:
        TypeError: `value` is not a whole number.
        ValueError: `value` is out of range.
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(
            f"{name} must be an int, got {shown(value)} ({type(value).__name__})"
            f"{_meant(name, value, int)}."
        )
    if low is not None and value < low:
        raise ValueError(f"{name} must be at least {low}, got {shown(value)}.")
    if abs(int(value)) > _LARGEST_INTEGER:
        raise ValueError(f"{name} must fit into 64 bits, got {shown(value)}.")
    if int(value) > high:
        raise ValueError(f"{name} must be at most {high}, got {shown(value)}.")
    return int(value)


def check_flag(name: str, value: Any) -> bool:
    """Returns `value` if it is a bool; raises TypeError otherwise."""
    if not isinstance(value, bool):
        raise TypeError(
            f"{name} must be True or False, got {shown(value)} ({type(value).__name__})"
            f"{_meant(name, value, bool)}."
        )
    return value


def _meant(name: str, value: Any, kind: type) -> str:
    """Returns ": pass ..." with the number or bool that a value of another type stands for."""
    if value is None or (isinstance(value, str) and value.lower() in _NOTHING):
        has_default = name[-1:] != "]" and " " not in name  # unlike an entry of a list
        return ": leave it out for its default" if has_default else ""
    meant = _converted(as_python(value), kind)
    return "" if meant is None else f": pass {meant!r}{_UNQUOTED if isinstance(value, str) else ''}"


_NOTHING = ("", "none", "null", "~")
"""Texts that stand for None."""

_UNQUOTED = ", without quotes"


def _converted(value: Any, kind: type) -> Any:
    """Returns the number or bool that a value stands for; None if it does not clearly do."""
    if is_list(value) and len(value) == 1:
        return _converted(value[0], kind)
    if kind is bool:
        return _TRUTHS.get(shown(value).strip("'").lower())
    if isinstance(value, str):
        return _number_in(value, kind)
    if isinstance(value, bool):
        return float(value) if kind is float else None
    if kind is int:
        is_whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        return int(value) if is_whole else None
    return value if isinstance(value, Real) else None


_TRUTHS = {"true": True, "yes": True, "on": True, "1": True} | dict.fromkeys(
    ("false", "no", "off", "0"), False
)


def _number_in(text: str, kind: type) -> Any:
    """Returns the finite number that a text holds; None if it holds none of this kind."""
    try:
        number = float(text)
    except ValueError:
        return None
    if not math.isfinite(number):
        return None
    whole = int(number) if number.is_integer() else None
    return whole if kind is int else number if whole is None or "." in text else whole


def check_text(name: str, value: Any) -> str:
    """Returns `value` if it is a non-empty str; raises TypeError or ValueError otherwise."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, got {shown(value)} ({type(value).__name__}).")
    if not value:
        raise ValueError(f"{name} must not be empty.")
    return value


def check_choice(name: str, value: Any, choices: Collection[str]) -> str:
    """Returns `value` if it is one of `choices`; else raises ValueError with the closest one."""
    if not isinstance(value, str) or value not in choices:
        listed = ", ".join(repr(choice) for choice in choices)
        raise ValueError(
            f"{name} must be one of {listed}, got {shown(value)}{nearest(value, choices)}."
        )
    return value


def nearest(
    word: Any, choices: Iterable[str], belongs_elsewhere: Mapping[str, str] = MappingProxyType({})
) -> str:
    """Returns " (did you mean ...?)" with the choice closest to `word`, or an empty text.

    The name that other libraries give to a choice is closer than a similar spelling.

    Args:
        word: The wrong name.
        choices: The right names.
        belongs_elsewhere: Names that are right in another place, with the remedy of each, which is
            returned after a colon if no choice has the meaning of `word`.
    """
    text, choices = shown(word).strip("'"), list(choices)
    if meant := of_same_meaning(text, choices):
        return f" (did you mean {meant!r}?)"
    if place := text if text in belongs_elsewhere else of_same_meaning(text, belongs_elsewhere):
        return f": {belongs_elsewhere[place]}"
    meant = nearest_name(text, choices)
    return f" (did you mean {meant!r}?)" if meant else ""


def nearest_name(word: str, choices: Iterable[str]) -> str | None:
    """Returns the choice that means the same as `word`, or else is spelled alike, or None."""
    spelled = {name.lower(): name for name in choices}
    matches = difflib.get_close_matches(word.lower(), spelled, n=1)
    return of_same_meaning(word, spelled.values()) or (spelled[matches[0]] if matches else None)


def no_attribute(
    module: str,
    name: str,
    names: Iterable[str],
    elsewhere: Mapping[str, str] = MappingProxyType({}),
) -> AttributeError:
    """Returns the error for an attribute that a module lacks, with the one probably meant.

    Args:
        module: The name of the module.
        name: The name of the attribute.
        names: The attributes that there are.
        elsewhere: Names that are right in another place, with the remedy of each.
    """
    if name in elsewhere:
        meant = f": {elsewhere[name]}"
    else:
        meant = "" if name.startswith("_") else nearest(name, names)
    return AttributeError(f"module {module!r} has no attribute {name!r}{meant}")


def shown(value: Any) -> str:
    """Returns the text for a value in messages: its repr, cut if it is long.

    Tensors are shown by their shapes, inside lists, tuples and dicts too.
    """
    if isinstance(value, int) and value.bit_length() > _MAX_CHARACTERS:
        return f"an int of {value.bit_length()} bits"
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    if type(value).__name__ == "ndarray":
        return f"an array of shape {value.shape}"
    try:
        text = _with_shapes(value) if _holds_tensors(value) else repr(value)
    except Exception:  # raised by a user's __repr__, or by large ints inside
        text = f"a {type(value).__name__}"
    return text if len(text) <= _MAX_CHARACTERS else f"{text[:_MAX_CHARACTERS]}..."


def _holds_tensors(value: Any, depth: int = 3) -> bool:
    """Returns whether a list, tuple or dict holds a tensor, itself or in one of its entries."""
    entries = value.values() if type(value) is dict else value
    if depth == 0 or type(value) not in (list, tuple, dict):
        return False
    return any(isinstance(each, Tensor) or _holds_tensors(each, depth - 1) for each in entries)


def _with_shapes(value: Any) -> str:
    """Returns the repr of a list, tuple or dict, with shapes in place of its tensors."""
    if type(value) is dict:
        return f"{{{', '.join(f'{key!r}: {shown(each)}' for key, each in value.items())}}}"
    entries = ", ".join(map(shown, value))
    return f"[{entries}]" if isinstance(value, list) else f"({entries})"


def shown_number(value: float, *bounds: float) -> str:
    """Returns a number for messages, with enough digits to tell it from the bounds."""
    text = f"{value:g}"
    is_told_apart = all(value == bound or float(text) != bound for bound in bounds)
    return text if is_told_apart else repr(value)


def is_allowed(name: str, allow: Iterable[str]) -> bool:
    """Returns whether a dotted name, or a prefix that ends before a dot, is in `allow`."""
    return any(name == entry or name.startswith(entry.rstrip(".") + ".") for entry in allow)


def is_list(value: Any) -> bool:
    """Returns whether `value` is a sequence (an OmegaConf list, too), but not a text."""
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))


def as_python(value: Any) -> Any:
    """Converts an array or tensor to a Python number or list; returns other values unchanged."""
    return value.tolist() if hasattr(value, "tolist") else value


def list_meant(name: str, value: Any) -> str:
    """Returns the remedy for something that stands for a list, or an empty text."""
    if isinstance(value, Mapping):
        return f": pass list({name}.values()), in the right order"
    if hasattr(value, "tolist"):
        return f": pass {name}{'.flatten()' if getattr(value, 'ndim', 0) > 1 else ''}.tolist()"
    if isinstance(value, (int, float)):
        return f": pass [{shown(value)}]"
    if not isinstance(value, str):
        return ""
    if value.lower() in _NOTHING:
        return ": leave it out for its default"
    entries = [each.strip() for each in value.strip("[]() ").split(",")]
    numbers = [_number_in(each, float) for each in entries]
    if None not in numbers:
        return f": pass {numbers}{_UNQUOTED}"
    return f": pass {entries}" if "," in value else ""


def check_weights(name: str, value: Any) -> Tensor | None:
    """Returns per-class weights as a float64 vector; None stays None.

    Args:
        name: The argument's name, for messages.
        value: A number, a sequence of numbers, or a tensor or array of at most one dimension. All
            numbers are finite and at least 0; if one is below 0 by rounding, it becomes 0.

    Raises:
        TypeError: `value` is none of these, or requires grad.
        ValueError: It is empty or all 0, or a weight is negative or not finite.
    """
    if value is None:
        return None
    if isinstance(value, Tensor) and value.requires_grad:
        raise TypeError(f"{name} must not require grad: pass {name}.detach().")
    if isinstance(value, (str, Mapping)) or getattr(value, "ndim", 0) > 1:
        raise TypeError(
            f"{name} must be a list of numbers, one per class, got {shown(value)}"
            f"{list_meant(name, value)}."
        )
    value = as_python(value)
    numbers = _without_rounding(list(value) if is_list(value) else [value])
    checked = [check_number(f"{name}[{i}]", number) for i, number in enumerate(numbers)]
    if not any(checked):
        raise ValueError(f"{name} must hold at least one weight above 0, got {checked}.")
    return torch.tensor(checked, dtype=torch.float64)


def _without_rounding(weights: Sequence[Any]) -> list[Any]:
    """Returns weights, with 0 for those that are below 0 by rounding."""
    numbers = [float(weight) for weight in weights if isinstance(weight, float)]
    slack = rounding_slack(torch.float64) * max(numbers, default=0.0)
    return [
        0.0 if isinstance(weight, float) and -slack <= weight < 0 else weight for weight in weights
    ]


def check_classes(name: str, value: Any) -> tuple[int, ...]:
    """Returns the class indices of a list, after checking that it has some and no duplicates."""
    classes = as_python(value)
    if not is_list(classes):
        remedy = list_meant(name, classes)
        raise TypeError(f"{name} must be a list of class indices, got {shown(value)}{remedy}.")
    if any(isinstance(each, bool) for each in classes):
        indices = [index for index, each in enumerate(classes) if each]
        raise TypeError(f"{name} must hold class indices, got {shown(classes)}: pass {indices}.")
    for each in classes:
        if isinstance(each, str) and not each.strip().isdigit():
            raise TypeError(
                f"{name} must hold class indices, got {shown(each)}: pass the index of its "
                "channel, counted from 0."
            )
    checked = tuple(check_integer(f"{name}[{i}]", each, 0) for i, each in enumerate(classes))
    if not checked or len(set(checked)) < len(checked):
        remedy = f"pass {sorted(set(checked))}" if checked else f"leave {name} out for all classes"
        raise ValueError(
            f"{name} must name at least one class, without duplicates, got {list(checked)}: "
            f"{remedy}."
        )
    return checked


def check_class_range(name: str, classes: Collection[int], channels: int) -> None:
    """Raises ValueError if a class index is not that of a channel."""
    if max(classes) >= channels:
        raise ValueError(
            f"{name}={list(classes)} is out of range: there are {channels} classes (0 to "
            f"{channels - 1})."
        )


def check_mapping(path: str, value: Any, remedy: str = "") -> Mapping[str, Any]:
    """Returns `value` if it is a mapping; otherwise raises TypeError, which names `path`."""
    if not isinstance(value, Mapping):
        got = f"{shown(value)} ({type(value).__name__})"
        raise TypeError(f"{path} must be a mapping, got {got}{remedy}.")
    return value


def check_keys(path: str, block: Mapping[str, Any], known: Collection[str]) -> None:
    """Raises ValueError if a mapping has a key that is not in `known`."""
    for key in block:
        if key not in known:
            raise ValueError(
                f"{path}.{key} is unknown{nearest(key, known)}; known are: {', '.join(known)}."
            )


def check_module_name(what: str, name: Any) -> str:
    """Returns `name` if PyTorch can register a module under it; otherwise raises an error."""
    check_text(what, name)
    if "." in name or hasattr(nn.ModuleDict, name):
        raise ValueError(
            f"{what} must not contain a dot or be a method of nn.ModuleDict, got {shown(name)}."
        )
    return str(name)


def check_same_names(what: str, state: Any, now: Sequence[str]) -> None:
    """Raises ValueError if a checkpoint has other names, or the same names in another order."""
    saved: Any = state.get(what) if isinstance(state, Mapping) else None
    if not is_list(saved) or not all(isinstance(name, str) for name in saved):
        raise ValueError(
            f"The checkpoint must have the names of its {what}, got {shown(state)}: it belongs to "
            "something else, or is damaged."
        )
    if list(saved) != list(now):
        raise ValueError(
            f"The checkpoint has different {what}: {', '.join(saved)} then, {', '.join(now)} now, "
            f"so their states would be mixed up. Build the {what} of the earlier config, or do not "
            "load this part."
        )
