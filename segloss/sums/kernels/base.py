r"""The interface of kernels: two methods over one layout of rows.

A kernel reads a `PixelBatch` and computes the sums of a `Plan`, (S, N, C), in the order of
`plan.rows`. From slopes in the same rows it computes the gradient with respect to the predictions.
It keeps nothing between the two calls. README.md in this folder says how to write a kernel.

The sums are over the pixels. A pixel has the weight :math:`w`, logits :math:`x`, target :math:`g`,
probability :math:`p` and :math:`q = 1 - p`. Where p is close to 1, no kernel computes q from logits
as that difference. Each sum adds up one of these values:

- the true positives :math:`w p g`, false positives :math:`w p (1 - g)` and false negatives
  :math:`w q g`, the actual positives :math:`w g`, and the pixel's weight :math:`w`;
- the binary cross-entropy :math:`-w c (\pi h \log p + (1 - h) \log q)`, with the channel's class
  weight c, its `pos_weight` :math:`\pi`, and :math:`h = g (1 - e) + e / 2` for the smoothing e;
- the cross-entropy of the label y,
  :math:`-w ((1 - e) c_y \log p_y + \frac{e}{C} \sum_j c_j \log p_j)`;
- with the cross-entropy, `weight`, the normaliser of its mean: :math:`w c` for a sigmoid channel,
  :math:`w c_y` for labels, and :math:`w` for dense softmax targets;
- the true negatives :math:`w q (1 - g)`;
- the squared error :math:`w (p - g)^2`;
- the semimetric's counts, with :math:`\min(p, g)` in place of :math:`p g`, and its true negatives,
  :math:`w \min(q, 1 - g)`;
- the focal sum :math:`-w \alpha_y q_y^{\gamma_y} \log p_y`;
- :math:`w p m`, :math:`w q m` and :math:`w m` for a map m;
- with softmax, the counts of a group of classes, with the sums of the classes' p, q and g: q is the
  sum of the other classes' p.

Let t, f, n be the slopes of true positives, false positives and false negatives, and a the slope
of the cross-entropy. The gradient of a sigmoid channel is

.. math:: w\,[a c (p (1 - h) - \pi q h) + p q (f (1 - g) + (t - n) g)]

With softmax, let :math:`s_j = \frac{e}{C} c_j`, :math:`R = \sum_{k \ne y} s_k` and
:math:`v = c_y (1 - e) + s_y`, and let :math:`m = \sum_{k \ne y} f_k p_k` be the mean slope of the
classes other than the label. The gradient is

.. math::
    w\,[p_j (f_j - m - (t_y - n_y) p_y + a (v + R)) - a s_j] \quad (j \ne y)

    w\,[p_y ((t_y - n_y) q_y - m + a R) - a v q_y] \quad (j = y)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from segloss.batch.pixel_batch import PixelBatch
from segloss.sums.analytic import AnalyticTerms
from segloss.sums.plan import OF_HARD_TARGETS, Plan


class AnalyticLosses(NamedTuple):
    """The analytic losses of the sums, the result of `Kernel.losses`.

    Attributes:
        losses: The K losses, (K,), or () if K is 1, in memory that they share with nothing.
        slopes: Their slopes with respect to the sums, float64, (K, S, N, C), or (S, N, C) if K
            is 1; None if they were not wanted.
        values: The value of each analytic term, (T,).
        per_class: The means of each term per class, (T, C).
    """

    losses: Tensor
    slopes: Tensor | None
    values: Tensor
    per_class: Tensor


def upstream_of(of_rows: Tensor | None, of_losses: Tensor | None, slopes: Tensor) -> Tensor:
    """Computes the total slopes with respect to the sums, (S, N, C), by the chain rule.

    Args:
        of_rows: The upstream gradients of the rows, (S, N, C), or None.
        of_losses: The upstream gradients of the K losses, (K,), or () if K is 1, or None.
        slopes: The slopes of the losses with respect to the rows, (K, S, N, C), or (S, N, C) if K
            is 1.
    """
    if of_losses is None or slopes.numel() == 0:
        assert of_rows is not None
        return of_rows
    if of_losses.ndim == 0:
        total = slopes * of_losses
    else:
        of_each = of_losses.view(-1, *[1] * (slopes.ndim - 1))
        total = (slopes * of_each).masked_fill(of_each == 0, 0).sum(0)  # even if slopes are NaN
    return total if of_rows is None else of_rows + total


class Kernel(ABC):
    """Computes sums over pixels, and their gradient.

    Attributes:
        name: Its name in `use_backend` and `backends`.
        has_pixel_losses: True if it has `pixel_losses`.
    """

    name: ClassVar[str]
    has_pixel_losses: ClassVar[bool] = False

    def why_not_here(self) -> str:
        """Returns the reason why it can't run on this machine at all; empty if it can."""
        return ""

    def how_built(self) -> str:
        """Returns how it was compiled, or why it was not; empty if nothing is compiled for it."""
        return ""

    @abstractmethod
    def supports(self, batch: PixelBatch, plan: Plan) -> str:
        """Returns the reason why it does not take this batch and plan; empty if it does.

        It does not look at values. The batch has at least one pixel.
        """

    @abstractmethod
    def sums(self, batch: PixelBatch, plan: Plan) -> Tensor:
        """Computes the sums, (S, N, C), in the order of `plan.rows`; float64 if the device has it.

        With groups they are (S, N, K, C), with the K of `segloss.sums.groups.group_count`.

        Args:
            batch: The batch, with at least one pixel.
            plan: The sums to compute.
        """

    @abstractmethod
    def gradient(self, batch: PixelBatch, plan: Plan, slopes: Tensor) -> Tensor:
        """Computes the gradient with respect to the predictions, in their shape, dtype and layout.

        Args:
            batch: The batch.
            plan: The plan of the sums.
            slopes: The derivatives of a loss with respect to the sums, (S, N, C), or (S, N, K, C)
                with groups. Kernels do not read rows without a slope.
        """

    def pixel_losses(self, batch: PixelBatch, plan: Plan, slopes: Tensor) -> Tensor:
        """Computes a loss of each pixel: its addends of the sums, times the slopes.

        So the derivative of a sum over pixels is `gradient` with the same slopes.

        Args:
            batch: The batch, with at least one pixel.
            plan: The plan of the sums.
            slopes: The slopes of the rows, (S, C), the same for all samples. They are read as those
                of `gradient`.

        Returns:
            The losses in the dtype of the pixels' arithmetic: (N, 1, P) if classes exclude each
            other, else (N, C, P). They are 0 for pixels that do not count.
        """
        raise NotImplementedError(f"{self.name} has no losses of pixels.")

    def takes_analytic_terms(self, batch: PixelBatch) -> bool:
        """Returns whether it can compute `losses` from the sums of such a batch."""
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
        """Computes analytic terms of the sums, and their slopes with respect to the sums.

        Args:
            sums: The sums, (S, N, C), from any kernel.
            exclusive: True if classes exclude each other.
            analytic: The analytic terms of the losses.
            plan: The plan of the sums.
            dtype: The dtype of the losses.
            with_slopes: True if slopes are wanted.
        """
        raise NotImplementedError(f"{self.name} has no analytic terms.")

    def is_opaque(self, batch: PixelBatch) -> bool:
        """Returns whether `torch.compile` gets it as one operator.

        Otherwise it compiles the operations of the reference kernel instead.
        """
        return True


_OF_SOFT_TARGETS = frozenset(each.name for each in OF_HARD_TARGETS)


def lacking(plan: Plan, names: frozenset[str], *, exclusive: bool, has_groups: bool = False) -> str:
    """Returns the reason why a kernel with the sums `names` can't serve a plan; empty if it can.

    Label maps are never soft, so with softmax no kernel for label maps needs the semimetric.

    Args:
        plan: The plan.
        names: The names of the sums that the kernel computes.
        exclusive: True if classes exclude each other.
        has_groups: True if the kernel computes the sums of groups of pixels.
    """
    if plan.group_key is not None and not has_groups:
        return "it does not group pixels"
    if exclusive and plan.names & _OF_SOFT_TARGETS:
        return "it has no semimetric with softmax"
    missing = plan.names - names
    return f"it does not have the sums {', '.join(sorted(missing))}" if missing else ""
