"""The layers: a layer imports only from layers below it, and no shelf is too long."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "segloss"

LAYERS = (
    "foundation",
    "batch",
    "sums",
    "terms",
    "losses",
    "functional",
    "maps",
    "frame_field",
    "config",
    "training",
    "tools",
    "compat",
)
"""From the ground up. The package's own `__init__.py` and `__main__.py` stand on the roof."""

LONGEST_SHELF = 12


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def layer_of(module: str) -> int:
    name = [*module.split("."), "__init__"][1]
    return LAYERS.index(name) if name in LAYERS else len(LAYERS)


def imported_by(path: Path) -> set[str]:
    """The modules of segloss that a file imports, at its top or when it runs."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            submodules = {f"{node.module}.{each.name}" for each in node.names}
            found |= submodules if node.module == "segloss" else {str(node.module)}
        elif isinstance(node, ast.Import):
            found |= {each.name for each in node.names}
    return {name for name in found if name.split(".")[0] == "segloss"}


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=module_of)
def test_a_layer_imports_only_from_layers_below_it(path: Path) -> None:
    own = layer_of(module_of(path))
    assert {name for name in imported_by(path) if layer_of(name) > own} == set()


@pytest.mark.parametrize(
    "folder", sorted({path.parent for path in PACKAGE.rglob("*.py")}), ids=module_of
)
def test_no_shelf_is_too_long(folder: Path) -> None:
    assert len({*folder.glob("*.py")} - {folder / "__init__.py"}) <= LONGEST_SHELF


def test_contributing_shows_the_layers() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    rows = re.findall(r"^\| `([\w.]+)`", text[text.index("## The layers") :], re.MULTILINE)
    shown = [name.removesuffix(".py") for name in rows]
    assert tuple(name for name in reversed(shown) if name in LAYERS) == LAYERS
