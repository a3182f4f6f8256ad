"""One contender on one batch of a device: its time, memory, launches, waits, errors and bits.

Each part gives its figures in a dictionary. A part that fails is left out with its reason, such as
a reference in float64 that does not fit into the memory.
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
"""Steps before anything is measured."""


class Subject(NamedTuple):
    """A contender on a batch, and where and for how long it is timed."""

    contender: str
    loss: LossFunction
    classes: int
    logits: Tensor
    target: Tensor
    device: Device
    seconds: float

    def step(self) -> Tensor:
        """Forward and backward."""
        return step(self.loss, self.logits, self.target)


def measure(subject: Subject, parts: Sequence[str]) -> Figures:
    """Measures some of `PARTS`, after a warm-up whose first step compiles what has to be."""
    begin = time.perf_counter()
    subject.step()
    subject.device.synchronize()
    figures: Figures = {"first_step": time.perf_counter() - begin}
    missing = {}
    for part in parts:
        try:
            figures |= PARTS[part](subject)
        except Exception as error:  # the others are worth having
            missing[part] = reason(error)
        subject.logits.grad = None
        subject.device.release()
    return figures | ({"missing": missing} if missing else {})


def reason(error: Exception) -> str:
    """The kind of an error and the first line of its message."""
    first = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {first:.100}"


def measure_time(subject: Subject) -> Figures:
    """Medians of a step's seconds on the device and on the host, and how often it waits.

    While the host enqueues a step the device is kept busy, so that its time has no gaps. A step
    that waits for the device is timed as it is.
    """
    hosts = [subject.device.time(subject.step, 0.0).host for _ in range(_WARM_UP)]
    waits = waits_of(subject)
    hold = 0.0 if waits else 3 * median(hosts) + 1e-3
    return {"waits": waits} | timed(subject.device, subject.step, hold, subject.seconds)


def timed(device: Device, run: Step, hold: float, seconds: float) -> Figures:
    """Medians and minimum of some seconds of samples, those aside that the host held up."""
    end = time.perf_counter() + seconds
    samples: list[Sample] = []
    while len(samples) < 10 or (len(samples) < 200 and time.perf_counter() < end):
        samples.append(device.time(run, hold))
    fed = [sample for sample in samples if not sample.ran_dry]
    used = fed or samples
    return {
        "seconds": median(sample.device for sample in used),
        "least_seconds": min(sample.device for sample in used),
        "host_seconds": median(sample.host for sample in used),
        "samples": len(used),
        "ran_dry": not fed,
    }


def measure_memory(subject: Subject) -> Figures:
    """Peak beyond the inputs, and what is kept for the backward pass, over the logits' size."""
    size = subject.logits.numel() * subject.logits.element_size()
    kept = kept_bytes(subject.loss, subject.logits, subject.target)
    subject.logits.grad = None
    return {"peak": subject.device.peak(subject.step) / size, "kept": kept / size}


def measure_launches(subject: Subject) -> Figures:
    """Kernels that a step launches, and its copies."""
    device = subject.device
    with profile(activities=device.activities) as profiler:
        subject.step()
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


def waits_of(subject: Subject) -> int:
    """How often a step waits for the device, as far as PyTorch can tell."""
    with subject.device.warning_of_waits(), warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        subject.step()
    return sum("called a synchronizing" in str(warning.message) for warning in found)


def measure_bits(subject: Subject) -> Figures:
    """Whether two runs give the same bits."""
    first = subject.step(), subject.logits.grad
    second = subject.step(), subject.logits.grad
    return {"same_bits": same_bits(first, second)}


def measure_error(subject: Subject) -> Figures:
    """Errors against float64 on the device."""
    precise = precise_loss(subject.contender, subject.loss, subject.classes)
    return errors(subject.loss, precise, subject.logits, subject.target)


def measure_graph(subject: Subject) -> Figures:
    """Whether a captured graph gives an eager step's bits for new logits, and its seconds."""
    device, new = subject.device, subject.logits.detach().neg()
    captured = subject._replace(logits=subject.logits.detach().clone().requires_grad_())
    replay = device.capture(captured.step)
    with torch.no_grad():
        captured.logits.copy_(new)
    replayed = replay(), captured.logits.grad
    eager = subject._replace(logits=new.requires_grad_())
    return {
        "graph_same_bits": same_bits(replayed, (eager.step(), eager.logits.grad)),
        "graph_seconds": timed(device, replay, 1e-3, subject.seconds)["seconds"],
    }


def same_bits(first: Sequence[Tensor | None], second: Sequence[Tensor | None]) -> bool:
    """Whether tensors of floats are the same to the last bit, the sign of zero included."""
    integers = {2: torch.int16, 4: torch.int32, 8: torch.int64}
    return all(
        one is not None
        and two is not None
        and one.dtype == two.dtype
        and torch.equal(*(tensor.view(integers[tensor.element_size()]) for tensor in (one, two)))
        for one, two in zip(first, second, strict=True)
    )


def copy_speed(device: Device) -> float:
    """Bytes that a copy of a large tensor reads and writes in a second, with cold caches."""
    source = torch.ones(device.large, dtype=torch.uint8, device=device.where)
    copy = torch.empty_like(source)
    copied = timed(device, lambda: copy.copy_(source), hold=1e-3, seconds=0.0)
    return 2 * device.large / float(copied["seconds"])


PARTS: Mapping[str, Callable[[Subject], Figures]] = {
    "time": measure_time,
    "memory": measure_memory,
    "launches": measure_launches,
    "bits": measure_bits,
    "error": measure_error,
    "graph": measure_graph,
}
"""What can be measured."""
