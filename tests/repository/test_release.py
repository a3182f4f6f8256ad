"""What a release needs: one version, a changelog in its form, extras that hold together."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

import segloss

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


def test_no_tracked_file_is_ignored() -> None:
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("needs a checkout")
    listing = [git, "ls-files", "--cached", "--ignored", "--exclude-standard"]
    done = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout.split() == []
