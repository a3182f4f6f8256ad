"""Plans: the sums that a loss needs from the pass over the pixels, and their rows.

A sum is a value: equal sums stand for the same numbers. A `Plan` is a set of sums in a fixed
order. Every kernel writes sums, and reads their slopes, in the layout of its rows, (S, N, C), or
(S, N, K, C) if pixels are grouped. Nothing here touches a tensor.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from segloss.foundation.arguments import nearest, shown


class Row(NamedTuple):
    """One row (N, C) of the sums.

    Attributes:
        key: The name of the row in a `SoftConfusion`. It is never parsed.
        has_slope: True if it depends on the predictions.
        is_per_sample: True if exclusive classes share it. With softmax its value is then at
            class 0, with 0 at the other classes, and its slope is read only at class 0. Groups
            share it too: its value is at group 0, and its slope is read there.
    """

    key: str
    has_slope: bool = True
    is_per_sample: bool = False


@dataclass(frozen=True)
class Sum:
    """Sums that the pass computes together.

    Attributes:
        name: Their common name.
        rows: Their rows.
    """

    name: str
    rows: tuple[Row, ...]


_INTERPOLATED = ", interpolated"
"""The end of the names of focal sums that interpolate soft targets."""


@dataclass(frozen=True)
class FocalSum(Sum):
    r"""The sum of :math:`w \alpha_y (1 - p_y)^{\gamma_y} (-\log p_y)` over pixels of class y.

    Attributes:
        gamma: The exponents of the classes. The last one holds for all classes after it.
        alpha: The weights of the classes, likewise. A sigmoid channel has two classes, the
            background first; soft targets count in both.
        is_interpolated: True if a soft target g has one loss, of the mean p_t of the classes'
            probabilities, weighted by g: :math:`(1 - p_t)^\gamma` times the cross-entropy and the
            mean of alpha. False: the mean of the classes' losses.
    """

    name: str = field(init=False)
    rows: tuple[Row, ...] = field(init=False, repr=False)
    gamma: tuple[float, ...]
    alpha: tuple[float, ...]
    is_interpolated: bool = False

    def __post_init__(self) -> None:
        name = f"focal of gamma {self.gamma} and alpha {self.alpha}"
        name += _INTERPOLATED if self.is_interpolated else ""
        _derive(self, name=name, rows=(Row(name, is_per_sample=True),))


@dataclass(frozen=True)
class MapSum(Sum):
    """Three sums with a map m: `hit`, of w p m, `missed`, of w (1 - p) m, and `total`, of w m.

    A map gives each pixel and class a number, beside the target.

    Attributes:
        map_key: The map's name.
        hit: The key of the first row.
        missed: The key of the second.
        total: The key of the third, which does not depend on the predictions.
    """

    name: str = field(init=False)
    rows: tuple[Row, ...] = field(init=False, repr=False)
    hit: str = field(init=False, repr=False)
    missed: str = field(init=False, repr=False)
    total: str = field(init=False, repr=False)
    map_key: str

    def __post_init__(self) -> None:
        name = f"map {self.map_key!r}"
        keys = {part: f"{name}, {part}" for part in ("hit", "missed", "total")}
        rows = (Row(keys["hit"]), Row(keys["missed"]), Row(keys["total"], has_slope=False))
        _derive(self, name=name, rows=rows, **keys)


@dataclass(frozen=True)
class PowerSum(Sum):
    r"""The sums of :math:`w (1 - p_y^k) / k` over the pixels of each class y.

    A sigmoid channel counts its background, too; soft targets count in every class.

    Attributes:
        exponent: The exponent k, above 0.
    """

    name: str = field(init=False)
    rows: tuple[Row, ...] = field(init=False, repr=False)
    exponent: float

    def __post_init__(self) -> None:
        name = f"power of {self.exponent}"
        _derive(self, name=name, rows=(Row(name),))


@dataclass(frozen=True)
class DistanceSum(Sum):
    r"""Sums of the distance between the predicted classes and the true class of a pixel.

    With distances :math:`M` in [0, 1], a pixel of class y is :math:`\delta = \sum_c M_{yc} p_c`
    far from its class, and :math:`\sum_c (1 - M_{yc}) p_c` near to it.

    Attributes:
        distances: M, a row for each true class; () for 1 between any two classes. A sigmoid channel
            has two classes, the background first.
        far: The key of the row with the sum of the first number over each class's pixels.
        near: The key of the row with the sum of the second number.
        background_far: The key of the row for a sigmoid channel's background; 0 with softmax.
        background_near: Likewise for the second number.
    """

    name: str = field(init=False)
    rows: tuple[Row, ...] = field(init=False, repr=False)
    far: str = field(init=False, repr=False)
    near: str = field(init=False, repr=False)
    background_far: str = field(init=False, repr=False)
    background_near: str = field(init=False, repr=False)
    distances: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        name = f"distances {self.distances}"
        parts = ("far", "near", "background_far", "background_near")
        keys = {part: f"{name}, {part}" for part in parts}
        _derive(self, name=name, rows=tuple(map(Row, keys.values())), **keys)


def _derive(value: Any, **attributes: Any) -> None:
    """Sets attributes that follow from a frozen value's fields."""
    for name, attribute in attributes.items():
        object.__setattr__(value, name, attribute)


