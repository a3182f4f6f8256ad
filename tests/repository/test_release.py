"""What a release needs: one version, a changelog in its form, extras that hold together."""

from __future__ import annotations

import re
import runpy
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest
import wheels
import yaml
from packaging.requirements import Requirement

import segloss
from tests.support.only_extras import PROJECT

ROOT = Path(__file__).parents[2]


def test_the_version_is_written_in_one_place() -> None:
    version = re.compile(rf"\b{re.escape(segloss.__version__)}\b")
    places = [ROOT / "pyproject.toml", ROOT / "mkdocs.yml", *(ROOT / "segloss").rglob("*.py")]
    assert [path.name for path in places if version.search(path.read_text())] == ["__init__.py"]


def test_the_changelog_is_in_the_form_of_keep_a_changelog() -> None:
    lines = (ROOT / "CHANGELOG.md").read_text().splitlines()
    assert lines[0] == "# Changelog"
    assert "keepachangelog.com" in "\n".join(lines[:5])
    releases = [line for line in lines if line.startswith("## ")]
    assert releases[0] == "## [Unreleased]"
    for release in releases[1:]:
        assert re.fullmatch(r"## \[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", release), release
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert {line.removeprefix("### ") for line in lines if line.startswith("### ")} <= kinds
    assert all(re.match(r"#|- |  \S|$|All notable", line) for line in lines), "entries are lists"


def test_ci_takes_the_test_command_from_the_readme() -> None:
    lines = (ROOT / "README.md").read_text().splitlines()
    [command] = [line for line in lines if '".[dev]"' in line]
    assert command.endswith("&& pytest -n logical")


def test_pypi_shows_readme_with_links_into_the_repository() -> None:
    setup = runpy.run_path(str(ROOT / "setup.py"))
    here, shown = (ROOT / "README.md").read_text(), setup["readme_for_pypi"]()
    links = re.compile(r"(!?)\[[^]]*\]\(([^)]+)\)")
    repository = re.search(r'^Repository = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.M)[1]
    version = f"v{segloss.__version__}"
    pairs = zip(links.findall(here), links.findall(shown), strict=True)
    for (is_picture, link), (_, absolute) in pairs:
        kind = "raw" if is_picture else "blob"
        assert absolute in (f"{repository}/{kind}/{version}/{link}", link)
        assert absolute.startswith(("https://", "#"))
    assert links.sub("", shown) == links.sub("", here)


def test_the_workflows_run_commands_that_exist() -> None:
    for path in (ROOT / ".github" / "workflows").glob("*.yml"):
        jobs = yaml.safe_load(path.read_text())["jobs"].values()
        steps = [step.get("run", "") for job in jobs for step in job.get("steps", ())]
        used = [word for run in steps for word in re.findall(r"(?:\.ci|tests|scripts)/[\w.]+", run)]
        used += [job["uses"] for job in jobs if "uses" in job]
        assert used == [] or all((ROOT / file).is_file() for file in used), used
        extras = [extra for run in steps for extra in re.findall(r'"\.\[(\w+)\]"', run)]
        assert all(f"\n{extra} = [" in (ROOT / "pyproject.toml").read_text() for extra in extras)


def test_a_wheel_is_tried_with_all_that_it_requires() -> None:
    """It is installed from the wheelhouse alone, so that no wheel of PyPI is tried in its place."""
    release = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text())
    runs = [step.get("run", "") for step in release["jobs"]["try"]["steps"]]
    [before] = [run.split()[2:] for run in runs if re.fullmatch(r"pip install [\w ]+", run)]
    assert set(before) == {Requirement(each).name for each in PROJECT["dependencies"]}


def test_every_platform_of_the_wheels_is_examined() -> None:
    examined = (ROOT / "scripts" / "wheel_checks.py").read_text()
    for target in wheels.TARGETS.values():
        assert f'"{target.tags.split(".")[0]}": ' in examined


def test_the_description_of_a_wheel_names_its_platform_alone() -> None:
    before = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n\n"
    described = wheels.described(before, wheels.TARGETS["linux-aarch64"]).splitlines()
    tags = [line for line in described if line.startswith("Tag: ")]
    assert tags == [
        "Tag: cp310-abi3-manylinux_2_17_aarch64",
        "Tag: cp310-abi3-manylinux2014_aarch64",
    ]
    assert described[:2] == ["Wheel-Version: 1.0", "Root-Is-Purelib: false"]


def test_the_configuration_of_python_suits_this_machine(tmp_path: Path) -> None:
    """The sizes that the compiler knows are those of Python's own pyconfig.h."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    macros = re.findall(r"#define (SIZEOF_\w+)", wheels.CONFIGURATION)
    lines = [f"long long {m}_ = {m};" for m in macros]
    (tmp_path / "sizes.c").write_text("\n".join([wheels.CONFIGURATION, *lines]))
    command = [compiler, "-E", "-P", str(tmp_path / "sizes.c")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    sizes = {name: int(size) for name, size in re.findall(r"(SIZEOF_\w+)_ = (\d+)", done.stdout)}
    assert sizes == {name: sysconfig.get_config_var(name) for name in macros}


def test_no_tracked_file_is_ignored() -> None:
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("needs a checkout")
    listing = [git, "ls-files", "--cached", "--ignored", "--exclude-standard"]
    done = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout.split() == []
