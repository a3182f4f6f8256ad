"""Checks that read the values of a batch, such as labels, weights and probabilities.

`ValueChecks` decides when they run, so that they cost next to nothing. The checks of types, devices
and shapes are in `segloss.batch.shape_checks`, and the remedies of messages in
`segloss.batch.remedies`.

Bounds have a slack for rounding, `rounding_slack` of the dtype, because masks, weights and
probabilities are often computed. Values within the slack are used as they are: they change sums by
as much as rounding inside the bounds does.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from segloss.batch import remedies
from segloss.batch.options import PixelOptions
from segloss.batch.pixel_batch import BatchNames, PixelBatch, in_any_channel
from segloss.foundation.arguments import shown_number
from segloss.foundation.dtypes import equals_any
from segloss.foundation.ignore_index import IgnoreIndex
from segloss.foundation.precision import rounding_slack
from segloss.foundation.tracing import is_traced

_ALWAYS_CHECKED = 65_536
"""The number of values up to which a tensor on the CPU is checked in every batch."""


_SPOTS = 1024
"""The number of values that are read from a large tensor after the first batch."""

_STRIDE = 7919
"""A prime, so that the places differ from batch to batch."""


class ValueChecks:
    """Decides when the checks that read values are due, so that they cost next to nothing.

    On the CPU, labels and small tensors are checked in every batch, and larger dense tensors in the
    first batch of each shape, as are a few values of each later dense target. On an accelerator,
    where a check waits for all queued work, only the first batch is checked. Nothing is checked
    while compiling, exporting or under `torch.func`.
    """

    def __init__(self) -> None:
        self._passed: set[tuple[Any, ...]] = set()
        self._batches = 0

    def due(self, role: str, tensor: Tensor, *, on_every_batch: bool = False) -> bool:
        """Returns whether a check must read the values of a tensor now.

        Args:
            role: The name of the check.
            tensor: The tensor.
            on_every_batch: True if a CPU tensor of any size is checked in every batch.
        """
        if is_traced() or tensor.numel() == 0 or tensor.is_meta:
            return False
        cheap = on_every_batch or tensor.numel() <= _ALWAYS_CHECKED
        if cheap and tensor.is_cpu:
            return True
        return _check_key(role, tensor) not in self._passed

    def spots(self, tensor: Tensor) -> Tensor | None:
        """Returns a few values of a large tensor on the CPU, new ones in each batch; None: none.

        They reveal a later batch with another range, such as masks of 0 and 255.
        """
        if is_traced() or not tensor.is_cpu or tensor.is_meta or not tensor.is_contiguous():
            return None
        step = max(1, tensor.numel() // _SPOTS)
        self._batches += 1
        return tensor.view(-1)[self._batches * _STRIDE % step :: step]

    def passed(self, role: str, tensor: Tensor) -> None:
        """Records that the values were read, and are right."""
        if tensor.numel() > _ALWAYS_CHECKED or not tensor.is_cpu:
            self._passed.add(_check_key(role, tensor))


@functools.lru_cache(maxsize=128)
def shared_checks(options: PixelOptions) -> ValueChecks:
    """Returns the `ValueChecks` that all functions share for calls with the same options."""
    return _ChecksOfFunctions()


def check_values(
    pixels: PixelBatch,
    names: BatchNames,
    checks: ValueChecks,
    ignore_index: IgnoreIndex,
    group_key: str | None = None,
) -> None:
    """Checks the values of a batch's tensors; raises ValueError if one is out of range.

    Args:
        pixels: The batch.
        names: The names of its tensors in messages.
        checks: Decides when values are read.
        ignore_index: The loss's option; the batch has one of its values.
        group_key: The key of the map that holds the ids of components, or None.
    """
    pred_name, target_name, weight_name, *_ = names
    weight, target, prediction = pixels.weight, pixels.target, pixels.prediction
    if weight is not None and checks.due("weight", weight):
        _check_weight_values(weight, pixels.kept(), weight_name, "pixels")
        checks.passed("weight", weight)
    if pixels.is_label_map and checks.due("labels", target, on_every_batch=True):
        _check_labels(pixels, target_name, ignore_index)
        checks.passed("labels", target)
    if not pixels.is_label_map and (checks.due("target", target) or _is_spotted(pixels, checks)):
        _check_masks(
            target,
            pixels.valid(),
            target_name,
            ignore_index=ignore_index,
            exclusive=pixels.is_exclusive,
        )
        checks.passed("target", target)
    if not pixels.options.from_logits and checks.due("prediction", prediction):
        _check_probabilities(prediction, pixels.valid(), pred_name)
        checks.passed("prediction", prediction)
    if pixels.sample_weights is not None:
        check_weight_range(pixels.sample_weights, names.sample_weights, checks, of="samples")
    for key, values in pixels.maps.items():
        if key == group_key:
            _check_components(values, key, checks)
        else:
            check_finite_values(values, key, checks, kept=pixels.valid, remedy=remedies.FOR_MAPS)


def _is_spotted(pixels: PixelBatch, checks: ValueChecks) -> bool:
    """Returns whether a few values of a dense target are not in [0, 1], and not ignored."""
    values = checks.spots(pixels.target)
    if values is None or values.dtype == torch.bool or values.numel() == 0:
        return False
    if pixels.ignored_value is not None:
        values = values.masked_fill(values == pixels.ignored_value, 0)
    low, high = torch.aminmax(values)
    return not _is_in_unit_range(float(low), float(high), values.dtype)


def _check_components(ids: Tensor, name: str, checks: ValueChecks) -> None:
    """Raises ValueError if the check is due and an id is negative, or can't be a number."""
    if not checks.due(name, ids):
        return
    low, high = _extremes(ids, None)
    if low < 0:
        raise ValueError(
            f"{name} must hold the ids of components, 1 to {max(1, int(high))}, and 0 where there "
            f"is none, got {int(low)}.{remedies.COMPONENTS}"
        )
    if high > ids.shape[-1]:
        raise ValueError(
            f"{name} must number the components of each sample from 1 to at most {ids.shape[-1]}, "
            f"its number of pixels, got the id {int(high)}.{remedies.LARGE_IDS}"
        )
    checks.passed(name, ids)


