"""Checks that read the values of a batch, such as labels, weights and probabilities.

`ValueChecks` decides when they run, so that they cost next to nothing. The checks of types, devices
and shapes are in `segloss.batch.shape_checks`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from segloss.batch.options import PixelOptions
from segloss.batch.pixel_batch import BatchNames, PixelBatch
from segloss.foundation.dtypes import differs_from
from segloss.foundation.tracing import is_traced

_ROUNDING = 1e-6
"""The distance by which probabilities may lie outside [0, 1], because of rounding."""

_ALWAYS_CHECKED = 65_536
"""The number of values up to which a tensor on the CPU is checked in every batch."""


class ValueChecks:
    """Decides when the checks that read values are due, so that they cost next to nothing.

    On the CPU, labels and small tensors are checked in every batch, and larger dense tensors in the
    first batch of each shape. On an accelerator, where a check waits for all queued work, only the
    first batch is checked. Nothing is checked while compiling, exporting or under `torch.func`.
    """

    def __init__(self) -> None:
        self._passed: set[tuple[Any, ...]] = set()

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

    def passed(self, role: str, tensor: Tensor) -> None:
        """Records that the values were read, and are right."""
        if tensor.numel() > _ALWAYS_CHECKED or not tensor.is_cpu:
            self._passed.add(_check_key(role, tensor))


@functools.lru_cache(maxsize=128)
def shared_checks(options: PixelOptions) -> ValueChecks:
    """Returns the `ValueChecks` that all functions share for calls with the same options."""
    return _ChecksOfFunctions()


def check_values(pixels: PixelBatch, names: BatchNames, checks: ValueChecks) -> None:
    """Checks the values of a batch's tensors; raises ValueError if one is out of range."""
    pred_name, target_name, weight_name, _ = names
    weight, target, prediction = pixels.weight, pixels.target, pixels.prediction
    if weight is not None and checks.due("weight", weight):
        _check_weight_values(weight, pixels.kept(), weight_name)
        checks.passed("weight", weight)
    if pixels.is_label_map and checks.due("labels", target, on_every_batch=True):
        _check_labels(pixels, target_name)
        checks.passed("labels", target)
    if not pixels.is_label_map and checks.due("target", target):
        _check_target_values(pixels, target_name)
        checks.passed("target", target)
    if not pixels.options.from_logits and checks.due("prediction", prediction):
        _check_probabilities(prediction, pixels.valid(), pred_name)
        checks.passed("prediction", prediction)
    for key, values in pixels.maps.items():
        check_finite_values(values, key, checks, kept=pixels.valid)


def check_finite_values(
    tensor: Tensor,
    name: str,
    checks: ValueChecks,
    *,
    kept: Callable[[], Tensor | None] = lambda: None,
) -> None:
    """Raises ValueError if the check is due and values that count are not finite.

    Args:
        tensor: The tensor.
        name: Its name in messages, and the name of the check.
        checks: Decides whether the check is due.
        kept: Returns the mask of the values that count, or None if all count.
    """
    if not checks.due(name, tensor):
        return
    low, high = _extremes(tensor.detach(), kept())
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError(f"{name} must hold finite numbers, got values from {low:g} to {high:g}.")
    checks.passed(name, tensor)


def check_label_range(
    labels: Tensor, name: str, classes: int, ignore_index: int | None, checks: ValueChecks
) -> None:
    """Raises ValueError if the check is due and a label is neither a class nor ignored."""
    if not checks.due("label range", labels):
        return
    kept = None if ignore_index is None else differs_from(labels, ignore_index)
    low, high = _extremes(labels, kept)
    _check_label_extremes(low, high, name, classes, ignore_index)
    checks.passed("label range", labels)


