"""Runs a program as if only some extras of the package were installed.

    python tests/support/only_extras.py cli,plots -m segloss list
    python tests/support/only_extras.py maps -c "import segloss.maps"
    python tests/support/only_extras.py examples examples/brain_tissue.py --help

What pyproject.toml asks for in these extras can be imported, with all that it requires in turn; any
other installed package can't, as in a fresh environment.
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OWN = canonicalize_name(PROJECT["name"])


def requirements_of(name: str, extras: Iterable[str]) -> set[tuple[str, frozenset[str]]]:
    """The distributions that a distribution requires with these extras, each with its extras."""
    if name == OWN:
        texts = [*PROJECT["dependencies"]]
        texts += [t for extra in extras for t in PROJECT["optional-dependencies"][extra]]
    else:
        texts = metadata.requires(name) or []
    found = map(Requirement, texts)
    environments = [{"extra": extra} for extra in ("", *extras)]
    return {
        (canonicalize_name(each.name), frozenset(each.extras))
        for each in found
        if each.marker is None or any(each.marker.evaluate(e) for e in environments)
    }


def installed_with(extras: Iterable[str]) -> set[str]:
    """The distributions of a fresh environment with these extras."""
    found, waiting = set(), {(OWN, frozenset(extras))}
    while waiting:
        name, wanted = each = waiting.pop()
        found.add(each)
        try:
            waiting |= requirements_of(name, wanted) - found
        except metadata.PackageNotFoundError:
            continue  # of no use on this platform
    return {name for name, _ in found}


def packages_inside_setuptools() -> set[str]:
    """The packages that setuptools brings along, and imports under their own names."""
    try:
        folder = Path(str(metadata.distribution("setuptools").locate_file("setuptools/_vendor")))
    except metadata.PackageNotFoundError:
        return set()
    return {path.stem for path in folder.glob("*") if path.suffix in ("", ".py")}


def hide_all_but(extras: Iterable[str]) -> None:
    """Makes the packages of other distributions impossible to find."""
    kept = installed_with(extras)
    always = {"segloss", *sys.stdlib_module_names, *packages_inside_setuptools()}
    owners = metadata.packages_distributions()
    hidden = {
        package
        for package, names in owners.items()
        if package not in always and not kept & set(map(canonicalize_name, names))
    }
    for name in [name for name in sys.modules if name.split(".")[0] in hidden]:
        del sys.modules[name]
    sys.meta_path[:] = [_Hiding(finder, hidden, kept) for finder in sys.meta_path]


class _Hiding:
    """A finder that finds all modules but the hidden ones, and only the kept distributions."""

    def __init__(self, finder: Any, hidden: set[str], kept: set[str]) -> None:
        self._finder = finder
        self._hidden = hidden
        self._kept = kept

    def find_spec(self, name: str, *arguments: Any) -> Any:
        if name.split(".")[0] in self._hidden:
            return None
        return self._finder.find_spec(name, *arguments)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._finder, name)
        if name != "find_distributions":
            return found
        return lambda *arguments: (
            each for each in found(*arguments) if canonicalize_name(each.name) in self._kept
        )


def main() -> None:
    """Runs the program of the command line."""
    extras, kind, *rest = sys.argv[1:]
    sys.path.insert(0, str(ROOT))
    hide_all_but(filter(None, extras.split(",")))
    if kind == "-c":
        exec(compile(rest[0], "-c", "exec"), {"__name__": "__main__"})  # noqa: S102
    elif kind == "-m":
        sys.argv = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv = [kind, *rest]
        sys.path.insert(0, str(Path(kind).parent))
        runpy.run_path(kind, run_name="__main__")


if __name__ == "__main__":
    main()
