r"""The fused kernel for sigmoid: independent channels with dense targets.

The gradient of a pixel is

    dL/dx = w [ a c (p (1 - h) - pos q h) + p q ((t - n) g + f (1 - g)) ].

Here q = 1 - p, h is the smoothed target, c the class weight and pos the `pos_weight`. The upstream
gradients are t for true positives, f for false positives, n for false negatives and a for the
cross-entropy.

p and q are the sigmoids of x and -x, since a difference would lose the digits of the smaller one.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from segloss.sums.kernels.torch_ops.chunks import LOG2E, Chunk, Chunks, by_class, total
from segloss.sums.kernels.torch_ops.pixel_sums import PixelValues, focal_of_class
from segloss.sums.plan import COUNTS, CROSS_ENTROPY, REGION, FocalSum


class SigmoidChunks(Chunks):
    """Computes the sums and the gradient for independent channels."""

    size = 2**18

    def prepared(self, upstream: dict[str, Tensor]) -> dict[str, Tensor]:
        """Returns the slopes of a pixel's values, each (N, C, 1), or (N, C, K) with groups.

        The slope in w p is `foreground` g + `background` (1 - g), with `foreground` = t - n and
        `background` = f. The slope in w times the pixel's cross-entropy is `entropy_slope` = a c.
        """
        slopes: dict[str, Tensor] = {}
        if "true_positive" in upstream:
            foreground = upstream["true_positive"] - upstream["false_negative"]
            background = upstream["false_positive"]
            slopes = {
                "foreground": by_class(foreground),
                "background": by_class(background),
            }
        if "cross_entropy" in upstream:
            a = upstream["cross_entropy"]
            entropy_slope = a if self.class_weights is None else a * self.class_weights
            slopes["entropy_slope"] = by_class(entropy_slope)
        fixed = (*(row.key for row in REGION.rows), "cross_entropy")
        extra = {key: by_class(slope) for key, slope in upstream.items() if key not in fixed}
        return slopes | extra

    def measure(self, chunk: Chunk) -> dict[str, Tensor]:
        """Computes the sums over a chunk, each (n, C)."""
        sums = self._counts(chunk) | self._extra(chunk)
        if REGION in self.plan.sums:
            sums |= self._region(chunk)
        if CROSS_ENTROPY in self.plan.sums:
            sums |= self._mean_entropy(chunk)
        return sums

    def losses(self, chunk: Chunk, slopes: Mapping[str, Tensor]) -> Tensor:
        """Computes the losses of a chunk's pixels without their weights, (n, C, l)."""
        slopes = {key: slope.unsqueeze(-1) for key, slope in slopes.items()}
        losses = torch.zeros((), dtype=self.dtype, device=chunk.prediction.device)
        if CROSS_ENTROPY in self.plan.sums:
            slope = slopes["cross_entropy"]
            if self.class_weights is not None:
                slope = slope * self.class_weights.unsqueeze(-1)
            losses = self._entropy(chunk) * slope
        if REGION not in self.plan.sums and not self.extra_sums and not self.plan.focals:
            return losses
        p, q = self._probabilities(chunk.prediction)
        for focal in self.plan.focals:
            losses = self._focal(focal, p, q, chunk).mul_(slopes[focal.name]).add_(losses)
        for pixel_sum in self.extra_sums:
            values = pixel_sum.values(PixelValues(p, q, chunk.target, chunk.maps))
            losses = sum((slopes[key] * value for key, value in values.items()), start=losses)
        if REGION in self.plan.sums:
            positive, negative = p * slopes["true_positive"], p * slopes["false_positive"]
            positive.addcmul_(q, slopes["false_negative"])
            losses = torch.lerp(negative, positive, chunk.target).add_(losses)
        return losses

    def write_slope(self, out: Tensor, upstream: Mapping[str, Tensor], chunk: Chunk) -> None:
        """Writes the gradient of a chunk."""
        p, q = self._probabilities(chunk.prediction)
        slope = torch.zeros((), dtype=self.dtype, device=p.device)
        if "foreground" in upstream:
            slope = self._region_by_p(upstream, chunk.target, self.buffer("hit", p))
            slope = slope.mul_(p).mul_(q)
        for pixel_sum in self.extra_sums:
            by_p = pixel_sum.slope(upstream, PixelValues(p, q, chunk.target, chunk.maps))
            slope = (by_p * p).mul_(q).add_(slope)
        for focal in self.plan.focals:
            slope = self._focal_slope(focal, upstream, p, q, chunk).add_(slope)
        if "entropy_slope" in upstream:
            entropy = self._entropy_gradient(upstream["entropy_slope"], p, q, chunk.target)
            slope = entropy.add_(slope)
        if chunk.weight is not None:
            slope.mul_(chunk.weight)
        out.copy_(slope)

    def _region_by_p(self, upstream: Mapping[str, Tensor], target: Tensor, out: Tensor) -> Tensor:
        """Computes the slope of the region's sums by p: (t - n) g + f (1 - g)."""
        background = torch.mul(1 - target, upstream["background"])
        return torch.mul(target, upstream["foreground"], out=out).add_(background)

    def _probabilities(self, x: Tensor) -> tuple[Tensor, Tensor]:
        p = torch.sigmoid(x, out=self.buffer("p", x))
        q = torch.neg(x, out=self.buffer("q", x)).sigmoid_()
        return p, q

    def _region(self, chunk: Chunk) -> dict[str, Tensor]:
        x, w = chunk.prediction, chunk.weight
        p, q = self._probabilities(x)
        positive = chunk.target
        if w is not None:
            positive = torch.mul(positive, w, out=self.buffer("positive", x))
            p.mul_(w)
        hit = torch.mul(p, chunk.target, out=self.buffer("hit", x))
        return {
            "true_positive": chunk.total(hit),
            "false_positive": chunk.total(p.sub_(hit)),
            "false_negative": chunk.total(q.mul_(positive)),
        }

    def _counts(self, chunk: Chunk) -> dict[str, Tensor]:
        if COUNTS not in self.plan.sums:
            return {}
        pixel_weight = self._pixel_weight(chunk)
        if chunk.groups is not None:
            ones = torch.ones((), dtype=self.dtype, device=chunk.prediction.device)
            weight = ones if chunk.weight is None else chunk.weight
            pixel_weight = chunk.total(weight.expand(chunk.prediction.shape))
        actual = chunk.total(chunk.weighted(chunk.target))
        return {"actual": actual, "pixel_weight": pixel_weight}

    def _extra(self, chunk: Chunk) -> dict[str, Tensor]:
        """Computes the sums of other functions of the probability, and of focal losses."""
        if not self.extra_sums and not self.plan.focals:
            return {}
        sums = self.map_totals(chunk)
        p, q = self._probabilities(chunk.prediction)
        for pixel_sum in self.extra_sums:
            values = pixel_sum.values(PixelValues(p, q, chunk.target, chunk.maps))
            sums |= {name: chunk.total(chunk.weighted(value)) for name, value in values.items()}
        for focal in self.plan.focals:
            sums[focal.name] = total(chunk.weighted(self._focal(focal, p, q, chunk)))
        return sums

    def _focal(self, focal: FocalSum, p: Tensor, q: Tensor, chunk: Chunk) -> Tensor:
        """Computes the focal loss of each pixel; soft targets mix the losses of both classes."""
        positive, negative = self._nlls(chunk.prediction)
        foreground = focal_of_class(focal, 1).value(q, positive)
        background = focal_of_class(focal, 0).value(p, negative)
        return _mixed(background, foreground, chunk.target)

    def _focal_slope(
        self, focal: FocalSum, upstream: Mapping[str, Tensor], p: Tensor, q: Tensor, chunk: Chunk
    ) -> Tensor:
        positive, negative = self._nlls(chunk.prediction)
        foreground = focal_of_class(focal, 1).slope(p, q, positive).neg_()
        background = focal_of_class(focal, 0).slope(q, p, negative)
        return _mixed(background, foreground, chunk.target).mul_(upstream[focal.name])

    def _nlls(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Computes -log p and -log q."""
        log = _softplus_of_minus_abs(x, self.buffer("log", x))
        return log - x.clamp(max=0), log + x.clamp(min=0)

    def _mean_entropy(self, chunk: Chunk) -> dict[str, Tensor]:
        entropy = self._entropy(chunk)
        if chunk.weight is not None:
            entropy.mul_(chunk.weight)
        value, weight = total(entropy), self._pixel_weight(chunk)
        if self.class_weights is not None:
            value, weight = value * self.class_weights, weight * self.class_weights
        return {"cross_entropy": value, "weight": weight}

    def _pixel_weight(self, chunk: Chunk) -> Tensor:
        """Computes the sum of the pixels' weights, (n, C)."""
        samples, classes, pixels = chunk.prediction.shape
        if chunk.weight is None:
            return self.count(pixels).expand(samples, classes)
        return total(chunk.weight).expand(samples, classes)

    def _entropy(self, chunk: Chunk) -> Tensor:
        """Computes binary cross-entropy, a softplus(-x) + b softplus(x), in scratch memory.

        Here a = pos h and b = 1 - h. It is (a + b) log(1 + exp(-|x|)) + |x| (b if x > 0, else a),
        so nothing cancels. The second addend is 0 where its factor is, even if x is infinite.
        """
        x, h = chunk.prediction, self.smoothed(chunk.target)
        positive = h if self.pos_weight is None else h * self.pos_weight.unsqueeze(-1)
        negative = torch.sub(1, h, out=self.buffer("q", x))
        log = _softplus_of_minus_abs(x, self.buffer("p", x))
        if self.pos_weight is not None:
            log.mul_(positive + negative)
        wrong = torch.where(x > 0, negative, positive)
        size = torch.abs(x, out=self.buffer("hit", x)).masked_fill_(wrong == 0, 0)
        return log.add_(size.mul_(wrong))

    def _entropy_gradient(self, slope: Tensor, p: Tensor, q: Tensor, target: Tensor) -> Tensor:
        """Computes the cross-entropy's gradient in the memory of p, and overwrites q."""
        h = self.smoothed(target)
        p.sub_(torch.mul(p, h, out=self.buffer("positive", p)))
        q.mul_(h)
        if self.pos_weight is not None:
            q.mul_(self.pos_weight.unsqueeze(-1))
        return p.sub_(q).mul_(slope)


def _mixed(background: Tensor, foreground: Tensor, target: Tensor) -> Tensor:
    """Computes g foreground + (1 - g) background; a value of factor 0 may be infinite."""
    foreground = foreground.masked_fill_(target == 0, 0).mul_(target)
    return background.masked_fill_(target == 1, 0).mul_(1 - target).add_(foreground)


def _softplus_of_minus_abs(x: Tensor, out: Tensor) -> Tensor:
    """Computes log(1 + exp(-|x|)), the difference of softplus(x) and max(x, 0)."""
    return torch.abs(x, out=out).mul_(-LOG2E).exp2_().log1p_()
