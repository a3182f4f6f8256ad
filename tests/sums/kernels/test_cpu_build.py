"""The compilation of the CPU kernel: what fails is recorded, shown, and warned of."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from segloss.sums.kernels import cpu_build

pytest.importorskip("setuptools")
if os.name == "nt":
    pytest.skip("the compilers of these tests are shell scripts", allow_module_level=True)

ROOT = Path(__file__).parents[3]
KERNELS = Path("segloss/sums/kernels")
FAILING = "echo \"native/module.cpp:7:9: error: no [type] '_Float16'\" >&2; exit 1"
"""A compiler that stops at an error. Brackets are markup for some terminals."""

EMPTY = 'while [ "$1" != -o ]; do shift; done; : > "$2"'
"""A compiler whose output is empty files."""

SETUP = """
import runpy, sys, sysconfig
sysconfig.get_config_vars()["Py_GIL_DISABLED"] = {gil_disabled}
sys.argv = ["setup.py", *{arguments}]
runpy.run_path("setup.py", run_name="__main__")
"""
"""A build by setup.py; an editable installation builds in place."""

STEP = """
import warnings
import torch
import segloss
from segloss import SegLoss
loss = SegLoss(from_logits=True, tversky_focal_coef=0.5)
def step(dtype=torch.float32, loss=loss):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loss(torch.zeros(1, 1, 4, 4, dtype=dtype), torch.ones(1, 4, 4).long())
    return [str(each.message) for each in caught if "segloss" in str(each.message)]
"""


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A copy of the sources, without what was compiled."""
    ignored = shutil.ignore_patterns("_cpu*.so", cpu_build.RECORD.name, "__pycache__")
    for folder in ("segloss", "native"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=ignored)
    for file in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, tmp_path / file)
    return tmp_path


def build(
    sources: Path,
    compiler: str,
    gil_disabled: int = 0,
    command: str = "build_ext --inplace --force",
    **environment: str,
) -> subprocess.CompletedProcess[str]:
    """Runs setup.py with a compiler that is a shell script."""
    script = sources / "compiler"
    script.write_text(f"#!/bin/sh\n{compiler}\n")
    script.chmod(0o755)
    variables = dict.fromkeys(("CC", "CXX", "LDSHARED", "LDCXXSHARED"), str(script))
    program = SETUP.format(gil_disabled=gil_disabled, arguments=command.split())
    return subprocess.run(  # noqa: S603
        [sys.executable, "-c", program],
        cwd=sources,
        capture_output=True,
        text=True,
        env={**os.environ, **variables, **environment},
    )


def run(sources: Path, program: str, **environment: str) -> str:
    """Runs a program with the copy of the package, and returns what it prints."""
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", program],
        cwd=sources,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(sources), "SEGLOSS_BACKEND": "auto", **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_failure_is_recorded_and_shown_with_the_remedy(sources: Path) -> None:
    done = build(sources, FAILING)
    assert done.returncode == 0
    assert "without its C++ kernel for CPUs: native/module.cpp:7:9: error: no [type]" in done.stderr
    program = """
import segloss
from segloss.tools.cli.app import run
print(segloss.backends()[0])
try:
    segloss.use_backend("cpu")
except ValueError as error:
    print("refused:", error)
run(["backends"])
"""
    printed = run(sources, program, COLUMNS="1000")
    assert printed.count("error: no [type] '_Float16'") >= 4
    assert f"{sources / KERNELS / cpu_build.RECORD.name} has the output" in printed
    assert printed.count(cpu_build.REMEDY) == 2  # in backends(), and in the command


def test_a_missing_compiler_is_named(sources: Path) -> None:
    build(sources, "", CXX="/no/such/g++", CC="/no/such/g++")
    printed = run(sources, "import segloss; print(segloss.backends()[0])")
    assert "it was not compiled: the compiler /no/such/g++ was not found. " in printed


