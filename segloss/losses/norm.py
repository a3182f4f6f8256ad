r"""The norm of a loss: its average over batches, from sums that do not depend on their order.

A loss is a sum of weighted means, such as those of its terms. The sums of each mean's numerators
and denominators over all batches give the norm,

.. math:: \sum_t c_t \frac{\sum_b n_{tb}}{\sum_b d_{tb}}

Batches may come in any order and in any sizes, and a mean over nothing has no weight.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from segloss.foundation.distributed import all_reduce_sum

LEAST_NORM = 1e-9
"""The bound above which a norm must lie."""


class NormSums(NamedTuple):
    """The sums of a loss's means over some batches.

    Attributes:
        numerators: The sums of the means' numerators, (T,), in float64 on the CPU.
        denominators: The sums of their denominators, (T,), in float64 on the CPU.
        samples: The number of samples, each counted by the share of its pixels that count.
    """

    numerators: Tensor
    denominators: Tensor
    samples: float

    @classmethod
    def of_means(cls, means: Sequence[float], weights: Sequence[float], samples: float) -> NormSums:
        """Returns the sums of a batch. A mean of weight 0, over nothing, may have any value."""
        pairs = zip(means, weights, strict=True)
        numerators = [mean * weight if weight > 0 else 0.0 for mean, weight in pairs]
        return cls(
            torch.tensor(numerators, dtype=torch.float64),
            torch.tensor(weights, dtype=torch.float64),
            samples,
        )

    @classmethod
    def of_nothing(cls, count: int) -> NormSums:
        """Returns the sums of `count` means over no batch."""
        return cls.of_means([0.0] * count, [0.0] * count, 0.0)

    def plus(self, other: NormSums) -> NormSums:
        """Returns the sums over these batches and others."""
        return NormSums(
            self.numerators + other.numerators,
            self.denominators + other.denominators,
            self.samples + other.samples,
        )

    def times(self, factor: float) -> NormSums:
        """Returns a share of the sums."""
        return NormSums(factor * self.numerators, factor * self.denominators, factor * self.samples)

    def over_ranks(self) -> NormSums:
        """Returns the sums over all ranks."""
        count, samples = len(self.numerators), self.numerators.new_tensor([self.samples])
        total = all_reduce_sum(torch.cat([self.numerators, self.denominators, samples]))
        return NormSums(total[:count], total[count:-1], float(total[-1]))

    def average(self, coefficients: Sequence[float]) -> float:
        """Returns the average of the loss, without means over nothing."""
        means = self.numerators / self.denominators
        parts = torch.where(self.denominators > 0, means, 0.0)
        return float((parts * torch.tensor(coefficients, dtype=torch.float64)).sum())

    def check_finite(self, name: str) -> None:
        """Raises ValueError if a loss was not finite, which no other batch can make up for."""
        if not (self.numerators.isfinite() & self.denominators.isfinite()).all():
            value = float((self.numerators / self.denominators).sum())
            raise ValueError(
                f"The norm of {name!r} must be a finite number above {LEAST_NORM:g}, got a batch "
                f"with the loss {value:g}, which is left out: look at the batch and the "
                "predictions, or do not normalise this loss (normalize=False)."
            )


def check_norm(norm: float, name: str) -> None:
    """Raises ValueError if losses can't be divided by a norm."""
    if not LEAST_NORM < norm < math.inf:
        raise ValueError(
            f"The norm of {name!r} must be a finite number above {LEAST_NORM:g}, since losses are "
            f"divided by it, got {norm:g} as the average over all batches. Do not normalise a loss "
            "that is 0, negative or not finite (normalize=False), or compute the norm on other "
            "batches."
        )
