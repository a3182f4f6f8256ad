"""Checks of an installed package, with nothing installed beside it but its requirements.

`python -I tests/smoke.py` in a fresh environment; .ci/release runs it for the wheel and the sdist.
Pytest does not collect it: its tests run from the sources.
"""

from __future__ import annotations

import sys
from importlib import metadata, resources
from pathlib import Path

import torch

import segloss
import segloss.frame_field
from segloss.compat import mmf, nn4n, perceptrain, tutorial
from segloss.sums.kernels import cpu
from segloss.tools.doctor import doctor

CONFIG = """
loss_params:
  compound_loss:
    loss_list:
      - {_target_: segloss.SegLoss, name: seg, n_classes: 3, weight: 1.0}
      - {_target_: torch.nn.CrossEntropyLoss, name: ce, weight: [1.0, 0.0]}
    epoch_thresholds: [0, 10]
"""


def is_the_installed_package() -> None:
    """Checks that the package is whole, comes from this environment, and knows its version."""
    assert Path(segloss.__file__).is_relative_to(sys.prefix), (
        f"{segloss.__file__} is not in {sys.prefix}: install a wheel or an sdist, without -e"
    )
    assert metadata.version("pytorch-segloss") == segloss.__version__
    assert resources.files(segloss).joinpath("py.typed").is_file()
    folders = "batch compat config foundation frame_field losses sums terms tools training"
    for name in (*folders.split(), "training/huggingface", "training/lightning", "tools/cli"):
        assert resources.files(segloss).joinpath(name, "__init__.py").is_file(), name


def the_compiled_kernel_is_there() -> None:
    """Checks that the kernel runs here, with the best instruction set that PyTorch finds too."""
    assert cpu.is_built()
    of_pytorch = torch.backends.cpu.get_cpu_capability()
    expected = {"AVX2": "avx2", "AVX512": "avx512"}.get(of_pytorch, "baseline")
    assert cpu.instruction_sets()[0] == expected, (cpu.instruction_sets(), of_pytorch)


def the_doctor_finds_no_problem() -> None:
    """Checks that the installation examines itself without any extra."""
    assert doctor() == 0


def a_step_lowers_the_loss() -> None:
    """Takes steps of an optimiser with one loss."""
    torch.manual_seed(0)
    images, labels = torch.randn(2, 1, 16, 16), torch.randint(0, 3, (2, 16, 16))
    model = torch.nn.Conv2d(1, 3, 3, padding=1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loss = segloss.SegLoss(n_classes=3, extra_terms={"jaccard": 0.5})
    values = []
    for _ in range(3):
        value, _ = loss({"seg": model(images)}, {"gt_polygons_image": labels})
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert values[0] > values[1] > values[2], values


def a_config_builds_a_loss() -> None:
    """Builds a `MultiLoss` with a schedule from YAML, and loads a checkpoint of it."""
    multi_loss = segloss.build_loss(CONFIG)
    multi_loss.set_epoch(5)
    logits, labels = torch.randn(2, 3, 8, 8), torch.randint(0, 3, (2, 8, 8))
    total, losses, _ = multi_loss(logits, labels)
    torch.testing.assert_close(total, losses["seg"] + 0.5 * losses["ce"])
    again = segloss.build_loss(CONFIG)
    again.load_state_dict(multi_loss.state_dict())
    assert torch.equal(again(logits, labels)[0], total)


def every_public_name_is_there() -> None:
    """All names but `suggest`, which needs an extra, and the names of other systems."""
    for place in (segloss, segloss.frame_field, mmf, nn4n, perceptrain, tutorial):
        for name in place.__all__:
            getattr(place, name)


if __name__ == "__main__":
    is_the_installed_package()
    the_compiled_kernel_is_there()
    the_doctor_finds_no_problem()
    a_step_lowers_the_loss()
    a_config_builds_a_loss()
    every_public_name_is_there()
    print(f"pytorch-segloss {segloss.__version__} works in {sys.prefix}")
