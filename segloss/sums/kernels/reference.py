r"""The textbook, in plain PyTorch operations: any device, any option, any order of derivative.

It is the textbook's arithmetic, but for one thing: nothing is ever computed as 1 - p where p is
close to 1. A well-trained model's errors live in those last digits, and float32 drops them
(at a logit of 17, 1 - p is 0). So

- for sigmoid, p and 1 - p are exp(log sigmoid(x)) and exp(log sigmoid(-x)), whose derivatives
  PyTorch computes as products;
- for softmax, one class of each pixel, the pivot, is set against the rest: with its margin
  m = x_pivot - logsumexp(x_rest), it has p = sigmoid(m) and 1 - p = sigmoid(-m). The pivot is the
  labelled class, or the likeliest where targets are dense: no other class can be close to 1.

Pixels that don't count are replaced on entry, by selection, so they may hold NaN.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from segloss.batch.pixel_batch import PixelBatch
from segloss.foundation.precision import accumulation_dtype, arithmetic_dtype
from segloss.sums.kernels.base import Kernel
from segloss.sums.kernels.torch_ops.pixel_sums import (
    PixelValues,
    focal_of_class,
    focal_of_labels,
    pixel_sums,
)
from segloss.sums.plan import CROSS_ENTROPY, REGION, FocalSum, Plan

_LOG_FLOOR = -100.0
"""Least value of the logarithm of a given probability, as in `F.binary_cross_entropy`."""

_PROBABILITY_FLOOR = 1e-12
"""Below it that logarithm's gradient is constant, as in `F.binary_cross_entropy`."""


class ReferenceKernel(Kernel):
    """Sums that autograd can follow, to any order."""

    name = "reference"

    def supports(self, batch: PixelBatch, plan: Plan) -> str:
        """Refuses nothing: any batch, any sum will do."""
        return ""

    def sums(self, batch: PixelBatch, plan: Plan) -> Tensor:
        """Returns the sums, (S, N, C), with a graph if the predictions have one."""
        named = _sums(batch, plan)
        cells = batch.prediction.shape[:2]
        return torch.stack([_row(named[row.key], cells) for row in plan.rows])

    def gradient(self, batch: PixelBatch, plan: Plan, slopes: Tensor) -> Tensor:
        """Returns the gradient with respect to the predictions."""
        with torch.enable_grad():
            prediction = batch.prediction.detach().requires_grad_()
            sums = self.sums(batch.replace(prediction=prediction), plan)
        return torch.autograd.grad(sums, prediction, slopes)[0]

    def is_opaque(self, batch: PixelBatch) -> bool:
        """Returns False: a compiler takes each operation."""
        return False


def _row(values: Tensor, cells: torch.Size) -> Tensor:
    """Returns a row (N, C); a number per sample stands at class 0, with 0 at other classes."""
    if values.ndim == 2:
        return values
    return F.pad(values.unsqueeze(1), (0, cells[1] - 1))


def _sums(batch: PixelBatch, plan: Plan) -> dict[str, Tensor]:
    """Returns the plan's sums by their keys, and some that it may not ask for."""
    valid = batch.valid()
    weight = _weight(batch, valid)
    target = _target(batch, valid)
    prediction = _select(valid, batch.prediction).to(arithmetic_dtype(batch.prediction.dtype))
    likely = _likely(prediction, target, batch)
    result = _counts(likely, target, weight)
    if REGION in plan.sums:
        region = _label_region if batch.is_label_map else _dense_region
        result.update(region(likely, target, weight))
    if CROSS_ENTROPY in plan.sums:
        entropy = _binary_entropy if not batch.is_exclusive else _softmax_entropy
        result.update(entropy(likely, target, weight, batch))
    result.update(_pixel_sums(likely, target, weight, batch, plan))
    for focal in plan.focals:
        result[focal.name] = _focal(focal, likely, target, weight, batch)
    return result


class _Likely(NamedTuple):
    """Probabilities p, q = 1 - p, and their logarithms; `log_q` is right where it is needed.

    That is everywhere, but with label maps at the labels alone.
    """

    p: Tensor
    q: Tensor
    log_p: Tensor
    log_q: Tensor


class _Given:
    """The same for given probabilities, with logarithms computed when needed."""

    def __init__(self, prediction: Tensor) -> None:
        # rounded into [0, 1] with a slope of 1
        self.p = prediction + (prediction.clamp(0, 1) - prediction).detach()
        self.q = 1 - self.p

    @property
    def log_p(self) -> Tensor:
        """The logarithm of p, bounded."""
        return _bounded_log(self.p, self.q)

    @property
    def log_q(self) -> Tensor:
        """The logarithm of q, bounded."""
        return _bounded_log(self.q, self.p)


