"""The first Ctrl-C ends a run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"

PROGRAM = """
import sys, time
from example_parts.interruption import check_interruption, ended_by_ctrl_c

class Dropping:
    def __del__(self):  # what is raised in here is dropped
        print("ready", flush=True)
        time.sleep({seconds})

with ended_by_ctrl_c():
    one = Dropping()
    del one
    for _ in range(600):
        check_interruption()
        time.sleep(0.1)
print("not interrupted")
"""

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no signals to send")


@pytest.mark.parametrize("ignored", [False, True], ids=["foreground", "background"])
@pytest.mark.parametrize("seconds", [0, 600], ids=["in a loop", "where exceptions are dropped"])
def test_the_first_ctrl_c_ends_a_run_with_one_line(ignored: bool, seconds: float) -> None:
    handler = signal.SIG_IGN if ignored else signal.default_int_handler
    before = signal.signal(signal.SIGINT, handler)  # a child inherits that it is ignored
    try:
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-W", "ignore", "-c", PROGRAM.format(seconds=seconds)],
            cwd=EXAMPLES,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    finally:
        signal.signal(signal.SIGINT, before)
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate()
    assert (process.returncode, output) == (1, "")
    assert errors.splitlines()[-1] == "Interrupted."
