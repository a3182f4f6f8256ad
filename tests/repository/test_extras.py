"""Each extra alone: all that README and the docs run with it works with what it installs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segloss.foundation.installation.extras import EXTRAS
from segloss.tools.cli.app import app
from tests.support.only_extras import OWN, PROJECT, installed_with

ROOT = Path(__file__).parents[2]
ONLY = ROOT / "tests" / "support" / "only_extras.py"
BRAIN = str(ROOT / "examples" / "brain_tissue.yaml")

FOR_DEVELOPERS = {"bench", "dev", "docs", "programs", "release"}

SHORT_BRAIN = (
    *("data.slice_step=16", "augmentation.crop=32", "training.epochs=1"),
    "loss_params.compound_loss.normalization_params.max_samples=4",
)
SHORT_FOLDER = (
    *("augmentation.crop=32", "training.batch_size=2", "training.epochs=1"),
    *("model.stem_width=4", "model.encoder_channels=[8]", "model.decoder_channels=[8,8]"),
)
FOLDERS = ("--images", "images", "--masks", "masks")

SUGGEST = ("-m", "segloss", "suggest", "masks")

PROGRAMS = {
    "": [
        ("-c", "from segloss import build_loss; build_loss('loss: {_target_: segloss.SegLoss}')"),
        ("-m", "segloss", "doctor"),
        ("-m", "segloss", "--version"),
    ],
    "cli": [
        ("-m", "segloss", "list"),
        ("-m", "segloss", "explain", BRAIN),
        ("-m", "segloss", "check", BRAIN, "--only", "scalar"),
        ("-m", "segloss", "backends"),
    ],
    "cli,plots": [("-m", "segloss", "plot", BRAIN)],
    "examples": [
        SUGGEST,
        (ROOT / "examples" / "train_folder.py", *FOLDERS, "--config", "loss.yaml", *SHORT_FOLDER),
        (ROOT / "examples" / "brain_tissue.py", *SHORT_BRAIN),
        (ROOT / "examples" / "building_footprints.py", "--help"),
    ],
    "examples,huggingface": [(ROOT / "examples" / "accelerate_unet.py", "--help")],
    "examples,lightning": [(ROOT / "examples" / "lightning_brain.py", "--help")],
    "huggingface": [
        (
            "-c",
            "from segloss import MultiLoss, SegLoss; from segloss.training.huggingface import *\n"
            "LossSchedule(MultiLoss([SegLoss()], [1.0])); use_mask_losses",
        ),
    ],
    "lightning": [("-c", "from segloss.training.lightning import *; print(LossSchedule())")],
    "maps": [
        (
            "-c",
            "import torch; from segloss.maps import *; from segloss import HausdorffDistanceLoss\n"
            "x, g = torch.rand(1, 1, 8, 8), torch.eye(8)\n"
            "HausdorffDistanceLoss()(x, g[None, None])\n"
            "for one in (ComponentMap(), DistanceMap(), SignedDistanceMap(), SkeletonMap()):\n"
            "    one(mask=g)",
        ),
    ],
    "plots": [
        (
            "-c",
            "from segloss import SegLoss; from segloss.tools.plots import plot_landscape\n"
            "plot_landscape(SegLoss(n_classes=4)).savefig('loss.png')",
        ),
    ],
    "suggest": [SUGGEST, ("-c", "import segloss; print(segloss.suggest('masks'))")],
    "torchjd": [
        (
            "-c",
            "import torch; from segloss import MultiLoss, SegLoss\n"
            "from torchjd.scalarization import UW\n"
            "parts = [SegLoss(name=name, from_logits=True) for name in 'ab']\n"
            "loss = MultiLoss(parts, [1.0, 1.0], combiner=UW(2))\n"
            "loss(torch.randn(1, 1, 8, 8), torch.eye(8)[None, None])",
        ),
    ],
}
"""The programs by the extras that run them. Examples that share the parts of another only import
what they use, which `--help` does."""


def run(extras: str, program: tuple[object, ...], folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ONLY, extras, *program]
    return subprocess.run(  # noqa: S603
        list(map(str, command)), cwd=folder, capture_output=True, text=True
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with six images and their masks, of three classes."""
    labels = np.zeros((48, 48), np.uint8)
    labels[8:24, 8:24], labels[30:40, 30:44] = 1, 2
    for name, values in (("images", 80 * labels), ("masks", labels)):
        (tmp_path / name).mkdir()
        for i in range(6):
            Image.fromarray(np.roll(values, i, 1)).save(tmp_path / name / f"{i}.png")
    return tmp_path


