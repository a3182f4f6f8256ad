"""Channel selectors: the channels of a prediction or target that a loss uses.

`segloss.batch.assemble` checks the selected tensors against each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from segloss.foundation.arguments import as_python, check_integer, is_list, shown
from segloss.foundation.device_constants import on_device
from segloss.foundation.printable import counted

Selector = int | slice | str | Mapping[str, Any] | Sequence[int] | Sequence[bool] | Tensor
"""The types that `ChannelSelector` takes."""

_SLICE_KEYS = ("start", "stop", "step")


class ChannelSelector:
    """Selects channels along dimension 1, and keeps the dimension.

    Args:
        selector: An int (one channel), a slice, a list of ints, a list of bools (one per channel),
            a tensor of either, the text of a slice or index ("0:2", "1"), or a mapping with
            `start`, `stop`, `step` (for YAML, which lacks slices). Negative indices count from
            the end, as in Python.
        name: The name of the argument in messages.

    Raises:
        TypeError: `selector` is none of these.
        ValueError: `selector` is empty, or a text that is not a slice or index.

    Example:
        >>> image = torch.arange(3.).reshape(1, 3, 1, 1)
        >>> ChannelSelector("0:2")(image, "image").flatten().tolist()
        [0.0, 1.0]
        >>> ChannelSelector(5)(image, "image")
        Traceback (most recent call last):
        ...
        ValueError: channel_selector=5 is out of range: image has 3 channels (0 to 2).
    """

    def __init__(self, selector: Selector, name: str = "channel_selector") -> None:
        self.name = name
        self.index = _parse(selector, name)
        self.text = repr(self.index)

    def __call__(self, tensor: Tensor, key: str, ndim: int | None = None) -> Tensor:
        """Returns the selected channels of `tensor`.

        Args:
            tensor: (N, C, *spatial).
            key: The name of the tensor in messages.
            ndim: The number of dimensions that the tensor must have; None: at least 3.

        Raises:
            ValueError: `tensor` does not have channels, or lacks a selected one.
        """
        if tensor.ndim < 3 or (ndim is not None and tensor.ndim != ndim):
            expected = "" if ndim is None else f" with {ndim - 2} spatial dimensions"
            raise ValueError(
                f"{self.name}={self.index!r} needs channels: {key} must have the shape "
                f"(N, C, *spatial){expected}, got {tuple(tensor.shape)}. A label map has no "
                f"channels to select: leave {self.name} out."
            )
        channels = self._channels(tensor.shape[1], key)
        first, count = channels[0], len(channels)
        if channels == list(range(first, first + count)):
            return tensor.narrow(1, first, count)
        return tensor.index_select(1, on_device(tuple(channels), tensor.device, torch.int64))

    def _channels(self, count: int, key: str) -> list[int]:
        if isinstance(self.index, slice):
            inside = all(
                edge is None or -count <= edge <= count
                for edge in (self.index.start, self.index.stop)
            )
            channels = list(range(count))[self.index] if inside else []
        elif isinstance(self.index, int):
            channels = _non_negative([self.index], count)
        elif isinstance(self.index[0], bool):
            selected = [i for i, is_selected in enumerate(self.index) if is_selected]
            channels = selected if len(self.index) == count else []
        else:
            channels = _non_negative(self.index, count)
        if not channels:
            raise ValueError(
                f"{self.name}={self.index!r} is out of range: {key} has "
                f"{counted(count, 'channel')} (0 to {count - 1})."
            )
        return channels

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.index!r})"


def optional_selector(selector: Selector | None, name: str) -> ChannelSelector | None:
    """Returns the channel selector; None, which selects all channels, stays None."""
    return None if selector is None else ChannelSelector(selector, name)


def select_weights(
    selector: ChannelSelector,
    weights: Tensor,
    name: str,
    target: Tensor,
    target_name: str,
    prediction: Tensor,
) -> Tensor:
    """Returns the selected channels of pixel weights; weights of one channel stay unchanged.

    Raises:
        ValueError: Weights of several channels do not have as many as the target.
    """
    if weights.ndim != prediction.ndim or weights.shape[1] <= 1:
        return weights
    if target.ndim == weights.ndim and weights.shape[1] != target.shape[1]:
        raise ValueError(
            f"{name} must have one channel, or as many as {target_name} of shape "
            f"{tuple(target.shape)}, got {tuple(weights.shape)}."
        )
    return selector(weights, name)


def select_companion(
    selector: ChannelSelector, values: Tensor, target: Tensor, target_name: str, prediction: Tensor
) -> Tensor:
    """Returns the selected channels of a map or annotations (N, C, ...) with the target's channels.

    Values stay unchanged if the target is a label map, if they have another number of channels, or
    if the selection would not have the prediction's channels.
    """
    is_dense = target.ndim == prediction.ndim and values.ndim > 1
    if not is_dense or values.shape[1] != target.shape[1]:
        return values
    flat = values.unsqueeze(-1) if values.ndim == 2 else values  # annotations have no pixels
    selected = selector(flat, target_name)
    if selected.shape[1] != prediction.shape[1]:
        return values  # one channel per class, beside selected label maps
    return selected.squeeze(-1) if values.ndim == 2 else selected


def _non_negative(indices: Sequence[int], count: int) -> list[int]:
    """Returns the indices counted from the start; an empty list if one is out of range."""
    inside = all(-count <= i < count for i in indices)
    return [i % count for i in indices] if inside else []


def _parse(selector: Any, name: str) -> int | slice | list[int] | list[bool]:
    selector = as_python(selector)
    if isinstance(selector, str):
        return _parse_text(selector, name)
    if isinstance(selector, Mapping):
        return _parse_mapping(selector, name)
    if isinstance(selector, slice):
        return _parse_mapping(_slice_mapping(selector), name)
    if isinstance(selector, int) and not isinstance(selector, bool):
        return check_integer(name, selector)
    if is_list(selector):
        return _parse_list(list(selector), name)
    raise TypeError(
        f"{name} must be an int, a slice, a list of ints or bools, a tensor of either, text like "
        f"'0:2', or a mapping with start, stop, step; got {shown(selector)} "
        f"({type(selector).__name__})."
    )


def _parse_list(selector: list[Any], name: str) -> list[int] | list[bool]:
    types = {type(entry) for entry in selector}
    if types not in ({int}, {bool}):
        raise TypeError(
            f"{name} must hold ints or bools (not both), at least one of them, got "
            f"{shown(selector)}."
        )
    if types == {bool} and not any(selector):
        raise ValueError(f"{name}={selector!r} selects no channel: set at least one to True.")
    if types == {int}:
        return [check_integer(f"{name}[{i}]", entry) for i, entry in enumerate(selector)]
    return selector


def _parse_text(selector: str, name: str) -> int | slice:
    parts = selector.split(":")
    try:
        if len(parts) == 1:
            return int(selector)
        if len(parts) > len(_SLICE_KEYS):
            raise ValueError("more than start, stop and step")
        edges = [int(part) if part.strip() else None for part in parts]
        return _parse_mapping(dict(zip(_SLICE_KEYS, edges, strict=False)), name)
    except ValueError as error:
        raise ValueError(
            f"{name} must be text like '0:2' or '1', got {shown(selector)} ({error})."
        ) from None


def _parse_mapping(selector: Mapping[str, Any], name: str) -> slice:
    if selector.get("_target_") == "builtins.slice":  # a Hydra block that nobody instantiated
        return _parse_mapping(_slice_mapping(slice(*selector.get("_args_", ()))), name)
    unknown = set(selector) - set(_SLICE_KEYS)
    if unknown or not selector:
        raise ValueError(
            f"{name} must be a mapping with some of start, stop, step, got {dict(selector)!r}."
        )
    edges = [_edge(selector.get(key), name) for key in _SLICE_KEYS]
    if edges[-1] == 0:
        raise ValueError(f"{name} must not be a slice of step 0.")
    return slice(*edges)


def _slice_mapping(selector: slice) -> dict[str, Any]:
    return {key: getattr(selector, key) for key in _SLICE_KEYS}


def _edge(edge: Any, name: str) -> int | None:
    if edge is not None and (isinstance(edge, bool) or not isinstance(edge, int)):
        raise TypeError(f"{name} must be a slice of ints, got the edge {shown(edge)}.")
    return None if edge is None else check_integer(name, edge)
