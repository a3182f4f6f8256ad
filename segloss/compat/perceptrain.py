"""perceptrain's interface: loss functions of (batch, model) that return (loss, metrics)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segloss.batch.keys import check_same_shape
from segloss.foundation.arguments import (
    as_python,
    check_mapping,
    check_number,
    check_same_names,
    nearest,
    shown,
)
from segloss.foundation.gradients import weighted
from segloss.losses.loss import Loss
from segloss.losses.multi_loss import MultiLoss

__all__ = ["GradWeightedLoss", "as_loss_fn", "cross_entropy_loss", "get_loss_fn", "mse_loss"]

Metrics = dict[str, Tensor]
LossFunction = Callable[[Any, nn.Module], tuple[Tensor, Metrics]]


def as_loss_fn(
    loss: Callable[..., Any], unpack: Callable[[Any], tuple[Any, Any]] | None = None
) -> LossFunction:
    """Converts a loss of (prediction, target) to a function (batch, model) -> (loss, metrics).

    Args:
        loss: A `Loss`, a `MultiLoss`, or an `nn.Module` or function that returns a scalar.
        unpack: A function that returns (the model's input, the target) for a batch; None: the batch
            is that pair.

    Returns:
        The function. Its metrics are the components of a `MultiLoss`, the scalars in the extra
        information of a `Loss`, and none for other losses.

    Raises:
        TypeError: `loss` or `unpack` can't be called, or `loss` is a class.

    Example:
        >>> loss_fn = as_loss_fn(nn.L1Loss())
        >>> loss_fn((torch.ones(1, 2), torch.zeros(1, 2)), nn.Identity())
        (tensor(1.), {})
    """
    if not callable(loss):
        raise TypeError(f"loss must be a loss or a function, got {type(loss).__name__}.")
    if isinstance(loss, type):
        raise TypeError(
            f"loss must be a loss or a function, got a class: make an instance, {loss.__name__}()."
        )
    if unpack is not None and not callable(unpack):
        raise TypeError(f"unpack must be a function of a batch, got {shown(unpack)}.")

    def loss_fn(batch: Any, model: nn.Module) -> tuple[Tensor, Metrics]:
        inputs, target = _pair(batch) if unpack is None else _unpacked(unpack(batch))
        prediction = model(inputs)
        if isinstance(loss, MultiLoss):
            total, metrics, _ = loss(prediction, target)
            return total, metrics
        if isinstance(loss, Loss):
            total, info = loss(prediction, target)
            return total, {key: value for key, value in info.items() if _is_scalar(value)}
        return loss(prediction, target), {}

    return loss_fn


def mse_loss(batch: Any, model: nn.Module) -> tuple[Tensor, Metrics]:
    """Computes the mean squared error.

    Args:
        batch: (input, target), or the mapping that a physics-informed model takes. The outputs of
            such a model, a mapping of residuals, are compared with 0; each is a metric, and the
            loss is the sum.
        model: The model.

    Example:
        >>> mse_loss((torch.ones(1, 2), torch.zeros(1, 2)), nn.Identity())
        (tensor(1.), {})
        >>> mse_loss({"equation": torch.full((2,), 2.0)}, nn.Identity())
        (tensor(4.), {'equation': tensor(4.)})
    """
    if not isinstance(batch, Mapping):
        return as_loss_fn(_mean_squared_error)(batch, model)
    residuals = check_mapping("the model's output for a batch that is a mapping", model(batch))
    if not residuals:
        raise ValueError("The model must return at least one residual, got an empty mapping.")
    metrics = {key: residual.square().mean() for key, residual in residuals.items()}
    return torch.stack(list(metrics.values())).sum(), metrics


def _mean_squared_error(prediction: Tensor, target: Tensor) -> Tensor:
    check_same_shape(prediction, target)
    return F.mse_loss(prediction, target)


def cross_entropy_loss(batch: Any, model: nn.Module) -> tuple[Tensor, Metrics]:
    """Computes the cross-entropy of a batch (input, labels).

    Example:
        >>> cross_entropy_loss((torch.zeros(1, 2), torch.tensor([1])), nn.Identity())
        (tensor(0.6931), {})
    """
    return as_loss_fn(F.cross_entropy)(batch, model)


_LOSS_FUNCTIONS: dict[str, LossFunction] = {"mse": mse_loss, "cross_entropy": cross_entropy_loss}


def get_loss_fn(loss_fn: str | LossFunction | None = None) -> LossFunction:
    """Returns the loss function "mse" (or None) or "cross_entropy"; a function as it is.

    Raises:
        ValueError: There is no such function.
    """
    if loss_fn is None:
        return mse_loss
    if callable(loss_fn):
        return loss_fn
    if not isinstance(loss_fn, str) or loss_fn not in _LOSS_FUNCTIONS:
        raise ValueError(
            f"loss_fn must be one of {', '.join(map(repr, _LOSS_FUNCTIONS))} or a function, got "
            f"{shown(loss_fn)}{nearest(str(loss_fn), _LOSS_FUNCTIONS)}."
        )
    return _LOSS_FUNCTIONS[loss_fn]


_WEIGHTS = threading.Lock()
"""Held while weights change, so that no update by another thread is lost."""


class GradWeightedLoss(nn.Module):
    r"""Learning-rate annealing: weights that bring the gradients of all metrics to one magnitude.

    .. math:: w_i \leftarrow (1 - \alpha)\,w_i
        + \alpha\,\frac{\max |\nabla_\theta L_\mathrm{fixed}|}{\mathrm{mean} |\nabla_\theta L_i|}

    at each call with gradients enabled, for every metric except the fixed one. A metric whose
    gradient is 0, or not finite, keeps its weight. The parameters' `grad` does not change.

    The weights are the buffer `weights`, in the order of `metric_weights`, so that checkpoints
    include them.

    Args:
        batch: A batch, a mapping; only its keys are used, which are the metrics' names.
        unweighted_loss_function: A function (batch, model) -> (loss, metrics), such as `mse_loss`.
        optimizer: Unused; perceptrain's interface has it.
        metric_weights: The initial weights of the metrics.
        fixed_metric: The metric whose weight does not change.
        alpha: The rate of the update, in [0, 1]; at 1 the earlier weight has no influence.

    Raises:
        TypeError, ValueError: An argument is wrong, or the loss function returns other metrics.

    Source: Wang, Teng, Perdikaris, "Understanding and mitigating gradient pathologies in
    physics-informed neural networks" (2020).

    Example:
        >>> model = nn.Linear(1, 1, bias=False)
        >>> _ = nn.init.ones_(model.weight)
        >>> def residuals(batch, model):
        ...     return None, {key: model(x).square().mean() for key, x in batch.items()}
        >>> batch = {"equation": torch.ones(1, 1), "boundary": torch.full((1, 1), 2.0)}
        >>> weights = {"equation": 1.0, "boundary": 1.0}
        >>> loss = GradWeightedLoss(batch, residuals, None, weights, "equation", alpha=1.0)
        >>> total, _ = loss(batch, model)
        >>> loss.metric_weights  # gradients of 2 and 8
        {'equation': 1.0, 'boundary': 0.25}
    """

    weights: Tensor

    def __init__(
        self,
        batch: Mapping[str, Any],
        unweighted_loss_function: LossFunction,
        optimizer: Any,
        metric_weights: Mapping[str, float | Tensor],
        fixed_metric: str,
        alpha: float = 0.9,
    ) -> None:
        super().__init__()
        names = list(check_mapping("metric_weights", metric_weights))
        missing = [key for key in check_mapping("batch", batch) if key not in names]
        if missing:
            raise ValueError(
                f"metric_weights must have a weight for each key of batch, but lacks {missing}; "
                f"its keys are: {names}."
            )
        if fixed_metric not in names:
            raise ValueError(f"fixed_metric must be one of {names}, got {shown(fixed_metric)}.")
        if not callable(unweighted_loss_function):
            raise TypeError(
                "unweighted_loss_function must be a function of (batch, model), got "
                f"{shown(unweighted_loss_function)}."
            )
        values = [
            check_number(f"metric_weights[{k!r}]", as_python(metric_weights[k])) for k in names
        ]
        self.metric_names = names
        self.unweighted_loss_function = unweighted_loss_function
        self.optimizer = optimizer
        self.fixed_metric = fixed_metric
        self.alpha = check_number("alpha", alpha, 0, 1)
        self.register_buffer("weights", torch.tensor(values, dtype=torch.float64))

    @property
    def metric_weights(self) -> dict[str, float]:
        """The current weights, by the metrics' names."""
        return dict(zip(self.metric_names, self.weights.tolist(), strict=True))

    def forward(self, batch: Any, model: nn.Module) -> tuple[Tensor, Metrics]:
        """Returns the sum of weighted metrics, and the weighted metrics."""
        _, metrics = self.unweighted_loss_function(batch, model)
        check_mapping("The metrics that unweighted_loss_function returns", metrics)
        if set(metrics) != set(self.metric_names):
            raise ValueError(
                f"unweighted_loss_function must return the metrics {self.metric_names}, got "
                f"{list(metrics)}."
            )
        for key, metric in metrics.items():
            _check_metric(metric, key)
        weights = self.weights
        if torch.is_grad_enabled():
            weights = self._update(metrics, [p for p in model.parameters() if p.requires_grad])
        values = {
            key: weighted(metrics[key], weight, [batch, model])
            for key, weight in zip(self.metric_names, weights, strict=True)
        }
        return torch.stack(list(values.values())).sum(), values

    def get_extra_state(self) -> dict[str, list[str]]:
        """Returns the metrics' names, so that a checkpoint of other metrics is refused."""
        return {"metrics": self.metric_names}

    def set_extra_state(self, state: Any) -> None:
        """Does nothing: `_load_from_state_dict` has already compared the names."""

    def _load_from_state_dict(
        self, state_dict: Mapping[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        earlier = state_dict.get(f"{prefix}_extra_state", self.get_extra_state())
        check_same_names("metrics", earlier, self.metric_names)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    @torch.no_grad()
    def _update(self, metrics: Metrics, parameters: list[nn.Parameter]) -> Tensor:
        """Updates the weights, and returns those of this call: threads may update them too."""
        gradients = {key: _gradient(metric, parameters) for key, metric in metrics.items()}
        greatest = gradients[self.fixed_metric].abs().max()
        targets = torch.stack([greatest / gradients[k].abs().mean() for k in self.metric_names])
        updated = targets.isfinite() & (targets > 0)
        updated[self.metric_names.index(self.fixed_metric)].fill_(False)
        with _WEIGHTS:
            before = self.weights.to(targets.device)
            weights = torch.lerp(before, targets.to(before), self.alpha)
            self.weights = torch.where(updated, weights, before)
            return self.weights


def _gradient(metric: Tensor, parameters: list[nn.Parameter]) -> Tensor:
    """Returns the flattened gradient of a metric for the parameters that it depends on."""
    if not metric.requires_grad:
        return metric.new_zeros(1)
    gradients = torch.autograd.grad(metric, parameters, retain_graph=True, allow_unused=True)
    flat = [g.flatten().double() for g in gradients if g is not None]
    return torch.cat(flat) if flat else metric.new_zeros(1)


def _check_metric(metric: Any, key: str) -> None:
    if not isinstance(metric, Tensor):
        raise TypeError(f"metrics[{key!r}] must be a tensor, got {type(metric).__name__}.")
    if metric.ndim > 0:
        raise ValueError(
            f"metrics[{key!r}] must be a scalar, got the shape {tuple(metric.shape)}: take the "
            "mean."
        )


def _unpacked(pair: Any) -> tuple[Any, Any]:
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise TypeError(f"unpack must return (input, target), got {type(pair).__name__}.")
    return pair[0], pair[1]


def _pair(batch: Any) -> tuple[Any, Any]:
    if not isinstance(batch, (tuple, list)) or len(batch) != 2:
        raise TypeError(
            f"batch must be (input, target), got {type(batch).__name__}: pass unpack=, a function "
            "that returns this pair for a batch."
        )
    return batch[0], batch[1]


def _is_scalar(value: Any) -> bool:
    return isinstance(value, Tensor) and value.ndim == 0
