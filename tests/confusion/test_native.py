"""The pass in machine code: each instruction set of this machine, any number of threads."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from pixel_batches import TOLERANCE, batches_and_groups, outcome
from torch import Tensor

import segloss.confusion as confusion
from segloss import SegLoss
from segloss.confusion import native
from segloss.confusion.fused import fused_confusion
from segloss.confusion.native import NativeKernel, serves_native
from segloss.confusion.reference import reference_confusion
from segloss.confusion.sums import SoftConfusion
from segloss.targets import Pixels, as_pixels

if not native.is_built():
    pytest.skip("there was no compiler where the package was built", allow_module_level=True)

SETS = native.instruction_sets()
"""From the best, which is used."""


@pytest.fixture(autouse=True)
def auto() -> Iterator[None]:
    before = confusion.current_path()
    confusion.use_path("auto")
    yield
    confusion.use_path(before)
    native.use_instruction_set(SETS[0])


def by_machine_code(pixels: Pixels, groups: tuple[str, ...]) -> SoftConfusion:
    assert serves_native(pixels, groups)
    return fused_confusion(pixels, groups)


@pytest.mark.parametrize("name", SETS)
@settings(max_examples=150, deadline=None)
@given(batches_and_groups())
def test_each_instruction_set_agrees_with_the_reference(name: str, batch) -> None:
    pixels, logits, groups = batch
    native.use_instruction_set(name)
    if not serves_native(pixels, groups):
        assert logits.dtype == torch.float64
        return
    sums, gradient = outcome(by_machine_code, pixels, logits, groups)
    expected, expected_gradient = outcome(reference_confusion, pixels, logits, groups)
    for key, value in sums.items():
        scale = expected[key].abs().max().item()
        rtol = 6e-6 if key.startswith("focal(") else 2e-6
        torch.testing.assert_close(value, expected[key], rtol=rtol, atol=rtol * scale + 1e-30)
    tolerance = TOLERANCE[logits.dtype]
    scale = max(0.1, expected_gradient.abs().max().item())
    torch.testing.assert_close(gradient, expected_gradient, rtol=tolerance, atol=tolerance * scale)


def pixels_of(n_classes: int, size: int = 700) -> tuple[Pixels, Tensor]:
    channels = 1 if n_classes == 2 else n_classes
    logits = torch.randn(2, channels, size, size + 1, requires_grad=True)
    pixels = as_pixels(
        logits,
        torch.randint(0, n_classes, (2, size, size + 1)),
        n_classes=n_classes,
        activation="sigmoid" if n_classes == 2 else "softmax",
        from_logits=True,
    )
    return pixels, logits


@pytest.mark.parametrize("n_classes", [2, 5])
def test_the_number_of_threads_changes_no_bit(n_classes: int) -> None:
    pixels, logits = pixels_of(n_classes)
    groups = ("region", "cross_entropy")
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            results.append(outcome(by_machine_code, pixels, logits, groups))
    finally:
        torch.set_num_threads(before)
    for sums, gradient in results[1:]:
        assert all(torch.equal(value, results[0][0][name]) for name, value in sums.items())
        assert torch.equal(gradient, results[0][1])


@pytest.mark.parametrize("n_classes", [2, 5])
@pytest.mark.parametrize("name", SETS)
def test_what_is_not_a_number_stays_so(name: str, n_classes: int) -> None:
    native.use_instruction_set(name)
    pixels, logits = pixels_of(n_classes, size=20)
    with torch.no_grad():
        logits[1, -1, 3, 4] = torch.nan
    sums = NativeKernel(pixels, ("region", "cross_entropy")).forward()
    assert sums["cross_entropy"][0].isfinite().all()
    assert sums["cross_entropy"][1].isnan().all()
    assert sums["true_positive"][1].isnan().any()


def test_a_label_of_no_class_is_an_error_that_reads_no_memory_of_others() -> None:
    logits = torch.randn(1, 3, 8)
    labels = torch.tensor([[0, 1, 2, 0, 1, 2, 0, 10**15]])
    pixels = Pixels(logits, labels, "softmax", True, None, None, None, None, 0.0)
    with pytest.raises(IndexError, match="labels of no class: expected 0 to 2"):
        NativeKernel(pixels, ("region",)).forward()


def test_what_it_does_not_read_takes_other_kernels() -> None:
    logits, mask = torch.randn(1, 1, 8), torch.ones(1, 1, 8)
    options = {"n_classes": 2, "activation": "sigmoid", "from_logits": True}
    assert serves_native(as_pixels(logits, mask, **options), ("region",))
    assert not serves_native(as_pixels(logits.double(), mask, **options), ("region",))
    negated = torch._neg_view(logits)
    assert not serves_native(as_pixels(negated, mask, **options), ("region",))
    confusion.use_path("chunks")
    assert not serves_native(as_pixels(logits, mask, **options), ("region",))


def test_a_package_without_machine_code_computes_the_same() -> None:
    program = """
import sys
sys.modules["segloss.confusion._native"] = None
import torch
from segloss import SegLoss
from segloss.confusion import native
from segloss.confusion.fused import fused_confusion
assert not native.is_built()
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
    with pytest.raises(ValueError, match="There is no instruction set mmx here"):
        native.use_instruction_set("mmx")
