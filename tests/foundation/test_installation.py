"""An installation that is mixed with the other project named segloss is noticed at the import."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from segloss.foundation.installation.extras import needs
from segloss.foundation.installation.mixture import REPAIR

ROOT = Path(__file__).parents[2]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder of installed packages, with a copy of this one."""
    shutil.copytree(ROOT / "segloss", tmp_path / "segloss")
    return tmp_path


def warnings_of(site: Path, code: str) -> str:
    """What a program prints on stderr that finds its packages in the folder."""
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code],
        cwd=site,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(site)},
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_a_sound_installation_does_not_warn(site: Path) -> None:
    (site / "pytorch_segloss-0.1.0.dist-info").mkdir()
    (site / "segloss_extensions-1.0.dist-info").mkdir()
    assert "installation" not in warnings_of(site, "import segloss")


def test_the_other_project_beside_it_is_named_with_the_repair(site: Path) -> None:
    (site / "segloss-0.0.1.dist-info").mkdir()
    warning = warnings_of(site, "import segloss")
    assert warning.count("another project, named segloss") == 1
    assert str(site / "segloss-0.0.1.dist-info") in warning
    assert REPAIR in warning


def test_the_modules_warn_under_the_other_projects_init(site: Path) -> None:
    (site / "segloss-0.0.1.dist-info").mkdir()
    (site / "segloss" / "__init__.py").write_text("")
    assert REPAIR in warnings_of(site, "from segloss.losses.seg_loss import SegLoss")


def test_a_lost_init_is_named_with_the_repair(site: Path) -> None:
    (site / "segloss" / "__init__.py").unlink()
    warning = warnings_of(site, "from segloss.losses.seg_loss import SegLoss")
    assert "has no __init__.py" in warning
    assert REPAIR in warning


def test_the_import_does_not_search_all_metadata() -> None:
    code = (
        "from importlib import metadata; import torch\n"
        "def fail(*_): raise AssertionError\n"
        "metadata.packages_distributions = metadata.distributions = fail; import segloss"
    )
    assert warnings_of(ROOT, code) == ""


def test_an_error_of_this_package_is_not_taken_for_a_missing_one() -> None:
    message = "cannot import name 'NoSuchName' from 'segloss'"
    with pytest.raises(ImportError, match=message), needs("A test", "cli"):
        from segloss import NoSuchName  # noqa: F401


def test_a_package_that_fails_to_load_is_named_with_the_reason(tmp_path, monkeypatch) -> None:
    (tmp_path / "damaged_library.py").write_text("from math import no_such_function")
    monkeypatch.syspath_prepend(tmp_path)
    message = r"A test needs math, which can't be imported \(cannot import name 'no_such"
    with pytest.raises(ImportError, match=message), needs("A test", "cli"):
        import damaged_library  # noqa: F401