@pytest.mark.parametrize("extras", PROGRAMS)
def test_the_programs_of_an_extra_run_with_what_it_installs(extras: str, folder: Path) -> None:
    for program in PROGRAMS[extras]:
        done = run(extras, program, folder)
        assert done.returncode == 0, (program, done.stderr)


def test_every_extra_and_every_command_is_tried() -> None:
    tried = {extra for extras in PROGRAMS for extra in extras.split(",")} - {""}
    assert tried == set(EXTRAS) == set(PROJECT["optional-dependencies"]) - FOR_DEVELOPERS
    commands = {c.name or c.callback.__name__ for c in app.registered_commands}
    programs = [program for each in PROGRAMS.values() for program in each]
    assert commands <= {name for program in programs for name in program[2:3]}


def test_every_example_is_tried() -> None:
    tried = {Path(p[0]).name for each in PROGRAMS.values() for p in each}
    assert {path.name for path in (ROOT / "examples").glob("*.py")} <= tried


@pytest.mark.parametrize(
    ("extras", "program", "extra"),
    [
        ("", ("-m", "segloss", "list"), "cli"),
        ("", ("-m", "segloss", "suggest", "masks"), "suggest"),
        ("", ("-m", "segloss", "plot", BRAIN), "cli,plots"),
        ("", ("-c", "import segloss; segloss.suggest('masks')"), "suggest"),
        ("", ("-c", "import segloss.tools.plots"), "plots"),
        ("", ("-c", "import segloss.training.lightning"), "lightning"),
        ("", ("-c", "import segloss.training.huggingface"), "huggingface"),
        (
            "",
            ("-c", "import torch; from segloss import *; SkeletonMap()(mask=torch.eye(5))"),
            "maps",
        ),
        (
            "",
            (
                "-c",
                "import torch, segloss\n"
                "segloss.HausdorffDistanceLoss()(torch.rand(1, 1, 5, 5), torch.eye(5)[None, None])",
            ),
            "maps",
        ),
        ("cli", ("-m", "segloss", "plot", BRAIN), "plots"),
        ("cli", ("-m", "segloss", "suggest", "masks"), "suggest"),
        ("suggest", ("-m", "segloss", "explain", BRAIN), "cli"),
    ],
)
def test_what_lacks_an_extra_names_it_in_its_last_line(extras, program, extra, folder) -> None:
    done = run(extras, program, folder)
    assert done.returncode != 0
    assert f'pip install "pytorch-segloss[{extra}]"' in done.stderr.splitlines()[-1]


def test_hidden_packages_are_those_that_nothing_asks_for() -> None:
    assert {OWN, "torch", "omegaconf", "pyyaml", "numpy"} <= installed_with(())
    assert not {"rich", "matplotlib", "pytest"} & installed_with(())
    assert {"rich", "typer", "pylatexenc", "pygments"} <= installed_with(["cli"])
    assert {"matplotlib", "segmentation-models-pytorch"} <= installed_with(["examples"])
    code = (
        "from importlib import metadata, util; print(util.find_spec('rich'))\n"
        "print('rich' in {each.name for each in metadata.distributions()})"
    )
    assert run("", ("-c", code), ROOT).stdout.split() == ["None", "False"]
