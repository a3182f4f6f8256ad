"""The report on an installation: what runs here, what is missing, and what is wrong."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path

import torch

from segloss.foundation.installation import mixture
from segloss.foundation.installation.extras import EXTRAS
from segloss.foundation.installation.mixture import DISTRIBUTION, REPAIR, SITE
from segloss.foundation.printable import printable
from segloss.sums.kernels import cpu_build
from segloss.sums.kernels.registry import backends
from segloss.tools.doctor.requirements import missing_of

FAULTY = 1
"""The exit code if there is a problem."""


def doctor() -> int:
    """Examine this installation: PyTorch, kernels, GPU, extras, and problems.

    The exit code is 1 if there is a problem; each comes with the command that fixes it. A missing
    extra is not a problem.
    """
    for title, lines in _sections():
        print(title)
        for line in lines:
            print(f"  {printable(line)}")
        print()
    problems = list(_problems())
    for problem in problems:
        print(f"PROBLEM: {printable(problem)}")
    if not problems:
        print("No problems.")
    return FAULTY if problems else 0


def version_text() -> str:
    """Returns the version, and below it the kernel for CPUs, or why there is none."""
    version = getattr(sys.modules["segloss"], "__version__", "of unknown version")
    return f"segloss {version}\nkernel for CPUs: {cpu_build.description()}"


def _sections() -> Iterator[tuple[str, list[str]]]:
    """Yields the sections of the report, each with its title."""
    yield "Installation", [*_installation()]
    yield "GPU", [*_gpus()]
    kernels = [line for backend in backends() for line in str(backend).splitlines()]
    yield "Kernels: the first that supports a batch computes it", kernels
    yield "Extras", [*_extras()]


def _installation() -> Iterator[str]:
    yield version_text().splitlines()[0] + f" in {SITE / 'segloss'}"
    yield f"Python {platform.python_version()} on {platform.platform()}"
    yield f"PyTorch {torch.__version__} in {Path(torch.__file__).parent}"
    yield f"threads of PyTorch: {torch.get_num_threads()}"
    for name in sorted(name for name in os.environ if name.startswith("SEGLOSS_")):
        yield f"{name}={os.environ[name]}"


def _gpus() -> Iterator[str]:
    """Yields the GPUs that PyTorch sees, or the reason why it sees none."""
    if torch.cuda.is_available():
        for i in range(torch.cuda.device_count()):
            found = torch.cuda.get_device_properties(i)
            yield f"cuda:{i}: {found.name}, {found.total_memory / 2**30:.0f} GiB"
    elif torch.version.cuda or torch.version.hip:
        kind = f"CUDA {torch.version.cuda}" if torch.version.cuda else f"ROCm {torch.version.hip}"
        yield f"none: PyTorch is built for {kind}, but finds no device or driver"
    elif torch.backends.mps.is_available():
        yield "mps"
    elif hasattr(torch, "xpu") and torch.xpu.is_available():
        yield "xpu"
    else:
        yield "none: this PyTorch is built for CPUs"


def _extras() -> Iterator[str]:
    """Yields each extra, what needs it, and the packages that it lacks."""
    try:
        missing = {extra: missing_of(extra) for extra in EXTRAS}
    except metadata.PackageNotFoundError:
        yield f"unknown: segloss runs from its sources, and {DISTRIBUTION} is not installed"
        return
    for extra, part in EXTRAS.items():
        lacks = f"lacks {', '.join(missing[extra])}" if missing[extra] else "installed"
        yield f"{extra} ({part}): {lacks}"
    if any(missing.values()):
        yield f'To install one: pip install "{DISTRIBUTION}[NAME]"'


def _problems() -> Iterator[str]:
    """Yields what is wrong, with the remedy."""
    damage, others = mixture.damage(), mixture.other_distributions()
    if damage:
        yield f"{damage}. To repair it: {REPAIR}"
    elif others:
        yield (
            f"{', '.join(others)} also has a package named segloss, and sys.path decides which of "
            f"the two is imported. To repair it: {REPAIR}"
        )
    if why := _why_torchvision_fails():
        for_gpus = torch.version.cuda or torch.version.hip
        index = "" if for_gpus else " --index-url https://download.pytorch.org/whl/cpu"
        yield (
            f"torchvision can't be imported beside PyTorch {torch.__version__} ({why}). To repair "
            "it, install both from one place, such as: pip install --force-reinstall torch "
            f"torchvision{index}"
        )
    if cpu_build.WHY_NOT_BUILT:
        yield (
            "losses on this CPU use PyTorch's operations, which are several times slower than the "
            f"C++ kernel; {cpu_build.description()}"
        )


def _why_torchvision_fails() -> str:
    """Returns the error of an installed torchvision, such as one of another build, or nothing."""
    if find_spec("torchvision") is None:
        return ""
    try:
        import_module("torchvision")
    except Exception as error:
        return str(error).partition("\n")[0]
    return ""