COUNTS = Sum("counts", (Row("actual", has_slope=False), Row("pixel_weight", has_slope=False)))
"""The total weight of the pixels of each class, and of all pixels."""

REGION = Sum("region", (Row("true_positive"), Row("false_positive"), Row("false_negative")))
"""The soft confusion counts; they come with `COUNTS`."""

CROSS_ENTROPY = Sum(
    "cross_entropy",
    (
        Row("cross_entropy", is_per_sample=True),
        Row("weight", has_slope=False, is_per_sample=True),
    ),
)
"""The cross-entropy, and the normaliser of its mean."""

SQUARED_ERROR = Sum("squared_error", (Row("squared_error"),))
"""The squared difference of probability and target."""

SEMIMETRIC = Sum("semimetric", tuple(Row(f"semimetric_{row.key}") for row in REGION.rows))
"""The counts with min(p, g) in place of p g. For targets of 0 and 1 they equal `REGION`."""

TRUE_NEGATIVE = Sum("true_negative", (Row("true_negative"),))
"""The sum of w (1 - p) (1 - g), which terms with a background need beside `REGION`."""

SEMIMETRIC_TRUE_NEGATIVE = Sum("semimetric_true_negative", (Row("semimetric_true_negative"),))
"""The sum of w min(1 - p, 1 - g), likewise beside `SEMIMETRIC`."""

_OF_GROUPS = {
    each.name: each
    for each in (REGION, TRUE_NEGATIVE, SQUARED_ERROR, SEMIMETRIC, SEMIMETRIC_TRUE_NEGATIVE)
}
"""The sums that groups of classes can have, by name."""


@dataclass(frozen=True)
class ClassGroupSum(Sum):
    r"""A sum of a group of classes G in place of a class, with softmax.

    The probability is :math:`p_G = \sum_{c \in G} p_c`, the target
    :math:`g_G = \sum_{c \in G} g_c`, and :math:`1 - p_G` the sum of the other classes'
    probabilities. Each row has one number per sample.

    Attributes:
        of: The name of the sum: "region", "true_negative", "squared_error", "semimetric" or
            "semimetric_true_negative".
        classes: The indices of the classes.
    """

    name: str = field(init=False)
    rows: tuple[Row, ...] = field(init=False, repr=False)
    of: str
    classes: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.of not in _OF_GROUPS:
            raise ValueError(
                f"of must be a sum that groups of classes have ({', '.join(_OF_GROUPS)}), got "
                f"{shown(self.of)}{nearest(self.of, _OF_GROUPS)}."
            )
        rows = tuple(Row(self.key(row.key), is_per_sample=True) for row in self.base.rows)
        _derive(self, name=self.key(self.of), rows=rows)

    @property
    def base(self) -> Sum:
        """The sum of a class that the group has."""
        return _OF_GROUPS[self.of]

    def key(self, key: str) -> str:
        """Returns the key of the group's row, from that of a class."""
        return f"{key} of classes {self.classes}"


PARAMETRIC: dict[str, type[Sum]] = {
    each.__name__: each for each in (FocalSum, MapSum, PowerSum, DistanceSum, ClassGroupSum)
}
"""The kinds of sums with parameters."""

FLOAT64 = Sum("float64", ())
"""Not a sum, but a request that the others count probabilities that float32 can't represent."""

