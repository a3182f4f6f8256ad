"""The code blocks of README and docs run, in order, and their configs build losses."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import segloss
from segloss import build_loss
from segloss.losses.term_losses import TermLoss
from segloss.terms import TERMS
from tests.compat.migration import TESTS
from tests.support.versions import MONAI_1_5

ROOT = Path(__file__).parents[2]
PROGRAMS = ROOT / "docs" / "integrations.md"  # whose code runs in tests/programs
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
LOSSES = {
    name: loss.term_type
    for name, loss in vars(segloss).items()
    if isinstance(loss, type) and issubclass(loss, TermLoss) and loss is not TermLoss
}


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page != PROGRAMS], ids=lambda page: page.name
)
def test_the_python_of_a_page_runs(page: Path, tmp_path: Path, monkeypatch) -> None:
    if MONAI_1_5 and "SoftclDiceLoss(" in page.read_text():
        pytest.skip("clDice of MONAI 1.6")
    monkeypatch.chdir(tmp_path)
    for config in blocks(page, "yaml"):
        Path("loss.yaml").write_text(config)
    namespace: dict = {}
    for code in blocks(page, "python"):
        exec(compile(code, page.name, "exec"), namespace)  # noqa: S102


@pytest.mark.parametrize(
    "config",
    [block for page in PAGES if page != PROGRAMS for block in blocks(page, "yaml")],
)
def test_the_configs_of_the_pages_build_losses(config: str) -> None:
    build_loss(config)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_within_a_page_lead_to_its_headings(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings}
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= anchors


def test_the_overview_of_terms_names_them_all_with_their_classes() -> None:
    page = (ROOT / "docs" / "losses.md").read_text()
    rows = re.findall(r"^\| \[`(\w+)`\]\(#[\w-]+\) \| `(\w+)` \| `?(\w+)", page, re.MULTILINE)
    assert {name: term for name, term, _ in rows} == {n: t.__name__ for n, t in TERMS.items()}
    for name, _, loss in rows:
        assert name == "cross_entropy" or getattr(segloss, loss).term_type is TERMS[name]
        assert f"](images/terms/{name}.png)" in page


def test_every_term_has_a_formula_a_picture_and_code() -> None:
    page = (ROOT / "docs" / "losses.md").read_text()
    for name, term in TERMS.items():
        (section,) = re.findall(
            rf"^### [^\n]+\n\n`{name}`.*?(?=^##)", page, re.DOTALL | re.MULTILINE
        )
        assert "\n$$" in section
        assert f"](images/terms/{name}.png)" in section
        code = "".join(re.findall(r"^```python\n(.*?)^```", section, re.DOTALL | re.MULTILINE))
        loss = next((k for k, v in LOSSES.items() if v is term), "SegLoss")
        assert f"{loss}(" in code, name


def test_every_row_of_the_migration_tables_has_tests_that_exist() -> None:
    page = (ROOT / "docs" / "migrating.md").read_text()
    sections = dict(part.split("\n", 1) for part in page.split("\n## ")[1:])
    rows = {
        title: dict(re.findall(r"^\| (.+?) \| (.+) \|$", text, re.MULTILINE))
        for title, text in sections.items()
    }
    named = {title: [*cells][2:] for title, cells in rows.items() if cells}
    assert named == {title: [*tests] for title, tests in TESTS.items()}
    for tests in TESTS.values():
        for name in (name for names in tests.values() for name in names):
            path, _, test = name.partition("::")
            assert f"def {test}" in (ROOT / "tests" / path).read_text(), name


def test_every_promise_names_tests_that_exist() -> None:
    page = (ROOT / "docs" / "guarantees.md").read_text()
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| ")]
    promises = [(promise, held_by) for promise, held_by in rows if promise != "promise"]
    assert len(promises) > 30
    for promise, held_by in promises:
        tests = re.findall(r"`([^`]+)::(test_\w+)`", held_by)
        assert tests or "](" in held_by, promise
        for path, test in tests:
            source = (ROOT / "tests" / path).read_text()
            assert re.search(rf"^def {test}\(", source, re.MULTILINE), f"{path}::{test}"
