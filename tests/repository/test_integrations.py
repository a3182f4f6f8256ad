"""The page about other programs shows the files that run inside them, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "integrations.md").read_text()
RECIPES = [path for path in sorted((ROOT / "examples" / "programs").iterdir()) if path.is_file()]
SHOWN = re.findall(r"^```(?:python|yaml|json)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.name)
def test_the_page_shows_each_recipe_as_it_is(recipe: Path) -> None:
    assert recipe.read_text() in SHOWN
    assert f"](../examples/programs/{recipe.name})" in PAGE


def test_each_code_on_the_page_is_a_recipe() -> None:
    texts = [recipe.read_text() for recipe in RECIPES]
    assert [code for code in SHOWN if code not in texts] == []


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.name)
def test_a_test_runs_each_recipe_in_its_program(recipe: Path) -> None:
    tests = (ROOT / "tests" / "programs").glob("test_*.py")
    runs = rf"(from programs import |from programs\.|examples/programs/){recipe.stem}\b"
    runs += rf'|"{re.escape(recipe.name)}"'
    runs += rf'|"{re.escape(recipe.name)}"'
    assert any(re.search(runs, path.read_text()) for path in tests)