def check_finite_values(
    tensor: Tensor,
    name: str,
    checks: ValueChecks,
    *,
    kept: Callable[[], Tensor | None] = lambda: None,
    remedy: str = "",
) -> None:
    """Raises ValueError if the check is due and values that count are not finite.

    Args:
        tensor: The tensor.
        name: Its name in messages, and the name of the check.
        checks: Decides whether the check is due.
        kept: Returns the mask of the values that count, or None if all count.
        remedy: The end of the message.
    """
    if not checks.due(name, tensor):
        return
    low, high = _extremes(tensor.detach(), kept())
    if not (math.isfinite(low) and math.isfinite(high)):
        got = "NaN" if math.isnan(low) else _interval(low, high)
        raise ValueError(f"{name} must hold finite numbers, got {got}.{remedy}")
    checks.passed(name, tensor)


def check_label_range(
    labels: Tensor, name: str, classes: int, ignore_index: int | None, checks: ValueChecks
) -> None:
    """Raises ValueError if the check is due and a label is neither a class nor ignored.

    It is for losses that ignore one value at most.
    """
    if not checks.due("label range", labels):
        return
    kept = None if ignore_index is None else ~equals_any(labels, (ignore_index,))
    check_labels_are_classes(labels, kept, name, classes, ignore_index, can_ignore_several=False)
    checks.passed("label range", labels)


def check_labels_are_classes(
    labels: Tensor,
    kept: Tensor | None,
    name: str,
    classes: int,
    ignore_index: IgnoreIndex,
    *,
    can_ignore_several: bool = True,
) -> None:
    """Raises ValueError if a label that counts is not a class.

    Args:
        labels: The labels.
        kept: The mask of the labels that count, or None if all count.
        name: Their name in messages.
        classes: The number of classes.
        ignore_index: The loss's values for pixels to leave out, or None.
        can_ignore_several: True if the loss takes several of them.
    """
    low, high = _extremes(labels, kept)
    if not (low >= 0 and high < classes):
        wrong = shown_number(low if not low >= 0 else high, 0, classes - 1)
        remedy = remedies.for_labels(
            _kept_values(labels, kept), labels, classes, ignore_index, can_ignore_several
        )
        raise ValueError(
            f"{name} holds the label {wrong}, expected 0 to {classes - 1} for {classes} classes."
            f"{_named(remedy, name)}"
        )


def check_whole_labels(labels: Tensor, name: str, kept: Tensor | None = None) -> None:
    """Raises ValueError if labels that count are not whole numbers."""
    values = _kept_values(labels, kept)
    if not torch.equal(values, values.round()):
        raise ValueError(
            f"{name} must hold whole numbers as a label map, got fractions."
            f"{_named(remedies.for_fractions(values), name)}"
        )


def check_unit_range(
    tensor: Tensor,
    name: str,
    checks: ValueChecks,
    *,
    dtype: torch.dtype | None = None,
    probabilities: bool = False,
) -> None:
    """Raises ValueError if the check is due and values are not in [0, 1].

    Args:
        tensor: The tensor, for a loss without `ignore_index`.
        name: Its name in messages, and the name of the check.
        checks: Decides whether the check is due.
        dtype: The dtype in which the values were computed; None: the tensor's.
        probabilities: True for predictions, False for masks.
    """
    if not checks.due(name, tensor):
        return
    if probabilities:
        low, high = _extremes(tensor.detach(), None)
        if not _is_in_unit_range(low, high, tensor.dtype if dtype is None else dtype):
            raise ValueError(
                f"{name} must hold probabilities in [0, 1], got {_interval(low, high)}."
                f"{_named(remedies.for_given_probabilities(low, high), name)}"
            )
    else:
        _check_masks(tensor, None, name, dtype, ignore_index=None, can_ignore=False)
    checks.passed(name, tensor)


