"""Compares losses with the textbook, on every kernel, in units of what rounding changes.

An answer in float32 can't be better than probabilities in float32. So the textbook is evaluated
again with each probability changed by a rounding error, and an error is counted in roundings: the
greatest of these changes, plus the rounding of the result. A small slope must be as good as a large
one, unless it is a difference of large ones in the textbook, too. Digits that a kernel loses by a
cancellation of its own are thousands of roundings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from torch import Tensor

import segloss
from segloss.sums.kernels import cpu
from segloss.sums.kernels.registry import KERNELS
from tests.support import textbook
from tests.support.configurations import Configuration, Tensors
from tests.support.kernels import BACKENDS, DEVICE

ROUNDINGS = 64
"""The greatest error that is allowed, in roundings: most right answers have 20, faults 1,000."""

EXACT = torch.finfo(torch.float64).eps
"""A rounding of the textbook itself, of losses about 1."""

DRAWS = 4
"""The number of evaluations with rounding errors."""


class Answer(NamedTuple):
    """A loss, and its slopes by the predictions, in float64."""

    value: Tensor
    gradient: Tensor


class Error(NamedTuple):
    """The error of a loss on a kernel.

    Attributes:
        kernel: The kernel.
        value: Relative to the value, or to the part that rounding leaves of it.
        gradient: Relative to the largest slope in the sample, alike.
        value_roundings: Of the value, in roundings.
        slope_roundings: Of the worst slope, in roundings of this slope.
    """

    kernel: str
    value: float
    gradient: float
    value_roundings: float
    slope_roundings: float

    @property
    def is_rounding(self) -> bool:
        return self.value_roundings <= ROUNDINGS and self.slope_roundings <= ROUNDINGS


def errors(configuration: Configuration, kernels: dict[str, Any] | None = None) -> list[Error]:
    """The errors on each kernel that takes the batch."""
    tensors = configuration.tensors()
    expected, changes = _expected(configuration, tensors)
    found: list[Error] = []
    for name, context in (KERNELS_HERE if kernels is None else kernels).items():
        with context(), noting() as served:
            there = tensors.to(DEVICE) if name == "triton" else tensors
            answer = _answer(configuration, there)
        asked = name.split()[0]
        kernel = name if not served or served[0] == asked else served[0]
        if kernel not in {each.kernel for each in found}:
            found.append(_error(kernel, answer, expected, changes, tensors.prediction.dtype))
    return found


@contextmanager
def on_instructions(name: str) -> Iterator[None]:
    """The kernel for CPUs with a set of instructions."""
    cpu.use_instruction_set(name)
    try:
        with segloss.use_backend("cpu"):
            yield
    finally:
        cpu.use_instruction_set(cpu.instruction_sets()[0])


def on_backend(name: str) -> Callable[[], Any]:
    return lambda: segloss.use_backend(name)


KERNELS_HERE: dict[str, Callable[[], Any]] = {name: on_backend(name) for name in BACKENDS}

ALL_KERNELS: dict[str, Callable[[], Any]] = {
    f"cpu {name}": lambda name=name: on_instructions(name) for name in cpu.instruction_sets()
} | {name: context for name, context in KERNELS_HERE.items() if name != "cpu"}


@contextmanager
def noting() -> Iterator[list[str]]:
    """The names of the kernels that compute sums."""
    names: list[str] = []

    def noted(kernel: Any) -> Callable[..., Tensor]:
        compute = kernel.sums

        def sums(*arguments: Any) -> Tensor:
            names.append(kernel.name)
            return compute(*arguments)

        return sums

    with ExitStack() as stack:
        for kernel in KERNELS:
            stack.enter_context(patch.object(kernel, "sums", noted(kernel)))
        yield names


def _answer(configuration: Configuration, tensors: Tensors) -> Answer:
    prediction = tensors.prediction.detach().requires_grad_()
    value = configuration.value(tensors, prediction)
    spatial = prediction.shape[2:]
    if value.shape[-len(spatial) :] == spatial and value.ndim > len(spatial):  # (N, ..., *spatial)
        value = value.flatten(-len(spatial))
    [gradient] = torch.autograd.grad(value, prediction, _upstream(value.cpu()).to(value))
    assert gradient.shape == prediction.shape
    assert gradient.dtype == prediction.dtype
    value, slopes = value.detach().cpu().double(), gradient.cpu().double()
    return Answer(value, slopes.clamp(*_range(gradient.dtype)))


def _range(dtype: torch.dtype) -> tuple[float, float]:
    """The least and greatest numbers, which stand for infinite slopes."""
    return torch.finfo(dtype).min, torch.finfo(dtype).max


def _upstream(value: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(value.shape, generator=generator, dtype=torch.float64) + 0.5


def _expected(configuration: Configuration, tensors: Tensors) -> tuple[Answer, Answer]:
    """The textbook's answer, and its greatest changes by roundings."""
    prediction = tensors.prediction.detach().double().requires_grad_()
    batch = textbook.batch_of(
        prediction,
        tensors.target,
        activation=configuration.activation,
        pixel_weights=tensors.weights,
        label_smoothing=configuration.label_smoothing,
        annotated=tensors.annotated,
        merge_unannotated=configuration.merge_unannotated,
        maps=tensors.maps,
        **configuration.options(),
    )
    dtype = torch.float64 if tensors.prediction.dtype == torch.float64 else torch.float32

    def value_of(batch: textbook.Batch) -> Tensor:
        return textbook.loss(batch, configuration.terms, configuration.reduction)

    def evaluated(batch: textbook.Batch) -> Answer:
        value = value_of(batch)
        gradient = _slopes(value, prediction)
        return Answer(value.detach(), gradient.clamp(*_range(tensors.prediction.dtype)))

    expected = evaluated(batch)
    changed = [evaluated(_rounded(batch, dtype, draw)) for draw in range(DRAWS)]
    values, gradients = (
        torch.stack([(answer[i] - expected[i]).abs() for answer in changed]).amax(0)
        for i in range(2)
    )
    gradients = gradients + _of_products(configuration, prediction, batch, value_of(batch), dtype)
    return expected, Answer(values, gradients)


