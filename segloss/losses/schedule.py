"""Weights that change over the epochs; `segloss.losses.multi_loss` applies them."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from segloss.foundation.arguments import check_number, is_list, list_meant, shown

Weight = float | Sequence[float]
"""A constant weight, or one value per epoch threshold."""


class WeightSchedule:
    """Interpolates weights linearly between epoch thresholds, and holds them constant outside.

    Args:
        weights: For each loss, a number of at least 0, or a list with one number per threshold.
        epoch_thresholds: The epochs of the numbers in the lists, in increasing order.
        names: The name of each weight in messages; None: weights[0], weights[1] ...

    Raises:
        TypeError, ValueError: Weights or thresholds are not finite numbers of the right count and
            order, or a weight is a list and `epoch_thresholds` is None.

    Example:
        >>> schedule = WeightSchedule([1.0, [0.0, 0.0, 1.0, 1.0]], [0, 10, 20, 50])
        >>> schedule.at(15)
        [1.0, 0.5]
    """

    def __init__(
        self,
        weights: Sequence[Weight],
        epoch_thresholds: Sequence[float] | None = None,
        names: Sequence[str] | None = None,
    ) -> None:
        if not is_list(weights):
            raise TypeError(f"weights must be a list with a weight per loss, got {shown(weights)}.")
        names = names or [f"weights[{i}]" for i in range(len(weights))]
        self.thresholds = _check_thresholds(epoch_thresholds)
        self.weights = [
            self._checked(weight, name) for weight, name in zip(weights, names, strict=True)
        ]

    @property
    def is_constant(self) -> bool:
        """True if no weight depends on the epoch."""
        return not any(isinstance(weight, list) for weight in self.weights)

    @property
    def can_be_0(self) -> list[bool]:
        """For each weight, True if it is 0 at some epoch."""
        return [0 in weight if isinstance(weight, list) else weight == 0 for weight in self.weights]

    def at(self, epoch: float) -> list[float]:
        """Returns the weights at an epoch, which may be a fraction.

        Raises:
            TypeError, ValueError: `epoch` is not a finite number.
        """
        number = check_number("The epoch", epoch, low=-float("inf"))
        return [
            _interpolate(number, self.thresholds, weight) if isinstance(weight, list) else weight
            for weight in self.weights
        ]

    def _checked(self, weight: Any, name: str) -> float | list[float]:
        if isinstance(weight, Mapping):
            raise TypeError(
                f"{name} must be a number or a list, got {shown(weight)}: for a schedule, pass "
                f"{list(weight.values())}, and epoch_thresholds={list(weight)}."
            )
        if not is_list(weight):
            return check_number(name, weight)
        if not self.thresholds:
            raise ValueError(
                f"{name} is a schedule, {list(weight)}, and needs epoch_thresholds: one epoch for "
                "each of its values."
            )
        if len(weight) != len(self.thresholds):
            raise ValueError(
                f"{name} must have one value per epoch threshold: expected "
                f"{len(self.thresholds)} for {self.thresholds}, got {len(weight)}."
            )
        return [check_number(f"{name}[{i}]", value) for i, value in enumerate(weight)]


class EpochWatch:
    """Notices a schedule whose epoch has not changed over many rounds of training and validation.

    A round is a call with gradients after one without. The number of rounds in an epoch is unknown,
    so it takes `ROUNDS` of them, or `STEPS` calls with gradients.
    """

    ROUNDS, STEPS = 10, 100_000

    def __init__(self) -> None:
        self._epoch: float | None = None
        self._rounds = self._steps = 0
        self._is_training = True

    def set_epoch(self, epoch: float) -> None:
        """Takes note of an epoch."""
        if epoch != self._epoch:
            self._epoch, self._rounds, self._steps = epoch, 0, 0

    def stands_still(self, is_training: bool, thresholds: Sequence[float]) -> bool:
        """Counts a call, and returns whether the epoch should have changed long ago."""
        self._rounds += is_training and not self._is_training
        self._steps += is_training
        self._is_training = is_training
        if self._epoch is None or self._epoch >= thresholds[-1]:
            return False
        return self._rounds >= self.ROUNDS or self._steps >= self.STEPS


def _check_thresholds(thresholds: Any) -> list[float]:
    if thresholds is None:
        return []
    if not is_list(thresholds) or not thresholds:
        raise TypeError(
            f"epoch_thresholds must be a list of epochs, got {shown(thresholds)}"
            f"{list_meant('epoch_thresholds', thresholds)}."
        )
    epochs = [
        check_number(f"epoch_thresholds[{i}]", epoch, low=-float("inf"))
        for i, epoch in enumerate(thresholds)
    ]
    if any(left >= right for left, right in itertools.pairwise(epochs)):
        raise ValueError(f"epoch_thresholds must increase strictly, got {epochs}.")
    return epochs


def _interpolate(x: float, xs: Sequence[float], ys: Sequence[float]) -> float:
    """Returns the piecewise linear function through (xs, ys) at x, constant outside."""
    right = bisect.bisect_left(xs, x)
    if right == 0:
        return ys[0]
    if right == len(xs):
        return ys[-1]
    fraction = (x - xs[right - 1]) / (xs[right] - xs[right - 1])
    return ys[right - 1] + fraction * (ys[right] - ys[right - 1])
