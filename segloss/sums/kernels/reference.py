r"""The reference kernel, in plain PyTorch: any device, any option, any order of derivative.

It follows the textbook's formulas, with probabilities from `segloss.sums.probabilities`, which are
accurate. Pixels that do not count are replaced first, by selection, so they may hold NaN.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from segloss.batch.pixel_batch import PixelBatch, where_valid
from segloss.foundation.precision import accumulation_dtype, arithmetic_dtype
from segloss.sums.groups import Groups, at_group_0, group_count
from segloss.sums.kernels.base import Kernel
from segloss.sums.kernels.torch_ops.pixel_sums import (
    PixelValues,
    are_members,
    class_distances,
    class_group_sum,
    focal_of_class,
    focal_of_labels,
    members_of,
    pixel_sums,
)
from segloss.sums.plan import (
    CROSS_ENTROPY,
    REGION,
    ClassGroupSum,
    DistanceSum,
    FocalSum,
    Plan,
)
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


_PIXELS = 2**16
"""The number of pixels whose losses are computed together: their sums are float64."""


class ReferenceKernel(Kernel):
    """Computes sums in operations that autograd can follow, to any order of derivative."""

    name = "reference"
    has_pixel_losses = True

    def supports(self, batch: PixelBatch, plan: Plan) -> str:
        """Returns an empty string: it takes every batch and plan."""
        return ""

    def sums(self, batch: PixelBatch, plan: Plan) -> Tensor:
        """Computes the sums, (S, N, C), with a graph if the predictions have one."""
        groups = None
        if plan.group_key is not None:
            ids = batch.maps[plan.group_key]
            groups = Groups.of(ids, group_count(ids))
        return self._rows(batch, plan, groups)

    def _rows(self, batch: PixelBatch, plan: Plan, groups: Groups | None) -> Tensor:
        named = _sums(batch, plan, groups)
        cells = batch.prediction.shape[:2]
        return torch.stack([_row(named[row.key], cells, groups) for row in plan.rows])

    def gradient(self, batch: PixelBatch, plan: Plan, slopes: Tensor) -> Tensor:
        """Computes the gradient with respect to the predictions."""
        groups = None
        if plan.group_key is not None:
            groups = Groups.of(batch.maps[plan.group_key], slopes.shape[2])
        with torch.enable_grad():
            prediction = batch.prediction.detach().requires_grad_()
            sums = self._rows(batch.replace(prediction=prediction), plan, groups)
        return torch.autograd.grad(sums, prediction, slopes)[0]

    def pixel_losses(self, batch: PixelBatch, plan: Plan, slopes: Tensor) -> Tensor:
        """Computes a loss of each pixel, (N, 1 or C, P)."""
        spread = batch.pixels_as_samples()
        dtype, total = arithmetic_dtype(batch.prediction.dtype), len(spread.prediction)
        losses = []
        for start in range(0, total, _PIXELS):
            part = spread.of_samples(slice(start, start + _PIXELS))
            cells = (self.sums(part, plan) * slopes.unsqueeze(1)).sum(0)
            losses.append((cells.sum(1, keepdim=True) if batch.is_exclusive else cells).to(dtype))
        samples, _, count = batch.prediction.shape
        return torch.cat(losses).view(samples, count, -1).transpose(1, 2)

    def is_opaque(self, batch: PixelBatch) -> bool:
        """Returns False: `torch.compile` compiles its operations."""
        return False


def _row(values: Tensor, cells: torch.Size, groups: Groups | None) -> Tensor:
    """Returns a row (N, C), or (N, K, C) with groups.

    A number per sample stands at class 0, and one of all pixels at group 0, with 0 at the others.
    """
    if values.ndim == 1:
        values = F.pad(values.unsqueeze(1), (0, cells[1] - 1))
    return values if groups is None or values.ndim == 3 else at_group_0(values, groups.count)


def _sums(batch: PixelBatch, plan: Plan, groups: Groups | None) -> dict[str, Tensor]:
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
    prediction = where_valid(batch.prediction, valid).to(arithmetic_dtype(batch.prediction.dtype))
    probabilities = _probabilities(prediction, batch)
    result = _counts(probabilities, target, weight, groups)
    if REGION.name in plan.names:
        region = _label_region if batch.is_label_map else _dense_region
        result.update(region(probabilities, target, weight, groups))
    if CROSS_ENTROPY.name in plan.names:
        entropy = _binary_entropy if not batch.is_exclusive else _softmax_entropy
        result.update(entropy(probabilities, target, weight, batch))
    result.update(_pixel_sums(probabilities, target, weight, batch, plan, groups))
    for each in plan.class_groups:
        result.update(_class_group(each, probabilities, target, weight))
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
    weight = where_valid(weight, valid)
    return weight if wrong is None else weight.masked_fill(wrong.unsqueeze(1), torch.nan)


def _target(batch: PixelBatch, valid: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Returns class indices (N, P) and a mask of wrong labels; or dense values (N, C, P)."""
    if batch.is_label_map:
        return batch.labels(valid)
    return where_valid(batch.target, valid).to(arithmetic_dtype(batch.prediction.dtype)), None


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


