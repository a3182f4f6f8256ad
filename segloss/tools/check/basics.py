"""Basic checks: the loss is a scalar, has the right gradient, and changes nothing else."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from segloss.tools.check.examples.example import Example
from segloss.tools.check.inspections import DoesNotApplyError, FoundWrongError
from segloss.tools.check.loss_under_test import (
    LossUnderTest,
    Outcome,
    gradients_of,
    required,
    scalar_of,
)
from segloss.tools.check.nested_batches import copied, map_tensors, tensors_in

_STEPS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
_FINEST_STEP = 1e-7
"""A step for losses that sort: their slope changes wherever two pixels change places."""
_DIRECTIONS = 3
_SCATTER = 1e-4
DIFFERENCE_LIMIT = 1e-5
"""The tolerance between a gradient and finite differences of a loss in float64."""
DIFFERENCE_LIMIT_FLOAT32 = 2e-2
"""The tolerance for a loss that computes in float32."""


def scalar(tested: LossUnderTest) -> str:
    """Checks that the loss is a finite floating-point scalar."""
    result = tested.loss(tested.example.pred, tested.example.gt)
    value = scalar_of(result)
    shape = tuple((result[0] if isinstance(result, tuple) else result).shape)
    if shape:
        raise FoundWrongError(f"the loss has the shape {shape}, not ()")
    if not value.is_floating_point():
        raise FoundWrongError(f"the loss is of {value.dtype}, which has no gradient")
    if not value.isfinite():
        raise FoundWrongError(f"the loss is {value.item()}")
    return f"{value.item():.6g}, {str(value.dtype).removeprefix('torch.')}"


def gradient_flow(tested: LossUnderTest) -> str:
    """Checks that each watched gradient is finite, and not 0 everywhere."""
    gradients = tested.differentiate(tested.example).gradients
    if not gradients:
        raise DoesNotApplyError("no prediction has a floating-point dtype")
    missing = [g for g in gradients if g is None or not g.any()]
    if len(missing) == len(gradients) or (missing and tested.example.all_watched):
        kinds = {"none at all" if g is None else "0 everywhere" for g in missing}
        raise FoundWrongError(
            f"the gradient is {' or '.join(sorted(kinds))} for {len(missing)} of "
            f"{len(gradients)} prediction(s)"
        )
    if not all(bool(g.isfinite().all()) for g in gradients if g is not None):
        raise FoundWrongError("the gradient is not finite")
    return f"{len(gradients) - len(missing)} of {len(gradients)} prediction(s) have a gradient"


def gradient_values(tested: LossUnderTest) -> str:
    """Checks that derivatives along random directions agree with finite differences."""
    example, outcome = _most_precise(tested)
    if all(g is None for g in outcome.gradients):
        raise DoesNotApplyError("there is no gradient")
    slopes = [_slopes(tested, example, outcome, seed) for seed in range(_DIRECTIONS)]
    precise = max(slope.scatter for slope in slopes) < _SCATTER
    error = max(slope.error for slope in slopes)
    limit = DIFFERENCE_LIMIT if precise else DIFFERENCE_LIMIT_FLOAT32
    text = f"{error:.0e} from differences, computed in {'float64' if precise else 'float32'}"
    if not error <= limit:
        raise FoundWrongError(f"the gradient is {text} (limit {limit:g})")
    return text


def _most_precise(tested: LossUnderTest) -> tuple[Example, Outcome]:
    """Returns the example and its gradients in float64, or in its own dtype if float64 fails."""
    example = tested.example.to(torch.float64)
    try:
        return example, tested.differentiate(example)
    except Exception:
        return tested.example, tested.differentiate(tested.example)


class _Slopes(NamedTuple):
    """The comparison of a directional derivative with finite differences.

    Attributes:
        error: The smallest relative error over several step sizes.
        scatter: The difference between the two smallest of `_STEPS`. It is large in float32, which
            a loss may use inside even if it returns float64.
    """

    error: float
    scatter: float


def _slopes(tested: LossUnderTest, example: Example, outcome: Outcome, seed: int) -> _Slopes:
    """Compares the derivative along one random direction with finite differences."""
    direction = _direction(example, seed)
    watched = [w for w, mark in zip(tensors_in(direction), example.watched, strict=True) if mark]
    pairs = [(g, w) for g, w in zip(outcome.gradients, watched, strict=True) if g is not None]
    expected = sum(float((g * w).sum()) for g, w in pairs)
    length = math.sqrt(sum(float((g * w).square().sum()) for g, w in pairs))
    slopes = [_slope(tested, example, direction, step) for step in (_FINEST_STEP, *_STEPS)]
    sizes = [max(abs(slope), abs(expected), 0.1 * length, 1e-12) for slope in slopes]
    errors = [abs(slope - expected) / size for slope, size in zip(slopes, sizes, strict=True)]
    finite = [error for error in errors if math.isfinite(error)]
    return _Slopes(min(finite, default=math.inf), abs(slopes[-1] - slopes[-2]) / sizes[-1])


def _direction(example: Example, seed: int) -> Any:
    """Returns +1 or -1 for each watched number; less for probabilities close to 0 or 1."""
    generator = torch.Generator().manual_seed(seed)
    marks = iter(example.watched)

    def random_signs(t: Tensor) -> Tensor:
        if not next(marks):
            return torch.zeros_like(t)
        noise = torch.randint(0, 2, t.shape, generator=generator).to(t)
        return (2 * noise - 1) * _room(t)

    return map_tensors(example.pred, random_signs)


def _slope(tested: LossUnderTest, example: Example, direction: Any, step: float) -> float:
    """Returns the central difference along a direction."""
    ahead, behind = (tested.value(_moved(example, direction, sign * step)) for sign in (1, -1))
    return float(ahead.detach().double() - behind.detach().double()) / (2 * step)


def _room(prediction: Tensor) -> Tensor:
    """Returns the largest step of each number that keeps probabilities within [0, 1]."""
    inside = torch.minimum(prediction, 1 - prediction)
    return inside.clamp(max=1) if bool((inside >= 0).all()) else torch.ones_like(prediction)


def _moved(example: Example, direction: Any, step: float) -> Example:
    moves = iter(tensors_in(direction))
    return replace(example.copy(), pred=map_tensors(example.pred, lambda t: t + step * next(moves)))


def inputs_untouched(tested: LossUnderTest) -> str:
    """Checks that a call leaves predictions, targets and `requires_grad` unchanged."""
    example = tested.example
    pred = map_tensors(example.pred, copied)
    gt = map_tensors(example.gt, copied)
    _call_and_compare(tested, pred, gt)
    pred, inputs = required(example)
    # Clones are not leaves of autograd's graph, so that PyTorch allows changes in place.
    clones = map_tensors(pred, lambda t: t.clone() if t.requires_grad else t)
    value = _call_and_compare(tested, clones, gt)
    gradients_of(value, inputs)
    if any(t.grad is not None for t in tensors_in(gt)):
        raise FoundWrongError("a target was given a gradient")
    return "predictions and targets are unchanged"


def _call_and_compare(tested: LossUnderTest, pred: Any, gt: Any) -> Tensor:
    """Returns the value; raises FoundWrongError if the call changed its arguments."""
    arguments = {"prediction": pred, "target": gt}
    before = {name: _Snapshot.of(batch) for name, batch in arguments.items()}
    value = scalar_of(tested.loss(pred, gt))
    for name, batch in arguments.items():
        earlier, now = before[name], _Snapshot.of(batch)
        if now.keys != earlier.keys:
            raise FoundWrongError(f"the mapping of {name}s has other keys after the call")
        if now.requires_grad != earlier.requires_grad:
            raise FoundWrongError(f"the call changed requires_grad of a {name}")
        same = all(torch.equal(a, b) for a, b in zip(now.contents, earlier.contents, strict=True))
        if now.versions != earlier.versions or not same:
            raise FoundWrongError(f"a {name} was changed in place")
    return value


class _Snapshot(NamedTuple):
    """The state of a batch, to see whether a call changes it."""

    versions: list[int]
    contents: list[Tensor]
    requires_grad: list[bool]
    keys: list[Any]

    @classmethod
    def of(cls, batch: Any) -> _Snapshot:
        """Returns the state of a batch now."""
        tensors = tensors_in(batch)
        return cls(
            [t._version for t in tensors],
            [t.detach().clone().nan_to_num() for t in tensors],
            [t.requires_grad for t in tensors],
            list(batch) if isinstance(batch, dict) else [],
        )
