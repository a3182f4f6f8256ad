"""The search for an example that a loss takes, if the caller gives none.

A loss does not say which batches it takes, so forms are tried in a fixed order: those that agree
with the loss's arguments. The first with a finite value and a gradient other than 0 is used.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from segloss.losses.companions import TakesCompanions
from segloss.losses.loss_wrapper import LossWrapper
from segloss.tools.check.examples.example import Example
from segloss.tools.check.examples.forms import Form, LargeExample, forms, map_keys
from segloss.tools.check.examples.requirements import channels_of, requirements_of, unmet
from segloss.tools.check.loss_under_test import LossUnderTest, first_line

SPATIAL = (24, 20)
"""The spatial size of examples."""


class NoExampleError(ValueError):
    """The loss takes none of the forms that were tried."""


def find_example(loss: Any, n_classes: int | None, spatial: Sequence[int]) -> Example:
    """Returns the first example in the order of `forms` that the loss takes.

    Raises:
        NoExampleError: It takes none; the message has the errors.
    """
    form = find_form(loss, forms(loss, channels_of(loss, n_classes)), spatial)
    large = LargeExample(partial(_example, form, loss), tuple(spatial))
    return replace(form.example(spatial, loss), make_large=large)


def _example(form: Form, loss: Any, spatial: Sequence[int], samples: int) -> Example:
    return form.example(spatial, loss, samples)


def find_form(loss: Any, candidates: Iterable[Form], spatial: Sequence[int]) -> Form:
    """Returns the first form that the loss takes.

    Raises:
        NoExampleError: It takes none; the message has the errors.
    """
    return next(accepted_forms(loss, candidates, spatial))


def accepted_forms(loss: Any, candidates: Iterable[Form], spatial: Sequence[int]) -> Iterator[Form]:
    """Yields the forms that the loss takes; those with a gradient of 0 come last.

    Raises:
        NoExampleError: It takes none; the message has the errors.
    """
    requirements, found = requirements_of(loss), False
    errors: dict[str, list[str]] = {}
    against: dict[str, list[str]] = {}
    without_gradient: list[Form] = []
    for form in candidates:
        if reason := unmet(requirements, form):
            against.setdefault(reason, []).append(str(form))
            continue
        try:
            has_gradient = _has_gradient(loss, form, spatial)
        except Exception as error:  # any error means that the loss does not take this form
            errors.setdefault(first_line(error), []).append(str(form))
            continue
        if has_gradient:
            found = True
            yield form
        else:
            without_gradient.append(form)
    yield from without_gradient
    if not found and not without_gradient:
        raise NoExampleError(
            "; ".join(f"{e} ({_several(f)})" for e, f in (errors or against).items())
        )


def _has_gradient(loss: Any, form: Form, spatial: Sequence[int]) -> bool:
    """Returns whether value and gradient are finite, and the gradient is not 0 everywhere."""
    example = form.example(spatial, loss)
    outcome = LossUnderTest(loss, example).fresh().differentiate(example)
    return outcome.is_finite and bool(outcome.flat().any())


def with_maps(loss: Any) -> Any:
    """Wraps a loss of this package that needs maps, so that it takes them from batches."""
    needs_maps = isinstance(loss, TakesCompanions) and map_keys(loss)
    return LossWrapper(loss) if needs_maps else loss


def _several(tried: Sequence[str]) -> str:
    more = len(tried) - 1
    return f"for {tried[0]}" + (f" and {more} more" if more else "")
