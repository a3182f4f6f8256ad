"""Curves are what the log says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from segloss.tools.plots import plot_curves
from segloss.tools.plots.curves import moving_average


@pytest.fixture
def log(tmp_path) -> Path:
    """As Lightning writes it: validation has lines of its own, with gaps in the others'."""
    path = tmp_path / "metrics.csv"
    path.write_text(
        "epoch,loss/ce,loss/ce/norm,loss/ce/weight,loss/seg,loss/seg.part,loss/seg/weight,step,val\n"
        "0,2.0,1,1.0,1.0,0.3,0.5,0,\n"
        "0,,,,,,,0,0.9\n"
        "1,1.5,1,0.5,,0.2,0.5,1,\n"
        "1,1.0,1,0.0,0.25,0.1,0.5,2,\n"
    )
    return path


def drawn(axes) -> dict[str, tuple[list[float], list[float]]]:
    return {
        line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines
    }


def test_components_and_weights_are_drawn_over_the_steps_without_the_gaps(log) -> None:
    losses, weights = plot_curves(log).axes
    assert drawn(losses) == {
        "ce": ([0, 1, 2], [2.0, 1.5, 1.0]),
        "seg": ([0, 2], [1.0, 0.25]),
        "seg.part": ([0, 1, 2], [0.3, 0.2, 0.1]),
    }
    assert drawn(weights) == {
        "ce": ([0, 1, 2], [1.0, 0.5, 0.0]),
        "seg": ([0, 1, 2], [0.5, 0.5, 0.5]),
    }


def test_a_weight_has_the_colour_of_its_loss(log) -> None:
    losses, weights = plot_curves(log).axes
    colours = {line.get_label(): line.get_color() for line in losses.lines}
    assert len(set(colours.values())) == 3
    for line in weights.lines:
        assert line.get_color() == colours[line.get_label()]


def test_another_prefix_and_another_axis(log) -> None:
    log.write_text(log.read_text().replace("loss/", "train/"))
    [losses, _] = plot_curves(log, prefix="train", x="epoch").axes
    assert drawn(losses)["ce"] == ([0, 1, 1], [2.0, 1.5, 1.0])


def test_a_log_without_weights_has_one_panel(tmp_path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("step,loss/a\n0,1\n1,-1\n")
    [axes] = plot_curves(path).axes
    assert axes.get_yscale() == "linear"


def test_losses_above_0_have_a_logarithmic_axis(log) -> None:
    assert plot_curves(log).axes[0].get_yscale() == "log"


def test_many_values_are_drawn_pale_with_their_average_on_top(tmp_path) -> None:
    path = tmp_path / "log.csv"
    values = np.random.default_rng(0).random(300)
    path.write_text("step,loss/a\n" + "".join(f"{i},{v}\n" for i, v in enumerate(values)))
    pale, average = plot_curves(path).axes[0].lines
    np.testing.assert_allclose(pale.get_ydata(), values)
    expected = [values[max(i - 10, 0) : i + 1].mean() for i in range(300)]  # 300 // 30 + 1
    np.testing.assert_allclose(average.get_ydata(), expected)
    assert average.get_label() == "a"


def test_the_average_of_few_values_is_themselves() -> None:
    np.testing.assert_allclose(moving_average(np.arange(5.0)), np.arange(5.0))


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("step,val\n0,1\n", {}, "must have columns named loss/<loss>.*: step, val"),
        ("stp,loss/a\n0,1\n", {}, "no column 'step'.*did you mean 'stp'"),
        ("step,loss/a\n0,one\n", {}, "'loss/a' must hold numbers, got 'one'"),
        ("step,loss/a\n", {}, "must be a CSV file"),
        ("", {}, "must be a CSV file"),
        ("step,loss/a\n0,1\n", {"prefix": ""}, "prefix must not be empty"),
    ],
)
def test_a_log_that_is_none(text, options, message, tmp_path) -> None:
    path = tmp_path / "log.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        plot_curves(path, **options)


def test_a_log_that_is_not_there(tmp_path) -> None:
    with pytest.raises(FileNotFoundError):
        plot_curves(tmp_path / "nowhere.csv")


def test_without_matplotlib_the_extra_is_named() -> None:
    code = "import sys; sys.modules['matplotlib'] = None; import segloss.tools.plots"
    result = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    assert result.returncode == 1
    assert 'pip install "pytorch-segloss[plots]"' in result.stderr.splitlines()[-1]