def check_weight_range(weight: Tensor, name: str, checks: ValueChecks, *, of: str) -> None:
    """Raises ValueError if the check is due and a weight is negative or not finite.

    Args:
        weight: The weights.
        name: Their name in messages, and the name of the check.
        checks: Decides whether the check is due.
        of: What they weight in messages, "pixels" or "samples".
    """
    if checks.due(name, weight):
        _check_weight_values(weight, None, name, of)
        checks.passed(name, weight)


class _ChecksOfFunctions(ValueChecks):
    """The checks of functions: every batch on the CPU may be a new one, and is checked."""

    def passed(self, role: str, tensor: Tensor) -> None:
        """Records that the values were read, and are right, unless they are on the CPU."""
        if not tensor.is_cpu:
            super().passed(role, tensor)


def _check_key(role: str, tensor: Tensor) -> tuple[Any, ...]:
    """Returns the key under which a check has passed: role and shape, or role and device type."""
    on_cpu = tensor.device.type == "cpu"
    return (role, *tensor.shape) if on_cpu else (role, tensor.device.type)


def _check_weight_values(weight: Tensor, kept: Tensor | None, name: str, of: str) -> None:
    """Raises ValueError if a weight that counts is negative or not finite."""
    low, high = _extremes(weight, kept)
    slack = rounding_slack(weight.dtype) * max(1.0, high)
    if not (low >= -slack and high < math.inf):
        raise ValueError(
            f"{name} must hold finite numbers of at least 0, got {_interval(low, high)}."
            f"{remedies.for_weights(low, of)}"
        )


def _check_labels(pixels: PixelBatch, name: str, ignore_index: IgnoreIndex) -> None:
    target, valid = pixels.target, in_any_channel(pixels.valid())
    classes = pixels.prediction.shape[1]
    check_labels_are_classes(target, valid, name, classes, ignore_index)
    if target.is_floating_point():
        check_whole_labels(target, name, valid)


def _check_masks(
    target: Tensor,
    kept: Tensor | None,
    name: str,
    dtype: torch.dtype | None = None,
    *,
    ignore_index: IgnoreIndex,
    can_ignore: bool = True,
    exclusive: bool = False,
) -> None:
    low, high = _extremes(target, kept)
    if not _is_in_unit_range(low, high, target.dtype if dtype is None else dtype):
        remedy = remedies.for_masks(
            _kept_values(target, kept), target, ignore_index, can_ignore, exclusive=exclusive
        )
        raise ValueError(
            f"{name} must hold values in [0, 1], got {_interval(low, high)}.{_named(remedy, name)}"
        )


def _check_probabilities(prediction: Tensor, kept: Tensor | None, name: str) -> None:
    low, high = _extremes(prediction.detach(), kept)
    if not _is_in_unit_range(low, high, prediction.dtype):
        raise ValueError(
            f"{name} must hold probabilities, in [0, 1], got {_interval(low, high)}."
            f"{_named(remedies.for_probabilities(low, high), name)}"
        )


def _named(remedy: str, name: str) -> str:
    """Returns a remedy that names only the tensor of this name."""
    return remedies.named(remedy, name, name)


def _is_in_unit_range(low: float, high: float, dtype: torch.dtype) -> bool:
    """Returns whether values are in [0, 1], up to rounding in the dtype; NaN is not."""
    slack = rounding_slack(dtype)
    return low >= -slack and high <= 1 + slack


def _interval(low: float, high: float) -> str:
    """Returns the range of values for messages, which shows by how much they are outside [0, 1]."""
    return f"values from {shown_number(low, 0, 1)} to {shown_number(high, 0, 1)}"


def _extremes(tensor: Tensor, kept: Tensor | None) -> tuple[float, float]:
    """Returns the least and the greatest value that counts; (0, 0) if no value counts."""
    if tensor.dtype == torch.bool:
        return 0.0, 1.0
    values = _kept_values(tensor, kept)
    if values.numel() == 0:
        return 0.0, 0.0
    low, high = torch.aminmax(values)
    return float(low), float(high)


def _kept_values(tensor: Tensor, kept: Tensor | None) -> Tensor:
    """Returns the values that count; `kept` broadcasts to the tensor, or the tensor to it."""
    if kept is None:
        return tensor
    shape = torch.broadcast_shapes(tensor.shape, kept.shape)  # type: ignore[no-untyped-call]
    return tensor.expand(shape)[kept.expand(shape)]
