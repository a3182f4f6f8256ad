"""The predictions that a loss requires by its arguments: how many channels, and logits or not.

Many losses compute something from any tensor, such as from logits where they need probabilities.
So their arguments count beside what they accept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from torch import Tensor, nn

from segloss.losses.deep_supervision import DeepSupervision
from segloss.losses.loss import Criterion
from segloss.losses.loss_wrapper import LossWrapper
from segloss.losses.multi_loss import MultiLoss
from segloss.tools.check.examples.forms import Form
from segloss.tools.check.examples.frame_field_example import needs_fields
from segloss.tools.check.loss_under_test import parts_of

CHANNELS, KIND = "channels", "kind"
"""The aspects of a prediction that requirements are about."""

_LOGIT_LOSSES = (
    nn.BCEWithLogitsLoss,
    nn.CrossEntropyLoss,
    nn.MultiLabelSoftMarginLoss,
    nn.SoftMarginLoss,
)
"""PyTorch's losses of logits."""

_SEVERAL = {"softmax": True, "use_softmax": True, "to_onehot_y": True, "include_background": False}
"""The arguments of MONAI's losses that have no effect on a prediction of one channel."""


_MOST_CLASSES = 1000
"""The most channels to try."""


class Requirement(NamedTuple):
    """A property that predictions must have.

    Attributes:
        aspect: `CHANNELS` or `KIND`.
        takes: The predictions that have it, in words, such as "one channel".
        stated: The argument that says so, such as "mode='binary'".
        holds: A function that returns whether a form has it.
    """

    aspect: str
    takes: str
    stated: str
    holds: Callable[[Form], bool]

    def __str__(self) -> str:
        return f"{self.takes} ({self.stated})"


def requirements_of(loss: Any) -> list[Requirement]:
    """Returns the requirements that the loss states; for a `MultiLoss`, those of its losses."""
    if isinstance(loss, MultiLoss):
        return [each for part in loss.loss_funcs for each in requirements_of(part)]
    function = _unwrapped(loss)
    kinds = list(_kind_requirements(function))
    selects = any(getattr(part, "pred_channels", None) is not None for part in parts_of(loss))
    return kinds if selects else [*_channel_requirements(function), *kinds]


def unmet(requirements: list[Requirement], form: Form) -> str:
    """Returns the requirements that a form does not meet, in words; empty if it meets all."""
    return ", ".join(f"needs {each}" for each in requirements if not each.holds(form))


def channels_of(loss: Any, n_classes: int | None) -> list[int]:
    """Returns the numbers of channels to try, the likeliest first."""
    if n_classes is not None and not needs_fields(loss):
        return [1, 2] if n_classes == 2 else [n_classes]
    parts = parts_of(loss)
    stated = {n_classes} if n_classes is not None else set(_stated_counts(parts))
    if needs_fields(loss):
        return [2, 3] if stated else [1, 3]
    modes = {mode for part in parts if isinstance(mode := getattr(part, "mode", None), str)}
    several = modes & {"multiclass", "multilabel"} or any(map(_several_because, parts))
    usual = [1, 2, 3] if 2 in stated else [1, 3]
    first = [3] if several and "binary" not in modes else []
    others = sorted({count for part in parts for count in _counts_in_arguments(part)})
    return list(dict.fromkeys([*sorted(n for n in stated if n > 2), *first, *usual, *others]))


def _stated_counts(parts: list[Any]) -> Iterator[int]:
    """Yields the numbers of channels that the parts of a loss state, each at least 2."""
    for part in parts:
        for name in ("n_classes", "num_classes"):
            count = getattr(part, name, None)
            if isinstance(count, int) and count >= 2:
                yield count
        for weights in _weights_of_classes(part):
            yield len(weights)
        index = getattr(getattr(part, "pred_channels", None), "index", None)
        yield from (last + 1 for last in _last_channels(index) if last > 0)


def _counts_in_arguments(part: Any) -> Iterator[int]:
    """Yields the numbers of classes for which lists in a part's arguments may be made."""
    mixture = getattr(part, "mixture", None)
    terms = [] if mixture is None else [entry.term for entry in mixture.components]
    for owner in (part, *terms):
        attributes = {**getattr(owner, "__dict__", {}), **getattr(owner, "_buffers", {})}
        for name, value in attributes.items():
            if not name.startswith("_"):
                yield from (n for n in _counts_in(value) if 2 <= n <= _MOST_CLASSES)


