"""Makes a wheel for each platform out of one: the same Python, and machine code for that platform.

    python scripts/wheels.py dist/*.whl --output wheelhouse

The compiler is Clang, in the package ziglang, which brings the libraries of all platforms and links
its C++ library statically. It needs the extra `release`. `python -m build` makes the first wheel,
whose machine code is left out. `wheel_checks.py` examines what was made; see `.ci/wheels`.
"""

from __future__ import annotations

import argparse
import re
import runpy
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
KERNELS = Path("segloss/sums/kernels")

PYTHON = (3, 10)
"""The first Python whose stable ABI the machine code uses, as setup.py says."""


class Target(NamedTuple):
    """A platform.

    Attributes:
        zig: Its name for the compiler, with the oldest system that the code runs on.
        tags: Its tags in the name of a wheel.
        file: The file name of a module of the stable ABI.
        flags: Flags for the linker.
    """

    zig: str
    tags: str
    file: str = "_cpu.abi3.so"
    flags: tuple[str, ...] = ()


ONLY_THE_MODULE = ("-Wl,--version-script=exports",)
"""For Linux: the module's functions, and those of its C++ library, are its own."""

PYTHON_LATER = ("-undefined", "dynamic_lookup")
"""For macOS: Python's functions are found when the module is loaded."""

TARGETS = {
    "linux-x86_64": Target(
        "x86_64-linux-gnu.2.17", "manylinux_2_17_x86_64.manylinux2014_x86_64", flags=ONLY_THE_MODULE
    ),
    "linux-aarch64": Target(
        "aarch64-linux-gnu.2.17",
        "manylinux_2_17_aarch64.manylinux2014_aarch64",
        flags=ONLY_THE_MODULE,
    ),
    "macos-arm64": Target("aarch64-macos.11.0", "macosx_11_0_arm64", flags=PYTHON_LATER),
    "macos-x86_64": Target("x86_64-macos.11.0", "macosx_11_0_x86_64", flags=PYTHON_LATER),
    "windows-x64": Target("x86_64-windows-gnu", "win_amd64", "_cpu.pyd"),
}

CONFIGURATION = """
// Python's configuration, as far as the headers of the stable ABI read it, on any platform: what
// differs are the sizes of types, which the compiler knows.
#pragma once
#define SIZEOF_INT __SIZEOF_INT__
#define SIZEOF_LONG __SIZEOF_LONG__
#define SIZEOF_LONG_LONG __SIZEOF_LONG_LONG__
#define SIZEOF_PID_T __SIZEOF_INT__
#define SIZEOF_SIZE_T __SIZEOF_SIZE_T__
#define SIZEOF_VOID_P __SIZEOF_POINTER__
#define SIZEOF_WCHAR_T __SIZEOF_WCHAR_T__
#define HAVE_STDDEF_H 1
#define HAVE_WCHAR_H 1
#ifdef _WIN32
#define MS_WINDOWS
#define HAVE_DECLSPEC_DLL
#define Py_ENABLE_SHARED
#else
#define HAVE_SSIZE_T 1
#endif
"""
"""The file pyconfig.h. Python has one for each platform, and only that of this machine is here."""


def main() -> None:
    """Makes the wheels, two at a time."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("wheel", type=Path, help="a wheel of segloss, for any platform")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="for the wheels")
    parser.add_argument("--only", choices=TARGETS, action="append", help="not all platforms")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    with headers() as include, ThreadPoolExecutor(2) as pool:

        def make(name: str) -> str:
            started = time.perf_counter()
            wheel = make_wheel(options.wheel, TARGETS[name], include, options.output)
            return f"{wheel.name}: {time.perf_counter() - started:.0f} seconds"

        for made in pool.map(make, options.only or TARGETS):
            print(made, flush=True)


@contextmanager
def headers() -> Iterator[Path]:
    """Makes a folder with Python's headers for any platform in a context."""
    with tempfile.TemporaryDirectory() as folder:
        include = Path(folder, "include")
        shutil.copytree(sysconfig.get_path("include"), include)
        (include / "pyconfig.h").write_text(CONFIGURATION)
        yield include


def make_wheel(wheel: Path, target: Target, include: Path, output: Path) -> Path:
    """Makes the wheel of a platform out of another wheel, and returns its path."""
    with tempfile.TemporaryDirectory() as folder:
        run("wheel", "unpack", wheel, "--dest", folder)
        [unpacked] = Path(folder).iterdir()
        for old in (unpacked / KERNELS).glob("_cpu*[!i]"):  # all but the stub _cpu.pyi
            old.unlink()
        compile_module(target, include, unpacked / KERNELS / target.file)
        [description] = unpacked.glob("*.dist-info/WHEEL")
        description.write_text(described(description.read_text(), target))
        packed = Path(folder, "packed")
        packed.mkdir()
        run("wheel", "pack", unpacked, "--dest-dir", packed)
        [made] = packed.iterdir()
        return Path(shutil.copy(made, output))


def described(description: str, target: Target) -> str:
    """Returns the file WHEEL of a wheel for a platform."""
    kept = re.sub(r"^(Tag|Root-Is-Purelib): .*\n", "", description, flags=re.MULTILINE)
    python = "cp{}{}-abi3".format(*PYTHON)
    tags = "".join(f"Tag: {python}-{tag}\n" for tag in target.tags.split("."))
    return f"{kept.rstrip()}\nRoot-Is-Purelib: false\n{tags}\n"


def compile_module(target: Target, include: Path, output: Path) -> None:
    """Compiles native/module.cpp for a platform, with the flags of setup.py."""
    setup = runpy.run_path(str(ROOT / "setup.py"))
    macros = [f"-D{name}={value}" for name, value in setup["LIMITED_API"]]
    options = [*setup["FLAGS"], "-fvisibility=hidden", "-shared", "-fPIC", "-s", *target.flags]
    sources = [ROOT / "native" / "module.cpp"]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "exports").write_text("{ global: PyInit__cpu; local: *; };")
        if target.file.endswith(".pyd"):
            sources.append(import_library(Path(folder)))
        command = ["ziglang", "c++", "-target", target.zig, *options, *macros, "-I", include]
        run(*command, *sources, "-o", target.file, folder=folder)
        shutil.copy(Path(folder, target.file), output)  # without what some linkers put beside it


def import_library(folder: Path) -> Path:
    """Writes the library that tells the linker what the python3.dll of Windows has."""
    definitions, library = folder / "python3.def", folder / "libpython3.a"
    definitions.write_text("\n".join(["LIBRARY python3.dll", "EXPORTS", *stable_symbols()]))
    run("ziglang", "dlltool", "-m", "i386:x86-64", "-d", definitions, "-l", library)
    return library


def stable_symbols() -> Iterator[str]:
    """Yields the symbols of the stable ABI, as lines of a .def file."""
    from abi3info import DATAS, FUNCTIONS

    for symbols, kind in ((FUNCTIONS, ""), (DATAS, " DATA")):
        for symbol, facts in symbols.items():
            if (facts.added.major, facts.added.minor) <= PYTHON:
                yield f"{symbol.name}{kind}"


def run(module: str, *arguments: Any, folder: str | None = None) -> None:
    """Runs a module of this Python in a folder, and shows what it printed if it fails."""
    command: Sequence[str] = [sys.executable, "-m", module, *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)  # noqa: S603
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    main()
