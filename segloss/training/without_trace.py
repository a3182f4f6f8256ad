"""Restores all state that training would see after a model has run over training data.

That is the model's tensors, random generators, and the attributes of datasets and samplers.
Gradients are left to `torch.no_grad()`.
"""

from __future__ import annotations

import copy
import gc
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import CodeType, FrameType, FunctionType, MethodType, ModuleType
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parameter import is_lazy
from torch.utils.data import DataLoader, Dataset, Sampler

from segloss.foundation.arguments import shown
from segloss.losses.loss import Loss

Undo = Callable[[], Any]
"""A function that restores some state."""

Loader = TypeVar("Loader")

_STATELESS = (str, bytes, bytearray, int, float, complex, type(None), Tensor)
"""Types whose objects are not searched: they hold no state, or none that matters here."""

_PROGRAM = (type, ModuleType, CodeType, FrameType)
"""Types whose objects are not searched: they lead from the data to the entire program."""


@contextmanager
def without_trace(model: nn.Module, *data: Any) -> Iterator[None]:
    """Restores the model, the random state and the data when the context ends.

    - The model: its parameters and buffers, except the norms of the losses in it, and the training
      mode of each module. Within the context, its `SyncBatchNorm` uses statistics of its own rank
      alone, so that ranks may see different numbers of batches.
    - The random state: the generators of Python, NumPy, PyTorch on the CPU and CUDA, and every
      generator that the data holds (`torch.Generator`, `numpy.random.Generator`, `random.Random`
      ...).
    - The data: the attributes of datasets and samplers, such as a counter of epochs. The content of
      a list or array that stays the same object is not restored.

    The context holds a second copy of the parameters.

    Args:
        model: The model that runs, with or without losses in it.
        *data: The loaders, datasets or samplers that are read.

    Raises:
        TypeError: `model` is not a module.

    Example:
        >>> model = nn.BatchNorm1d(1)
        >>> with without_trace(model):
        ...     _ = model(torch.randn(8, 1))
        >>> model.running_mean, model.num_batches_tracked
        (tensor([0.]), tensor(0))
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be an nn.Module, got {shown(model)}.")
    objects = _reachable(data)
    with ExitStack() as stack:
        for undo in (
            *(_undo_changes(module) for module in model.modules()),
            *(_undo_attributes(obj) for obj in objects if isinstance(obj, (Dataset, Sampler))),
            *_undo_random_numbers(objects),
        ):
            stack.callback(undo)
        for module in model.modules():
            if isinstance(module, nn.SyncBatchNorm):
                stack.callback(_desynchronize(module))
        yield


def fresh_loader(loader: Loader) -> Loader:
    """Returns a loader of the same batches with workers of its own; anything else as it is.

    Persistent workers keep their random state between epochs, and nothing in this process can
    restore it.
    """
    if not isinstance(loader, DataLoader):
        return loader
    fresh = copy.copy(loader)
    vars(fresh).update(persistent_workers=False, _iterator=None)
    return fresh


def _undo_changes(module: nn.Module) -> Undo:
    """Returns the undo of changes of a module's mode and tensors, but not its submodules'."""
    registries: list[dict[str, Any]] = [module._parameters, module._buffers]
    before = [dict(registry) for registry in registries]
    excluded = {"norm", "norm_count"} if isinstance(module, Loss) else set()
    values = [
        (tensor, tensor.detach().clone())
        for registry in before
        for name, tensor in registry.items()
        if tensor is not None and not is_lazy(tensor) and name not in excluded
    ]
    training = module.training

    @torch.no_grad()
    def undo() -> None:
        module.training = training
        for registry, tensors in zip(registries, before, strict=True):
            registry.clear()
            registry.update(tensors)
        for tensor, value in values:
            tensor.copy_(value)

    return undo


def _undo_attributes(obj: Any) -> Undo:
    before = dict(vars(obj))

    def undo() -> None:
        vars(obj).clear()
        vars(obj).update(before)

    return undo


def _undo_random_numbers(objects: list[Any]) -> Iterator[Undo]:
    """Yields the undo of random numbers from each global generator, and each among the objects."""
    python, cpu = random.getstate(), torch.get_rng_state()
    yield lambda: random.setstate(python)
    yield lambda: torch.set_rng_state(cpu)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        cuda = torch.cuda.get_rng_state_all()
        yield lambda: torch.cuda.set_rng_state_all(cuda)
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        state = numpy.random.get_state(legacy=False)
        yield lambda: numpy.random.set_state(state)
    for obj in objects:
        yield from _undo_generator(obj, numpy)


def _undo_generator(generator: Any, numpy: Any) -> Iterator[Undo]:
    """Yields the undo of random numbers from a generator; nothing for any other object."""
    state: Any
    if isinstance(generator, torch.Generator):
        state = generator.get_state()
        yield lambda: generator.set_state(state)
    elif isinstance(generator, random.Random) and not isinstance(generator, random.SystemRandom):
        state = generator.getstate()
        yield lambda: generator.setstate(state)
    elif numpy is not None and isinstance(generator, numpy.random.RandomState):
        state = generator.get_state(legacy=False)
        yield lambda: generator.set_state(state)
    elif numpy is not None and isinstance(generator, numpy.random.BitGenerator):
        state = generator.state
        yield lambda: setattr(generator, "state", state)


def _reachable(roots: tuple[Any, ...]) -> list[Any]:
    """Returns all objects that are reachable from the roots, except code and plain values."""
    seen: dict[int, Any] = {}
    todo = list(roots)
    while todo:
        obj = todo.pop()
        if id(obj) in seen or isinstance(obj, (*_STATELESS, *_PROGRAM)):
            continue
        seen[id(obj)] = obj
        if isinstance(obj, FunctionType):  # its other references lead to its module's globals
            todo += [obj.__closure__, obj.__defaults__, obj.__kwdefaults__]
        else:
            todo += gc.get_referents(obj)
    return list(seen.values())


def _desynchronize(module: nn.SyncBatchNorm) -> Undo:
    """Turns the module into a plain batch norm; returns the undo."""
    module.forward = MethodType(_BatchNorm.forward, module)  # type: ignore[method-assign]
    return lambda: delattr(module, "forward")
