"""The tests of the kernel for GPUs, through Triton's interpreter, where there is no GPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from segloss.sums.kernels import triton_ops

TESTS = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.skipif(not triton_ops.is_installed(), reason="needs Triton"),
    pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU, which runs them itself"),
]


@pytest.mark.parametrize(
    ("paths", "chosen"),
    [
        (["sums/kernels/test_every_kernel.py"], "triton"),
        (["sums/kernels/test_triton.py"], ""),
        (
            ["sums/test_autograd.py", "sums/test_compiled.py", "sums/test_backends.py"],
            "triton and not plain and not alone",  # options, of which all are together once
        ),
        (["terms/test_analytic.py"], "averages or weights or several or ignored or perfect"),
        (["sums/kernels/launches.py"], ""),
    ],
    ids=lambda value: Path(value[0]).stem if isinstance(value, list) else "",
)
def test_they_pass(paths: list[str], chosen: str) -> None:
    command = [
        *(sys.executable, "-m", "pytest", "-q", "--no-header", "-p", "no:cacheprovider"),
        *("-p", "tests.support.interpreter"),
        *("-W", "ignore:.*encountered:RuntimeWarning"),  # NumPy, which computes there
        *("-k", chosen),
        *(str(TESTS / path) for path in paths),
    ]
    environment = os.environ | {"TRITON_INTERPRET": "1", "SEGLOSS_BACKEND": "triton"}
    done = subprocess.run(  # noqa: S603
        command, capture_output=True, text=True, env=environment, cwd=TESTS.parent
    )
    assert done.returncode == 0, done.stdout[-6000:]
    assert " passed" in done.stdout
