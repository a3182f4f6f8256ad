"""Basic checks: the loss is a scalar, has the right gradient, and changes nothing else."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from segloss.tools.check.example import Example
from segloss.tools.check.inspections import DoesNotApplyError, FoundWrongError
from segloss.tools.check.loss_under_test import (
    Outcome,
    LossUnderTest,
    gradients_of,
    required,
    scalar_of,
)
from segloss.tools.check.nested_batches import copied, tensors_in, map_tensors

_STEPS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
_DIRECTIONS = 3
_SCATTER = 1e-4
DIFFERENCE_LIMIT = 1e-5
"""The tolerance between a gradient and finite differences of a loss in float64."""
DIFFERENCE_LIMIT_FLOAT32 = 2e-2
"""The same for a loss that is float32 inside."""


def scalar(tested: LossUnderTest) -> str:
    """Returns a floating-point, finite tensor without dimensions."""
    result = tested.loss(tested.example.pred, tested.example.gt)
    value = scalar_of(result)
    shape = tuple((result[0] if isinstance(result, tuple) else result).shape)
    if shape:
        raise FoundWrongError(f"the loss has the shape {shape}, one element but no scalar")
    if not value.is_floating_point():
        raise FoundWrongError(f"the loss is of {value.dtype}, which has no gradient")
    if not value.isfinite():
        raise FoundWrongError(f"the loss is {value.item()}")
    return f"{value.item():.6g}, {str(value.dtype).removeprefix('torch.')}"


def gradient_flow(tested: LossUnderTest) -> str:
    """Checks that each watched gradient is finite and not 0 everywhere."""
    gradients = tested.differentiate(tested.example).gradients
    if not gradients:
        raise DoesNotApplyError("no prediction is of floating point")
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
    """Checks that derivatives along random directions equal finite differences."""
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
    """Returns the example and its gradients in float64, or in float32 if the loss needs it."""
    example = tested.example.to(torch.float64)
    try:
        return example, tested.differentiate(example)
    except Exception:
        return tested.example, tested.differentiate(tested.example)


class _Slopes(NamedTuple):
    """The comparison of a directional derivative with finite differences.

    Attributes:
        error: That of the best of several steps.
        scatter: The scatter of the smallest steps: large in float32, in which a loss
            may compute even if it returns float64.
    """

    error: float
    scatter: float


def _slopes(tested: LossUnderTest, example: Example, outcome: Outcome, seed: int) -> _Slopes:
    """Returns the differences along one random direction."""
    way = _direction(example, seed)
    watched = [w for w, mark in zip(tensors_in(way), example.watched, strict=True) if mark]
    pairs = [(g, w) for g, w in zip(outcome.gradients, watched, strict=True) if g is not None]
    expected = sum(float((g * w).sum()) for g, w in pairs)
    length = math.sqrt(sum(float((g * w).square().sum()) for g, w in pairs))
    slopes = [_slope(tested, example, way, step) for step in _STEPS]
    sizes = [max(abs(slope), abs(expected), 0.1 * length, 1e-12) for slope in slopes]
    errors = [abs(slope - expected) / size for slope, size in zip(slopes, sizes, strict=True)]
    finite = [error for error in errors if math.isfinite(error)]
    return _Slopes(min(finite, default=math.inf), abs(slopes[-1] - slopes[-2]) / sizes[-1])


def _direction(example: Example, seed: int) -> Any:
    """Returns plus or minus 1 for each watched number, or less if room is short."""
    generator = torch.Generator().manual_seed(seed)
    marks = iter(example.watched)

    def direction(t: Tensor) -> Tensor:
        if not next(marks):
            return torch.zeros_like(t)
        noise = torch.randint(0, 2, t.shape, generator=generator).to(t)
        return (2 * noise - 1) * _room(t)

    return map_tensors(example.pred, direction)


def _slope(tested: LossUnderTest, example: Example, way: Any, step: float) -> float:
    """Returns the central difference."""
    ahead, behind = (tested.value(_moved(example, way, sign * step)) for sign in (1, -1))
    return float(ahead.detach().double() - behind.detach().double()) / (2 * step)


def _room(prediction: Tensor) -> Tensor:
    """Returns the step of each number: probabilities must stay within [0, 1]."""
    inside = torch.minimum(prediction, 1 - prediction)
    return inside.clamp(max=1) if bool((inside >= 0).all()) else torch.ones_like(prediction)


def _moved(example: Example, way: Any, step: float) -> Example:
    moves = iter(tensors_in(way))
    return replace(example.copy(), pred=map_tensors(example.pred, lambda t: t + step * next(moves)))


def inputs_untouched(tested: LossUnderTest) -> str:
    """Checks that predictions, targets and `requires_grad` are unchanged."""
    example = tested.example
    pred = map_tensors(example.pred, copied)
    gt = map_tensors(example.gt, copied)
    _call_and_compare(tested, pred, gt)
    pred, inputs = required(example)
    twins = map_tensors(
        pred, lambda t: t.clone() if t.requires_grad else t
    )  # no leaves: may be changed
    value = _call_and_compare(tested, twins, gt)
    gradients_of(value, inputs)
    if any(t.grad is not None for t in tensors_in(gt)):
        raise FoundWrongError("a target was given a gradient")
    return "predictions and targets are as they were"


def _call_and_compare(tested: LossUnderTest, pred: Any, gt: Any) -> Tensor:
    """Returns the value; raises FoundWrongError if the call changed its arguments."""
    trees = {"prediction": pred, "target": gt}
    before = {name: _seen(tree) for name, tree in trees.items()}
    value = scalar_of(tested.loss(pred, gt))
    for name, tree in trees.items():
        versions, contents, flags, keys = before[name]
        now = _seen(tree)
        if now[3] != keys:
            raise FoundWrongError(f"the mapping of {name}s has other keys after the call")
        if now[2] != flags:
            raise FoundWrongError(f"requires_grad of a {name} is another after the call")
        same = all(torch.equal(a, b) for a, b in zip(now[1], contents, strict=True))
        if now[0] != versions or not same:
            raise FoundWrongError(f"a {name} was changed in place")
    return value


def _seen(tree: Any) -> tuple[list[int], list[Tensor], list[bool], list[Any]]:
    tensors = tensors_in(tree)
    return (
        [t._version for t in tensors],
        [t.detach().clone().nan_to_num() for t in tensors],
        [t.requires_grad for t in tensors],
        list(tree) if isinstance(tree, dict) else [],
    )
