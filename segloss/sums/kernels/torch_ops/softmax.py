r"""The fused kernel for softmax and label maps, without a one-hot target.

A pixel of label y has the probabilities p_j, and q = 1 - p_y. Its gradient is

    m         = sum of f_k p_k over k other than y
    s_j       = e c_j / C
    R         = sum of s_k over k other than y
    v         = c_y (1 - e) + s_y
    dL/dx_j   = w [ p_j (f_j - m - (t_y - n_y) p_y + a (v + R)) - a s_j ]     for j other than y
    dL/dx_y   = w [ p_y ((t_y - n_y) q - m + a R) - a v q ].

Here c are the class weights and e is the smoothing. The upstream gradients are t for true
positives, f for false positives, n for false negatives and a for the cross-entropy.

q is computed from the sum of the other classes' exponentials, never as 1 - p_y.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from segloss.batch.pixel_batch import PixelBatch
from segloss.foundation.precision import accumulation_dtype
from segloss.sums.kernels.torch_ops.chunks import LOG2E, Chunk, Chunks, total
from segloss.sums.kernels.torch_ops.class_groups import ClassGroupSums
from segloss.sums.kernels.torch_ops.pixel_sums import (
    PixelValues,
    class_distances,
    focal_of_labels,
)
from segloss.sums.plan import (
    COUNTS,
    CROSS_ENTROPY,
    REGION,
    DistanceSum,
    FocalSum,
    Plan,
)

_LEAST, _GREATEST = 1e-19, 1e18
"""The range of exponentials whose ratios fit float32: there the maximum need not be subtracted."""

_MISSED = 0.99
"""The largest missed share of a class for which `actual - missed` has enough digits."""


class _Exponentials(NamedTuple):
    """The softmax of a chunk, before the division.

    Attributes:
        exp_others: exp(x - shift), with 0 at the label, (n, C, l).
        exp_label: exp(x - shift) at the label, (n, l).
        others_total: The sum of `exp_others` over classes, (n, l).
        all_total: The sum over all classes, (n, l).
        shift: The number subtracted from x, (n, 1, l), or None.
    """

    exp_others: Tensor
    exp_label: Tensor
    others_total: Tensor
    all_total: Tensor
    shift: Tensor | None


class _ExtraSlopes(NamedTuple):
    """Slopes of the sums other than counts, region and cross-entropy.

    Attributes:
        by_p_others: In the probabilities of the other classes, (n, C, l), or None.
        by_p_label: In the label's probability, (n, l), or None.
        focal: Of focal sums in the logit of 1 - p_y, (n, l), or None.
        of_groups: Of sums of groups of classes in the logit, divided by the probability,
            (n, C, l), or None.
    """

    by_p_others: Tensor | None
    by_p_label: Tensor | None
    focal: Tensor | None
    of_groups: Tensor | None


class SoftmaxChunks(Chunks):
    """Computes the sums and the gradient for classes that exclude each other."""

    size = 2**20

    def __init__(self, batch: PixelBatch, plan: Plan, groups: int | None = None) -> None:
        super().__init__(batch, plan, groups)
        self.distances = [each for each in plan.sums if isinstance(each, DistanceSum)]
        self.class_groups: ClassGroupSums | None = None
        if plan.class_groups:
            self.class_groups = ClassGroupSums(plan.class_groups, batch.prediction.shape[1])

    def measure(self, chunk: Chunk) -> dict[str, Tensor]:
        """Computes the sums over a chunk: (n, C), or (n,) for cross-entropy and focal sums."""
        exponentials = self._exponentials(chunk)
        sums = self._counts(chunk) | self.map_totals(chunk)
        if CROSS_ENTROPY in self.plan.sums or self.plan.focals:
            nll = self._nll(chunk, exponentials)
            for focal in self.plan.focals:
                sums[focal.name] = self._focal(focal, nll, chunk, exponentials)
            if CROSS_ENTROPY in self.plan.sums:
                sums |= self._mean_entropy(chunk, nll, exponentials)
        sums |= self._extra(chunk, exponentials)
        for distances in self.distances:
            sums |= self._distance_sums(distances, chunk, exponentials)
        if self.class_groups is not None:
            sums |= self._class_group_sums(self.class_groups, chunk, exponentials)
        if REGION in self.plan.sums:
            sums |= self._region(chunk, exponentials, sums["actual"])
        return sums

    def losses(self, chunk: Chunk, slopes: Mapping[str, Tensor]) -> Tensor:
        """Computes the losses of a chunk's pixels without their weights, (n, 1, l)."""
        exponentials, addends = self._exponentials(chunk), []
        if CROSS_ENTROPY in self.plan.sums or self.plan.focals:
            nll = self._nll(chunk, exponentials)
            for focal in self.plan.focals:
                values = self._focal_values(focal, nll, chunk, exponentials)
                addends.append(values.mul_(slopes[focal.name]))
            if CROSS_ENTROPY in self.plan.sums:
                addends.append(self._entropy(chunk, nll, exponentials) * slopes["cross_entropy"])
        labels = chunk.target
        if self.extra_sums:
            at_others, at_label = self._pixel_values(chunk, exponentials)
            for pixel_sum in self.extra_sums:
                of_label = pixel_sum.values(at_label)
                for key, values in pixel_sum.values(at_others).items():
                    addends.append(torch.matmul(slopes[key], values))
                    addends.append(of_label[key] * slopes[key][labels])
        if REGION in self.plan.sums:
            by_p, by_q = slopes["true_positive"][labels], slopes["false_negative"][labels]
            exp_others, exp_label, others_total, all_total, _ = exponentials
            of_others = torch.matmul(slopes["false_positive"], exp_others)
            addends.append((exp_label * by_p + others_total * by_q + of_others) / all_total)
        return functools.reduce(torch.add, addends).unsqueeze(1)

    def _counts(self, chunk: Chunk) -> dict[str, Tensor]:
        """Computes the weight of each class's pixels, and of all pixels, (n, C), if wanted."""
        if COUNTS not in self.plan.sums:
            return {}
        samples, pixels = chunk.target.shape
        classes = chunk.prediction.shape[1]
        weight = chunk.prediction.new_ones(()) if chunk.weight is None else chunk.weight.squeeze(1)
        actual = _by_label(weight.expand(samples, pixels), chunk, classes)
        if chunk.groups is not None:
            weight = weight.unsqueeze(-2) if weight.ndim else weight
            pixel_weight = chunk.total(weight.expand(samples, classes, pixels))
            return {"actual": actual, "pixel_weight": pixel_weight}
        return {
            "actual": actual,
            "pixel_weight": actual.sum(1, keepdim=True).expand(-1, classes),
        }

    def _focal(
        self, focal: FocalSum, nll: Tensor, chunk: Chunk, exponentials: _Exponentials
    ) -> Tensor:
        losses = self._focal_values(focal, nll, chunk, exponentials)
        return total(losses if chunk.weight is None else losses * chunk.weight.squeeze(1))

    def _focal_values(
        self, focal: FocalSum, nll: Tensor, chunk: Chunk, exponentials: _Exponentials
    ) -> Tensor:
        """Computes the focal loss of each pixel, (n, l)."""
        error = exponentials.others_total / exponentials.all_total
        return focal_of_labels(focal, chunk.target, error).value(error, nll)

    def _extra(self, chunk: Chunk, exponentials: _Exponentials) -> dict[str, Tensor]:
        """Computes the sums of other functions of the probability."""
        sums: dict[str, Tensor] = {}
        if not self.extra_sums:
            return sums
        at_others, at_label = self._pixel_values(chunk, exponentials)
        classes = at_others.p.shape[1]
        for pixel_sum in self.extra_sums:
            label_values = pixel_sum.values(at_label)
            for key, values in pixel_sum.values(at_others).items():
                of_label = label_values[key]
                if chunk.weight is not None:
                    of_label = of_label * chunk.weight.squeeze(1)
                of_others = chunk.total(chunk.weighted(values))
                sums[key] = of_others + _by_label(of_label, chunk, classes)
        return sums

    def _distance_sums(
        self, distances: DistanceSum, chunk: Chunk, exponentials: _Exponentials
    ) -> dict[str, Tensor]:
        """Computes the sums over each class's pixels of the distance from it, and of nearness."""
        p_others = exponentials.exp_others / exponentials.all_total.unsqueeze(1)
        p_label = exponentials.exp_label / exponentials.all_total
        to_others = self._distances_of_labels(distances, chunk)
        classes = p_others.shape[1]
        far = (to_others * p_others).sum(1)
        near = p_label + ((1 - to_others) * p_others).sum(1)
        weight = torch.ones_like(far) if chunk.weight is None else chunk.weight.squeeze(1)
        found = [_by_label(each * weight, chunk, classes) for each in (far, near)]
        none = torch.zeros_like(found[0])
        keys = (row.key for row in distances.rows)
        return dict(zip(keys, (*found, none, none), strict=True))

    def _distances_of_labels(self, distances: DistanceSum, chunk: Chunk) -> Tensor:
        """Returns the distances of all classes from the label, (n, C, l)."""
        table = class_distances(distances, chunk.prediction)
        return table[chunk.target].transpose(1, 2)

    def _distance_slopes(
        self, distances: DistanceSum, upstream: Mapping[str, Tensor], chunk: Chunk
    ) -> tuple[Tensor, Tensor]:
        """Computes the slopes in p of the other classes, (n, C, l), and of the label, (n, l)."""
        to_others = self._distances_of_labels(distances, chunk)
        far, near = (
            _of_label(upstream[key], chunk.target) for key in (distances.far, distances.near)
        )
        by_p_others = to_others * far.unsqueeze(1) + (1 - to_others) * near.unsqueeze(1)
        return by_p_others, near

    def _class_group_sums(
        self, groups: ClassGroupSums, chunk: Chunk, exponentials: _Exponentials
    ) -> dict[str, Tensor]:
        """Computes the sums of groups of classes, (n,) for each row."""
        weight = None if chunk.weight is None else chunk.weight.squeeze(1)
        exp_others, exp_label, _, all_total, _ = exponentials
        values = groups.values(exp_others, exp_label, all_total, chunk.target)
        return {key: total(each if weight is None else each * weight) for key, each in values}

    def _pixel_values(
        self, chunk: Chunk, exponentials: _Exponentials
    ) -> tuple[PixelValues, PixelValues]:
        """Returns the values of the other classes, (n, C, l), and of the label, (n, l).

        At the label, p and q of the other classes are 0.
        """
        exp_others, exp_label, others_total, all_total, _ = exponentials
        index = chunk.target.unsqueeze(1)
        p_others = torch.div(
            exp_others, all_total.unsqueeze(1), out=self.buffer("p_others", exp_others)
        )
        q_others = p_others  # not read
        if any(each.reads_q for each in self.extra_sums):
            q_others = self._q_of_others(exponentials, p_others).scatter_(1, index, 0)
        label_maps = {key: m.gather(1, index).squeeze(1) for key, m in chunk.maps.items()}
        return (
            PixelValues(p_others, q_others, 0.0, chunk.maps, exclusive=True),
            PixelValues(
                exp_label / all_total, others_total / all_total, 1.0, label_maps, exclusive=True
            ),
        )

    def _q_of_others(self, exponentials: _Exponentials, p_others: Tensor) -> Tensor:
        """Computes 1 - p of the other classes, (n, C, l): where p > 1/2, from all other classes."""
        exp_others, exp_label, _, all_total, _ = exponentials
        largest = exp_others.amax(1, keepdim=True)
        smaller = exp_others.masked_fill(exp_others == largest, 0).sum(1) + exp_label
        q_likely = (smaller / all_total).unsqueeze(1)
        q_others = torch.sub(1, p_others, out=self.buffer("q_others", p_others))
        return torch.where(p_others > 0.5, q_likely, q_others)

    def _exponentials(self, chunk: Chunk) -> _Exponentials:
        """Computes the exponentials. On CPUs, skips the subtraction of the maximum if it can."""
        x = chunk.prediction
        if self.on_cpu:  # on an accelerator, the check would wait for the queue
            scaled = torch.mul(x, LOG2E, out=self.buffer("p", x))
            result = self._split(scaled, chunk.target, None)
            if result.exp_label.min() > _LEAST and result.all_total.max() < _GREATEST:
                return result
        shift = x.amax(1, keepdim=True)
        scaled = torch.sub(x, shift, out=self.buffer("p", x)).mul_(LOG2E)
        return self._split(scaled, chunk.target, shift)

    def _split(self, scaled: Tensor, labels: Tensor, shift: Tensor | None) -> _Exponentials:
        exponentials, index = scaled.exp2_(), labels.unsqueeze(1)
        exp_label = exponentials.gather(1, index).squeeze(1)
        exp_others = exponentials.scatter_(1, index, 0)
        others_total = exp_others.sum(1)
        return _Exponentials(exp_others, exp_label, others_total, exp_label + others_total, shift)

    def _mean_entropy(
        self, chunk: Chunk, nll: Tensor, exponentials: _Exponentials
    ) -> dict[str, Tensor]:
        entropy, weight = self._entropy(chunk, nll, exponentials), chunk.weight
        if self.class_weights is not None:
            label_weight = self.class_weights[chunk.target]
            weight = label_weight if weight is None else label_weight * weight.squeeze(1)
        if chunk.weight is not None:
            entropy = entropy * chunk.weight.squeeze(1)
        samples, pixels = chunk.target.shape
        if weight is None:
            normaliser = self.count(pixels)
        else:
            normaliser = total(weight.reshape(samples, pixels))
        return {"cross_entropy": total(entropy), "weight": normaliser.expand(samples)}

    def _entropy(self, chunk: Chunk, nll: Tensor, exponentials: _Exponentials) -> Tensor:
        """Computes the cross-entropy of each pixel, with class weights and smoothing, (n, l)."""
        entropy = nll
        if self.class_weights is not None:
            entropy = entropy * self.class_weights[chunk.target]
        if self.batch.options.label_smoothing > 0:
            mean = self._mean_nll(chunk.prediction, exponentials)
            entropy = torch.lerp(entropy, mean, self.batch.options.label_smoothing)
        return entropy

    def _nll(self, chunk: Chunk, exponentials: _Exponentials) -> Tensor:
        """Computes -log p of the label, (n, l): log(1 + odds), unless that over- or underflows."""
        odds = exponentials.others_total / exponentials.exp_label
        if exponentials.shift is None:
            return _log1p(odds)
        log_total = exponentials.all_total.log()
        label_logit = chunk.prediction.gather(1, chunk.target.unsqueeze(1)) - exponentials.shift
        return torch.where(odds < 1, _log1p(odds), log_total - label_logit.squeeze(1))

    def _mean_nll(self, x: Tensor, exponentials: _Exponentials) -> Tensor:
        """Computes the mean over classes of -log p times the class weights, (n, l)."""
        factors = self._class_weights_or_ones(x) / x.shape[1]
        log_total = exponentials.all_total.log()
        if exponentials.shift is not None:
            log_total = log_total + exponentials.shift.squeeze(1)
        if self.class_weights is not None:  # a class of weight 0 may have infinite logits
            x = x.masked_fill((factors == 0).unsqueeze(-1), 0)
        return factors.sum() * log_total - torch.matmul(factors, x)

    def _region(
        self, chunk: Chunk, exponentials: _Exponentials, actual: Tensor
    ) -> dict[str, Tensor]:
        """Computes the region's sums, and overwrites the exponentials."""
        exp_others, exp_label, others_total, all_total, _ = exponentials
        weight = torch.ones_like(exp_label) if chunk.weight is None else chunk.weight.squeeze(1)
        scale = weight / all_total
        classes = exp_others.shape[1]
        missed = _by_label(others_total * scale, chunk, classes)
        if self.on_cpu and not (missed > _MISSED * actual).any():
            hit = actual - missed
        else:
            hit = _by_label(exp_label * scale, chunk, classes)
        return {
            "true_positive": hit,
            "false_positive": chunk.total(exp_others.mul_(scale.unsqueeze(1))),
            "false_negative": missed,
        }

    def write_slope(self, out: Tensor, upstream: Mapping[str, Tensor], chunk: Chunk) -> None:
        """Writes the gradient of a chunk."""
        labels = chunk.target
        exponentials = self._exponentials(chunk)
        extra = self._extra_slopes(upstream, chunk, exponentials)
        exp_others, exp_label, others_total, all_total, _ = exponentials
        scale = all_total.reciprocal_()
        p_others = exp_others.mul_(scale.unsqueeze(1))
        p_label, q_label = exp_label * scale, others_total * scale
        slope = out if out.dtype == self.dtype else self.buffer("slope", chunk.prediction)
        shift, label_slope = self._slopes(upstream, labels, p_others, p_label, q_label, extra)
        by_p_others = extra.by_p_others
        if extra.of_groups is not None:
            of_groups, of_label = extra.of_groups, _of_label(extra.of_groups, labels)
            by_p_others = of_groups if by_p_others is None else by_p_others + of_groups
            shift, label_slope = shift.expand_as(p_label), label_slope + p_label * of_label
        if "true_positive" in upstream:
            f = _of_classes(upstream["false_positive"])
            by_p_others = f if by_p_others is None else by_p_others.add_(f)
        if by_p_others is None:
            torch.mul(p_others, shift.unsqueeze(1), out=slope)
        else:
            torch.add(by_p_others, shift.unsqueeze(1), out=slope).mul_(p_others)
        if "cross_entropy" in upstream and self.batch.options.label_smoothing > 0:
            slope.sub_(self._smoothing_slope(upstream["cross_entropy"]).unsqueeze(-1))
        slope.scatter_(1, labels.unsqueeze(1), label_slope.unsqueeze(1))
        if chunk.weight is not None:
            slope.mul_(chunk.weight)
        if slope is not out:
            out.copy_(slope)

    def _extra_slopes(
        self, upstream: Mapping[str, Tensor], chunk: Chunk, exponentials: _Exponentials
    ) -> _ExtraSlopes:
        """Computes the slopes of the extra and focal sums. Does not change the exponentials."""
        labels = chunk.target
        by_p_others, by_p_label, focal_slope = None, None, None
        if self.extra_sums:
            at_others, at_label = self._pixel_values(chunk, exponentials)
            keys = [key for s in self.extra_sums for key in s.names]
            of_others = {key: _of_classes(upstream[key]) for key in keys}
            of_label = {key: _of_label(upstream[key], labels) for key in keys}
            by_p_others = functools.reduce(
                torch.add, [s.slope(of_others, at_others) for s in self.extra_sums]
            )
            by_p_label = functools.reduce(
                torch.add, [s.slope(of_label, at_label) for s in self.extra_sums]
            )
        for distances in self.distances:
            by_others, by_label = self._distance_slopes(distances, upstream, chunk)
            by_p_others = by_others if by_p_others is None else by_p_others + by_others
            by_p_label = by_label if by_p_label is None else by_p_label + by_label
        for focal in self.plan.focals:
            error = exponentials.others_total / exponentials.all_total
            p_label = exponentials.exp_label / exponentials.all_total
            parameters = focal_of_labels(focal, labels, error)
            slope = parameters.slope(p_label, error, self._nll(chunk, exponentials))
            slope = slope * upstream[focal.name].unsqueeze(1)
            focal_slope = slope if focal_slope is None else focal_slope + slope
        of_groups = None
        if self.class_groups is not None:
            exp_others, exp_label, _, all_total, _ = exponentials
            of_groups = self.class_groups.slopes(upstream, exp_others, exp_label, all_total, labels)
        return _ExtraSlopes(by_p_others, by_p_label, focal_slope, of_groups)

    def _slopes(
        self,
        upstream: Mapping[str, Tensor],
        labels: Tensor,
        p_others: Tensor,
        p_label: Tensor,
        q_label: Tensor,
        extra: _ExtraSlopes,
    ) -> tuple[Tensor, Tensor]:
        """Computes the number to add to f_j, and the label's gradient, (n, l) each.

        The gradient of another class is its f_j plus that number, times p_j.
        """
        shift = label_slope = torch.zeros((), dtype=self.dtype, device=p_others.device)
        if "true_positive" in upstream or extra.by_p_others is not None:
            by_p_label, mean_slope = self._slopes_by_p(upstream, labels, p_others, extra)
            shift = -(mean_slope + by_p_label * p_label)
            label_slope = p_label * (by_p_label * q_label - mean_slope)
        if "cross_entropy" in upstream:
            by_nll, rest = self._entropy_slopes(upstream["cross_entropy"], labels)
            shift = shift + by_nll + rest
            label_slope = label_slope + (rest * p_label - by_nll * q_label)
        if extra.focal is not None:
            shift = shift + torch.where(q_label > 0, extra.focal / q_label, 0)
            label_slope = label_slope - extra.focal
        return shift, label_slope

    def _slopes_by_p(
        self, upstream: Mapping[str, Tensor], labels: Tensor, p_others: Tensor, extra: _ExtraSlopes
    ) -> tuple[Tensor, Tensor]:
        """Computes the slope in p_y, and the mean m of the slopes in the other p_k, (n, l)."""
        by_p_label = mean_slope = torch.zeros((), dtype=self.dtype, device=p_others.device)
        if "true_positive" in upstream:
            hit_slope = upstream["true_positive"] - upstream["false_negative"]
            by_p_label, f = _of_label(hit_slope, labels), upstream["false_positive"]
            if f.ndim == 2:
                mean_slope = torch.matmul(f.unsqueeze(1), p_others).squeeze(1)
            else:
                mean_slope = (f * p_others).sum(1)
        if extra.by_p_others is not None and extra.by_p_label is not None:
            by_p_label = by_p_label + extra.by_p_label
            mean_slope = mean_slope + (extra.by_p_others * p_others).sum(1)
        return by_p_label, mean_slope

    def _entropy_slopes(self, upstream: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Computes a v and a R, (n, l) or (n, 1)."""
        a, e = upstream.unsqueeze(1), self.batch.options.label_smoothing
        by_nll = a if self.class_weights is None else a * self.class_weights[labels]
        if e == 0:
            return by_nll, torch.zeros_like(a)
        smoothing_slope = self._smoothing_slope(upstream)
        of_label = smoothing_slope.gather(1, labels)
        return by_nll * (1 - e) + of_label, smoothing_slope.sum(1, keepdim=True) - of_label

    def _smoothing_slope(self, upstream: Tensor) -> Tensor:
        """Computes what smoothing subtracts from the slope of every class, a e c_j / C, (n, C)."""
        classes = self.batch.prediction.shape[1]
        weights = self._class_weights_or_ones(upstream)
        return (self.batch.options.label_smoothing / classes) * upstream.unsqueeze(1) * weights

    def _class_weights_or_ones(self, like: Tensor) -> Tensor:
        """Returns the class weights, (C,), or 1 for each class."""
        if self.class_weights is not None:
            return self.class_weights
        return like.new_ones(self.batch.prediction.shape[1])


def _of_classes(slopes: Tensor) -> Tensor:
    """Returns slopes (n, C) as (n, C, 1); slopes of each pixel, (n, C, l), unchanged."""
    return slopes.unsqueeze(-1) if slopes.ndim == 2 else slopes


def _of_label(slopes: Tensor, labels: Tensor) -> Tensor:
    """Returns each pixel's slope at its label, (n, l), from slopes (n, C) or (n, C, l)."""
    if slopes.ndim == 2:
        return slopes.gather(1, labels)
    return slopes.gather(1, labels.unsqueeze(1)).squeeze(1)


def _by_label(values: Tensor, chunk: Chunk, classes: int) -> Tensor:
    """Computes the sums of `values` (n, l) over the pixels of each label, (n, C) or (n, K, C)."""
    labels = chunk.target
    if chunk.groups is not None:
        return chunk.groups.total_by_label(values, labels)
    dtype = accumulation_dtype(values.device)
    totals = torch.zeros(len(values), classes, dtype=dtype, device=values.device)
    return totals.scatter_add_(1, labels, values.to(dtype))


def _log1p(z: Tensor) -> Tensor:
    """Computes log(1 + z), and restores the digits of z that the sum rounds off.

    In some builds, PyTorch's log1p is ten times slower until it has seen a negative zero.
    """
    one_plus_z = 1 + z
    correction = (one_plus_z - 1).sub_(z).div_(one_plus_z)
    return one_plus_z.log_().sub_(correction)
