"""The three checks of a tutorial on custom losses, under its name and with its arguments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from segloss.foundation.arguments import check_integer, is_list, shown
from segloss.tools.check.loss_under_test import preserved, scalar_of
from segloss.tools.check.run_checks import assert_loss


def test_custom_loss(
    loss_fn: Callable[..., Any],
    input_shape: Sequence[int] = (10,),  # noqa: PT028  # not a test, but a function for tests
) -> None:
    """Asserts that a loss returns a scalar, that gradients flow, and that it is stable.

    Predictions and targets are random numbers of one shape, as for regression; `assert_loss` uses
    batches for segmentation, and makes many more checks. Each check that passes is printed.

    Args:
        loss_fn: A loss of (prediction, target).
        input_shape: The shape of both.

    Raises:
        AssertionError: The loss does not return a finite scalar, has no gradient, or is not finite
            for targets and predictions as small as 1e-10 and as large as 1e10.
        TypeError, ValueError: `loss_fn` can't be called, or `input_shape` is not a shape.

    Example:
        >>> test_custom_loss(torch.nn.MSELoss())
        ✓ scalar: the shape is right
        ✓ gradient flow: the predictions have a gradient
        ✓ stability: the loss of tiny and huge numbers is finite
    """
    shape = _check_shape(input_shape)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        example = torch.randn(shape), torch.randn(shape)
    assert_loss(loss_fn, example, checks=["scalar"])
    print("✓ scalar: the shape is right")
    assert_loss(loss_fn, example, checks=["gradient flow"])
    print("✓ gradient flow: the predictions have a gradient")
    _assert_stable(loss_fn)
    print("✓ stability: the loss of tiny and huge numbers is finite")


def _check_shape(shape: Any) -> tuple[int, ...]:
    if not is_list(shape):
        raise TypeError(f"input_shape must be a sequence of sizes, got {shown(shape)}.")
    return tuple(check_integer(f"input_shape[{i}]", size, 1) for i, size in enumerate(shape))


def _assert_stable(loss_fn: Callable[..., Any]) -> None:
    with preserved(loss_fn):
        prediction, target = torch.tensor([[0.0, 1e-10, 1e10], [0.0, 0.0, 1e10]])
        value = scalar_of(loss_fn(prediction, target))
    if not value.isfinite():
        raise AssertionError(
            f"The loss of {prediction.tolist()} for the target {target.tolist()} must be finite, "
            f"got {value.item()}: guard logarithms and denominators (log(x + 1e-8), clamp)."
        )


test_custom_loss.__test__ = False  # type: ignore[attr-defined]  # pytest must not collect it
