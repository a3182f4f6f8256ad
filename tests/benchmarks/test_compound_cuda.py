"""The benchmark of a GPU, whose every measure a CPU can run dry, and the tables that it makes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import compound
import pytest
import torch
from harness import compound_cuda, measure_cuda, report, report_cuda
from harness.contenders import WORKLOADS, Workload
from harness.devices import Sample, StandIn
from harness.measure_cuda import Measurement
from torch import Tensor
from typer.testing import CliRunner

CONTENDERS = "segloss,pixel loss alone,MONAI,kornia,textbook,textbook compiled"
SECTIONS = ("binary2d", "city19", "small")


@pytest.fixture(scope="module")
def dry_run(tmp_path_factory) -> tuple[dict, str]:
    """The raw results, and what is printed; nothing is compiled, as that takes its time."""
    results = tmp_path_factory.mktemp("dry") / "results.json"
    command = [sys.executable, compound.__file__, "--device", "cuda", "--dry-run"]
    command += ["--seconds", "0.001", "--workloads", ",".join(SECTIONS)]
    command += ["--contenders", CONTENDERS, "--results", str(results)]
    environment = os.environ | {"TORCHDYNAMO_DISABLE": "1", "COLUMNS": "200"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)  # noqa: S603
    assert done.returncode == 0, done.stderr
    return json.loads(results.read_text()), done.stdout


def cells(table: str) -> dict[str, list[str]]:
    lines = [line.strip("|").split("|") for line in table.splitlines() if line.startswith("| ")]
    return {line[0].strip(): [cell.strip() for cell in line[1:]] for line in lines}


def test_a_dry_run_goes_through_every_measure(dry_run) -> None:
    measured, _ = dry_run
    parts = {part for result in measured["results"] for part in result["parts"]}
    assert parts == set(measure_cuda.PARTS)
    missing = [result for result in measured["results"] if "missing" in result]
    assert {result["contender"] for result in missing} == {"kornia"}
    for result in measured["results"]:
        if result not in missing:
            assert "graph_same_bits" in result or {"seconds", "peak", "launches"} < set(result)


def test_a_dry_run_says_that_it_is_one(dry_run) -> None:
    measured, printed = dry_run
    assert "with meaningless figures" in printed
    assert "with meaningless figures" in measured["machine"]["device"]["card"]
    assert measured["machine"]["kernel"] in {"cpu", "torch"}


def test_its_tables_have_every_workload_dtype_and_contender(dry_run) -> None:
    _, printed = dry_run
    for dtype in ("float32", "bfloat16"):
        [bar] = re.findall(rf"^\| SegLoss, {dtype} .*?\n\n", printed, re.DOTALL | re.MULTILINE)
        assert list(cells(bar)) == [
            f"SegLoss, {dtype}",
            "---",
            *(figure.title for figure in report_cuda.BAR),
        ]
        assert cells(bar)["over the fastest library"].count("not measured") == 0
        for workload in SECTIONS:
            title = rf"^\*\*{workload}\*\* [^\n]*, {dtype};[^\n]*\n\n"
            [table] = re.findall(rf"{title}((?:\|[^\n]*\n)+)", printed, re.MULTILINE)
            own = cells(table)["segloss"]
            assert len(own) == len(report_cuda.COLUMNS)
            assert all(own)
            assert ("textbook compiled" in cells(table)) == (workload != "small")
    assert re.search(r"^Not measured on a GPU:\n\n- kornia on binary2d", printed, re.MULTILINE)


def test_what_the_budget_leaves_out_is_listed(tmp_path: Path) -> None:
    jobs = [*compound_cuda.jobs(["small"], ["segloss", "textbook"])]
    measured = compound_cuda.measure_all(
        jobs, compound_cuda.TINY, StandIn(), 0.001, -1.0, tmp_path / "results.json"
    )
    text = report_cuda.cuda_report(measured)
    assert "- textbook on small in bfloat16: the budget of -1 s was spent" in text
    assert "| segloss |" not in text


def test_the_most_telling_figures_come_first() -> None:
    jobs = [*compound_cuda.jobs(list(WORKLOADS), list(report_cuda.EAGER + report_cuda.COMPILED))]
    assert jobs[0].contender == "segloss"
    compiled = [(job.contender, job.dtype) for job in jobs if "compiled" in job.contender]
    assert jobs[-len(compiled) :] == [job for job in jobs if "compiled" in job.contender]
    assert list(dict.fromkeys(compiled)) == [
        ("textbook compiled", "float32"),
        ("textbook compiled", "bfloat16"),
        ("segloss compiled", "float32"),
        ("segloss compiled", "bfloat16"),
    ]


def measurement_of(loss) -> Measurement:
    return Measurement("a loss", loss, 2, *Workload((2, 1, 6, 5), 2).batch(), StandIn(), 0.001)


def test_waits_are_counted_by_pytorchs_warnings() -> None:
    def loss(logits: Tensor, target: Tensor) -> Tensor:
        warnings.warn("called a synchronizing CUDA operation", stacklevel=1)
        warnings.warn("something else", stacklevel=1)
        return logits.mean()

    assert measure_cuda.waits_of(measurement_of(loss)) == 1


def test_runs_and_replays_with_other_bits_are_told() -> None:
    class Stale(StandIn):
        def capture(self, step):
            value = step()
            return lambda: value

    steps = iter(range(1, 100))
    noisy = measurement_of(lambda logits, target: logits.mean() * next(steps))
    assert not measure_cuda.measure_bits(noisy)["same_bits"]
    plain = measurement_of(lambda logits, target: (logits**2 + logits).mean())
    assert measure_cuda.measure_bits(plain)["same_bits"]
    assert measure_cuda.measure_graph(plain)["graph_same_bits"]
    stale = plain._replace(device=Stale())
    assert not measure_cuda.measure_graph(stale)["graph_same_bits"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_bits_tell_zeros_apart_and_not_nans(dtype: torch.dtype) -> None:
    zero, nan = (torch.tensor(value, dtype=dtype) for value in (0.0, float("nan")))
    assert measure_cuda.same_bits([zero, nan], [zero.clone(), nan.clone()])
    assert not measure_cuda.same_bits([zero], [-zero])
    assert not measure_cuda.same_bits([zero], [None])


def test_samples_for_which_the_device_waited_do_not_count() -> None:
    class Uneven(StandIn):
        samples = iter([Sample(9.0, 9.0, ran_dry=True), *[Sample(1.0, 2.0, ran_dry=False)] * 9])

        def time(self, step, hold):
            return next(self.samples)

    figures = measure_cuda.timed(Uneven(), lambda: torch.zeros(()), 1.0, seconds=0.0)
    assert (figures["seconds"], figures["host_seconds"], figures["samples"]) == (1.0, 2.0, 9)
    assert not figures["ran_dry"]


def test_a_part_that_fails_leaves_the_others(monkeypatch) -> None:
    def fails(measurement: Measurement) -> dict:
        raise RuntimeError("CUDA out of memory.\nand more")

    monkeypatch.setattr(measure_cuda, "PARTS", measure_cuda.PARTS | {"error": fails})
    figures = measure_cuda.measure(measurement_of(lambda x, y: x.mean()), ["error", "bits"])
    assert figures["missing"] == {"error": "RuntimeError: CUDA out of memory."}
    assert figures["same_bits"]


def test_the_floor_is_three_times_the_logits_and_twice_the_target() -> None:
    result = {"logits_bytes": 1000, "target_bytes": 100}
    assert report_cuda.floor_seconds(result, copy_speed=1600) == 2.0


def test_a_figure_that_misses_its_bound_is_bold() -> None:
    rows = {"segloss": {"seconds": 1.0, "same_bits": False}, "textbook": {"seconds": 4.0}}
    figure = report_cuda.Figure("", report_cuda.over("textbook"), at_most={"small": (0.3, 0.2)})
    assert figure.cell(rows, "small", "float32") == "0.25 ≤ 0.3"
    assert figure.cell(rows, "small", "bfloat16") == "**0.25 > 0.2**"
    assert figure.cell(rows, "city19", "float32") == "0.25"
    assert figure.cell({}, "small", "float32") == "not measured"
    bits = report_cuda.Figure("", report_cuda.segloss_figure("same_bits"))
    assert bits.cell(rows, "small", "float32") == "**other bits**"


def test_a_dry_run_is_never_written_into_the_documentation() -> None:
    for options in (["--device", "cuda", "--dry-run", "--write"], ["--dry-run"]):
        result = CliRunner().invoke(report_app(), options)
        assert result.exit_code == 2
        assert "--dry-run needs --device cuda" in " ".join(result.output.split())


def report_app():
    import typer

    app = typer.Typer()
    app.command()(compound.main)
    return app


def test_the_page_has_a_place_for_a_gpu_and_says_what_was_not_measured() -> None:
    page = (report.ROOT / "docs" / "performance.md").read_text()
    [section] = re.findall(r"<!-- benchmark: cuda -->\n(.*?)<!-- end -->", page, re.DOTALL)
    assert section.startswith("Not measured on a GPU") or " GB/s." in section
