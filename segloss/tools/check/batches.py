"""Checks that the result does not depend on the sample order, on chance, or on shards."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from segloss.foundation.distributed import RankSum
from segloss.foundation.dtypes import can_hold
from segloss.losses.loss_wrapper import LossWrapper
from segloss.tools.check.examples.example import Example
from segloss.tools.check.inspections import (
    DoesNotApplyError,
    FoundWrongError,
    gradient_error,
    require_same,
    value_error,
)
from segloss.tools.check.loss_under_test import LossUnderTest, Outcome, ignored_values_of, parts_of
from segloss.tools.check.numerics import SAME_LIMITS

SHARD_LIMIT = 1e-5
"""The tolerance between the mean over shards and the loss of the batch."""


def sample_order(tested: LossUnderTest) -> str:
    """Checks that reordering the samples keeps the value, and reorders the gradients alike."""
    example = tested.example
    if example.samples < 2:
        raise DoesNotApplyError("the example has fewer than two samples")
    expected = tested.differentiate(example)
    order = torch.arange(example.samples)
    text = ""
    for permutation in (order.flip(0), order.roll(1)):
        outcome = tested.differentiate(example.of_samples(permutation))
        permuted = [g if g is None else g[permutation.to(g.device)] for g in expected.gradients]
        reordered = Outcome(expected.value, permuted)
        text = require_same("samples in another order", outcome, reordered, *SAME_LIMITS)
    return text


def deterministic(tested: LossUnderTest) -> str:
    """Checks that two calls agree to the last bit, and use deterministic algorithms."""
    first, second = (tested.differentiate(tested.example) for _ in range(2))
    if value_error(second.value, first.value) > 0 or gradient_error(second, first) > 0:
        raise FoundWrongError(
            f"two calls differ: {first.value.item():.9g} and {second.value.item():.9g}"
        )
    torch.use_deterministic_algorithms(True)  # `preserved` restores it
    tested.differentiate(tested.example)
    return "two calls agree to the last bit, with deterministic algorithms"


def data_parallel(tested: LossUnderTest) -> str:
    """Checks that the mean loss of the shards, weighted by samples, equals the batch's loss."""
    if _is_synchronised(tested.loss):
        return "yes: sync_statistics=True adds statistics up over ranks"
    example = tested.example
    if example.samples < 2:
        raise DoesNotApplyError("the example has fewer than two samples")
    error = _shard_error(tested, example)
    if error > SHARD_LIMIT:
        raise FoundWrongError(f"no: the mean over shards is {error:.0e} off the loss of the batch")
    ignored = _some_ignored(example, ignored_values_of(tested.loss))
    if ignored is not None:
        error = _shard_error(tested, ignored)
        if error > SHARD_LIMIT:
            raise FoundWrongError(
                f"no: exact, except where shards differ in ignored pixels ({error:.0e} off)"
            )
    return "yes: the loss of the batch is the mean over shards, weighted by samples"


def _is_synchronised(loss: object) -> bool:
    """Returns whether every part of the loss adds up its statistics over ranks."""
    parts = parts_of(loss)
    sums = [part._add for part in parts if isinstance(getattr(part, "_add", None), RankSum)]
    wrapped = [part.loss_func for part in parts if isinstance(part, LossWrapper)]
    has_unsynchronised = any(not hasattr(loss_func, "_add") for loss_func in wrapped)
    return bool(sums) and all(add.enabled for add in sums) and not has_unsynchronised


def _shard_error(tested: LossUnderTest, example: Example) -> float:
    """Returns the larger error of two splits: into halves, and into one sample and the rest."""
    samples = example.samples
    batch_loss = tested.value(example).detach()
    errors = []
    for first in {samples // 2, 1} if samples % 2 == 0 else {1}:
        indices = torch.arange(samples)
        parts = (indices[:first], indices[first:])
        values = [len(part) * _value(tested, example, part) for part in parts]
        errors.append(value_error(sum(values, torch.zeros(())) / samples, batch_loss))
    return max(errors)


def _value(tested: LossUnderTest, example: Example, part: Tensor) -> Tensor:
    return tested.value(example.of_samples(part)).detach().double().cpu()


def _some_ignored(example: Example, values: Sequence[int]) -> Example | None:
    """Returns the batch with most of the first sample ignored; None if that is impossible."""
    target = example.target
    held = [] if target is None else [each for each in values if can_hold(target.dtype, each)]
    if target is None or not held:
        return None
    changed = target.clone()
    changed[0, ..., 1:] = held[-1]
    return example.with_target(changed)
