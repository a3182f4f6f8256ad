"""The kernels for GPUs, compiled for some that are not here: their machine code can be read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from segloss.sums.kernels import triton_ops

pytestmark = pytest.mark.skipif(
    not triton_ops.is_installed(), reason="needs Triton, which comes with PyTorch for GPUs"
)


@pytest.mark.parametrize("target", ["sm_80", "sm_90", "sm_120", "gfx942"])
def test_registers_hold_everything_and_loads_are_wide(target: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, str(Path(__file__).with_name("cross_compile.py")), target]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)  # noqa: S603
    assert done.returncode == 0, done.stderr
    kernels = json.loads(done.stdout.splitlines()[-1])
    assert {name.split(":")[0] for name in kernels} >= {
        "sigmoid_forward", "sigmoid_backward", "softmax_forward", "softmax_backward",
        "add_partial_sums", "losses_and_slopes",
    }  # fmt: skip
    for name, needs in kernels.items():
        assert needs["spilled"] == 0, name
        assert needs.get("atomics", 0) == 0, name
        assert needs["wide_loads"] > 0 or not name.startswith(("sigmoid", "softmax")), name
