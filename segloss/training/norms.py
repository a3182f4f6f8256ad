"""The norms of losses, as averages over training batches on all ranks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from segloss.batch.keys import Batch
from segloss.foundation.arguments import check_integer, shown
from segloss.foundation.distributed import all_reduce_sum, world_size
from segloss.losses.loss import Loss
from segloss.losses.multi_loss import MultiLoss

MAX_SAMPLES, MIN_SAMPLES = 1000, 0
"""The number of samples that is taken by default."""


def compute_norms(
    losses: Loss | MultiLoss | Sequence[Loss | MultiLoss],
    batches: Iterable[tuple[Batch, Batch]],
    max_samples: int | None = None,
    min_samples: int | None = None,
    *,
    on_samples: Callable[[int], Any] | None = None,
) -> int:
    """Sets the norms of losses to their averages over batches, on all ranks together.

    Each rank takes its own batches, always whole, until it has its share of `max_samples`;
    then the ranks, which must all call this, combine their averages. Gradients are off, for
    the computation of the batches too.

    Args:
        losses: One loss, or several, whose norms are forgotten first.
        batches: Pairs of pred_batch and gt_batch, such as `((model(x), y) for x, y in loader)`.
        max_samples: The number of samples of all ranks to take, at least 1. None: as the losses'
            `normalization_params` say, or 1000.
        min_samples: The least number of samples. None: as the losses'
            `normalization_params` say, or 0.
        on_samples: Called with the number of samples after each batch, to show progress.

    Returns:
        The number of samples, of all ranks.

    Raises:
        TypeError, ValueError: A number is wrong, too few samples came, or a loss can't be
            normalised over them. The norms are 1 then.

    Example:
        >>> from segloss import LossWrapper
        >>> loss = LossWrapper(torch.nn.L1Loss())
        >>> batches = [(torch.full((4, 1), 3.0), torch.zeros(4, 1))]
        >>> compute_norms(loss, batches), loss.norm.item()
        (4, 3.0)
    """
    each = _each(losses)
    most, least = sample_limits(each, max_samples, min_samples)
    try:
        for loss in each:
            loss.reset_norm()
        seen = _updated(each, batches, math.ceil(most / world_size()), on_samples)
        total = int(all_reduce_sum(torch.tensor(float(seen), dtype=torch.float64)).item())
        _check_enough(total, least)
    except BaseException:
        for loss in each:
            loss.reset_norm()
        raise
    for loss in each:
        loss.sync()
    return total


def _each(losses: Any) -> list[Loss | MultiLoss]:
    each = [losses] if isinstance(losses, nn.Module) else losses
    if not isinstance(each, (list, tuple)) or not each:
        raise TypeError(f"losses must be a loss, or a list of at least one, got {shown(losses)}.")
    for loss in each:
        if not isinstance(loss, (Loss, MultiLoss)):
            raise TypeError(
                "losses must be of segloss, with a norm (SegLoss, LossWrapper, MultiLoss ...), got "
                f"{shown(loss)}: wrap it, LossWrapper(loss)."
            )
    return list(each)


def sample_limits(
    losses: Sequence[Loss | MultiLoss], max_samples: int | None, min_samples: int | None
) -> tuple[int, int]:
    """Returns the greatest and the least number of samples to take.

    Raises:
        TypeError, ValueError: A number is wrong, or the two contradict each other.
    """
    most = _limit("max_samples", max_samples, losses, MAX_SAMPLES, 1)
    least = _limit("min_samples", min_samples, losses, MIN_SAMPLES, 0)
    if least > most:
        raise ValueError(
            f"min_samples must be at most max_samples={most}, got {least}: no more are looked at."
        )
    return most, least


def _limit(
    name: str, given: int | None, losses: Sequence[Loss | MultiLoss], default: int, low: int
) -> int:
    if given is not None:
        return check_integer(name, given, low)
    params = [loss.normalization_params for loss in losses if isinstance(loss, MultiLoss)]
    said = [each[name] for each in params if each.get(name) is not None]
    return max(
        (check_integer(f"normalization_params[{name!r}]", each, low) for each in said),
        default=default,
    )


@torch.no_grad()
def _updated(
    losses: Sequence[Loss | MultiLoss],
    batches: Iterable[tuple[Batch, Batch]],
    share: int,
    on_samples: Callable[[int], Any] | None,
) -> int:
    """Takes batches into the norms up to this rank's share; returns the number of samples."""
    seen = 0
    for pred_batch, gt_batch in _pairs(batches):
        count = _count(pred_batch) or _count(gt_batch)
        if not count:
            raise ValueError(
                "A batch must hold at least one tensor of at least one sample, got "
                f"{type(pred_batch).__name__} and {type(gt_batch).__name__} without."
            )
        for loss in losses:
            loss.update_norm(pred_batch, gt_batch, count)
        seen += count
        if on_samples is not None:
            on_samples(count)
        if seen >= share:
            break
    return seen


def _pairs(batches: Any) -> Iterator[tuple[Batch, Batch]]:
    if not isinstance(batches, Iterable):
        raise TypeError(f"batches must be an iterable of pairs, got {shown(batches)}.")
    for pair in batches:
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise TypeError(
                "batches must hold pairs, (pred_batch, gt_batch), got "
                f"{shown(pair)}: for example ((model(x), y) for x, y in loader)."
            )
        yield pair[0], pair[1]


def _count(batch: Any) -> int:
    """Returns the number of samples of the first tensor in a batch; 0 where there is none."""
    if isinstance(batch, Tensor):
        return len(batch) if batch.ndim else 0
    if isinstance(batch, Mapping):
        batch = list(batch.values())
    parts = batch if isinstance(batch, (list, tuple)) else ()
    return next((count for part in parts if (count := _count(part))), 0)


def _check_enough(total: int, least: int) -> None:
    if total < max(least, 1):
        raise ValueError(
            f"The norms must be averages over at least min_samples={max(least, 1)} samples of all "
            f"ranks, got {total}: give more training data, or set min_samples lower."
        )