def check_unit_range(
    tensor: Tensor, name: str, checks: ValueChecks, *, probabilities: bool = False
) -> None:
    """Raises ValueError if the check is due and values are not in [0, 1].

    Probabilities may lie outside by a rounding error.
    """
    if not checks.due(name, tensor):
        return
    low, high = _extremes(tensor.detach(), None)
    slack = _ROUNDING if probabilities else 0.0
    if not (low >= -slack and high <= 1 + slack):
        raise ValueError(
            f"{name} must hold {'probabilities' if probabilities else 'values'} in [0, 1], got "
            f"values from {low:g} to {high:g}."
            + (" Logits go through a sigmoid first." if probabilities else "")
        )
    checks.passed(name, tensor)


def check_weight_range(weight: Tensor, name: str, checks: ValueChecks) -> None:
    """Raises ValueError if the check is due and a weight is negative or not finite."""
    if checks.due(name, weight):
        _check_weight_values(weight, None, name)
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


def _check_weight_values(weight: Tensor, kept: Tensor | None, name: str) -> None:
    low, high = _extremes(weight, kept)
    if not (low >= 0 and high < math.inf):
        raise ValueError(
            f"{name} must hold finite numbers of at least 0, got values from {low:g} to {high:g}."
        )


def _check_labels(pixels: PixelBatch, name: str) -> None:
    target, classes = pixels.target, pixels.prediction.shape[1]
    valid = pixels.valid()
    valid = None if valid is None else valid.squeeze(1)
    low, high = _extremes(target, valid)
    _check_label_extremes(low, high, name, classes, pixels.options.ignore_index)
    if target.is_floating_point():
        kept = target if valid is None else target[valid]
        if not torch.equal(kept, kept.round()):
            raise ValueError(
                f"{name} must hold whole numbers as a label map, got fractions: class indices are "
                "expected here; one value per class is a dense target of the predictions' shape."
            )


def _check_target_values(pixels: PixelBatch, name: str) -> None:
    low, high = _extremes(pixels.target, pixels.valid())
    if not (low >= 0 and high <= 1):
        raise ValueError(
            f"{name} must hold values in [0, 1], got values from {low:g} to {high:g}."
            f"{_ignore_hint(pixels.options.ignore_index, low, high)}"
        )


def _check_probabilities(prediction: Tensor, valid: Tensor | None, name: str) -> None:
    low, high = _extremes(prediction.detach(), valid)
    if not (low >= -_ROUNDING and high <= 1 + _ROUNDING):
        raise ValueError(
            f"{name} must hold probabilities, in [0, 1], got values from {low:g} to {high:g}. If "
            "these are logits, set from_logits=True."
        )


def _check_label_extremes(
    low: float, high: float, name: str, classes: int, ignore_index: int | None
) -> None:
    if not (low >= 0 and high < classes):
        value = low if not low >= 0 else high
        raise ValueError(
            f"{name} holds the label {value:g}, expected 0 to {classes - 1} for {classes} classes."
            f"{_ignore_hint(ignore_index, value, value)}"
        )


def _extremes(tensor: Tensor, kept: Tensor | None) -> tuple[float, float]:
    """Returns the least and the greatest value that counts; (0, 0) if no value counts."""
    if tensor.dtype == torch.bool:
        return 0.0, 1.0
    if kept is None:
        values = tensor
    else:
        shape = torch.broadcast_shapes(tensor.shape, kept.shape)  # type: ignore[no-untyped-call]
        values = tensor.expand(shape)[kept.expand(shape)]
    if values.numel() == 0:
        return 0.0, 0.0
    low, high = torch.aminmax(values)
    return float(low), float(high)


def _ignore_hint(ignore_index: int | None, low: float, high: float) -> str:
    """Returns a hint at ignore_index if a value looks like a marker, such as 255 or -100."""
    if ignore_index is not None:
        return f" (Pixels of ignore_index={ignore_index} are left out already.)"
    outlier = high if high > 1 else low
    if not outlier.is_integer():
        return ""
    return f" If {outlier:g} marks pixels to leave out, set ignore_index={outlier:g}."
