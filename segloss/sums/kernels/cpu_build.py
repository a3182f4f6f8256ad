"""The compiled module of the CPU kernel: how it was built, or why there is none."""

from __future__ import annotations

import functools
import os
import platform
import sys
import warnings
from pathlib import Path
from types import ModuleType

from segloss.foundation.installation.mixture import DISTRIBUTION

RECORD = Path(__file__).with_name("_cpu_failure.txt")
"""The record that `setup.py` leaves if it could not compile the module: a reason, then details."""


def _why_not_built(error: ImportError) -> str:
    """Returns the reason why the module can't be imported."""
    if not isinstance(error, ModuleNotFoundError):
        return f"it was compiled, but can't be loaded here: {error}"
    if not RECORD.is_file():
        return "it was not compiled: segloss runs from its sources, without an installation"
    reason, *_ = RECORD.read_text(encoding="utf-8").splitlines()
    return f"it was not compiled: {reason}"


module: ModuleType | None
"""The module that `setup.py` compiles from `native/`, or None."""

WHY_NOT_BUILT = ""
"""The reason why there is no module; empty if there is one."""

try:
    import segloss.sums.kernels._cpu as module
except ImportError as error:
    module, WHY_NOT_BUILT = None, _why_not_built(error).rstrip(".")

_WHEEL = "install a released wheel, which has it compiled"

_COMPILE = (
    "install GCC or Clang with C++17 (Debian: `apt install g++ python3-dev`), and then segloss "
    f"again with `pip install --no-cache-dir --force-reinstall --no-deps {DISTRIBUTION}`"
)

REMEDY = _WHEEL if os.name == "nt" else f"{_WHEEL}, or {_COMPILE}"
"""The way to get a compiled module."""


def description() -> str:
    """Returns how the module was built and what it uses here, or why there is none and what to do.

    Example:
        >>> print(description())  # doctest: +SKIP
        compiled by GCC 12.2.0 for x86_64 and any CPython from 3.10 on; its instruction sets here:
        avx512 (in use), avx2, baseline
    """
    if module is None:
        details = f" {RECORD} has the output of the compiler." if RECORD.is_file() else ""
        return f"{WHY_NOT_BUILT}.{details} To get it, {REMEDY}."
    in_use = module.instruction_set()
    sets = [f"{each} (in use)" if each == in_use else each for each in module.instruction_sets()]
    return (
        f"compiled by {module.COMPILER} for {platform.machine()} and {_pythons(module)}; "
        f"its instruction sets here: {', '.join(sets)}"
    )


def _pythons(built: ModuleType) -> str:
    """Returns the Pythons that can load the module, according to its file name."""
    if Path(str(built.__file__)).name in ("_cpu.abi3.so", "_cpu.pyd"):
        return "any CPython from 3.10 on"
    threading = (
        "" if getattr(sys, "_is_gil_enabled", lambda: True)() else ", without its global lock"
    )
    return f"{sys.implementation.name} {platform.python_version()}{threading}"


@functools.cache
def warn_that_it_is_missing() -> None:
    """Warns, once in a process, that batches take a slower path."""
    warnings.warn(
        f"segloss computes losses on this CPU with PyTorch's operations, several times slower than "
        f"with its C++ kernel: {WHY_NOT_BUILT}. To get the kernel, {REMEDY}. To do without it and "
        f'without this warning, call segloss.use_backend("torch") or set SEGLOSS_BACKEND=torch.',
        stacklevel=2,
    )
