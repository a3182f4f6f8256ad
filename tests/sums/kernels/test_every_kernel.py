"""Every kernel of this machine gives the reference's numbers: one suite for all of them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import pytest
import torch
from hypothesis import given, settings
from torch import Tensor

from segloss.batch.assemble import as_pixel_batch
from segloss.batch.options import PixelOptions
from segloss.batch.pixel_batch import PixelBatch
from segloss.sums.kernels import cpu
from segloss.sums.kernels.base import Kernel
from segloss.sums.kernels.registry import KERNELS, REFERENCE
from segloss.sums.plan import NAMED, FocalSum, MapSum, Plan, Row, Sum, plan_of
from tests.support.kernels import INTERPRETED, at_home
from tests.support.pixel_batches import (
    TOLERANCE,
    asked,
    batches_and_plans,
    everything,
    outcome,
    pixels_of,
)


class Variant(NamedTuple):
    """A kernel, and for the one for CPUs a set of instructions."""

    kernel: Kernel
    instruction_set: str = ""


[CPU] = [kernel for kernel in KERNELS if kernel.name == "cpu"]

VARIANTS = {
    kernel.name: Variant(at_home(kernel))
    for kernel in KERNELS
    if not kernel.why_not_here() and kernel.name not in ("cpu", "reference")
} | {f"cpu {name}": Variant(CPU, name) for name in cpu.instruction_sets()}

ROWS = 2 if INTERPRETED else 700
"""The height of a large image, 701 wide, of several blocks of pixels on every kernel."""


@pytest.fixture(params=VARIANTS)
def kernel(request) -> Iterator[Kernel]:
    with using(VARIANTS[request.param]) as chosen:
        yield chosen


class using:  # noqa: N801
    """Makes the kernel use a set of instructions for a while."""

    def __init__(self, variant: Variant) -> None:
        self.variant = variant

    def __enter__(self) -> Kernel:
        if self.variant.instruction_set:
            cpu.use_instruction_set(self.variant.instruction_set)
        return self.variant.kernel

    def __exit__(self, *_: object) -> None:
        if self.variant.instruction_set:
            cpu.use_instruction_set(cpu.instruction_sets()[0])


def assert_same(kernel: Kernel, pixels: PixelBatch, plan: Plan, rtol: float, atol: float) -> None:
    """Sums to `rtol`; gradients to ten times that, and to `atol` of the largest."""
    sums, gradient = outcome(kernel, pixels, plan)
    expected, expected_gradient = outcome(REFERENCE, pixels, plan)
    for key, value in sums.items():
        torch.testing.assert_close(value, expected[key], rtol=rtol, atol=1e-30, msg=key)
    scale = expected_gradient.abs().max().item()
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-5, atol=atol * scale)


def in_float64(pixels: PixelBatch) -> PixelBatch:
    return pixels.replace(prediction=pixels.prediction.double())


@pytest.mark.parametrize("name", VARIANTS)
@settings(max_examples=200 if not INTERPRETED else 60, deadline=None)
@given(batches_and_plans())
def test_sums_and_gradients_are_the_references(name: str, batch) -> None:
    pixels, logits, plan = batch
    with using(VARIANTS[name]) as kernel:
        served = [each for each in plan.sums if not kernel.supports(pixels, plan_of([each]))]
        plan = plan_of(served)
        if not plan.sums or kernel.supports(pixels, plan):
            return
        sums, gradient = outcome(kernel, pixels, plan)
    expected, exact = outcome(REFERENCE, in_float64(pixels), plan)
    assert gradient.shape == pixels.prediction.shape
    assert gradient.dtype == logits.dtype
    for key, value in sums.items():
        scale = expected[key].abs().max().item()
        # an exponential of a logit of 30 is right to 2e-6, and a focal sum has a power of it
        rtol = 6e-6 if key.startswith("focal") else 2e-6
        atol = rtol * scale + 1e-30
        torch.testing.assert_close(value, expected[key], rtol=rtol, atol=atol, msg=key)
    # of a soft target a focal loss's slope is a difference of what both classes pull
    tolerance = TOLERANCE[logits.dtype] * (3 if plan.focals else 1)
    scale = max(0.1, exact.abs().max().item())
    torch.testing.assert_close(gradient.double(), exact, rtol=tolerance, atol=tolerance * scale)


def test_a_plan_of_one_sum_computes_no_other(kernel: Kernel) -> None:
    for pixels, served in (*asked(kernel, 2, 2, 9, 8), *asked(kernel, 4, 2, 9, 8)):
        for each in served.sums:
            plan = plan_of([each])
            sums = kernel.sums(pixels, plan)
            assert sums.shape == (len(plan.rows), *pixels.prediction.shape[:2])
            assert {row.key for row in plan.rows} == {
                *(row.key for row in each.rows),
                *(() if each.name == "cross_entropy" else ("actual", "pixel_weight")),
            }


def test_a_sum_that_a_kernel_does_not_have_is_refused_with_its_name(kernel: Kernel) -> None:
    unknown = Sum("entropy of the prediction", (Row("prediction_entropy"),))
    for pixels, _ in asked(kernel, 2, 1, 8):
        assert "entropy of the prediction" in kernel.supports(pixels, plan_of([unknown]))


def test_a_sum_that_only_the_plan_and_the_reference_know_is_refused(kernel, monkeypatch) -> None:
    new = Sum("entropy of the prediction", (Row("prediction_entropy"),))
    monkeypatch.setitem(NAMED, new.name, new)
    for pixels, _ in asked(kernel, 2, 1, 8):
        assert new.name in kernel.supports(pixels, plan_of([new]))


def test_large_batches_are_read_in_parts(kernel: Kernel) -> None:
    for pixels, plan in (*asked(kernel, 2, 2, ROWS, 701), *asked(kernel, 5, 2, ROWS, 701)):
        assert_same(kernel, pixels, plan, rtol=1e-7, atol=1e-6)


@pytest.mark.parametrize("count", [1027] if INTERPRETED else [4097, 5000, 224 * 224])
def test_samples_of_any_size_are_told_apart(kernel: Kernel, count: int) -> None:
    for pixels, plan in (*asked(kernel, 2, 3, count), *asked(kernel, 5, 3, count)):
        pixels.prediction.mul_(torch.tensor([0.1, 1, 5]).view(3, 1, 1))
        assert_same(kernel, pixels, plan, rtol=1e-6, atol=1e-6)


def test_one_soft_value_among_zeros_and_ones_is_seen(kernel: Kernel) -> None:
    mask = torch.rand(2, 1, ROWS, 701).round()
    mask[1, 0, -1, -1] = 0.25
    for pixels, plan in asked(kernel, 2, 2, ROWS, 701):
        pixels = as_pixel_batch(pixels.prediction, mask.flatten(2), pixels.options)
        assert outcome(kernel, pixels, plan)[0]["actual"][1] % 1 == 0.25
        assert_same(kernel, pixels, plan, rtol=1e-7, atol=1e-6)


@pytest.mark.parametrize("size", [1e4, 1e30, 3e38])
@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_extreme_logits(kernel: Kernel, size: float, activation: str) -> None:
    logits = size * torch.tensor([[[1.0, -1, 1, 0], [-1, 1, 1, 0], [0, 0, 1, 1]]])
    target = torch.tensor([[0, 0, 1, 2]])
    target = target if activation == "softmax" else torch.tensor([[[1.0, 0, 1, 0]] * 3])
    pixels = as_pixel_batch(logits, target, PixelOptions(3, activation))
    plan = everything(pixels, kernel)
    if kernel.supports(pixels, plan):
        return
    sums, gradient = outcome(kernel, pixels, plan)
    if size <= 1e30:
        expected, _ = outcome(REFERENCE, pixels, plan)
        for key, value in sums.items():
            torch.testing.assert_close(value, expected[key], rtol=1e-6, atol=1e-30, msg=key)
    assert gradient.isfinite().all()


def test_true_positives_of_a_class_that_is_missed_keep_their_digits(kernel: Kernel) -> None:
    for pixels, plan in asked(kernel, 2, 1, 64, 64):
        pixels = pixels.replace(
            prediction=torch.full_like(pixels.prediction, -12.0),
            target=torch.ones_like(pixels.target),
        )
        value = outcome(kernel, pixels, plan)[0]["true_positive"].item()
        assert value == pytest.approx(4096 / (1 + math.exp(12)), rel=1e-6)


@pytest.mark.parametrize("gamma", [0.5, 2.0, 3.3])
def test_the_slope_of_a_focal_sum_keeps_its_digits_where_a_label_is_missed(kernel, gamma) -> None:
    # It has p (-log p), of which 1 - (1 - p) would be a rounding error times the logit
    plan = plan_of([FocalSum((gamma,), (1.0,))])
    margins = torch.linspace(1, 88, 400)
    sigmoid = PixelBatch(-margins.view(1, 1, -1), torch.ones(1, 1, 400), PixelOptions(2, "sigmoid"))
    logits = torch.stack([torch.zeros(400), margins]).unsqueeze(0)
    softmax = PixelBatch(logits, torch.zeros(1, 400).long(), PixelOptions(2, "softmax"))
    for pixels in (sigmoid, softmax):
        if not kernel.supports(pixels, plan):
            _, gradient = outcome(kernel, pixels, plan)
            _, expected = outcome(REFERENCE, in_float64(pixels), plan)
            torch.testing.assert_close(gradient.double(), expected, rtol=2e-6, atol=0)


@pytest.mark.parametrize("n_classes", [2, 5])
def test_what_is_not_a_number_stays_so_and_in_its_sample(kernel: Kernel, n_classes: int) -> None:
    for pixels, plan in asked(kernel, n_classes, 2, 20, 21):
        pixels.prediction[1, -1, 40] = torch.nan
        sums = kernel.sums(pixels, plan)
        assert sums[:, 0].isfinite().all()
        for key in ("cross_entropy", "true_positive"):
            assert key not in plan.index or sums[plan.index[key], 1].isnan().any()


@pytest.mark.parametrize("n_classes", [2, 150])
def test_all_ignored_pixels_leave_nothing(kernel: Kernel, n_classes: int) -> None:
    for pixels, plan in asked(kernel, n_classes, 2, 7, 6):
        options = pixels.options._replace(ignore_index=255)
        target = torch.full_like(pixels.target, 255)
        sums, gradient = outcome(
            kernel, PixelBatch(pixels.prediction * torch.nan, target, options), plan
        )
        assert not any(value.any() for value in sums.values())
        assert not gradient.any()


@pytest.mark.parametrize("name", ["mask", "labels", "weights", "map"])
def test_any_byte_of_a_boolean_that_is_not_0_is_true(kernel: Kernel, name: str) -> None:
    # As PyTorch reads it: uint8 masks of 0 and 255 are often viewed as booleans
    flags = (torch.rand(2, 1, 9, 8) > 0.5).to(torch.uint8).mul(255).view(torch.bool)
    pixels = pixels_of(2 if name != "labels" else 3, 2, 9, 8)
    target, weight, maps, plan = pixels.target, None, {}, everything(pixels, kernel)
    if name == "mask":
        target = flags.reshape(pixels.target.shape)
    if name == "labels":
        target = flags.reshape(pixels.target.shape)
    if name == "weights":
        weight = flags.reshape(2, 1, 72)
    if name == "map":
        maps = {"m": flags.reshape(2, 1, 72)}
        plan = plan_of([MapSum("m")])
    read = PixelBatch(pixels.prediction, target, pixels.options, weight, maps=maps)
    if kernel.supports(read, plan):
        return
    as_float = PixelBatch(
        pixels.prediction,
        target.to(torch.uint8).ne(0).long() if name != "mask" else target.ne(0).float(),
        pixels.options,
        None if weight is None else (weight.view(torch.uint8) != 0).float(),
        maps={key: (each.view(torch.uint8) != 0).float() for key, each in maps.items()},
    )
    ours, expected = outcome(kernel, read, plan), outcome(REFERENCE, as_float, plan)
    for key, value in ours[0].items():
        torch.testing.assert_close(value, expected[0][key], rtol=1e-6, atol=1e-9, msg=key)
    torch.testing.assert_close(ours[1], expected[1], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_gradients_have_the_layout_of_the_logits(kernel: Kernel, memory_format) -> None:
    for pixels, plan in (*asked(kernel, 2, 2, 6, 5), *asked(kernel, 4, 2, 6, 5)):
        logits = pixels.prediction.view(2, -1, 6, 5).to(memory_format=memory_format).flatten(2)
        pixels = pixels.replace(prediction=logits)
        assert outcome(kernel, pixels, plan)[1].stride() == logits.stride()


def test_slopes_of_rows_that_have_none_are_not_read(kernel: Kernel) -> None:
    for pixels, served in (*asked(kernel, 2, 2, 6, 5), *asked(kernel, 4, 2, 6, 5)):
        pixels = pixels.replace(maps={"m": torch.rand(pixels.prediction.shape)})
        more = [MapSum("m"), FocalSum((2.0,), (1.0,))]
        more = [each for each in more if not kernel.supports(pixels, plan_of([each]))]
        plan = plan_of([*served.sums, *more])
        slopes = torch.rand(len(plan.rows), *pixels.prediction.shape[:2]).double()
        expected = kernel.gradient(pixels, plan, slopes.clone())
        for place, row in enumerate(plan.rows):
            if not row.has_slope:
                slopes[place] = torch.nan
            if row.is_per_sample and pixels.is_exclusive:
                slopes[place, :, 1:] = torch.nan
        assert torch.equal(kernel.gradient(pixels, plan, slopes), expected)


def test_two_runs_give_the_same_bits(kernel: Kernel) -> None:
    for pixels, plan in (*asked(kernel, 2, 2, ROWS, 701), *asked(kernel, 5, 2, ROWS, 701)):
        first, second = (outcome(kernel, pixels, plan) for _ in range(2))
        assert all(torch.equal(value, second[0][key]) for key, value in first[0].items())
        assert torch.equal(first[1], second[1])


def test_it_does_not_change_its_inputs(kernel: Kernel) -> None:
    for pixels, plan in (*asked(kernel, 2, 2, 6, 5), *asked(kernel, 4, 2, 6, 5)):
        weight: Tensor = torch.rand(2, 1, 30)
        pixels = pixels.replace(weight=weight)
        before = [each.clone() for each in (pixels.prediction, pixels.target, weight)]
        outcome(kernel, pixels, plan)
        after = (pixels.prediction, pixels.target, weight)
        assert all(map(torch.equal, before, after))
