"""Gradients of exactly 0, for losses that do not count: those of weight 0, or over no pixels.

A factor of 0 is not enough: 0 times NaN or infinity is NaN, in the value and in the gradient. So
what does not count is left out by selection.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from segloss.foundation.tracing import is_traced

Condition = bool | Tensor
"""A bool, or a tensor () that holds one and is not read."""


def no_gradient_if(condition: Condition, tensor: Tensor) -> Tensor:
    """Returns the tensor, with the gradient 0 where the condition holds, whatever comes back."""
    if condition is False or not tensor.requires_grad:
        return tensor
    return tensor.detach() if condition is True else torch.where(condition, tensor.detach(), tensor)


def no_gradients_if(condition: Condition, batch: Any) -> Any:
    """Returns a batch (a tensor, or tensors in mappings, lists and tuples) without gradients."""
    if condition is False:
        return batch
    if isinstance(batch, Tensor):
        return no_gradient_if(condition, batch)
    if isinstance(batch, Mapping):
        return {key: no_gradients_if(condition, value) for key, value in batch.items()}
    if type(batch) in (list, tuple):
        return type(batch)(no_gradients_if(condition, value) for value in batch)
    return batch


def all_hold(conditions: Sequence[Condition]) -> Condition:
    """Returns whether all conditions hold, without reading a tensor."""
    if any(condition is False for condition in conditions):
        return False
    tensors = [condition for condition in conditions if isinstance(condition, Tensor)]
    return torch.stack(tensors).all() if tensors else True


def zero_in_place_of(value: Tensor, inputs: Any) -> Tensor:
    """Returns 0 (), with the graph of a value and the gradient 0 for everything that it depends on.

    `DistributedDataParallel` and optimisers need a gradient for every parameter. This one does not
    pass through the value's computation, where 0 could meet NaN or infinity.

    Args:
        value: The value.
        inputs: The tensors that it was computed from: a tensor or a module, or mappings and lists
            of them. The gradient reaches them directly, as well as other parameters that the value
            depends on.
    """
    tensors = [tensor for tensor in _tensors(inputs) if tensor.requires_grad]
    if not is_traced():
        tensors = _reached(value, tensors)
    zeros = [tensor.reshape(-1)[:0].sum(dtype=value.dtype).to(value.device) for tensor in tensors]
    return torch.stack([value.new_zeros(()), *zeros]).sum()


def weighted(value: Tensor, weight: float | Tensor, inputs: Any) -> Tensor:
    """Returns a value times its weight, in the value's dtype.

    For a weight of 0 it is 0, with the gradient 0, even if the value is NaN.

    Args:
        value: The value.
        weight: A number, or a tensor (), which is read only on the CPU.
        inputs: The tensors that the value was computed from, as for `zero_in_place_of`.
    """
    if isinstance(weight, Tensor) and (is_traced() or not weight.is_cpu):
        return (weight * value).to(value.dtype).masked_fill(weight == 0, 0)
    if weight == 0:
        return zero_in_place_of(value, inputs)
    return (weight * value).to(value.dtype)


def _tensors(inputs: Any) -> Iterator[Tensor]:
    if isinstance(inputs, Tensor):
        yield inputs
    elif isinstance(inputs, nn.Module):
        yield from inputs.parameters()
    elif isinstance(inputs, (Mapping, list, tuple)):
        for each in inputs.values() if isinstance(inputs, Mapping) else inputs:
            yield from _tensors(each)


def _reached(value: Tensor, inputs: Sequence[Tensor]) -> list[Tensor]:
    """Returns the inputs and the parameters in the graph of a value, up to the inputs."""
    if value.grad_fn is None:
        return [value] if value.requires_grad else []
    ends = {tensor.grad_fn: tensor for tensor in inputs if tensor.grad_fn is not None}
    found: dict[int, Tensor] = {}
    todo: list[Any] = [value.grad_fn]
    seen: set[Any] = set()
    while todo:
        node = todo.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        end = ends.get(node, getattr(node, "variable", None))
        if end is None:
            todo += [following for following, _ in node.next_functions]
        else:
            found[id(end)] = end
    return list(found.values())
