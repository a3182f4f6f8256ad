"""Mixtures that look at the same pixels: their sums, and which terms a kernel takes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from segloss.foundation.device_constants import on_device
from segloss.sums.analytic import Addend, AnalyticTerms
from segloss.sums.confusion import SoftConfusion
from segloss.sums.plan import Plan, check_sums, plan_of
from segloss.terms.base import mean
from segloss.terms.mixture.mixture import Entry, Mixture


class MixtureGroup:
    """Losses of the same pixels: what one pass needs to know of their mixtures.

    Everything here follows from the mixtures, which can't change.

    Args:
        mixtures: The mixtures of the losses, each with a term.

    Attributes:
        mixtures: These.
        plan: The sums that they need.
        analytic: The terms with an analytic form, as kernels read them; None: there are none.
        analytic_components: These terms: the loss's index, the term, and its analytic form.
        autograd_components: The other terms, with the loss's index.
        components: All terms, with the loss's index.
        class_dependent: The terms whose parameters fit some numbers of classes alone.
    """

    def __init__(self, mixtures: Sequence[Mixture]) -> None:
        self.mixtures = tuple(mixture.check_used() for mixture in mixtures)
        self.components = tuple(
            (place, part) for place, each in enumerate(self.mixtures) for part in each.components
        )
        self.plan: Plan = plan_of(
            each for _, part in self.components for each in check_sums(part.term.sums).sums
        )
        found = [(place, part, part.term.analytic_form()) for place, part in self.components]
        addends = [(p, Addend(p, part.coefficient, f)) for p, part, f in found if f is not None]
        self.autograd_components = tuple(
            (place, part) for place, part, form in found if form is None
        )
        self.analytic_components = tuple(each for each in found if each[2] is not None)
        self.analytic: AnalyticTerms | None = None
        if addends:
            self.analytic = AnalyticTerms(
                tuple(addend for _, addend in addends), len(self.mixtures), self._analytic_losses
            )
        self.class_dependent = tuple(
            part.term for _, part in self.components if not part.term.fits_any_classes
        )

    def __repr__(self) -> str:
        return f"MixtureGroup({list(self.mixtures)})"

    def check_classes(self, channels: int, activation: str) -> None:
        """Raises ValueError if the terms' parameters do not fit so many channels."""
        for term in self.class_dependent:
            term.check_classes(channels, activation)

    def total(self, parts: Sequence[tuple[int, Entry]], means: Tensor) -> Tensor:
        """Returns the losses (K,), of the means (T,) of some of the terms.

        Each loss is the sum of coefficients times terms.
        """
        counts = [sum(place == loss for place, _ in parts) for loss in range(len(self.mixtures))]
        coefficients = tuple(part.coefficient for _, part in parts)
        weighted = on_device(coefficients, means.device, means.dtype) * means
        if len(counts) == 1:
            return weighted.sum(0, keepdim=True)
        return torch.stack([values.sum() for values in weighted.split_with_sizes(counts)])

    def _analytic_losses(self, confusion: SoftConfusion) -> Tensor:
        parts = [(place, part) for place, part, _ in self.analytic_components]
        return self.total(parts, means_of([part.term(confusion) for _, part in parts]))


def means_of(ratios: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """Returns the values of terms, (T,), from their numerators and denominators."""
    numerators, denominators = zip(*ratios, strict=True)
    return mean(
        torch.stack([*map(_summed, numerators)]), torch.stack([*map(_summed, denominators)])
    )


def _summed(ratio: Tensor) -> Tensor:
    """Returns the sum over classes, where there are any."""
    return ratio.sum() if ratio.ndim > 0 else ratio
