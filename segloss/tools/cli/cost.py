"""The cost of a step: the time of a loss's forward and backward, measured on this machine."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from segloss.losses.multi_loss import MultiLoss
from segloss.tools.check.example_search import NoExampleError, channels_of, find_form, forms
from segloss.tools.check.loss_under_test import first_line, preserved
from segloss.tools.check.nested_batches import tensors_in, map_tensors
from segloss.tools.cli.configs import Component

_SEARCHED = 24
"""The longest side of the small batches that find out which form a loss takes."""

_SECONDS = 0.5
"""The least time for which each loss is measured."""


class Cost(NamedTuple):
    """The cost of a step.

    Attributes:
        milliseconds: The median time of forward and backward; None where it can't be measured.
        batch: The predictions that it was measured on, or why it was not.
    """

    milliseconds: float | None
    batch: str


def cost_of(component: Component, shape: Sequence[int]) -> Cost:
    """Returns the cost of a loss on random predictions, its pre-processes left out.

    Args:
        component: The loss.
        shape: The predictions' (N, C, *spatial). Where the loss does not take C channels, it is
            measured with as many as it takes.
    """
    try:
        pred, gt, batch = _reference(component.alone, shape)
        if isinstance(component.alone, MultiLoss):
            pred, gt = component.alone._pre_processed(pred, gt)
    except NoExampleError as error:
        return Cost(None, f"not measured: {error}")
    with preserved(component.loss):
        inputs: list[Tensor] = []
        pred = map_tensors(pred, lambda tensor: _leaf(tensor, inputs))
        return Cost(_median(lambda: component.loss(pred, gt)[0], inputs), batch)


def cost_of_pre_processes(multi_loss: MultiLoss, shape: Sequence[int]) -> Cost:
    """Returns the cost of the pre-processes, which all losses of a config share."""
    try:
        pred, gt, batch = _reference(multi_loss, shape)
    except NoExampleError as error:
        return Cost(None, f"not measured: {error}")
    inputs: list[Tensor] = []
    pred = map_tensors(pred, lambda tensor: _leaf(tensor, inputs))

    def added() -> Tensor:
        processed, _ = multi_loss._pre_processed(pred, gt)
        new = [value for key, value in dict(processed).items() if key not in pred]
        return torch.stack(
            [t.sum() for t in tensors_in(new)] or [torch.zeros((), requires_grad=True)]
        )

    return Cost(_median(lambda: added().sum(), inputs), batch)


def _reference(loss: Any, shape: Sequence[int]) -> tuple[Any, Any, str]:
    """Returns a batch that the loss takes, and its predictions.

    Raises:
        NoExampleError: It takes none.
    """
    samples, channels, *spatial = shape
    small = [min(length, _SEARCHED) for length in spatial]
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

    It is measured on one thread: several would wait for other programs of the machine, at each
    operation anew, and losses of many small operations would seem slow.
    """
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # CUDA may be absent
    from torch.utils.benchmark import Timer

    def step() -> None:
        torch.autograd.grad(loss(), inputs, allow_unused=True)

    step()
    timer = Timer("step()", globals={"step": step}, num_threads=1)
    return 1e3 * timer.blocked_autorange(min_run_time=_SECONDS).median
