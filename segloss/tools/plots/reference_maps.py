"""The maps of the reference shape that terms need beside the target, one for each channel."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from segloss.losses.standalone.hausdorff import HausdorffDistanceLoss
from segloss.maps import ComponentMap, DistanceMap, MaskMap, SignedDistanceMap, SkeletonMap
from segloss.terms.boundary import Boundary
from segloss.terms.skeleton_recall import SkeletonRecall
from segloss.tools.check.examples.example_search import NoExampleError
from segloss.tools.check.examples.forms import component_keys, map_keys
from segloss.tools.check.loss_under_test import parts_of

Transform = Callable[..., MaskMap]
"""A class of maps."""

TERM_TRANSFORMS: dict[type[Boundary | SkeletonRecall], Transform] = {
    Boundary: SignedDistanceMap,
    SkeletonRecall: SkeletonMap,
}
"""The transforms that make the maps of terms."""


def maps_of(loss: Any, masks: Tensor, *, exclusive: bool) -> dict[str, Tensor]:
    """Returns the maps that a loss needs, each (1, C, H, W).

    Args:
        loss: The loss.
        masks: The mask of each channel, (1, C, H, W), int64.
        exclusive: True if the channels are classes, and each pixel has one.

    Raises:
        NoExampleError: The loss needs a map that no transform here makes.
    """
    transforms = dict(_transforms_of(loss))
    unknown = [key for key in map_keys(loss) if key not in transforms]
    if unknown:
        raise NoExampleError(f"it needs maps that can't be made here: {', '.join(unknown)}")
    of_masks = _of_classes if exclusive else _of_channels
    return {key: of_masks(transforms[key], masks) for key in map_keys(loss)}


def _transforms_of(loss: Any) -> Iterator[tuple[str, Transform]]:
    """Yields the key of each map that a loss needs, and its transform."""
    for part in parts_of(loss):
        if isinstance(part, HausdorffDistanceLoss):
            yield from ((key, DistanceMap) for key in part.map_keys)
        mixture = getattr(part, "mixture", None)
        for entry in () if mixture is None else mixture.components:
            for kind, transform in TERM_TRANSFORMS.items():
                if isinstance(entry.term, kind):
                    yield entry.term.map_key, transform
    yield from ((key, ComponentMap) for key in component_keys(loss))


def _of_classes(transform: Transform, masks: Tensor) -> Tensor:
    """Returns the maps of classes, which the transform makes from their label map."""
    channels = masks.shape[1]
    make = transform(max(channels, 3), out_key="map")  # of two classes it makes one map
    maps: Tensor = make(mask=masks.argmax(1)[0])["map"]
    return maps[None, :channels]


def _of_channels(transform: Transform, masks: Tensor) -> Tensor:
    """Returns the maps of channels, each of which has a foreground of its own."""
    make = transform(2, out_key="map")
    return torch.stack([make(mask=mask)["map"] for mask in masks[0]], 1)
