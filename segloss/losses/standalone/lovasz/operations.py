r"""The Lovasz loss of sets of pixels in PyTorch's operations: any device, any order of derivative.

A set holds the pixels of a class, in one sample or in the whole batch. The elements of a set have
errors :math:`m_i \ge 0`, targets :math:`g_i` and weights :math:`w_i`. In descending order of the
errors, the loss is :math:`\sum_i m_i s_i` with the steps :math:`s_i` of the Jaccard loss

.. math:: \Delta(a, b) = \frac{a + b}{G + b},

where a and b are the sums of :math:`w g` and :math:`w (1 - g)` up to an element, and G is the sum
of all :math:`w g`. A soft target is a part g of foreground and a part 1 - g of background with the
same error. The steps are the slopes of the loss with respect to the errors.

Elements with equal errors have slopes that do not depend on their order. Let a and b be the sums
before them, and A and B their own. With the foreground first, each unit of foreground has the slope
1 / (G + b), and each unit of background (G - a - A) / ((G + b)(G + b + B)); with the background
first, 1 / (G + b + B) and (G - a) / ((G + b)(G + b + B)). Both are subgradients, and so is their
mean:

.. math::
    \frac{1}{2} \left( \frac{1}{G + b} + \frac{1}{G + b + B} \right), \quad
    \frac{G - a - A / 2}{(G + b)(G + b + B)}

Without foreground, :math:`\Delta` is 1 from the first element on: the loss is the largest error,
and the elements that have it share the slope 1 in proportion to their weights.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from segloss.batch.pixel_batch import PixelBatch, where_valid
from segloss.foundation.precision import accumulation_dtype, arithmetic_dtype
from segloss.foundation.tracing import is_traced
from segloss.sums.probabilities import sigmoid_probabilities, softmax_probabilities

_SORTED_TOGETHER = 1 << 22
"""The elements that are sorted at once, which bounds the memory of indices and running sums."""


class SetLosses(NamedTuple):
    """The losses of S x C sets: S is 1 if the samples are pooled, else their number.

    Attributes:
        losses: The losses (S, C).
        foreground: The sums of w g, (S, C).
        weight: The sums of w, (S, C).
    """

    losses: Tensor
    foreground: Tensor
    weight: Tensor


def set_losses(pixels: PixelBatch, *, hinge: bool, pooled: bool) -> SetLosses:
    """Computes the losses of all sets, with a graph.

    Args:
        pixels: The batch, of logits.
        hinge: True for the errors 1 - (2 g - 1) x, False for |g - p|.
        pooled: True for sets of the whole batch, False for a set per sample.
    """
    valid, wrong = pixels.valid(), None
    if pixels.is_label_map:
        labels, wrong = pixels.labels(valid)
        pixels = pixels.replace(target=labels)
    dtype = accumulation_dtype(pixels.prediction.device)
    target = _dense_target(pixels, valid)
    errors = _errors(pixels, target, valid, hinge)
    weight = _weights(pixels, valid, dtype).expand(errors.shape)
    errors, target, weight = (_in_sets(each, pooled) for each in (errors, target, weight))
    slopes, foreground, total = _slopes(errors.detach(), target, weight)
    counted = torch.where(slopes > 0, errors, torch.zeros_like(errors))
    losses = (counted * slopes).sum(2, dtype=dtype)
    if wrong is not None:  # a label that no check has read
        losses = losses * torch.where(wrong.any(), torch.nan, 1.0)
    return SetLosses(losses, foreground, total)


def _dense_target(pixels: PixelBatch, valid: Tensor | None) -> Tensor:
    """Returns the target (N, C, P) in the dtype of the arithmetic, 0 where it does not count."""
    dtype = arithmetic_dtype(pixels.prediction.dtype)
    if pixels.is_label_map:
        classes = torch.arange(pixels.prediction.shape[1], device=pixels.target.device)
        return (pixels.target.unsqueeze(1) == classes.reshape(1, -1, 1)).to(dtype)
    return where_valid(pixels.target.to(dtype), valid)


def _weights(pixels: PixelBatch, valid: Tensor | None, dtype: torch.dtype) -> Tensor:
    """Returns the weights of the pixels, 0 where they do not count, of a shape that broadcasts."""
    if pixels.weight is not None:
        return where_valid(pixels.weight, valid).to(dtype)
    if valid is not None:
        return valid.to(dtype)
    return torch.ones((1, 1, 1), dtype=dtype, device=pixels.prediction.device)


def _errors(pixels: PixelBatch, target: Tensor, valid: Tensor | None, hinge: bool) -> Tensor:
    """Returns the errors (N, C, P) of at least 0."""
    logits = where_valid(pixels.prediction.to(target.dtype), valid)
    if hinge:
        sign = 2 * target - 1
        margin = torch.where(sign != 0, sign * logits, torch.zeros_like(logits))
        return (1 - margin).relu()
    probabilities = softmax_probabilities if pixels.is_exclusive else sigmoid_probabilities
    p, q, *_ = probabilities(logits)
    # |g - p| without the difference of 1 and p
    errors = torch.where(target == 1, q, p)
    if pixels.is_soft:
        difference = torch.where(p > 0.5, (1 - target) - q, p - target)
        is_hard = (target == 0) | (target == 1)
        errors = torch.where(is_hard, errors, difference.abs())
    return errors


def _in_sets(values: Tensor, pooled: bool) -> Tensor:
    """Reshapes (N, C, P) to sets (S, C, E)."""
    return values.transpose(0, 1).flatten(1).unsqueeze(0) if pooled else values


def _slopes(errors: Tensor, target: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Computes the slopes (S, C, E) of the losses in the errors, and the sums of w g and w, (S, C).

    Args:
        errors: The errors (S, C, E), of at least 0.
        target: The targets (S, C, E).
        weight: The weights (S, C, E) in the dtype of sums, 0 where an element does not count.
    """
    samples, classes, size = errors.shape
    if is_traced() or errors.numel() <= _SORTED_TOGETHER:
        return _slopes_of_classes(errors, target, weight)
    at_once = max(1, _SORTED_TOGETHER // (samples * size))
    parts = zip(*(torch.split(each, at_once, 1) for each in (errors, target, weight)), strict=True)
    slopes, totals = torch.empty_like(errors), weight.new_empty((2, samples, classes))
    for first, part in zip(range(0, classes, at_once), parts, strict=True):
        some = slice(first, first + at_once)
        slopes[:, some], totals[0, :, some], totals[1, :, some] = _slopes_of_classes(*part)
    return slopes, totals[0], totals[1]


def _slopes_of_classes(
    errors: Tensor, target: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Computes the results of `_slopes` at once."""
    foreground = weight * target
    background = (weight - foreground).clamp(min=0)  # a target may be above 1 by rounding
    totals = foreground.sum(2), weight.sum(2)
    if errors.shape[2] == 0 and not is_traced():
        return torch.zeros_like(errors), *totals
    rows = (each.flatten(0, 1) for each in (errors, foreground, background))
    return _slopes_of_rows(*rows).reshape(errors.shape), *totals


def _slopes_of_rows(errors: Tensor, foreground: Tensor, background: Tensor) -> Tensor:
    """Computes the slopes of sets (R, E)."""
    # Elements that do not count come last, so that they are in no tie
    counts = foreground + background > 0
    ranked, order = torch.where(counts, errors, -1.0).sort(dim=1, descending=True)
    foreground, background = foreground.gather(1, order), background.gather(1, order)
    edge = ranked[:, 1:] != ranked[:, :-1]
    outer = torch.ones_like(ranked[:, :1], dtype=torch.bool)
    is_first, is_last = torch.cat([outer, edge], 1), torch.cat([edge, outer], 1)
    a, up_to_a = _sums_around_ties(foreground, is_first, is_last)
    b, up_to_b = _sums_around_ties(background, is_first, is_last)
    total = foreground.sum(1, keepdim=True)
    is_present = total > 0
    before, after = (
        torch.where(is_present, total + b, 1.0),
        torch.where(is_present, total + up_to_b, 1.0),
    )
    of_foreground = 0.5 * (1 / before + 1 / after)
    of_background = (total - 0.5 * (a + up_to_a)).clamp(min=0) / (before * after)
    own = up_to_b - b
    is_largest = (b <= 0) & (own > 0)
    of_absent = torch.where(is_largest, 1 / torch.where(is_largest, own, 1.0), 0.0)
    of_background = torch.where(is_present, of_background, of_absent)
    slopes = of_foreground * foreground + of_background * background
    slopes = torch.where(ranked <= 0, 0.0, slopes).to(errors.dtype)  # NaN counts
    return torch.zeros_like(slopes).scatter(1, order, slopes)


def _sums_around_ties(values: Tensor, is_first: Tensor, is_last: Tensor) -> tuple[Tensor, Tensor]:
    """Returns running sums (R, E) of values of at least 0, before and up to each element's tie."""
    up_to = _running_sum(values)
    before = torch.where(is_first, up_to - values, 0.0).cummax(1).values
    end = torch.where(is_last, up_to, torch.inf).flip(1).cummin(1).values.flip(1)
    return before, end


def _running_sum(values: Tensor) -> Tensor:
    """Returns running sums (R, E), the same to the last bit in every run."""
    if values.device.type != "cuda":
        return values.cumsum(1)
    return in_fixed_point(values)


def in_fixed_point(values: Tensor) -> Tensor:
    """Returns running sums of integers, which no order of additions changes.

    CUDA adds up floating-point numbers in a varying order. Values of 0 and 1 stay exact; others are
    rounded to 2^-30 of the largest one.
    """
    largest = values.amax() if values.numel() > 0 else values.new_ones(())
    scale = torch.exp2(30 - largest.clamp(min=1e-30).log2().ceil())
    return (values * scale).round().long().cumsum(1).to(values.dtype) / scale
