"""What becomes of a batch: a compound loss, its terms, and these by class."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Evaluated(NamedTuple):
    """A compound loss of some pixels, and what else is known of it.

    Attributes:
        loss: The sum of coefficients times terms.
        terms: The terms, by name.
        per_class: Their means of each class, (C,), by the names of those that have such.
    """

    loss: Tensor
    terms: dict[str, Tensor]
    per_class: dict[str, Tensor]
