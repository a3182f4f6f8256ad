"""The loss under test: calls, gradients, copies, and the restoration of its state."""

from __future__ import annotations

import contextlib
import copy
import inspect
import random
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from segloss.foundation.distributed import local_statistics
from segloss.foundation.ignore_index import check_ignore_index, values_of
from segloss.tools.check.examples.example import Example
from segloss.tools.check.nested_batches import copied, map_tensors


class NotScalarError(TypeError):
    """The loss returned something other than a scalar."""


class Outcome(NamedTuple):
    """A value, and a gradient for each watched prediction; None for a prediction without one."""

    value: Tensor
    gradients: list[Tensor | None]

    @property
    def is_finite(self) -> bool:
        """True if value and gradients are finite."""
        present = [g for g in self.gradients if g is not None]
        return all(bool(t.isfinite().all()) for t in (self.value, *present))

    def flat(self) -> Tensor:
        """Returns all gradients in one float64 vector."""
        present = [g.double().reshape(-1) for g in self.gradients if g is not None]
        return torch.cat(present) if present else torch.zeros(0, dtype=torch.float64)


class LossUnderTest(NamedTuple):
    """A loss, and the example for its checks."""

    loss: Callable[..., Any]
    example: Example

    def fresh(self) -> LossUnderTest:
        """Returns copies of both, so that no check affects the next."""
        example = self.example.copy()
        try:
            return LossUnderTest(copy.deepcopy(self.loss), example)
        except Exception:  # `preserved` restores a loss that can't be copied
            return LossUnderTest(self.loss, example)

    def value(self, example: Example) -> Tensor:
        """Returns the loss of a batch, with its history."""
        return scalar_of(self.loss(example.pred, example.gt))

    def differentiate(self, example: Example) -> Outcome:
        """Returns the value and its gradients with respect to the watched predictions."""
        pred, inputs = required(example)
        value = scalar_of(self.loss(pred, map_tensors(example.gt, copied)))
        return Outcome(value.detach(), gradients_of(value, inputs))


def required(example: Example) -> tuple[Any, list[Tensor]]:
    """Returns copies of the predictions, and a list of the copies that require grad."""
    marks = iter(example.watched)
    inputs: list[Tensor] = []

    def leaf(tensor: Tensor) -> Tensor:
        copy_ = copied(tensor)
        if next(marks):
            inputs.append(copy_.requires_grad_())
        return copy_

    return map_tensors(example.pred, leaf), inputs


def gradients_of(value: Tensor, inputs: list[Tensor]) -> list[Tensor | None]:
    """Returns the gradients; all are None if the value has no history."""
    if not value.requires_grad:
        return [None] * len(inputs)
    return list(torch.autograd.grad(value, inputs, allow_unused=True))


def scalar_of(result: Any) -> Tensor:
    """Returns the scalar in a loss's result: a tensor, or the first of a tuple.

    Raises:
        NotScalarError: The result has no scalar.
    """
    value = result[0] if isinstance(result, tuple) and result else result
    if not isinstance(value, Tensor):
        raise NotScalarError(f"the loss returns {type(value).__name__}, not a tensor")
    if value.numel() != 1:
        raise NotScalarError(f"the loss returns a tensor of shape {tuple(value.shape)}")
    return value.reshape(())


@contextlib.contextmanager
def preserved(loss: Any) -> Iterator[None]:
    """Restores the loss, the random states and PyTorch's switches when the context ends."""
    modules = modules_of(loss)
    states = [_State(module) for module in modules]
    python_random = random.getstate()
    numpy = sys.modules.get("numpy")
    numpy_random = numpy.random.get_state() if numpy is not None else None
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    try:
        with (
            torch.random.fork_rng(),
            warnings.catch_warnings(),
            torch.enable_grad(),
            local_statistics(),  # no exchange with other ranks
        ):
            warnings.simplefilter("ignore")
            torch.manual_seed(0)
            yield
    finally:
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
        random.setstate(python_random)
        if numpy is not None:
            numpy.random.set_state(numpy_random)
        for state in states:
            state.restore()


class _State:
    """The tensors, gradients and modes of a module at one moment."""

    def __init__(self, module: nn.Module) -> None:
        tensors = [*module.parameters(), *module.buffers()]
        self.values = [(tensor, tensor.detach().clone()) for tensor in tensors]
        self.gradients = [(tensor, tensor.grad) for tensor in module.parameters()]
        self.modes = [(part, part.training) for part in module.modules()]

    @torch.no_grad()
    def restore(self) -> None:
        for tensor, value in self.values:
            if not torch.equal(tensor, value):
                tensor.copy_(value)
        for parameter, gradient in self.gradients:
            parameter.grad = gradient
        for part, training in self.modes:
            part.training = training


def modules_of(loss: Any) -> list[nn.Module]:
    """Returns a loss that is a module, or the modules to which a function refers."""
    if isinstance(loss, nn.Module):
        return [loss]
    owner = getattr(loss, "__self__", None)
    if owner is not None:
        return modules_of(owner)
    function = getattr(loss, "func", loss)  # functools.partial
    if not inspect.isfunction(function):
        return [m for m in getattr(loss, "__dict__", {}).values() if isinstance(m, nn.Module)]
    try:
        variables = inspect.getclosurevars(function)
    except ValueError:  # a variable is not set yet
        return []
    referred = [*variables.nonlocals.values(), *variables.globals.values()]
    return [value for value in referred if isinstance(value, nn.Module)]


def parts_of(loss: Any) -> list[Any]:
    """Returns the loss, and every module in it."""
    parts: list[Any] = [loss]
    for module in modules_of(loss):
        parts += [part for part in module.modules() if part is not loss]
    return parts


def ignored_values_of(loss: Any) -> tuple[int, ...]:
    """Returns the values of ignored pixels; none if there are none, or the parts disagree."""
    names = ("ignore_index", "ignore_label")
    found = [
        getattr(part, name) for part in parts_of(loss) for name in names if hasattr(part, name)
    ]
    if not found or any(each != found[0] for each in found):
        return ()
    try:
        return values_of(check_ignore_index(found[0]))
    except (TypeError, ValueError):
        return ()


def first_line(error: BaseException) -> str:
    """Returns an exception's type and the first line of its message."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    return text if len(text) <= 300 else f"{text[:297]}..."
