"""Runs the checks on a loss, and returns the report."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from segloss.foundation.arguments import check_integer, is_list, nearest
from segloss.losses.loss import Criterion
from segloss.losses.multi_loss import MultiLoss
from segloss.tools.check import basics, batches, extremes, numerics
from segloss.tools.check.examples.example import Example
from segloss.tools.check.examples.example_search import (
    SPATIAL,
    NoExampleError,
    find_example,
    with_maps,
)
from segloss.tools.check.examples.forms import keys_of
from segloss.tools.check.examples.requirements import channels_of
from segloss.tools.check.examples.shared_form import SharedForm, find_shared_form
from segloss.tools.check.inspections import Inspection
from segloss.tools.check.loss_under_test import LossUnderTest, NotScalarError, first_line, preserved
from segloss.tools.check.nested_batches import tensors_in
from segloss.tools.check.report import FAIL, NOT_APPLICABLE, Check, LossReport

INSPECTIONS = (
    Inspection(
        "scalar",
        basics.scalar,
        "Take the mean, and return one floating-point tensor without dimensions (or a tuple that "
        "starts with it).",
    ),
    Inspection(
        "gradient flow",
        basics.gradient_flow,
        "Look for detach(), item(), argmax(), rounding or torch.no_grad() between the predictions "
        "and the loss.",
    ),
    Inspection(
        "gradient values",
        basics.gradient_values,
        "Check a backward of your own, or a part of the loss that is detached from the "
        "predictions.",
    ),
    Inspection(
        "finite in float32",
        extremes.finite_in_float32,
        "Compute from logits (logsigmoid, log_softmax, *_with_logits) instead of log(p), and "
        "clamp before the logarithm, not after it.",
    ),
    Inspection(
        "finite in bfloat16",
        extremes.finite_in_bfloat16,
        "Convert predictions to float32 first: prediction.float().",
    ),
    Inspection(
        "finite in float16",
        extremes.finite_in_float16,
        "Convert predictions to float32 first: sums over pixels exceed 65504, the largest float16, "
        "and small constants such as 1e-8 are 0 in it.",
    ),
    Inspection(
        "perfect prediction",
        extremes.perfect_prediction,
        "Guard logarithms, roots and powers at 0: their derivatives there are infinite.",
    ),
    Inspection(
        "empty target",
        extremes.empty_target,
        "Guard denominators: an empty target with an empty prediction gives 0/0.",
    ),
    Inspection(
        "full target",
        extremes.full_target,
        "Guard denominators and logarithms for targets without background.",
    ),
    Inspection(
        "all ignored",
        extremes.all_ignored,
        "Return a loss and a gradient of 0 if all pixels are ignored: divide by max(count, 1).",
    ),
    Inspection(
        "sample order",
        batches.sample_order,
        "Look for reshapes that mix samples with pixels or channels, and for indices into the "
        "batch.",
    ),
    Inspection(
        "precision",
        numerics.precision,
        "Sum in float64, or pairwise (torch.sum) rather than one by one, and do not subtract "
        "large numbers.",
    ),
    Inspection(
        "memory layout",
        numerics.memory_layout,
        "Use reshape or flatten instead of view, and do not rely on strides or memory order.",
    ),
    Inspection(
        "deterministic",
        batches.deterministic,
        "Look for random numbers, dropout in training mode, or state that changes at each call.",
    ),
    Inspection(
        "inputs untouched",
        basics.inputs_untouched,
        "Avoid in-place operations (names ending in _) on arguments, or clone first; add keys to "
        "a copy of the batch.",
    ),
    Inspection(
        "autocast",
        numerics.autocast,
        "Compute in float32: convert the predictions, and run the loss under "
        "torch.autocast(device_type, enabled=False).",
    ),
    Inspection(
        "compile",
        numerics.compiled,
        "Avoid operations that a compiler can't follow: item(), NumPy, branches on values.",
    ),
    Inspection(
        "data parallel",
        batches.data_parallel,
        "Ranks that average gradients train with a different loss than one process does. For "
        "losses of segloss: sync_statistics=True. For others: gather statistics, or accept it.",
        advisory=True,
    ),
)
"""All checks, in the order in which they run."""

TOGETHER = "all together"
"""The name of the report on all losses of a `MultiLoss`."""


def check_loss(
    loss: Callable[..., Any],
    example: tuple[Any, Any] | None = None,
    *,
    n_classes: int | None = None,
    spatial: Sequence[int] = SPATIAL,
    checks: Sequence[str] | None = None,
) -> LossReport:
    """Tests a loss on a batch for all known faults of losses.

    The loss, its buffers, gradients and modes, and the random states stay unchanged. Any
    exception of the loss becomes a verdict.

    Args:
        loss: A loss of this package, or any module or function of (prediction, target) or of
            (pred_batch, gt_batch) that returns a scalar, or a tuple that starts with it.
        example: (prediction, target), or (pred_batch, gt_batch) as mappings, with at least two
            samples along the first axis. Each prediction that requires grad must get a gradient.
            If none requires grad, all floating-point predictions are made to, and one of them must
            get a gradient. None: generates batches of several forms, and uses the first that the
            loss takes (see `docs/checking.md`).
        n_classes: The number of classes of the generated example; 2: one channel, or two. None:
            the loss's own `n_classes` or `mode`; otherwise one channel, then three.
        spatial: The spatial size of the generated example, 1 to 3 numbers.
        checks: The names of the checks to run, from `INSPECTIONS` in
            `segloss.tools.check.run_checks`; None: all.

    Returns:
        The report: `print` it, or use `passed`, `failed`, `checks` and `to_dict()`.

    Raises:
        TypeError, ValueError: An argument is wrong. A wrong loss never raises.

    Example:
        >>> import torch
        >>> report = check_loss(torch.nn.BCEWithLogitsLoss(), checks=["scalar", "sample order"])
        >>> report.passed
        True
        >>> report["scalar"].reason
        '0.819037, float32'
    """
    _check_callable(loss)
    inspections = _select_inspections(checks)
    spatial = _check_spatial(spatial)
    if n_classes is not None:
        check_integer("n_classes", n_classes, 2)
    name = _name_of(loss)
    loss = with_maps(loss)
    try:
        with preserved(loss):
            found = (
                _given_example(loss, example)
                if example is not None
                else _find(loss, n_classes, spatial)
            )
    except NoExampleError as error:
        return _refused(name, str(error))
    return _report(name, loss, found, inspections)


def check_each(multi_loss: MultiLoss, checks: Sequence[str] | None = None) -> Iterator[LossReport]:
    """Yields the report on each loss of a `MultiLoss`, and last on all of them, on one batch.

    Args:
        multi_loss: The losses. Each is examined after the pre-processes; with schedules, call
            `set_epoch` first. If there is one, its report is the only one.
        checks: See `check_loss`.

    Raises:
        TypeError, ValueError: The losses can't see one prediction and one target, or `checks` is
            wrong.
    """
    inspections = _select_inspections(checks)
    shared = find_shared_form(multi_loss, channels_of(multi_loss, None), SPATIAL)
    for name, loss in shared.losses.items():
        if name in shared.refusals:
            yield _refused(name, shared.refusals[name])
        else:
            yield _report(name, loss, shared.example(name, SPATIAL), inspections)
    if len(shared.losses) == 1:
        return
    try:
        yield _report(TOGETHER, multi_loss, _of_all(shared, SPATIAL), inspections)
    except NoExampleError as error:
        yield _refused(TOGETHER, str(error))


def assert_loss(
    loss: Callable[..., Any], example: tuple[Any, Any] | None = None, **options: Any
) -> LossReport:
    """Runs `check_loss` for a test: raises an error if the loss fails, or returns the report.

    Args:
        loss: See `check_loss`.
        example: See `check_loss`.
        **options: The other arguments of `check_loss`.

    Raises:
        AssertionError: A check failed; the message is the report.
        TypeError, ValueError: An argument is wrong.

    Example:
        >>> from segloss import DiceLoss
        >>> assert_loss(DiceLoss(), checks=["scalar", "gradient flow", "empty target"]).passed
        True
    """
    report = check_loss(loss, example, **options)
    if not report.passed:
        raise AssertionError(f"\n{report}")
    return report


def _run(tested: LossUnderTest, inspections: Sequence[Inspection]) -> list[Check]:
    """Runs the checks; without a scalar, none but the first applies."""
    error = _scalar_error(tested)
    checks = []
    for inspection in inspections:
        if error and inspection.name != "scalar":
            checks.append(Check(inspection.name, NOT_APPLICABLE, "the loss returns no scalar"))
        else:
            checks.append(inspection.check(tested))
    if error and not any(check.name == "scalar" for check in checks):
        checks.insert(0, Check("scalar", FAIL, error, INSPECTIONS[0].remedy))
    return checks


def _scalar_error(tested: LossUnderTest) -> str:
    """Returns the reason why the loss gives no scalar; empty if it gives one."""
    try:
        with preserved(tested.loss):
            fresh = tested.fresh()
            fresh.value(fresh.example)
    except NotScalarError as error:
        return str(error)
    except Exception as error:
        return first_line(error)
    return ""


def _report(
    name: str, loss: Any, example: Example, inspections: Sequence[Inspection]
) -> LossReport:
    return LossReport(name, example.form, _run(LossUnderTest(loss, example), inspections))


def _refused(name: str, errors: str) -> LossReport:
    """Returns the report on a loss that takes no example."""
    check = Check(
        "scalar",
        FAIL,
        f"the loss takes none of the generated examples: {errors}",
        "Pass example=(prediction, target), or n_classes and spatial that fit the loss.",
    )
    return LossReport(name, "none", [check])


def _find(loss: Any, n_classes: int | None, spatial: Sequence[int]) -> Example:
    """Returns an example that the loss takes; that all losses take, if it is a `MultiLoss`."""
    inner = loss.loss if isinstance(loss, Criterion) else loss
    if isinstance(inner, MultiLoss):
        return _of_all(find_shared_form(inner, channels_of(inner, n_classes), spatial), spatial)
    return find_example(loss, n_classes, spatial)


def _of_all(shared: SharedForm, spatial: Sequence[int]) -> Example:
    """Returns the example for all losses.

    Raises:
        NoExampleError: A loss takes none.
    """
    if shared.refusals:
        raise NoExampleError("; ".join(f"{n!r}: {why}" for n, why in shared.refusals.items()))
    return shared.example(next(iter(shared.forms)), spatial)


def _check_callable(loss: Any) -> None:
    if isinstance(loss, type) or not callable(loss):
        hint = f": make an instance, {loss.__name__}()" if isinstance(loss, type) else ""
        raise TypeError(f"loss must be a module or a function, got {loss!r}{hint}.")


def _select_inspections(checks: Any) -> list[Inspection]:
    by_name = {inspection.name: inspection for inspection in INSPECTIONS}
    if checks is None:
        return list(INSPECTIONS)
    if not is_list(checks):
        raise TypeError(f"checks must be a list of names, got {checks!r}.")
    for name in checks:
        if name not in by_name:
            raise ValueError(
                f"checks must be names from {', '.join(by_name)}; got {name!r}"
                f"{nearest(name, by_name)}."
            )
    return [by_name[name] for name in checks]


def _check_spatial(spatial: Any) -> Sequence[int]:
    if not is_list(spatial) or not 1 <= len(spatial) <= 3:
        raise ValueError(f"spatial must be 1 to 3 sizes, such as (24, 20), got {spatial!r}.")
    return [check_integer(f"spatial[{i}]", size, 1) for i, size in enumerate(spatial)]


def _given_example(loss: Any, example: Any) -> Example:
    if not (isinstance(example, tuple) and len(example) == 2):
        raise TypeError(
            "example must be a tuple (prediction, target) or (pred_batch, gt_batch), got "
            f"{type(example).__name__}."
        )
    for name, part in zip(("prediction", "target"), example, strict=True):
        if not tensors_in(part):
            kind = "mapping without tensors" if isinstance(part, Mapping) else type(part).__name__
            raise TypeError(
                f"The example's {name} must be a tensor or a mapping of tensors, got a {kind}."
            )
    return Example.given(*example, *keys_of(loss))


def _name_of(loss: Any) -> str:
    inner = loss.loss if isinstance(loss, Criterion) else loss
    function_name = getattr(inner, "__name__", None)
    kind = type(inner).__name__
    name = getattr(inner, "name", None)
    if isinstance(function_name, str):
        return function_name
    return f"{kind} {name!r}" if isinstance(name, str) and name != kind else kind
