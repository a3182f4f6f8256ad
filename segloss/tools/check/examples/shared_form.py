"""The form of a batch on which all losses of a `MultiLoss` agree.

Losses with the same `pred_key` see one prediction, and losses with the same `gt_key` one target.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

from segloss.losses.loss import Loss
from segloss.losses.multi_loss import MultiLoss
from segloss.tools.check.examples.example import Example
from segloss.tools.check.examples.example_search import NoExampleError, accepted_forms
from segloss.tools.check.examples.forms import SAMPLES, Form, LargeExample, forms, keys_of
from segloss.tools.check.examples.requirements import CHANNELS, KIND, requirements_of
from segloss.tools.check.loss_under_test import preserved

TARGET = "target"


class NoSharedFormError(NoExampleError):
    """Losses can't see one prediction and one target."""


@dataclass(frozen=True)
class SharedForm:
    """The forms of the losses of a `MultiLoss`, which fit together.

    Attributes:
        losses: The losses by name, each with the pre-processes.
        forms: The form of each loss that takes one.
        refusals: The reason of each loss that takes none.
    """

    losses: Mapping[str, Any]
    forms: Mapping[str, Form]
    refusals: Mapping[str, str]

    def example(self, name: str, spatial: Sequence[int], samples: int = SAMPLES) -> Example:
        """Returns the batch for all losses, with the prediction and the target of a loss."""
        parts = {
            each: form.example(spatial, self.losses[each], samples)
            for each, form in self.forms.items()
        }
        pred = {key: tensor for part in parts.values() for key, tensor in part.pred.items()}
        gt = {key: tensor for part in parts.values() for key, tensor in part.gt.items()}
        return replace(
            parts[name],
            pred=pred,
            gt=gt,
            watched=(True,) * len(pred),
            all_watched=len(pred) == 1,
            make_large=LargeExample(partial(self.example, name), tuple(spatial)),
        )


def find_shared_form(
    multi_loss: MultiLoss, channel_counts: Sequence[int], spatial: Sequence[int]
) -> SharedForm:
    """Returns the forms of the losses of a `MultiLoss`.

    Args:
        multi_loss: The losses.
        channel_counts: The numbers of channels to try.
        spatial: The spatial size of the batches that are tried.

    Raises:
        NoSharedFormError: Losses can't see one prediction and one target.
    """
    losses = members_of(multi_loss)
    candidates = [form for form in forms(multi_loss, channel_counts) if form.batched]
    viewers: list[_Viewer] = []
    refusals: dict[str, str] = {}
    for name, loss in losses.items():
        try:
            with preserved(loss):
                taken = list(accepted_forms(loss, candidates, spatial))
            viewers.append(_Viewer(name, loss, *keys_of(loss), taken))
        except NoExampleError as error:
            refusals[name] = str(error)
    chosen = _choose(viewers, [])
    if chosen is None:
        raise NoSharedFormError(_disagreement(viewers))
    names = [viewer.name for viewer in viewers]
    return SharedForm(losses, dict(zip(names, chosen, strict=True)), refusals)


def members_of(multi_loss: MultiLoss) -> dict[str, Any]:
    """Returns the losses by name; with pre-processes, each in a `MultiLoss` of its own."""
    losses = [loss for loss in multi_loss.loss_funcs if isinstance(loss, Loss)]
    processes = multi_loss.pre_processes
    return {
        loss.name: MultiLoss([loss], [1.0], pre_processes=processes) if processes else loss
        for loss in losses
    }


class _Viewer(NamedTuple):
    """A loss, the keys of its prediction and its target, and the forms that it takes."""

    name: str
    loss: Any
    pred_key: str
    gt_key: str
    forms: Sequence[Form]

    def shares(self, other: _Viewer) -> list[str]:
        """Returns the aspects of a form in which this loss and another one must agree."""
        prediction, target = self.pred_key == other.pred_key, self.gt_key == other.gt_key
        shared = {CHANNELS: prediction or target, KIND: prediction, TARGET: target}
        return [aspect for aspect, is_shared in shared.items() if is_shared]

    def takes(self, aspect: str) -> str:
        """Returns what this loss takes, by its arguments or else by the forms, in words."""
        stated = [str(each) for each in requirements_of(self.loss) if each.aspect == aspect]
        found = stated or [_WORDS[aspect](form) for form in self.forms]
        text = f"{self.name!r} takes {' or '.join(dict.fromkeys(found))}"
        return f"{text} as the target" if aspect == TARGET else text


_VIEWS: Mapping[str, Callable[[Form], Any]] = {
    CHANNELS: lambda form: form.channels,
    KIND: lambda form: (form.from_logits, form.exclusive),
    TARGET: lambda form: form.target,
}
_WORDS: Mapping[str, Callable[[Form], str]] = {
    CHANNELS: lambda form: f"{form.channels} channel(s)",
    KIND: lambda form: form.kind,
    TARGET: lambda form: form.target,
}
_REMEDIES = {
    CHANNELS: "Give them the same n_classes, mode and class weights, or channels of their own "
    "(pred_channel_selector), or predictions of their own (pred_key).",
    KIND: "Let all of them take logits: from_logits=True, or for a loss of MONAI sigmoid=True or "
    "softmax=True.",
    TARGET: "Give them the same mode (for a loss of MONAI, to_onehot_y=True for label maps), or "
    "targets of their own (gt_key). gt_channel_selector=0 removes the channel axis of a label map.",
}


def _choose(viewers: Sequence[_Viewer], chosen: list[Form]) -> list[Form] | None:
    """Returns a form for each loss, after those chosen so far; None if no forms fit together."""
    if len(chosen) == len(viewers):
        return chosen
    viewer = viewers[len(chosen)]
    earlier = list(zip(viewers, chosen, strict=False))
    for form in viewer.forms:
        if all(_fit(form, other, viewer.shares(seen)) for seen, other in earlier):
            complete = _choose(viewers, [*chosen, form])
            if complete is not None:
                return complete
    return None


def _fit(form: Form, other: Form, aspects: Sequence[str]) -> bool:
    return all(_VIEWS[aspect](form) == _VIEWS[aspect](other) for aspect in aspects)


def _disagreement(viewers: Sequence[_Viewer]) -> str:
    """Returns the reason why losses can't see one batch, and the remedy."""
    start = "The losses can't see one prediction and one target"
    for one, other in itertools.combinations(viewers, 2):
        for aspect in one.shares(other):
            views = [set(map(_VIEWS[aspect], viewer.forms)) for viewer in (one, other)]
            if views[0].isdisjoint(views[1]):
                reason = f"{one.takes(aspect)}, and {other.takes(aspect)}"
                return f"{start}: {reason}. {_REMEDIES[aspect]}"
    first = "; ".join(
        f"{viewer.name!r} takes {replace(viewer.forms[0], batched=False)}" for viewer in viewers
    )
    return f"{start}: {first}. Give them the same number of classes, mode and from_logits."
