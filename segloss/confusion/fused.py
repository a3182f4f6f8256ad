"""The pass in closed form: in chunks that fit a cache, keeping nothing but its inputs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
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

TENSORS = ("prediction", "target", "weight", "class_weights", "pos_weight")
"""The tensors of `Pixels`, which is all that is kept for the backward pass."""

SETTINGS = ("activation", "from_logits", "ignore_index", "label_smoothing")
"""The rest of `Pixels`."""

CONSTANT = ("actual", "pixel_weight", "weight")
"""The sums that do not depend on the predictions."""

KERNELS: tuple[type[Kernel], ...] = (SigmoidKernel, BinaryKernel, SoftmaxKernel)
"""All kernels, which an operator names by their places."""


def covers(pixels: Pixels) -> bool:
    """Whether there is a kernel: for logits, of independent channels or with a label map."""
    form = pixels.activation == "sigmoid" or pixels.is_label_map
    return pixels.from_logits and form


def serves(pixels: Pixels) -> bool:
    """Whether the fused pass takes these pixels: there are some, and no tracer looks inside."""
    prediction = pixels.prediction
    seen = is_dual() or is_traced() or prediction.is_meta
    return covers(pixels) and not seen and prediction.numel() > 0


def is_dual() -> bool:
    """Whether forward-mode differentiation is on, which the fused pass has no formula for."""
    return torch.autograd.forward_ad._current_level >= 0


def fused_confusion(pixels: Pixels, sums: Collection[str]) -> SoftConfusion:
    """Computes the sums of the groups named in `sums`."""
    groups = tuple(group for group in SUMS if group in sums)
    names = names_of(groups)
    tensors = [getattr(pixels, name) for name in TENSORS]
    values = _FusedPass.apply(pixels, groups, *tensors)
    return SoftConfusion(dict(zip(names, values, strict=True)))


def names_of(groups: Collection[str]) -> list[str]:
    """The names of the groups' sums, in order."""
    return [name for group in groups for name in SUMS[group]]


class _FusedPass(torch.autograd.Function):
    """From the tensors of `Pixels` to the sums of some groups."""

    @staticmethod
    def forward(
        ctx: Any, pixels: Pixels, groups: tuple[str, ...], *tensors: Tensor | None
    ) -> tuple[Tensor, ...]:
        ctx.save_for_backward(*tensors)
        ctx.settings = {name: getattr(pixels, name) for name in SETTINGS}
        ctx.names = names_of(groups)
        ctx.set_materialize_grads(False)
        with without_autocast(pixels.prediction.device):
            ctx.kernel, sums = measured(pixels, groups)
        ctx.mark_non_differentiable(*(sums[name] for name in ctx.names if name in CONSTANT))
        return tuple(sums[name] for name in ctx.names)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        tensors = dict(zip(TENSORS, ctx.saved_tensors, strict=True))
        pixels = Pixels(**tensors, **ctx.settings)
        upstream = dict(zip(ctx.names, grads, strict=True))
        return None, None, _gradient(ctx.kernel(pixels), upstream), *[None] * (len(TENSORS) - 1)


def _gradient(kernel: Kernel, upstream: dict[str, Tensor | None]) -> Tensor | None:
    given = {name: grad for name, grad in upstream.items() if grad is not None}
    if not given:
        return None
    if torch.is_grad_enabled() or any(map(_is_batched, given.values())):
        return _reference_gradient(kernel.source, given, create_graph=torch.is_grad_enabled())
    with without_autocast(kernel.source.prediction.device):
        return kernel.backward(completed(given))


def completed(upstream: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The upstream gradients, with zeros where a group of sums has some and lacks others."""
    whole: dict[str, Tensor] = {}
    for group in SUMS.values():
        given = [upstream[name] for name in group if name in upstream]
        if given:
            zero = torch.zeros_like(given[0])
            whole |= {name: upstream.get(name, zero) for name in group if name not in CONSTANT}
    return whole


def _is_batched(tensor: Tensor) -> bool:
    """Whether the tensor is a batch of gradients, of `autograd.grad(is_grads_batched=True)`."""
    functorch = torch._C._functorch
    return functorch.is_batchedtensor(tensor) or functorch.is_legacy_batchedtensor(tensor)


def _reference_gradient(
    pixels: Pixels, upstream: dict[str, Tensor], *, create_graph: bool
) -> Tensor:
    """The gradient by way of the reference path: for second derivatives, and batches of them."""
    with torch.enable_grad():
        sums = reference_confusion(pixels, SUMS)
        [gradient] = torch.autograd.grad(
            [sums[name] for name in upstream],
            pixels.prediction,
            list(upstream.values()),
            create_graph=create_graph,
        )
    return gradient


def measured(pixels: Pixels, groups: Collection[str]) -> tuple[type[Kernel], dict[str, Tensor]]:
    """The sums, and the kernel that has taken them, which takes the gradient too."""
    if pixels.activation == "softmax":
        return SoftmaxKernel, SoftmaxKernel(pixels).forward(groups)
    if serves_binary(pixels):
        sums = BinaryKernel(pixels).attempt(groups)
        if sums is not None:
            return BinaryKernel, sums
    return SigmoidKernel, SigmoidKernel(pixels).forward(groups)
