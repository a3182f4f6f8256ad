"""Finds where a GPU and the host would wait for each other, on a machine that has no GPU.

Fake CUDA tensors have shapes and a device, and no values, so a whole training step runs with them.
`Waits` sees each operation of it, and notes those that read a value or copy between the two.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves

import segloss
from segloss.batch import value_checks
from segloss.foundation import device_constants

MISSING = (
    ""
    if hasattr(torch._C, "_ensureCUDADeviceGuardSet")
    else "this PyTorch aborts where a fake CUDA tensor requires grad"
)

_READ = ("_local_scalar_dense", "equal", "is_nonzero")
"""Operations whose result is a number of Python's."""

_COUNTED = ("nonzero", "masked_select", "_unique", "_unique2", "unique_dim", "bincount")
"""Operations whose result has a shape that depends on values."""

_WITH_NUMBER = ("add", "sub", "mul", "div", "fill_")
"""Operations that take a CPU's tensor of no dimension as a number, beside tensors of a GPU."""

_PACKAGE = Path(segloss.__file__).parent


class Waits(TorchDispatchMode):
    """Notes each wait as "why at file:line"; values that are read from the GPU are made up.

    What is computed on the CPU alone has its values.

    Attributes:
        found: The waits.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        given = _tensors((args, kwargs))
        if not _is_of_gpu(given, kwargs):
            with _disable_current_modes():
                return func(*args, **kwargs)
        if name in _READ:
            self._note(f"{name} reads a value")
            return _number(args[0]) if name == "_local_scalar_dense" else name == "equal"
        if name in _COUNTED or _is_masked(name, args):
            self._note(f"{name} counts values")
            return args[0].new_empty(1)
        result = func(*args, **kwargs)
        self._note_copies(name, given, _tensors(result))
        return result

    def _note_copies(self, name: str, given: list[Tensor], made: list[Tensor]) -> None:
        from_host = [t for t in given if t.is_cpu and not (t.ndim == 0 and name in _WITH_NUMBER)]
        from_gpu = [t for t in given if t.is_cuda]
        if from_host and (from_gpu or any(t.is_cuda for t in made)):
            self._note(f"{name} copies from the host")
        elif from_gpu and any(t.is_cpu for t in made):
            self._note(f"{name} copies to the host")

    def _note(self, why: str) -> None:
        ours = [f for f in traceback.extract_stack() if _PACKAGE in Path(f.filename).parents]
        where = [f" at {Path(f.filename).relative_to(_PACKAGE.parent)}:{f.lineno}" for f in ours]
        self.found.append(why + "".join(where[-1:]))


@contextmanager
def a_gpu(*modules: nn.Module) -> Iterator[None]:
    """A context with a GPU that computes nothing, in which losses work as they do eagerly.

    The fake tensors are made by a mode, in which the package would work as for a tracer. What it
    keeps between steps is new in here, and forgotten afterwards.

    Args:
        modules: Modules that are moved to the GPU.
    """
    with pytest.MonkeyPatch.context() as patch, segloss.use_backend("torch"), _forgetting():
        for name, module in list(sys.modules.items()):
            if name.startswith("segloss") and hasattr(module, "is_traced"):
                patch.setattr(module, "is_traced", lambda: False)
        with FakeTensorMode(allow_non_fake_inputs=True):
            for module in modules:
                module.to("cuda")
            yield


@contextmanager
def _forgetting() -> Iterator[None]:
    """A context that begins and ends without what the package keeps between steps."""
    kept = (device_constants._cached_vector, value_checks.shared_checks)
    for cache in kept:
        cache.cache_clear()
    yield
    for cache in kept:
        cache.cache_clear()


@torch.no_grad()
def backward(loss: Tensor) -> list[Tensor]:
    """Computes the gradients of the leaves, node by node: autograd's engine asks for a real GPU."""
    assert loss.grad_fn is not None
    found: list[Tensor] = []
    gradients: dict[Any, dict[int, Tensor]] = {loss.grad_fn: {0: torch.ones_like(loss)}}
    for node in _in_order(loss.grad_fn):
        upstream = gradients.pop(node, {})
        if type(node).__name__ == "AccumulateGrad":
            found += upstream.values()
        elif upstream:
            given = [
                _fitted(upstream[place], metadata) if place in upstream else None
                for place, metadata in enumerate(node._input_metadata)
            ]
            parents = [edge for edge in node.next_functions if edge[0] is not None]
            for result, (parent, place) in zip(_handed_on(node, given), parents, strict=True):
                if result is not None:
                    known = gradients.setdefault(parent, {})
                    known[place] = known[place] + result if place in known else result
    return found


def _handed_on(node: Any, given: list[Tensor | None]) -> list[Tensor | None]:
    """The gradients that a node computes for what asks for one."""
    if isinstance(node, torch.autograd.function.BackwardCFunction):  # it is written in Python
        asked = zip(node.apply(*given), node.needs_input_grad, strict=True)
        return [result for result, is_asked in asked if is_asked]
    results = node(*given)
    results = results if isinstance(results, tuple) else (results,)
    edges = zip(results, node.next_functions, strict=True)
    return [result for result, (parent, _) in edges if parent is not None]


def _in_order(last: Any) -> list[Any]:
    """The nodes of a graph, each before those that it hands gradients to."""
    done: dict[Any, None] = {}
    todo = [(last, False)]
    while todo:
        node, parents_done = todo.pop()
        if parents_done:
            done[node] = None
        elif node is not None and node not in done:
            todo.append((node, True))
            todo += [(parent, False) for parent, _ in node.next_functions if parent not in done]
    return [*reversed(done)]


def _fitted(gradient: Tensor, metadata: Any) -> Tensor:
    """A gradient as the engine hands it on: of the shape and dtype of what it belongs to."""
    return gradient.sum_to_size(metadata.shape).to(metadata.dtype)


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def _is_of_gpu(given: list[Tensor], options: Any) -> bool:
    """Whether an operation has to do with a GPU."""
    is_fake = any(isinstance(tensor, FakeTensor) for tensor in given)
    return is_fake or torch.device(options.get("device") or "cpu").type == "cuda"


def _is_masked(name: str, args: tuple[Any, ...]) -> bool:
    """Whether it is an index by a mask, whose true values have to be counted."""
    masks = (torch.bool, torch.uint8)
    return name.startswith("index") and any(t.dtype in masks for t in _tensors(args[1]))


def _number(tensor: Tensor) -> float:
    """A value that any check lets pass."""
    return 0.5 if tensor.is_floating_point() else 0
