"""Base classes of terms: means over pixels, or over cells. A cell is one (sample, class) pair.

Terms are values: frozen dataclasses, equal if their fields are equal. A number times a term, and a
sum of terms, is a `Mixture`. A subclass becomes a dataclass without a decorator; its annotated
attributes are its parameters, by keyword. README.md in this folder explains how to write one.
"""

from __future__ import annotations

import dataclasses
import inspect
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import torch
from torch import Tensor
from typing_extensions import Self, dataclass_transform

from segloss.foundation.arguments import (
    check_choice,
    check_classes,
    check_flag,
    check_text,
    check_weights,
    is_list,
    nearest,
    shown,
)
from segloss.sums.analytic import AnalyticForm
from segloss.sums.class_groups import ClassGroups
from segloss.sums.confusion import SoftConfusion
from segloss.sums.plan import (
    COUNTS,
    REGION,
    SEMIMETRIC,
    SEMIMETRIC_TRUE_NEGATIVE,
    TRUE_NEGATIVE,
    Sum,
    check_sums,
)
from segloss.sums.reduction import POOLED_DIMS, Reduction
from segloss.terms.algebra import Algebra, not_a_loss

if TYPE_CHECKING:
    from segloss.terms.mixture import Mixture

SOFT_LABELS = {
    "product": (REGION, TRUE_NEGATIVE),
    "metric": (SEMIMETRIC, SEMIMETRIC_TRUE_NEGATIVE),
}
"""The definitions of the counts for targets between 0 and 1, and their sums."""


OPTIONS_OF_LOSS = (
    "mode",
    "from_logits",
    "ignore_index",
    "class_weights",
    "pos_weight",
    "label_smoothing",
)
"""Arguments of a `CompoundLoss` that a caller may expect of its terms."""

_OF_LOSS = "an argument of the loss, as in CompoundLoss({}(), {}=...)"

GROUPS = ("components",)
"""The names of groups of pixels."""


