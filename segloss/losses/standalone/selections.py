"""Selections of the hard pixels of a batch: a share of all pixels, or those below a threshold.

A selection gives each pixel the share of it that is kept: 1, 0, or a fraction for pixels of equal
    difficulty if only some of them fit. So a mean over K pixels has exactly K, and the order of
    equal values does not matter.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from segloss.foundation.arguments import (
    ChecksKeywords,
    check_integer,
    check_keys,
    check_number,
    shown,
)
from segloss.foundation.precision import accumulation_dtype
from segloss.foundation.tracing import is_exporting, is_traced

_SAMPLE = 2**14
"""The size of the sample that narrows the search for a threshold among many values."""


class Selection(ChecksKeywords, ABC):
    """A rule that selects the hard pixels of a batch.

    Attributes:
        reads_probabilities: True if it ranks pixels by the probability of their true class, False
            if by their losses.
    """

    reads_probabilities: bool = False

    @abstractmethod
    def kept(self, difficulties: Tensor, counted: Tensor | None) -> Tensor:
        """Returns the share of each pixel that is kept, (P,), in the dtype of the difficulties.

        Args:
            difficulties: The losses, or -log of the probabilities of true classes, (P,), without a
                graph.
            counted: A mask of the pixels that count, (P,); None: all.
        """


@dataclass(frozen=True)
class TopK(Selection):
    r"""The k percent of largest losses, :math:`K = \max(1, \lfloor n k / 100 \rfloor)` of n pixels.

    Args:
        k: The percentage, in (0, 100].

    Raises:
        TypeError, ValueError: k is not a number in (0, 100].
    """

    k: float = 10.0

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "k", check_number("k, a percentage,", self.k, 0, 100, open_low=True)
        )

    def kept(self, difficulties: Tensor, counted: Tensor | None) -> Tensor:
        """Returns the share of each pixel that is kept."""
        total = difficulties.numel()
        if is_exporting():  # a share of a number that is not known yet can't be a size
            most = total
            counted = (
                torch.ones_like(difficulties, dtype=torch.bool) if counted is None else counted
            )
        else:
            most = min(max(1, int(total * self.k / 100)), total)
        if counted is None:
            return share_of_largest(difficulties, most, most)
        n = counted.sum().to(accumulation_dtype(difficulties.device))
        count = torch.minimum((n * self.k / 100).floor().clamp(min=1), n)
        values = torch.where(counted, difficulties, -torch.inf)
        return share_of_largest(values, count, most)


@dataclass(frozen=True)
class Threshold(Selection):
    """The pixels whose true class has a probability below a threshold; at least the hardest few.

    For a soft target, the probability is exp(-ce), with ce the cross-entropy.

    Args:
        threshold: The threshold, in (0, 1].
        min_kept: The minimum number of pixels of the batch to keep: if fewer are below the
            threshold, those of the lowest probability. If fewer count, all of them.

    Raises:
        TypeError, ValueError: An argument is wrong.
    """

    threshold: float = 0.7
    min_kept: int = 100_000
    reads_probabilities = True

    def __post_init__(self) -> None:
        threshold = check_number("threshold", self.threshold, 0, 1, open_low=True)
        object.__setattr__(self, "threshold", threshold)
        check_integer("min_kept", self.min_kept, 0)

    def kept(self, difficulties: Tensor, counted: Tensor | None) -> Tensor:
        """Returns the share of each pixel that is kept."""
        values = difficulties
        if counted is not None:
            values = torch.where(counted, values, -torch.inf)
        hard = ~(values <= -math.log(self.threshold))  # NaN is hard
        most = min(self.min_kept, values.numel())
        if most == 0:
            return hard.to(values.dtype)
        n_hard = hard.sum()
        if _can_read(values) and n_hard >= most:
            return hard.to(values.dtype)
        n = values.numel() if counted is None else counted.sum()
        count = torch.full_like(n_hard, most).clamp(max=n)
        hardest = share_of_largest(values, count, most)
        return torch.where(n_hard >= count, hard.to(values.dtype), hardest)


def selection_of(select: Any) -> Selection:
    """Returns a selection, given as one, or as a mapping of its arguments, as in a config.

    Raises:
        TypeError, ValueError: It is neither, or an argument is wrong.
    """
    if isinstance(select, Selection):
        return select
    if not isinstance(select, Mapping) or not select:
        raise TypeError(
            f"select must be a selection of pixels, TopK(k=10) or Threshold(0.7), or a mapping of "
            f"its arguments, {{'k': 10}} or {{'threshold': 0.7}}, got {shown(select)}."
        )
    if "k" in select:
        check_keys("select", select, ["k"])
        return TopK(**select)
    check_keys("select", select, ["threshold", "min_kept"])
    return Threshold(**select)


def share_of_largest(values: Tensor, count: Tensor | int, most: int) -> Tensor:
    """Returns the share of each value (P,) that belongs to the `count` largest, in [0, 1].

    Values that equal the last of them share what is left of the count. NaN is the largest value.

    Args:
        values: The values, (P,).
        count: The number of the largest values, at most P; a tensor if a device knows it.
        most: The greatest number that `count` can be.
    """
    if values.numel() == 0:
        return values
    least = _least_of_largest(values, count, most)
    if _can_read(values):
        largest = values >= least
        if int(torch.count_nonzero(largest)) == count:  # no others equal the last
            return largest.to(values.dtype)
    above = ~(values <= least)
    tied = values == least
    left = count - above.sum()
    share = (left / tied.sum().clamp(min=1)).to(values.dtype)
    return torch.where(tied, share, above.to(values.dtype))


def _least_of_largest(values: Tensor, count: Tensor | int, most: int) -> Tensor:
    """Returns the least of the `count` largest values, (); infinity for a count of 0."""
    if _can_read(values):
        known = int(count)
        return _kth_largest(values, known) if known > 0 else values.new_full((), torch.inf)
    ranked = values.topk(most).values
    if not isinstance(count, Tensor):
        return ranked[-1]
    last = ranked.gather(0, (count.long() - 1).clamp(min=0).reshape(1)).squeeze(0)
    return torch.where(count > 0, last, torch.inf)


def _can_read(values: Tensor) -> bool:
    """Returns whether reading a value costs nothing, as in eager code on a CPU."""
    return values.is_cpu and not is_traced()


def _kth_largest(values: Tensor, k: int) -> Tensor:
    """Returns the k-th largest value, (), by a search near the k-th of a regular sample."""
    step = values.numel() // _SAMPLE
    if step > 4:
        sample = values[::step].sort(descending=True).values
        size = sample.numel()
        rank, margin = k * size / values.numel(), 4 * math.sqrt(size)
        high = sample[max(0, int(rank - margin))]
        low = sample[min(size - 1, int(rank + margin))]
        top = values.masked_select(values >= low)
        near = top.masked_select(top <= high)
        missing = k - int(torch.count_nonzero(top > high))
        if 0 < missing <= near.numel():
            return near.kthvalue(near.numel() - missing + 1).values
    return values.kthvalue(values.numel() - k + 1).values
