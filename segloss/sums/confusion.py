"""The sums by name. Terms see nothing else of the pixels."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from segloss.foundation.device_constants import on_device
from segloss.sums.class_groups import ClassGroups
from segloss.sums.groups import cells_of_groups
from segloss.sums.plan import USUAL_KEYS, FocalSum, Plan, PowerSum


class SampleFactors(NamedTuple):
    """Factors (N,) of the samples' parts in the mean of a term; None stands for 1.

    Attributes:
        weights: The factors of their parts of the numerator and of the denominator: the weights of
            samples.
        shares: The factors of their parts of the numerator only: the lambdas of mixup.
    """

    weights: Tensor | None = None
    shares: Tensor | None = None

    def of_denominator(self, parts: Tensor) -> Tensor:
        """Multiplies the samples' parts (N, ...) of a denominator, or of sums to be pooled."""
        return _times(parts, self.weights)

    def of_numerator(self, parts: Tensor) -> Tensor:
        """Multiplies the samples' parts (N, ...) of a numerator."""
        return _times(_times(parts, self.weights), self.shares)


def _of_groups(
    values: Tensor, groups: ClassGroups, pool: Callable[[Tensor, int], Tensor]
) -> Tensor:
    """Returns the values of groups, (N, G), each a sum or minimum of those of its classes."""
    indices = (on_device(each, values.device, torch.int64) for each in groups.classes)
    return torch.stack([pool(values.index_select(1, each), 1) for each in indices], 1)


def _times(parts: Tensor, factors: Tensor | None) -> Tensor:
    if factors is None:
        return parts
    return parts * factors.to(parts).reshape(-1, *[1] * (parts.ndim - 1))


