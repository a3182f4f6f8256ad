"""What a term is: a small function of the pass's sums, as a mean over pixels or over cells."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple, TypedDict

import torch
from torch import Tensor

from segloss.arguments import (
    as_python,
    check_choice,
    check_flag,
    check_integer,
    check_weights,
    is_list,
    shown,
)
from segloss.confusion import SoftConfusion
from segloss.confusion.sums import names_of
from segloss.precision import Precise

REDUCTIONS: dict[str, tuple[int, ...]] = {"sample": (), "batch": (0,), "micro": (0, 1)}
"""The dimensions of (samples, classes) that each region reduction pools before the term."""


SOFT_LABELS = ("product", "metric")
"""What a true positive is where targets lie between 0 and 1."""


def mean(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Numerator over denominator; 0, with a gradient of 0, where there is nothing to average."""
    return numerator / denominator.masked_fill(denominator <= 0, torch.inf)


def total_mean(numerator: Tensor, denominator: Tensor) -> Tensor:
    """The mean over all classes, of the numerators and denominators of each."""
    return mean(numerator.sum(), denominator.sum())


def _as_ratio(tensors: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    numerator, denominator = tensors
    return numerator, denominator


class Statistics(NamedTuple):
    """What of a term adds up over samples, and what makes its ratio of the sums.

    Attributes:
        tensors: The statistics: their sums over all samples are those of the whole batch.
        finish: From these to the numerator and denominator of each class's mean.
    """

    tensors: list[Tensor]
    finish: Callable[[Sequence[Tensor]], tuple[Tensor, Tensor]] = _as_ratio


class Term(Precise):
    """A term of a compound loss: from the pass's sums to (numerator, denominator) of its mean."""

    name: ClassVar[str]
    sums: tuple[str, ...]
    """The groups of sums that the term needs."""

    maps: tuple[str, ...] = ()
    """The keys of the maps in `gt_batch` that these sums need."""

    takes_region_options: ClassVar[bool] = False
    """Whether its arguments include `RegionOptions`."""

    @abstractmethod
    def cells(self, confusion: SoftConfusion) -> tuple[Tensor, Tensor]:
        """The loss of each cell of samples and classes, and the cell's weight in the mean."""

    def statistics(self, confusion: SoftConfusion) -> Statistics:
        """What of the term adds up over samples, on whichever rank they are."""
        losses, weights = self.cells(confusion)
        return Statistics([(weights * losses).sum(0), weights.sum(0)])

    def forward(self, confusion: SoftConfusion) -> tuple[Tensor, Tensor]:
        """Numerator and denominator of each class's mean; the ratio of their sums is the term.

        They are vectors (C,), or scalars where classes can't be told apart.
        """
        if not isinstance(confusion, SoftConfusion):
            raise TypeError(
                f"confusion must be a SoftConfusion, got {type(confusion).__name__}: make one with "
                "segloss.soft_confusion(pred, target)."
            )
        tensors, finish = self.statistics(confusion)
        return finish(tensors)

    def kept_cells(self, confusion: SoftConfusion) -> Tensor:
        """The loss of each cell, (N, C or 1), and 0 where it is left out."""
        losses, weights = self.cells(confusion)
        kept = torch.where(weights > 0, losses, torch.zeros_like(losses))
        return kept if kept.ndim == 2 else kept.unsqueeze(1)

    def check_classes(self, channels: int, activation: str = "softmax") -> None:
        """Raises ValueError if the term's parameters do not fit so many channels."""

    def parts(self, name: str) -> list[tuple[str, float, Term]]:
        """The terms that it is made of, with names and coefficients: itself, for most."""
        return [(name, 1.0, self)]


class PixelTerm(Term):
    """A weighted mean over all pixels of the batch, of what the pass has summed."""

    @abstractmethod
    def pixels(self, confusion: SoftConfusion) -> tuple[Tensor, Tensor]:
        """The sums of losses and weights, of each sample, (N,), or with its channels, (N, C)."""

    def cells(self, confusion: SoftConfusion) -> tuple[Tensor, Tensor]:
        """The mean of each sample (and channel, for sigmoid), and its weight."""
        losses, weights = self.pixels(confusion)
        return mean(losses, weights), weights

    def statistics(self, confusion: SoftConfusion) -> Statistics:
        """The sums over the samples, of each channel for sigmoid, of all classes for softmax."""
        losses, weights = self.pixels(confusion)
        return Statistics([losses.sum(0), weights.sum(0)])


def pixel_count(confusion: SoftConfusion) -> Tensor:
    """The sum of the pixels' weights, (N, C), or (N,) where all classes share a pixel."""
    return confusion.pixel_weight[:, 0] if confusion.exclusive else confusion.pixel_weight


class RegionOptions(TypedDict, total=False):
    """How a region term is averaged: the keyword arguments of `RegionTerm`."""

    region_reduction: str
    region_classes: Sequence[int] | None
    region_class_weights: Any
    skip_absent_classes: bool
    soft_labels: str


class RegionTerm(Term):
    """A loss of overlap, computed for each cell of samples and classes.

    Args:
        region_reduction: "sample": the mean over all (sample, class) cells; "batch": the sums are
            pooled over the batch first, and the mean goes over classes; "micro": everything is
            pooled into one cell.
        region_classes: The classes to look at (None: all), such as `[1, 2]` for all but the
            background.
        region_class_weights: Their weights in the mean, one for each, or None.
        skip_absent_classes: Whether to leave out cells whose class does not occur in the target.
        soft_labels: "product": true positives are sums of p g, whose best p for a g of 1/2 is 1;
            "metric": of min(p, g), whose best p is g itself (Wang et al. 2023), which is what soft
            targets should get. For targets of 0 and 1 both are the same.

    Cells whose pixels are all left out are left out too.

    Raises:
        TypeError, ValueError: An argument has a wrong type or value.
    """

    takes_region_options = True
    region_class_weights: Tensor | None

    def __init__(
        self,
        *,
        region_reduction: str = "sample",
        region_classes: Sequence[int] | None = None,
        region_class_weights: Any = None,
        skip_absent_classes: bool = False,
        soft_labels: str = "product",
    ) -> None:
        super().__init__()
        self.soft_labels = check_choice("soft_labels", soft_labels, SOFT_LABELS)
        self.sums = ("metric" if soft_labels == "metric" else "region",)
        self.region_reduction = check_choice("region_reduction", region_reduction, REDUCTIONS)
        self.region_classes = _check_classes(region_classes)
        self.skip_absent_classes = check_flag("skip_absent_classes", skip_absent_classes)
        weights = check_weights("region_class_weights", region_class_weights)
        _check_class_weights(weights, self.region_reduction)
        self.register_buffer("region_class_weights", weights)
        if self.region_classes is not None:
            self.check_classes(max(self.region_classes) + 1)

    @abstractmethod
    def cell_loss(self, confusion: SoftConfusion) -> Tensor:
        """The loss of each cell, of the shape of the confusion's sums."""

    def cells(self, confusion: SoftConfusion) -> tuple[Tensor, Tensor]:
        """The loss of each cell that is left after pooling, and its weight in the mean."""
        return self.pooled_cells(self.pooled(confusion))

    def pooled_cells(self, pooled: SoftConfusion) -> tuple[Tensor, Tensor]:
        """The same, of the sums as pooled."""
        return self.cell_loss(pooled), self.cell_weights(pooled)

    def statistics(self, confusion: SoftConfusion) -> Statistics:
        """The ratio of each class over its samples, or what is pooled before the term."""
        pooled = self.pooled(confusion)
        if self.region_reduction == "sample":
            return Statistics(list(self._ratio(pooled)))

        def finish(tensors: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
            sums = dict(zip(pooled.sums, tensors, strict=True))
            return self._ratio(SoftConfusion(sums, pooled.exclusive))

        return Statistics(list(pooled.sums.values()), finish)

    def _ratio(self, pooled: SoftConfusion) -> tuple[Tensor, Tensor]:
        """Numerators and denominators of each class, or of all where the term has pooled them."""
        losses, weights = self.pooled_cells(pooled)
        numerator, denominator = (weights * losses).sum(0), weights.sum(0)
        if self.region_reduction == "micro" or len(numerator) < pooled.actual.shape[1]:
            return numerator.sum(), denominator.sum()
        return numerator, denominator

    def check_classes(self, channels: int, activation: str = "softmax") -> None:
        """Raises ValueError if the classes and their weights do not fit so many channels."""
        if self.region_classes is not None and max(self.region_classes) >= channels:
            raise ValueError(
                f"region_classes={list(self.region_classes)} is out of range: there are "
                f"{channels} classes (0 to {channels - 1})."
            )
        weights, classes = self.region_class_weights, self.region_classes
        expected = channels if classes is None else len(classes)
        if weights is not None and len(weights) != expected:
            raise ValueError(
                f"region_class_weights must have one weight per class: expected {expected}, got "
                f"{len(weights)}."
            )

    def pooled(self, confusion: SoftConfusion) -> SoftConfusion:
        """The sums of the selected classes, pooled as the reduction says."""
        self.check_classes(confusion.actual.shape[1])
        dims = REDUCTIONS[self.region_reduction]
        if self.region_classes is not None or dims:
            confusion = confusion.only(names_of(self.sums))
        if "metric" in self.sums:
            confusion = confusion.metric()
        if self.region_classes is not None:
            confusion = confusion.select(self.region_classes)
        return confusion.pool(dims) if dims else confusion

    def cell_weights(self, confusion: SoftConfusion) -> Tensor:
        """The weight of each cell that is left after pooling: 0 where it is left out."""
        included = confusion.pixel_weight > 0
        if self.skip_absent_classes:
            included = included & (confusion.actual > 0)
        weights = included.to(confusion.actual.dtype)
        if self.region_class_weights is None:
            return weights
        return weights * self.region_class_weights.to(weights)


def _check_classes(classes: Any) -> tuple[int, ...] | None:
    classes = as_python(classes)
    if classes is None:
        return None
    if not is_list(classes):
        raise TypeError(f"region_classes must be a list of class indices, got {shown(classes)}.")
    checked = tuple(check_integer("region_classes", entry, 0) for entry in classes)
    if not checked or len(set(checked)) < len(checked):
        raise ValueError(
            f"region_classes must name at least one class, and none twice, got {list(checked)}."
        )
    return checked


def _check_class_weights(weights: Tensor | None, reduction: str) -> None:
    if weights is not None and reduction == "micro":
        raise ValueError(
            "region_class_weights needs a mean over classes, and region_reduction='micro' pools "
            "them into one cell: use 'sample' or 'batch'."
        )