def _total(values: Tensor, groups: Groups | None = None) -> Tensor:
    """Computes the sum over pixels, or those over the pixels of each group, (N, K, C)."""
    if groups is not None:
        return groups.total(values)
    return values.sum(-1, dtype=accumulation_dtype(values.device))


def _total_by_label(
    values: Tensor, labels: Tensor, classes: int, groups: Groups | None = None
) -> Tensor:
    """Computes the sums of `values` (N, 1, P) by label, (N, C), or by group too, (N, K, C)."""
    if groups is not None:
        return groups.total_by_label(values.squeeze(1), labels)
    dtype = accumulation_dtype(values.device)
    totals = values.new_zeros((values.shape[0], classes), dtype=dtype)
    return totals.scatter_add(1, labels, values.squeeze(1).to(dtype))


def _counts(
    probabilities: _AnyProbabilities, target: Tensor, weight: Tensor, groups: Groups | None
) -> dict[str, Tensor]:
    classes = probabilities.p.shape[1]
    if target.ndim == probabilities.p.ndim:
        actual = _total(weight * target, groups)
    else:
        actual = _total_by_label(weight, target, classes, groups)
        if groups is None:
            pixel_weight = actual.sum(1, keepdim=True).expand(-1, classes)
            return {"actual": actual, "pixel_weight": pixel_weight}
    return {
        "actual": actual,
        "pixel_weight": _total(weight.expand_as(probabilities.p), groups),
    }


def _dense_region(
    probabilities: _AnyProbabilities, target: Tensor, weight: Tensor, groups: Groups | None
) -> dict[str, Tensor]:
    positive, negative = weight * target, weight * (1 - target)
    return {
        "true_positive": _total(positive * probabilities.p, groups),
        "false_positive": _total(negative * probabilities.p, groups),
        "false_negative": _total(positive * probabilities.q, groups),
    }


def _label_region(
    probabilities: _AnyProbabilities, labels: Tensor, weight: Tensor, groups: Groups | None
) -> dict[str, Tensor]:
    classes, index = probabilities.p.shape[1], labels.unsqueeze(1)
    hit, miss = weight * probabilities.p.gather(1, index), weight * probabilities.q.gather(1, index)
    return {
        "true_positive": _total_by_label(hit, labels, classes, groups),
        "false_positive": _total(weight * probabilities.p.scatter(1, index, 0.0), groups),
        "false_negative": _total_by_label(miss, labels, classes, groups),
    }


def _pixel_sums(
    probabilities: _AnyProbabilities,
    target: Tensor,
    weight: Tensor,
    batch: PixelBatch,
    plan: Plan,
    groups: Groups | None,
) -> dict[str, Tensor]:
    """Computes the sums of functions of the probability."""
    extra_sums = pixel_sums(plan, exclusive=batch.is_exclusive)
    distances = [each for each in plan.sums if isinstance(each, DistanceSum)]
    if not (extra_sums or distances):
        return {}
    valid = batch.valid()
    maps = {m.map_key: where_valid(batch.maps[m.map_key], valid) for m in plan.maps}
    maps = {key: values.to(probabilities.p.dtype) for key, values in maps.items()}
    if batch.is_label_map:
        target = torch.zeros_like(probabilities.p).scatter(1, target.unsqueeze(1), 1.0)
    result = {m.total: _total(weight * maps[m.map_key], groups) for m in plan.maps}
    pixel = PixelValues(
        probabilities.p, probabilities.q, target, maps, exclusive=batch.is_exclusive
    )
    for pixel_sum in extra_sums:
        values = pixel_sum.values(pixel)
        result.update({name: _total(weight * value, groups) for name, value in values.items()})
    for each in distances if batch.is_exclusive else ():
        result.update(_distances(each, probabilities.p, weight * target, groups))
    return result