@dataclass(frozen=True, eq=False)
class SoftConfusion:
    r"""Soft confusion counts and cross-entropy, per sample and class.

    With pixel weights :math:`w`, probabilities :math:`p` and targets :math:`g`, summed over the
    pixels of a sample:

    - `true_positive` :math:`\sum w p g`, `false_positive` :math:`\sum w p (1 - g)` and
      `false_negative` :math:`\sum w (1 - p) g`, each summed separately, so that no precision is
      lost where predictions are confident;
    - `predicted` :math:`\sum w p`, `actual` :math:`\sum w g`, `pixel_weight` :math:`\sum w`;
    - `cross_entropy`, the sum of :math:`w` times the pixel's (binary) cross-entropy, class
      weights, `pos_weight` and label smoothing included, and `weight`, the normaliser of its mean;
    - if asked for, `true_negative` :math:`\sum w (1 - p) (1 - g)`, the sum
      `confusion["squared_error"]` :math:`\sum w (p - g)^2`, the sum of a `FocalSum` as
      `confusion[focal]`, the sums of a `MapSum` as `confusion[map_sum.hit]` (and `missed`,
      `total`), and the counts of `semimetric`.

    They are float64 if the device has it. Shapes are (N, C); for softmax the cross-entropy and
    focal sums are (N,). A cell is one (sample, class) pair.

    Attributes:
        sums: The sums by name.
        exclusive: True if classes exclude each other (softmax).
        factors: The factors of the samples in means, or None for 1. Sums per sample do not contain
            them; pooled sums contain the weights.
        groups: The rows (S, N, K, C) of the groups of pixels, and their plan, or None.
    """

    sums: Mapping[str, Tensor]
    exclusive: bool = False
    factors: SampleFactors | None = None
    groups: tuple[Tensor, Plan] | None = None

    @classmethod
    def of_rows(
        cls, rows: Tensor, plan: Plan, *, exclusive: bool, factors: SampleFactors | None = None
    ) -> SoftConfusion:
        """Returns the rows that a kernel computed for a plan, by name, added up over groups.

        Args:
            rows: (S, N, C), or (S, N, K, C) for a plan with groups.
            plan: The plan.
            exclusive: True if classes exclude each other.
            factors: The factors of the samples in means, or None for 1.
        """
        groups = None
        if plan.group_key is not None:
            groups, rows = (rows, plan), rows.sum(2)
        values = rows.unbind()
        named = {
            key: values[i][:, 0] if exclusive and plan.rows[i].is_per_sample else values[i]
            for key, i in plan.index.items()
        }
        return cls(named, exclusive, factors, groups)

    def __getitem__(self, key: str | FocalSum | PowerSum) -> Tensor:
        """Returns the sum of that name. Raises KeyError if the pass did not compute it."""
        key = key if isinstance(key, str) else key.name
        if key not in self.sums:
            raise KeyError(
                f"{key!r} was not computed, only {', '.join(self.sums)}. Request it in the `sums` "
                "of a term, or in soft_confusion(sums=[...])."
            )
        return self.sums[key]

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
        """The sum of w (1 - p) (1 - g), of the sum "true_negative"."""
        return self["true_negative"]

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

    def semimetric(self) -> SoftConfusion:
        r"""Returns the counts with min(p, g) in place of p g, which have no errors if p = g.

        True positives are :math:`\sum w \min(p, g)`, half of
        :math:`\sum w (p + g - |p - g|)`. False positives are :math:`\sum w (p - g)^+`, and false
        negatives :math:`\sum w (g - p)^+`; if asked for, true negatives are
        :math:`\sum w \min(1 - p, 1 - g)`. For targets of 0 and 1 they equal the usual counts.
        """
        replaced = list(USUAL_KEYS.values())
        others = {key: values for key, values in self.sums.items() if key not in replaced}
        counts = {usual: self.sums[key] for key, usual in USUAL_KEYS.items() if key in self.sums}
        return SoftConfusion({**others, **counts}, self.exclusive, self.factors)

    def select(self, classes: Sequence[int]) -> SoftConfusion:
        """Returns the sums (N, C) of some classes, without the sums per sample."""
        index = on_device(tuple(classes), self.pixel_weight.device, torch.int64)
        return self._change_cells(lambda values: values.index_select(1, index))

    def pool(self, dims: tuple[int, ...]) -> SoftConfusion:
        """Returns the sums (N, C) added up over samples (dim 0), classes (dim 1) or both.

        Sums of a sample count as often as its weight says.
        """
        factors = self.factors
        if factors is None or 0 not in dims:
            return self._change_cells(lambda values: values.sum(dims, keepdim=True))
        pooled = self._change_cells(
            lambda values: factors.of_denominator(values).sum(dims, keepdim=True)
        )
        return SoftConfusion(pooled.sums, self.exclusive)

    def components(self) -> SoftConfusion:
        """Returns the sums of the components of each sample and class, (N K, C).

        The cell of a component has the component's pixels and those of no component: the pixels of
        the other components do not count. A sample and class without components has one cell, of
        all its pixels. Cells that do not exist are 0.
        """
        if self.groups is None:
            raise KeyError("The pass did not group the pixels: its plan has no group_key.")
        rows, plan = self.groups
        values = cells_of_groups(rows, plan).flatten(1, 2).unbind()
        named = {key: values[i] for key, i in plan.index.items() if not plan.rows[i].is_per_sample}
        return SoftConfusion(named, self.exclusive)

    def of_class_groups(self, groups: ClassGroups) -> SoftConfusion:
        """Returns the sums of groups of classes, (N, G), each a region against all else.

        A group is left out, with sums of 0, where one of its classes is.
        """
        pixel_weight = _of_groups(self.pixel_weight, groups, torch.amin)
        actual = _of_groups(self.actual, groups, torch.sum)
        counted = (pixel_weight != 0).to(actual)  # a product saves no mask, which hooks may convert
        sums = {"actual": counted * actual, "pixel_weight": pixel_weight}
        for key, keys in groups.keys_of_rows.items():
            if all(of_group in self.sums for of_group in keys):
                sums[key] = counted * torch.stack([self.sums[of_group] for of_group in keys], 1)
        return SoftConfusion(sums, factors=self.factors)

    def only(self, keys: Collection[str]) -> SoftConfusion:
        """Returns some of the sums."""
        return SoftConfusion({key: self[key] for key in keys}, self.exclusive, self.factors)

    def leave_out(self, cells: Tensor) -> SoftConfusion:
        """Returns the sums with 0 in some cells (N, C), which region terms then leave out."""
        masked = self._change_cells(lambda values: values.masked_fill(cells, 0))
        groups = self.groups
        if groups is not None:
            groups = (groups[0].masked_fill(cells.unsqueeze(1), 0), groups[1])
        sums = {**self.sums, **masked.sums}
        return SoftConfusion(sums, self.exclusive, self.factors, groups)

    def _change_cells(self, change: Callable[[Tensor], Tensor]) -> SoftConfusion:
        changed = {key: change(values) for key, values in self.sums.items() if values.ndim == 2}
        return SoftConfusion(changed, self.exclusive, self.factors)