def mean(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Returns numerator / denominator; 0, with a gradient of 0, if there is nothing to average."""
    # Infinity is added, not filled in: autograd then saves no mask, which hooks may convert
    empty = denominator.detach() <= 0
    infinity = torch.zeros_like(denominator).masked_fill_(empty, torch.inf)
    return numerator / (denominator + infinity)


LEAST_TOTAL = 1e-37
"""The smallest total of a share. Float32 can hardly hold the probabilities of smaller totals."""


def share(part: Tensor, other: Tensor) -> Tensor:
    """Returns part / (part + other); 0 if both are 0. Its slopes are accurate near 0 and near 1.

    A total below 1e-37 counts as 0. So kernels agree on such regions, and slopes fit float32.
    """
    total = part + other
    empty = total.detach() < LEAST_TOTAL
    total = total + torch.zeros_like(total).masked_fill_(empty, torch.inf)
    is_most = ((part.detach() > other.detach()) & ~empty).to(total.dtype)  # no mask, as in `mean`
    return is_most * (1 - other / total) + (1 - is_most) * (part / total)


def total_mean(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Returns the mean over all classes from the numerator and denominator of each class."""
    return mean(numerator.sum(), denominator.sum())


def _as_ratio(tensors: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    numerator, denominator = tensors
    return numerator, denominator


class AdditiveStatistics(NamedTuple):
    """The statistics of a term, which add up over samples, and the step to the term's ratio.

    Attributes:
        tensors: The statistics. The statistics of a batch are the sums over its samples, on any
            ranks.
        finish: The function that turns them into the numerator and denominator of each class.
    """

    tensors: list[Tensor]
    finish: Callable[[Sequence[Tensor]], tuple[Tensor, Tensor]] = _as_ratio


@dataclass_transform(frozen_default=True, kw_only_default=True)
class Term(Algebra):
    """A term of a compound loss: it turns sums into the (numerator, denominator) of a mean.

    Attributes:
        name: The name of the term in `extra_info`.
        sums: The sums that the term needs: names such as "region" and "squared_error", a
            `FocalSum` or another sum of `segloss.sums`. It may be a property.
        group_key: The key of the map that puts pixels into groups; None: the term needs none. It
            may be a property.
        has_score: True if one minus the loss is a score, such as the Dice score. It may be a
            property.
    """

    name: ClassVar[str]
    sums: ClassVar[Sequence[Sum]]
    group_key: ClassVar[str | None] = None
    has_score: ClassVar[bool] = False
    __signature__: ClassVar[inspect.Signature]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "__init__" in cls.__dict__:
            raise TypeError(
                f"{cls.__name__} must not define __init__: a term is a frozen dataclass. Write its "
                "parameters as annotated attributes, such as factor: float = 2.0, and check them "
                "in __post_init__."
            )
        for name, value in vars(cls).items():
            if _lacks_annotation(cls, name, value):
                raise TypeError(
                    f"{cls.__name__}.{name} must be annotated to be a parameter: write "
                    f"{name}: {type(value).__name__} = {value!r}."
                )
        if is_list(cls.__dict__.get("sums")):
            cls.sums = check_sums(cls.sums).sums
        dataclasses.dataclass(frozen=True, kw_only=True, repr=False)(cls)
        cls.__setattr__ = _refuse_assignment  # type: ignore[assignment, method-assign]
        signature = inspect.signature(cls.__init__)
        order = [signature.parameters[name] for name in parameters_of(cls)]
        cls.__signature__ = signature.replace(parameters=order)

    def __new__(cls, *values: Any, **parameters: Any) -> Self:
        """Returns a new term; an unknown argument raises an error that lists the parameters."""
        names = parameters_of(cls)
        keywords = f"only keyword arguments ({', '.join(names)})" if names else "no arguments"
        takes = f"{cls.__name__} takes {keywords}"
        if values:
            raise TypeError(f"{takes}; got {shown(values[0])} without a keyword.")
        for name in parameters:
            if name not in names:
                elsewhere = {each: _OF_LOSS.format(cls.__name__, each) for each in OPTIONS_OF_LOSS}
                raise TypeError(f"{takes}; got {name!r}{nearest(name, names, elsewhere)}.")
        return super().__new__(cls)

    def __post_init__(self) -> None:
        """Checks the parameters. A subclass calls `super().__post_init__()` first."""

    @property
    def pass_sums(self) -> tuple[Sum, ...]:
        """The sums that the pass computes for the term: `sums`, or those of groups of classes."""
        return check_sums(self.sums).sums

    def _set(self, **parameters: Any) -> None:
        """Sets parameters to their checked values, in `__post_init__` only."""
        for name, value in parameters.items():
            object.__setattr__(self, name, value)

    def losses_and_weights(self, confusion: SoftConfusion) -> tuple[Tensor, Tensor]:
        """Returns the loss of each cell and its weight in the mean."""
        raise NotImplementedError(
            f"{type(self).__name__} does not define a loss: write cell_loss() of a RegionTerm, "
            "pixels() of a PixelTerm, losses_and_weights() or components()."
        )

    def statistics(self, confusion: SoftConfusion) -> AdditiveStatistics:
        """Returns the statistics of this rank's samples, which add up over samples and ranks."""
        losses, weights = self.losses_and_weights(confusion)
        return AdditiveStatistics(list(self.over_samples(confusion, weights * losses, weights)))

    def over_samples(
        self, confusion: SoftConfusion, numerator: Tensor, denominator: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Returns the sums of the samples' parts (N, ...), times the factors of the samples.

        Raises:
            ValueError: The samples do not have parts: the term pools them itself.
        """
        factors = confusion.factors
        if factors is None:
            return numerator.sum(0), denominator.sum(0)
        if factors.shares is not None and numerator.shape[0] != factors.shares.shape[0]:
            raise ValueError(self._has_no_parts())
        if factors.weights is not None and numerator.shape[0] != factors.weights.shape[0]:
            raise ValueError(
                f"{self!r} has no loss for each sample, so samples can't have weights: leave "
                "sample_weights out, or return losses of each sample, (N, ...)."
            )
        return factors.of_numerator(numerator).sum(0), factors.of_denominator(denominator).sum(0)

    def _has_no_parts(self, remedy: str = "region_reduction='sample'") -> str:
        """Returns the message for factors of samples in a term that pools their sums."""
        return (
            f"{self!r} pools its sums over the batch, so samples can't have a mixup_lam each: "
            f"set {remedy}, or give one mixup_lam for the batch."
        )

    def __call__(self, confusion: SoftConfusion, *others: Any) -> tuple[Tensor, Tensor]:
        """Returns the numerator and denominator of each class; the term is the ratio of their sums.

        They are vectors (C,), or scalars if the term does not tell classes apart.
        """
        if others:
            raise TypeError(not_a_loss(self))
        if not isinstance(confusion, SoftConfusion):
            raise TypeError(
                f"confusion must be a SoftConfusion, got {type(confusion).__name__}: make one with "
                "segloss.soft_confusion(pred, target)."
            )
        tensors, finish = self.statistics(confusion)
        return finish(tensors)

    def unreduced(self, confusion: SoftConfusion) -> Tensor:
        """Returns the loss of each cell, (N, C) or (N, 1); 0 for cells that are left out."""
        losses, weights = self.losses_and_weights(confusion)
        kept = torch.where(weights > 0, losses, torch.zeros_like(losses))
        return kept if kept.ndim == 2 else kept.unsqueeze(1)

    @property
    def fits_any_classes(self) -> bool:
        """True if the parameters fit any number of classes."""
        return type(self).check_classes is Term.check_classes

    def check_classes(self, channels: int, activation: str = "softmax") -> None:
        """Raises ValueError if the parameters do not fit the number of channels."""

    def analytic_form(self) -> AnalyticForm | None:
        """Returns the formula as numbers that a kernel can read; None if it has no such form."""
        return None

    def components(self, name: str) -> list[tuple[str, float, Term]]:
        """Returns the terms in its sum, as (name, coefficient, term): for most, the term itself."""
        return [(name, 1.0, self)]

    def named(self, name: str) -> Mixture:
        """Returns the term under another name, for mixtures that have two terms of a kind."""
        return self._as_mixture().named(name)

    def __repr__(self) -> str:
        changed = changed_parameters(self).items()
        written = ", ".join(f"{name}={_as_written(value)}" for name, value in changed)
        return f"{type(self).__name__}({written})"


def parameter_fields(term_type: type[Term]) -> list[dataclasses.Field[Any]]:
    """Returns a term's parameters: first those of the class, then those of its base classes."""
    fields = {each.name: each for each in dataclasses.fields(term_type) if each.init}  # type: ignore[arg-type]
    names = [name for base in term_type.__mro__ for name in inspect.get_annotations(base)]
    return [fields[name] for name in dict.fromkeys(names) if name in fields]


def parameters_of(term_type: type[Term]) -> list[str]:
    """Returns the names of a term's parameters, its keyword arguments."""
    return [each.name for each in parameter_fields(term_type)]


def changed_parameters(term: Term) -> dict[str, Any]:
    """Returns the parameters of a term that differ from their defaults."""
    values = {each: getattr(term, each.name) for each in parameter_fields(type(term))}
    return {e.name: value for e, value in values.items() if not is_same(value, e.default)}


def is_same(value: Any, default: Any) -> bool:
    """Returns whether a parameter, of any type, equals its default."""
    numbers = (int, float)
    comparable = type(value) is type(default) or (
        isinstance(value, numbers) and isinstance(default, numbers)
    )
    return value is default or (comparable and bool(value == default))


def _lacks_annotation(term_type: type[Term], name: str, value: Any) -> bool:
    """Returns whether a class attribute looks like a parameter, but has no annotation."""
    inherited = [inspect.get_annotations(base).get(name) for base in term_type.__mro__[1:]]
    if name.startswith("_") or any("ClassVar" in str(each) for each in inherited):
        return False
    is_plain = isinstance(value, (bool, int, float, str, list, tuple))
    return is_plain and name not in inspect.get_annotations(term_type)


def _refuse_assignment(term: Term, name: str, value: Any) -> None:
    raise dataclasses.FrozenInstanceError(
        f"cannot assign to {name!r}: a term can't be changed. Make a new one, as in "
        f"dataclasses.replace(term, {name}={value!r}), and a new mixture with it."
    )


def _as_written(value: Any) -> str:
    return repr(list(value) if isinstance(value, tuple) else value)


def overrides(term: Term, base: type[Term], names: Sequence[str]) -> bool:
    """Returns whether the class of a term overrides any of these methods of `base`."""
    return any(getattr(type(term), name) is not getattr(base, name) for name in names)


class PixelTerm(Term):
    """A weighted mean over all pixels of the batch."""

    @abstractmethod
    def pixels(self, confusion: SoftConfusion) -> tuple[Tensor, Tensor]:
        """Returns the sums of losses and of weights: (N,), or (N, C) if channels have their own.

        Losses add up over pixels, so they are linear in the sums. A single pixel then has a loss,
        which `reduction="none"` returns.
        """

    def losses_and_weights(self, confusion: SoftConfusion) -> tuple[Tensor, Tensor]:
        """Returns the mean of each sample (and channel, for sigmoid) and its weight."""
        losses, weights = self.pixels(confusion)
        return mean(losses, weights), weights

    def statistics(self, confusion: SoftConfusion) -> AdditiveStatistics:
        """Returns the sums over samples: (C,) for sigmoid, scalars for softmax."""
        return AdditiveStatistics(list(self.over_samples(confusion, *self.pixels(confusion))))


def pixel_count(confusion: SoftConfusion) -> Tensor:
    """Returns the sum of the pixels' weights: (N, C), or (N,) for softmax."""
    return confusion.pixel_weight[:, 0] if confusion.exclusive else confusion.pixel_weight


class RegionTerm(Term):
    """A loss of regions, computed for each cell, that is, for each (sample, class) pair.

    Args:
        region_reduction: "sample": the mean over all cells; "batch": the sums are pooled over the
            batch first, and the mean is taken over classes; "micro": everything is pooled into one
            cell; "sample_micro": the classes of each sample are pooled, and the mean is taken over
            samples.
        region_classes: The classes that count, such as `[1, 2]` for all but the background; None:
            all.
        region_class_weights: Their weights in the mean, one for each class; None: 1 for all.
        skip_absent_classes: True to leave out cells whose class does not occur in the target.
        soft_labels: The definition of true positives. "product": sums of p g, for which the best p
            at g = 1/2 is 1; "metric": sums of min(p, g), for which the best p is g (Wang et al.
            2023), as soft targets need. For targets of 0 and 1 they are the same.
        region_groups: "components": one cell for each connected component of a class, instead of
            one for each class, so that a small object counts as much as a large one. A mapping of
            names to lists of classes, such as `{"vehicle": [1, 2, 3]}`: one cell for each of these
            groups, with softmax. None: one cell for each class.
        components_key: The key of the map of components in `gt_batch`, (N, C, *spatial), as
            `segloss.maps.ComponentMap` computes it.

    A cell is left out if all its pixels are left out.

    With "components", the cell of a component has the component's pixels and those of no component,
    but not those of other components. The loss of a sample and class is the mean over its
    components. If there are none, it has one cell of all its pixels, in which false positives count
    as usual.

    With groups of classes, the probability of a group is the sum of its classes' probabilities, and
    its target the sum of theirs. Groups may overlap, and may leave out classes. Each is a region
    against everything else, like a sigmoid channel, and takes the place of a class in the means:
    `region_class_weights` has a weight for each group.

    Attributes:
        counts_true_negatives: True if the class needs true negatives beside the other counts.
        mixes_classes: True if the loss of a cell depends on the sums of several classes.
        mixes_softmax: The same, only for classes of a softmax.

    Raises:
        TypeError, ValueError: An argument has a wrong type or value.
    """

    counts_true_negatives: ClassVar[bool] = False
    mixes_classes: ClassVar[bool] = False
    mixes_softmax: ClassVar[bool] = False
    region_reduction: str = "sample"
    region_classes: Sequence[int] | None = None
    region_class_weights: Any = None
    skip_absent_classes: bool = False
    soft_labels: str = "product"
    region_groups: str | Mapping[str, Sequence[int]] | None = None
    components_key: str = "gt_components"
    reduction: Reduction = dataclasses.field(init=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("soft_labels", self.soft_labels, SOFT_LABELS)
        check_choice("region_reduction", self.region_reduction, POOLED_DIMS)
        check_flag("skip_absent_classes", self.skip_absent_classes)
        classes = None
        if self.region_classes is not None:
            classes = check_classes("region_classes", self.region_classes)
        weights = check_weights("region_class_weights", self.region_class_weights)
        reduction = Reduction(
            self.region_reduction,
            classes,
            None if weights is None else tuple(weights.tolist()),
            self.skip_absent_classes,
        )
        _check_class_weights(weights, reduction)
        self._set(
            region_classes=classes, region_class_weights=reduction.weights, reduction=reduction
        )
        if classes is not None:
            reduction.check_classes(max(classes) + 1)
        check_text("components_key", self.components_key)
        if isinstance(self.region_groups, Mapping):
            self._set(region_groups=ClassGroups.checked(self.region_groups))
            self._check_class_groups()
        elif self.region_groups is not None:
            self._check_components()

    def _check_class_groups(self) -> None:
        """Raises ValueError if the other arguments do not fit the groups of classes."""
        groups = self.class_groups
        assert groups is not None
        if self.region_classes is not None:
            raise ValueError(
                "region_groups takes the place of region_classes, got both: leave region_classes="
                "None, and give the classes that count as groups of one, as in "
                "region_groups={'road': [1], 'vehicle': [2, 3]}."
            )
        weights = self.region_class_weights
        if weights is not None and len(weights) != len(groups):
            raise ValueError(
                "region_class_weights must have one weight per group of region_groups: expected "
                f"{len(groups)} ({', '.join(groups)}), got {len(weights)}."
            )

    def _check_components(self) -> None:
        """Raises ValueError if `region_groups` is unknown, or does not fit the other arguments."""
        if not isinstance(self.region_groups, str) or self.region_groups not in GROUPS:
            raise ValueError(
                "region_groups must be 'components' or a mapping of names to lists of classes, "
                f"such as {{'vehicle': [1, 2, 3]}}, got {shown(self.region_groups)}"
                f"{nearest(self.region_groups, GROUPS)}."
            )
        if self.region_reduction != "sample":
            raise ValueError(
                f"region_groups='components' has cells within a sample, but region_reduction="
                f"{self.region_reduction!r} adds up the sums of all samples first: use "
                "region_reduction='sample'."
            )
        if self.mixes_classes:
            raise ValueError(
                "region_groups='components' has cells of one class each, but "
                f"{type(self).__name__} compares classes with each other: use another term, such "
                "as Dice(region_groups='components')."
            )

    @property
    def group_key(self) -> str | None:  # type: ignore[override]
        """The key of the map of components, or None."""
        return self.components_key if isinstance(self.region_groups, str) else None

    @property
    def class_groups(self) -> ClassGroups | None:
        """The groups of classes that have cells in place of the classes, or None."""
        return self.region_groups if isinstance(self.region_groups, ClassGroups) else None

    @property
    def sums(self) -> tuple[Sum, ...]:  # type: ignore[override]
        """The soft confusion counts, or the sums of the semimetric."""
        counts = SOFT_LABELS[self.soft_labels]
        return counts if self.counts_true_negatives else counts[:1]

    @property
    def pass_sums(self) -> tuple[Sum, ...]:
        """The sums of classes, or of groups of classes."""
        sums = super().pass_sums
        groups = self.class_groups
        return sums if groups is None else groups.sums(sums, type(self).__name__)

    def cell_loss(self, confusion: SoftConfusion) -> Tensor:
        """Returns the loss of each cell, (N, C), from sums of the same shape."""
        raise NotImplementedError(f"{type(self).__name__} must define cell_loss().")

    def losses_and_weights(self, confusion: SoftConfusion) -> tuple[Tensor, Tensor]:
        """Returns the loss of each cell after pooling, and its weight in the mean."""
        if self.group_key is None:
            return self.pooled_losses_and_weights(self.pooled(confusion))
        cells = self.pooled(confusion.components())
        losses, weights = self.pooled_losses_and_weights(cells)
        if losses.shape != cells.actual.shape:
            raise ValueError(
                f"{type(self).__name__} has one loss for several classes, but region_groups="
                "'components' needs one for each: leave region_groups=None."
            )
        return _over_components(losses, weights, confusion.actual.shape[0])

    def pooled_losses_and_weights(self, pooled: SoftConfusion) -> tuple[Tensor, Tensor]:
        """Returns the loss of each cell and its weight from sums that are pooled already."""
        losses = self.cell_loss(pooled)
        if losses.ndim != 2:
            raise ValueError(
                f"{type(self).__name__}.cell_loss() must return the loss of each cell, (N, C), got "
                f"the shape {tuple(losses.shape)}: the mean over cells is taken afterwards."
            )
        return losses, self.cell_weights(pooled)

    def statistics(self, confusion: SoftConfusion) -> AdditiveStatistics:
        """Returns numerators and denominators, or this rank's sums if samples are pooled."""
        if self.group_key is not None:
            return super().statistics(confusion)
        if not self.reduction.pools_samples:
            return AdditiveStatistics(list(self._ratio(self.pooled(confusion))))
        if confusion.factors is not None and confusion.factors.shares is not None:
            raise ValueError(self._has_no_parts())
        pooled = self.pooled(confusion)

        def finish(tensors: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
            sums = dict(zip(pooled.sums, tensors, strict=True))
            return self._ratio(SoftConfusion(sums, pooled.exclusive))

        return AdditiveStatistics(list(pooled.sums.values()), finish)

    def _ratio(self, pooled: SoftConfusion) -> tuple[Tensor, Tensor]:
        """Returns numerators and denominators: (C,), or scalars if there is one value for all."""
        losses, weights = self.pooled_losses_and_weights(pooled)
        numerator, denominator = self.over_samples(pooled, weights * losses, weights)
        if self.reduction.pools_classes or len(numerator) < pooled.actual.shape[1]:
            return numerator.sum(), denominator.sum()
        return numerator, denominator

    @property
    def fits_any_classes(self) -> bool:
        """True if `check_classes` has nothing to check."""
        if self.class_groups is not None or (self.group_key is not None and self.mixes_softmax):
            return False
        is_inherited = type(self).check_classes is RegionTerm.check_classes
        return is_inherited and self.reduction.fits_any_classes

    def check_classes(self, channels: int, activation: str = "softmax") -> None:
        """Raises ValueError if the classes and their weights do not fit the number of channels."""
        if self.class_groups is not None:
            self.class_groups.check_channels(channels, activation)
        else:
            self.reduction.check_classes(channels)
        if self.group_key is not None and self.mixes_softmax and activation == "softmax":
            raise ValueError(
                "region_groups='components' has cells of one class each, but with softmax "
                f"{type(self).__name__} compares the classes with each other: use another term, "
                "such as Dice(region_groups='components')."
            )

    def pooled(self, confusion: SoftConfusion) -> SoftConfusion:
        """Returns the sums of the selected classes, pooled according to `region_reduction`."""
        if self.class_groups is not None:
            confusion = confusion.of_class_groups(self.class_groups)
        if not (self.reduction.pooled == "sample" and self.region_classes is None):
            rows = [row for each in (COUNTS, *self.sums) for row in each.rows]
            confusion = confusion.only([row.key for row in rows])
        if SEMIMETRIC in self.sums:
            confusion = confusion.semimetric()
        return self.reduction.pool(confusion)

    def cell_weights(self, confusion: SoftConfusion) -> Tensor:
        """Returns the weight of each cell after pooling; 0 for cells that are left out."""
        return self.reduction.cell_weights(confusion)


def _over_components(losses: Tensor, weights: Tensor, samples: int) -> tuple[Tensor, Tensor]:
    """Returns the means over the components of each sample, and their weights, (N, C).

    Args:
        losses: The losses of components, (N K, C).
        weights: Their weights, likewise; 0 if a component is left out.
        samples: The number of samples N.
    """
    components = losses.shape[0] // samples if samples else 1
    shape = (samples, components, losses.shape[1])
    losses, weights = losses.reshape(shape), weights.reshape(shape)
    return mean((weights * losses).sum(1), weights.sum(1)), weights.amax(1)


def _check_class_weights(weights: Tensor | None, reduction: Reduction) -> None:
    if weights is not None and reduction.pools_classes:
        raise ValueError(
            "region_class_weights needs a mean over classes, but "
            f"region_reduction={reduction.pooled!r} pools them into one cell: use 'sample' or "
            "'batch'."
        )
