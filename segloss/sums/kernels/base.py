r"""The interface of kernels: two methods over one layout of rows, and when they may be called.

A kernel reads a batch of `PixelBatch` and gives the sums of a `Plan`, (S, N, C), in the order of
`plan.rows`; and, for slopes in the same rows, the gradient with respect to the predictions. It
keeps nothing between the two. README.md beside this file says how to write one.

The formulas, for a pixel with weight :math:`w`, logits :math:`x`, target :math:`g`, probability
:math:`p` and :math:`q = 1 - p`, which is never taken as a difference where p is close to 1:

- true positives :math:`w p g`, false positives :math:`w p (1 - g)`, false negatives
  :math:`w q g`; the actual ones :math:`w g`, and the pixel's weight :math:`w`.
- binary cross-entropy :math:`-w c (\pi h \log p + (1 - h) \log q)`, with the channel's class
  weight c, its `pos_weight` :math:`\pi`, and :math:`h = g (1 - e) + e / 2` for the smoothing e;
- cross-entropy of the label y :math:`-w ((1 - e) c_y \log p_y + \frac{e}{C} \sum_j c_j \log p_j)`;
- beside the cross-entropy, `weight`, the normaliser of its mean: the sum of :math:`w c` for a
  sigmoid channel, of :math:`w c_y` for labels, and of :math:`w` for dense softmax targets;
- the squared error :math:`w (p - g)^2`; the semimetric's counts, with :math:`\min(p, g)` for
  :math:`p g`; the focal sum :math:`-w \alpha_y q_y^{\gamma_y} \log p_y`; and for a map m
  :math:`w p m`, :math:`w q m` and :math:`w m`.

With the slopes t, f, n of true positives, false positives and false negatives, and a of the
cross-entropy, the gradient of a sigmoid channel is

.. math:: w\,[a c (p (1 - h) - \pi q h) + p q (f (1 - g) + (t - n) g)]

and with softmax, for :math:`v = c_y (1 - e) + \frac{e}{C} \sum_j c_j`, and the mean
:math:`m = \sum_{k \ne y} f_k p_k` over the classes other than the label,

.. math::
    w\,[p_j (f_j - m - (t_y - n_y) p_y + a v) - a e c_j / C] \quad (j \ne y)

    w\,[p_y ((t_y - n_y) q_y - m) - a v q_y + \tfrac{a e}{C} (\textstyle\sum_j c_j - c_y)]
    \quad (j = y)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from segloss.batch.pixel_batch import PixelBatch
from segloss.sums.analytic import AnalyticTerms
from segloss.sums.plan import SEMIMETRIC, Plan


class AnalyticLosses(NamedTuple):
    """Losses of the sums, as a kernel computes them in one call.

    Attributes:
        losses: Their values, (K,), or () where there is one, in memory of their own.
        slopes: Their slopes by the sums, float64, (K, S, N, C), or (S, N, C) where there is one
            loss; None where none were wanted.
        values: The value of each analytic term, (T,).
        per_class: Its means of each class, (T, C).
    """

    losses: Tensor
    slopes: Tensor | None
    values: Tensor
    per_class: Tensor


def upstream_of(of_rows: Tensor | None, of_losses: Tensor | None, slopes: Tensor) -> Tensor:
    """Returns the total slopes with respect to the sums, (S, N, C), from rows and losses.

    Args:
        of_rows: Upstream gradients of the rows, (S, N, C), or None.
        of_losses: Those of the losses, (K,) or (), or None.
        slopes: The slopes of the losses by the rows, (K, S, N, C), or (S, N, C) where there is one.
    """
    if of_losses is None or slopes.numel() == 0:
        assert of_rows is not None
        return of_rows
    if slopes.ndim == 3:
        total = slopes * of_losses
    else:
        total = (slopes * of_losses.view(-1, 1, 1, 1)).sum(0)
    return total if of_rows is None else of_rows + total


class Kernel(ABC):
    """Computes sums over pixels, and their gradient.

    Attributes:
        name: What `use_backend` and `backends` call it.
    """

    name: ClassVar[str]

    def why_not_here(self) -> str:
        """Returns the reason why it can't run on this machine at all; empty where it can."""
        return ""

    @abstractmethod
    def supports(self, batch: PixelBatch, plan: Plan) -> str:
        """Returns the reason why it does not take this batch and plan; empty where it does.

        It looks at no values. The batch has at least one pixel.
        """

    @abstractmethod
    def sums(self, batch: PixelBatch, plan: Plan) -> Tensor:
        """Computes the sums (S, N, C) in the order of `plan.rows`, float64 if the device has it."""

    @abstractmethod
    def gradient(self, batch: PixelBatch, plan: Plan, slopes: Tensor) -> Tensor:
        """Returns the gradient with respect to the predictions, in their shape, dtype and layout.

        Args:
            batch: The batch.
            plan: The plan.
            slopes: The derivatives of a loss with respect to the sums, (S, N, C). Rows without a
                slope are not read.
        """

    def takes_analytic_terms(self, batch: PixelBatch) -> bool:
        """Returns whether it has `losses`, of the sums of such a batch."""
        return False

    def losses(
        self,
        sums: Tensor,
        exclusive: bool,
        analytic: AnalyticTerms,
        plan: Plan,
        dtype: torch.dtype,
        *,
        with_slopes: bool,
    ) -> AnalyticLosses:
        """Computes analytic terms of sums, and their slopes with respect to the sums.

        Args:
            sums: The sums, (S, N, C), which any kernel may have computed.
            exclusive: Whether classes exclude each other.
            analytic: The losses.
            plan: The plan of the sums.
            dtype: The losses' dtype.
            with_slopes: Whether slopes are wanted.
        """
        raise NotImplementedError(f"{self.name} has no closed analytic.")

    def is_opaque(self, batch: PixelBatch) -> bool:
        """Returns whether a compiler gets it as one operator, not the reference's operations."""
        return True


def lacking(plan: Plan, names: frozenset[str], *, exclusive: bool) -> str:
    """Returns the reason why a kernel with some named sums can't serve a plan.

    It is empty where it can. Dense targets alone can be soft, so label maps need no semimetric.
    """
    if exclusive and SEMIMETRIC.name in plan.names:
        return "it has no semimetric with softmax"
    unknown = plan.names - names
    return f"it does not have the sums {', '.join(sorted(unknown))}" if unknown else ""
