"""Computes the norms of losses, as averages over training batches on all ranks.

The losses accumulate the averages (`Loss.update_norm`); each trainer's folder provides the batches.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from segloss.batch.keys import Batch
from segloss.foundation.arguments import check_integer, shown
from segloss.foundation.distributed import all_reduce_sum, world_size
from segloss.losses.loss import Loss
from segloss.losses.multi_loss import MultiLoss

_MAX_SAMPLES, _MIN_SAMPLES = 1000, 0
"""The default limits on the number of samples."""


def compute_norms(
    losses: Loss | MultiLoss | Sequence[Loss | MultiLoss],
    batches: Iterable[tuple[Batch, Batch]],
    max_samples: int | None = None,
    min_samples: int | None = None,
    *,
    on_samples: Callable[[int], Any] | None = None,
) -> int:
    """Sets the norms of losses to their averages over batches, on all ranks together.

    Each rank reads its own batches, and each batch in full, until it has its share of
    `max_samples`; then the ranks, which must all call this function, combine their averages.
    Gradients are off, also while the batches are computed. The order of the batches and their
    sizes make no difference, and tiles without labels do not count (see `Loss.update_norm`).

    Args:
        losses: One loss, or several; their earlier norms are discarded first.
        batches: Pairs of pred_batch and gt_batch, such as `((model(x), y) for x, y in loader)`.
        max_samples: The number of samples to use, over all ranks, at least 1. None: from the
            losses' `normalization_params`, or 1000.
        min_samples: The minimum number of samples. None: from the losses' `normalization_params`,
            or 0.
        on_samples: A function that is called with the number of samples after each batch, to show
            progress.

    Returns:
        The number of samples, over all ranks.

    Raises:
        TypeError, ValueError: An argument is wrong, there are too few samples, or a loss can't be
            normalised over them. All norms are 1 then.

    Example:
        >>> from segloss import LossWrapper
        >>> loss = LossWrapper(torch.nn.L1Loss())
        >>> batches = [(torch.full((4, 1), 3.0), torch.zeros(4, 1))]
        >>> compute_norms(loss, batches), loss.norm.item()
        (4, 3.0)
    """
    if isinstance(batches, nn.Module) and not isinstance(losses, nn.Module):
        raise TypeError(
            f"losses must be losses, got {shown(losses)}: they come first, compute_norms(losses, "
            "batches)."
        )
    if isinstance(batches, (nn.Module, DataLoader)):
        raise TypeError(
            f"batches must yield predictions with targets, got {shown(batches)}: pass ((model(x), "
            "y) for x, y in loader). If a data loader yields predictions, pass iter(loader)."
        )
    loss_list = _as_losses(losses)
    max_samples, min_samples = sample_limits(loss_list, max_samples, min_samples)
    try:
        for loss in loss_list:
            loss.reset_norm()
        share = math.ceil(max_samples / world_size())
        seen = _update_norms(loss_list, batches, share, on_samples)
        total = int(all_reduce_sum(torch.tensor(float(seen), dtype=torch.float64)).item())
        _check_enough(total, min_samples)
        for loss in loss_list:
            loss.sync()
            loss.check_norm()
    except BaseException:
        for loss in loss_list:
            loss.reset_norm()
        raise
    return total


def sample_limits(
    losses: Sequence[Loss | MultiLoss], max_samples: int | None, min_samples: int | None
) -> tuple[int, int]:
    """Returns the maximum and the minimum number of samples to use.

    Raises:
        TypeError, ValueError: A number is wrong, or the two contradict each other.
    """
    greatest = _limit("max_samples", max_samples, losses, _MAX_SAMPLES, 1)
    least = _limit("min_samples", min_samples, losses, _MIN_SAMPLES, 0)
    if least > greatest:
        raise ValueError(
            f"min_samples must be at most max_samples={greatest}, got {least}: no more samples "
            "than that are used."
        )
    return greatest, least


def _limit(
    name: str, argument: int | None, losses: Sequence[Loss | MultiLoss], default: int, low: int
) -> int:
    """Returns a limit from the argument, from `normalization_params`, or the default."""
    if argument is not None:
        return check_integer(name, argument, low)
    params = [loss.normalization_params for loss in losses if isinstance(loss, MultiLoss)]
    limits = [entry[name] for entry in params if entry.get(name) is not None]
    return max(
        (check_integer(f"normalization_params[{name!r}]", limit, low) for limit in limits),
        default=default,
    )


def _as_losses(losses: Any) -> list[Loss | MultiLoss]:
    loss_list = [losses] if isinstance(losses, nn.Module) else losses
    if not isinstance(loss_list, (list, tuple)) or not loss_list:
        raise TypeError(f"losses must be a loss, or a list of at least one, got {shown(losses)}.")
    for loss in loss_list:
        if not isinstance(loss, (Loss, MultiLoss)):
            raise TypeError(
                "losses must be losses of segloss, which have a norm (SegLoss, LossWrapper, "
                f"MultiLoss ...), got {shown(loss)}: wrap it, LossWrapper(loss)."
            )
    return list(loss_list)


@torch.no_grad()
def _update_norms(
    losses: Sequence[Loss | MultiLoss],
    batches: Iterable[tuple[Batch, Batch]],
    share: int,
    on_samples: Callable[[int], Any] | None,
) -> int:
    """Updates the norms with batches up to this rank's share; returns the number of samples."""
    seen = 0
    for pred_batch, gt_batch in _checked_pairs(batches):
        count = _n_samples(pred_batch) or _n_samples(gt_batch)
        if not count:
            raise ValueError(
                "A batch must hold at least one tensor of at least one sample, got "
                f"{type(pred_batch).__name__} and {type(gt_batch).__name__} without one."
            )
        for loss in losses:
            loss.update_norm(pred_batch, gt_batch, count)
        seen += count
        if on_samples is not None:
            on_samples(count)
        if seen >= share:
            break
    return seen


def _checked_pairs(batches: Any) -> Iterator[tuple[Batch, Batch]]:
    if not isinstance(batches, Iterable):
        raise TypeError(f"batches must be an iterable of pairs, got {shown(batches)}.")
    for pair in batches:
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise TypeError(
                f"batches must hold pairs, (pred_batch, gt_batch), got {shown(pair)}: for example "
                f"{_example(pair)}."
            )
        yield pair[0], pair[1]


def _example(batch: Any) -> str:
    """Returns an expression that makes pairs of such batches."""
    if isinstance(batch, Mapping) and batch:
        return f"((model(batch[{next(iter(batch))!r}]), batch) for batch in loader)"
    more = ", *_" if isinstance(batch, (tuple, list)) and len(batch) > 2 else ""
    return f"((model(x), y) for x, y{more} in loader)"


def _n_samples(batch: Any) -> int:
    """Returns the number of samples of the first non-empty tensor in a batch; 0 if none."""
    if isinstance(batch, Tensor):
        return len(batch) if batch.ndim else 0
    if isinstance(batch, Mapping):
        batch = list(batch.values())
    parts = batch if isinstance(batch, (list, tuple)) else ()
    return next((count for part in parts if (count := _n_samples(part))), 0)


def _check_enough(total: int, min_samples: int) -> None:
    least = max(min_samples, 1)
    if total < least:
        raise ValueError(
            f"The norms must be averages over at least min_samples={least} samples of all "
            f"ranks, got {total}: give more training data, or set min_samples lower."
        )
