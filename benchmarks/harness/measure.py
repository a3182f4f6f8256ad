"""Measures one contender on one workload, in a separate process, and prints JSON.

(cd benchmarks && python -m harness.measure '{"contender": "segloss", "shape": [2, 1, 64, 64],
                                              "classes": 2, "what": "time", "seconds": 1}')
"""

from __future__ import annotations

import ctypes
import gc
import json
import re
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.contenders import CONTENDERS, LossFunction, Workload, textbook

THREADS = 2
LIKE_TEXTBOOK = ("segloss", "reference path", "textbook")
"""Contenders with the same formula as the textbook, which gives their value in float64."""


def step(loss: LossFunction, logits: Tensor, target: Tensor) -> Tensor:
    """Runs forward and backward into a fresh gradient, and returns the value."""
    logits.grad = None
    value = loss(logits, target)
    value.backward()
    return value.detach()


def measure_time(loss: LossFunction, workload: Workload, seconds: float) -> dict[str, Any]:
    """Measures the seconds of each step after a warm-up, for some seconds, in at least 3 steps."""
    logits, target = workload.batch()
    step(loss, logits, target)
    times: list[float] = []
    while len(times) < 3 or (sum(times) < seconds and len(times) < 500):
        start = time.perf_counter()
        step(loss, logits, target)
        times.append(time.perf_counter() - start)
    return {"times": times}


def measure_memory(loss: LossFunction, workload: Workload) -> dict[str, Any]:
    """Measures peak memory beyond the inputs and memory kept for backward, per byte of logits."""
    logits, target = workload.batch()
    size = logits.numel() * logits.element_size()
    step(loss, logits, target)
    kept = kept_bytes(loss, logits, target)
    logits.grad = None
    before = trimmed_memory()
    step(loss, logits, target)
    peak = memory("VmHWM") - before
    return {"peak": peak / size, "kept": kept / size}


def kept_bytes(loss: LossFunction, logits: Tensor, target: Tensor) -> int:
    """Returns the bytes of the tensors that autograd saves, other than the inputs."""
    inputs = {tensor.untyped_storage().data_ptr() for tensor in (logits, target)}
    storages: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in inputs:
            storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        value = loss(logits, target)
    value.backward()
    return sum(storages.values())


def trimmed_memory() -> int:
    """Frees unused memory, resets the peak of the process, and returns its memory in bytes."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return memory("VmRSS")


def memory(field: str) -> int:
    """Returns a memory figure of the process from Linux, in bytes."""
    status = Path("/proc/self/status").read_text()
    [kilobytes] = re.findall(rf"{field}:\s+(\d+) kB", status)
    return int(kilobytes) * 1024


def measure_error(
    name: str,
    loss: LossFunction,
    workload: Workload,
    dtype: torch.dtype = torch.float32,
    margin: float = 0.0,
) -> dict[str, Any]:
    """Measures errors against float64: of the value, and of the gradient over its largest entry.

    Args:
        name: The contender's name.
        loss: The contender.
        workload: The workload.
        dtype: The dtype of the logits.
        margin: The margin by which the logits of every pixel are correct; 0: random logits.
    """
    logits, target = workload.batch(dtype)
    if margin > 0:
        logits = confident(logits, target, margin)
        # The textbook itself loses digits here, even in float64.
        precise = loss
    else:
        precise = precise_loss(name, loss, workload.classes)
    return errors(loss, precise, logits, target)


def precise_loss(name: str, loss: LossFunction, classes: int) -> LossFunction:
    """Returns the loss that gives the exact value of a contender, for logits in float64."""
    return textbook(classes) if name.startswith(LIKE_TEXTBOOK) else loss


def errors(
    loss: LossFunction, precise: LossFunction, logits: Tensor, target: Tensor
) -> dict[str, Any]:
    """Returns the errors of a step against a precise loss in float64, on the same logits."""
    value = step(loss, logits, target).item()
    gradient = logits.grad
    logits = logits.detach().double().requires_grad_()
    target = target.double() if target.is_floating_point() else target
    exact = step(precise, logits, target).item()
    error = (gradient - logits.grad).abs().max() / logits.grad.abs().max()
    return {
        "value_error": abs(value - exact),
        "relative_error": abs(value - exact) / abs(exact),
        "gradient_error": error.item(),
    }


def confident(logits: Tensor, target: Tensor, margin: float) -> Tensor:
    """Returns logits in which the true class leads by the margin, with a little noise."""
    shift = 2 * target - 1
    if target.ndim < logits.ndim:
        shift = F.one_hot(target, logits.shape[1]).movedim(-1, 1)
    return (logits.detach() / 10 + margin * shift).to(logits.dtype).requires_grad_()


def main() -> None:
    """Runs the measurement in the first argument of the command line."""
    job = json.loads(sys.argv[1])
    warnings.simplefilter("ignore")
    torch.set_num_threads(THREADS)
    workload = Workload(tuple(job["shape"]), job["classes"])
    try:
        loss = CONTENDERS[job["contender"]](workload.classes)
        result = {
            "time": lambda: measure_time(loss, workload, job["seconds"]),
            "memory": lambda: measure_memory(loss, workload),
            "error": lambda: measure_error(job["contender"], loss, workload),
            "error in bfloat16": lambda: measure_error(
                job["contender"], loss, workload, torch.bfloat16
            ),
            "error where confident": lambda: measure_error(
                job["contender"], loss, workload, margin=12.0
            ),
        }[job["what"]]()
    except (ImportError, NotImplementedError) as error:
        result = {"missing": str(error)}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
