"""The sums that the pass leaves: all that the terms above ever see of the pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

REGION = ("true_positive", "false_positive", "false_negative", "actual", "pixel_weight")
"""The sums of the region terms, each (N, C)."""

CROSS_ENTROPY = ("cross_entropy", "weight")
"""The sums of the cross-entropy, each (N, C) for sigmoid and (N,) for softmax."""

SUMS: dict[str, tuple[str, ...]] = {"region": REGION, "cross_entropy": CROSS_ENTROPY}
"""The groups of sums that can be asked for."""


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
      weights, `pos_weight` and label smoothing included, and `weight`, the normaliser of its mean.

    They are float64 where the device has it. Shapes are (N, C); those of the cross-entropy are
    (N,) for softmax.
    """

    sums: Mapping[str, Tensor]

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

    def select(self, classes: Sequence[int]) -> SoftConfusion:
        """The region sums of some classes."""
        index = torch.tensor(classes, device=self.actual.device)
        return SoftConfusion({name: self[name].index_select(1, index) for name in REGION})

    def pool(self, dims: tuple[int, ...]) -> SoftConfusion:
        """The region sums added up over samples (dim 0), classes (dim 1) or both."""
        return SoftConfusion({name: self[name].sum(dims, keepdim=True) for name in REGION})
