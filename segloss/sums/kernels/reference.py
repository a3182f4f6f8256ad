r"""The reference kernel, in plain PyTorch: any device, any option, any order of derivative.

It follows the textbook's formulas, with probabilities from `segloss.sums.probabilities`, which keep
their digits. Pixels that do not count are replaced first, by selection, so they may hold NaN.
"""

from __future__ import annotations

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
from segloss.sums.probabilities import (
    Probabilities,
    binary_cross_entropy,
    cross_entropy,
    sigmoid_probabilities,
    softmax_probabilities,
    times_log,
)

_LOG_FLOOR = -100.0
"""The least logarithm of a given probability, as in `F.binary_cross_entropy`."""

_PROBABILITY_FLOOR = 1e-12
"""Below this probability, the logarithm has a constant slope, as in the same function."""


class ReferenceKernel(Kernel):
    """Computes sums in operations that autograd can follow, to any order of derivative."""

    name = "reference"

    def supports(self, batch: PixelBatch, plan: Plan) -> str:
        """Returns an empty string: it takes every batch and plan."""
        return ""

    def sums(self, batch: PixelBatch, plan: Plan) -> Tensor:
        """Computes the sums, (S, N, C), with a graph if the predictions have one."""
        named = _sums(batch, plan)
        cells = batch.prediction.shape[:2]
        return torch.stack([_row(named[row.key], cells) for row in plan.rows])

    def gradient(self, batch: PixelBatch, plan: Plan, slopes: Tensor) -> Tensor:
        """Computes the gradient with respect to the predictions."""
        with torch.enable_grad():
            prediction = batch.prediction.detach().requires_grad_()
            sums = self.sums(batch.replace(prediction=prediction), plan)
        return torch.autograd.grad(sums, prediction, slopes)[0]

    def is_opaque(self, batch: PixelBatch) -> bool:
        """Returns False: `torch.compile` compiles its operations."""
        return False


def _row(values: Tensor, cells: torch.Size) -> Tensor:
    """Returns a row (N, C). A number per sample stands at class 0, with 0 at the other classes."""
    if values.ndim == 2:
        return values
    return F.pad(values.unsqueeze(1), (0, cells[1] - 1))


def _sums(batch: PixelBatch, plan: Plan) -> dict[str, Tensor]:
    """Computes the plan's sums by their keys, and perhaps some others."""
    if plan.needs_float64:
        batch = batch.replace(
            prediction=batch.prediction.to(accumulation_dtype(batch.prediction.device))
        )
    if batch.is_label_map and not batch.is_exclusive:
        batch = batch.with_masks()
    valid = batch.valid()
    target, wrong = _target(batch, valid)
    weight = _weight(batch, valid, wrong)
    prediction = _select(valid, batch.prediction).to(arithmetic_dtype(batch.prediction.dtype))
    probabilities = _probabilities(prediction, batch)
    result = _counts(probabilities, target, weight)
    if REGION in plan.sums:
        region = _label_region if batch.is_label_map else _dense_region
        result.update(region(probabilities, target, weight))
    if CROSS_ENTROPY in plan.sums:
        entropy = _binary_entropy if not batch.is_exclusive else _softmax_entropy
        result.update(entropy(probabilities, target, weight, batch))
    result.update(_pixel_sums(probabilities, target, weight, batch, plan))
    for focal in plan.focals:
        result[focal.name] = _focal(focal, probabilities, target, weight, batch)
    return result


class _GivenProbabilities:
    """Given probabilities p and q = 1 - p, with logarithms that are computed when needed."""

    def __init__(self, prediction: Tensor) -> None:
        # Clamps to [0, 1], with a slope of 1
        self.p = prediction + (prediction.clamp(0, 1) - prediction).detach()
        self.q = 1 - self.p

    @property
    def log_p(self) -> Tensor:
        """The logarithm of p, at least -100."""
        return _bounded_log(self.p, self.q)

    @property
    def log_q(self) -> Tensor:
        """The logarithm of q, at least -100."""
        return _bounded_log(self.q, self.p)


_AnyProbabilities = Probabilities | _GivenProbabilities