def _likely(prediction: Tensor, target: Tensor, batch: PixelBatch) -> _Likely | _Given:
    """Returns the probabilities, and their logarithms."""
    if not batch.options.from_logits:
        return _Given(prediction)
    if not batch.is_exclusive:
        log_p, log_q = F.logsigmoid(prediction), F.logsigmoid(-prediction)
        return _Likely(log_p.exp(), log_q.exp(), log_p, log_q)
    pivot = target if batch.is_label_map else prediction.argmax(1)
    return _pivoted(prediction, pivot.unsqueeze(1))


def _weight(batch: PixelBatch, valid: Tensor | None) -> Tensor:
    """Returns the weight of each pixel, (N, 1 or C, P): 0 where it does not count."""
    dtype = arithmetic_dtype(batch.prediction.dtype)
    if batch.weight is None:
        if valid is not None:
            return valid.to(dtype)
        return batch.prediction.new_ones((), dtype=dtype).expand_as(batch.prediction[:, :1])
    return _select(valid, batch.weight.to(dtype))


def _target(batch: PixelBatch, valid: Tensor | None) -> Tensor:
    """Class indices (N, P), or values (N, C, P) in the arithmetic's dtype."""
    if batch.is_label_map:
        label_valid = None if valid is None else valid.squeeze(1)
        return _select(label_valid, batch.target).long()
    return _select(valid, batch.target).to(arithmetic_dtype(batch.prediction.dtype))


def _select(valid: Tensor | None, tensor: Tensor) -> Tensor:
    return tensor if valid is None else torch.where(valid, tensor, torch.zeros_like(tensor))


def _pivoted(logits: Tensor, pivot: Tensor) -> _Likely:
    """Softmax over dimension 1, exact at the pivot (N, 1, P), the only one that may be likely."""
    logits = logits - logits.amax(1, keepdim=True).detach()  # else large logits would swallow log C
    logits = logits.clamp(min=torch.finfo(logits.dtype).min)  # where the difference overflowed
    rest = logits.scatter(1, pivot, -torch.inf)
    rest_logsumexp = rest.logsumexp(1, keepdim=True)
    margin = logits.gather(1, pivot) - rest_logsumexp
    log_rest = F.logsigmoid(-margin)
    log_p = (rest - rest_logsumexp + log_rest).scatter(1, pivot, F.logsigmoid(margin))
    p = log_p.exp()
    unlikely = p.scatter(1, pivot, 0.0).clamp(max=0.75)  # above only if the pivot is a wrong label
    log_q = torch.log1p(-unlikely).scatter(1, pivot, log_rest)
    return _Likely(p, (1 - p).scatter(1, pivot, log_rest.exp()), log_p, log_q)


def _bounded_log(p: Tensor, q: Tensor) -> Tensor:
    """Log p, at least -100, with a slope of at most 1e12; q = 1 - p keeps digits near p = 1.

    What a branch does not use is replaced before it is computed: its slope may be infinite.
    """
    inside = p >= _PROBABILITY_FLOOR
    low = p < 0.5
    log_low = torch.where(inside & low, p, torch.ones_like(p)).log()
    log_high = torch.log1p(-torch.where(low, torch.zeros_like(q), q))
    floor = p.detach().log().clamp(min=_LOG_FLOOR) + (p - p.detach()) / _PROBABILITY_FLOOR
    return torch.where(inside, torch.where(low, log_low, log_high), floor)


def _total(values: Tensor) -> Tensor:
    """Returns the sum over pixels."""
    return values.sum(-1, dtype=accumulation_dtype(values.device))