def _counts_in(value: Any) -> Iterator[int]:
    """Yields the length of a list of numbers, or the number of classes if it names classes."""
    if isinstance(value, Mapping):
        for each in value.values():
            yield from _counts_in(each)
        return
    numbers = value.tolist() if isinstance(value, Tensor) else value
    if type(numbers) in (list, tuple) and numbers:  # not named tuples, which hold settings
        yield len(numbers)
        if all(isinstance(number, int) for number in numbers):
            yield max(numbers) + 1
        yield from (count for each in numbers for count in _counts_in(each))


def _weights_of_classes(part: Any) -> Iterator[Tensor]:
    """Yields the weights (C,) of several classes that a part has."""
    for name in ("weight", "class_weight", "class_weights", "pos_weight"):
        weights = getattr(part, name, None)
        if isinstance(weights, Tensor) and weights.numel() >= 2:
            yield weights.reshape(-1)


def _last_channels(index: Any) -> Iterator[int]:
    """Yields the last channel that a selector's index needs, if that is known."""
    if isinstance(index, int):
        yield index
    elif isinstance(index, slice) and isinstance(index.stop, int):
        yield index.stop - 1
    elif isinstance(index, list):
        yield len(index) - 1 if isinstance(index[0], bool) else max(index)


def _unwrapped(loss: Any) -> Any:
    """Returns the loss inside of wrappers of this package."""
    while isinstance(loss, (Criterion, DeepSupervision, LossWrapper)):
        loss = loss.loss_func if isinstance(loss, LossWrapper) else loss.loss
    return loss


def _channel_requirements(loss: Any) -> Iterator[Requirement]:
    """Yields what a loss states about the number of channels."""
    count, mode = getattr(loss, "n_classes", None), getattr(loss, "mode", None)
    if isinstance(count, int) and count > 2:
        yield _of_count(count, f"n_classes={count}")
    if isinstance(loss, (nn.CrossEntropyLoss, nn.NLLLoss)) and loss.weight is not None:
        yield _of_count(len(loss.weight), f"a weight of {len(loss.weight)} classes")
    if mode == "binary":
        yield _of_count(1, "mode='binary'")
    if mode == "multiclass":
        yield _of_several("mode='multiclass'")
    for reason in filter(None, map(_several_because, parts_of(loss))):
        yield _of_several(reason)


def _of_count(count: int, stated: str) -> Requirement:
    takes = f"{count} channels" if count > 1 else "one channel"
    return Requirement(CHANNELS, takes, stated, lambda form: form.channels == count)


def _of_several(stated: str) -> Requirement:
    return Requirement(CHANNELS, "several channels", stated, lambda form: form.channels > 1)


def _several_because(part: Any) -> str:
    """Returns the argument of a loss of MONAI that makes sense only for several channels."""
    return next((f"{k}={v}" for k, v in _SEVERAL.items() if getattr(part, k, None) is v), "")


def _kind_requirements(loss: Any) -> Iterator[Requirement]:
    """Yields the kind of prediction that a loss states."""
    flags = [getattr(loss, name, None) for name in ("sigmoid", "softmax")]
    for owner in (loss, getattr(loss, "options", None)):
        if isinstance(from_logits := getattr(owner, "from_logits", None), bool):
            yield _of_kind(from_logits, f"from_logits={from_logits}")
            return
    if all(isinstance(flag, bool) for flag in flags):  # as MONAI's losses have them
        if any(flags):
            yield _of_kind(True, "sigmoid=True" if flags[0] else "softmax=True")
        elif getattr(loss, "other_act", None) is None:
            yield _of_kind(False, "sigmoid=False, softmax=False")
    elif isinstance(loss, _LOGIT_LOSSES) or "WithLogits" in type(loss).__name__:
        yield _of_kind(True, type(loss).__name__)
    elif isinstance(loss, nn.BCELoss):
        yield _of_kind(False, "BCELoss")


def _of_kind(from_logits: bool, stated: str) -> Requirement:
    takes = "logits" if from_logits else "probabilities"
    return Requirement(KIND, takes, stated, lambda form: form.from_logits == from_logits)
