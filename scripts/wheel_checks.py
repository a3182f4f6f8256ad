"""Examines wheels with machine code, for any platform: checks that each needs only what it may.

    python scripts/wheel_checks.py wheelhouse/*.whl

A wheel must use only Python's stable ABI and the libraries that every system of its tag has. It
needs the extra `release`. Nothing is loaded, so a wheel for another platform can be examined.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lief

INIT = "PyInit__cpu"

SYSTEM_LIBRARIES = {
    "macosx": r"/usr/lib/libSystem\.B\.dylib",
    "win": r"python3\.dll|kernel32\.dll|ntdll\.dll|api-ms-win-crt-[\w-]+\.dll",
}
"""The libraries that are on every machine, beside Python's. For Linux, auditwheel knows them."""

ARCHITECTURES = {
    "manylinux_2_17_x86_64": "X86_64",
    "manylinux_2_17_aarch64": "AARCH64",
    "macosx_11_0_x86_64": "X86_64",
    "macosx_11_0_arm64": "ARM64",
    "win_amd64": "AMD64",
}
"""The processor of each tag, as lief names it."""


def main() -> None:
    """Examines the wheels of the command line, and lists all that is wrong."""
    wheels = [Path(path) for path in sys.argv[1:]]
    wrong = [f"{wheel.name}: {problem}" for wheel in wheels for problem in problems_of(wheel)]
    for wheel in wheels:
        print(f"{wheel.name}: {wheel.stat().st_size / 1e6:.2f} MB")
    sys.exit("\n".join(wrong) or 0)


def problems_of(wheel: Path) -> Iterator[str]:
    """Yields all that is wrong with a wheel."""
    tag = re.search(r"-cp310-abi3-(?:[\w]+\.)?([\w]+)\.whl$", wheel.name)
    if tag is None or tag[1] not in ARCHITECTURES:
        yield "its name does not end in cp310-abi3 and a platform that is known"
        return
    with zipfile.ZipFile(wheel) as archive, tempfile.TemporaryDirectory() as folder:
        modules = [name for name in archive.namelist() if name.endswith((".so", ".pyd"))]
        if len(modules) != 1:
            yield f"expected one module of machine code, got {modules}"
            return
        module = parsed(Path(archive.extract(modules[0], folder)))
    found = [*problems_of_module(module, tag[1])]
    yield from found
    if found:
        return
    yield from abi_problems(wheel)
    if tag[1].startswith("manylinux"):
        yield from policy_problems(wheel, tag[1])


def parsed(path: Path) -> Any:
    """Returns what lief reads of a module: ELF, Mach-O or PE."""
    found = lief.parse(str(path))
    return found.at(0) if isinstance(found, lief.MachO.FatBinary) else found


def problems_of_module(module: Any, tag: str) -> Iterator[str]:
    """Yields what is wrong with a module for a tag: processor, start, libraries, and system."""
    kind = type(module).__module__.rpartition(".")[2]
    facts: Callable[[Any], tuple[str, set[str], set[str]]] = {
        "ELF": _facts_of_elf,
        "MachO": _facts_of_macho,
        "PE": _facts_of_pe,
    }[kind]
    processor, exported, libraries = facts(module)
    if processor != ARCHITECTURES[tag]:
        yield f"it is for the processor {processor}, but its tag is {tag}"
        return
    if INIT not in exported:
        yield f"it does not export {INIT}"
    allowed = SYSTEM_LIBRARIES.get(tag.split("_")[0])
    if allowed is not None:
        odd = {each for each in libraries if not re.fullmatch(allowed, each, re.IGNORECASE)}
        if odd:
            yield f"it needs libraries that a system may lack: {', '.join(sorted(odd))}"
    if tag.startswith("macosx"):
        yield from _problems_of_macos(module, tag)


def abi_problems(wheel: Path) -> Iterator[str]:
    """Yields the symbols outside the stable ABI of the wheel's Python, according to abi3audit."""
    report = json.loads(_output("abi3audit", "--strict", "--report", wheel))
    for spec in report["specs"].values():
        for module in spec["wheel"]:
            result = module["result"]
            if not (result["is_abi3"] and result["is_abi3_baseline_compatible"]):
                odd = [*result["non_abi3_symbols"], *result["future_abi3_objects"]]
                yield f"{module['name']} is not of the stable ABI of Python 3.10: {odd}"


def policy_problems(wheel: Path, tag: str) -> Iterator[str]:
    """Yields the problem if a wheel needs a newer Linux than its tag, according to auditwheel."""
    shown = " ".join(_output("auditwheel", "show", wheel).split())
    if f'platform tag: "{tag}"' not in shown:
        yield f"auditwheel: {shown}"


def _facts_of_elf(module: Any) -> tuple[str, set[str], set[str]]:
    exported = {symbol.name for symbol in module.exported_symbols}
    return module.header.machine_type.name, exported, set(module.libraries)


def _facts_of_macho(module: Any) -> tuple[str, set[str], set[str]]:
    exported = {symbol.name.removeprefix("_") for symbol in module.exported_symbols}
    own = {lief.MachO.LoadCommand.TYPE.ID_DYLIB}
    libraries = {each.name for each in module.libraries if each.command not in own}
    return module.header.cpu_type.name, exported, libraries


def _facts_of_pe(module: Any) -> tuple[str, set[str], set[str]]:
    exported = {function.name for function in module.exported_functions}
    return module.header.machine.name, exported, {each.name for each in module.imports}


def _problems_of_macos(module: Any, tag: str) -> Iterator[str]:
    """Yields the problems of macOS: a newer system than the tag's, or symbols of no library."""
    allowed = [int(part) for part in tag.split("_")[1:3]]
    oldest = module.build_version.minos[:2]
    if oldest > allowed:
        yield f"it needs macOS {oldest}, but its tag says {allowed}"
    homeless = [
        symbol.name
        for symbol in module.imported_symbols
        if symbol.has_binding_info and symbol.binding_info.library_ordinal < 0
    ]
    odd = [name for name in homeless if not re.match(r"__?Py", name)]
    odd = [name for name in odd if name not in {s.name for s in module.exported_symbols}]
    if odd:
        yield f"it needs functions of no library, which are not Python's: {', '.join(odd)}"


def _output(module: str, *arguments: Any) -> str:
    """Returns what a module of this Python prints."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)  # noqa: S603
    return done.stdout or sys.exit(f"{' '.join(command)}\n{done.stderr}")


if __name__ == "__main__":
    main()
