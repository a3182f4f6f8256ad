"""The forms of a batch that a loss may take, and examples of each form.

No two sizes of an example are equal, so that tensors that do not belong together fail instead of
being broadcast.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from segloss.losses.loss import Loss
from segloss.losses.multi_loss import MultiLoss
from segloss.tools.check.examples.example import Example
from segloss.tools.check.examples.frame_field_example import (
    needs_fields,
    takes_masks_as_probabilities,
    with_fields,
)
from segloss.tools.check.loss_under_test import parts_of
from segloss.tools.check.nested_batches import described

TARGETS = (
    "label map",
    "masks",
    "label map with a channel axis",
    "integer masks",
    "float label map with a channel axis",
    "float mask with a channel axis",
)
"""Targets in the order of the trials for several channels; for one channel, masks come first."""

SAMPLES = 4
_LARGE_SAMPLES = 2
LARGE_PIXELS = 2**18
"""Pixels per sample in a large example: 512 x 512."""


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
        sums = "" if self.from_logits or not self.exclusive else " that add up to 1"
        container = " in mappings" if self.batched else ""
        return f"{self.kind} of {self.channels} channel(s){sums}, {self.target}{container}"

    @property
    def kind(self) -> str:
        """The kind of prediction: "logits" or "probabilities"."""
        return "logits" if self.from_logits else "probabilities"

    def example(self, spatial: Sequence[int], loss: Any, samples: int = SAMPLES) -> Example:
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
        form = f"generated: {self}; prediction {described(pred)}, target {described(target)}"
        example = Example(pred, target, form, watched=(True,))
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
        if self.target == "float mask with a channel axis":
            return (labels > 0).unsqueeze(1).float()
        masks = labels.unsqueeze(1)
        if self.channels > 1:
            masks = F.one_hot(labels, self.channels).movedim(-1, 1).contiguous()
        return masks if self.target == "integer masks" else masks.float()


def forms(loss: Any, channel_counts: Sequence[int]) -> Iterator[Form]:
    """Yields the forms to try, by container, channels, kind of prediction and kind of target."""
    batched = (True, False) if isinstance(loss, (Loss, MultiLoss)) else (False, True)
    kinds = ((True, False), (False, True), (False, False))
    if takes_masks_as_probabilities(loss):
        kinds = kinds[::-1]
    several = _targets_of_several(loss)
    for in_mappings, channels in itertools.product(batched, channel_counts):
        targets = several if channels > 1 else (TARGETS[1], TARGETS[3], *TARGETS[:1])
        for (from_logits, exclusive), target in itertools.product(kinds, targets):
            if channels > 1 or not exclusive:
                yield Form(channels, from_logits, target, in_mappings, exclusive)


def _targets_of_several(loss: Any) -> Sequence[str]:
    """Returns the targets to try for several channels, the likeliest first."""
    if _selects_label_map(loss):  # a mask would pass as a label map too
        return (TARGETS[2], *TARGETS)
    modes = {
        mode for part in parts_of(loss) if isinstance(mode := getattr(part, "mode", None), str)
    }
    masks_first = "multilabel" in modes and "multiclass" not in modes
    return (TARGETS[1], *TARGETS) if masks_first else TARGETS


def _selects_label_map(loss: Any) -> bool:
    """Returns whether the loss selects one channel of the target and drops the channel axis."""
    selectors = [getattr(part, "gt_channels", None) for part in parts_of(loss)]
    return any(isinstance(getattr(selector, "index", None), int) for selector in selectors)


@dataclass(frozen=True)
class LargeExample:
    """A function that returns an example with many pixels.

    Attributes:
        make: A function from a spatial size and a number of samples to an example.
        spatial: The spatial size of the small example.
    """

    make: Callable[[Sequence[int], int], Example]
    spatial: tuple[int, ...]

    def __call__(self) -> Example:
        """Returns the example."""
        growth = LARGE_PIXELS / math.prod(self.spatial)
        factor = max(1, round(growth ** (1 / len(self.spatial))))
        return self.make([length * factor for length in self.spatial], _LARGE_SAMPLES)

    def __deepcopy__(self, memo: Any) -> LargeExample:
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


def _device(loss: Any) -> torch.device:
    """Returns the device of the loss's tensors."""
    for part in parts_of(loss):
        if isinstance(part, torch.nn.Module):
            for tensor in itertools.chain(part.parameters(), part.buffers()):
                return tensor.device
    return torch.device("cpu")
