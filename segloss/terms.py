r"""Terms: small functions of the pass's sums.

A term says which sums it needs and turns a `SoftConfusion` into the numerator and the denominator
of its mean. Region terms give a loss for each cell of samples and classes, and are averaged as
their `reduction` says. No term ever sees a pixel.
"""

from __future__ import annotations

import functools
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypedDict

import torch
from torch import Tensor, nn

from segloss.arguments import (
    as_python,
    check_choice,
    check_flag,
    check_integer,
    check_number,
    check_weights,
    is_list,
    nearest,
)
from segloss.confusion import SoftConfusion
from segloss.precision import Precise

if TYPE_CHECKING:
    from typing_extensions import Unpack

REDUCTIONS: dict[str, tuple[int, ...]] = {"sample": (), "batch": (0,), "micro": (0, 1)}
"""The dimensions of (samples, classes) that each region reduction pools before the term."""


def mean(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Numerator over denominator; 0, with a gradient of 0, where there is nothing to average."""
    return numerator / denominator.masked_fill(denominator <= 0, torch.inf)


def total_mean(numerator: Tensor, denominator: Tensor) -> Tensor:
    """The mean over all classes, of the numerators and denominators of each."""
    return mean(numerator.sum(), denominator.sum())


class Term(Precise):
    """A term of a compound loss: from the pass's sums to (numerator, denominator) of its mean."""

    name: ClassVar[str]
    sums: ClassVar[str]
    """The group of sums that the term needs."""

    @abstractmethod
    def cells(self, confusion: SoftConfusion) -> tuple[Tensor, Tensor]:
        """The loss of each cell of samples and classes, and the cell's weight in the mean."""

    def forward(self, confusion: SoftConfusion) -> tuple[Tensor, Tensor]:
        """Numerator and denominator of each class's mean; the ratio of their sums is the term.

        They are vectors (C,), or scalars where classes can't be told apart.
        """
        losses, weights = self.cells(confusion)
        return (weights * losses).sum(0), weights.sum(0)

    def kept_cells(self, confusion: SoftConfusion) -> Tensor:
        """The loss of each cell, (N, C or 1), and 0 where it is left out."""
        losses, weights = self.cells(confusion)
        kept = torch.where(weights > 0, losses, torch.zeros_like(losses))
        return kept if kept.ndim == 2 else kept.unsqueeze(1)


class CrossEntropy(Term):
    r"""Cross-entropy, binary for sigmoid, as one weighted mean over all pixels of the batch.

    .. math:: \frac{\sum w\,\mathrm{ce}}{\sum w}

    whose sums, class weights, `pos_weight` and label smoothing included, the pass has taken.
    """

    name = "cross_entropy"
    sums = "cross_entropy"

    def cells(self, confusion: SoftConfusion) -> tuple[Tensor, Tensor]:
        """The mean cross-entropy of each sample (and channel, for sigmoid), and its weight."""
        return mean(confusion.cross_entropy, confusion.weight), confusion.weight

    def forward(self, confusion: SoftConfusion) -> tuple[Tensor, Tensor]:
        """The sums over the samples, of each channel for sigmoid, of all classes for softmax."""
        return confusion.cross_entropy.sum(0), confusion.weight.sum(0)


class RegionOptions(TypedDict, total=False):
    """How a region term is averaged: the keyword arguments of `RegionTerm`."""

    region_reduction: str
    region_classes: Sequence[int] | None
    region_class_weights: Any
    skip_absent_classes: bool


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

    Cells whose pixels are all left out are left out too.

    Raises:
        TypeError, ValueError: An argument has a wrong type or value.
    """

    sums = "region"
    region_class_weights: Tensor | None

    def __init__(
        self,
        *,
        region_reduction: str = "sample",
        region_classes: Sequence[int] | None = None,
        region_class_weights: Any = None,
        skip_absent_classes: bool = False,
    ) -> None:
        super().__init__()
        self.region_reduction = check_choice("region_reduction", region_reduction, REDUCTIONS)
        self.region_classes = _check_classes(region_classes)
        self.skip_absent_classes = check_flag("skip_absent_classes", skip_absent_classes)
        weights = check_weights("region_class_weights", region_class_weights)
        _check_class_weights(weights, self.region_reduction)
        self.register_buffer("region_class_weights", weights)
        if self.region_classes is not None:
            self.check_channels(max(self.region_classes) + 1)

    @abstractmethod
    def cell_loss(self, confusion: SoftConfusion) -> Tensor:
        """The loss of each cell, of the shape of the confusion's sums."""

    def cells(self, confusion: SoftConfusion) -> tuple[Tensor, Tensor]:
        """The loss of each cell that is left after pooling, and its weight in the mean."""
        pooled = self._pooled(confusion)
        return self.cell_loss(pooled), self._cell_weights(pooled)

    def forward(self, confusion: SoftConfusion) -> tuple[Tensor, Tensor]:
        """Numerators and denominators of each class, or of all that "micro" has pooled."""
        numerator, denominator = super().forward(confusion)
        if self.region_reduction == "micro":
            return numerator.sum(), denominator.sum()
        return numerator, denominator

    def check_channels(self, channels: int) -> None:
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

    def _pooled(self, confusion: SoftConfusion) -> SoftConfusion:
        self.check_channels(confusion.actual.shape[1])
        if self.region_classes is not None:
            confusion = confusion.select(self.region_classes)
        dims = REDUCTIONS[self.region_reduction]
        return confusion.pool(dims) if dims else confusion

    def _cell_weights(self, confusion: SoftConfusion) -> Tensor:
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
        raise TypeError(f"region_classes must be a list of class indices, got {classes!r}.")
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


class Dice(RegionTerm):
    r"""Dice loss.

    .. math:: 1 - \frac{2\,TP + s}{\sum p + \sum g + s} = \frac{FP + FN}{2\,TP + FP + FN + s}

    in [0, 1): 0 for a perfect prediction. The right side has no difference of large numbers.

    Args:
        smooth: The smoothing s, at least 0. With 0, a cell with neither prediction nor target
            is perfect.
        **region: How the cells are averaged; see `RegionTerm`.

    Source: Milletari, Navab, Ahmadi, "V-Net" (2016), with the plain denominator.
    """

    name = "dice"

    def __init__(self, *, smooth: float = 1.0, **region: Unpack[RegionOptions]) -> None:
        super().__init__(**region)
        self.smooth = check_number("smooth", smooth)

    def cell_loss(self, confusion: SoftConfusion) -> Tensor:
        """The Dice loss of each cell."""
        wrong = confusion.false_positive + confusion.false_negative
        return mean(wrong, wrong.add(confusion.true_positive, alpha=2) + self.smooth)


class Jaccard(RegionTerm):
    r"""Jaccard (intersection over union) loss.

    .. math:: 1 - \frac{TP + s}{TP + FP + FN + s} = \frac{FP + FN}{TP + FP + FN + s}

    in [0, 1]: 0 for a perfect prediction.

    Args:
        smooth: The smoothing s, at least 0.
        **region: How the cells are averaged; see `RegionTerm`.

    Source: Rahman, Wang, "Optimizing intersection-over-union in deep neural networks for image
    segmentation" (2016).
    """

    name = "jaccard"

    def __init__(self, *, smooth: float = 0.0, **region: Unpack[RegionOptions]) -> None:
        super().__init__(**region)
        self.smooth = check_number("smooth", smooth)

    def cell_loss(self, confusion: SoftConfusion) -> Tensor:
        """The Jaccard loss of each cell."""
        wrong = confusion.false_positive + confusion.false_negative
        return mean(wrong, confusion.true_positive + wrong + self.smooth)


class Tversky(RegionTerm):
    r"""Tversky loss.

    .. math:: 1 - \frac{TP}{TP + \alpha FP + \beta FN}
        = \frac{\alpha FP + \beta FN}{TP + \alpha FP + \beta FN}

    in [0, 1]: 0 for a perfect prediction, and for a cell with neither prediction nor target.

    Args:
        alpha: The weight of false positives, at least 0.
        beta: The weight of false negatives, at least 0. A larger beta favours recall.
        **region: How the cells are averaged; see `RegionTerm`.

    Source: Salehi, Erdogmus, Gholipour, "Tversky loss function for image segmentation using 3D
    fully convolutional deep networks" (2017).
    """

    name = "tversky"

    def __init__(
        self, *, alpha: float = 0.3, beta: float = 0.7, **region: Unpack[RegionOptions]
    ) -> None:
        super().__init__(**region)
        self.alpha = check_number("alpha", alpha)
        self.beta = check_number("beta", beta)
        if self.alpha == self.beta == 0:
            raise ValueError("Tversky's alpha and beta must not both be 0.")

    def cell_loss(self, confusion: SoftConfusion) -> Tensor:
        """The Tversky loss of each cell."""
        wrong = (self.alpha * confusion.false_positive).add(
            confusion.false_negative, alpha=self.beta
        )
        return mean(wrong, confusion.true_positive + wrong)


class FocalTversky(Tversky):
    r"""Focal Tversky loss.

    .. math:: \left(1 - \frac{TP}{TP + \alpha FP + \beta FN}\right)^\gamma

    in [0, 1]. Where the Tversky loss is exactly 0, value and gradient are 0.

    Args:
        gamma: The exponent, above 0. Below 1 it steepens the loss near a perfect prediction.
        alpha: The weight of false positives, at least 0.
        beta: The weight of false negatives, at least 0.
        **region: How the cells are averaged; see `RegionTerm`.

    Source: Abraham, Khan, "A novel focal Tversky loss function with improved attention U-Net for
    lesion segmentation" (2019), whose gamma of 4/3 is the exponent's inverse, 0.75 here.
    """

    name = "focal_tversky"

    def __init__(
        self,
        *,
        alpha: float = 0.3,
        beta: float = 0.7,
        gamma: float = 0.75,
        **region: Unpack[RegionOptions],
    ) -> None:
        super().__init__(alpha=alpha, beta=beta, **region)
        self.gamma = check_number("gamma", gamma, open_low=True)

    def cell_loss(self, confusion: SoftConfusion) -> Tensor:
        """The focal Tversky loss of each cell."""
        loss = super().cell_loss(confusion)
        perfect = loss <= 0  # whose power has no finite slope
        return (loss.masked_fill(perfect, 1) ** self.gamma).masked_fill(perfect, 0)


class Compound(Precise):
    """Terms of a compound loss with their coefficients.

    Args:
        weighted: (coefficient, term) pairs; those of coefficient 0 are left out.

    Attributes:
        coefficients: The coefficients of the terms that are left, by name.
        terms: The terms themselves.
        sums: The groups of sums that they need.

    Raises:
        ValueError: No coefficient is above 0, or two terms have one name.
    """

    def __init__(self, weighted: Sequence[tuple[float, Term]]) -> None:
        super().__init__()
        used = [(coefficient, term) for coefficient, term in weighted if coefficient > 0]
        names = [term.name for _, term in used]
        if not used:
            raise ValueError(
                "One of bce_coef, dice_coef, tversky_focal_coef and extra_terms must be above 0: "
                "the loss has no term."
            )
        if len(set(names)) < len(names):
            raise ValueError(f"extra_terms must not repeat a term that is there: {names}.")
        self.coefficients = {term.name: coefficient for coefficient, term in used}
        self.terms = nn.ModuleDict({term.name: term for _, term in used})
        self.sums = sorted({term.sums for _, term in used})

    def check_channels(self, channels: int) -> None:
        """Raises ValueError if the terms' classes or weights do not fit so many channels."""
        for term in self.terms.values():
            if isinstance(term, RegionTerm):
                term.check_channels(channels)

    def forward(self, confusion: SoftConfusion) -> dict[str, tuple[Tensor, Tensor]]:
        """The numerators and denominators of each term."""
        return {name: term(confusion) for name, term in self.terms.items()}

    def means(self, ratios: Mapping[str, tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
        """The value of each term, from its numerators and denominators."""
        return {name: total_mean(*ratio) for name, ratio in ratios.items()}

    def total(self, means: Mapping[str, Tensor]) -> Tensor:
        """The sum of coefficients times terms, in the precision of the sums."""
        weighted = [coefficient * means[name] for name, coefficient in self.coefficients.items()]
        return functools.reduce(torch.add, weighted)

    def cells(self, confusion: SoftConfusion) -> Tensor:
        """The sum of coefficients times the terms' cells, (N, C), which must be of one shape.

        Cells that are left out count 0; softmax cross-entropy, which has one value per sample,
        counts in each of the sample's cells.
        """
        cells = [
            self.coefficients[term.name] * term.kept_cells(confusion)
            for term in self.terms.values()
            if isinstance(term, Term)
        ]
        return functools.reduce(torch.add, cells)


def seg_terms(
    *,
    bce_coef: float = 0.5,
    dice_coef: float = 0.5,
    tversky_focal_coef: float = 0.0,
    smooth: float = 1.0,
    tversky_alpha: float = 0.3,
    tversky_beta: float = 0.7,
    tversky_gamma: float = 0.75,
    extra_terms: Mapping[Any, float] | None = None,
    **region: Unpack[RegionOptions],
) -> Compound:
    """The compound that the arguments of `SegLoss` describe.

    Terms named in `extra_terms` have the same parameters as those of the coefficients.

    Raises:
        TypeError, ValueError: A coefficient or parameter is wrong, or no coefficient is above 0.
    """
    alpha = check_number("tversky_alpha", tversky_alpha)
    beta = check_number("tversky_beta", tversky_beta)
    gamma = check_number("tversky_gamma", tversky_gamma, open_low=True)
    named: dict[str, Term] = {
        "cross_entropy": CrossEntropy(),
        "dice": Dice(smooth=smooth, **region),
        "focal_tversky": FocalTversky(alpha=alpha, beta=beta, gamma=gamma, **region),
        "jaccard": Jaccard(**region),
        "tversky": Tversky(alpha=alpha, beta=beta, **region),
    }
    return Compound(
        [
            (check_number("bce_coef", bce_coef), named["cross_entropy"]),
            (check_number("dice_coef", dice_coef), named["dice"]),
            (check_number("tversky_focal_coef", tversky_focal_coef), named["focal_tversky"]),
            *_extra_terms(extra_terms, named),
        ]
    )


def _extra_terms(extra_terms: Any, named: Mapping[str, Term]) -> list[tuple[float, Term]]:
    if extra_terms is None:
        return []
    if not isinstance(extra_terms, Mapping):
        raise TypeError(
            f"extra_terms must be a mapping of terms to coefficients, such as "
            f"{{'jaccard': 0.2}}, got {extra_terms!r}."
        )
    return [
        (check_number(f"extra_terms[{key!r}]", coefficient), _extra_term(key, named))
        for key, coefficient in extra_terms.items()
    ]


def _extra_term(key: Any, named: Mapping[str, Term]) -> Term:
    if isinstance(key, Term):
        return key
    if key not in named:
        raise ValueError(
            f"extra_terms must hold terms or their names ({', '.join(named)}), got "
            f"{key!r}{nearest(key, named)}."
        )
    return named[key]
