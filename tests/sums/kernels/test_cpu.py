"""The compiled kernel: threads, memory that it is handed, and packages without it."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from segloss import SegLoss, use_backend
from segloss.batch.assemble import as_pixel_batch
from segloss.batch.options import PixelOptions
from segloss.batch.pixel_batch import PixelBatch
from segloss.sums.kernels import cpu
from segloss.sums.kernels.registry import KERNELS, kernel_for
from segloss.sums.plan import REGION, MapSum, Plan, plan_of
from tests.support.pixel_batches import everything, outcome, pixels_of

if not cpu.is_built():
    pytest.skip("there was no compiler where the package was built", allow_module_level=True)

[KERNEL] = [kernel for kernel in KERNELS if kernel.name == "cpu"]
SETS = cpu.instruction_sets()
"""From the best, which is used."""


@pytest.fixture(autouse=True)
def _best() -> Iterator[None]:
    with use_backend("auto"):
        yield
    cpu.use_instruction_set(SETS[0])


def test_the_best_instruction_set_is_that_of_pytorch() -> None:
    of_pytorch = torch.backends.cpu.get_cpu_capability()
    assert SETS[0] == {"AVX2": "avx2", "AVX512": "avx512"}.get(of_pytorch, "baseline")
    assert SETS[-1] == "baseline"


@pytest.mark.parametrize("n_classes", [2, 5])
def test_the_number_of_threads_changes_no_bit(n_classes: int) -> None:
    pixels = pixels_of(n_classes, 2, 700, 701)
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            results.append(outcome(KERNEL, pixels, everything(pixels, KERNEL)))
    finally:
        torch.set_num_threads(before)
    for sums, gradient in results[1:]:
        assert all(torch.equal(value, results[0][0][key]) for key, value in sums.items())
        assert torch.equal(gradient, results[0][1])


@pytest.mark.parametrize("n_classes", [2, 5])
def test_denormal_gradients_do_not_depend_on_the_thread_that_computes_them(n_classes: int) -> None:
    pixels = pixels_of(n_classes, 2, 700, 701)
    plan = everything(pixels, KERNEL)
    kept = outcome_with_denormal_slopes(pixels, plan)  # starts PyTorch's threads
    assert ((kept != 0) & (kept.abs() < torch.finfo(torch.float32).tiny)).any()
    assert torch.set_flush_denormal(True)
    try:
        flushed = [outcome_with_denormal_slopes(pixels, plan) for _ in range(20)]
    finally:
        torch.set_flush_denormal(False)
    assert all(torch.equal(each, flushed[0]) for each in flushed)
    assert not ((flushed[0] != 0) & (flushed[0].abs() < torch.finfo(torch.float32).tiny)).any()
    assert torch.equal(outcome_with_denormal_slopes(pixels, plan), kept)


def outcome_with_denormal_slopes(pixels: PixelBatch, plan: Plan) -> Tensor:
    """The gradient for slopes so small that it holds denormal numbers."""
    shape = (len(plan.rows), *pixels.prediction.shape[:2])
    slopes = torch.rand(shape, generator=torch.Generator().manual_seed(0)).double()
    return KERNEL.gradient(pixels, plan, slopes * 1e-38)


def test_the_instruction_set_can_change_while_others_compute() -> None:
    pixels = pixels_of(5, 2, 90, 91)
    plan = everything(pixels, KERNEL)
    expected, _ = outcome(KERNEL, pixels, plan)
    done, failures = threading.Event(), []

    def compute() -> None:
        while not done.is_set():
            sums, _ = outcome(KERNEL, pixels, plan)
            same = all(torch.allclose(sums[key], expected[key], rtol=1e-5) for key in sums)
            failures.extend([] if same else [sums])

    workers = [threading.Thread(target=compute) for _ in range(3)]
    for worker in workers:
        worker.start()
    for _ in range(300):
        for name in SETS:
            cpu.use_instruction_set(name)
    done.set()
    for worker in workers:
        worker.join()
    assert not failures


def test_a_label_of_no_class_is_an_error_that_reads_no_memory_of_others() -> None:
    logits = torch.randn(1, 3, 8)
    labels = torch.tensor([[0, 1, 2, 0, 1, 2, 0, 10**15]])
    pixels = PixelBatch(logits, labels, PixelOptions(3, "softmax"))
    with pytest.raises(IndexError, match="labels that are not classes: expected 0 to 2"):
        KERNEL.sums(pixels, plan_of([REGION]))


def test_what_it_does_not_read_takes_other_kernels() -> None:
    logits, mask, options = torch.randn(1, 1, 8), torch.ones(1, 1, 8), PixelOptions(2, "sigmoid")
    plan = plan_of([REGION])

    def name(prediction: Tensor) -> str:
        return kernel_for(as_pixel_batch(prediction, mask, options), plan).name

    assert name(logits) == "cpu"
    assert name(logits.double()) != "cpu"
    assert name(torch._neg_view(logits)) != "cpu"


class Freed:
    """A kind of tensor whose memory is gone, or less than it says."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __call__(self, tensor: Tensor) -> None:
        tensor.untyped_storage().resize_(self.size)


