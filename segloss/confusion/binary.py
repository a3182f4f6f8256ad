r"""The fused kernel for sigmoid and masks of zeros and ones, without weights.

There one sigmoid does. With z = x (1 - 2 g), e = sigmoid(z) is the part of a pixel's probability
that is wrong, and with label smoothing s,

    false negatives = sum e g,   false positives = sum e (1 - g),
    cross-entropy   = sum softplus(z) - z s / 2,
    dL/dx           = (1 - 2 g) a c (e - s / 2) + e (1 - e) (f (1 - g) + (t - n) g),

with the upstream gradients and class weights c of `segloss.confusion.sigmoid`, which takes over
where a mask has other values. The squared error is e^2, and a focal loss alpha e^gamma
softplus(z).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping

import torch
from torch import Tensor

from segloss.confusion.chunks import Chunk, log_total, total
from segloss.confusion.pixel_sums import Side, side_of
from segloss.confusion.sigmoid import SigmoidKernel, log_part
from segloss.confusion.sums import FocalSum, map_sums
from segloss.targets import Pixels

_CONFIDENT = 2.0**-11
"""Mean error of a cell below which 1 - e, rounded, has too few of its digits for a logarithm."""

_MISSED = 0.99
"""Share of a class above which what is found, as a difference, has too few digits."""


def serves_binary(pixels: Pixels, groups: Collection[str]) -> bool:
    """Whether the kernel fits. It reads values, which on an accelerator would drain the queue."""
    if "metric" in groups or map_sums(groups):
        return False
    unweighted = pixels.weight is None and pixels.pos_weight is None
    on_cpu = pixels.prediction.device.type == "cpu"
    return unweighted and pixels.ignore_index is None and on_cpu


class BinaryKernel(SigmoidKernel):
    """Sums and gradient for independent channels and masks that hold nothing but 0 and 1."""

    size = 2**18
    slope_size = 2**19

    def attempt(self) -> dict[str, Tensor] | None:
        """The sums of the groups, (N, C), or None where a mask has other values."""
        parts = []
        for chunk in self.chunks(self.size):
            part = self._sums(chunk)
            if part is None:
                return None
            parts.append(part)
        return self._named(self.joined(parts))

    def write_slope(self, out: Tensor, upstream: Mapping[str, Tensor], chunk: Chunk) -> None:
        """Writes the gradient of a chunk."""
        g, x = chunk.target, chunk.prediction
        buffer = out if out.dtype == self.dtype else self.buffer("e", x)
        z = _flipped(chunk, self.buffer("z", x))
        e = torch.sigmoid(z, out=buffer)
        further = self._further_slope(upstream, chunk, z, e)
        if "rise" in upstream:
            slope = self.mixed(upstream, g, self.buffer("z", x))
            torch.ops.aten.sigmoid_backward.grad_input(slope, e, grad_input=slope)
        if "rate" in upstream:
            if self.source.label_smoothing > 0:
                e.sub_(self.source.label_smoothing / 2)
            e.mul_(upstream["rate"])
        if further is not None:
            e = e.add_(further) if "rate" in upstream else further
        if "rate" in upstream or further is not None:
            e = e.addcmul_(e, g, value=-2)
            slope = e.add_(slope) if "rise" in upstream else e
        if slope is not out:
            out.copy_(slope)

    def _further_slope(
        self, upstream: Mapping[str, Tensor], chunk: Chunk, z: Tensor, e: Tensor
    ) -> Tensor | None:
        """The derivative by z of all sums but the counts and the cross-entropy, in scratch."""
        if not self.focals and not self.wants("squared_error"):
            return None
        slope = self.buffer("further", z).zero_()
        if self.wants("squared_error"):
            slope.addcmul_(e, e).addcmul_(slope, e, value=-1).mul_(2 * upstream["squared_error"])
        for focal in self.focals:
            side = functools.partial(
                Side.slope,
                error=e,
                surprise=self._softplus(z),
                out=self.buffer("log", z),
                spare=self.buffer("above", z),
            )
            slope.add_(_by_class(focal, chunk.target, side).mul_(upstream[focal.group]))
        return slope

    def _softplus(self, z: Tensor) -> Tensor:
        """-log(1 - e), in scratch."""
        softplus, spare = self.buffer("softplus", z), self.buffer("log", z)
        negative = torch.neg(z, out=self.buffer("above", z))
        torch.ops.aten.log_sigmoid_forward.output(negative, output=softplus, buffer=spare)
        return softplus.neg_()

    def _further_sums(self, chunk: Chunk, z: Tensor, e: Tensor) -> dict[str, Tensor]:
        sums = {"squared_error": total(e.square())} if self.wants("squared_error") else {}
        for focal in self.focals:
            surprise = self._softplus(z)
            scratch = self.buffer("log", z)
            side = functools.partial(Side.value, error=e, surprise=surprise, out=scratch)
            sums[focal.group] = total(_by_class(focal, chunk.target, side))
            sums["entropy"] = total(surprise)
        return sums

    def _sums(self, chunk: Chunk) -> dict[str, Tensor] | None:
        """The sums of g, e, e g, the cross-entropy and others, or None if some g * g is not g."""
        g, smoothing = chunk.target, self.source.label_smoothing
        actual = total(g)
        if self.source.is_soft:
            flat = g.reshape(-1)
            if torch.dot(flat, flat) != actual.sum():  # exact for zeros and ones, in any order
                return None
        z = _flipped(chunk, self.buffer("z", g))
        e = torch.sigmoid(z, out=self.buffer("e", z))
        sums = {"actual": actual, "wrong": total(e)} | self._further_sums(chunk, z, e)
        smoothed = total(z).mul_(smoothing / 2) if smoothing > 0 else None
        sums |= self._missed(z, e, g, sums)
        if smoothed is not None:
            sums["entropy"].sub_(smoothed)
        return sums

    def _missed(
        self, z: Tensor, e: Tensor, g: Tensor, sums: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """The sums of e g and, unless it is there, the cross-entropy; uses up z and e."""
        if "entropy" in sums:
            return {"missed": total(e.mul_(g))}
        if (sums["wrong"] < _CONFIDENT * g.shape[-1]).any():
            missed = total(e.mul_(g))
            return {"missed": missed, "entropy": total(log_part(z, e)).add_(total(z.clamp_(min=0)))}
        above = total(z.clamp_(min=0))
        missed = total(torch.mul(e, g, out=z))
        right = torch.sub(1, e, out=z)
        entropy = above.sub_(log_total(torch.maximum(right, e, out=z)))
        return {"missed": missed, "entropy": entropy}

    def _named(self, sums: Mapping[str, Tensor]) -> dict[str, Tensor]:
        count = torch.full_like(sums["actual"], self.source.prediction.shape[-1])
        named = {name: value for name, value in sums.items() if self.wants(name)}
        named["pixel_weight"] = count
        if self.wants("true_positive"):
            named |= {
                "true_positive": self._found(sums["actual"], sums["missed"]),
                "false_positive": self._astray(sums["wrong"], sums["missed"]),
                "false_negative": sums["missed"],
            }
        if self.wants("cross_entropy"):
            named |= self.mean_parts(sums["entropy"], count)
        return named

    def _found(self, actual: Tensor, missed: Tensor) -> Tensor:
        """The true positives: the difference, or a sum of their own where it has lost digits."""
        if not (missed > _MISSED * actual).any():
            return actual - missed
        return self._counted(lambda chunk, z: z.neg_().sigmoid_().mul_(chunk.target))

    def _astray(self, wrong: Tensor, missed: Tensor) -> Tensor:
        """The false positives: the difference, or a sum of their own where it has lost digits."""
        if not (missed > _MISSED * wrong).any():
            return wrong - missed
        return self._counted(lambda chunk, z: z.sigmoid_().mul_(1 - chunk.target))

    def _counted(self, values: Callable[[Chunk, Tensor], Tensor]) -> Tensor:
        """The sum of what a function makes of a chunk and its z."""
        sums = [
            {"sum": total(values(chunk, _flipped(chunk, self.buffer("z", chunk.target))))}
            for chunk in self.chunks(self.size)
        ]
        return self.joined(sums)["sum"]


def _flipped(chunk: Chunk, out: Tensor) -> Tensor:
    """z: positive where the prediction is on the wrong side."""
    x = chunk.prediction
    return torch.addcmul(x, chunk.target, x, value=-2, out=out)  # in this order 2 x is never * 0


def _by_class(focal: FocalSum, mask: Tensor, evaluate: Callable[[Side], Tensor]) -> Tensor:
    """What a side of a focal sum evaluates to, for each pixel's class in a mask of 0 and 1."""
    background, foreground = side_of(focal, 0), side_of(focal, 1)
    if background == foreground:
        return evaluate(background)
    if background.gamma != foreground.gamma:
        return torch.lerp(evaluate(background).clone(), evaluate(foreground), mask)
    alpha = mask * (foreground.alpha - background.alpha) + background.alpha
    return evaluate(Side(background.gamma, alpha))
