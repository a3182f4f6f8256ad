"""`segloss doctor`: what it finds, and what is wrong."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
import torch

import segloss
from segloss.foundation.installation import mixture
from segloss.foundation.installation.extras import EXTRAS
from segloss.sums.kernels import cpu_build
from segloss.tools.doctor import doctor
from segloss.tools.doctor.requirements import missing_of, required_by

ROOT = Path(__file__).parents[3]

METADATA = """\
Metadata-Version: 2.4
Name: pytorch-segloss
Version: 0.1.0
Requires-Dist: torch>=2.4
Requires-Dist: rich>=13; extra == "cli"
Requires-Dist: no-such-package<3,>=2.10; extra == "cli"
Requires-Dist: numpy>=999.1; python_version >= "3.10" and extra == 'plots'
Requires-Dist: pytorch-segloss[cli,plots]; extra == "examples"
Requires-Dist: tqdm; extra == "examples"
"""


@pytest.fixture
def _installed(tmp_path: Path, monkeypatch) -> None:
    """An installation with the metadata above."""
    folder = tmp_path / "pytorch_segloss-0.1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(METADATA)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("_installed")
class TestOfExtras:
    def test_an_extra_may_include_others(self) -> None:
        assert required_by("cli") == {"rich": ">=13", "no-such-package": "<3,>=2.10"}
        assert required_by("examples") == {
            **required_by("cli"),
            "numpy": ">=999.1",
            "tqdm": "",
        }

    def test_what_is_missing_or_too_old_is_named(self) -> None:
        assert missing_of("plots") == ["numpy>=999.1"]
        assert missing_of("examples") == ["no-such-package<3,>=2.10", "numpy>=999.1"]
        assert missing_of("maps") == []

    def test_the_report_has_every_extra(self, capsys) -> None:
        doctor()
        printed = capsys.readouterr().out
        for extra in EXTRAS:
            assert re.search(rf"^  {extra} \(.*\): ", printed, re.MULTILINE)
        assert "plots (segloss.tools.plots, segloss plot): lacks numpy>=999.1" in printed
        assert 'pip install "pytorch-segloss[NAME]"' in printed


def test_the_report_has_what_a_maintainer_asks_for(capsys, monkeypatch) -> None:
    monkeypatch.setenv("SEGLOSS_TEST", "1")
    doctor()
    printed = capsys.readouterr().out
    python = ".".join(map(str, sys.version_info[:3]))
    for fact in (segloss.__version__, f"Python {python}", torch.__version__, "SEGLOSS_TEST=1"):
        assert fact in printed
    assert cpu_build.description() in printed
    for backend in segloss.backends():
        assert str(backend).splitlines()[0] in printed


def test_a_sound_installation_has_exit_code_0(capsys, monkeypatch) -> None:
    monkeypatch.setattr(cpu_build, "WHY_NOT_BUILT", "")
    monkeypatch.setattr(mixture, "other_distributions", list)
    assert doctor() == 0
    assert capsys.readouterr().out.endswith("No problems.\n")


def test_a_missing_kernel_is_a_problem(capsys, monkeypatch) -> None:
    monkeypatch.setattr(cpu_build, "WHY_NOT_BUILT", "it was not compiled: there was no compiler")
    monkeypatch.setattr(cpu_build, "module", None)
    assert doctor() == 1
    problems = [p for p in capsys.readouterr().out.splitlines() if p.startswith("PROBLEM: ")]
    assert any("no compiler" in p and cpu_build.REMEDY in p for p in problems)


def test_a_torchvision_of_another_build_is_a_problem(tmp_path, capsys, monkeypatch) -> None:
    reason = "operator torchvision::nms does not exist"
    (tmp_path / "torchvision.py").write_text(f"raise RuntimeError({reason!r})\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    assert doctor() == 1
    [problem] = [p for p in capsys.readouterr().out.splitlines() if "PROBLEM: torchvision" in p]
    assert reason in problem
    assert "install --force-reinstall torch torchvision" in problem


def test_another_distribution_on_the_path_is_a_problem(tmp_path, capsys, monkeypatch) -> None:
    folder = tmp_path / "segloss-0.0.1.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: segloss\nVersion: 0.0.1\n")
    (folder / "RECORD").write_text("segloss/__init__.py,,\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert mixture.other_distributions() == ["segloss"]
    assert doctor() == 1
    assert mixture.REPAIR in capsys.readouterr().out


def test_an_installation_without_metadata_is_told(capsys, monkeypatch) -> None:
    def not_found(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", not_found)
    doctor()
    assert "segloss runs from its sources" in capsys.readouterr().out


@pytest.mark.parametrize("hidden", ["", "typer"])
def test_the_command_needs_no_extra(hidden: str) -> None:
    code = (
        f"import sys; sys.modules[{hidden!r}] = None; sys.argv[1:] = ['doctor']\n"
        "from segloss.tools.cli import main; main()"
    )
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode in (0, 1), done.stderr
    assert done.stdout.startswith("Installation\n")
    assert not done.stderr
