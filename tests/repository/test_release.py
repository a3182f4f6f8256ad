"""What a release needs: one version, a changelog in its form, extras that hold together."""

from __future__ import annotations

import re
from pathlib import Path

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


def test_ci_runs_what_contributing_says() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    for command in ("ruff check", "ruff format --check", "mypy", "mkdocs build --strict"):
        assert command in script
    assert ".ci/release" in script
    assert "tests/smoke.py" in (ROOT / ".ci" / "release").read_text()
