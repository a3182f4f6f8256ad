"""Compiles the C++ kernel for CPUs. If that fails, the package records why, and does without it.

pip hides what a build prints, so the record is installed with the package: `segloss backends`
shows it, and the first batch on a CPU warns. With `SEGLOSS_REQUIRE_KERNEL=1` the installation fails
instead. A wheel without machine code has no tag of a platform, so the caches of pip and uv keep it
apart from wheels that have it.

On PyPI the links of README lead to the repository, at the tag of the version.
"""

import os
import re
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError

FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
"""True for a Python without the global lock, which has no stable ABI before Python 3.15."""

LIMITED_API = [] if FREE_THREADED else [("Py_LIMITED_API", "0x030A0000")]
"""The macro for the stable ABI of Python 3.10."""

FLAGS = ["-std=c++17", "-O3", "-ffp-contract=fast", "-g0", "-Wno-psabi"]
"""The flags of the compiler."""

FAILURE = "_cpu_failure.txt"
"""The record, next to the extension: the reason, and below it what the compiler printed."""

SHOWN_CHARACTERS = 4000
"""The part of the compiler's output that is recorded. The first error matters the most."""


class BuildKernel(build_ext):
    """Builds the extension, or records why it could not."""

    def run(self) -> None:
        """Builds it, then writes the record, or removes one of an earlier build."""
        self.failure = ""
        super().run()
        [kernel] = self.extensions
        in_build_folder = Path(self.build_lib, self.get_ext_filename(kernel.name))
        for built in {in_build_folder, Path(self.get_ext_fullpath(kernel.name))}:
            record = built.with_name(FAILURE)
            record.unlink(missing_ok=True)
            if self.failure:
                built.unlink(missing_ok=True)  # of an earlier build, from other sources
                built.parent.mkdir(parents=True, exist_ok=True)
                record.write_text(self.failure, encoding="utf-8")
        if self.failure:
            reason = self.failure.splitlines()[0]
            print(f"segloss is built without its C++ kernel for CPUs: {reason}", file=sys.stderr)

    def build_extension(self, extension: Extension) -> None:
        """Builds it, and keeps the reason if that fails."""
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
            try:
                if self.compiler.compiler_type == "msvc":
                    raise CompileError(
                        "Microsoft's compiler lacks the vector types of GCC and Clang"
                    )
                with _stderr_goes_to(output):
                    super().build_extension(extension)
            except Exception as error:
                output.seek(0)
                printed = output.read()
                errors = [line for line in printed.splitlines() if "error:" in line]
                reason = errors[0].strip() if errors else self._fault(str(error))
                self.failure = f"{reason}\n{printed[:SHOWN_CHARACTERS]}"
                raise
            finally:
                output.seek(0)
                sys.stderr.write(output.read())

    def _fault(self, error: str) -> str:
        """Returns what the compiler did, without its command, which is long."""
        commands = [getattr(self.compiler, f"compiler_so{kind}", None) for kind in ("_cxx", "")]
        [program, *_] = next(filter(None, commands), [""])
        if program and not shutil.which(program):
            return f"the compiler {program} was not found"
        code = re.search(r"exit (?:code|status) (-?\d+)", error)
        return f"the compiler {program} failed with exit code {code[1]}" if code else error


class BuildWheel(bdist_wheel):
    """Builds a wheel, which is for any platform if there is no machine code in it."""

    def run(self) -> None:
        """Builds first, to know what will be in the wheel."""
        self.run_command("build")
        if self.get_finalized_command("build_ext").failure:
            self.distribution.ext_modules = []
            self.root_is_pure, self.py_limited_api = True, ""
        super().run()


def readme_for_pypi() -> str:
    """Returns README with links into the repository, which PyPI can't resolve by itself."""
    repository = re.search(r'^Repository = "(.+)"$', _read("pyproject.toml"), re.MULTILINE)[1]
    version = re.search(r'^__version__ = "(.+)"$', _read("segloss/__init__.py"), re.MULTILINE)[1]

    def absolute(link: re.Match[str]) -> str:
        is_picture = link[0].startswith("!")
        return f"{link[1]}({repository}/{'raw' if is_picture else 'blob'}/v{version}/{link[2]})"

    return re.sub(r"(!?\[[^]]*\])\((?![a-z]+:|#)([^)]+)\)", absolute, _read("README.md"))


def _read(path: str) -> str:
    return (Path(__file__).parent / path).read_text(encoding="utf-8")


@contextmanager
def _stderr_goes_to(file: IO[str]) -> Iterator[None]:
    """Redirects this process's standard error, and that of the compiler, which inherits it."""
    sys.stderr.flush()
    before = os.dup(2)
    os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(before, 2)
        os.close(before)


if __name__ == "__main__":
    setup(
        cmdclass={"build_ext": BuildKernel, "bdist_wheel": BuildWheel},
        ext_modules=[
            Extension(
                "segloss.sums.kernels._cpu",
                ["native/module.cpp"],
                depends=[str(path) for path in Path("native").glob("*.h")],
                define_macros=LIMITED_API,
                extra_compile_args=FLAGS,
                py_limited_api=not FREE_THREADED,
                optional=os.environ.get("SEGLOSS_REQUIRE_KERNEL", "0") in ("", "0"),
            )
        ],
        long_description=readme_for_pypi(),
        long_description_content_type="text/markdown",
        options={} if FREE_THREADED else {"bdist_wheel": {"py_limited_api": "cp310"}},
    )
