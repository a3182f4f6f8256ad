"""Penalties on hidden activity and on weights, of recurrent or any other networks.

Activity is (samples, time, units) unless stated otherwise. It can be the features of any network,
with the units in the last dimension.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from segloss.foundation.arguments import (
    check_choice,
    check_integer,
    check_mapping,
    check_number,
    check_text,
)

_EPSILON = 1e-8
"""A number that is added to probabilities before their logarithm, and to divisors."""

LAYERS = {"input": "input", "hidden": "hidden", "readout": "readout"}
"""The layers of a recurrent network, and the names of their submodules."""


def _standard_deviation(rates: Tensor) -> Tensor:
    return rates.std()


def _coefficient_of_variation(rates: Tensor) -> Tensor:
    return rates.std() / rates.mean()


def _mean_absolute_deviation(rates: Tensor) -> Tensor:
    return (rates - rates.mean()).abs().mean()


def _max_absolute_deviation(rates: Tensor) -> Tensor:
    return (rates - rates.mean()).abs().max()


_DISPERSIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "sd": _standard_deviation,
    "cv": _coefficient_of_variation,
    "mean_ad": _mean_absolute_deviation,
    "max_ad": _max_absolute_deviation,
}


class FiringRateLoss(nn.Module):
    r"""Penalty that keeps activity low.

    The rate :math:`r_u` is the mean of a unit's activity over samples and time;
    "l1" is :math:`\frac1U \sum |r_u|` and "l2" :math:`\frac1U \sum r_u^2`. At least 0.

    Args:
        metric: "l1" or "l2".

    Example:
        >>> FiringRateLoss("l2")(torch.tensor([[1.0, 2.0], [3.0, 2.0]]))
        tensor(4.)
    """

    def __init__(self, metric: str = "l2") -> None:
        super().__init__()
        self.metric = check_choice("metric", metric, ("l1", "l2"))

    def forward(self, state: Tensor) -> Tensor:
        """Returns the penalty of activity (..., units)."""
        rates = _rates(state)
        return rates.abs().mean() if self.metric == "l1" else rates.square().mean()


class FiringRateDistLoss(nn.Module):
    r"""Penalty that keeps units equally active: the dispersion of their rates.

    "sd": the standard deviation (unbiased); "cv": the standard deviation over the mean rate;
    "mean_ad" and "max_ad": the mean and the maximum of the absolute deviations from the mean rate.
    At least 0, except "cv", which has the sign of the mean rate.

    Args:
        metric: "sd", "cv", "mean_ad" or "max_ad".

    Example:
        >>> FiringRateDistLoss("max_ad")(torch.tensor([[1.0, 2.0, 6.0]]))
        tensor(3.)
    """

    def __init__(self, metric: str = "sd") -> None:
        super().__init__()
        self.metric = check_choice("metric", metric, _DISPERSIONS)

    def forward(self, state: Tensor) -> Tensor:
        """Returns the penalty of activity (..., units), with at least two units."""
        rates = _rates(state)
        if len(rates) < 2:
            raise ValueError(f"state must have at least 2 units, got {tuple(state.shape)}.")
        return _DISPERSIONS[self.metric](rates)


class RNNConnectivityLoss(nn.Module):
    r"""Penalty that keeps the weights of a network's layers small.

    "l1" is the norm :math:`\sum |w|` of a layer's weights, "fro" the Frobenius norm
    :math:`\sqrt{\sum w^2}`; the norms of several layers are added up. At least 0.

    Args:
        layer: "all", "input", "hidden" or "readout".
        metric: "l1" or "fro".
        layers: The dotted path of each layer's submodule or parameter in the model, such as
            `{"hidden": "rnn.weight_hh_l0"}`. None: submodules of the same names, such as
            `model.hidden`.

    Example:
        >>> model = nn.ModuleDict({"hidden": nn.Linear(2, 2)})
        >>> _ = nn.init.constant_(model["hidden"].weight, 2.0)
        >>> RNNConnectivityLoss("hidden", "fro")(model)
        tensor(4., grad_fn=<...>)
    """

    def __init__(
        self,
        layer: str = "all",
        metric: str = "fro",
        layers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        self.paths = _check_layers(LAYERS if layers is None else layers)
        self.layer = check_choice("layer", layer, ("all", *self.paths))
        self.metric = check_choice("metric", metric, ("l1", "fro"))

    def forward(self, model: nn.Module | Mapping[str, Any]) -> Tensor:
        """Returns the penalty of a model, or of a mapping of layers to modules or tensors."""
        names = list(self.paths) if self.layer == "all" else [self.layer]
        norms = [self._norm(weight) for name in names for weight in self._weights(model, name)]
        return torch.stack(norms).sum()

    def _norm(self, weight: Tensor) -> Tensor:
        norm: Tensor = torch.linalg.vector_norm(weight, 1 if self.metric == "l1" else 2)
        return norm

    def _weights(self, model: Any, name: str) -> list[Tensor]:
        path = self.paths[name]
        found = model.get(name) if isinstance(model, Mapping) else _attribute(model, path)
        weights = [found] if isinstance(found, Tensor) else []
        if isinstance(found, nn.Module):
            named = found.named_parameters()
            weights = [w for key, w in named if key.split(".")[-1].startswith("weight")]
        if not weights:
            raise ValueError(
                f"model must have a layer {name!r} with weights at {path!r}, got "
                f"{type(model).__name__} without it: give its path, as in "
                f"RNNConnectivityLoss(layers={{{name!r}: 'dotted.path'}})."
            )
        return weights


class StatePredictionLoss(nn.Module):
    r"""Penalty that makes activity change slowly: the mean squared change over tau steps.

    .. math:: \overline{(s_{t+\tau} - s_t)^2}

    At least 0.

    Args:
        tau: The number of steps, at least 1.

    Example:
        >>> StatePredictionLoss()(torch.tensor([[[0.0], [1.0], [3.0]]]))
        tensor(2.5000)
    """

    def __init__(self, tau: int = 1) -> None:
        super().__init__()
        self.tau = check_integer("tau", tau, 1)

    def forward(self, state: Tensor) -> Tensor:
        """Returns the penalty of activity (samples, time, units), with more than tau steps."""
        _check_ndim(state, 3)
        if state.shape[1] <= self.tau:
            raise ValueError(
                f"state must have more than tau={self.tau} time steps (dimension 1), got "
                f"{tuple(state.shape)}."
            )
        return (state[:, self.tau :] - state[:, : -self.tau]).square().mean()


class EntropyLoss(nn.Module):
    r"""Penalty that makes activity sparse: few units active at a time.

    With :math:`p_u = |s_u| / \sum_v |s_v|`,

    .. math:: -\overline{\sum_u p_u \log p_u} + \lambda\,\overline{\textstyle\sum_u s_u^2}

    where the bars are means over samples and time. The first part is in [0, log U].

    Args:
        reg: The factor :math:`\lambda` of the mean squared norm, at least 0.

    Example:
        >>> EntropyLoss(reg=0)(torch.tensor([[[1.0, 1.0]], [[0.0, 2.0]]]))
        tensor(0.3466)
    """

    def __init__(self, reg: float = 10.0) -> None:
        super().__init__()
        self.reg = check_number("reg", reg)

    def forward(self, state: Tensor) -> Tensor:
        """Returns the penalty of activity (..., units)."""
        _check_ndim(state, 1, or_more=True)
        size = state.abs()
        p = size / (size.sum(-1, keepdim=True) + _EPSILON)
        entropy = -(p * (p + _EPSILON).log()).sum(-1)
        return entropy.mean() + self.reg * state.square().sum(-1).mean()


class HebbianLoss(nn.Module):
    r"""Penalty that keeps connected units from being active together.

    .. math:: \overline{\Bigl|\sum_{uv} w_{uv}\,s_u s_v\Bigr|}

    over samples and time, as :math:`s \cdot (W s)`, without a tensor of all pairs. At least 0.

    Example:
        >>> HebbianLoss()(torch.tensor([[[1.0, 2.0]]]), torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
        tensor(4.)
    """

    def forward(self, state: Tensor, weights: Tensor) -> Tensor:
        """Returns the penalty of activity (..., units) and weights (units, units)."""
        _check_ndim(state, 1, or_more=True)
        units = state.shape[-1]
        if not isinstance(weights, Tensor):
            raise TypeError(f"weights must be a tensor, got {type(weights).__name__}.")
        if weights.shape != (units, units):
            raise ValueError(
                f"weights must have the shape (units, units) = {(units, units)}, as state has "
                f"{units} units, got {tuple(weights.shape)}."
            )
        return (state * (state @ weights.T)).sum(-1).abs().mean()


def _check_layers(layers: Any) -> dict[str, str]:
    checked = {
        check_text("layers' names", name): check_text(f"layers[{name!r}]", path)
        for name, path in check_mapping("layers", layers).items()
    }
    if not checked:
        raise ValueError("layers must name at least one layer, got an empty mapping.")
    return checked


def _rates(state: Tensor) -> Tensor:
    """Returns the mean activity of each unit, (units,)."""
    _check_ndim(state, 2, or_more=True)
    return state.flatten(0, -2).mean(0)


def _check_ndim(state: Any, ndim: int, *, or_more: bool = False) -> None:
    if not isinstance(state, Tensor):
        raise TypeError(f"state must be a tensor, got {type(state).__name__}.")
    if state.ndim < ndim or (state.ndim > ndim and not or_more):
        raise ValueError(
            f"state must have {ndim} dimensions{' or more' if or_more else ''}, the units last, "
            f"got {tuple(state.shape)}."
        )
    if not state.is_floating_point():
        raise TypeError(f"state must be floating-point, got {state.dtype}.")
    if state.numel() == 0:
        raise ValueError(f"state must not be empty, got {tuple(state.shape)}.")


def _attribute(model: Any, path: str) -> Any:
    """Returns the attribute at a dotted path of a model, or None."""
    attribute = model
    for name in path.split("."):
        attribute = getattr(attribute, name, None)
    return attribute
