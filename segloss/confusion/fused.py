"""The pass in closed form, keeping nothing for the backward pass but its inputs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from segloss.confusion.chunks import ChunkKernel
from segloss.confusion.native import NativeKernel, serves_native
from segloss.confusion.reference import reference_confusion
from segloss.confusion.sigmoid import SigmoidKernel
from segloss.confusion.softmax import SoftmaxKernel
from segloss.confusion.sums import SoftConfusion, is_constant, map_sums, names_of
from segloss.precision import without_autocast
from segloss.targets import Pixels, is_traced

TENSORS = ("prediction", "target", "weight", "class_weights", "pos_weight")
"""The tensors of `Pixels`, maps aside."""

SETTINGS = ("activation", "from_logits", "ignore_index", "label_smoothing")
"""The rest of `Pixels`."""

Kernel = NativeKernel | ChunkKernel
"""What computes sums and gradient of some pixels."""


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
    values = _FusedPass.apply(pixels, tuple(sums), *tensors_of(pixels, sums))
    return SoftConfusion(dict(zip(names_of(sums), values, strict=True)), pixels.is_exclusive)


def tensors_of(pixels: Pixels, groups: Collection[str]) -> list[Tensor | None]:
    """All that is kept for the backward pass: `TENSORS`, and the maps of the groups."""
    fixed = [getattr(pixels, name) for name in TENSORS]
    return [*fixed, *(pixels.maps[of_map.key] for of_map in map_sums(groups))]


def pixels_of(tensors: Sequence[Tensor | None], groups: Collection[str], **settings: Any) -> Pixels:
    """The pixels that these were the tensors of."""
    fixed = dict(zip(TENSORS, tensors, strict=False))
    keys = [of_map.key for of_map in map_sums(groups)]
    maps = dict(zip(keys, tensors[len(TENSORS) :], strict=True))
    return Pixels(**fixed, maps=maps, **settings)  # type: ignore[arg-type]


class _FusedPass(torch.autograd.Function):
    """From the tensors of `Pixels` to the sums of some groups."""

    @staticmethod
    def forward(
        ctx: Any, pixels: Pixels, groups: tuple[str, ...], *tensors: Tensor | None
    ) -> tuple[Tensor, ...]:
        ctx.save_for_backward(*tensors)
        ctx.settings = {name: getattr(pixels, name) for name in SETTINGS}
        ctx.groups = groups
        ctx.set_materialize_grads(False)
        with without_autocast(pixels.prediction.device):
            sums = kernel_of(pixels, groups).forward()
        names = names_of(groups)
        ctx.mark_non_differentiable(*(sums[name] for name in names if is_constant(name)))
        return tuple(sums[name] for name in names)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        tensors = ctx.saved_tensors
        pixels = pixels_of(tensors, ctx.groups, **ctx.settings)
        upstream = zip(names_of(ctx.groups), grads, strict=True)
        given = {name: grad for name, grad in upstream if grad is not None}
        gradient = _gradient(pixels, given, ctx.groups) if given else None
        return None, None, gradient, *[None] * (len(tensors) - 1)


def _gradient(pixels: Pixels, given: Mapping[str, Tensor], groups: Collection[str]) -> Tensor:
    if torch.is_grad_enabled() or any(map(is_batched, given.values())):
        create_graph = torch.is_grad_enabled()
        return _reference_gradient(pixels, given, groups, create_graph=create_graph)
    return kernel_gradient(pixels, given, groups)


def kernel_gradient(pixels: Pixels, given: Mapping[str, Tensor], groups: Collection[str]) -> Tensor:
    """The gradient in closed form, from upstream gradients of some of the groups' sums."""
    upstream = _completed(given, groups)
    asked = [group for group in groups if any(name in upstream for name in names_of([group]))]
    with without_autocast(pixels.prediction.device):
        return kernel_of(pixels, asked).backward(upstream)


def _completed(upstream: Mapping[str, Tensor], groups: Collection[str]) -> dict[str, Tensor]:
    """The upstream gradients, with zeros where a group of sums has some and lacks others."""
    whole: dict[str, Tensor] = {}
    for group in groups:
        names = [name for name in names_of([group]) if not is_constant(name)]
        given = [upstream[name] for name in names if name in upstream]
        if given:
            zero = torch.zeros_like(given[0])
            whole |= {name: upstream.get(name, zero) for name in names}
    return whole


def is_batched(tensor: Tensor) -> bool:
    """Whether the tensor is a batch of gradients, of `autograd.grad(is_grads_batched=True)`."""
    functorch = torch._C._functorch
    return functorch.is_batchedtensor(tensor) or functorch.is_legacy_batchedtensor(tensor)


def _reference_gradient(
    pixels: Pixels, upstream: Mapping[str, Tensor], groups: Collection[str], *, create_graph: bool
) -> Tensor:
    """The gradient by way of the reference path: for second derivatives, and batches of them."""
    with torch.enable_grad():
        sums = reference_confusion(pixels, groups)
        [gradient] = torch.autograd.grad(
            [sums[name] for name in upstream],
            pixels.prediction,
            list(upstream.values()),
            create_graph=create_graph,
        )
    return gradient


def kernel_of(pixels: Pixels, groups: Collection[str]) -> Kernel:
    """The kernel for some groups of sums of these pixels."""
    if serves_native(pixels, groups):
        return NativeKernel(pixels, groups)
    return SoftmaxKernel(pixels, groups) if pixels.is_exclusive else SigmoidKernel(pixels, groups)