OF_HARD_TARGETS = {SEMIMETRIC: REGION, SEMIMETRIC_TRUE_NEGATIVE: TRUE_NEGATIVE}
"""The sums that have the same numbers for targets of 0 and 1."""

USUAL_KEYS = {
    row.key: same.key
    for semimetric, usual in OF_HARD_TARGETS.items()
    for row, same in zip(semimetric.rows, usual.rows, strict=True)
}
"""The key of the usual count for each of the semimetric's keys."""

NAMED: dict[str, Sum] = {
    each.name: each
    for each in (
        COUNTS,
        REGION,
        TRUE_NEGATIVE,
        CROSS_ENTROPY,
        SQUARED_ERROR,
        SEMIMETRIC,
        SEMIMETRIC_TRUE_NEGATIVE,
        FLOAT64,
    )
}
"""The sums without parameters, by name, in the order of a plan."""


class Plan:
    """The sums that a loss needs, each once, in a fixed order: a value, made by `plan_of`.

    Args:
        sums: The sums: first those of `NAMED`, then those with parameters, by kind and name.
        is_hard: True if targets are 0 and 1. The keys of the semimetric's rows are then second
            names of the region's rows.
        group_key: The name of the map (N, C, P) of whole numbers that puts each pixel of a sample
            and class into one of K groups; None: there are no groups. A kernel then computes each
            row for each group.

    Attributes:
        names: The names of the sums without parameters, the kinds of the other sums, except for
            focal sums and sums of maps, and the name of the interpolation of focal sums.
        rows: Their rows.
        index: The index of each row, by its key, and by its second name if it has one.
        own_index: The index of each row, only by its key: the rows that a kernel computes.
        focals: The focal sums.
        class_groups: The sums of groups of classes.
        maps: The sums of maps.
        map_keys: The names of the maps that `maps` and the groups need.
        needs_float64: True if its sums need float64 where logits are far apart.
        of_hard_targets: The plan that gives the same numbers for targets of 0 and 1.
        text: The plan as text, for compiled operators. `Plan.read` reads it.
    """

    def __init__(
        self, sums: tuple[Sum, ...], is_hard: bool = False, group_key: str | None = None
    ) -> None:
        focals = tuple(each for each in sums if isinstance(each, FocalSum))
        interpolates = any(each.is_interpolated for each in focals)
        rows = tuple(row for each in sums for row in each.rows)
        own_index = {row.key: i for i, row in enumerate(rows)}
        usual_keys = USUAL_KEYS if is_hard else {}
        second_names = {
            key: own_index[usual] for key, usual in usual_keys.items() if usual in own_index
        }
        if is_hard:
            second_names |= {each.name + _INTERPOLATED: own_index[each.name] for each in focals}
        class_groups = tuple(each for each in sums if isinstance(each, ClassGroupSum))
        if is_hard:
            second_names |= _second_names_of_groups(class_groups, own_index)
        maps = tuple(each for each in sums if isinstance(each, MapSum))
        map_keys = [each.map_key for each in maps]
        if group_key is not None and group_key not in map_keys:
            map_keys.append(group_key)
        _derive(
            self,
            sums=sums,
            is_hard=is_hard,
            group_key=group_key,
            names=frozenset(
                each.name if type(each) is Sum else type(each).__name__
                for each in sums
                if not isinstance(each, (FocalSum, MapSum))
            )
            | ({"interpolated focal"} if interpolates else set()),
            rows=rows,
            index=own_index | second_names,
            own_index=own_index,
            focals=focals,
            class_groups=class_groups,
            maps=maps,
            map_keys=tuple(map_keys),
            needs_float64=FLOAT64 in sums,
            of_hard_targets=self
            if all(_of_hard_targets(each) is each for each in sums)
            else _for_hard_targets(sums, group_key),
            text=json.dumps([[_as_json(each) for each in sums], is_hard, group_key]),
            _hash=hash((sums, is_hard, group_key)),
        )

    sums: tuple[Sum, ...]
    is_hard: bool
    group_key: str | None
    names: frozenset[str]
    rows: tuple[Row, ...]
    index: Mapping[str, int]
    own_index: Mapping[str, int]
    focals: tuple[FocalSum, ...]
    class_groups: tuple[ClassGroupSum, ...]
    maps: tuple[MapSum, ...]
    map_keys: tuple[str, ...]
    needs_float64: bool
    of_hard_targets: Plan
    text: str
    _hash: int

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"cannot assign to {name!r}: a plan is a value, make another one.")

    def __reduce__(self) -> tuple[Any, ...]:
        return Plan, (self.sums, self.is_hard, self.group_key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Plan) and (
            (self.sums, self.is_hard, self.group_key)
            == (other.sums, other.is_hard, other.group_key)
        )

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        return f"Plan({', '.join(each.name for each in self.sums)})"

    @staticmethod
    @functools.lru_cache
    def read(text: str) -> Plan:
        """Returns the plan that has this `text`."""
        sums, is_hard, group_key = json.loads(text)
        return Plan(tuple(map(_from_json, sums)), is_hard, group_key)


