"""Weights over the epochs."""

from __future__ import annotations

import numpy as np
import pytest
from omegaconf import OmegaConf

from segloss.losses.schedule import WeightSchedule

THRESHOLDS, VALUES = [0, 10, 20, 50], [0.0, 0.25, 1.0, 0.5]


@pytest.mark.parametrize("epoch", [-3, 0, 0.5, 9.99, 10, 15, 19, 20, 35.25, 50, 51, 1e9])
def test_weights_are_interpolated_as_numpy_does(epoch: float) -> None:
    schedule = WeightSchedule([1.0, VALUES], THRESHOLDS)
    expected = float(np.interp(epoch, THRESHOLDS, VALUES))
    assert schedule.at(epoch) == pytest.approx([1.0, expected], rel=1e-15)


def test_a_schedule_of_one_threshold_is_constant() -> None:
    assert WeightSchedule([[0.3]], [5]).at(100) == [0.3]


def test_lists_of_omegaconf_are_lists() -> None:
    cfg = OmegaConf.create({"weights": [1, [0, 1]], "epoch_thresholds": [0, 4]})
    assert WeightSchedule(cfg.weights, cfg.epoch_thresholds).at(1) == [1.0, 0.25]


@pytest.mark.parametrize(
    ("weights", "thresholds", "kind", "words"),
    [
        ([[0, 1]], None, ValueError, r"weights\[0\] is a schedule, .* needs epoch_thresholds"),
        ([1, [0, 1]], [0, 1, 2], ValueError, r"weights\[1\] must have .* expected 3 .* got 2"),
        ([[0, 1]], [5, 5], ValueError, r"epoch_thresholds must increase .* got \[5.0, 5.0\]"),
        ([[0, 1]], [5, 2], ValueError, "epoch_thresholds must increase"),
        ([[0, 1]], [0, float("nan")], ValueError, r"epoch_thresholds\[1\]"),
        ([[0, 1]], [], TypeError, "epoch_thresholds must be a list"),
        ([[0, 1]], 5, TypeError, "epoch_thresholds must be a list"),
        ([-1.0], None, ValueError, r"weights\[0\] must be .* at least 0, got -1"),
        ([[0, -1]], [0, 1], ValueError, r"weights\[0\]\[1\]"),
        ([float("inf")], None, ValueError, r"weights\[0\] must be a finite number"),
        (["1"], None, TypeError, r"weights\[0\] must be a number, got '1'"),
        ([True], None, TypeError, "must be a number"),
        (1.0, None, TypeError, "weights must be a list"),
    ],
)
def test_wrong_schedules_are_refused(weights, thresholds, kind, words: str) -> None:
    with pytest.raises(kind, match=words):
        WeightSchedule(weights, thresholds)


@pytest.mark.parametrize("epoch", ["1", None, float("nan"), True])
def test_an_epoch_is_a_finite_number(epoch) -> None:
    with pytest.raises((TypeError, ValueError), match="epoch must be"):
        WeightSchedule([1.0]).at(epoch)
