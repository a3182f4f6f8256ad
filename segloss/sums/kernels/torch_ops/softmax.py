r"""The fused kernel for softmax and label maps: no one-hot target is ever made.

A pixel of label y has the probabilities p, of which the label's own is p_y and the others' sum is
q = 1 - p_y. With v = c_y (1 - e) + e mean(c) for class weights c and smoothing e, and with the
upstream gradients t, f, n of true positives, false positives and false negatives and a of the
cross-entropy,

    m         = sum of f_k p_k over k other than y
    dL/dx_j   = w [ p_j (f_j - m - (t_y - n_y) p_y + a v) - a e c_j / C ]     for j other than y
    dL/dx_y   = w [ p_y ((t_y - n_y) q - m) - a v q + a e (mean(c) - c_y / C) ].

q comes from the sum of the other classes' exponentials, never from 1 - p_y.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from segloss.foundation.precision import accumulation_dtype
from segloss.sums.kernels.torch_ops.chunks import LOG2E, Chunk, Chunks, total
from segloss.sums.kernels.torch_ops.pixel_sums import PixelValues, focal_of_labels
from segloss.sums.plan import COUNTS, CROSS_ENTROPY, REGION, FocalSum

_LEAST, _GREATEST = 1e-19, 1e18
"""The range in which exponentials need no maximum subtracted and their ratios fit float32."""

_MISSED = 0.99
"""The missed share of a class above which hits, as a difference, have too few digits."""


class _Exponentials(NamedTuple):
    """The softmax of a chunk, before the division.

    Attributes:
        others: exp(x - shift), and 0 at the label, (n, C, l).
        label: exp(x - shift) of the label, (n, l).
        others_total: The sum of `others` over classes, (n, l).
        all_total: The sum over all classes, (n, l).
        shift: The number that was subtracted from x, (n, 1, l), or None.
    """

    others: Tensor
    label: Tensor
    others_total: Tensor
    all_total: Tensor
    shift: Tensor | None


class _ExtraSlopes(NamedTuple):
    """Gradients of sums beside counts and cross-entropy.

    Attributes:
        others: With respect to the probabilities of other classes, (n, C, l), or None.
        label: With respect to the label's probability, (n, l), or None.
        nll: Of focal losses with respect to the logit of 1 - p_y, (n, l), or None.
    """

    others: Tensor | None
    label: Tensor | None
    nll: Tensor | None


class SoftmaxChunks(Chunks):
    """Sums and gradient for classes that exclude each other."""

    size = 2**20

    def measure(self, chunk: Chunk) -> dict[str, Tensor]:
        """Returns the sums over a chunk: (n, C), and (n,) for cross-entropy and focal sums."""
        exponentials = self._exponentials(chunk)
        sums = self._counts(chunk) | self.map_totals(chunk)
        if CROSS_ENTROPY in self.plan.sums or self.plan.focals:
            nll = self._nll(chunk, exponentials)
            for focal in self.plan.focals:
                sums[focal.name] = self._focal(focal, nll, chunk, exponentials)
            if CROSS_ENTROPY in self.plan.sums:
                sums |= self._mean_entropy(chunk, nll, exponentials)
        sums |= self._extra(chunk, exponentials)
        if REGION in self.plan.sums:
            sums |= self._region(chunk, exponentials, sums["actual"])
        return sums

    def _counts(self, chunk: Chunk) -> dict[str, Tensor]:
        """Returns the weight of each class's pixels, and of all, (n, C), if they are wanted."""
        if COUNTS not in self.plan.sums:
            return {}
        samples, pixels = chunk.target.shape
        classes = chunk.prediction.shape[1]
        weight = chunk.prediction.new_ones(()) if chunk.weight is None else chunk.weight.squeeze(1)
        actual = _by_label(weight.expand(samples, pixels), chunk.target, classes)
        return {
            "actual": actual,
            "pixel_weight": actual.sum(1, keepdim=True).expand(-1, classes),
        }

    def _focal(
        self, focal: FocalSum, nll: Tensor, chunk: Chunk, exponentials: _Exponentials
    ) -> Tensor:
        error = exponentials.others_total / exponentials.all_total
        losses = focal_of_labels(focal, chunk.target, error).value(error, nll)
        return total(losses if chunk.weight is None else losses * chunk.weight.squeeze(1))

    def _extra(self, chunk: Chunk, exponentials: _Exponentials) -> dict[str, Tensor]:
        """Returns the sums of other functions of the probability."""
        sums: dict[str, Tensor] = {}
        if not self.extra_sums:
            return sums
        others, label = self._pixel_values(chunk, exponentials)
        labels, classes = chunk.target, others.p.shape[1]
        for pixel_sum in self.extra_sums:
            of_label = pixel_sum.values(label)
            for name, values in pixel_sum.values(others).items():
                of_labels = of_label[name]
                if chunk.weight is not None:
                    of_labels = of_labels * chunk.weight.squeeze(1)
                sums[name] = total(chunk.weighted(values)) + _by_label(of_labels, labels, classes)
        return sums

    def _pixel_values(
        self, chunk: Chunk, exponentials: _Exponentials
    ) -> tuple[PixelValues, PixelValues]:
        """Returns the pixel values of all other classes, (n, C, l), and of the label, (n, l).

        In the former, p and q are 0 at the label.
        """
        others, label, others_total, all_total, _ = exponentials
        index = chunk.target.unsqueeze(1)
        p = torch.div(others, all_total.unsqueeze(1), out=self.buffer("rest", others))
        q = p
        if self.plan.maps:
            q = torch.sub(1, p, out=self.buffer("rest q", p)).scatter_(1, index, 0)
        label_maps = {key: m.gather(1, index).squeeze(1) for key, m in chunk.maps.items()}
        return (
            PixelValues(p, q, 0.0, chunk.maps),
            PixelValues(label / all_total, others_total / all_total, 1.0, label_maps),
        )

    def _exponentials(self, chunk: Chunk) -> _Exponentials:
        """Returns the exponentials; on CPUs without subtracting the maximum if that is safe."""
        x = chunk.prediction
        if self.on_cpu:  # elsewhere, the check would drain a queue
            scaled = torch.mul(x, LOG2E, out=self.buffer("p", x))
            result = self._split(scaled, chunk.target, None)
            if result.label.min() > _LEAST and result.all_total.max() < _GREATEST:
                return result
        shift = x.amax(1, keepdim=True)
        scaled = torch.sub(x, shift, out=self.buffer("p", x)).mul_(LOG2E)
        return self._split(scaled, chunk.target, shift)

    def _split(self, scaled: Tensor, labels: Tensor, shift: Tensor | None) -> _Exponentials:
        exponentials, index = scaled.exp2_(), labels.unsqueeze(1)
        label = exponentials.gather(1, index).squeeze(1)
        others = exponentials.scatter_(1, index, 0)
        others_total = others.sum(1)
        return _Exponentials(others, label, others_total, label + others_total, shift)

    def _mean_entropy(
        self, chunk: Chunk, entropy: Tensor, exponentials: _Exponentials
    ) -> dict[str, Tensor]:
        weight = chunk.weight
        if self.class_weights is not None:
            of_labels = self.class_weights[chunk.target]
            entropy = entropy * of_labels
            weight = of_labels if weight is None else of_labels * weight.squeeze(1)
        if self.source.options.label_smoothing > 0:
            mean = self._mean_nll(chunk.prediction, exponentials)
            entropy = torch.lerp(entropy, mean, self.source.options.label_smoothing)
        if chunk.weight is not None:
            entropy = entropy * chunk.weight.squeeze(1)
        samples, pixels = chunk.target.shape
        summed = self.count(pixels) if weight is None else total(weight.reshape(samples, pixels))
        return {"cross_entropy": total(entropy), "weight": summed.expand(samples)}

    def _nll(self, chunk: Chunk, exponentials: _Exponentials) -> Tensor:
        """Returns -log p of labels, (n, l): log(1 + odds) unless that over- or underflows."""
        odds = exponentials.others_total / exponentials.label
        if exponentials.shift is None:
            return _log1p(odds)
        log_total = exponentials.all_total.log()
        label = chunk.prediction.gather(1, chunk.target.unsqueeze(1)) - exponentials.shift
        return torch.where(odds < 1, _log1p(odds), log_total - label.squeeze(1))

    def _mean_nll(self, x: Tensor, exponentials: _Exponentials) -> Tensor:
        """Returns the mean over classes of -log p times their weights, (n, l)."""
        shares = self._classes(x) / x.shape[1]
        log_total = exponentials.all_total.log()
        if exponentials.shift is not None:
            log_total = log_total + exponentials.shift.squeeze(1)
        return shares.sum() * log_total - torch.matmul(shares, x)

    def _region(
        self, chunk: Chunk, exponentials: _Exponentials, actual: Tensor
    ) -> dict[str, Tensor]:
        """Uses up the exponentials."""
        others, label, others_total, all_total, _ = exponentials
        weight = torch.ones_like(label) if chunk.weight is None else chunk.weight.squeeze(1)
        scale = weight / all_total
        labels, classes = chunk.target, others.shape[1]
        missed = _by_label(others_total * scale, labels, classes)
        if self.on_cpu and not (missed > _MISSED * actual).any():
            hit = actual - missed
        else:
            hit = _by_label(label * scale, labels, classes)
        return {
            "true_positive": hit,
            "false_positive": total(others.mul_(scale.unsqueeze(1))),
            "false_negative": missed,
        }

    def write_slope(self, out: Tensor, upstream: Mapping[str, Tensor], chunk: Chunk) -> None:
        """Writes the gradient of a chunk."""
        labels = chunk.target
        exponentials = self._exponentials(chunk)
        extra = self._extra_slopes(upstream, chunk, exponentials)
        others, label, others_total, all_total, _ = exponentials
        scale = all_total.reciprocal_()
        p, p_label, q_label = others.mul_(scale.unsqueeze(1)), label * scale, others_total * scale
        slope = out if out.dtype == self.dtype else self.buffer("slope", chunk.prediction)
        shift, label_slope = self._slopes(upstream, labels, p, p_label, q_label, extra)
        slopes = extra.others
        if "true_positive" in upstream:
            f = upstream["false_positive"].unsqueeze(-1)
            slopes = f if slopes is None else slopes.add_(f)
        if slopes is None:
            torch.mul(p, shift.unsqueeze(1), out=slope)
        else:
            torch.add(slopes, shift.unsqueeze(1), out=slope).mul_(p)
        if "cross_entropy" in upstream and self.source.options.label_smoothing > 0:
            slope.sub_(self._smoothing_rate(upstream["cross_entropy"]).unsqueeze(-1))
        slope.scatter_(1, labels.unsqueeze(1), label_slope.unsqueeze(1))
        if chunk.weight is not None:
            slope.mul_(chunk.weight)
        if slope is not out:
            out.copy_(slope)

    def _extra_slopes(
        self, upstream: Mapping[str, Tensor], chunk: Chunk, exponentials: _Exponentials
    ) -> _ExtraSlopes:
        """Returns the slopes of sums beside counts and cross-entropy; keeps the exponentials."""
        labels = chunk.target
        others, label, nll = None, None, None
        if self.extra_sums:
            values_of_others, label_values = self._pixel_values(chunk, exponentials)
            names = [name for s in self.extra_sums for name in s.names]
            of_others = {name: upstream[name].unsqueeze(-1) for name in names}
            of_label = {name: upstream[name].gather(1, labels) for name in names}
            others = functools.reduce(
                torch.add, [s.slope(of_others, values_of_others) for s in self.extra_sums]
            )
            label = functools.reduce(
                torch.add, [s.slope(of_label, label_values) for s in self.extra_sums]
            )
        for focal in self.plan.focals:
            error = exponentials.others_total / exponentials.all_total
            p = exponentials.label / exponentials.all_total
            focal_of_label = focal_of_labels(focal, labels, error)
            slope = focal_of_label.slope(p, error, self._nll(chunk, exponentials))
            slope = slope * upstream[focal.name].unsqueeze(1)
            nll = slope if nll is None else nll + slope
        return _ExtraSlopes(others, label, nll)

    def _slopes(
        self,
        upstream: Mapping[str, Tensor],
        labels: Tensor,
        p: Tensor,
        p_label: Tensor,
        q_label: Tensor,
        extra: _ExtraSlopes,
    ) -> tuple[Tensor, Tensor]:
        """Returns the addend of f_j before the product with p_j, and the label's slope."""
        shift = label_slope = torch.zeros((), dtype=self.dtype, device=p.device)
        if "true_positive" in upstream or extra.others is not None:
            change, mean_slope = self._changes(upstream, labels, p, extra)
            shift, label_slope = (
                -(mean_slope + change * p_label),
                p_label * (change * q_label - mean_slope),
            )
        if "cross_entropy" in upstream:
            v, smoothed_label = self._entropy_slopes(upstream["cross_entropy"], labels)
            shift, label_slope = shift + v, label_slope + (smoothed_label - v * q_label)
        if extra.nll is not None:
            v = torch.where(q_label > 0, extra.nll / q_label, 0)
            shift, label_slope = shift + v, label_slope - extra.nll
        return shift, label_slope

    def _changes(
        self, upstream: Mapping[str, Tensor], labels: Tensor, p: Tensor, extra: _ExtraSlopes
    ) -> tuple[Tensor, Tensor]:
        """Returns the gradient by the label's p, and the mean of those by the others', (n, l)."""
        change = mean_slope = torch.zeros((), dtype=self.dtype, device=p.device)
        if "true_positive" in upstream:
            change = (upstream["true_positive"] - upstream["false_negative"]).gather(1, labels)
            mean_slope = torch.matmul(upstream["false_positive"].unsqueeze(1), p).squeeze(1)
        if extra.others is not None and extra.label is not None:
            change = change + extra.label
            mean_slope = mean_slope + (extra.others * p).sum(1)
        return change, mean_slope

    def _entropy_slopes(self, upstream: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Returns a v, and the smoothing's part of the label's slope, (n, l) or (n, 1)."""
        a, e = upstream.unsqueeze(1), self.source.options.label_smoothing
        v = a if self.class_weights is None else a * self.class_weights[labels]
        if e == 0:
            return v, torch.zeros_like(a)
        rate = self._smoothing_rate(upstream)
        mean = rate.sum(1, keepdim=True)
        return v * (1 - e) + mean, mean - rate.gather(1, labels)

    def _smoothing_rate(self, upstream: Tensor) -> Tensor:
        """Returns the amount that smoothing subtracts from every class, a e c_j / C, (n, C)."""
        classes = self.source.prediction.shape[1]
        weights = upstream.new_ones(classes) if self.class_weights is None else self.class_weights
        return (self.source.options.label_smoothing / classes) * upstream.unsqueeze(1) * weights

    def _classes(self, like: Tensor) -> Tensor:
        """Returns the classes' weights, (C,)."""
        return like.new_ones(like.shape[1]) if self.class_weights is None else self.class_weights


def _by_label(values: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Returns the sums of `values` (n, l) over the pixels of each label, (n, C)."""
    dtype = accumulation_dtype(values.device)
    totals = torch.zeros(len(values), classes, dtype=dtype, device=values.device)
    return totals.scatter_add_(1, labels, values.to(dtype))


def _log1p(z: Tensor) -> Tensor:
    """Computes log(1 + z), restoring the digits of z that the sum rounds off.

    PyTorch's own log1p is ten times slower in some builds, until it has seen a negative zero.
    """
    one_more = 1 + z
    lost = (one_more - 1).sub_(z).div_(one_more)
    return one_more.log_().sub_(lost)
