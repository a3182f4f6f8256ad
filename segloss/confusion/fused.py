"""The pass in closed form: in chunks that fit a cache, keeping nothing but its inputs."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor

from segloss.confusion.binary import BinaryKernel, serves_binary
from segloss.confusion.chunks import Kernel
from segloss.confusion.reference import reference_confusion
from segloss.confusion.sigmoid import SigmoidKernel
from segloss.confusion.softmax import SoftmaxKernel
from segloss.confusion.sums import SUMS, SoftConfusion
from segloss.precision import without_autocast
from segloss.targets import Pixels, is_traced

_TENSORS = ("prediction", "target", "weight", "class_weights", "pos_weight")
"""The tensors of `Pixels`, which is all that is kept for the backward pass."""

_SETTINGS = ("activation", "from_logits", "ignore_index", "label_smoothing")
"""The rest of `Pixels`."""

_CONSTANT = ("actual", "pixel_weight", "weight")
"""The sums that do not depend on the predictions."""


def serves(pixels: Pixels) -> bool:
    """Whether the fused pass covers these pixels, and no tracer needs to look inside.

    It takes at least one pixel of logits, of independent channels or with a label map.
    """
    form = pixels.activation == "sigmoid" or pixels.is_label_map
    covered = pixels.from_logits and form and pixels.prediction.numel() > 0
    dual = torch.autograd.forward_ad._current_level >= 0
    return covered and not (dual or is_traced() or pixels.prediction.is_meta)


def fused_confusion(pixels: Pixels, sums: Collection[str]) -> SoftConfusion:
    """Computes the sums of the groups named in `sums`."""
    groups = tuple(group for group in SUMS if group in sums)
    names = [name for group in groups for name in SUMS[group]]
    tensors = [getattr(pixels, name) for name in _TENSORS]
    values = _FusedPass.apply(pixels, groups, *tensors)
    return SoftConfusion(dict(zip(names, values, strict=True)))


class _FusedPass(torch.autograd.Function):
    """From the tensors of `Pixels` to the sums of some groups."""

    @staticmethod
    def forward(
        ctx: Any, pixels: Pixels, groups: tuple[str, ...], *tensors: Tensor | None
    ) -> tuple[Tensor, ...]:
        ctx.save_for_backward(*tensors)
        ctx.settings = {name: getattr(pixels, name) for name in _SETTINGS}
        ctx.names = [name for group in groups for name in SUMS[group]]
        ctx.set_materialize_grads(False)
        with without_autocast(pixels.prediction.device):
            ctx.kernel, sums = _measured(pixels, groups)
        ctx.mark_non_differentiable(*(sums[name] for name in ctx.names if name in _CONSTANT))
        return tuple(sums[name] for name in ctx.names)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        tensors = dict(zip(_TENSORS, ctx.saved_tensors, strict=True))
        pixels = Pixels(**tensors, **ctx.settings)
        upstream = dict(zip(ctx.names, grads, strict=True))
        return None, None, _gradient(ctx.kernel(pixels), upstream), *[None] * (len(_TENSORS) - 1)


def _gradient(kernel: Kernel, upstream: dict[str, Tensor | None]) -> Tensor | None:
    given = {name: grad for name, grad in upstream.items() if grad is not None}
    if not given:
        return None
    if torch.is_grad_enabled():
        return _differentiable_gradient(kernel.source, given)
    with without_autocast(kernel.source.prediction.device):
        return kernel.backward(_completed(given))


def _completed(upstream: dict[str, Tensor]) -> dict[str, Tensor]:
    """The upstream gradients, with zeros where a group of sums has some and lacks others."""
    completed: dict[str, Tensor] = {}
    for group in SUMS.values():
        given = [upstream[name] for name in group if name in upstream]
        if given:
            zero = torch.zeros_like(given[0])
            completed |= {name: upstream.get(name, zero) for name in group if name not in _CONSTANT}
    return completed


def _differentiable_gradient(pixels: Pixels, upstream: dict[str, Tensor]) -> Tensor:
    """The gradient by way of the reference path, where a second derivative is wanted."""
    sums = reference_confusion(pixels, SUMS)
    [gradient] = torch.autograd.grad(
        [sums[name] for name in upstream],
        pixels.prediction,
        list(upstream.values()),
        create_graph=True,
    )
    return gradient


def _measured(pixels: Pixels, groups: Collection[str]) -> tuple[type[Kernel], dict[str, Tensor]]:
    """The sums, and the kernel that has taken them, which takes the gradient too."""
    if pixels.activation == "softmax":
        return SoftmaxKernel, SoftmaxKernel(pixels).forward(groups)
    if serves_binary(pixels):
        sums = BinaryKernel(pixels).attempt(groups)
        if sums is not None:
            return BinaryKernel, sums
    return SigmoidKernel, SigmoidKernel(pixels).forward(groups)
