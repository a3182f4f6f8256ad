"""The evaluation of mixtures on a batch of pixels, for both functions and modules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from segloss.batch.pixel_batch import PixelBatch
from segloss.foundation.arguments import shown
from segloss.foundation.distributed import RankSum
from segloss.foundation.gradients import Condition, no_gradient_if
from segloss.foundation.precision import arithmetic_dtype
from segloss.sums.analytic import OverlapRatio
from segloss.sums.autograd import PassResult, run
from segloss.sums.confusion import SampleFactors, SoftConfusion
from segloss.terms.base import RegionTerm, Term
from segloss.terms.mixture.group import MixtureGroup, means_of, sums_of
from segloss.terms.mixture.mixture import Entry, Mixture
from segloss.terms.mixture.pixels import has_pixels, losses_of_pixels

REDUCTIONS = ("mean", "sum", "none")
"""The names of reductions over pixels, or over samples and classes."""

Info = dict[str, Tensor]
"""The means () of a loss's terms by name, and of their classes by name and class: "dice/2"."""


def evaluate(
    group: MixtureGroup,
    batch: PixelBatch,
    add: RankSum | None = None,
    left_out: Tensor | None = None,
    infos: Sequence[Info] | None = None,
    unweighted: Sequence[Condition] = (),
    class_names: Sequence[str] | None = None,
    shares: Tensor | None = None,
    *,
    is_sum: bool = False,
) -> Tensor:
    """Returns the losses of a group, (K,), or () if there is one, in the arithmetic dtype.

    Args:
        group: The mixtures of the losses.
        batch: The batch, checked by `as_pixel_batch`.
        add: The function that adds up the terms' statistics over ranks, or None.
        left_out: The cells (N, C), each a (sample, class) pair, that the region terms leave out,
            as a boolean mask; or None.
        infos: A dictionary for each loss, to which the values of the terms are written, detached;
            or None.
        unweighted: For each loss, True if its weight is 0, so that its gradient is 0 whatever its
            value; () if all have weights.
        class_names: The names of the classes in `infos`; None: their indices.
        shares: The factors (N,) of the samples' parts of the losses, or None for 1.
        is_sum: True for the sums of the terms, the numerators of their means.
    """
    is_local = add is None or not (add.enabled and add.is_active)
    factors = _factors(batch, shares)
    is_plain = is_local and left_out is None and factors is None and not is_sum
    result = run(batch, group.plan, group.analytic if is_plain else None)
    dtype = arithmetic_dtype(batch.prediction.dtype)
    if result.losses is None:
        confusions = _confusions(group, result, unweighted, factors)
        add = None if is_local else add
        losses = _by_autograd(
            group,
            group.components,
            confusions,
            add,
            infos,
            left_out,
            class_names,
            is_sum=is_sum,
        )
        return losses.to(dtype)
    if infos is not None:
        _write_analytic(infos, group, result, class_names)
    if not group.autograd_components:
        return result.losses
    confusions = _confusions(group, result, unweighted)
    others = _by_autograd(
        group, group.autograd_components, confusions, None, infos, None, class_names
    )
    return result.losses + others.to(dtype)


def per_class(info: Mapping[str, Tensor], term: str) -> Tensor:
    """Returns the values of a term's classes, (C,), from the extra information of a loss.

    If the term has one value for all classes, it returns this value, (1,).

    Args:
        info: The extra information, which has the value of each class under a name of its own:
            "dice/0", "dice/1" ..., or "dice/background" with `class_names`.
        term: The name of the term, such as "dice".

    Raises:
        TypeError: `info` is not a mapping.
        KeyError: The term is not in `info`.

    Example:
        >>> from segloss import SegLoss
        >>> value, info = SegLoss(n_classes=3)(torch.zeros(1, 3, 4), torch.tensor([[0, 0, 1, 2]]))
        >>> per_class(info, "dice")
        tensor([0.4615, 0.5000, 0.5000], dtype=torch.float64)
    """
    if not isinstance(info, Mapping):
        raise TypeError(
            f"info must be the extra information of a loss, got {shown(info)}: pass the second "
            "entry of its result, as in value, info = loss(prediction, target)."
        )
    if term not in info:
        raise KeyError(
            f"{term!r} is not in the extra information, which has: {', '.join(info) or 'nothing'}."
        )
    values = [value for name, value in info.items() if name.startswith(f"{term}/")]
    return torch.stack(values or [info[term]])


def reduced(
    group: MixtureGroup,
    batch: PixelBatch,
    reduction: str,
    shape: Sequence[int],
    add: RankSum | None = None,
    left_out: Tensor | None = None,
    shares: Tensor | None = None,
) -> Tensor:
    """Returns the loss of one mixture after a reduction, in the arithmetic dtype.

    Args:
        group: The mixture.
        batch: The batch, checked by `as_pixel_batch`.
        reduction: "mean" or "sum": a scalar. "none": the loss of each pixel if all terms are means
            over pixels, in the shape of a label map or, for sigmoid, of the prediction; else the
            loss of each cell, (N, C) or (N, 1).
        shape: The shape of the prediction.
        add: See `evaluate`.
        left_out: See `evaluate`.
        shares: See `evaluate`.
    """
    if reduction != "none":
        return evaluate(group, batch, add, left_out, shares=shares, is_sum=reduction == "sum")
    [mixture] = group.mixtures
    factors = _factors(batch, shares)
    if has_pixels(mixture):
        losses = _in_space(losses_of_pixels(group, batch), shape, batch.is_exclusive)
    else:
        losses = _losses_of_cells(mixture, run(batch, group.plan).confusion(factors), left_out)
    losses = losses if factors is None else factors.of_numerator(losses)
    return losses.to(arithmetic_dtype(batch.prediction.dtype))


