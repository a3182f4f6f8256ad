"""Batches as trees of tensors: mappings, lists and tuples, or one tensor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor


def mapped(tree: Any, change: Callable[[Tensor], Any]) -> Any:
    """Returns the tree with every tensor replaced by `change(tensor)`; mappings become dicts."""
    if isinstance(tree, Tensor):
        return change(tree)
    if isinstance(tree, Mapping):
        return {key: mapped(value, change) for key, value in tree.items()}
    if type(tree) in (list, tuple):
        return type(tree)(mapped(value, change) for value in tree)
    return tree


def leaves(tree: Any) -> list[Tensor]:
    """Returns the tensors of a tree, in its order."""
    found: list[Tensor] = []
    mapped(tree, found.append)
    return found


def copied(tensor: Tensor) -> Tensor:
    """Returns a copy of the same strides, without a history."""
    if 0 in tensor.stride():
        return tensor.detach().clone()
    twin = torch.empty_strided(
        tensor.shape, tensor.stride(), dtype=tensor.dtype, device=tensor.device
    )
    return twin.copy_(tensor.detach())


def in_dtype(tree: Any, dtype: torch.dtype) -> Any:
    """Returns the tree with its floating-point tensors in another dtype."""
    return mapped(tree, lambda t: t.to(dtype) if t.is_floating_point() else t)


def described(tree: Any) -> str:
    """Shapes and dtypes in words."""
    if isinstance(tree, Tensor):
        return f"{str(tree.dtype).removeprefix('torch.')} {tuple(tree.shape)}"
    if isinstance(tree, Mapping):
        return "{" + ", ".join(f"{key!r}: {described(value)}" for key, value in tree.items()) + "}"
    if isinstance(tree, (list, tuple)):
        return "[" + ", ".join(map(described, tree)) + "]"
    return type(tree).__name__
