"""The search for an example that a loss takes, if the caller gives none.

A loss does not say which batches it takes, so forms are tried in a fixed order. The first with a
finite value and a gradient other than 0 is used. No two sizes of an example are equal, so that
tensors that do not belong together fail instead of being broadcast.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segloss.losses.compound_loss import CompoundLoss
from segloss.losses.loss import Loss
from segloss.losses.loss_wrapper import LossWrapper
from segloss.losses.multi_loss import MultiLoss
from segloss.tools.check.example import Example
from segloss.tools.check.frame_field_example import (
    needs_fields,
    takes_masks_as_probabilities,
    with_fields,
)
from segloss.tools.check.loss_under_test import LossUnderTest, first_line, parts_of
from segloss.tools.check.nested_batches import described

SPATIAL = (24, 20)
"""The spatial size of examples."""

TARGETS = (
    "label map",
    "masks",
    "label map with a channel axis",
    "integer masks",
    "float label map with a channel axis",
)
"""Targets in the order of the trials for several channels; for one channel, masks come first."""

_SAMPLES = 4
_LARGE_SAMPLES = 2
LARGE_PIXELS = 2**18
"""Pixels per sample in a large example: 512 x 512."""


class NoExampleError(ValueError):
    """The loss takes none of the forms that were tried."""


@dataclass(frozen=True)
class Form:
    """The kind of batch that a loss takes.

    Attributes:
        channels: The number of channels of the predictions.
        from_logits: True if predictions are logits, False if they are probabilities.
        target: One of `TARGETS`.
        batched: True if predictions and targets are in mappings.
        exclusive: True if probabilities add up to 1 over the channels.
    """

    channels: int
    from_logits: bool
    target: str
    batched: bool
    exclusive: bool

    def __str__(self) -> str:
        kind = "logits" if self.from_logits else "probabilities"
        sums = "" if self.from_logits or not self.exclusive else " that add up to 1"
        container = " in mappings" if self.batched else ""
        return f"{kind} of {self.channels} channel(s){sums}, {self.target}{container}"

    def example(self, spatial: Sequence[int], loss: Any, samples: int = _SAMPLES) -> Example:
        """Returns a batch of this form; each sample has a different share of foreground."""
        generator = torch.Generator().manual_seed(0)
        shape = (samples, self.channels, *spatial)
        logits = torch.randn(shape, generator=generator)
        classes = max(self.channels, 2)
        noise = torch.rand((samples, *spatial), generator=generator)
        share = torch.linspace(0.7, 1.2, samples).reshape(-1, *[1] * len(spatial))
        labels = (noise * share * classes).long().clamp(0, classes - 1)
        device = _device(loss)
        pred = self._prediction(logits).to(device)
        target = self.target_of(labels).to(device)
        example = Example(
            pred,
            target,
            f"generated: {self}; prediction {described(pred)}, target {described(target)}",
        )
        example = replace(example, watched=(True,))
        return _in_mappings(example, loss) if self.batched else example

    def _prediction(self, logits: Tensor) -> Tensor:
        if self.from_logits:
            return logits
        return logits.softmax(1) if self.exclusive else logits.sigmoid()

    def target_of(self, labels: Tensor) -> Tensor:
        """Returns a label map (N, *spatial) as the target of this form."""
        if self.target == "label map":
            return labels
        if self.target == "label map with a channel axis":
            return labels.unsqueeze(1)
        if self.target == "float label map with a channel axis":
            return labels.unsqueeze(1).float()
        masks = labels.unsqueeze(1)
        if self.channels > 1:
            masks = F.one_hot(labels, self.channels).movedim(-1, 1).contiguous()
        return masks if self.target == "integer masks" else masks.float()


def find_example(loss: Any, n_classes: int | None, spatial: Sequence[int]) -> Example:
    """Returns the first example in the order of `forms` that the loss takes.

    Raises:
        NoExampleError: It takes none; the message has the errors.
    """
    form = find_form(loss, forms(loss, channels_of(loss, n_classes)), spatial)
    make_large = _LargeExample(form, tuple(spatial), loss)
    return replace(form.example(spatial, loss), make_large=make_large)


def find_form(loss: Any, candidates: Iterable[Form], spatial: Sequence[int]) -> Form:
    """Returns the first form that the loss takes.

    Raises:
        NoExampleError: It takes none; the message has the errors.
    """
    errors: dict[str, list[str]] = {}
    zero_gradient: Form | None = None
    for form in candidates:
        example = form.example(spatial, loss)
        try:
            outcome = LossUnderTest(loss, example).fresh().differentiate(example)
        except Exception as error:  # any error means that the loss does not take this form
            errors.setdefault(first_line(error), []).append(str(form))
            continue
        if outcome.is_finite and bool(outcome.flat().any()):
            return form
        zero_gradient = form if zero_gradient is None else zero_gradient
    if zero_gradient is not None:
        return zero_gradient
    raise NoExampleError(
        "; ".join(f"{error} ({_several(tried)})" for error, tried in errors.items())
    )


def forms(loss: Any, channel_counts: Sequence[int]) -> Iterator[Form]:
    """Yields the forms to try, by container, channels, kind of prediction and kind of target."""
    batched = (True, False) if isinstance(loss, (Loss, MultiLoss)) else (False, True)
    kinds = ((True, False), (False, True), (False, False))
    if takes_masks_as_probabilities(loss):
        kinds = kinds[::-1]
    # If a loss selects one of several channels, a mask would pass as a label map too.
    several = (TARGETS[2], *TARGETS) if _selects_label_map(loss) else TARGETS
    for in_mappings, channels in itertools.product(batched, channel_counts):
        targets = several if channels > 1 else (TARGETS[1], TARGETS[3], *TARGETS[:1])
        for (from_logits, exclusive), target in itertools.product(kinds, targets):
            if channels > 1 or not exclusive:
                yield Form(channels, from_logits, target, in_mappings, exclusive)


def channels_of(loss: Any, n_classes: int | None) -> list[int]:
    """Returns the numbers of channels to try."""
    parts = parts_of(loss)
    if n_classes is None:
        modes = {getattr(part, "mode", None) for part in parts}
        if modes & {"multiclass", "multilabel"}:
            return [3]
        counts = {getattr(part, "n_classes", None) for part in parts} - {None}
        counts |= {len(part.weight) for part in parts if _has_class_weights(part)}
        n_classes = counts.pop() if len(counts) == 1 else None
    if not isinstance(n_classes, int):
        return [1, 3]
    if needs_fields(loss):
        return [2, 3]
    return [1, 2] if n_classes <= 2 else [n_classes]


def _selects_label_map(loss: Any) -> bool:
    """Returns whether the loss selects one channel of the target and drops the channel axis."""
    selectors = [getattr(part, "gt_channels", None) for part in parts_of(loss)]
    return any(isinstance(getattr(selector, "index", None), int) for selector in selectors)


def _has_class_weights(part: Any) -> bool:
    """Returns whether a part is a PyTorch loss with class weights."""
    return isinstance(part, (nn.CrossEntropyLoss, nn.NLLLoss)) and part.weight is not None


@dataclass(frozen=True)
class _LargeExample:
    """A function that returns an example with many pixels."""

    form: Form
    spatial: tuple[int, ...]
    loss: Any

    def __call__(self) -> Example:
        growth = LARGE_PIXELS / math.prod(self.spatial)
        factor = max(1, round(growth ** (1 / len(self.spatial))))
        spatial = [length * factor for length in self.spatial]
        return self.form.example(spatial, self.loss, _LARGE_SAMPLES)

    def __deepcopy__(self, memo: Any) -> _LargeExample:
        return self


def _in_mappings(example: Example, loss: Any) -> Example:
    """Returns the example under the keys that the loss names, with the maps that it needs."""
    pred_key, gt_key = keys_of(loss)
    gt = {gt_key: example.gt}
    for name in map_keys(loss):
        gt[name] = _example_map(name, loss, example)
    example = replace(
        example, pred={pred_key: example.pred}, gt=gt, pred_key=pred_key, gt_key=gt_key
    )
    return with_fields(example, loss) if needs_fields(loss) else example


def _example_map(name: str, loss: Any, example: Example) -> Tensor:
    """Returns a map with values from -1 to 1, or with the ids of up to three components."""
    shape = example.pred.shape
    if name not in component_keys(loss):
        return 2 * torch.rand(shape, device=example.device) - 1
    ids = torch.randint(0, 4, shape, device=example.device)
    return ids.to(torch.uint8)  # a GPU need not wait for their greatest


def keys_of(loss: Any) -> tuple[str, str]:
    """Returns the keys of predictions and targets, from the loss or else the package's own."""
    keys = {"pred_key": "seg", "gt_key": "gt_polygons_image"}
    for part in reversed(parts_of(loss)):
        for name in keys:
            named = getattr(part, name, None)
            keys[name] = named if isinstance(named, str) else keys[name]
    return keys["pred_key"], keys["gt_key"]


def map_keys(loss: Any) -> list[str]:
    """Returns the keys of the maps that terms of this package need beside the target."""
    return [key for part in parts_of(loss) for key in getattr(part, "map_keys", ())]


def component_keys(loss: Any) -> set[str]:
    """Returns the keys of the maps of components among `map_keys`."""
    keys = (getattr(part, "group_key", None) for part in parts_of(loss))
    return {key for key in keys if isinstance(key, str)}


def with_maps(loss: Any) -> Any:
    """Wraps a loss whose terms need maps, so that it takes them from batches."""
    return LossWrapper(loss) if isinstance(loss, CompoundLoss) and map_keys(loss) else loss


def _device(loss: Any) -> torch.device:
    """Returns the device of the loss's tensors."""
    for part in parts_of(loss):
        if isinstance(part, torch.nn.Module):
            for tensor in itertools.chain(part.parameters(), part.buffers()):
                return tensor.device
    return torch.device("cpu")


def _several(tried: Sequence[str]) -> str:
    more = len(tried) - 1
    return f"for {tried[0]}" + (f" and {more} more" if more else "")
