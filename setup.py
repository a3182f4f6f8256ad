"""Compiles the kernel for CPUs; without a compiler the package goes without it."""

from pathlib import Path

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "segloss.sums.kernels._cpu",
            ["native/module.cpp"],
            depends=[str(path) for path in Path("native").glob("*.h")],
            define_macros=[("Py_LIMITED_API", "0x030A0000")],
            extra_compile_args=["-std=c++17", "-O3", "-ffp-contract=fast", "-g0", "-Wno-psabi"],
            py_limited_api=True,
            optional=True,
        )
    ],
    options={"bdist_wheel": {"py_limited_api": "cp310"}},
)
