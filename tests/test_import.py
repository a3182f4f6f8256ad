"""`import segloss`: what it brings along, and which names it has."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import segloss

MOST_MODULES = 180
"""How many modules `import segloss` may load beyond those of `import torch`."""


def loaded_by(statement: str) -> set[str]:
    """The modules that a statement loads in a fresh process, beyond those of `import torch`."""
    code = (
        f"import json, sys, torch; before = set(sys.modules); {statement}; "
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    return set(json.loads(done.stdout))


@pytest.fixture(scope="module")
def modules() -> set[str]:
    return loaded_by("import segloss")


def test_the_import_is_light(modules: set[str]) -> None:
    assert len(modules) <= MOST_MODULES


def test_importing_segloss_loads_no_other_package(modules: set[str]) -> None:
    """OmegaConf waits for a config, and PyTorch's compiler for `torch.compile`."""
    packages = {name.split(".")[0] for name in modules}
    assert packages - sys.stdlib_module_names == {"segloss"}


@pytest.mark.parametrize("folder", ["tools", "compat", "config", "training", "frame_field"])
def test_the_upper_floors_load_when_they_are_asked_for(modules: set[str], folder: str) -> None:
    assert not {name for name in modules if name.startswith(f"segloss.{folder}")}


def test_a_loss_runs_without_more() -> None:
    step = (
        "import segloss; x = torch.zeros(1, 1, 4, requires_grad=True); "
        "segloss.SegLoss(from_logits=True)(x, torch.ones(1, 1, 4))[0].backward()"
    )
    assert "torch._dynamo" not in loaded_by(step)


def test_every_public_name_is_there() -> None:
    assert all(hasattr(segloss, name) for name in dir(segloss))
    assert set(segloss.__all__) <= set(dir(segloss))
    assert len(segloss.__all__) == len(set(segloss.__all__)) <= 50
    assert segloss.__version__


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'EntropyLoss'"):
        segloss.EntropyLoss  # noqa: B018


def test_type_checkers_see_the_names_that_load_when_they_are_used() -> None:
    module = ast.parse(Path(segloss.__file__).read_text())
    guarded = [
        statement
        for block in module.body
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for statement in block.body
        if isinstance(statement, ast.ImportFrom)
    ]
    declared = {each.module: tuple(alias.name for alias in each.names) for each in guarded}
    assert declared == segloss._LAZY_NAMES
