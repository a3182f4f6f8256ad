"""The weights that are drawn are those that training uses."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("matplotlib")

import matplotlib
from matplotlib.figure import Figure
from torch import nn

from segloss import LossWrapper, MultiLoss, SegLoss
from segloss.tools.plots import plot_overview, plot_schedules


@pytest.fixture
def losses() -> MultiLoss:
    named = [LossWrapper(nn.L1Loss(), name=name) for name in ("a", "b", "c")]
    return MultiLoss(named, [1.0, [0.0, 0.0, 2.0], [1.0, 0.5, 0.0]], [0, 4, 8])


def test_each_curve_is_the_interpolation_between_its_thresholds(losses) -> None:
    [axes] = plot_schedules(losses, range(-2, 12)).axes
    epochs = np.arange(-2, 12)
    expected = {
        "a": np.ones(14),
        "b": np.interp(epochs, [0, 4, 8], [0, 0, 2]),
        "c": np.interp(epochs, [0, 4, 8], [1, 0.5, 0]),
    }
    assert [line.get_label() for line in axes.lines] == list(expected)
    for line in axes.lines:
        np.testing.assert_array_equal(line.get_xdata(), epochs)
        np.testing.assert_allclose(line.get_ydata(), expected[line.get_label()], atol=1e-12)


def test_by_default_all_thresholds_are_drawn_and_what_comes_after(losses) -> None:
    x = plot_schedules(losses).axes[0].lines[0].get_xdata()
    assert {0, 4, 8} <= set(x)
    assert x[0] == 0
    assert 8 < x[-1] < 12


def test_constant_weights_are_drawn_without_thresholds() -> None:
    [line] = plot_schedules(MultiLoss([nn.L1Loss()], [3.0])).axes[0].lines
    assert set(line.get_ydata()) == {3.0}


def test_a_curve_that_others_cover_is_wider_than_they_are() -> None:
    named = [LossWrapper(nn.L1Loss(), name=name) for name in "abc"]
    widths = [
        line.get_linewidth() for line in plot_schedules(MultiLoss(named, [1, 2, 1])).axes[0].lines
    ]
    assert widths[0] > widths[1] == widths[2]


@pytest.mark.parametrize(("weights", "scale"), [([1.0, 0.1], "linear"), ([10, 0.01], "symlog")])
def test_the_axis_is_logarithmic_where_weights_are_far_apart(weights, scale) -> None:
    named = [LossWrapper(nn.L1Loss(), name=name) for name in "ab"]
    assert plot_schedules(MultiLoss(named, weights)).axes[0].get_yscale() == scale


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((SegLoss(),), "must be a MultiLoss"),
        ((MultiLoss([nn.L1Loss()], [1.0]), 5), "epochs must be a list"),
        ((MultiLoss([nn.L1Loss()], [1.0]), []), "epochs must be a list"),
        ((MultiLoss([nn.L1Loss()], [1.0]), [2, 1]), "epochs must increase"),
        ((MultiLoss([nn.L1Loss()], [1.0]), [0, float("nan")]), r"epochs\[1\]"),
    ],
)
def test_wrong_arguments(arguments, message) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        plot_schedules(*arguments)


def test_figures_are_returned_and_nothing_global_changes(losses) -> None:
    import matplotlib.pyplot as plt

    before = (dict(matplotlib.rcParams), plt.get_fignums())
    assert isinstance(plot_schedules(losses), Figure)
    assert (dict(matplotlib.rcParams), plt.get_fignums()) == before


def test_an_overview_has_the_weights_a_panel_for_each_loss_and_a_legend(losses) -> None:
    figure = plot_overview(losses)
    weights, *panels = figure.axes
    assert [line.get_label() for line in weights.lines] == ["a", "b", "c"]
    assert [axes.get_title() for axes in panels[:3]] == ["a", "b", "c"]
    assert all(len(axes.lines) == 4 for axes in panels[:3])
    assert panels[3].get_legend() is not None


def test_a_loss_that_takes_no_disc_has_a_panel_that_says_so() -> None:
    multi_loss = MultiLoss([SegLoss(), nn.TripletMarginLoss()], [1.0, 1.0])
    panels = plot_overview(multi_loss).axes[1:]
    assert len(panels[0].lines) == 4
    assert not panels[1].lines
    assert [text.get_text() for text in panels[1].texts] == ["takes no disc"]


def test_losses_of_an_overview_see_the_same_predictions() -> None:
    """Cross-entropy alone would be drawn with three classes."""
    entropy = nn.CrossEntropyLoss()
    losses = [SegLoss(n_classes=6, bce_coef=1.0, dice_coef=0.0), entropy]
    panels = plot_overview(MultiLoss(losses, [1.0, 1.0])).axes[1:3]
    for of_ours, of_pytorchs in zip(*(axes.lines for axes in panels), strict=True):
        np.testing.assert_allclose(of_ours.get_ydata(), of_pytorchs.get_ydata(), rtol=1e-4)


def test_wide_lines_are_narrower_in_the_legend() -> None:
    losses = MultiLoss([SegLoss(str(i)) for i in range(9)], [1.0] * 9)
    figure = plot_schedules(losses)
    assert figure.axes[0].lines[0].get_linewidth() > 15
    assert max(line.get_linewidth() for line in figure.legends[0].get_lines()) <= 6
