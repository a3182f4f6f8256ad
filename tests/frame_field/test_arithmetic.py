"""Fields and images: what the frame-field losses compute with."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from segloss.frame_field import arithmetic
from tests.frame_field.frame_fields import alignment, batches, laplacian, scharr


def test_the_alignment_error_is_that_of_complex_numbers() -> None:
    crossfield, z = batches()[0]["crossfield"], torch.randn(2, 2, 5, 4, dtype=torch.float64)
    values = alignment((z[:, 0] + 1j * z[:, 1]).numpy(), crossfield.numpy())
    assert arithmetic.alignment_error(z, crossfield).numpy() == pytest.approx(values, rel=1e-12)


def test_the_directions_of_a_field_have_no_alignment_error() -> None:
    crossfield = batches()[0]["crossfield"].float()
    for direction in arithmetic.directions(crossfield):
        assert arithmetic.alignment_error(direction, crossfield).max() < 1e-9


def test_the_gradient_is_scharrs() -> None:
    image = torch.rand(2, 3, 6, 5, dtype=torch.float64)
    gradient = arithmetic.image_gradient(image).numpy()
    for n, c in np.ndindex(2, 3):
        rows, columns = scharr(image[n, c].numpy())
        assert gradient[n, c, 0] == pytest.approx(rows, abs=1e-14)
        assert gradient[n, c, 1] == pytest.approx(columns, abs=1e-14)


def test_the_laplacian_has_zeros_outside() -> None:
    image = torch.rand(2, 3, 6, 5, dtype=torch.float64)
    result = arithmetic.laplacian(image).numpy()
    for n, c in np.ndindex(2, 3):
        assert result[n, c] == pytest.approx(laplacian(image[n, c].numpy()), abs=1e-14)
