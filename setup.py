"""Builds the pass in machine code; without a compiler the package goes without it."""

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "segloss.confusion._native",
            ["native/module.cpp"],
            depends=["native/batch.h", "native/further.h", "native/kernels.h", "native/overlaps.h"],
            define_macros=[("Py_LIMITED_API", "0x030A0000")],
            extra_compile_args=["-std=c++17", "-O3", "-ffp-contract=fast", "-g0", "-Wno-psabi"],
            py_limited_api=True,
            optional=True,
        )
    ],
    options={"bdist_wheel": {"py_limited_api": "cp310"}},
)
