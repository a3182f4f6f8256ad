"""Measures one contender on one batch: its time, memory, launches, waits, errors and bits.

Each part returns its figures in a dictionary. For a part that fails, such as a reference in float64
that does not fit into memory, the results have the reason.
"""

from __future__ import annotations

import time
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.profiler import profile

from harness.contenders import LossFunction
from harness.devices import Device, Sample, Step
from harness.measure import errors, kept_bytes, precise_loss, step

Figures = dict[str, Any]

_WARM_UP = 3
"""The number of steps before a measurement."""


class Measurement(NamedTuple):
    """A contender on a batch, with the device and the seconds of timing."""

    contender: str
    loss: LossFunction
    classes: int
    logits: Tensor
    target: Tensor
    device: Device
    seconds: float

    def step(self) -> Tensor:
        """Runs forward and backward, and returns the value."""
        return step(self.loss, self.logits, self.target)


def measure(measurement: Measurement, parts: Sequence[str]) -> Figures:
    """Measures some of `PARTS`, after a first step that compiles whatever needs compilation."""
    begin = time.perf_counter()
    measurement.step()
    measurement.device.synchronize()
    figures: Figures = {"first_step": time.perf_counter() - begin}
    missing = {}
    for part in parts:
        try:
            figures |= PARTS[part](measurement)
        except Exception as error:  # keep the other parts
            missing[part] = reason(error)
        measurement.logits.grad = None
        measurement.device.release()
    return figures | ({"missing": missing} if missing else {})


def reason(error: Exception) -> str:
    """Returns the type of an error and the first line of its message."""
    first = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {first:.100}"


def measure_time(measurement: Measurement) -> Figures:
    """Measures a step's median seconds on the device and on the host, and counts its waits.

    While the host enqueues a step, the device does other work, so that its time has no gaps. A
    step that waits for the device is timed without other work.
    """
    hosts = [measurement.device.time(measurement.step, 0.0).host for _ in range(_WARM_UP)]
    waits = waits_of(measurement)
    hold = 0.0 if waits else 3 * median(hosts) + 1e-3
    return {"waits": waits} | timed(measurement.device, measurement.step, hold, measurement.seconds)


def timed(device: Device, run: Step, hold: float, seconds: float) -> Figures:
    """Returns medians and minimum of some seconds of samples, without those slowed by the host."""
    end = time.perf_counter() + seconds
    samples: list[Sample] = []
    while len(samples) < 10 or (len(samples) < 200 and time.perf_counter() < end):
        samples.append(device.time(run, hold))
    without_gaps = [sample for sample in samples if not sample.ran_dry]
    used = without_gaps or samples
    return {
        "seconds": median(sample.device for sample in used),
        "least_seconds": min(sample.device for sample in used),
        "host_seconds": median(sample.host for sample in used),
        "samples": len(used),
        "ran_dry": not without_gaps,
    }


def measure_memory(measurement: Measurement) -> Figures:
    """Measures peak memory beyond the inputs and memory kept for backward, per byte of logits."""
    size = measurement.logits.numel() * measurement.logits.element_size()
    kept = kept_bytes(measurement.loss, measurement.logits, measurement.target)
    measurement.logits.grad = None
    return {"peak": measurement.device.peak(measurement.step) / size, "kept": kept / size}


def measure_launches(measurement: Measurement) -> Figures:
    """Counts the kernels that a step launches, and its copies."""
    device = measurement.device
    with profile(activities=device.activities) as profiler:
        measurement.step()
        device.synchronize()
    names = Counter(
        event.name
        for event in profiler.events()
        if event.device_type.name == device.launched and not event.is_user_annotation
    )
    if not names:
        raise RuntimeError("the profiler saw no kernel")
    copies = sum(n for name, n in names.items() if name.startswith(("Memcpy", "Memset")))
    return {
        "launches": names.total() - copies,
        "copies": copies,
        "names": dict(names),
    }


def waits_of(measurement: Measurement) -> int:
    """Counts the waits of a step for the device, as far as PyTorch detects them."""
    with measurement.device.warning_of_waits(), warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        measurement.step()
    return sum("called a synchronizing" in str(warning.message) for warning in found)


def measure_bits(measurement: Measurement) -> Figures:
    """Checks whether two runs give the same bits."""
    first = measurement.step(), measurement.logits.grad
    second = measurement.step(), measurement.logits.grad
    return {"same_bits": same_bits(first, second)}


def measure_error(measurement: Measurement) -> Figures:
    """Measures errors against float64 on the device."""
    precise = precise_loss(measurement.contender, measurement.loss, measurement.classes)
    return errors(measurement.loss, precise, measurement.logits, measurement.target)


def measure_graph(measurement: Measurement) -> Figures:
    """Checks if a captured graph gives the bits of an eager step for new logits, and times it."""
    device, new = measurement.device, measurement.logits.detach().neg()
    captured = measurement._replace(logits=measurement.logits.detach().clone().requires_grad_())
    replay = device.capture(captured.step)
    with torch.no_grad():
        captured.logits.copy_(new)
    replayed = replay(), captured.logits.grad
    eager = measurement._replace(logits=new.requires_grad_())
    return {
        "graph_same_bits": same_bits(replayed, (eager.step(), eager.logits.grad)),
        "graph_seconds": timed(device, replay, 1e-3, measurement.seconds)["seconds"],
    }


def same_bits(first: Sequence[Tensor | None], second: Sequence[Tensor | None]) -> bool:
    """Returns whether float tensors agree to the last bit, including the sign of zero."""
    integers = {2: torch.int16, 4: torch.int32, 8: torch.int64}
    return all(
        one is not None
        and two is not None
        and one.dtype == two.dtype
        and torch.equal(*(tensor.view(integers[tensor.element_size()]) for tensor in (one, two)))
        for one, two in zip(first, second, strict=True)
    )


def copy_speed(device: Device) -> float:
    """Returns the bytes per second that copying a large tensor reads and writes, caches cold."""
    source = torch.ones(device.large, dtype=torch.uint8, device=device.where)
    copy = torch.empty_like(source)
    copied = timed(device, lambda: copy.copy_(source), hold=1e-3, seconds=0.0)
    return 2 * device.large / float(copied["seconds"])


PARTS: Mapping[str, Callable[[Measurement], Figures]] = {
    "time": measure_time,
    "memory": measure_memory,
    "launches": measure_launches,
    "bits": measure_bits,
    "error": measure_error,
    "graph": measure_graph,
}
"""The parts of a measurement."""
