"""The cost of a step: the time of forward and backward of a loss on this machine."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from segloss.losses.multi_loss import MultiLoss
from segloss.tools.check.examples.example import Example
from segloss.tools.check.examples.forms import Form
from segloss.tools.check.examples.requirements import channels_of
from segloss.tools.check.examples.shared_form import SharedForm, find_shared_form
from segloss.tools.check.loss_under_test import first_line, preserved
from segloss.tools.check.nested_batches import map_tensors, tensors_in

_SEARCH_SIDE = 24
"""The longest side of the small batches in the search for the form that a loss takes."""

PRE_PROCESSES = "(pre-processes)"
"""The name under which the cost of the pre-processes stands."""

_MIN_SECONDS = 0.5
"""The minimum time of the measurement of each loss, in seconds."""


class Cost(NamedTuple):
    """The cost of a step.

    Attributes:
        milliseconds: The median time of forward and backward; None if it can't be measured.
        batch: The form of the predictions, or the reason for a missing measurement.
    """

    milliseconds: float | None
    batch: str


def costs_of(multi_loss: MultiLoss, shape: Sequence[int]) -> Iterator[tuple[str, Cost]]:
    """Yields the name and the cost of each loss, on one batch of random predictions.

    The pre-processes, which all losses share, come last.

    Args:
        multi_loss: The losses.
        shape: The shape of the predictions, (N, C, *spatial). If the losses do not take C
            channels, the measurement uses a number that they take.

    Raises:
        NoSharedFormError: The losses can't see one prediction and one target.
    """
    samples, channels, *spatial = shape
    counts = list(dict.fromkeys([channels, *channels_of(multi_loss, None)]))
    small = [min(length, _SEARCH_SIDE) for length in spatial]
    shared = find_shared_form(multi_loss, counts, small)
    for name in shared.losses:
        yield name, _cost_of(multi_loss, shared, name, shape)
    if multi_loss.pre_processes and shared.forms:
        name, form = next(iter(shared.forms.items()))
        example = shared.example(name, spatial, samples)
        milliseconds = _milliseconds_of_pre_processes(multi_loss, example)
        yield PRE_PROCESSES, Cost(milliseconds, _words(form, shape))


def _cost_of(multi_loss: MultiLoss, shared: SharedForm, name: str, shape: Sequence[int]) -> Cost:
    """Returns the cost of a loss, without its pre-processes."""
    if name in shared.refusals:
        return Cost(None, f"not measured: {shared.refusals[name]}")
    samples, _, *spatial = shape
    example = shared.example(name, spatial, samples)
    [loss] = [each for each in multi_loss.loss_funcs if each.name == name]
    try:
        with preserved(loss):
            pred, gt = multi_loss._pre_processed(example.pred, example.gt)
            inputs: list[Tensor] = []
            pred = map_tensors(pred, lambda tensor: _leaf(tensor, inputs))
            milliseconds = _median(lambda: loss(pred, gt)[0], inputs)
    except Exception as error:  # any error means that the loss does not take the batch
        return Cost(None, f"not measured: {first_line(error)}")
    return Cost(milliseconds, _words(shared.forms[name], shape))


def _words(form: Form, shape: Sequence[int]) -> str:
    """Returns the kind and the shape of the predictions."""
    samples, _, *spatial = shape
    return f"{form.kind} {(samples, form.channels, *spatial)}"


def _milliseconds_of_pre_processes(multi_loss: MultiLoss, example: Example) -> float:
    inputs: list[Tensor] = []
    pred = map_tensors(example.pred, lambda tensor: _leaf(tensor, inputs))

    def sums_of_new_tensors() -> Tensor:
        processed, _ = multi_loss._pre_processed(pred, example.gt)
        new = [value for key, value in dict(processed).items() if key not in pred]
        return torch.stack(
            [t.sum() for t in tensors_in(new)] or [torch.zeros((), requires_grad=True)]
        )

    return _median(lambda: sums_of_new_tensors().sum(), inputs)


def _leaf(tensor: Tensor, inputs: list[Tensor]) -> Tensor:
    if not tensor.is_floating_point():
        return tensor
    inputs.append(tensor.detach().requires_grad_())
    return inputs[-1]


def _median(loss: Callable[[], Tensor], inputs: Sequence[Tensor]) -> float:
    """Returns the median time of forward and backward, in milliseconds.

    The measurement uses one thread. Several threads would wait for other programs at each
    operation, and losses with many small operations would seem slow.
    """
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # CUDA may be absent
    from torch.utils.benchmark import Timer

    def step() -> None:
        torch.autograd.grad(loss(), inputs, allow_unused=True)

    step()
    timer = Timer("step()", globals={"step": step}, num_threads=1)
    return 1e3 * timer.blocked_autorange(min_run_time=_MIN_SECONDS).median