def _slopes(value: Tensor, leaf: Tensor) -> Tensor:
    if not value.requires_grad:  # a constant
        return torch.zeros_like(leaf)
    [slopes] = torch.autograd.grad(
        value, leaf, _upstream(value), retain_graph=True, allow_unused=True
    )
    return torch.zeros_like(leaf) if slopes is None else slopes


def _of_products(
    configuration: Configuration,
    prediction: Tensor,
    batch: textbook.Batch,
    value: Tensor,
    dtype: torch.dtype,
) -> Tensor:
    """What rounding leaves of the products of slopes by p with the slopes of p by logits.

    A softmax compares one class with all others: the label's, or with dense targets the likeliest.
    The slopes of the other classes, p_j (f_j - the mean of f), are differences. One of these
    classes has a p_j near 1 if the pixel is confidently wrong.
    """
    limits = torch.finfo(dtype)
    of_p, of_q, of_log_p = (_slopes(value, each).abs() for each in (batch.p, batch.q, batch.log_p))
    pulls = of_p + of_q + of_log_p
    found = limits.tiny * pulls
    if configuration.exclusive and configuration.from_logits and pulls.numel():
        x = torch.nan_to_num(prediction.detach().reshape(pulls.shape), nan=0.0)
        pivot = (batch.p if batch.dense else batch.g).argmax(1, keepdim=True)
        shares = x.softmax(1) * pulls.amax(1, keepdim=True)
        if batch.dense:  # of the rest that the likeliest class leaves
            others = x.scatter(1, pivot, -torch.inf).softmax(1)
            shares = shares + others * of_log_p.scatter(1, pivot, 0).amax(1, keepdim=True)
        found = found + limits.eps / 2 * shares.scatter(1, pivot, 0)
    return found.reshape(prediction.shape)


def _rounded(batch: textbook.Batch, dtype: torch.dtype, draw: int) -> textbook.Batch:
    """The batch with another rounding error in each number, or the same in all of a kind.

    Numbers too small for the dtype become 0 in one draw.
    """
    generator = torch.Generator().manual_seed(draw)
    eps, tiny = torch.finfo(dtype).eps / 2, torch.finfo(dtype).tiny
    shape = (1, 1, 1) if draw == 1 else batch.p.shape

    def share() -> Tensor:
        return 2 * torch.rand(shape, generator=generator, dtype=torch.float64) - 1

    def rounded(values: Tensor, size: Tensor | float) -> Tensor:
        changed = values * (1 + eps * share() * size)
        smallest = torch.where(values < tiny, 0.0, changed) if draw == 0 else changed + tiny
        return torch.where(values < 0, changed, smallest)

    # The exponential of x is wrong by the rounding of x
    return batch.with_probabilities(
        textbook.Probabilities(
            p=rounded(batch.p, 1 - batch.log_p.detach()),
            q=rounded(batch.q, 1 - batch.log_q.detach()),
            log_p=rounded(batch.log_p, 1.0),
            log_q=rounded(batch.log_q, 1.0),
        )
    )


def _error(
    kernel: str, answer: Answer, expected: Answer, changes: Answer, dtype: torch.dtype
) -> Error:
    arithmetic = torch.finfo(torch.float64 if dtype == torch.float64 else torch.float32)
    eps, result = arithmetic.eps / 2, torch.finfo(dtype)
    value, value_changes = expected.value.abs(), changes.value
    of_value = (answer.value - expected.value).abs()
    slopes, slope_changes, of_slopes = (
        tensor.abs().reshape(len(tensor), tensor[:1].numel())
        for tensor in (expected.gradient, changes.gradient, answer.gradient - expected.gradient)
    )
    return Error(
        kernel,
        _greatest(of_value, torch.maximum(value, (value_changes + EXACT) / eps)),
        _greatest(
            of_slopes, torch.maximum(slopes, (slope_changes + EXACT) / eps).amax(1, keepdim=True)
        )
        if slopes.numel()
        else 0.0,
        _greatest(of_value, value_changes + eps * value + EXACT),
        _greatest(of_slopes, slope_changes + result.eps / 2 * slopes + result.tiny + EXACT),
    )


def _greatest(errors: Tensor, scale: Tensor) -> float:
    """The greatest error in terms of the scale; 0 / 0 is 0, and what is not a number infinite."""
    if errors.numel() == 0:
        return 0.0
    return float((errors / scale).masked_fill(errors == 0, 0).nan_to_num(nan=torch.inf).max())
