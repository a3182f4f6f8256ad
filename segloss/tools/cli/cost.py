"""The cost of a step: the time of forward and backward of a loss on this machine."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from segloss.losses.multi_loss import MultiLoss
from segloss.tools.check.example_search import NoExampleError, channels_of, find_form, forms
from segloss.tools.check.loss_under_test import first_line, preserved
from segloss.tools.check.nested_batches import map_tensors, tensors_in
from segloss.tools.cli.configs import Component

_SEARCH_SIDE = 24
"""The longest side of the small batches in the search for the form that a loss takes."""

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


def cost_of(component: Component, shape: Sequence[int]) -> Cost:
    """Returns the cost of a loss on random predictions, without its pre-processes.

    Args:
        component: The loss.
        shape: The shape of the predictions, (N, C, *spatial). If the loss does not take C
            channels, the measurement uses a number that it takes.
    """
    try:
        pred, gt, batch = _batch_for(component.alone, shape)
        if isinstance(component.alone, MultiLoss):
            pred, gt = component.alone._pre_processed(pred, gt)
    except NoExampleError as error:
        return Cost(None, f"not measured: {error}")
    with preserved(component.loss):
        inputs: list[Tensor] = []
        pred = map_tensors(pred, lambda tensor: _leaf(tensor, inputs))
        return Cost(_median(lambda: component.loss(pred, gt)[0], inputs), batch)


def cost_of_pre_processes(multi_loss: MultiLoss, shape: Sequence[int]) -> Cost:
    """Returns the cost of the pre-processes, shared by all losses of a config."""
    try:
        pred, gt, batch = _batch_for(multi_loss, shape)
    except NoExampleError as error:
        return Cost(None, f"not measured: {error}")
    inputs: list[Tensor] = []
    pred = map_tensors(pred, lambda tensor: _leaf(tensor, inputs))

    def sums_of_new_tensors() -> Tensor:
        processed, _ = multi_loss._pre_processed(pred, gt)
        new = [value for key, value in dict(processed).items() if key not in pred]
        return torch.stack(
            [t.sum() for t in tensors_in(new)] or [torch.zeros((), requires_grad=True)]
        )

    return Cost(_median(lambda: sums_of_new_tensors().sum(), inputs), batch)


def _batch_for(loss: Any, shape: Sequence[int]) -> tuple[Any, Any, str]:
    """Returns predictions and targets that the loss takes, and their form in words.

    Raises:
        NoExampleError: The loss takes none of the batches tried.
    """
    samples, channels, *spatial = shape
    small = [min(length, _SEARCH_SIDE) for length in spatial]
    counts = dict.fromkeys([channels, *channels_of(loss, None)])
    with preserved(loss):
        try:
            form = find_form(loss, forms(loss, list(counts)), small)
            example = form.example(spatial, loss, samples)
            loss(example.pred, example.gt)
        except NoExampleError:
            raise
        except Exception as error:  # any error means that the loss does not take the batch
            raise NoExampleError(first_line(error)) from error
    kind = "logits" if form.from_logits else "probabilities"
    return example.pred, example.gt, f"{kind} {(samples, form.channels, *spatial)}"


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
