"""Terms: small functions of the pass's sums, as means over pixels or cells (sample, class).

Terms are values: frozen dataclasses, equal if their fields are, which numbers multiply and `+`
joins into a `Mixture`. A subclass becomes a dataclass by itself; its annotated attributes are its
parameters, by keyword. README.md beside this file says how to write one.
"""

from __future__ import annotations

import dataclasses
import inspect
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import torch
from torch import Tensor
from typing_extensions import Self, dataclass_transform

from segloss.foundation.arguments import (
    as_python,
    check_choice,
    check_flag,
    check_integer,
    check_weights,
    is_list,
    nearest,
    shown,
)
from segloss.sums.analytic import AnalyticForm
from segloss.sums.confusion import SoftConfusion
from segloss.sums.plan import COUNTS, REGION, SEMIMETRIC, Sum, check_sums
from segloss.sums.reduction import POOLED_DIMS, Reduction

if TYPE_CHECKING:
    from segloss.terms.mixture import Mixture

SOFT_LABELS = ("product", "metric")
"""The kinds of true positives for targets between 0 and 1."""


def mean(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Numerator over denominator; 0, with a gradient of 0, where there is nothing to average."""
    # Added, not filled in: autograd then keeps no mask, which hooks for saved tensors may convert
    endless = torch.zeros_like(denominator).masked_fill_(denominator.detach() <= 0, torch.inf)
    return numerator / (denominator + endless)


def total_mean(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Returns the mean over all classes, of the numerators and denominators of each."""
    return mean(numerator.sum(), denominator.sum())


def _as_ratio(tensors: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    numerator, denominator = tensors
    return numerator, denominator


class AdditiveStatistics(NamedTuple):
    """The statistics of a term that add up over samples, and the way from sums to its ratio.

    Attributes:
        tensors: The statistics: their sums over all samples are those of the whole batch.
        finish: From these to the numerator and denominator of each class's mean.
    """

    tensors: list[Tensor]
    finish: Callable[[Sequence[Tensor]], tuple[Tensor, Tensor]] = _as_ratio


@dataclass_transform(frozen_default=True, kw_only_default=True)
class Term:
    """A term of a compound loss: from the pass's sums to (numerator, denominator) of its mean.

    Attributes:
        name: What `extra_info` calls it.
        sums: The sums that it needs: names such as "region" and "squared_error", a `FocalSum` or
            a `MapSum`. It may be a property.
    """

    name: ClassVar[str]
    sums: ClassVar[Sequence[Sum]]
    __signature__: ClassVar[inspect.Signature]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "__init__" in cls.__dict__:
            raise TypeError(
                f"{cls.__name__} must not define __init__: a term is a frozen dataclass. Write its "
                "parameters as annotated attributes, such as factor: float = 2.0, and check them "
                "in __post_init__."
            )
        bare = [name for name, value in vars(cls).items() if _is_bare(cls, name, value)]
        if bare:
            raise TypeError(
                f"{cls.__name__}.{bare[0]} must be annotated to be a parameter: write "
                f"{bare[0]}: {type(vars(cls)[bare[0]]).__name__} = {vars(cls)[bare[0]]!r}."
            )
        if is_list(cls.__dict__.get("sums")):
            cls.sums = check_sums(cls.sums).sums
        dataclasses.dataclass(frozen=True, kw_only=True, repr=False)(cls)
        cls.__setattr__ = _refuse  # type: ignore[assignment, method-assign]
        signature = inspect.signature(cls.__init__)
        order = [signature.parameters[name] for name in parameters_of(cls)]
        cls.__signature__ = signature.replace(parameters=order)

    def __new__(cls, *values: Any, **parameters: Any) -> Self:
        """Says which parameters there are, where the dataclass would only say that one is not."""
        known = parameters_of(cls)
        takes = f"{cls.__name__} takes {_keywords(known)}"
        if values:
            raise TypeError(f"{takes}; got {shown(values[0])} without a keyword.")
        for name in parameters:
            if name not in known:
                raise TypeError(f"{takes}; got {name!r}{nearest(name, known)}.")
        return super().__new__(cls)

    def __post_init__(self) -> None:
        """Checks the parameters; a subclass calls it first."""

    def _set(self, **parameters: Any) -> None:
        """Sets parameters as checked, while the term is made."""
        for name, value in parameters.items():
            object.__setattr__(self, name, value)

    def losses_and_weights(self, confusion: SoftConfusion) -> tuple[Tensor, Tensor]:
        """Returns the loss of each cell (sample, class), and its weight in the mean."""
        raise NotImplementedError(
            f"{type(self).__name__} has no cells of its own: define losses_and_weights(), "
            "cell_loss() of a RegionTerm, pixels() of a PixelTerm, or components()."
        )

    def statistics(self, confusion: SoftConfusion) -> AdditiveStatistics:
        """Returns the statistics that add up over samples, on any rank."""
        losses, weights = self.losses_and_weights(confusion)
        return AdditiveStatistics([(weights * losses).sum(0), weights.sum(0)])

    def __call__(self, confusion: SoftConfusion) -> tuple[Tensor, Tensor]:
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

    def unreduced(self, confusion: SoftConfusion) -> Tensor:
        """Returns the loss of each cell, (N, C or 1), and 0 where it is left out."""
        losses, weights = self.losses_and_weights(confusion)
        kept = torch.where(weights > 0, losses, torch.zeros_like(losses))
        return kept if kept.ndim == 2 else kept.unsqueeze(1)

    @property
    def fits_any_classes(self) -> bool:
        """True if the term fits any number of classes."""
        return type(self).check_classes is Term.check_classes

    def check_classes(self, channels: int, activation: str = "softmax") -> None:
        """Raises ValueError if the term's parameters do not fit so many channels."""

    def analytic_form(self) -> AnalyticForm | None:
        """Returns the term in numbers that a kernel can read, where it has such a form."""
        return None

    def components(self, name: str) -> list[tuple[str, float, Term]]:
        """Returns the terms that it is made of, with names and coefficients: itself, for most."""
        return [(name, 1.0, self)]

    def named(self, name: str) -> Mixture:
        """Returns the term under a name of its own, for mixtures that have two of a kind."""
        return self._alone().named(name)

    def __mul__(self, coefficient: float) -> Mixture:
        return self._alone() * coefficient

    __rmul__ = __mul__

    def __add__(self, other: Term | Mixture) -> Mixture:
        return self._alone() + other

    def _alone(self) -> Mixture:
        from segloss.terms.mixture import Mixture  # which is made of terms

        return Mixture.of(self)

    def __repr__(self) -> str:
        fields = parameter_fields(type(self))
        given = {each.name: getattr(self, each.name) for each in fields}
        changed = [each.name for each in fields if not is_same(given[each.name], each.default)]
        written = ", ".join(f"{name}={_as_written(given[name])}" for name in changed)
        return f"{type(self).__name__}({written})"


def _keywords(names: Sequence[str]) -> str:
    return f"keyword arguments only, of {', '.join(names)}" if names else "no arguments"


def parameter_fields(term_type: type[Term]) -> list[dataclasses.Field[Any]]:
    """Returns a term's parameters, its own before those that it has from its bases."""
    fields = {each.name: each for each in dataclasses.fields(term_type) if each.init}  # type: ignore[arg-type]
    names = [name for base in term_type.__mro__ for name in inspect.get_annotations(base)]
    return [fields[name] for name in dict.fromkeys(names) if name in fields]


def parameters_of(term_type: type[Term]) -> list[str]:
    """Returns the names of the keyword arguments that a term takes."""
    return [each.name for each in parameter_fields(term_type)]


def is_same(value: Any, default: Any) -> bool:
    """Returns whether a parameter has its default, whatever it holds."""
    numbers = (int, float)
    comparable = type(value) is type(default) or (
        isinstance(value, numbers) and isinstance(default, numbers)
    )
    return value is default or (comparable and bool(value == default))


def _is_bare(term_type: type[Term], name: str, value: Any) -> bool:
    """Returns whether a class attribute is a number or text without an annotation."""
    plain = isinstance(value, (bool, int, float, str, list, tuple)) and name not in ("name", "sums")
    own = inspect.get_annotations(term_type)
    return plain and not name.startswith("_") and name not in own


def _refuse(term: Term, name: str, value: Any) -> None:
    raise dataclasses.FrozenInstanceError(
        f"cannot assign to {name!r}: a term is a value. Make another one, as in "
        f"dataclasses.replace(term, {name}={value!r}), and a mixture of it."
    )


def _as_written(value: Any) -> str:
    return repr(list(value) if isinstance(value, tuple) else value)


def overrides(term: Term, base: type[Term], names: Sequence[str]) -> bool:
    """Returns whether a term's class has one of these methods of its own, and not the base's."""
    return any(getattr(type(term), name) is not getattr(base, name) for name in names)


class PixelTerm(Term):
    """A weighted mean over all pixels of the batch, of what the pass has summed."""

    @abstractmethod
    def pixels(self, confusion: SoftConfusion) -> tuple[Tensor, Tensor]:
        """Returns the sums of losses and weights per sample, (N,), or per channel, (N, C)."""

    def losses_and_weights(self, confusion: SoftConfusion) -> tuple[Tensor, Tensor]:
        """Returns the mean of each sample (and channel, for sigmoid), and its weight."""
        losses, weights = self.pixels(confusion)
        return mean(losses, weights), weights

    def statistics(self, confusion: SoftConfusion) -> AdditiveStatistics:
        """Returns the sums over samples: per channel for sigmoid, of all classes for softmax."""
        losses, weights = self.pixels(confusion)
        return AdditiveStatistics([losses.sum(0), weights.sum(0)])


def pixel_count(confusion: SoftConfusion) -> Tensor:
    """Returns the sum of the pixels' weights, (N, C), or (N,) where all classes share a pixel."""
    return confusion.pixel_weight[:, 0] if confusion.exclusive else confusion.pixel_weight


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

    region_reduction: str = "sample"
    region_classes: Sequence[int] | None = None
    region_class_weights: Any = None
    skip_absent_classes: bool = False
    soft_labels: str = "product"
    reduction: Reduction = dataclasses.field(init=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("soft_labels", self.soft_labels, SOFT_LABELS)
        check_choice("region_reduction", self.region_reduction, POOLED_DIMS)
        check_flag("skip_absent_classes", self.skip_absent_classes)
        classes = _check_classes(self.region_classes)
        weights = check_weights("region_class_weights", self.region_class_weights)
        _check_class_weights(weights, self.region_reduction)
        reduction = Reduction(
            self.region_reduction,
            classes,
            None if weights is None else tuple(weights.tolist()),
            self.skip_absent_classes,
        )
        self._set(
            region_classes=classes, region_class_weights=reduction.weights, reduction=reduction
        )
        if classes is not None:
            reduction.check_classes(max(classes) + 1)

    @property
    def sums(self) -> tuple[Sum, ...]:  # type: ignore[override]
        """The soft confusion counts, or the semimetric's."""
        return (SEMIMETRIC if self.soft_labels == "metric" else REGION,)

    def cell_loss(self, confusion: SoftConfusion) -> Tensor:
        """Returns the loss of each cell, of the shape of the confusion's sums."""
        raise NotImplementedError(f"{type(self).__name__} must define cell_loss().")

    def losses_and_weights(self, confusion: SoftConfusion) -> tuple[Tensor, Tensor]:
        """Returns the loss of each cell that is left after pooling, and its weight in the mean."""
        return self.pooled_losses_and_weights(self.pooled(confusion))

    def pooled_losses_and_weights(self, pooled: SoftConfusion) -> tuple[Tensor, Tensor]:
        """Returns the same, of the sums as pooled."""
        losses = self.cell_loss(pooled)
        if losses.ndim != 2:
            raise ValueError(
                f"{type(self).__name__}.cell_loss() must return the loss of each cell, (N, C), got "
                f"the shape {tuple(losses.shape)}: means over cells are taken afterwards."
            )
        return losses, self.cell_weights(pooled)

    def statistics(self, confusion: SoftConfusion) -> AdditiveStatistics:
        """Returns the ratio of each class over its samples, or what is pooled before the term."""
        pooled = self.pooled(confusion)
        if self.region_reduction == "sample":
            return AdditiveStatistics(list(self._ratio(pooled)))

        def finish(tensors: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
            sums = dict(zip(pooled.sums, tensors, strict=True))
            return self._ratio(SoftConfusion(sums, pooled.exclusive))

        return AdditiveStatistics(list(pooled.sums.values()), finish)

    def _ratio(self, pooled: SoftConfusion) -> tuple[Tensor, Tensor]:
        """Numerators and denominators of each class, or of all where the term has pooled them."""
        losses, weights = self.pooled_losses_and_weights(pooled)
        numerator, denominator = (weights * losses).sum(0), weights.sum(0)
        if self.region_reduction == "micro" or len(numerator) < pooled.actual.shape[1]:
            return numerator.sum(), denominator.sum()
        return numerator, denominator

    @property
    def fits_any_classes(self) -> bool:
        """Whether `check_classes` has nothing to check."""
        own = type(self).check_classes is RegionTerm.check_classes
        return own and self.reduction.fits_any_classes

    def check_classes(self, channels: int, activation: str = "softmax") -> None:
        """Raises ValueError if the classes and their weights do not fit so many channels."""
        self.reduction.check_classes(channels)

    def pooled(self, confusion: SoftConfusion) -> SoftConfusion:
        """Returns the sums of the selected classes, pooled as the reduction says."""
        if not (self.reduction.pooled == "sample" and self.region_classes is None):
            rows = [row for each in (COUNTS, *self.sums) for row in each.rows]
            confusion = confusion.only([row.key for row in rows])
        if self.soft_labels == "metric":
            confusion = confusion.semimetric()
        return self.reduction.pool(confusion)

    def cell_weights(self, confusion: SoftConfusion) -> Tensor:
        """Returns the weight of each cell that is left after pooling: 0 where it is left out."""
        return self.reduction.cell_weights(confusion)


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
