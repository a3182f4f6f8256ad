r"""The soft skeleton of images in [0, 1], by minimum and maximum pooling.

With :math:`x_0` the image and :math:`x_{k+1}` the erosion of :math:`x_k`,

.. math:: S = 1 - \prod_{k=0}^{K} (1 - \delta_k),
    \qquad \delta_k = \max(0, x_k - \mathrm{dilate}(x_{k+1}))

An erosion is the minimum over a pixel and its neighbours along the axes, a dilation the maximum
over a square or cube of three pixels, and K the number of iterations. Source: Shit et al. (2021).

PyTorch's autograd would keep several tensors and indices for each iteration. The derivative here
keeps the image and the product, and erodes the image again: the steps are halved until one is left,
so that there are log2(K) eroded images at a time, for half of log2(K) more erosions per step.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from segloss.foundation.tracing import is_batched, is_dual, is_traced

_MAX_POOL: dict[int, Callable[..., Tensor]] = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
"""The poolings of PyTorch, by the number of spatial dimensions."""

Pooling = Callable[[Tensor, Tensor], Tensor]
"""`torch.minimum` or `torch.maximum`."""


def soft_skeleton(image: Tensor, iterations: int) -> Tensor:
    """Returns the soft skeleton of an image (N, C, *spatial) with 1 to 3 spatial dimensions."""
    if image.numel() == 0:
        return image * 1.0
    if not torch.compiler.is_compiling() and (is_dual() or is_traced()):
        return _by_operations(image, iterations)
    skeleton: Tensor = _SoftSkeleton.apply(image, iterations)
    return skeleton


class _SoftSkeleton(torch.autograd.Function):
    """The autograd function from an image to its skeleton."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, iterations: int) -> Tensor:
        skeleton, rest = _skeleton(image, iterations)
        ctx.save_for_backward(image, rest)
        ctx.iterations = iterations
        return skeleton

    @staticmethod
    def backward(ctx: Any, by_skeleton: Tensor) -> tuple[Tensor, None]:
        image, rest = ctx.saved_tensors
        is_compiling = torch.compiler.is_compiling()
        if not is_compiling and (torch.is_grad_enabled() or is_batched(by_skeleton)):
            return _by_autograd(image, ctx.iterations, by_skeleton), None
        steps = ctx.iterations + 1
        return _gradient(image, steps, torch.zeros_like(image), by_skeleton, rest), None


def _skeleton(image: Tensor, iterations: int) -> tuple[Tensor, Tensor]:
    """Returns the skeleton S and the product 1 - S, each with all its digits near 0."""
    skeleton, rest = torch.zeros_like(image), torch.ones_like(image)
    for _ in range(iterations + 1):
        eroded = _minima(image)[-1]
        delta = (image - _dilations(eroded)[-1]).clamp_(min=0)
        skeleton.addcmul_(delta, rest)
        rest.mul_(1 - delta)
        image = eroded
    return skeleton, rest


def _gradient(
    image: Tensor, steps: int, by_eroded: Tensor, by_skeleton: Tensor, rest: Tensor
) -> Tensor:
    """Returns the gradient with respect to an image, from the steps that follow it.

    Args:
        image: The image before the first step.
        steps: The number of steps, at least 1.
        by_eroded: The gradient with respect to the image after the last step.
        by_skeleton: The gradient with respect to the skeleton.
        rest: The product over all steps.
    """
    if steps == 1:
        return _gradient_of_step(image, by_eroded, by_skeleton, rest)
    half = steps // 2
    middle = image
    for _ in range(half):
        middle = _minima(middle)[-1]
    by_middle = _gradient(middle, steps - half, by_eroded, by_skeleton, rest)
    return _gradient(image, half, by_middle, by_skeleton, rest)


def _gradient_of_step(
    image: Tensor, by_eroded: Tensor, by_skeleton: Tensor, rest: Tensor
) -> Tensor:
    """Returns the gradient with respect to the image of a single step.

    The derivative of the skeleton with respect to delta is the product without its factor
    1 - delta. The deltas of a pixel add up to at most 1, since delta_k <= x_k - x_{k+1}. So at most
    one factor is near 0, and the quotient keeps its digits; where a factor is 0, all others are 1.
    """
    minima = _minima(image)
    dilations = _dilations(minima[-1])
    delta = image - dilations[-1]
    least = torch.finfo(image.dtype).tiny
    others = rest.clamp(min=least) / (1 - delta).clamp_(min=least)
    by_delta = others.mul_(by_skeleton).mul_(delta > 0)
    by_eroded = by_eroded - _gradient_of_dilation(dilations, by_delta)
    return _gradient_of_erosion(image, minima, by_eroded).add_(by_delta)