def _in_space(losses: Tensor, shape: Sequence[int], exclusive: bool) -> Tensor:
    """Returns the losses of pixels (N, 1 or C, P) in the shape that users know."""
    if len(shape) == 2:  # masks of pixels, without an axis of channels
        return losses.squeeze(1)
    samples, rows, _ = losses.shape
    return losses.reshape(samples, *[] if exclusive else [rows], *shape[2:])


def _losses_of_cells(
    mixture: Mixture, confusion: SoftConfusion, left_out: Tensor | None = None
) -> Tensor:
    """Returns the loss of each cell, (N, C): the sum of coefficients times unreduced terms.

    A cell is one (sample, class) pair; cells that are left out are 0. A mean over pixels is that of
    the cell, and with softmax that of the sample, which counts in each of the sample's cells. If
    all terms have one value per sample, the result is (N, 1).
    """
    first, *others = (
        entry.coefficient * entry.term.unreduced(_without(left_out, confusion, entry.term))
        for entry in mixture.components
    )
    return sum(others, start=first)


def term_ratios(
    group: MixtureGroup, batch: PixelBatch, left_out: Tensor | None = None
) -> list[tuple[Tensor, Tensor]]:
    """Returns the numerator and denominator (), without a graph, of each term of a group.

    They add up over batches. A term with pooled sums has those of its mean over this batch.
    """
    with torch.no_grad():
        confusion = run(batch, group.plan).confusion(_factors(batch))
        terms = [entry.term for _, entry in group.components]
        ratios = [term(_without(left_out, confusion, term)) for term in terms]
        return [(numerator.sum(), denominator.sum()) for numerator, denominator in ratios]


def _confusions(
    group: MixtureGroup,
    result: PassResult,
    unweighted: Sequence[Condition],
    factors: SampleFactors | None = None,
) -> list[SoftConfusion]:
    """Returns the sums for each loss, which have no gradient if the loss has no weight."""
    confusions = [
        SoftConfusion.of_rows(
            no_gradient_if(condition, result.rows),
            result.plan,
            exclusive=result.exclusive,
            factors=factors,
        )
        for condition in (unweighted or [False])
    ]
    return confusions if unweighted else confusions * len(group.mixtures)


def _without(cells: Tensor | None, confusion: SoftConfusion, term: Term) -> SoftConfusion:
    """Returns the sums for a term: without the cells that region terms leave out."""
    if cells is None or not isinstance(term, RegionTerm):
        return confusion
    return confusion.leave_out(cells)


def _factors(batch: PixelBatch, shares: Tensor | None = None) -> SampleFactors | None:
    """Returns the factors of the samples in means, or None if all are 1."""
    weights = batch.sample_weights
    return None if weights is None and shares is None else SampleFactors(weights, shares)


def _by_autograd(
    group: MixtureGroup,
    components: Sequence[tuple[int, Entry]],
    confusions: Sequence[SoftConfusion],
    add: RankSum | None,
    infos: Sequence[Info] | None,
    left_out: Tensor | None = None,
    class_names: Sequence[str] | None = None,
    *,
    is_sum: bool = False,
) -> Tensor:
    """Returns the losses (K,) or () of some terms, from the sums of each loss under autograd."""
    statistics = [
        entry.term.statistics(_without(left_out, confusions[loss], entry.term))
        for loss, entry in components
    ]
    tensors = [each.tensors for each in statistics]
    if add is not None:
        tensors = list(add({str(i): each for i, each in enumerate(tensors)}).values())
    ratios = [each.finish(summed) for each, summed in zip(statistics, tensors, strict=True)]
    means = sums_of(ratios) if is_sum else means_of(ratios)
    if infos is not None:
        values = means.detach().unbind()
        for (loss, entry), ratio, value in zip(components, ratios, values, strict=True):
            infos[loss][entry.name] = value
            numerator, denominator = ratio
            if numerator.ndim > 0:
                of_classes = (numerator.detach() / denominator.detach()).unbind()
                term = entry.term
                classes = term.region_classes if isinstance(term, RegionTerm) else None
                names = class_names
                if isinstance(term, RegionTerm) and term.class_groups is not None:
                    names = term.class_groups.names
                    classes = range(len(names))
                _write_classes(infos[loss], entry.name, of_classes, classes, names)
    losses = group.total(components, means)
    return losses.squeeze(0) if len(group.mixtures) == 1 else losses


def _write_analytic(
    infos: Sequence[Info],
    group: MixtureGroup,
    result: PassResult,
    class_names: Sequence[str] | None,
) -> None:
    """Writes the values of the analytic terms, which a kernel has computed, to `infos`."""
    assert result.values is not None
    assert result.per_class is not None
    values, of_terms = result.values.unbind(), result.per_class.unbind()
    for i, (loss, entry, form) in enumerate(group.analytic_components):
        infos[loss][entry.name] = values[i]
        classes = None
        if isinstance(form, OverlapRatio):
            if form.reduction.pooled == "micro":
                continue
            classes = form.reduction.classes
        elif result.exclusive:
            continue
        of_all = of_terms[i].unbind()
        of_classes = of_all if classes is None else [of_all[c] for c in classes]
        _write_classes(infos[loss], entry.name, of_classes, classes, class_names)


def _write_classes(
    info: Info,
    name: str,
    values: Sequence[Tensor],
    classes: Sequence[int] | None,
    class_names: Sequence[str] | None,
) -> None:
    """Writes the values of several classes, whose names are their indices if none are given."""
    indices = range(len(values)) if classes is None else classes
    if classes is None and len(values) == 1:
        return  # the value of the term
    for index, value in zip(indices, values, strict=True):
        info[f"{name}/{index if class_names is None else class_names[index]}"] = value
