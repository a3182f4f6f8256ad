"""The interface of nn4n's `CompositeLoss`: losses by type, each with its own inputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from segloss.batch.keys import MissingKeyError
from segloss.compat.nn4n.penalties import (
    EntropyLoss,
    FiringRateDistLoss,
    FiringRateLoss,
    HebbianLoss,
    RNNConnectivityLoss,
    StatePredictionLoss,
)
from segloss.config.dialects.mmf import SampleListLoss, takes_sample_lists
from segloss.config.registry import get_loss, list_losses
from segloss.foundation.arguments import (
    check_keys,
    check_mapping,
    check_module_name,
    check_number,
    nearest,
    shown,
)
from segloss.foundation.gradients import weighted

_TYPES: dict[str, type[nn.Module]] = {
    "fr": FiringRateLoss,
    "fr_dist": FiringRateDistLoss,
    "rnn_conn": RNNConnectivityLoss,
    "state_pred": StatePredictionLoss,
    "entropy": EntropyLoss,
    "mse": nn.MSELoss,
    "cross_entropy": nn.CrossEntropyLoss,
    "hebbian": HebbianLoss,
}

_INPUTS: dict[str, tuple[tuple[str, ...], ...]] = {
    "rnn_conn": (("model",),),
    "hebbian": (("state", "states"), ("weights",)),
    **dict.fromkeys(("fr", "fr_dist", "state_pred", "entropy"), (("state", "states"),)),
}
"""The inputs of each type in the order of its arguments, each input with all its names."""

_PREDICTION_AND_TARGET = (("input", "pred"), ("target",))
"""The inputs of all other types."""

_OUTPUT_AND_SAMPLES = (("model_output", "input", "pred"), ("sample_list", "target"))
"""The inputs of a registered loss of (sample_list, model_output)."""


class CompositeLoss(nn.Module):
    r"""Weighted sum of losses, each of a named type and with its own inputs.

    .. math:: \sum_i \lambda_i L_i

    Args:
        loss_cfg: For each loss, under a name of your own, `{"type": ..., "params": {...},
            "lambda": 1.0}`; `params` are the loss's arguments, and may be left out. Types: "fr",
            "fr_dist", "rnn_conn", "state_pred", "entropy", "mse", "cross_entropy", "hebbian", and
            every name in `list_losses()`, such as "dice" and "seg".

    Raises:
        TypeError, ValueError: The config is wrong; the message for an unknown type lists the types.
        KeyError: `forward` does not get the inputs of a loss.

    Example:
        >>> loss = CompositeLoss({
        ...     "rates": {"type": "fr", "params": {"metric": "l1"}, "lambda": 2.0},
        ...     "error": {"type": "mse"},
        ... })
        >>> total, parts = loss({
        ...     "rates": {"states": torch.ones(10, 4)},
        ...     "error": {"input": torch.zeros(3), "target": torch.ones(3)},
        ... })
        >>> total, parts
        (tensor(3.), {'rates': tensor(2.), 'error': tensor(1.)})
    """

    def __init__(self, loss_cfg: Mapping[str, Mapping[str, Any]]) -> None:
        super().__init__()
        if not check_mapping("loss_cfg", loss_cfg):
            raise ValueError("loss_cfg must name at least one loss, got an empty mapping.")
        self._inputs_of: dict[str, tuple[tuple[str, ...], ...]] = {}
        self.weights: dict[str, float] = {}
        self.losses = nn.ModuleDict()
        for name, entry in loss_cfg.items():
            path = f"loss_cfg[{check_module_name('A name in loss_cfg', name)!r}]"
            check_keys(path, check_mapping(path, entry), ("type", "params", "lambda"))
            loss_type = _check_type(entry.get("type"), path)
            self.weights[name] = check_number(f"{path}['lambda']", entry.get("lambda", 1.0))
            loss = _build(loss_type, entry.get("params") or {}, path)
            self._inputs_of[name] = _INPUTS.get(loss_type, _PREDICTION_AND_TARGET)
            if takes_sample_lists(loss):
                loss = SampleListLoss(loss, name)
                self._inputs_of[name] = _OUTPUT_AND_SAMPLES
            self.losses[name] = loss

    def forward(
        self, loss_input_dict: Mapping[str, Mapping[str, Any]]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns the total, and the weighted value of each loss.

        Args:
            loss_input_dict: For each loss, under its name, its inputs: "input" (or "pred") and
                "target"; "states" (or "state") for activity, with "weights" for "hebbian"; "model"
                for "rnn_conn"; "model_output" (or "input", "pred") and "sample_list" (or "target")
                for a registered loss of (sample_list, model_output).
        """
        check_mapping("loss_input_dict", loss_input_dict)
        values = {
            name: self._weighted(name, loss, self._inputs(name, loss_input_dict))
            for name, loss in self.losses.items()
        }
        return torch.stack(list(values.values())).sum(), values

    def _weighted(self, name: str, loss: nn.Module, inputs: list[Any]) -> Tensor:
        value = _value(loss(*inputs), name)
        return weighted(value, self.weights[name], [*inputs, loss])

    def _inputs(self, name: str, loss_input_dict: Mapping[str, Any]) -> list[Any]:
        path = f"loss_input_dict[{name!r}]"
        if name not in loss_input_dict:
            raise MissingKeyError(
                f"{path} is missing: every configured loss needs its inputs; the names in "
                f"loss_input_dict are: {', '.join(map(repr, loss_input_dict)) or 'none'}."
            )
        inputs = check_mapping(path, loss_input_dict[name])
        return [_input(inputs, names, path) for names in self._inputs_of[name]]


def _value(result: Any, name: str) -> Tensor:
    """Returns the scalar in a loss's result, without the extra information of a `Loss`."""
    value = result[0] if isinstance(result, tuple) else result
    if not isinstance(value, Tensor):
        raise TypeError(f"The loss {name!r} must return a tensor, got {type(value).__name__}.")
    if value.numel() != 1:
        raise ValueError(
            f"The loss {name!r} must return a scalar, got a tensor of shape "
            f"{tuple(value.shape)}: set its reduction to 'mean' or 'sum'."
        )
    return value.reshape(())


def _check_type(value: Any, path: str) -> str:
    types = sorted({*_TYPES, *list_losses()})
    if not isinstance(value, str) or value not in types:
        hint = nearest(value, types) if isinstance(value, str) else ""
        raise ValueError(
            f"{path}['type'] must be one of {', '.join(map(repr, types))}, got "
            f"{shown(value)}{hint}."
        )
    return value


def _build(loss_type: str, params: Any, path: str) -> nn.Module:
    check_mapping(f"{path}['params']", params)
    loss_class = _TYPES[loss_type] if loss_type in _TYPES else get_loss(loss_type)
    try:
        return loss_class(**params)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{path}['params']: {error}") from error


def _input(inputs: Mapping[str, Any], names: tuple[str, ...], path: str) -> Any:
    """Returns the first input with one of the names."""
    for name in names:
        if name in inputs:
            return inputs[name]
    raise MissingKeyError(
        f"{path} must have {' or '.join(map(repr, names))}, got the inputs: "
        f"{', '.join(map(repr, inputs)) or 'none'}."
    )