def _minima(image: Tensor) -> list[Tensor]:
    """Returns the erosions along the first axis, the first two, and so on; the last has all."""
    minima = [_pooled(image, 2, torch.minimum)]
    for axis in range(3, image.ndim):
        minima.append(torch.minimum(minima[-1], _pooled(image, axis, torch.minimum)))
    return minima


def _gradient_of_erosion(image: Tensor, minima: list[Tensor], by_eroded: Tensor) -> Tensor:
    """Returns the gradient with respect to an image from that with respect to its erosion.

    Where the minima along two axes are equal, each gets half, as in `torch.minimum`.
    """
    of_axes = []
    for axis in range(image.ndim - 1, 2, -1):
        pooled = _pooled(image, axis, torch.minimum)
        share = torch.sign(minima[axis - 3] - pooled).add_(1).mul_(0.5)
        by_pooled = by_eroded * share
        by_eroded = by_eroded - by_pooled
        of_axes.append(_gradient_of_pooling(image, pooled, by_pooled, axis))
    by_image = _gradient_of_pooling(image, minima[0], by_eroded, 2)
    for by_axis in of_axes:
        by_image.add_(by_axis)
    return by_image


def _dilations(image: Tensor) -> list[Tensor]:
    """Returns an image, and its dilations along the last axis, the last two, and so on."""
    dilations = [image]
    for axis in range(image.ndim - 1, 1, -1):
        dilations.append(_pooled(dilations[-1], axis, torch.maximum))
    return dilations


def _gradient_of_dilation(dilations: list[Tensor], by_dilated: Tensor) -> Tensor:
    """Returns the gradient with respect to an image from that with respect to its dilation.

    With the last axis pooled first, the first of equal pixels in memory gets all, as in PyTorch's
    pooling.
    """
    for axis in range(2, by_dilated.ndim):
        pooled, image = dilations.pop(), dilations[-1]
        by_dilated = _gradient_of_pooling(image, pooled, by_dilated, axis)
    return by_dilated


def _pooled(image: Tensor, axis: int, pooling: Pooling) -> Tensor:
    """Returns the pooling of each pixel with its neighbours along an axis.

    On a CPU, two passes of a vectorised operation take a tenth of the time of `F.max_pool2d`.
    """
    size = image.shape[axis]
    if size == 1:
        return image
    pairs = pooling(image.narrow(axis, 0, size - 1), image.narrow(axis, 1, size - 1))
    inner = pooling(pairs.narrow(axis, 0, size - 2), pairs.narrow(axis, 1, size - 2))
    first, last = pairs.narrow(axis, 0, 1), pairs.narrow(axis, size - 2, 1)
    return torch.cat([first, inner, last], axis)


def _gradient_of_pooling(image: Tensor, pooled: Tensor, by_pooled: Tensor, axis: int) -> Tensor:
    """Returns the gradient with respect to an image: all for the first pixel at the extremum."""
    size = image.shape[axis]
    if size == 1:
        return by_pooled
    before, after = (axis, 0, size - 1), (axis, 1, size - 1)
    to_previous = by_pooled.narrow(*after) * (image.narrow(*before) == pooled.narrow(*after))
    left = by_pooled.clone()
    left.narrow(*after).sub_(to_previous)  # exactly 0 where it has gone
    by_image = left * (image == pooled)
    left.sub_(by_image)
    by_image.narrow(*before).add_(to_previous)
    by_image.narrow(*after).add_(left.narrow(*before))
    return by_image


def _by_operations(image: Tensor, iterations: int) -> Tensor:
    """Returns the skeleton by PyTorch's pooling, for any derivative and any transform."""
    spatial = image.ndim - 2
    max_pool = _MAX_POOL[spatial]
    windows = [[3 if i == axis else 1 for i in range(spatial)] for axis in range(spatial)]

    def erode(image: Tensor) -> Tensor:
        along = (-max_pool(-image, w, 1, [size // 2 for size in w]) for w in windows)
        return functools.reduce(torch.minimum, along)

    skeleton = torch.zeros_like(image)
    for _ in range(iterations + 1):
        eroded = erode(image)
        delta = F.relu(image - max_pool(eroded, 3, 1, 1))
        skeleton = skeleton + F.relu(delta - skeleton * delta)
        image = eroded
    return skeleton


def _by_autograd(image: Tensor, iterations: int, by_skeleton: Tensor) -> Tensor:
    """Returns the gradient with a graph, for second derivatives and batches of gradients."""
    create_graph = torch.is_grad_enabled()
    with torch.enable_grad():
        image = image if image.requires_grad else image.detach().requires_grad_()
        skeleton = _by_operations(image, iterations)
        [gradient] = torch.autograd.grad(skeleton, image, by_skeleton, create_graph=create_graph)
    return gradient
