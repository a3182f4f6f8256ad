"""Diagnosis of signed distances that do not fit the target: no single value gives them away."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from segloss.batch.diagnosis import LEAST_VALUES, Finding
from segloss.batch.pixel_batch import PixelBatch
from segloss.terms import Boundary, Mixture

_STRANGE_SHARE = 0.1
"""The mean distance inside a class, as a share of that outside, from which it is strange.

It should be negative. In a map that was resized, thin structures have small positive ones.
"""


def misfits(mixtures: Iterable[Mixture], pixels: PixelBatch) -> list[Finding]:
    """Returns findings about maps of boundary terms whose signs do not fit the target.

    Args:
        mixtures: The terms.
        pixels: A batch that the checks have passed.
    """
    if pixels.prediction.is_meta:
        return []
    terms = [entry.term for mixture in mixtures for entry in mixture.components]
    boundaries = [term for term in terms if isinstance(term, Boundary)]
    texts = {each.map_key: _about_signs(each, pixels) for each in boundaries}
    return [Finding(f"map {key}", text) for key, text in texts.items() if text]


def _about_signs(term: Boundary, pixels: PixelBatch) -> str:
    """Returns the finding about the map of a term, or an empty text."""
    channels = [*(term.region_classes or range(pixels.prediction.shape[1]))]
    sums = torch.stack([_sums(pixels.maps[term.map_key], pixels, each) for each in channels])
    for channel, (inside, n_inside, outside, n_outside) in zip(
        channels, sums.tolist(), strict=True
    ):
        if min(n_inside, n_outside) < LEAST_VALUES:
            continue
        means = inside / n_inside, outside / n_outside
        if means[0] > max(_STRANGE_SHARE * means[1], 0):
            return _text(term.map_key, channel, *means)
    return ""


def _sums(distances: Tensor, pixels: PixelBatch, channel: int) -> Tensor:
    """Returns the sum and the number of a class's distances inside it, and outside, (4,).

    Pixels that do not count are left out, and distances of 0: absent classes have no others.
    """
    values, valid = distances[:, channel].float(), pixels.valid()
    counts = values != 0
    if valid is not None:
        counts = counts & valid[:, channel % valid.shape[1]]
    is_inside = _is_inside(pixels, channel)
    inside, outside = counts & is_inside, counts & ~is_inside
    parts = [each for mask in (inside, outside) for each in (values.where(mask, 0), mask)]
    return torch.stack([part.sum(dtype=torch.float32) for part in parts])


def _is_inside(pixels: PixelBatch, channel: int) -> Tensor:
    """Returns a mask of a channel's class, (N, P)."""
    if pixels.is_label_map:
        return pixels.target == channel
    return pixels.target[:, channel] > 0.5


def _text(name: str, channel: int, inside: float, outside: float) -> str:
    remedy = (
        "compute it with segloss.maps.SignedDistanceMap, after the augmentation, from the mask "
        "that the loss gets"
    )
    return (
        f"Signed distances are negative inside their class, but those of {name!r} are "
        f"{inside:.3g} on average inside class {channel}, and {outside:.3g} outside: "
        f"{'pass its negative' if outside < 0 else remedy}."
    )
