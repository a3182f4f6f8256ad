"""Mixtures that share one pass over the same pixels: their sums and terms."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from segloss.foundation.device_constants import on_device
from segloss.sums.analytic import Addend, AnalyticTerms
from segloss.sums.confusion import SoftConfusion
from segloss.sums.plan import Plan, plan_of
from segloss.terms.base import PixelTerm, Term, mean
from segloss.terms.mixture.mixture import Entry, Mixture


class MixtureGroup:
    """The mixtures of several losses of the same pixels, prepared for one pass.

    All attributes follow from the mixtures, which can't change.

    Args:
        mixtures: The mixtures of the losses, each with a term.

    Attributes:
        mixtures: The mixtures, as a tuple.
        plan: The sums that they need.
        analytic: The terms with an analytic form, for kernels; None if there are none.
        analytic_components: The same terms, as (index of the loss, entry, analytic form).
        autograd_components: The other terms, as (index of the loss, entry).
        components: All terms, as (index of the loss, entry).
        class_dependent: The terms that do not fit every number of classes.
        pixel_slopes: The slopes of a pixel's loss, as `segloss.terms.mixture.pixels` caches them.
    """

    def __init__(self, mixtures: Sequence[Mixture]) -> None:
        self.mixtures = tuple(mixture.check_used() for mixture in mixtures)
        self.components = tuple(
            (loss, entry)
            for loss, mixture in enumerate(self.mixtures)
            for entry in mixture.components
        )
        self.plan: Plan = plan_of(
            (each for _, entry in self.components for each in entry.term.pass_sums),
            _group_key(entry.term for _, entry in self.components),
        )
        with_forms = [(loss, entry, entry.term.analytic_form()) for loss, entry in self.components]
        self.autograd_components = tuple(
            (loss, entry) for loss, entry, form in with_forms if form is None
        )
        self.analytic_components = tuple(
            (loss, entry, form) for loss, entry, form in with_forms if form is not None
        )
        self.analytic: AnalyticTerms | None = None
        if self.analytic_components:
            addends = tuple(
                Addend(loss, entry.coefficient, form)
                for loss, entry, form in self.analytic_components
            )
            self.analytic = AnalyticTerms(addends, len(self.mixtures), self._analytic_losses)
        self.class_dependent = tuple(
            entry.term for _, entry in self.components if not entry.term.fits_any_classes
        )

        self.pixel_slopes: dict[tuple[Plan, int, bool], tuple[float, ...]] = {}

    def __repr__(self) -> str:
        return f"MixtureGroup({list(self.mixtures)})"

    def check_classes(self, channels: int, activation: str) -> None:
        """Raises ValueError if the terms' parameters do not fit the number of channels."""
        for term in self.class_dependent:
            term.check_classes(channels, activation)

    def check_annotated(self, name: str) -> None:
        """Raises ValueError if a term would learn classes that are not annotated as background.

        Args:
            name: The name of the annotations in messages.
        """
        for _, entry in self.components:
            if isinstance(entry.term, PixelTerm):
                raise ValueError(
                    f"{name} says that classes are not annotated, and {entry.name} would learn "
                    "them as background: set merge_unannotated=True, which adds their probability "
                    "to the background's, or leave the term out."
                )

    def total(self, components: Sequence[tuple[int, Entry]], means: Tensor) -> Tensor:
        """Returns the losses (K,), each a sum of coefficients times means, from the means (T,)."""
        counts = [sum(i == loss for i, _ in components) for loss in range(len(self.mixtures))]
        coefficients = tuple(entry.coefficient for _, entry in components)
        weighted = on_device(coefficients, means.device, means.dtype) * means
        if len(counts) == 1:
            return weighted.sum(0, keepdim=True)
        return torch.stack([values.sum() for values in weighted.split_with_sizes(counts)])

    def _analytic_losses(self, confusion: SoftConfusion) -> Tensor:
        components = [(loss, entry) for loss, entry, _ in self.analytic_components]
        means = means_of([entry.term(confusion) for _, entry in components])
        return self.total(components, means)


def _group_key(terms: Iterable[Term]) -> str | None:
    """Returns the key of the terms' component map, or None if no term has one."""
    keys = {term.group_key for term in terms} - {None}
    if len(keys) > 1:
        raise ValueError(
            "The terms of a loss must have one map of components, since one pass groups its pixels "
            f"once, got components_key={' and '.join(sorted(map(repr, keys)))}: use several losses "
            "in a MultiLoss."
        )
    return next(iter(keys), None)


def means_of(ratios: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """Returns the means of terms, (T,), from their numerators and denominators."""
    numerators, denominators = zip(*ratios, strict=True)
    return mean(
        torch.stack([*map(_over_classes, numerators)]),
        torch.stack([*map(_over_classes, denominators)]),
    )


def sums_of(ratios: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """Returns the sums of terms, (T,): the numerators of their means."""
    return torch.stack([_over_classes(numerator) for numerator, _ in ratios])


def _over_classes(tensor: Tensor) -> Tensor:
    """Returns the sum over classes; returns a scalar unchanged."""
    return tensor.sum() if tensor.ndim > 0 else tensor
