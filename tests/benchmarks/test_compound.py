"""The benchmark: what it compares is comparable, and its arithmetic is right."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import compound
import pytest
import torch
import typer
from harness import contenders, report
from harness.contenders import CONTENDERS, PEERS, Workload

BENCHMARKS = Path(contenders.__file__).parents[1]


@pytest.mark.parametrize("classes", [2, 3])
def test_segloss_and_the_textbook_are_the_same_loss(classes: int) -> None:
    channels = 1 if classes == 2 else classes
    logits, target = Workload((2, channels, 6, 5), classes).batch(torch.float64)
    value = CONTENDERS["textbook"](classes)(logits, target)
    torch.testing.assert_close(CONTENDERS["segloss"](classes)(logits, target), value)


@pytest.mark.parametrize("name", ["segmentation-models-pytorch", "MONAI", "pytorch-toolbelt"])
@pytest.mark.parametrize("classes", [2, 3])
def test_peers_losses_are_scalars_with_gradients(name: str, classes: int) -> None:
    channels = 1 if classes == 2 else classes
    logits, target = Workload((2, channels, 6, 5), classes).batch()
    CONTENDERS[name](classes)(logits, target).backward()
    assert logits.grad is not None


@pytest.mark.parametrize(
    ("what", "keys"),
    [
        ("time", {"times"}),
        ("memory", {"peak", "kept"}),
        ("error", {"value_error", "relative_error", "gradient_error"}),
    ],
)
def test_a_measurement_is_printed_as_json(what: str, keys: set[str], monkeypatch) -> None:
    monkeypatch.setenv("SEGLOSS_BACKEND", "auto")
    job = {
        "contender": "segloss",
        "shape": [1, 3, 64, 64],
        "classes": 3,
        "what": what,
        "seconds": 0,
    }
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "harness.measure", json.dumps(job)],
        capture_output=True,
        text=True,
        check=True,
        cwd=BENCHMARKS,
    )
    result = json.loads(done.stdout)
    assert set(result) == keys
    if what == "memory":
        assert result["kept"] < 0.1  # sums per class, beside the inputs
    if what == "error":
        assert result["value_error"] < 1e-6


def time_of(workload: str, contender: str, *seconds: float) -> dict:
    return {"workload": workload, "contender": contender, "times": list(seconds)}


def test_rows_have_minimum_and_median_over_all_processes() -> None:
    results = [
        time_of("small", "segloss", 0.003, 0.001),
        time_of("small", "segloss", 0.002),
        time_of("small", "pixel loss alone", 0.002),
    ]
    rows = report.rows_of(results, "small")
    assert (rows[0].minimum, rows[0].middle) == pytest.approx((1.0, 2.0))
    assert report.cells_of(rows[0], report.pixel_row(rows))[:4] == ["1", "2", "0.50", "1.00"]


def test_the_growth_is_the_slope_in_a_log_log_plot() -> None:
    results = [time_of(f"pixels={4**k}", "segloss", 1e-6 * 4**k) for k in range(6, 9)]
    [line] = report.growth_lines(results)
    assert "to the power 1.00" in line
    assert "1.00 at the steepest step" in line


def test_every_line_of_the_plot_has_a_name_and_one_colour() -> None:
    """A contender may run in one panel alone, as kornia does, which takes only softmax."""
    both = [name for name in report.LINE_COLOURS if name != "kornia"]
    results = [time_of(f"pixels={2**k}", name, 1e-3) for name in both for k in (6, 8)]
    results += [time_of(f"classes={k}", name, 1e-3) for name in report.LINE_COLOURS for k in (2, 4)]
    figure = report.scaling_figure(results)
    legend = dict(
        zip(
            [text.get_text() for text in figure.legends[0].get_texts()],
            [line.get_color() for line in figure.legends[0].get_lines()],
            strict=True,
        )
    )
    assert set(legend) == {*PEERS, "segloss", "pixel loss alone", "textbook"}
    assert len(set(legend.values())) == len(legend)
    drawn = [line for axes in figure.axes for line in axes.lines]
    assert len(drawn) == 2 * len(legend) - 1
    assert all(line.get_color() == legend[line.get_label()] for line in drawn)


def test_the_first_page_has_the_figures_of_the_table() -> None:
    """Both are written from the same results; here the table's figures are the results."""
    page = (report.ROOT / "docs" / "performance.md").read_text()
    table = page[page.index("<!-- benchmark: bar -->") :].splitlines()
    heads, cells = (
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in (table[1], next(line for line in table if line.startswith("| city19 ")))
    )
    figures = dict(zip(heads, cells, strict=True))
    milliseconds = float(figures["SegLoss"].removesuffix(" ms"))
    results = [time_of("city19", "segloss", 1e-3 * milliseconds)]
    for name in ("textbook", "segmentation-models-pytorch", "MONAI"):
        results.append(time_of("city19", name, 1e-3 * milliseconds * float(figures[f"x {name}"])))
    assert report.headline(results) in (report.ROOT / "docs" / "index.md").read_text()


def test_unknown_names_are_refused() -> None:
    assert compound.chosen_names("workloads", "small, city19", ["small", "city19"]) == [
        "small",
        "city19",
    ]
    with pytest.raises(typer.BadParameter, match="workloads has \\['smal'\\]"):
        compound.chosen_names("workloads", "smal", ["small"])


def test_a_process_that_fails_is_left_out_with_its_reason() -> None:
    job = compound.Job("small", (1, 1, 4), 2, "no such contender", "time")
    assert "no such contender" in compound.run(job)["missing"]
