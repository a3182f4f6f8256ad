"""The sums that the pass leaves: all that the terms above ever see of the pixels."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from segloss.arguments import nearest, shown

REGION = ("true_positive", "false_positive", "false_negative")
"""The sums of the region terms."""

COUNTS = ("actual", "pixel_weight")
"""The sums that come with them, and do not depend on the predictions."""

METRIC = tuple(f"metric_{name}" for name in REGION)
"""The same for soft targets: the least of p and g, and what each has beyond the other."""

CROSS_ENTROPY = ("cross_entropy", "weight")
"""The sums of the cross-entropy."""

CONSTANT = (*COUNTS, "weight")
"""The sums that do not depend on the predictions; those of maps end in "total"."""

SUMS: dict[str, tuple[str, ...]] = {
    "counts": COUNTS,
    "region": (*REGION, *COUNTS),
    "cross_entropy": CROSS_ENTROPY,
    "metric": (*METRIC, *COUNTS),
    "squared_error": ("squared_error", "pixel_weight"),
}
"""The groups of sums without parameters, by name. Those with parameters: `FocalSum`, `MapSum`."""

DEFAULT = ("region", "cross_entropy")
"""The groups that are computed where none are named."""


class FocalSum(NamedTuple):
    r"""The sum of :math:`w \alpha_y (1 - p_y)^{\gamma_y} (-\log p_y)` over pixels of class y.

    Attributes:
        gamma: The exponents, and
        alpha: the weights, of each class; the last holds for all further ones. A sigmoid channel
            has two classes, the background first; soft targets count in both.
    """

    gamma: tuple[float, ...]
    alpha: tuple[float, ...]

    @property
    def group(self) -> str:
        """The name under which the pass is asked for it, which says all there is to know."""
        gamma, alpha = (",".join(repr(float(value)) for value in part) for part in self)
        return f"focal({gamma};{alpha})"

    @classmethod
    def parse(cls, group: str) -> FocalSum | None:
        """The sum of that name, or None if it is the name of something else."""
        if not group.startswith("focal("):
            return None
        gamma, alpha = group[len("focal(") : -1].split(";")
        return cls(
            tuple(float(value) for value in gamma.split(",")),
            tuple(float(value) for value in alpha.split(",")),
        )


class MapSum(NamedTuple):
    """Sums of a map m beside the target: of w p m ("hit"), w (1 - p) m ("missed"), w m ("total").

    Attributes:
        key: The map's name.
    """

    key: str

    @property
    def group(self) -> str:
        """The name under which the pass is asked for it."""
        return f"map({self.key})"

    @property
    def names(self) -> tuple[str, str, str]:
        """The names of the three sums."""
        return f"{self.group}.hit", f"{self.group}.missed", f"{self.group}.total"

    @classmethod
    def parse(cls, group: str) -> MapSum | None:
        """The sums of that name, or None if it is the name of something else."""
        return cls(group[len("map(") : -1]) if group.startswith("map(") else None


_FOCAL = re.compile(r"focal\([^;()]+;[^;()]+\)")


def names_of(groups: Collection[str]) -> list[str]:
    """The names of the groups' sums, each once, in order.

    Raises:
        ValueError: There is no such group.
    """
    names = [name for group in groups for name in _names(group)]
    return list(dict.fromkeys(names))


def is_constant(name: str) -> bool:
    """Whether a sum does not depend on the predictions."""
    return name in CONSTANT or name.endswith(".total")


def is_per_sample(name: str) -> bool:
    """Whether a sum has no classes with softmax."""
    return name in CROSS_ENTROPY or name.startswith("focal(")


def focal_sums(groups: Collection[str]) -> list[FocalSum]:
    """The focal sums among the groups."""
    return [focal for focal in map(FocalSum.parse, groups) if focal is not None]


def map_sums(groups: Collection[str]) -> list[MapSum]:
    """The sums of maps among the groups."""
    return [of_map for of_map in map(MapSum.parse, groups) if of_map is not None]


def _names(group: Any) -> tuple[str, ...]:
    if isinstance(group, str):
        if group in SUMS:
            return SUMS[group]
        if _FOCAL.fullmatch(group):
            return group, "pixel_weight"
        of_map = MapSum.parse(group)
        if of_map is not None:
            return *of_map.names, "pixel_weight"
    raise ValueError(
        f"sums must name groups of sums ({', '.join(SUMS)}, or those of a FocalSum or MapSum), got "
        f"{shown(group)}{nearest(group, SUMS)}."
    )


@dataclass(frozen=True)
class SoftConfusion:
    r"""Soft confusion counts and cross-entropy, per sample and class.

    With pixel weights :math:`w`, probabilities :math:`p` and targets :math:`g`, summed over the
    pixels of a sample:

    - `true_positive` :math:`\sum w p g`, `false_positive` :math:`\sum w p (1 - g)` and
      `false_negative` :math:`\sum w (1 - p) g`, each summed by itself, so that no digits are lost
      where predictions are confident;
    - `predicted` :math:`\sum w p`, `actual` :math:`\sum w g`, `pixel_weight` :math:`\sum w`;
    - `cross_entropy`, the sum of :math:`w` times the pixel's (binary) cross-entropy, class
      weights, `pos_weight` and label smoothing included, and `weight`, the normaliser of its mean;
    - where asked for, `confusion["squared_error"]` :math:`\sum w (p - g)^2`, the sums of a
      `FocalSum` or `MapSum` under their names, and those of `metric`.

    They are float64 where the device has it. Shapes are (N, C); those of the cross-entropy and of
    focal sums are (N,) for softmax.

    Attributes:
        sums: The sums by name.
        exclusive: Whether classes exclude each other (softmax).
    """

    sums: Mapping[str, Tensor]
    exclusive: bool = False

    def __getitem__(self, name: str) -> Tensor:
        """The sum of that name; KeyError if the pass was not asked for it."""
        try:
            return self.sums[name]
        except KeyError:
            raise KeyError(
                f"{name!r} was not computed: the sums that there are: {', '.join(self.sums)}. "
                f"Ask for more with soft_confusion(..., sums={tuple(SUMS)})."
            ) from None

    @property
    def true_positive(self) -> Tensor:
        """The sum of w p g."""
        return self["true_positive"]

    @property
    def false_positive(self) -> Tensor:
        """The sum of w p (1 - g)."""
        return self["false_positive"]

    @property
    def false_negative(self) -> Tensor:
        """The sum of w (1 - p) g."""
        return self["false_negative"]

    @property
    def true_negative(self) -> Tensor:
        """The sum of w (1 - p) (1 - g)."""
        return (self.pixel_weight - self.actual - self.false_positive).clamp(min=0)

    @property
    def predicted(self) -> Tensor:
        """The sum of w p."""
        return self.true_positive + self.false_positive

    @property
    def actual(self) -> Tensor:
        """The sum of w g."""
        return self["actual"]

    @property
    def pixel_weight(self) -> Tensor:
        """The sum of w: 0 where all pixels of a cell are left out."""
        return self["pixel_weight"]

    @property
    def cross_entropy(self) -> Tensor:
        """The sum of w times the pixel's cross-entropy."""
        return self["cross_entropy"]

    @property
    def weight(self) -> Tensor:
        """The normaliser of the cross-entropy's mean."""
        return self["weight"]

    def metric(self) -> SoftConfusion:
        r"""The counts with min(p, g) for p g: a perfect prediction of a soft target has no errors.

        True positives are :math:`\sum w \min(p, g)`, which is half of
        :math:`\sum w (p + g - |p - g|)`, and false ones :math:`\sum w (p - g)^+` and
        :math:`\sum w (g - p)^+`. For targets of 0 and 1 they are what they were.
        """
        counts = {name: self[f"metric_{name}"] for name in REGION}
        return SoftConfusion({**self.sums, **counts}, self.exclusive)

    def with_metric(self) -> SoftConfusion:
        """The sums with those of `metric`, which for targets of 0 and 1 are the same."""
        metric = {f"metric_{name}": self[name] for name in REGION}
        return SoftConfusion({**self.sums, **metric}, self.exclusive)

    def only(self, names: Collection[str]) -> SoftConfusion:
        """Some of the sums."""
        return SoftConfusion({name: self[name] for name in names}, self.exclusive)

    def select(self, classes: Sequence[int]) -> SoftConfusion:
        """The sums (N, C) of some classes; what has no classes is left out."""
        index = torch.tensor(classes, device=self.pixel_weight.device)
        selected = {name: s.index_select(1, index) for name, s in self._cells()}
        return SoftConfusion(selected, self.exclusive)

    def pool(self, dims: tuple[int, ...]) -> SoftConfusion:
        """The sums (N, C) added up over samples (dim 0), classes (dim 1) or both."""
        pooled = {name: s.sum(dims, keepdim=True) for name, s in self._cells()}
        return SoftConfusion(pooled, self.exclusive)

    def leave_out(self, cells: Tensor) -> SoftConfusion:
        """The sums with 0 in some of the region terms' cells (N, C), which are left out so."""
        left = {
            name: s if is_per_sample(name) else s.masked_fill(cells, 0)
            for name, s in self.sums.items()
        }
        return SoftConfusion(left, self.exclusive)

    def _cells(self) -> list[tuple[str, Tensor]]:
        return [(name, s) for name, s in self.sums.items() if s.ndim == 2]
