"""The evaluation of mixtures on a batch of pixels, for both functions and modules."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from segloss.batch.pixel_batch import PixelBatch
from segloss.foundation.device_constants import on_device
from segloss.foundation.distributed import RankSum
from segloss.foundation.gradients import Condition, no_gradient_if
from segloss.foundation.precision import arithmetic_dtype
from segloss.sums.analytic import OverlapRatio
from segloss.sums.autograd import PassResult, run
from segloss.sums.confusion import SoftConfusion
from segloss.terms.base import RegionTerm, Term
from segloss.terms.mixture.group import MixtureGroup, means_of
from segloss.terms.mixture.mixture import Entry

Info = dict[str, Tensor]
"""The means of a loss's terms by name, and their class means (C,) by "name_per_class"."""


def evaluate(
    group: MixtureGroup,
    batch: PixelBatch,
    add: RankSum | None = None,
    left_out: Tensor | None = None,
    infos: Sequence[Info] | None = None,
    unweighted: Sequence[Condition] = (),
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
    """
    is_local = add is None or not (add.enabled and add.is_active)
    result = run(batch, group.plan, group.analytic if is_local and left_out is None else None)
    dtype = arithmetic_dtype(batch.prediction.dtype)
    if result.losses is None:
        confusions = _confusions(group, result, unweighted)
        add = None if is_local else add
        losses = _by_autograd(group, group.components, confusions, add, infos, left_out)
        return losses.to(dtype)
    if infos is not None:
        _write_analytic(infos, group, result)
    if not group.autograd_components:
        return result.losses
    confusions = _confusions(group, result, unweighted)
    others = _by_autograd(group, group.autograd_components, confusions, None, infos)
    return result.losses + others.to(dtype)


def term_ratios(
    group: MixtureGroup, batch: PixelBatch, left_out: Tensor | None = None
) -> list[tuple[Tensor, Tensor]]:
    """Returns the numerator and denominator (), without a graph, of each term of a group.

    They add up over batches. A term with pooled sums has those of its mean over this batch.
    """
    with torch.no_grad():
        confusion = run(batch, group.plan).confusion()
        terms = [entry.term for _, entry in group.components]
        ratios = [term(_without(left_out, confusion, term)) for term in terms]
        return [(numerator.sum(), denominator.sum()) for numerator, denominator in ratios]


def _confusions(
    group: MixtureGroup,
    result: PassResult,
    unweighted: Sequence[Condition],
) -> list[SoftConfusion]:
    """Returns the sums for each loss, which have no gradient if the loss has no weight."""
    confusions = [
        SoftConfusion.of_rows(
            no_gradient_if(condition, result.rows), result.plan, exclusive=result.exclusive
        )
        for condition in (unweighted or [False])
    ]
    return confusions if unweighted else confusions * len(group.mixtures)


def _without(cells: Tensor | None, confusion: SoftConfusion, term: Term) -> SoftConfusion:
    """Returns the sums for a term: without the cells that region terms leave out."""
    if cells is None or not isinstance(term, RegionTerm):
        return confusion
    return confusion.leave_out(cells)


def _by_autograd(
    group: MixtureGroup,
    components: Sequence[tuple[int, Entry]],
    confusions: Sequence[SoftConfusion],
    add: RankSum | None,
    infos: Sequence[Info] | None,
    left_out: Tensor | None = None,
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
    means = means_of(ratios)
    if infos is not None:
        values = means.detach().unbind()
        for (loss, entry), ratio, value in zip(components, ratios, values, strict=True):
            infos[loss][entry.name] = value
            numerator, denominator = ratio
            if numerator.ndim > 0:
                infos[loss][f"{entry.name}_per_class"] = numerator.detach() / denominator.detach()
    losses = group.total(components, means)
    return losses.squeeze(0) if len(group.mixtures) == 1 else losses


def _write_analytic(infos: Sequence[Info], group: MixtureGroup, result: PassResult) -> None:
    """Writes the values of the analytic terms, which a kernel has computed, to `infos`."""
    assert result.values is not None
    assert result.per_class is not None
    values, per_class = result.values.unbind(), result.per_class.unbind()
    for i, (loss, entry, form) in enumerate(group.analytic_components):
        infos[loss][entry.name] = values[i]
        if isinstance(form, OverlapRatio):
            if form.reduction.pooled == "micro":
                continue
            selected = _select_classes(per_class[i], form.reduction.classes)
            infos[loss][f"{entry.name}_per_class"] = selected
        elif not result.exclusive:
            infos[loss][f"{entry.name}_per_class"] = per_class[i]


def _select_classes(per_class: Tensor, classes: tuple[int, ...] | None) -> Tensor:
    """Returns the values of some classes from those of all (C,): a view if they are consecutive."""
    if classes is None:
        return per_class
    if classes == tuple(range(classes[0], classes[0] + len(classes))):
        return per_class[classes[0] : classes[0] + len(classes)]
    return per_class[on_device(classes, per_class.device, torch.int64)]
