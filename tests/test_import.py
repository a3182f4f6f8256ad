"""What `import segloss` brings along."""

from __future__ import annotations

import subprocess
import sys

import segloss


def run(code: str) -> str:
    return subprocess.run(  # noqa: S603
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout


def test_importing_segloss_loads_no_optional_package() -> None:
    optional = (
        "scipy matplotlib lightning pytorch_lightning transformers accelerate skimage monai hydra "
        "segmentation_models_pytorch numpy.testing typer rich pylatexenc"
    )
    loaded = run(
        f"import sys, torch; before = set(sys.modules); import segloss; "
        f"print([name for name in {optional.split()!r} if name in set(sys.modules) - before])"
    )
    assert loaded.strip() == "[]"


def test_every_public_name_is_there() -> None:
    assert all(hasattr(segloss, name) for name in segloss.__all__)
    assert segloss.__version__
