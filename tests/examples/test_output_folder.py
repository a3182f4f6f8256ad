"""A folder of results belongs to one run at a time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from example_parts.configuration import command_line, parse
from example_parts.output_folder import FolderInUseError, output_folder

EXAMPLES = Path(__file__).parents[2] / "examples"

RUN = """
import sys
from pathlib import Path
from example_parts.output_folder import output_folder
with output_folder(Path(sys.argv[1])) as folder:
    folder.take()
    print("taken", flush=True)
    sys.stdin.read()
"""


def other_run(path: Path) -> subprocess.Popen[str]:
    """A run in another process that holds the folder until it is killed."""
    other = subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", RUN, str(path)],
        cwd=EXAMPLES,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "taken\n"
    return other


def test_a_second_run_is_refused_until_the_first_ends_in_whatever_way(tmp_path: Path) -> None:
    with other_run(tmp_path) as other, output_folder(tmp_path) as folder:
        with pytest.raises(FolderInUseError, match=r"Another run writes into .* --output"):
            folder.take()
        other.kill()
        other.wait()
        folder.take()
        folder.take()


def test_runs_after_each_other_share_a_folder(tmp_path: Path) -> None:
    for _ in range(2):
        with output_folder(tmp_path / "runs" / "new") as folder:
            folder.take()


def test_nothing_is_written_before_the_folder_is_taken(tmp_path: Path) -> None:
    with output_folder(tmp_path / "new"):
        pass
    assert not (tmp_path / "new").exists()


def test_only_the_first_process_of_a_run_takes_it(tmp_path: Path, monkeypatch) -> None:
    with output_folder(tmp_path) as first, output_folder(tmp_path) as second:
        first.take()
        monkeypatch.setenv("RANK", "1")
        second.take()


@pytest.mark.parametrize("result", ["checkpoint.pt", "frame_field.pt", "x.ckpt", "metrics.csv"])
def test_results_are_replaced_only_by_order(tmp_path: Path, result: str, capsys) -> None:
    (tmp_path / "loss.yaml").touch()  # written by hand, and no result
    command = command_line("An example.", tmp_path / "loss.yaml", tmp_path)
    assert parse(command, []).output == tmp_path
    (tmp_path / result).touch()
    with pytest.raises(SystemExit):
        parse(command, ["training.epochs=1"])
    message = capsys.readouterr().err
    assert f"{str(tmp_path)!r} holds the results of an earlier run" in message
    assert parse(command, ["--overwrite"]).overwrite
    assert parse(command, ["--resume"]).resume
    assert parse(command, ["--output", str(tmp_path / "new")]).output != tmp_path
    with pytest.raises(SystemExit):
        parse(command, ["--resume", "--overwrite"])


def test_only_the_first_process_looks_for_results(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "checkpoint.pt").touch()
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert parse(command_line("An example.", tmp_path, tmp_path), []).output == tmp_path