def _total_by_label(values: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Returns the sums of `values` (N, 1, P) over the pixels of each label, (N, C)."""
    dtype = accumulation_dtype(values.device)
    totals = values.new_zeros((values.shape[0], classes), dtype=dtype)
    return totals.scatter_add(1, labels, values.squeeze(1).to(dtype))


def _counts(likely: _Likely | _Given, target: Tensor, weight: Tensor) -> dict[str, Tensor]:
    classes = likely.p.shape[1]
    if target.ndim < likely.p.ndim:
        actual = _total_by_label(weight, target, classes)
        return {"actual": actual, "pixel_weight": actual.sum(1, keepdim=True).expand(-1, classes)}
    return {"actual": _total(weight * target), "pixel_weight": _total(weight.expand_as(likely.p))}


def _dense_region(likely: _Likely | _Given, target: Tensor, weight: Tensor) -> dict[str, Tensor]:
    positive, negative = weight * target, weight * (1 - target)
    return {
        "true_positive": _total(positive * likely.p),
        "false_positive": _total(negative * likely.p),
        "false_negative": _total(positive * likely.q),
    }


def _label_region(likely: _Likely | _Given, labels: Tensor, weight: Tensor) -> dict[str, Tensor]:
    classes, index = likely.p.shape[1], labels.unsqueeze(1)
    hit, miss = weight * likely.p.gather(1, index), weight * likely.q.gather(1, index)
    return {
        "true_positive": _total_by_label(hit, labels, classes),
        "false_positive": _total(weight * likely.p.scatter(1, index, 0.0)),
        "false_negative": _total_by_label(miss, labels, classes),
    }


def _pixel_sums(
    likely: _Likely | _Given, target: Tensor, weight: Tensor, batch: PixelBatch, plan: Plan
) -> dict[str, Tensor]:
    """Returns the sums of functions of the probability."""
    wanted = pixel_sums(plan)
    if not wanted:
        return {}
    valid = batch.valid()
    maps = {each.map_key: _select(valid, batch.maps[each.map_key]) for each in plan.maps}
    maps = {key: values.to(likely.p.dtype) for key, values in maps.items()}
    if batch.is_label_map:
        target = torch.zeros_like(likely.p).scatter(1, target.unsqueeze(1), 1.0)
    result = {each.total: _total(weight * maps[each.map_key]) for each in plan.maps}
    pixel = PixelValues(likely.p, likely.q, target, maps)
    for pixel_sum in wanted:
        values = pixel_sum.values(pixel)
        result.update({name: _total(weight * value) for name, value in values.items()})
    return result


def _focal(
    focal: FocalSum, likely: _Likely | _Given, target: Tensor, weight: Tensor, batch: PixelBatch
) -> Tensor:
    """Returns the focal sum: (N, C) for sigmoid, (N,) for softmax; e^gamma is exp(gamma log e)."""
    if batch.is_label_map:
        index = target.unsqueeze(1)
        gamma, alpha = focal_of_labels(focal, index, likely.p)
        log_p, log_q = likely.log_p.gather(1, index), likely.log_q.gather(1, index)
        return _total((weight * (-alpha * (gamma * log_q).exp() * log_p)).squeeze(1))
    if batch.is_exclusive:
        classes = torch.arange(likely.p.shape[1], device=likely.p.device).reshape(1, -1, 1)
        gamma, alpha = focal_of_labels(focal, classes, likely.p)
        losses = -alpha * target * (gamma * likely.log_q).exp() * likely.log_p
        return _total(weight.squeeze(1) * losses.sum(1))
    background, foreground = focal_of_class(focal, 0), focal_of_class(focal, 1)
    positive = foreground.alpha * target * (foreground.gamma * likely.log_q).exp() * likely.log_p
    negative = background.alpha * (1 - target) * (background.gamma * likely.log_p).exp()
    return _total(weight * -(positive + negative * likely.log_q))


def _binary_entropy(
    likely: _Likely | _Given, target: Tensor, weight: Tensor, batch: PixelBatch
) -> dict[str, Tensor]:
    smoothing = batch.options.label_smoothing
    smooth_target = target * (1 - smoothing) + smoothing / 2
    positive = _per_class(batch.pos_weight, target) * smooth_target
    entropy = -positive * likely.log_p - (1 - smooth_target) * likely.log_q
    class_weight = weight * _per_class(batch.class_weights, target)
    return {
        "cross_entropy": _total(class_weight * entropy),
        "weight": _total(class_weight.expand_as(entropy)),
    }


def _softmax_entropy(
    likely: _Likely | _Given, target: Tensor, weight: Tensor, batch: PixelBatch
) -> dict[str, Tensor]:
    class_weights = _per_class(batch.class_weights, likely.log_p)
    weighted = -class_weights * likely.log_p
    pixel_weight = weight.squeeze(1)
    if batch.is_label_map:
        index = target.unsqueeze(1)
        entropy = weighted.gather(1, index).squeeze(1)
        normaliser = pixel_weight * class_weights.expand_as(weighted).gather(1, index).squeeze(1)
    else:
        entropy = (target * weighted).sum(1)
        normaliser = pixel_weight
    if batch.options.label_smoothing > 0:
        entropy = torch.lerp(entropy, weighted.mean(1), batch.options.label_smoothing)
    return {"cross_entropy": _total(pixel_weight * entropy), "weight": _total(normaliser)}


def _per_class(weights: Tensor | None, like: Tensor) -> Tensor:
    """Weights of the classes, shaped to multiply (N, C, P); 1 where there are none."""
    if weights is None:
        return like.new_ones((1, 1, 1))
    return weights.to(like.dtype).reshape(1, -1, 1)