def _probabilities(prediction: Tensor, batch: PixelBatch) -> _AnyProbabilities:
    """Computes the probabilities and their logarithms."""
    if not batch.options.from_logits:
        return _GivenProbabilities(prediction)
    of_logits = softmax_probabilities if batch.is_exclusive else sigmoid_probabilities
    return of_logits(prediction)


def _weight(batch: PixelBatch, valid: Tensor | None, wrong: Tensor | None) -> Tensor:
    """Returns the weights, (N, 1 or C, P): 0 if a pixel does not count, NaN if a label is wrong."""
    dtype = arithmetic_dtype(batch.prediction.dtype)
    weight = batch.prediction.new_ones((), dtype=dtype).expand_as(batch.prediction[:, :1])
    if batch.weight is not None:
        weight = batch.weight.to(dtype)
    weight = _select(valid, weight)
    return weight if wrong is None else weight.masked_fill(wrong.unsqueeze(1), torch.nan)


def _target(batch: PixelBatch, valid: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Returns class indices (N, P) and a mask of wrong labels; or dense values (N, C, P)."""
    if batch.is_label_map:
        return batch.labels(valid)
    return _select(valid, batch.target).to(arithmetic_dtype(batch.prediction.dtype)), None


def _select(valid: Tensor | None, tensor: Tensor) -> Tensor:
    return tensor if valid is None else torch.where(valid, tensor, torch.zeros_like(tensor))


def _bounded_log(p: Tensor, q: Tensor) -> Tensor:
    """Computes log p, at least -100, with a slope of at most 1e12; from q = 1 - p if p >= 0.5.

    Each branch first replaces the values that it does not use: their slopes may be infinite.
    """
    inside = p >= _PROBABILITY_FLOOR
    low = p < 0.5
    log_low = torch.where(inside & low, p, torch.ones_like(p)).log()
    log_high = torch.log1p(-torch.where(low, torch.zeros_like(q), q))
    floor = p.detach().log().clamp(min=_LOG_FLOOR) + (p - p.detach()) / _PROBABILITY_FLOOR
    return torch.where(inside, torch.where(low, log_low, log_high), floor)


def _total(values: Tensor) -> Tensor:
    """Computes the sum over pixels."""
    return values.sum(-1, dtype=accumulation_dtype(values.device))


def _total_by_label(values: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Computes the sums of `values` (N, 1, P) over the pixels of each label, (N, C)."""
    dtype = accumulation_dtype(values.device)
    totals = values.new_zeros((values.shape[0], classes), dtype=dtype)
    return totals.scatter_add(1, labels, values.squeeze(1).to(dtype))


def _counts(probabilities: _AnyProbabilities, target: Tensor, weight: Tensor) -> dict[str, Tensor]:
    classes = probabilities.p.shape[1]
    if target.ndim < probabilities.p.ndim:
        actual = _total_by_label(weight, target, classes)
        return {"actual": actual, "pixel_weight": actual.sum(1, keepdim=True).expand(-1, classes)}
    return {
        "actual": _total(weight * target),
        "pixel_weight": _total(weight.expand_as(probabilities.p)),
    }


def _dense_region(
    probabilities: _AnyProbabilities, target: Tensor, weight: Tensor
) -> dict[str, Tensor]:
    positive, negative = weight * target, weight * (1 - target)
    return {
        "true_positive": _total(positive * probabilities.p),
        "false_positive": _total(negative * probabilities.p),
        "false_negative": _total(positive * probabilities.q),
    }


def _label_region(
    probabilities: _AnyProbabilities, labels: Tensor, weight: Tensor
) -> dict[str, Tensor]:
    classes, index = probabilities.p.shape[1], labels.unsqueeze(1)
    hit, miss = weight * probabilities.p.gather(1, index), weight * probabilities.q.gather(1, index)
    return {
        "true_positive": _total_by_label(hit, labels, classes),
        "false_positive": _total(weight * probabilities.p.scatter(1, index, 0.0)),
        "false_negative": _total_by_label(miss, labels, classes),
    }


def _pixel_sums(
    probabilities: _AnyProbabilities, target: Tensor, weight: Tensor, batch: PixelBatch, plan: Plan
) -> dict[str, Tensor]:
    """Computes the sums of functions of the probability."""
    extra_sums = pixel_sums(plan)
    if not extra_sums:
        return {}
    valid = batch.valid()
    maps = {key: _select(valid, batch.maps[key]) for key in plan.map_keys}
    maps = {key: values.to(probabilities.p.dtype) for key, values in maps.items()}
    if batch.is_label_map:
        target = torch.zeros_like(probabilities.p).scatter(1, target.unsqueeze(1), 1.0)
    result = {m.total: _total(weight * maps[m.map_key]) for m in plan.maps}
    pixel = PixelValues(probabilities.p, probabilities.q, target, maps)
    for pixel_sum in extra_sums:
        values = pixel_sum.values(pixel)
        result.update({name: _total(weight * value) for name, value in values.items()})
    return result


def _focal(
    focal: FocalSum,
    probabilities: _AnyProbabilities,
    target: Tensor,
    weight: Tensor,
    batch: PixelBatch,
) -> Tensor:
    """Computes a focal sum, (N, C) with sigmoid, (N,) with softmax; q^gamma is exp(gamma log q)."""
    if batch.is_label_map:
        index = target.unsqueeze(1)
        gamma, alpha = focal_of_labels(focal, index, probabilities.p)
        log_p, log_q = probabilities.log_p.gather(1, index), probabilities.log_q.gather(1, index)
        return _total((weight * -times_log(alpha * _power(log_q, gamma), log_p)).squeeze(1))
    if batch.is_exclusive:
        classes = torch.arange(target.shape[1], device=target.device).reshape(1, -1, 1)
        gamma, alpha = focal_of_labels(focal, classes, probabilities.p)
        factor = alpha * target * _power(probabilities.log_q, gamma)
        return _total(weight.squeeze(1) * -times_log(factor, probabilities.log_p).sum(1))
    background, foreground = focal_of_class(focal, 0), focal_of_class(focal, 1)
    log_p, log_q = probabilities.log_p, probabilities.log_q
    positive = foreground.alpha * target * _power(log_q, foreground.gamma)
    negative = background.alpha * (1 - target) * _power(log_p, background.gamma)
    return _total(weight * -(times_log(positive, log_p) + times_log(negative, log_q)))


def _power(log: Tensor, exponent: Tensor | float) -> Tensor:
    """Computes a number to a power, from its logarithm."""
    return times_log(exponent, log).exp()


def _binary_entropy(
    probabilities: _AnyProbabilities, target: Tensor, weight: Tensor, batch: PixelBatch
) -> dict[str, Tensor]:
    pos_weight = _per_class(batch.pos_weight, target)
    log_p, log_q = probabilities.log_p, probabilities.log_q
    entropy = binary_cross_entropy(log_p, log_q, target, pos_weight, batch.options.label_smoothing)
    class_weight = weight * _per_class(batch.class_weights, target)
    return {
        "cross_entropy": _total(times_log(class_weight, entropy)),
        "weight": _total(class_weight.expand_as(entropy)),
    }


def _softmax_entropy(
    probabilities: _AnyProbabilities, target: Tensor, weight: Tensor, batch: PixelBatch
) -> dict[str, Tensor]:
    log_p, pixel_weight = probabilities.log_p, weight.squeeze(1)
    class_weights = _per_class(batch.class_weights, log_p)
    entropy = cross_entropy(log_p, target, class_weights, batch.options.label_smoothing)
    normaliser = pixel_weight
    if batch.is_label_map:
        label_weights = class_weights.expand_as(log_p).gather(1, target.unsqueeze(1))
        normaliser = pixel_weight * label_weights.squeeze(1)
    return {"cross_entropy": _total(pixel_weight * entropy), "weight": _total(normaliser)}


def _per_class(weights: Tensor | None, like: Tensor) -> Tensor:
    """Returns class weights shaped to multiply (N, C, P); 1 if there are none."""
    if weights is None:
        return like.new_ones((1, 1, 1))
    return weights.to(like.dtype).reshape(1, -1, 1)
