"""Checks for finite results: extreme predictions, half precision, odd targets."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

from segloss.foundation.dtypes import can_hold
from segloss.tools.check.examples.example import Example, is_probability
from segloss.tools.check.inspections import DoesNotApplyError, FoundWrongError, value_error
from segloss.tools.check.loss_under_test import LossUnderTest, Outcome, ignored_values_of
from segloss.tools.check.nested_batches import tensors_in

LOGITS = (1e4, 1e30)
"""Magnitudes of extreme logits; float16 ends at 65504, so only the first is used for it."""

HALF_LIMIT = 2e-2
"""The largest error of a value in half precision, against float32 on the same predictions."""

MARGINS = (20.0, 1e4)
"""Logits of correct predictions."""


def finite_in_float32(tested: LossUnderTest) -> str:
    """Checks that the loss is finite at extreme predictions in float32."""
    return _finite(tested, torch.float32)


def finite_in_bfloat16(tested: LossUnderTest) -> str:
    """Checks that the loss is finite in bfloat16, also at extreme predictions."""
    return _finite(tested, torch.bfloat16)


def finite_in_float16(tested: LossUnderTest) -> str:
    """Checks that the loss is finite in float16, on many pixels and at extreme predictions."""
    return _finite(tested, torch.float16)


def perfect_prediction(tested: LossUnderTest) -> str:
    """Checks that the loss is finite for a perfect prediction, confident and very confident."""
    return _finite_at(tested, _perfect(tested.example, "a perfect prediction"))


def empty_target(tested: LossUnderTest) -> str:
    """Checks that the loss is finite without foreground, for any and for a perfect prediction."""
    return _finite_at(tested, _filled(tested.example, empty=True))


def full_target(tested: LossUnderTest) -> str:
    """Checks that the loss is finite if all pixels are foreground, or the last class."""
    return _finite_at(tested, _filled(tested.example, empty=False))


def all_ignored(tested: LossUnderTest) -> str:
    """Checks that the loss is finite if all pixels are ignored."""
    values = ignored_values_of(tested.loss)
    if not values:
        raise DoesNotApplyError("the loss has no ignore_index")
    target = tested.example.target
    if target is None:
        raise DoesNotApplyError("no target could be identified as a mask or a label map")
    held = [value for value in values if can_hold(target.dtype, value)]
    if not held:
        listed = ", ".join(map(str, values))
        raise DoesNotApplyError(f"targets of {target.dtype} can't hold ignore_index={listed}")
    points = [
        (f"all pixels {value}", tested.example.with_target(torch.full_like(target, value)))
        for value in held
    ]
    return _finite_at(tested, iter(points))


def _finite(tested: LossUnderTest, dtype: torch.dtype) -> str:
    cast = _cast(tested, dtype)
    if dtype == torch.float32:
        return _finite_at(tested, _extremes(cast(tested.example)))
    points = [("plain predictions", cast(tested.example))]
    if dtype == torch.float16:
        points.append(("many pixels", cast(tested.example.large())))
    found = _finite_at(tested, itertools.chain(points, _extremes(cast(tested.example))))
    return f"{found}; error of the value {_half_error(tested, points):.0e}"


def _cast(tested: LossUnderTest, dtype: torch.dtype) -> Callable[[Example], Example]:
    """Returns a cast of predictions to a dtype, and of targets too if the loss needs that."""

    def predictions(example: Example) -> Example:
        return example.with_pred(lambda t: t.to(dtype))

    try:
        tested.differentiate(predictions(tested.example))
    except Exception:
        return lambda example: example.to(dtype)
    return predictions


def _half_error(tested: LossUnderTest, points: list[tuple[str, Example]]) -> float:
    """Returns the largest error of values; raises FoundWrongError if it is above the limit."""
    largest = 0.0
    for text, example in points:
        value = tested.differentiate(example).value
        if not value.isfinite():
            continue  # not representable; anything else has failed already
        expected = tested.differentiate(example.to(torch.float32)).value
        error = value_error(value, expected)
        largest = max(largest, error)
        if error > HALF_LIMIT:
            raise FoundWrongError(
                f"the value is {value.item():.3g}, where float32 has {expected.item():.3g}, "
                f"at {text}"
            )
    return largest


def _extremes(example: Example) -> Iterator[tuple[str, Example]]:
    """Yields the batch as it is in float32, and with extreme predictions of its dtype."""
    floating = [t for t in tensors_in(example.pred) if t.is_floating_point()]
    if all(t.dtype == torch.float32 for t in floating):
        yield "plain predictions", example
    if all(map(is_probability, floating)):
        yield "probabilities of 0 and 1", example.with_pred(_hardened)
        return
    in_float16 = any(t.dtype == torch.float16 for t in floating)
    for size, sign in itertools.product(LOGITS[:1] if in_float16 else LOGITS, ("+-", "+", "-")):
        change = functools.partial(_extreme, size=size, sign=sign)
        yield f"predictions of {sign}{size:g}", example.with_pred(change)


def _extreme(tensor: Tensor, size: float, sign: str) -> Tensor:
    """Returns numbers of that size, of both signs or of one; probabilities become 0 and 1."""
    if is_probability(tensor):
        return _hardened(tensor)
    if sign == "+-":
        return size * tensor.sign()
    return torch.full_like(tensor, size if sign == "+" else -size)


def _hardened(probability: Tensor) -> Tensor:
    """Rounds probabilities to 0 and 1; over several channels, the largest becomes 1."""
    if probability.ndim > 1 and probability.shape[1] > 1:
        top = probability.argmax(1, keepdim=True)
        return torch.zeros_like(probability).scatter(1, top, 1.0)
    return probability.round()


def _perfect(example: Example, text: str) -> Iterator[tuple[str, Example]]:
    masks, prediction = example.masks(), example.prediction
    if masks is None or prediction is None:
        return
    if is_probability(prediction):
        yield text, example.with_prediction(masks)
        return
    for margin in MARGINS:
        yield f"{text} (logits of +-{margin:g})", example.with_prediction(margin * (2 * masks - 1))


def _filled(example: Example, *, empty: bool) -> Iterator[tuple[str, Example]]:
    filled = example.filled(empty)
    if filled is None:
        return
    text = "an empty target" if empty else "a full target"
    yield text, filled
    yield from _perfect(filled, f"{text} and a perfect prediction")


def _finite_at(tested: LossUnderTest, points: Iterable[tuple[str, Example]]) -> str:
    """Raises FoundWrongError with all points at which value or gradient is not finite."""
    wrong, count, unrepresentable = [], 0, []
    for text, example in points:
        count += 1
        outcome = tested.differentiate(example)
        if outcome.is_finite:
            continue
        if _is_unrepresentable(tested, example, outcome):
            unrepresentable.append(text)
        else:
            wrong.append(f"{_describe(outcome)} at {text}")
    if wrong:
        raise FoundWrongError("; ".join(wrong))
    if not count:
        raise DoesNotApplyError("no target could be identified as a mask or a label map")
    if len(unrepresentable) == count:
        raise DoesNotApplyError("the loss itself is too large for the dtype")
    note = f" (not representable at {', '.join(unrepresentable)})" if unrepresentable else ""
    return f"finite at {count - len(unrepresentable)} kinds of batch{note}"


def _is_unrepresentable(tested: LossUnderTest, example: Example, outcome: Outcome) -> bool:
    """Returns whether the exact value or gradient exceeds the range of the dtype."""
    try:
        exact = tested.differentiate(example.to(torch.float64))
    except Exception:
        return False  # the loss does not take float64, so the exact result is unknown
    if not exact.is_finite or exact.value.dtype != torch.float64:
        return False
    pairs = [(outcome.value, exact.value)]
    pairs += [
        (computed, expected)
        for computed, expected in zip(outcome.gradients, exact.gradients, strict=True)
        if computed is not None and expected is not None
    ]
    return all(
        float(expected.abs().max()) > torch.finfo(computed.dtype).max
        for computed, expected in pairs
        if not computed.isfinite().all()
    )


def _describe(outcome: Outcome) -> str:
    """Returns the part of an outcome that is not finite, in words."""
    if not outcome.value.isfinite():
        return f"the value is {outcome.value.item()}"
    gradients = [g for g in outcome.gradients if g is not None]
    wrong = sum(int((~g.isfinite()).sum()) for g in gradients)
    return f"{wrong} of {sum(g.numel() for g in gradients)} gradients are not finite"