def test_a_compiler_that_fails_without_an_error_is_named_without_its_command(sources) -> None:
    build(sources, "exit 126")
    printed = run(sources, "import segloss; print(segloss.backends()[0])")
    assert f"the compiler {sources / 'compiler'} failed with exit code 126. " in printed


def test_the_first_batch_that_it_would_serve_warns_and_no_other(sources: Path) -> None:
    build(sources, FAILING)
    program = STEP + "print(step(torch.float64)); print(step()); print(step())"
    before, warning, after = run(sources, program).splitlines()
    assert before == after == "[]"
    assert "error: no [type]" in warning
    assert cpu_build.REMEDY in warning


@pytest.mark.parametrize("remedy", ['segloss.use_backend("torch")', "SEGLOSS_BACKEND=torch"])
def test_the_warning_names_what_silences_it(sources: Path, remedy: str) -> None:
    build(sources, FAILING)
    assert remedy in run(sources, STEP + "print(step())")
    name, _, value = remedy.partition("=")
    setting, call = ({name: value}, "") if value else ({}, remedy)
    assert run(sources, f"{STEP}\n{call}\nprint(step())", **setting).strip() == "[]"


def test_without_the_kernel_a_compiled_loss_warns_too_and_stays_whole(sources: Path) -> None:
    build(sources, FAILING)
    program = STEP + "print(step(loss=torch.compile(loss, fullgraph=True, backend='eager')))"
    assert cpu_build.REMEDY in run(sources, program)


def test_a_required_kernel_that_fails_is_an_error(sources: Path) -> None:
    assert build(sources, FAILING, SEGLOSS_REQUIRE_KERNEL="1").returncode != 0
    assert build(sources, FAILING, SEGLOSS_REQUIRE_KERNEL="0").returncode == 0


@pytest.mark.parametrize(("compiler", "tag"), [(FAILING, "py3-none-any"), (EMPTY, "cp310-abi3-")])
def test_a_wheel_is_for_a_platform_if_it_has_machine_code(sources, compiler, tag) -> None:
    build(sources, compiler, command="bdist_wheel")
    [wheel] = (sources / "dist").glob("*.whl")
    assert f"-{tag}" in wheel.name
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        [description] = [name for name in names if name.endswith("/WHEEL")]
        assert f"Tag: {tag}" in archive.read(description).decode()
    assert any(name.endswith(".so") for name in names) == ("any" not in tag)
    assert ("segloss/sums/kernels/_cpu_failure.txt" in names) == ("any" in tag)


def test_a_later_build_replaces_the_record_and_the_module(sources: Path) -> None:
    build(sources, FAILING)
    build(sources, EMPTY)
    assert not (sources / KERNELS / cpu_build.RECORD.name).exists()
    [module] = (sources / KERNELS).glob("_cpu*.so")
    shown = run(sources, "import segloss; print(segloss.backends()[0])")
    assert f"it was compiled, but can't be loaded here: {module}" in shown  # it is empty
    build(sources, FAILING)
    assert not list((sources / KERNELS).glob("_cpu*.so"))  # it came from other sources


@pytest.mark.parametrize("gil_disabled", [0, 1])
def test_a_python_without_its_global_lock_gets_a_module_of_its_own(sources, gil_disabled) -> None:
    build(sources, f'echo "$@" >> {sources}/arguments; {EMPTY}', gil_disabled)
    [module] = (sources / KERNELS).glob("_cpu*.so")
    is_for_many = ".abi3." in module.name
    assert is_for_many == ("-DPy_LIMITED_API=" in (sources / "arguments").read_text())
    assert is_for_many == (not gil_disabled)


def test_what_was_built_is_told() -> None:
    if cpu_build.module is None:
        pytest.skip("there was no compiler where the package was built")
    described = cpu_build.description()
    assert "compiled by" in described
    assert described.count("(in use)") == 1
    for name in cpu_build.module.instruction_sets():
        assert name in described
