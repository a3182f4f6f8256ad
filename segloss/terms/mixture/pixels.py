"""The losses of single pixels, of mixtures whose terms are all means over pixels."""

from __future__ import annotations

import torch
from torch import Tensor

from segloss.batch.pixel_batch import PixelBatch
from segloss.foundation.device_constants import on_device
from segloss.foundation.precision import accumulation_dtype, arithmetic_dtype
from segloss.sums import pixel_losses
from segloss.sums.confusion import SoftConfusion
from segloss.sums.kernels.registry import REFERENCE, needs_reference
from segloss.sums.plan import Plan
from segloss.terms.base import PixelTerm
from segloss.terms.mixture.group import MixtureGroup
from segloss.terms.mixture.mixture import Mixture


def has_pixels(mixture: Mixture) -> bool:
    """Returns whether every term of a mixture is a mean over pixels."""
    return all(isinstance(entry.term, PixelTerm) for entry in mixture.components)


def losses_of_pixels(group: MixtureGroup, batch: PixelBatch) -> Tensor:
    """Returns the loss of each pixel, times its weight: 0 for pixels that do not count.

    It is the pixel's share in the sum that the mean divides, so for cross-entropy it has the
    factors of class weights and of `pos_weight`, too.

    Args:
        group: One mixture of means over pixels.
        batch: The batch, checked by `as_pixel_batch`.

    Returns:
        (N, 1, P) if classes exclude each other, else (N, C, P).
    """
    [mixture] = group.mixtures
    plan = group.plan if batch.is_soft else group.plan.of_hard_targets
    if needs_reference(batch) or mixture.parameters() is not None:
        return _traced(mixture, plan, batch)
    device, channels = batch.prediction.device, batch.prediction.shape[1]
    key = plan, channels, batch.is_exclusive
    if key not in group.pixel_slopes:
        group.pixel_slopes[key] = _slopes(mixture, *key)
    vector = on_device(group.pixel_slopes[key], device, accumulation_dtype(device))
    return pixel_losses.pixel_losses(batch, plan, vector.view(-1, channels))


def _traced(mixture: Mixture, plan: Plan, batch: PixelBatch) -> Tensor:
    """Computes the losses in operations that tracers and learned parameters can follow."""
    samples, channels, count = batch.prediction.shape
    rows = REFERENCE.sums(batch.pixels_as_samples(), plan)
    losses = _losses(mixture, SoftConfusion.of_rows(rows, plan, exclusive=batch.is_exclusive))
    losses = losses.to(arithmetic_dtype(batch.prediction.dtype))
    shape = (samples, count, 1 if batch.is_exclusive else channels)
    return losses.reshape(shape).transpose(1, 2)


def _losses(mixture: Mixture, confusion: SoftConfusion) -> Tensor:
    """Returns the sums of losses, not divided by weights: (N,) or, for sigmoid, (N, C)."""
    first, *others = (
        entry.coefficient * entry.term.pixels(confusion)[0]
        for entry in mixture.components
        if isinstance(entry.term, PixelTerm)
    )
    return sum(others, start=first)


def _slopes(mixture: Mixture, plan: Plan, channels: int, exclusive: bool) -> tuple[float, ...]:
    """Returns the derivatives of a pixel's loss in the rows of the plan, flattened from (S, C).

    Raises:
        ValueError: The losses are not sums over pixels, so a single pixel has none.
    """
    with torch.enable_grad():
        # Two samples of different sums, and two others: losses that add up over pixels have equal
        # slopes everywhere, and losses that pool the samples may have equal ones in one place
        shape = (len(plan.rows), 2, channels)
        rows = torch.linspace(1, 2, shape[0] * shape[1] * shape[2], dtype=torch.float64)
        rows = rows.view(shape).requires_grad_()
        losses = _losses(mixture, SoftConfusion.of_rows(rows, plan, exclusive=exclusive))
        [slopes] = torch.autograd.grad(losses.sum(), rows)
        others = (rows.detach().flip(0, 2) ** 2).requires_grad_()
        of_others = _losses(mixture, SoftConfusion.of_rows(others, plan, exclusive=exclusive))
        [elsewhere] = torch.autograd.grad(of_others.sum(), others)
    total = (slopes * rows).sum().detach()
    if not (
        torch.allclose(slopes, elsewhere)
        and torch.allclose(slopes[:, 0], slopes[:, 1])
        and torch.allclose(total, losses.sum())
    ):
        raise ValueError(
            f"{mixture} has no loss of a single pixel: the losses that its pixels() returns do not "
            "add up over pixels. Use its mean or sum, CompoundLoss(reduction='mean'), or another "
            "term for losses of pixels."
        )
    return tuple(slopes[:, 0].flatten().tolist())
