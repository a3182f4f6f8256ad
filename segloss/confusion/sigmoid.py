r"""The fused kernel for sigmoid: independent channels, dense targets.

With q = 1 - p, the smoothed target h, class weight c and `pos_weight`, and with the upstream
gradients t, f, n of true positives, false positives and false negatives and a of the
cross-entropy,

    dL/dx = w [ a c (p (1 - h) - pos q h) + p q (f (1 - g) + (t - n) g) ].

p and q are the sigmoids of x and -x: a difference would lose the digits of the smaller one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor

from segloss.confusion.chunks import LOG2E, Chunk, Kernel, total
from segloss.targets import Pixels


class SigmoidKernel(Kernel):
    """Sums and gradient for independent channels."""

    def __init__(self, pixels: Pixels) -> None:
        super().__init__(pixels, size=2**18)

    def forward(self, groups: Collection[str]) -> dict[str, Tensor]:
        """The sums of the groups, each (N, C)."""
        sums = self.zero_sums(groups, tuple(self.source.prediction.shape[:2]))
        for chunk in self.chunks():
            part = {name: value[chunk.samples] for name, value in sums.items()}
            if "region" in groups:
                self._add_region(part, chunk)
            if "cross_entropy" in groups:
                self._add_entropy(part, chunk)
        return sums

    def backward(self, upstream: Mapping[str, Tensor]) -> Tensor:
        """The gradient with respect to the logits, from those with respect to the sums."""
        gradient = torch.empty_like(self.source.prediction)
        upstream = {name: grad.to(self.dtype).unsqueeze(-1) for name, grad in upstream.items()}
        for chunk in self.chunks():
            part = {name: grad[chunk.samples] for name, grad in upstream.items()}
            self._write_slope(gradient[chunk.samples, :, chunk.pixels], part, chunk)
        return gradient

    def _probabilities(self, x: Tensor) -> tuple[Tensor, Tensor]:
        p = torch.sigmoid(x, out=self.buffer("p", x))
        q = torch.neg(x, out=self.buffer("q", x)).sigmoid_()
        return p, q

    def _add_region(self, sums: Mapping[str, Tensor], chunk: Chunk) -> None:
        x, w = chunk.prediction, chunk.weight
        p, q = self._probabilities(x)
        positive = chunk.target
        if w is not None:
            positive = torch.mul(positive, w, out=self.buffer("positive", x))
            p.mul_(w)
        hit = torch.mul(p, chunk.target, out=self.buffer("hit", x))
        sums["true_positive"].add_(total(hit))
        sums["false_positive"].add_(total(p.sub_(hit)))
        sums["false_negative"].add_(total(q.mul_(positive)))
        sums["actual"].add_(total(positive))
        sums["pixel_weight"].add_(x.shape[-1] if w is None else total(w))

    def _add_entropy(self, sums: Mapping[str, Tensor], chunk: Chunk) -> None:
        entropy, w = self._entropy(chunk), chunk.weight
        if w is not None:
            entropy.mul_(w)
        value = total(entropy)
        weight = torch.full_like(value, entropy.shape[-1]) if w is None else total(w)
        if self.class_weights is not None:
            value, weight = value * self.class_weights, weight * self.class_weights
        sums["cross_entropy"].add_(value)
        sums["weight"].add_(weight)

    def _entropy(self, chunk: Chunk) -> Tensor:
        """Binary cross-entropy, pos h softplus(-x) + (1 - h) softplus(x), in scratch.

        Large parts cancel first, as x - x h does where h = 1: the logarithm may be tiny.
        """
        x, h = chunk.prediction, self.smoothed(chunk.target)
        log_part = torch.abs(x, out=self.buffer("p", x)).mul_(-LOG2E).exp2_().log1p_()
        above, spare = torch.clamp(x, min=0, out=self.buffer("q", x)), self.buffer("hit", x)
        if self.pos_weight is None:
            return log_part.add_(above.sub_(torch.mul(x, h, out=spare)))
        negative = above.add_(log_part)
        positive = log_part.sub_(torch.clamp(x, max=0, out=spare))
        negative.sub_(torch.mul(negative, h, out=spare))
        return positive.mul_(self.pos_weight.unsqueeze(-1)).mul_(h).add_(negative)

    def _write_slope(self, out: Tensor, upstream: Mapping[str, Tensor], chunk: Chunk) -> None:
        """Writes the gradient of a chunk: fresh memory is touched once, last."""
        p, q = self._probabilities(chunk.prediction)
        slope = torch.zeros((), dtype=self.dtype, device=p.device)
        if "true_positive" in upstream:
            slope = self._region_slope(upstream, p, q, chunk.target)
        if "cross_entropy" in upstream:
            slope = self._entropy_slope(upstream["cross_entropy"], p, q, chunk.target).add_(slope)
        if chunk.weight is not None:
            slope.mul_(chunk.weight)
        out.copy_(slope)

    def _region_slope(
        self, upstream: Mapping[str, Tensor], p: Tensor, q: Tensor, target: Tensor
    ) -> Tensor:
        f = upstream["false_positive"]
        difference = upstream["true_positive"] - upstream["false_negative"] - f
        slope = torch.mul(target, difference, out=self.buffer("hit", p))
        return slope.add_(f).mul_(p).mul_(q)

    def _entropy_slope(self, upstream: Tensor, p: Tensor, q: Tensor, target: Tensor) -> Tensor:
        """In the memory of p; q is used up too."""
        h = self.smoothed(target)
        if self.class_weights is not None:
            upstream = upstream * self.class_weights.unsqueeze(-1)
        p.sub_(torch.mul(p, h, out=self.buffer("positive", p)))
        q.mul_(h)
        if self.pos_weight is not None:
            q.mul_(self.pos_weight.unsqueeze(-1))
        return p.sub_(q).mul_(upstream)
