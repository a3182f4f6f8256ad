"""The command line: help, and mistakes, which are one line and exit code 2."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("typer")

import segloss
from segloss.sums.kernels import cpu_build
from segloss.tools.cli.app import app, run

ROOT = Path(__file__).parents[3]
BRAIN = str(ROOT / "examples" / "brain_tissue.yaml")
COMMANDS = [command.name or command.callback.__name__ for command in app.registered_commands]


@pytest.fixture(autouse=True)
def _narrow(monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERMINAL_WIDTH", "80")
    monkeypatch.setenv("NO_COLOR", "1")


def mistake(arguments: list[str], capsys) -> str:
    """The one line that a mistake writes."""
    assert run(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    [line] = printed.err.splitlines()
    assert line.startswith("segloss: error: ")
    return line


@pytest.mark.parametrize("arguments", [[], *([name] for name in COMMANDS)], ids=str)
def test_help_fits_80_columns_and_says_what_every_option_is(arguments, capsys) -> None:
    assert run([*arguments, "--help"]) == 0
    text = capsys.readouterr().out
    assert "Usage: " in text
    assert max(map(len, text.splitlines())) <= 80
    for option in re.findall(r"^│ [*]? *(--[\w-]+)(.*)$", text, re.MULTILINE):
        assert re.search(r"[a-z]{3}", option[1]), option


def test_version_is_the_packages_with_its_kernel(capsys) -> None:
    assert run(["--version"]) == 0
    version, kernel = capsys.readouterr().out.splitlines()
    assert version == f"segloss {segloss.__version__}"
    assert kernel == f"kernel for CPUs: {cpu_build.description()}"


@pytest.mark.parametrize("command", ["explain", "check", "plot"])
class TestOfConfigs:
    def test_a_file_that_is_not_there(self, command, capsys) -> None:
        assert "nowhere.yaml" in mistake([command, "nowhere.yaml"], capsys)

    def test_a_folder(self, command, tmp_path, capsys) -> None:
        mistake([command, str(tmp_path)], capsys)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("loss: {_target_: segloss.SegLos}", "did you mean 'segloss.SegLoss'"),
            ("loss: {_target_: segloss.SegLoss, dice_cof: 1}", "did you mean 'dice_coef'"),
            ("loss: {_target_: [", "can't be read"),
            ("training: {epochs: 3}", "The config has no loss"),
            ("", "The config has no loss"),
            ("loss: {_target_: os.system, command: 'touch hacked'}", "that a config may use"),
            ("loss: !!python/object/apply:os.system ['touch hacked']", "can't be read"),
            ("loss: {_target_: segloss.SegLoss, bce_coef: '${oc.env:HOME}'}", "oc.env"),
        ],
    )
    def test_what_is_wrong_in_it(self, command, text, message, tmp_path, monkeypatch, capsys):
        monkeypatch.chdir(tmp_path)
        Path("loss.yaml").write_text(text)
        assert message in mistake([command, "loss.yaml"], capsys)
        assert [path.name for path in Path().iterdir()] == ["loss.yaml"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lst"], "No such command 'lst'"),
        (["list", "--all"], "--all"),
        (["explain"], "Missing argument 'CONFIG'"),
        (["explain", BRAIN, "--shape", "4"], "--shape must be 3 to 5 whole numbers"),
        (["explain", BRAIN, "--shape", "4,0,8"], "above 0"),
        (["check", BRAIN, "--only", "scalars"], "did you mean 'scalar'"),
        (["plot", BRAIN, "--output", "picture.jpg"], "must end in .png or .svg"),
        (["plot", BRAIN, "--output", "nowhere/picture.png"], "in an existing folder"),
    ],
    ids=lambda value: " ".join(map(str, value)).replace(str(ROOT), "") if value else "",
)
def test_a_wrong_command_line(arguments, message, capsys) -> None:
    assert message in mistake(arguments, capsys)


def test_the_remedy_for_a_class_of_ones_own_is_an_option(tmp_path, capsys) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("loss: {_target_: house_losses.Dice}")
    assert run(["explain", str(config), "--no-cost"]) == 2
    message = capsys.readouterr().err
    assert message.endswith("allow it: --allow house_losses.\n")
    assert "build_loss" not in message


def test_allowed_classes_are_built(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "house_losses.py").write_text("from segloss import DiceLoss as Own\n")
    config = tmp_path / "loss.yaml"
    config.write_text("loss: {_target_: house_losses.Own, smooth: 3.0}")
    assert "house_losses" in mistake(["explain", str(config), "--no-cost"], capsys)
    assert run(["explain", str(config), "--no-cost", "--allow", "house_losses."]) == 0
    assert "smooth = 3.0 (default 1.0)" in capsys.readouterr().out


def test_the_module_runs_as_the_command() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "segloss", "explain", "nowhere.yaml"],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_without_the_extra_it_is_said_which(missing) -> None:
    code = (
        f"import sys; sys.modules[{missing!r}] = None; from segloss.tools.cli import main; main()"
    )
    result = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT
    )
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert 'pip install "pytorch-segloss[cli]"' in result.stderr
    assert missing in result.stderr