@pytest.mark.parametrize("size", [0, 64])
@pytest.mark.parametrize("name", ["prediction", "target", "weight", "map"])
@pytest.mark.parametrize("n_classes", [2, 4])
def test_memory_that_is_gone_is_an_error_in_both_directions(n_classes, name, size) -> None:
    pixels = pixels_of(n_classes, 2, 30, 31)
    shape = pixels.prediction.shape
    tensors = {
        "prediction": pixels.prediction,
        "target": pixels.target,
        "weight": torch.rand(2, 1, shape[2]),
        "map": torch.rand(shape),
    }
    pixels = PixelBatch(
        tensors["prediction"],
        tensors["target"],
        pixels.options,
        tensors["weight"],
        maps={"m": tensors["map"]},
    )
    plan = plan_of([REGION, MapSum("m")])
    slopes = torch.ones(KERNEL.sums(pixels, plan).shape)
    Freed(size)(tensors[name])
    with pytest.raises(RuntimeError, match="was freed or resized"):
        KERNEL.sums(pixels, plan)
    with pytest.raises(RuntimeError, match="was freed or resized"):
        KERNEL.gradient(pixels, plan, slopes)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_slopes_of_any_dtype_and_layout_are_taken(dtype: torch.dtype) -> None:
    pixels = pixels_of(4, 2, 9, 8)
    plan = everything(pixels, KERNEL)
    slopes = torch.randint(0, 5, (len(plan.rows), 2, 4)).double()
    expected = KERNEL.gradient(pixels, plan, slopes)
    turned = slopes.to(dtype).movedim(0, -1).contiguous().movedim(-1, 0)
    assert torch.equal(KERNEL.gradient(pixels, plan, turned), expected)
    with pytest.raises(RuntimeError, match=r"slopes .* must have the shape"):
        KERNEL.gradient(pixels, plan, slopes[:-1])


def test_a_package_without_it_computes_the_same() -> None:
    program = """
import sys
sys.modules["segloss.sums.kernels._cpu"] = None
import torch
import segloss
from segloss import SegLoss
[cpu, *_] = segloss.backends()
assert not cpu.serves
assert "not compiled" in cpu.reasons["cpu float32"]
torch.manual_seed(0)
logits = torch.randn(2, 1, 30, 30)
print(SegLoss(from_logits=True, tversky_focal_coef=0.5)(logits, (logits > 0.3).long())[0].item())
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    torch.manual_seed(0)
    logits = torch.randn(2, 1, 30, 30)
    loss, _ = SegLoss(from_logits=True, tversky_focal_coef=0.5)(logits, (logits > 0.3).long())
    assert float(done.stdout) == pytest.approx(loss.item(), rel=1e-6)


def test_a_name_of_no_instruction_set() -> None:
    with pytest.raises(ValueError, match="mmx"):
        cpu.use_instruction_set("mmx")
