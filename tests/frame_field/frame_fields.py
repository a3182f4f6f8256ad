"""The textbook of frame fields, in NumPy's complex float64, one pixel at a time."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float64]


def batches(
    samples: int = 2, height: int = 5, width: int = 4, dtype: torch.dtype = torch.float64
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """A random prediction and a random truth."""
    shape = (height, width)
    source = torch.Generator().manual_seed(3)

    def uniform(channels: int) -> Tensor:
        return torch.rand(samples, channels, *shape, generator=source, dtype=dtype)

    pred = {"crossfield": 4 * uniform(4) - 2, "seg": uniform(2)}
    gt = {
        "gt_polygons_image": uniform(3),
        "gt_crossfield_angle": 3 * uniform(1),
        "distances": uniform(1),
        "sizes": uniform(1) + 0.1,
        "class_freq": torch.tensor([[0.2, 0.1, 0.05], [0.3, 0.2, 0.01]], dtype=dtype)[:samples],
    }
    return pred, gt


def alignment(z: NDArray[np.complex128], crossfield: Array) -> Array:
    c0, c2 = crossfield[:, 0] + 1j * crossfield[:, 1], crossfield[:, 2] + 1j * crossfield[:, 3]
    return np.abs(z**4 + c2 * z**2 + c0) ** 2


def tangent(gt: dict[str, Tensor]) -> NDArray[np.complex128]:
    return np.exp(1j * gt["gt_crossfield_angle"].numpy()[:, 0])


def scharr(image: Array) -> tuple[Array, Array]:
    """Derivatives of (H, W) along rows and columns, replicated at the edges."""
    padded = np.pad(image, 1, mode="edge")
    weights = np.array([47, 162, 47]) / 512
    rows, columns = np.zeros_like(image), np.zeros_like(image)
    for i, j in np.ndindex(*image.shape):
        patch = padded[i : i + 3, j : j + 3]
        rows[i, j] = weights @ (patch[2] - patch[0])
        columns[i, j] = weights @ (patch[:, 2] - patch[:, 0])
    return rows, columns


def seg_gradient(seg: Array) -> NDArray[np.complex128]:
    """Twice the gradient of (N, C, H, W), rows + i columns."""
    result = np.zeros(seg.shape, dtype=np.complex128)
    for n, c in np.ndindex(*seg.shape[:2]):
        rows, columns = scharr(seg[n, c])
        result[n, c] = 2 * (rows + 1j * columns)
    return result


def laplacian(image: Array) -> Array:
    kernel = np.array([[0.5, 1, 0.5], [1, -6, 1], [0.5, 1, 0.5]]) / 12
    padded = np.pad(image, 1)
    return np.array(
        [
            [(padded[i : i + 3, j : j + 3] * kernel).sum() for j in range(image.shape[1])]
            for i in range(image.shape[0])
        ]
    )
