"""The device for the figures of a GPU: CUDA, or the CPU in its place in a dry run.

All differences between the two are here; `measure_cuda.py` measures on either.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from harness.measure import memory, trimmed_memory

Step = Callable[[], Tensor]
"""A training step on a batch; returns the loss's value."""

os.environ.setdefault("KINETO_LOG_LEVEL", "9")  # or the profiler prints into the progress bar

_CYCLES = 3e9
"""Clock cycles per second, more than any GPU has, so that a sleep is never too short."""


class Sample(NamedTuple):
    """The seconds of one step.

    Attributes:
        device: Seconds on the device.
        host: Seconds until the host has enqueued everything.
        ran_dry: True if the device may have waited for the host; both times then include the host.
    """

    device: float
    host: float
    ran_dry: bool


class Device(Protocol):
    """A place to measure in.

    Attributes:
        where: The device of the tensors.
        large: The bytes of a tensor whose copy shows the speed of the memory.
        activities: The activities that the profiler records.
        launched: The device type whose events count as launches in the profile.
    """

    where: torch.device
    large: int
    activities: tuple[ProfilerActivity, ...]
    launched: str

    def describe(self) -> dict[str, str]:
        """Returns the names of the device and its driver."""

    def synchronize(self) -> None:
        """Waits until the device has finished."""

    def release(self) -> None:
        """Frees the unused cached memory."""

    def time(self, step: Step, hold: float) -> Sample:
        """Times a step with cold caches.

        Args:
            step: The step.
            hold: Seconds of other work for the device while the host enqueues the step.
        """

    def peak(self, step: Step) -> int:
        """Measures the peak memory of a step in bytes, beyond the memory in use before it."""

    def warning_of_waits(self) -> AbstractContextManager[None]:
        """Returns a context in which PyTorch warns of each operation that waits for the device."""

    def capture(self, step: Step) -> Step:
        """Captures a step as a graph, and returns a function that replays it."""


class Cuda:
    """The current GPU."""

    large = 2**30
    activities: tuple[ProfilerActivity, ...] = (ProfilerActivity.CPU, ProfilerActivity.CUDA)
    launched = "CUDA"

    def __init__(self) -> None:
        self.where = torch.device("cuda", torch.cuda.current_device())
        self._flush = torch.empty(2**28, dtype=torch.uint8, device=self.where)
        with profile(activities=self.activities):  # starts the profiler here, not in a measurement
            self._flush.zero_()
            self.synchronize()

    def describe(self) -> dict[str, str]:
        """Returns the names of the card, its memory, its driver and CUDA."""
        properties = torch.cuda.get_device_properties(self.where)
        return {
            "card": properties.name,
            "memory": f"{properties.total_memory / 2**30:.0f} GiB",
            "driver": _driver(),
            "CUDA": torch.version.cuda or "unknown",
        }

    def synchronize(self) -> None:
        """Waits until the GPU has finished."""
        torch.cuda.synchronize()

    def release(self) -> None:
        """Gives the cached memory back to the GPU."""
        torch.cuda.empty_cache()

    def time(self, step: Step, hold: float) -> Sample:
        """Times a step by events, after overwriting the L2 cache."""
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        self.synchronize()
        self._flush.zero_()
        torch.cuda._sleep(int(hold * _CYCLES))
        start.record()
        begin = time.perf_counter()
        step()
        host = time.perf_counter() - begin
        end.record()
        ran_dry = start.query()  # the GPU's sleep ended before the host had enqueued everything
        self.synchronize()
        return Sample(start.elapsed_time(end) / 1e3, host, ran_dry)

    def peak(self, step: Step) -> int:
        """Reads the peak from PyTorch's allocator."""
        self.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step()
        self.synchronize()
        return torch.cuda.max_memory_allocated() - before

    @contextmanager
    def warning_of_waits(self) -> Iterator[None]:
        """Sets PyTorch's debug mode for waits, which detects most of them."""
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode("default")

    def capture(self, step: Step) -> Step:
        """Captures a CUDA graph, after three steps on a separate stream."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                step()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            value = step()

        def replay() -> Tensor:
            graph.replay()
            return value

        return replay


class StandIn:
    """The CPU in place of a GPU: every measurement runs, but the figures are meaningless."""

    where = torch.device("cpu")
    large = 2**20
    activities: tuple[ProfilerActivity, ...] = (ProfilerActivity.CPU,)
    launched = "CPU"

    def describe(self) -> dict[str, str]:
        """Returns a note that there is no GPU."""
        return {"card": "a CPU in a dry run, with meaningless figures"}

    def synchronize(self) -> None:
        """Does nothing: operations of a CPU have finished when they return."""

    def release(self) -> None:
        """Does nothing: PyTorch does not cache memory of a CPU."""

    def time(self, step: Step, hold: float) -> Sample:
        """Times a step with the clock of the host."""
        begin = time.perf_counter()
        step()
        seconds = time.perf_counter() - begin
        return Sample(seconds, seconds, ran_dry=hold == 0)

    def peak(self, step: Step) -> int:
        """Reads the peak of the process from Linux."""
        before = trimmed_memory()
        step()
        return memory("VmHWM") - before

    def warning_of_waits(self) -> AbstractContextManager[None]:
        """Does nothing: a CPU has nothing to wait for."""
        return nullcontext()

    def capture(self, step: Step) -> Step:
        """Returns the step itself."""
        return step


def _driver() -> str:
    """Returns the version of NVIDIA's driver, from the kernel module."""
    path = Path("/proc/driver/nvidia/version")
    found = re.search(r"\b\d{3}\.[\d.]+\b", path.read_text()) if path.exists() else None
    return found[0] if found else "unknown"
