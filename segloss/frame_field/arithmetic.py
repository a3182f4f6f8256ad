"""Arithmetic of frame fields and images. A complex number is two channels, real and imaginary."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from segloss.foundation.device_constants import on_device

_SCHARR = (47.0, 162.0, 47.0)
"""Weights perpendicular to a derivative, which make it nearly independent of the direction."""

_LAPLACIAN = (0.5, 1.0, 0.5, 1.0, -6.0, 1.0, 0.5, 1.0, 0.5)
"""The 3 by 3 kernel of `laplacian`, row by row."""


def alignment_error(z: Tensor, crossfield: Tensor) -> Tensor:
    r"""Computes the distance between a direction and the directions of a frame field.

    .. math:: f(z) = |z^4 + c_2 z^2 + c_0|^2

    It is 0 if z is one of the directions of the field.

    Args:
        z: Unit directions, (N, 2, H, W).
        crossfield: c0 in the first two channels and c2 in the last two, (N, 4, H, W).

    Returns:
        The error, at least 0, (N, H, W).

    Example:
        >>> east = torch.tensor([1.0, 0.0]).reshape(1, 2, 1, 1)
        >>> east_and_north = torch.tensor([-1.0, 0.0, 0.0, 0.0]).reshape(1, 4, 1, 1)
        >>> alignment_error(east, east_and_north)  # z^4 - 1
        tensor([[[0.]]])
    """
    square = complex_product(z, z)
    value = complex_product(square, square) + complex_product(crossfield[:, 2:], square)
    return (value + crossfield[:, :2]).square().sum(1)


def complex_product(a: Tensor, b: Tensor) -> Tensor:
    """Returns the product of two tensors of complex numbers, (N, 2, ...) each."""
    (a_real, a_imaginary), (b_real, b_imaginary) = a.unbind(1), b.unbind(1)
    real = a_real * b_real - a_imaginary * b_imaginary
    return torch.stack([real, a_real * b_imaginary + a_imaginary * b_real], 1)


def turned(z: Tensor) -> Tensor:
    """Returns directions (N, 2, H, W), turned by 90 degrees: i z."""
    return torch.stack([-z[:, 1], z[:, 0]], 1)


def directions(crossfield: Tensor) -> tuple[Tensor, Tensor]:
    r"""Returns the two directions u and v of a frame field.

    .. math:: u^2, v^2 = -\tfrac12 \left(c_2 \pm \sqrt{c_2^2 - 4 c_0}\right)

    Args:
        crossfield: c0 in the first two channels and c2 in the last two, (N, 4, H, W).

    Returns:
        u and v, (N, 2, H, W) each, with an arbitrary sign.

    Example:
        >>> u, v = directions(torch.tensor([-1.0, 0.0, 0.0, 0.0]).reshape(1, 4, 1, 1))
        >>> u.abs().flatten(), v.abs().flatten()
        (tensor([0., 1.]), tensor([1., 0.]))
    """
    c0 = torch.complex(*crossfield.float()[:, :2].unbind(1))
    c2 = torch.complex(*crossfield.float()[:, 2:].unbind(1))
    root = (c2 * c2 - 4 * c0).sqrt()
    roots = [(-(c2 + root) / 2).sqrt(), (-(c2 - root) / 2).sqrt()]
    u, v = (torch.view_as_real(z).movedim(-1, 1) for z in roots)
    return u, v


def image_gradient(image: Tensor) -> Tensor:
    r"""Returns the derivatives along rows and columns, computed with Scharr's kernel.

    The kernel is divided by the sum of its absolute values; the image is padded with its edges.

    Args:
        image: The image, (N, C, H, W).

    Returns:
        The derivatives, (N, C, 2, H, W): first along H, then along W. A slope of 1 per pixel gives
        1, and a step of 1 gives 1/2 on either side.

    Source: Scharr, "Optimal operators in digital image processing" (2000).

    Example:
        >>> ramp = torch.arange(4.0).expand(1, 1, 4, 4)
        >>> image_gradient(ramp)[0, 0, :, 1, 1]
        tensor([0., 1.])
    """
    across = on_device(_SCHARR, image.device, image.dtype)
    kernel = on_device((-1.0, 0.0, 1.0), image.device, image.dtype).unsqueeze(1) * across
    kernel = kernel / kernel.abs().sum()
    kernels = torch.stack([kernel, kernel.T]).unsqueeze(1)
    padded = F.pad(image.flatten(0, 1).unsqueeze(1), (1, 1, 1, 1), mode="replicate")
    return F.conv2d(padded, kernels).reshape(*image.shape[:2], 2, *image.shape[2:])


def laplacian(image: Tensor) -> Tensor:
    """Returns the Laplacian of each channel, (N, C, H, W), divided by 12; the padding is 0."""
    kernel = on_device(_LAPLACIAN, image.device, image.dtype).view(3, 3) / 12
    channels = image.flatten(0, 1).unsqueeze(1)
    return F.conv2d(channels, kernel[None, None], padding=1).reshape(image.shape)
