"""The evaluation of mixtures on a batch of pixels, for functions and modules alike."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from segloss.batch.pixel_batch import PixelBatch
from segloss.foundation.device_constants import on_device
from segloss.foundation.distributed import RankSum
from segloss.foundation.precision import arithmetic_dtype
from segloss.sums.analytic import OverlapRatio
from segloss.sums.autograd import PassResult, run
from segloss.terms.mixture.group import MixtureGroup, means_of
from segloss.terms.mixture.mixture import Entry

Info = dict[str, Tensor]
"""A loss's terms by name, and their means of each class, (C,), as "name_per_class"."""


def evaluate(
    group: MixtureGroup,
    batch: PixelBatch,
    add: RankSum | None = None,
    left_out: Tensor | None = None,
    infos: Sequence[Info] | None = None,
) -> Tensor:
    """Returns the losses of a group, (K,) or () for one, in the pixels' arithmetic.

    Args:
        group: The losses.
        batch: The batch, as `as_pixel_batch` has checked them.
        add: What adds up the terms' statistics over ranks, or None.
        left_out: Cells (N, C) that the region terms leave out, or None.
        infos: Where the values of the terms go, without a graph: a dictionary for each loss.
    """
    is_local = add is None or not (add.enabled and add.is_active)
    outcome = run(batch, group.plan, group.analytic if is_local and left_out is None else None)
    if outcome.losses is None:
        return _by_autograd(
            group, group.components, outcome, batch, None if is_local else add, left_out, infos
        )
    if infos is not None:
        _write_analytic(infos, group, outcome)
    if not group.autograd_components:
        return outcome.losses
    return outcome.losses + _by_autograd(
        group, group.autograd_components, outcome, batch, None, None, infos
    )


def _by_autograd(
    group: MixtureGroup,
    parts: Sequence[tuple[int, Entry]],
    outcome: PassResult,
    batch: PixelBatch,
    add: RankSum | None,
    left_out: Tensor | None,
    infos: Sequence[Info] | None,
) -> Tensor:
    """Returns the losses of some of the terms, in operations on the sums that autograd follows."""
    confusion = outcome.confusion()
    if left_out is not None:
        confusion = confusion.leave_out(left_out)
    statistics = [part.term.statistics(confusion) for _, part in parts]
    tensors = [each.tensors for each in statistics]
    if add is not None:
        tensors = list(add({str(place): each for place, each in enumerate(tensors)}).values())
    ratios = [each.finish(of) for each, of in zip(statistics, tensors, strict=True)]
    means = means_of(ratios)
    if infos is not None:
        for (loss, part), ratio, value in zip(parts, ratios, means.detach().unbind(), strict=True):
            infos[loss][part.name] = value
            numerator, denominator = ratio
            if numerator.ndim > 0:
                infos[loss][f"{part.name}_per_class"] = numerator.detach() / denominator.detach()
    losses = group.total(parts, means).to(arithmetic_dtype(batch.prediction.dtype))
    return losses.squeeze(0) if len(group.mixtures) == 1 else losses


def _write_analytic(infos: Sequence[Info], group: MixtureGroup, outcome: PassResult) -> None:
    """Writes the values of the analytic terms that a kernel has computed."""
    assert outcome.values is not None
    assert outcome.per_class is not None
    values, per_class = outcome.values.unbind(), outcome.per_class.unbind()
    for place, (loss, part, form) in enumerate(group.analytic_components):
        infos[loss][part.name] = values[place]
        if isinstance(form, OverlapRatio):
            if form.reduction.pooled == "micro":
                continue
            infos[loss][f"{part.name}_per_class"] = _chosen(
                per_class[place], form.reduction.classes
            )
        elif not outcome.exclusive:
            infos[loss][f"{part.name}_per_class"] = per_class[place]


def _chosen(of_classes: Tensor, classes: tuple[int, ...] | None) -> Tensor:
    """Returns the values (C,) of some classes: a view where they follow each other."""
    if classes is None:
        return of_classes
    if classes == tuple(range(classes[0], classes[0] + len(classes))):
        return of_classes[classes[0] : classes[0] + len(classes)]
    return of_classes[on_device(classes, of_classes.device, torch.int64)]
