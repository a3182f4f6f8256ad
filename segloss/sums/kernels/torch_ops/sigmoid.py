r"""The fused kernel for sigmoid: independent channels, dense targets.

With q = 1 - p, the smoothed target h, class weight c and `pos_weight`, and with the upstream
gradients t, f, n of true positives, false positives and false negatives and a of the
cross-entropy,

    dL/dx = w [ a c (p (1 - h) - pos q h) + p q (f (1 - g) + (t - n) g) ].

p and q are the sigmoids of x and -x: a difference would lose the digits of the smaller one.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from segloss.sums.kernels.torch_ops.chunks import LOG2E, Chunk, Chunks, total
from segloss.sums.kernels.torch_ops.pixel_sums import PixelValues, focal_of_class
from segloss.sums.plan import COUNTS, CROSS_ENTROPY, REGION, FocalSum


class SigmoidChunks(Chunks):
    """Sums and gradient for independent channels."""

    size = 2**18

    def prepared(self, upstream: dict[str, Tensor]) -> dict[str, Tensor]:
        """Returns the gradients of a pixel, each (N, C, 1).

        The gradient with respect to w p is f (1 - g) + (t - n) g = f + g `by_target`, and with
        respect to w times its cross-entropy it is `rate`, a c.
        """
        slopes: dict[str, Tensor] = {}
        if "true_positive" in upstream:
            f = upstream["false_positive"]
            by_target = upstream["true_positive"] - upstream["false_negative"] - f
            slopes = {"f": f.unsqueeze(-1), "by_target": by_target.unsqueeze(-1)}
        if "cross_entropy" in upstream:
            rate = upstream["cross_entropy"]
            rate = rate if self.class_weights is None else rate * self.class_weights
            slopes["rate"] = rate.unsqueeze(-1)
        taken = (*(row.key for row in REGION.rows), "cross_entropy")
        extra = {name: g.unsqueeze(-1) for name, g in upstream.items() if name not in taken}
        return slopes | extra

    def measure(self, chunk: Chunk) -> dict[str, Tensor]:
        """Returns the sums over a chunk, each (n, C)."""
        sums = self._counts(chunk) | self._extra(chunk)
        if REGION in self.plan.sums:
            sums |= self._region(chunk)
        if CROSS_ENTROPY in self.plan.sums:
            sums |= self._mean_entropy(chunk)
        return sums

    def write_slope(self, out: Tensor, upstream: Mapping[str, Tensor], chunk: Chunk) -> None:
        """Writes the gradient of a chunk."""
        p, q = self._probabilities(chunk.prediction)
        slope = torch.zeros((), dtype=self.dtype, device=p.device)
        if "by_target" in upstream:
            slope = self._mixed(upstream, chunk.target, self.buffer("hit", p)).mul_(p).mul_(q)
        for pixel_sum in self.extra_sums:
            by_p = pixel_sum.slope(upstream, PixelValues(p, q, chunk.target, chunk.maps))
            slope = by_p.mul_(p).mul_(q).add_(slope)
        for focal in self.plan.focals:
            slope = self._focal_slope(focal, upstream, p, q, chunk).add_(slope)
        if "rate" in upstream:
            slope = self._entropy_slope(upstream["rate"], p, q, chunk.target).add_(slope)
        if chunk.weight is not None:
            slope.mul_(chunk.weight)
        out.copy_(slope)

    def _mixed(self, upstream: Mapping[str, Tensor], target: Tensor, out: Tensor) -> Tensor:
        """Returns the gradient with respect to p: f (1 - g) + (t - n) g."""
        return torch.mul(target, upstream["by_target"], out=out).add_(upstream["f"])

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
            "true_positive": total(hit),
            "false_positive": total(p.sub_(hit)),
            "false_negative": total(q.mul_(positive)),
        }

    def _counts(self, chunk: Chunk) -> dict[str, Tensor]:
        if COUNTS not in self.plan.sums:
            return {}
        actual = total(chunk.weighted(chunk.target))
        return {"actual": actual, "pixel_weight": self._pixel_weight(chunk)}

    def _extra(self, chunk: Chunk) -> dict[str, Tensor]:
        """Returns the sums of other functions of the probability, and of focal losses."""
        if not self.extra_sums and not self.plan.focals:
            return {}
        sums = self.map_totals(chunk)
        p, q = self._probabilities(chunk.prediction)
        for pixel_sum in self.extra_sums:
            values = pixel_sum.values(PixelValues(p, q, chunk.target, chunk.maps))
            sums |= {name: total(chunk.weighted(value)) for name, value in values.items()}
        for focal in self.plan.focals:
            sums[focal.name] = total(chunk.weighted(self._focal(focal, p, q, chunk)))
        return sums

    def _focal(self, focal: FocalSum, p: Tensor, q: Tensor, chunk: Chunk) -> Tensor:
        """Returns the focal loss of each pixel, of both classes if targets are soft."""
        positive, negative = self._nlls(chunk.prediction)
        foreground = focal_of_class(focal, 1).value(q, positive)
        background = focal_of_class(focal, 0).value(p, negative)
        return torch.lerp(background, foreground, chunk.target)

    def _focal_slope(
        self, focal: FocalSum, upstream: Mapping[str, Tensor], p: Tensor, q: Tensor, chunk: Chunk
    ) -> Tensor:
        positive, negative = self._nlls(chunk.prediction)
        foreground = focal_of_class(focal, 1).slope(p, q, positive).neg_()
        background = focal_of_class(focal, 0).slope(q, p, negative)
        return torch.lerp(background, foreground, chunk.target).mul_(upstream[focal.name])

    def _nlls(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Returns -log p and -log q."""
        log = _log_part(x, self.buffer("log", x))
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
        """Returns the sum of the pixels' weights, (n, C)."""
        samples, classes, pixels = chunk.prediction.shape
        if chunk.weight is None:
            return self.count(pixels).expand(samples, classes)
        return total(chunk.weight).expand(samples, classes)

    def _entropy(self, chunk: Chunk) -> Tensor:
        """Returns binary cross-entropy, pos h softplus(-x) + (1 - h) softplus(x), in scratch.

        Large parts cancel first, as x - x h does where h = 1: the logarithm may be tiny.
        """
        x, h = chunk.prediction, self.smoothed(chunk.target)
        log = _log_part(x, self.buffer("p", x))
        above, spare = torch.clamp(x, min=0, out=self.buffer("q", x)), self.buffer("hit", x)
        if self.pos_weight is None:
            return log.add_(above.sub_(torch.mul(x, h, out=spare)))
        negative = above.add_(log)
        positive = log.sub_(torch.clamp(x, max=0, out=spare))
        negative.sub_(torch.mul(negative, h, out=spare))
        return positive.mul_(self.pos_weight.unsqueeze(-1)).mul_(h).add_(negative)

    def _entropy_slope(self, rate: Tensor, p: Tensor, q: Tensor, target: Tensor) -> Tensor:
        """Writes into the memory of p; overwrites q too."""
        h = self.smoothed(target)
        p.sub_(torch.mul(p, h, out=self.buffer("positive", p)))
        q.mul_(h)
        if self.pos_weight is not None:
            q.mul_(self.pos_weight.unsqueeze(-1))
        return p.sub_(q).mul_(rate)


def _log_part(x: Tensor, out: Tensor) -> Tensor:
    """Returns log(1 + exp(-|x|)), the part of softplus(x) that is not linear."""
    return torch.abs(x, out=out).mul_(-LOG2E).exp2_().log1p_()
