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
"""Share of a class above which what is found, as a difference, has too few digits."""


class _Exponentials(NamedTuple):
    """The softmax of a chunk, before the division.

    Attributes:
        rest: exp(x - shift), and 0 at the label's class, (n, C, l).
        own: That of the label's class, (n, l).
        rest_total: The sum of `rest` over classes, (n, l).
        whole: The sum over all classes, (n, l).
        shift: What was subtracted from x, (n, 1, l), or None.
    """

    rest: Tensor
    own: Tensor
    rest_total: Tensor
    whole: Tensor
    shift: Tensor | None


class _Further(NamedTuple):
    """Gradients of sums beside counts and cross-entropy.

    Attributes:
        rest: By the probabilities of classes that a pixel has not, (n, C, l), or None.
        own: By that of its own, (n, l), or None.
        surprise: That of focal losses by the logit of 1 - p of its own class, (n, l), or None.
    """

    rest: Tensor | None
    own: Tensor | None
    surprise: Tensor | None


class SoftmaxChunks(Chunks):
    """Sums and gradient for classes that exclude each other."""

    size = 2**20

    def measure(self, chunk: Chunk) -> dict[str, Tensor]:
        """Returns the sums over a chunk: (n, C), and (n,) for cross-entropy and focal sums."""
        exponentials = self._exponentials(chunk)
        sums = self._counts(chunk) | self.map_totals(chunk)
        if CROSS_ENTROPY in self.plan.sums or self.plan.focals:
            surprise = self._surprise(chunk, exponentials)
            for focal in self.plan.focals:
                sums[focal.name] = self._focal(focal, surprise, chunk, exponentials)
            if CROSS_ENTROPY in self.plan.sums:
                sums |= self._mean_entropy(chunk, surprise, exponentials)
        sums |= self._further(chunk, exponentials)
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
        self, focal: FocalSum, surprise: Tensor, chunk: Chunk, exponentials: _Exponentials
    ) -> Tensor:
        error = exponentials.rest_total / exponentials.whole
        losses = focal_of_labels(focal, chunk.target, error).value(error, surprise)
        return total(losses if chunk.weight is None else losses * chunk.weight.squeeze(1))

    def _further(self, chunk: Chunk, exponentials: _Exponentials) -> dict[str, Tensor]:
        """Returns the sums of other functions of the probability."""
        sums: dict[str, Tensor] = {}
        if not self.others:
            return sums
        rest, own = self._parts(chunk, exponentials)
        labels, classes = chunk.target, rest.p.shape[1]
        for pixel_sum in self.others:
            of_own = pixel_sum.values(own)
            for name, values in pixel_sum.values(rest).items():
                of_labels = of_own[name]
                if chunk.weight is not None:
                    of_labels = of_labels * chunk.weight.squeeze(1)
                sums[name] = total(chunk.weighted(values)) + _by_label(of_labels, labels, classes)
        return sums

    def _parts(self, chunk: Chunk, exponentials: _Exponentials) -> tuple[PixelValues, PixelValues]:
        """Returns the pixel values of all other classes, (n, C, l), and of the label, (n, l).

        In the former, p and q are 0 at the label.
        """
        rest, own, rest_total, whole, _ = exponentials
        index = chunk.target.unsqueeze(1)
        p = torch.div(rest, whole.unsqueeze(1), out=self.buffer("rest", rest))
        q = p
        if self.plan.maps:
            q = torch.sub(1, p, out=self.buffer("rest q", p)).scatter_(1, index, 0)
        own_maps = {key: m.gather(1, index).squeeze(1) for key, m in chunk.maps.items()}
        return (
            PixelValues(p, q, 0.0, chunk.maps),
            PixelValues(own / whole, rest_total / whole, 1.0, own_maps),
        )

    def _exponentials(self, chunk: Chunk) -> _Exponentials:
        """Returns the exponentials; on CPUs without subtracting the maximum if that is safe."""
        x = chunk.prediction
        if self.on_cpu:  # elsewhere, the check would drain a queue
            scaled = torch.mul(x, LOG2E, out=self.buffer("p", x))
            result = self._split(scaled, chunk.target, None)
            if result.own.min() > _LEAST and result.whole.max() < _GREATEST:
                return result
        shift = x.amax(1, keepdim=True)
        scaled = torch.sub(x, shift, out=self.buffer("p", x)).mul_(LOG2E)
        return self._split(scaled, chunk.target, shift)

    def _split(self, scaled: Tensor, labels: Tensor, shift: Tensor | None) -> _Exponentials:
        exponentials, index = scaled.exp2_(), labels.unsqueeze(1)
        own = exponentials.gather(1, index).squeeze(1)
        rest = exponentials.scatter_(1, index, 0)
        rest_total = rest.sum(1)
        return _Exponentials(rest, own, rest_total, own + rest_total, shift)

    def _mean_entropy(
        self, chunk: Chunk, entropy: Tensor, exponentials: _Exponentials
    ) -> dict[str, Tensor]:
        weight = chunk.weight
        if self.class_weights is not None:
            of_labels = self.class_weights[chunk.target]
            entropy = entropy * of_labels
            weight = of_labels if weight is None else of_labels * weight.squeeze(1)
        if self.source.options.label_smoothing > 0:
            mean = self._mean_surprise(chunk.prediction, exponentials)
            entropy = torch.lerp(entropy, mean, self.source.options.label_smoothing)
        if chunk.weight is not None:
            entropy = entropy * chunk.weight.squeeze(1)
        samples, pixels = chunk.target.shape
        summed = self.count(pixels) if weight is None else total(weight.reshape(samples, pixels))
        return {"cross_entropy": total(entropy), "weight": summed.expand(samples)}

    def _surprise(self, chunk: Chunk, exponentials: _Exponentials) -> Tensor:
        """-log p of the labels, (n, l): log(1 + odds) where that neither over- nor underflows."""
        odds = exponentials.rest_total / exponentials.own
        if exponentials.shift is None:
            return _log1p(odds)
        log_total = exponentials.whole.log()
        own = chunk.prediction.gather(1, chunk.target.unsqueeze(1)) - exponentials.shift
        return torch.where(odds < 1, _log1p(odds), log_total - own.squeeze(1))

    def _mean_surprise(self, x: Tensor, exponentials: _Exponentials) -> Tensor:
        """Returns the mean over classes of -log p times their weights, (n, l)."""
        shares = self._classes(x) / x.shape[1]
        log_total = exponentials.whole.log()
        if exponentials.shift is not None:
            log_total = log_total + exponentials.shift.squeeze(1)
        return shares.sum() * log_total - torch.matmul(shares, x)

    def _region(
        self, chunk: Chunk, exponentials: _Exponentials, actual: Tensor
    ) -> dict[str, Tensor]:
        """Uses up the exponentials."""
        rest, own, rest_total, whole, _ = exponentials
        weight = torch.ones_like(own) if chunk.weight is None else chunk.weight.squeeze(1)
        scale = weight / whole
        labels, classes = chunk.target, rest.shape[1]
        missed = _by_label(rest_total * scale, labels, classes)
        if self.on_cpu and not (missed > _MISSED * actual).any():
            hit = actual - missed
        else:
            hit = _by_label(own * scale, labels, classes)
        return {
            "true_positive": hit,
            "false_positive": total(rest.mul_(scale.unsqueeze(1))),
            "false_negative": missed,
        }

    def write_slope(self, out: Tensor, upstream: Mapping[str, Tensor], chunk: Chunk) -> None:
        """Writes the gradient of a chunk."""
        labels = chunk.target
        exponentials = self._exponentials(chunk)
        further = self._further_slopes(upstream, chunk, exponentials)
        rest, own, rest_total, whole, _ = exponentials
        scale = whole.reciprocal_()
        p, p_own, q_own = rest.mul_(scale.unsqueeze(1)), own * scale, rest_total * scale
        slope = out if out.dtype == self.dtype else self.buffer("slope", chunk.prediction)
        shift, own_slope = self._slopes(upstream, labels, p, p_own, q_own, further)
        rises = further.rest
        if "true_positive" in upstream:
            f = upstream["false_positive"].unsqueeze(-1)
            rises = f if rises is None else rises.add_(f)
        if rises is None:
            torch.mul(p, shift.unsqueeze(1), out=slope)
        else:
            torch.add(rises, shift.unsqueeze(1), out=slope).mul_(p)
        if "cross_entropy" in upstream and self.source.options.label_smoothing > 0:
            slope.sub_(self._smoothing_rate(upstream["cross_entropy"]).unsqueeze(-1))
        slope.scatter_(1, labels.unsqueeze(1), own_slope.unsqueeze(1))
        if chunk.weight is not None:
            slope.mul_(chunk.weight)
        if slope is not out:
            out.copy_(slope)

    def _further_slopes(
        self, upstream: Mapping[str, Tensor], chunk: Chunk, exponentials: _Exponentials
    ) -> _Further:
        """Returns the slopes of sums beside counts and cross-entropy; keeps the exponentials."""
        labels = chunk.target
        rest, own, surprise = None, None, None
        if self.others:
            parts, own_parts = self._parts(chunk, exponentials)
            names = [name for s in self.others for name in s.names]
            of_rest = {name: upstream[name].unsqueeze(-1) for name in names}
            of_own = {name: upstream[name].gather(1, labels) for name in names}
            rest = functools.reduce(torch.add, [s.slope(of_rest, parts) for s in self.others])
            own = functools.reduce(torch.add, [s.slope(of_own, own_parts) for s in self.others])
        for focal in self.plan.focals:
            error = exponentials.rest_total / exponentials.whole
            p = exponentials.own / exponentials.whole
            side = focal_of_labels(focal, labels, error)
            slope = side.slope(p, error, self._surprise(chunk, exponentials))
            slope = slope * upstream[focal.name].unsqueeze(1)
            surprise = slope if surprise is None else surprise + slope
        return _Further(rest, own, surprise)

    def _slopes(
        self,
        upstream: Mapping[str, Tensor],
        labels: Tensor,
        p: Tensor,
        p_own: Tensor,
        q_own: Tensor,
        further: _Further,
    ) -> tuple[Tensor, Tensor]:
        """Returns the addend of f_j before the product with p_j, and the label's slope."""
        shift = own_slope = torch.zeros((), dtype=self.dtype, device=p.device)
        if "true_positive" in upstream or further.rest is not None:
            change, spread = self._changes(upstream, labels, p, further)
            shift, own_slope = -(spread + change * p_own), p_own * (change * q_own - spread)
        if "cross_entropy" in upstream:
            v, smooth_own = self._entropy_slopes(upstream["cross_entropy"], labels)
            shift, own_slope = shift + v, own_slope + (smooth_own - v * q_own)
        if further.surprise is not None:
            v = torch.where(q_own > 0, further.surprise / q_own, 0)
            shift, own_slope = shift + v, own_slope - further.surprise
        return shift, own_slope

    def _changes(
        self, upstream: Mapping[str, Tensor], labels: Tensor, p: Tensor, further: _Further
    ) -> tuple[Tensor, Tensor]:
        """Returns the gradient by the label's p, and the mean of those by the others', (n, l)."""
        change = spread = torch.zeros((), dtype=self.dtype, device=p.device)
        if "true_positive" in upstream:
            change = (upstream["true_positive"] - upstream["false_negative"]).gather(1, labels)
            spread = torch.matmul(upstream["false_positive"].unsqueeze(1), p).squeeze(1)
        if further.rest is not None and further.own is not None:
            change = change + further.own
            spread = spread + (further.rest * p).sum(1)
        return change, spread

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
    """Log(1 + z), with the digits of z put back that the sum has rounded off.

    PyTorch's own log1p is ten times slower in some builds, until it has seen a negative zero.
    """
    one_more = 1 + z
    lost = (one_more - 1).sub_(z).div_(one_more)
    return one_more.log_().sub_(lost)
