"""Checks for finite results: extreme predictions, half precision, odd targets."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

from segloss.tools.check.example import Example, is_probability
from segloss.tools.check.inspections import DoesNotApplyError, FoundWrongError, value_error
from segloss.tools.check.loss_under_test import Outcome, LossUnderTest, ignore_index_of
from segloss.tools.check.nested_batches import tensors_in

LOGITS = (1e4, 1e30)
"""Magnitudes of extreme logits; float16 ends at 65504 and sees the first alone."""

HALF_LIMIT = 2e-2
"""Error of the value that half precision may make against float32 on the same predictions."""

MARGINS = (20.0, 1e4)
"""Logits of predictions that are right."""


def finite_in_float32(tested: LossUnderTest) -> str:
    """Finite at extreme predictions in float32."""
    return _finite(tested, torch.float32)


def finite_in_bfloat16(tested: LossUnderTest) -> str:
    """Finite in bfloat16, extreme predictions included."""
    return _finite(tested, torch.bfloat16)


def finite_in_float16(tested: LossUnderTest) -> str:
    """Finite in float16, on many pixels and at extreme predictions."""
    return _finite(tested, torch.float16)


def perfect_prediction(tested: LossUnderTest) -> str:
    """Finite where the prediction is the target, surely and very surely."""
    return _finite_at(tested, _perfect(tested.example, "a perfect prediction"))


def empty_target(tested: LossUnderTest) -> str:
    """Finite where there is no foreground, for any and for a perfect prediction."""
    return _finite_at(tested, _filled(tested.example, empty=True))


def full_target(tested: LossUnderTest) -> str:
    """Finite where there is nothing but foreground, or nothing but the last class."""
    return _finite_at(tested, _filled(tested.example, empty=False))


def all_ignored(tested: LossUnderTest) -> str:
    """Finite where no pixel is left."""
    value = ignore_index_of(tested.loss)
    if value is None:
        raise DoesNotApplyError("the loss has no ignore_index")
    target = tested.example.target
    if target is None:
        raise DoesNotApplyError("no target is known to be a mask or a label map")
    if not can_hold(target, value):
        raise DoesNotApplyError(f"targets of {target.dtype} can't hold ignore_index={value}")
    ignored = tested.example.with_target(torch.full_like(target, value))
    return _finite_at(tested, iter([(f"all pixels {value}", ignored)]))


def can_hold(target: Tensor, value: int) -> bool:
    """Returns whether the target's dtype has that number."""
    if target.dtype == torch.bool:
        return False
    limits = torch.finfo if target.is_floating_point() else torch.iinfo
    return limits(target.dtype).min <= value <= limits(target.dtype).max


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
    """Brings predictions to a dtype, and the rest too where the loss wants that."""

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
            continue  # not representable, or it would have failed before
        right = tested.differentiate(example.to(torch.float32)).value
        error = value_error(value, right)
        largest = max(largest, error)
        if error > HALF_LIMIT:
            raise FoundWrongError(
                f"the value is {value.item():.3g}, where float32 has {right.item():.3g}, at {text}"
            )
    return largest


def _extremes(example: Example) -> Iterator[tuple[str, Example]]:
    """Returns the batch as it is, and with extreme predictions in their dtypes."""
    floating = [t for t in tensors_in(example.pred) if t.is_floating_point()]
    if all(t.dtype == torch.float32 for t in floating):
        yield "plain predictions", example
    if all(map(is_probability, floating)):
        yield "probabilities of 0 and 1", example.with_pred(_hardened)
        return
    narrow = any(t.dtype == torch.float16 for t in floating)
    for size, sign in itertools.product(LOGITS[:1] if narrow else LOGITS, ("+-", "+", "-")):
        change = functools.partial(_extreme, size=size, sign=sign)
        yield f"predictions of {sign}{size:g}", example.with_pred(change)


def _extreme(tensor: Tensor, size: float, sign: str) -> Tensor:
    """Numbers of that size, of either sign or of one; probabilities of 0 and 1."""
    if is_probability(tensor):
        return _hardened(tensor)
    if sign == "+-":
        return size * tensor.sign()
    return torch.full_like(tensor, size if sign == "+" else -size)


def _hardened(probability: Tensor) -> Tensor:
    """Probabilities of 0 and 1, which sum to 1 over the channels if these did."""
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
    """Raises FoundWrongError at the points where value or gradient is not finite."""
    wrong, seen, beyond = [], 0, []
    for text, example in points:
        seen += 1
        outcome = tested.differentiate(example)
        if outcome.is_finite:
            continue
        if _is_beyond(tested, example, outcome):
            beyond.append(text)
        else:
            wrong.append(f"{_wrong_of(outcome)} at {text}")
    if wrong:
        raise FoundWrongError("; ".join(wrong))
    if not seen:
        raise DoesNotApplyError("no target is known to be a mask or a label map of the prediction")
    if len(beyond) == seen:
        raise DoesNotApplyError("the loss itself is too large for the dtype")
    return f"finite at {seen - len(beyond)} kinds of batch" + (
        f" (not representable at {', '.join(beyond)})" if beyond else ""
    )


def _is_beyond(tested: LossUnderTest, example: Example, outcome: Outcome) -> bool:
    """Returns whether the right value or gradient is a number that the dtype can't hold."""
    try:
        right = tested.differentiate(example.to(torch.float64))
    except Exception:
        return False  # the loss does not take float64, so this is unknown
    if not right.is_finite or right.value.dtype != torch.float64:
        return False
    pairs = [(outcome.value, right.value)]
    pairs += [
        (g, r)
        for g, r in zip(outcome.gradients, right.gradients, strict=True)
        if g is not None and r is not None
    ]
    wrong = [(g, r) for g, r in pairs if not g.isfinite().all()]
    return all(float(r.abs().max()) > torch.finfo(g.dtype).max for g, r in wrong)


def _wrong_of(outcome: Outcome) -> str:
    if not outcome.value.isfinite():
        return f"the value is {outcome.value.item()}"
    gradients = [g for g in outcome.gradients if g is not None]
    wrong = sum(int((~g.isfinite()).sum()) for g in gradients)
    return f"{wrong} of {sum(g.numel() for g in gradients)} gradients are not finite"
