r"""The fused kernel for sigmoid and masks of zeros and ones, without weights.

There one sigmoid does. With z = x (1 - 2 g), e = sigmoid(z) is the part of a pixel's probability
that is wrong, and with label smoothing s,

    false negatives = sum e g,   false positives = sum e (1 - g),
    cross-entropy   = sum softplus(z) - z s / 2,
    dL/dx           = (1 - 2 g) a c (e - s / 2) + e (1 - e) (f (1 - g) + (t - n) g),

with the upstream gradients and class weights c of `segloss.confusion.sigmoid`, which takes over
where a mask has other values.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor

from segloss.confusion.chunks import Chunk, log_total, total
from segloss.confusion.sigmoid import SigmoidKernel, log_part
from segloss.targets import Pixels

_CONFIDENT = 2.0**-11
"""Mean error of a cell below which 1 - e, rounded, has too few of its digits for a logarithm."""

_MISSED = 0.99
"""Share of a class above which what is found, as a difference, has too few digits."""


def serves_binary(pixels: Pixels) -> bool:
    """Whether the kernel fits. It reads values, which on an accelerator would drain the queue."""
    unweighted = pixels.weight is None and pixels.pos_weight is None
    on_cpu = pixels.prediction.device.type == "cpu"
    return unweighted and pixels.ignore_index is None and on_cpu


class BinaryKernel(SigmoidKernel):
    """Sums and gradient for independent channels and masks that hold nothing but 0 and 1."""

    size = 2**18
    slope_size = 2**19

    def attempt(self, groups: Collection[str]) -> dict[str, Tensor] | None:
        """The sums of the groups, (N, C), or None where a mask has other values."""
        parts = []
        for chunk in self.chunks(self.size):
            part = self._sums(chunk)
            if part is None:
                return None
            parts.append(part)
        return self._named(self.joined(parts), groups)

    def write_slope(self, out: Tensor, upstream: Mapping[str, Tensor], chunk: Chunk) -> None:
        """Writes the gradient of a chunk."""
        g, x = chunk.target, chunk.prediction
        e = _flipped(chunk, out if out.dtype == self.dtype else self.buffer("e", x)).sigmoid_()
        if "rise" in upstream:
            slope = self.mixed(upstream, g, self.buffer("z", x))
            torch.ops.aten.sigmoid_backward.grad_input(slope, e, grad_input=slope)
        if "rate" in upstream:
            if self.source.label_smoothing > 0:
                e.sub_(self.source.label_smoothing / 2)
            e.addcmul_(e, g, value=-2).mul_(upstream["rate"])
            slope = e.add_(slope) if "rise" in upstream else e
        if slope is not out:
            out.copy_(slope)

    def _sums(self, chunk: Chunk) -> dict[str, Tensor] | None:
        """The sums of g, e, e g and the cross-entropy, or None if some g * g is not g."""
        g, smoothing = chunk.target, self.source.label_smoothing
        actual = total(g)
        if self.source.target.is_floating_point():
            flat = g.reshape(-1)
            if torch.dot(flat, flat) != actual.sum():  # exact for zeros and ones, in any order
                return None
        z = _flipped(chunk, self.buffer("z", g))
        e = torch.sigmoid(z, out=self.buffer("e", z))
        wrong = total(e)
        smoothed = total(z).mul_(smoothing / 2) if smoothing > 0 else None
        if (wrong < _CONFIDENT * g.shape[-1]).any():
            missed = total(e.mul_(g))
            entropy = total(log_part(z, e)).add_(total(z.clamp_(min=0)))
        else:
            above = total(z.clamp_(min=0))
            missed = total(torch.mul(e, g, out=z))
            right = torch.sub(1, e, out=z)
            entropy = above.sub_(log_total(torch.maximum(right, e, out=z)))
        if smoothed is not None:
            entropy.sub_(smoothed)
        return {"actual": actual, "wrong": wrong, "missed": missed, "entropy": entropy}

    def _named(self, sums: Mapping[str, Tensor], groups: Collection[str]) -> dict[str, Tensor]:
        count = torch.full_like(sums["actual"], self.source.prediction.shape[-1])
        named: dict[str, Tensor] = {}
        if "region" in groups:
            named = {
                "true_positive": self._found(sums["actual"], sums["missed"]),
                "false_positive": (sums["wrong"] - sums["missed"]).clamp_(min=0),
                "false_negative": sums["missed"],
                "actual": sums["actual"],
                "pixel_weight": count,
            }
        if "cross_entropy" in groups:
            named |= self.mean_parts(sums["entropy"], count)
        return named

    def _found(self, actual: Tensor, missed: Tensor) -> Tensor:
        """The true positives: the difference, or a sum of their own where it has lost digits."""
        if not (missed > _MISSED * actual).any():
            return actual - missed
        return self.joined([{"found": self._hits(chunk)} for chunk in self.chunks(self.size)])[
            "found"
        ]

    def _hits(self, chunk: Chunk) -> Tensor:
        z = _flipped(chunk, self.buffer("z", chunk.target))
        return total(z.neg_().sigmoid_().mul_(chunk.target))


def _flipped(chunk: Chunk, out: Tensor) -> Tensor:
    """z: positive where the prediction is on the wrong side."""
    x = chunk.prediction
    return torch.addcmul(x, chunk.target, x, value=-2, out=out)  # in this order 2 x is never * 0