def _as_json(each: Sum) -> Any:
    if type(each) is Sum:
        return each.name
    return type(each).__name__, {part.name: getattr(each, part.name) for part in _parameters(each)}


def _parameters(each: Sum | type[Sum]) -> list[dataclasses.Field[Any]]:
    return [part for part in dataclasses.fields(each) if part.init]


def _from_json(encoded: Any) -> Sum:
    if isinstance(encoded, str):
        return NAMED[encoded]
    kind, parameters = encoded
    return PARAMETRIC[kind](**{name: _as_tuple(value) for name, value in parameters.items()})


def _as_tuple(value: Any) -> Any:
    return tuple(map(_as_tuple, value)) if isinstance(value, list) else value


def _for_hard_targets(sums: Iterable[Sum], group_key: str | None) -> Plan:
    return Plan(plan_of(map(_of_hard_targets, sums)).sums, is_hard=True, group_key=group_key)


def _of_hard_targets(each: Sum) -> Sum:
    """Returns the sum with the same number for targets of 0 and 1."""
    if isinstance(each, FocalSum):
        return FocalSum(each.gamma, each.alpha) if each.is_interpolated else each
    if isinstance(each, ClassGroupSum) and each.base in OF_HARD_TARGETS:
        return ClassGroupSum(OF_HARD_TARGETS[each.base].name, each.classes)
    return OF_HARD_TARGETS.get(each, each)


def _second_names_of_groups(
    groups: Iterable[ClassGroupSum], own_index: Mapping[str, int]
) -> dict[str, int]:
    """Returns the second names, for targets of 0 and 1, of the rows of groups of classes."""
    return {
        each.key(key): own_index[each.key(usual)]
        for each in groups
        for key, usual in USUAL_KEYS.items()
        if each.key(usual) in own_index
    }


def has_groups(each: Sum) -> bool:
    """Returns whether a group of classes can have a sum, as a `ClassGroupSum`."""
    return each.name in _OF_GROUPS


def plan_of(sums: Iterable[Sum], group_key: str | None = None) -> Plan:
    """Returns the plan of some sums and of the counts that come with them."""
    wanted = set(sums)
    if wanted - {CROSS_ENTROPY}:
        wanted.add(COUNTS)
    named = [each for each in NAMED.values() if each in wanted]
    parametric = wanted.difference(named)
    ordered = sorted(parametric, key=lambda each: (type(each).__name__, each.name))
    return Plan((*named, *ordered), group_key=group_key)


def check_sums(sums: Any) -> Plan:
    """Checks sums, given by name or as values such as a `FocalSum`, and returns their plan.

    Raises:
        TypeError: `sums` is not a list.
        ValueError: A name is not a sum's, or `sums` is empty.
    """
    if isinstance(sums, str) or not isinstance(sums, Collection):
        raise TypeError(f"sums must be a list of sums or their names, got {shown(sums)}.")
    if not sums:
        raise ValueError(f"sums must name at least one of {', '.join(NAMED)}, got an empty list.")
    return plan_of(_check_sum(each) for each in sums)


def _check_sum(given: Any) -> Sum:
    if isinstance(given, Sum):
        return given
    if isinstance(given, str) and given in NAMED:
        return NAMED[given]
    raise ValueError(
        f"sums must hold names of sums ({', '.join(NAMED)}), or a FocalSum or MapSum, got "
        f"{shown(given)}{nearest(given, NAMED)}."
    )