def _distances(
    each: DistanceSum, p: Tensor, weighted_target: Tensor, groups: Groups | None
) -> dict[str, Tensor]:
    """Computes the sums of distances from each class, and of nearness, with softmax."""
    table = class_distances(each, p)
    far, near = (
        _total(weighted_target * torch.einsum("yc,ncp->nyp", of_classes, p), groups)
        for of_classes in (table, 1 - table)
    )
    none = torch.zeros_like(far)
    return dict(zip((row.key for row in each.rows), (far, near, none, none), strict=True))


def _class_group(
    each: ClassGroupSum, probabilities: _AnyProbabilities, target: Tensor, weight: Tensor
) -> dict[str, Tensor]:
    """Computes a sum of a group of classes, (N,) for each row."""
    members, others = members_of(each, probabilities.p.shape[1], target.device)

    def added(values: Tensor, classes: Tensor) -> Tensor:
        return values.index_select(1, classes).sum(1)

    p = added(probabilities.p, members)
    if isinstance(probabilities, _GivenProbabilities):  # they may not add up to 1
        given = _GivenProbabilities(p)
        p, q = given.p, given.q
    else:
        q = added(probabilities.p, others)
    is_dense = target.ndim == probabilities.p.ndim
    g = added(target, members) if is_dense else are_members(each.classes, target, probabilities.p)
    values = class_group_sum(each).values(PixelValues(p, q, g, {}))
    return {each.key(key): _total(weight.squeeze(1) * value) for key, value in values.items()}


def _focal(
    focal: FocalSum,
    probabilities: _AnyProbabilities,
    target: Tensor,
    weight: Tensor,
    batch: PixelBatch,
) -> Tensor:
    """Computes a focal sum, (N, C) with sigmoid, (N,) with softmax; q^gamma is exp(gamma log q)."""
    if focal.is_interpolated:
        return _interpolated_focal(focal, probabilities, target, weight, batch)
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


def _interpolated_focal(
    focal: FocalSum,
    probabilities: _AnyProbabilities,
    target: Tensor,
    weight: Tensor,
    batch: PixelBatch,
) -> Tensor:
    """Computes a focal sum of dense targets, with the mean of the classes' probabilities."""
    p, q, log_p, log_q = (getattr(probabilities, name) for name in ("p", "q", "log_p", "log_q"))
    if batch.is_exclusive:
        classes = torch.arange(target.shape[1], device=target.device).reshape(1, -1, 1)
        gamma, alpha = focal_of_labels(focal, classes, p)
        if isinstance(gamma, Tensor):  # the mean of the classes' exponents
            gamma = (gamma * target).sum(1)
        error, entropy = (target * q).sum(1), -times_log(target, log_p).sum(1)
        return _total(
            weight.squeeze(1) * (alpha * target).sum(1) * _error_to(error, gamma) * entropy
        )
    background, foreground = focal_of_class(focal, 0), focal_of_class(focal, 1)
    error = p * (1 - target) + q * target
    gamma = foreground.gamma * target + background.gamma * (1 - target)
    alpha = foreground.alpha * target + background.alpha * (1 - target)
    entropy = binary_cross_entropy(log_p, log_q, target, 1.0, 0.0)
    return _total(weight * alpha * _error_to(error, gamma) * entropy)


def _error_to(error: Tensor, gamma: Tensor | float) -> Tensor:
    """Computes an error to a power, with a slope of 0 where the error is 0."""
    return error.clamp(min=torch.finfo(error.dtype).tiny).pow(gamma)


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
