"""Checks that read values, such as labels, weights and probabilities, and their timing."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from segloss.batch.options import PixelOptions
from segloss.batch.pixel_batch import BatchNames, PixelBatch
from segloss.foundation.tracing import is_traced

_ROUNDING = 1e-6
"""The distance by which probabilities may lie outside [0, 1]."""


_ALWAYS_CHECKED = 65_536
"""The size up to which the range of a dense tensor on the CPU is checked in every batch."""


class ValueChecks:
    """Decides when the checks that read values are due, so that they cost next to nothing.

    On CPU, labels and small tensors are checked in every batch, larger dense ones in the first
    batch of each shape; on an accelerator, whose queue a check would drain, only in the first
    batch; never while compiling, exporting or under `torch.func`.
    """

    def __init__(self) -> None:
        self._passed: set[tuple[Any, ...]] = set()

    def due(self, role: str, tensor: Tensor, *, on_every_batch: bool = False) -> bool:
        """Returns whether to read the values of `tensor`, which has the role `role`."""
        if is_traced() or tensor.numel() == 0 or tensor.is_meta:
            return False
        cheap = on_every_batch or tensor.numel() <= _ALWAYS_CHECKED
        if cheap and tensor.is_cpu:
            return True
        return _occasion(role, tensor) not in self._passed

    def passed(self, role: str, tensor: Tensor) -> None:
        """Notes that the values were read and found right."""
        if tensor.numel() > _ALWAYS_CHECKED or not tensor.is_cpu:
            self._passed.add(_occasion(role, tensor))


class _ChecksOfCalls(ValueChecks):
    """The value checks of functions, for which any batch on the CPU may be the first."""

    def passed(self, role: str, tensor: Tensor) -> None:
        """Notes that the values were read and found right, unless they are on the CPU."""
        if not tensor.is_cpu:
            super().passed(role, tensor)


@functools.lru_cache(maxsize=128)
def shared_checks(options: PixelOptions) -> ValueChecks:
    """Returns the checks that all calls with the same options share."""
    return _ChecksOfCalls()


def _occasion(role: str, tensor: Tensor) -> tuple[Any, ...]:
    """Returns the key of a check that is made once: role and shape on the CPU, else role."""
    on_cpu = tensor.device.type == "cpu"
    return (role, *tensor.shape) if on_cpu else (role, tensor.device.type)


def check_ignored_value(pixels: PixelBatch, name: str) -> None:
    """Raises ValueError if the ignored value would leave out every pixel of a dense target."""
    ignored = pixels.options.ignore_index
    if pixels.is_exclusive and not pixels.is_label_map and ignored in (0, 1):
        raise ValueError(
            f"ignore_index={ignored} would leave out every pixel of {name}, which is "
            "dense: pass a label map to ignore a class, or leave it out with region_classes and "
            "class_weights."
        )


def check_values(pixels: PixelBatch, names: BatchNames, checks: ValueChecks) -> None:
    """Checks the values of all tensors of a batch that are due to be read."""
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
    """Raises ValueError if values that count are not finite, if the check is due."""
    if not checks.due(name, tensor):
        return
    low, high = _extremes(tensor.detach(), kept())
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError(f"{name} must hold finite numbers, got values from {low:g} to {high:g}.")
    checks.passed(name, tensor)


def check_label_range(
    labels: Tensor, name: str, classes: int, ignore_index: int | None, checks: ValueChecks
) -> None:
    """Raises ValueError for labels that are not classes, if the check is due."""
    if not checks.due("label range", labels):
        return
    low, high = _extremes(labels, None if ignore_index is None else labels != ignore_index)
    _check_extremes(low, high, name, classes, ignore_index)
    checks.passed("label range", labels)


def _check_extremes(
    low: float, high: float, name: str, classes: int, ignore_index: int | None
) -> None:
    if not (low >= 0 and high < classes):
        value = low if not low >= 0 else high
        raise ValueError(
            f"{name} holds the label {value:g}, expected 0 to {classes - 1} for {classes} classes."
            f"{_ignore_hint(ignore_index, value, value)}"
        )


def check_weight_range(weight: Tensor, name: str, checks: ValueChecks) -> None:
    """Raises ValueError for weights that are negative or not finite, if the check is due."""
    if checks.due(name, weight):
        _check_weight_values(weight, None, name)
        checks.passed(name, weight)


def _check_weight_values(weight: Tensor, kept: Tensor | None, name: str) -> None:
    low, high = _extremes(weight, kept)
    if not (low >= 0 and high < math.inf):
        raise ValueError(
            f"{name} must hold finite numbers of at least 0, got values from {low:g} to {high:g}."
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


def check_unit_range(
    tensor: Tensor, name: str, checks: ValueChecks, *, probabilities: bool = False
) -> None:
    """Raises ValueError if values are not in [0, 1], if the check is due.

    Probabilities may lie outside by rounding.
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


def _extremes(tensor: Tensor, kept: Tensor | None) -> tuple[float, float]:
    """Returns the least and the greatest value that counts; (0, 0) if none does."""
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


def _check_labels(pixels: PixelBatch, name: str) -> None:
    target, classes = pixels.target, pixels.prediction.shape[1]
    valid = pixels.valid()
    valid = None if valid is None else valid.squeeze(1)
    low, high = _extremes(target, valid)
    _check_extremes(low, high, name, classes, pixels.options.ignore_index)
    if target.is_floating_point():
        kept = target if valid is None else target[valid]
        if not torch.equal(kept, kept.round()):
            raise ValueError(
                f"{name} must hold whole numbers as a label map, got fractions: class indices are "
                "expected here; one value per class is a dense target of the predictions' shape."
            )


def _ignore_hint(ignore_index: int | None, low: float, high: float) -> str:
    """Suggests ignore_index if a value looks like a marker, such as 255 or -100."""
    if ignore_index is not None:
        return f" (Pixels of ignore_index={ignore_index} are left out already.)"
    outlier = high if high > 1 else low
    if not outlier.is_integer():
        return ""
    return f" If {outlier:g} marks pixels to leave out, set ignore_index={outlier:g}."
