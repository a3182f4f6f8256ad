"""Plans: the sums that a loss needs from the pass over the pixels, and their rows.

A sum is a value: equal sums stand for the same numbers. A `Plan` is a set of sums in a fixed
order. Its rows are the layout in which every kernel writes sums and reads slopes, (S, N, C).
Nothing here touches a tensor.
"""

from __future__ import annotations

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
        is_per_sample: True if exclusive classes share it. With softmax its value then
            stands at class 0, and 0 at the others; its slope is read at class 0 alone.
    """

    key: str
    has_slope: bool = True
    is_per_sample: bool = False


@dataclass(frozen=True)
class Sum:
    """Sums that the pass takes together.

    Attributes:
        name: Their common name.
        rows: Their rows.
    """

    name: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class FocalSum(Sum):
    r"""The sum of :math:`w \alpha_y (1 - p_y)^{\gamma_y} (-\log p_y)` over pixels of class y.

    Attributes:
        gamma: The exponents of the classes.
        alpha: Their weights; the last of each holds for all further classes. A sigmoid channel
            has two classes, the background first; soft targets count in both.
    """

    name: str = field(init=False)
    rows: tuple[Row, ...] = field(init=False, repr=False)
    gamma: tuple[float, ...]
    alpha: tuple[float, ...]

    def __post_init__(self) -> None:
        name = f"focal of gamma {self.gamma} and alpha {self.alpha}"
        _derive(self, name=name, rows=(Row(name, is_per_sample=True),))


@dataclass(frozen=True)
class MapSum(Sum):
    """Sums of a map m beside the target: `hit` of w p m, `missed` of w (1 - p) m, `total` of w m.

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


def _derive(value: Any, **attributes: Any) -> None:
    """Sets attributes of a frozen value that follow from its fields."""
    for name, attribute in attributes.items():
        object.__setattr__(value, name, attribute)


COUNTS = Sum("counts", (Row("actual", has_slope=False), Row("pixel_weight", has_slope=False)))
"""The weight of the pixels of each class, and of all."""

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
"""The counts with min(p, g) for p g. For targets of 0 and 1 they equal `REGION`."""

NAMED: dict[str, Sum] = {
    each.name: each for each in (COUNTS, REGION, CROSS_ENTROPY, SQUARED_ERROR, SEMIMETRIC)
}
"""The sums without parameters, by name, in the order of a plan."""


class Plan:
    """The sums that a loss needs, each once, in one order: a value. Make it with `plan_of`.

    Args:
        sums: The sums: first those of `NAMED`, then focal sums, then sums of maps.
        is_hard: True for targets of 0 and 1, for which the semimetric's keys name the region's
            rows.

    Attributes:
        names: The names of the sums without parameters.
        rows: Their rows.
        index: The place of each row, by its key.
        focals: The focal sums.
        maps: The sums of maps.
        map_keys: The names of the maps that these need.
        of_hard_targets: The plan that gives the same numbers for targets of 0 and 1.
        text: The plan for an operator of a compiler, which `Plan.read` reads.
    """

    def __init__(self, sums: tuple[Sum, ...], is_hard: bool = False) -> None:
        rows = tuple(row for each in sums for row in each.rows)
        index = {row.key: place for place, row in enumerate(rows)}
        if is_hard:
            same = zip(SEMIMETRIC.rows, REGION.rows, strict=True)
            index |= {row.key: index[of_region.key] for row, of_region in same}
        _derive(
            self,
            sums=sums,
            is_hard=is_hard,
            names=frozenset(each.name for each in sums if type(each) is Sum),
            rows=rows,
            index=index,
            focals=tuple(each for each in sums if isinstance(each, FocalSum)),
            maps=tuple(each for each in sums if isinstance(each, MapSum)),
            map_keys=tuple(each.map_key for each in sums if isinstance(each, MapSum)),
            of_hard_targets=_hardened(sums) if SEMIMETRIC in sums else self,
            text=json.dumps([[_as_json(each) for each in sums], is_hard]),
            _hash=hash((sums, is_hard)),
        )

    sums: tuple[Sum, ...]
    is_hard: bool
    names: frozenset[str]
    rows: tuple[Row, ...]
    index: Mapping[str, int]
    focals: tuple[FocalSum, ...]
    maps: tuple[MapSum, ...]
    map_keys: tuple[str, ...]
    of_hard_targets: Plan
    text: str
    _hash: int

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"cannot assign to {name!r}: a plan is a value, make another one.")

    def __reduce__(self) -> tuple[Any, ...]:
        return Plan, (self.sums, self.is_hard)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Plan) and (self.sums, self.is_hard) == (other.sums, other.is_hard)

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        return f"Plan({', '.join(each.name for each in self.sums)})"

    @staticmethod
    @functools.lru_cache
    def read(text: str) -> Plan:
        """Returns the plan that has this `text`."""
        sums, is_hard = json.loads(text)
        return Plan(tuple(map(_from_json, sums)), is_hard)


def _as_json(each: Sum) -> Any:
    if isinstance(each, FocalSum):
        return {"gamma": each.gamma, "alpha": each.alpha}
    return {"map_key": each.map_key} if isinstance(each, MapSum) else each.name


def _from_json(written: Any) -> Sum:
    if isinstance(written, str):
        return NAMED[written]
    if "map_key" in written:
        return MapSum(**written)
    return FocalSum(**{name: tuple(values) for name, values in written.items()})


def _hardened(sums: Iterable[Sum]) -> Plan:
    region = {REGION if each == SEMIMETRIC else each for each in sums}
    return Plan(plan_of(region).sums, is_hard=True)


def plan_of(sums: Iterable[Sum]) -> Plan:
    """Returns the plan of some sums, and of the counts that come with them."""
    wanted = set(sums)
    if wanted - {CROSS_ENTROPY}:
        wanted.add(COUNTS)
    named = [each for each in NAMED.values() if each in wanted]
    others = sorted(wanted.difference(named), key=lambda each: (type(each).__name__, each.name))
    return Plan((*named, *others))


def check_sums(sums: Any) -> Plan:
    """Returns the plan of sums that are given by name, or as a `FocalSum` or `MapSum`.

    Raises:
        TypeError: `sums` is not a list.
        ValueError: There is no such sum, or none was named.
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
