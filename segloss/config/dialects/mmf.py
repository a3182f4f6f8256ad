"""MMF's dialect: lists of registered losses, and the adapter for their calling convention.

In MMF, a loss takes (sample_list, model_output). `segloss.config.registry` holds the registered
losses.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from segloss.batch.keys import Batch
from segloss.config.specs import CompoundSpec, LossSpec, check_block, check_entry
from segloss.foundation.arguments import check_keys, nearest, shown
from segloss.losses.loss import Loss

_KEYS = ("type", "params", "weight", "name")
"""The keys of an entry."""

_PARAMETERS = ("sample_list", "model_output")
"""The first parameters of the `forward` of MMF's losses."""


def mmf_spec(entries: Sequence[Any], path: str) -> CompoundSpec:
    """Reads a list of losses, each a name or a mapping `{type, params, weight, name}`.

    Raises:
        TypeError, ValueError: An entry has an unknown key or no type, or is neither of the two.
    """
    specs = [_loss_spec(entry, f"{path}[{i}]") for i, entry in enumerate(entries)]
    return CompoundSpec(path, specs)


def takes_sample_lists(loss: nn.Module) -> bool:
    """Returns whether the loss's forward is called with (sample_list, model_output)."""
    parameters = inspect.signature(loss.forward).parameters
    return tuple(parameters)[:2] == _PARAMETERS


class SampleListLoss(Loss):
    """A loss of (sample_list, model_output) as a `Loss`.

    `pred_batch` is the model's output, `gt_batch` the sample list. If the loss returns a mapping
    of tensors, their sum is the value, and each tensor is reported as "name.part" in `extra_info`
    and among the losses of a `MultiLoss`.

    Args:
        loss_func: The loss of (sample_list, model_output).
        name: The name for logging.

    Example:
        >>> class Twice(nn.Module):
        ...     def forward(self, sample_list, model_output):
        ...         return {"one": model_output["scores"], "two": 2 * model_output["scores"]}
        >>> SampleListLoss(Twice(), "twice")({"scores": torch.tensor(1.0)}, {})
        (tensor(3.), {'twice.one': tensor(1.), 'twice.two': tensor(2.)})
    """

    def __init__(self, loss_func: nn.Module, name: str) -> None:
        super().__init__(name)
        self.loss_func = loss_func

    def compute(self, pred_batch: Batch, gt_batch: Batch) -> Tensor:
        """Returns the loss of the model's output and the sample list."""
        value: Any = self.loss_func(gt_batch, pred_batch)
        if not isinstance(value, Mapping):
            return value  # type: ignore[no-any-return]
        if not value:
            raise ValueError(
                f"{self.name!r} must return a tensor or a mapping of tensors, got an empty mapping."
            )
        parts = {key: self._check_scalar(part) for key, part in value.items()}
        self.extra_info.update({f"{self.name}.{key}": part for key, part in parts.items()})
        return torch.stack(list(parts.values())).sum()


def _loss_spec(entry: Any, path: str) -> LossSpec:
    if isinstance(entry, str):
        entry = {"type": entry}
    check_entry(entry, path, "type")
    for key in entry if "type" in entry else ():
        if key not in _KEYS and not nearest(key, _KEYS):
            raise ValueError(f"{path}.{key} is unknown: arguments of a loss belong in its params.")
    if entry and "type" not in entry and not any(nearest(key, _KEYS) for key in entry):
        name, weight = next(iter(entry.items()))
        raise ValueError(
            f"{path} must have the key type, got {shown(entry)}: write {{type: {name}, weight: "
            f"{shown(weight)}}}."
        )
    check_keys(path, entry, _KEYS)
    if not isinstance(entry.get("type"), str):
        raise ValueError(f"{path}.type must be the name of a loss, got {shown(entry.get('type'))}.")
    params = check_block(entry.get("params") or {}, f"{path}.params")
    block = {"name": entry.get("name", entry["type"]), **params, "_target_": entry["type"]}
    return LossSpec(entry.get("weight", 1.0), f"{path}.weight", block, path)
