"""Diagnosis of signed distances that do not fit the target: no single value gives them away."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from segloss.batch.diagnosis import FEW_SAMPLES, LEAST_VALUES, Finding, WarnsOnce
from segloss.batch.pixel_batch import PixelBatch
from segloss.foundation.tracing import is_traced
from segloss.terms import Boundary, Mixture

_STRANGE_SHARE = 0.1
"""The mean distance inside a class, as a share of that outside, from which it is strange.

It should be negative. In a map that was resized, thin structures have small positive ones.
"""


class DistanceTally:
    """The mean distances inside and outside of each class, in the maps of boundary terms.

    Attributes:
        samples: The samples that were counted.
    """

    def __init__(self) -> None:
        self.samples = 0
        self._sums: dict[tuple[str, int], list[float]] = {}

    def add(self, mixtures: Iterable[Mixture], pixels: PixelBatch) -> None:
        """Counts a batch that the checks have passed; waits for an accelerator."""
        terms = [entry.term for mixture in mixtures for entry in mixture.components]
        for term in terms:
            if isinstance(term, Boundary):
                self._add(term, pixels)
        self.samples += len(pixels.prediction)

    def _add(self, term: Boundary, pixels: PixelBatch) -> None:
        channels = [*(term.region_classes or range(pixels.prediction.shape[1]))]
        sums = [_sums(pixels.maps[term.map_key], pixels, channel) for channel in channels]
        for channel, added in zip(channels, torch.stack(sums).tolist(), strict=True):
            before = self._sums.get((term.map_key, channel), [0.0] * 4)
            self._sums[term.map_key, channel] = [a + b for a, b in zip(before, added, strict=True)]

    @property
    def is_settled(self) -> bool:
        """True if there are enough distances inside every class, or no boundary term."""
        return all(n_inside >= LEAST_VALUES for _, n_inside, *_ in self._sums.values())

    def findings(self) -> list[Finding]:
        """Returns a finding for each map whose signs do not fit the target."""
        found: dict[str, Finding] = {}
        for (key, channel), (inside, n_inside, outside, n_outside) in self._sums.items():
            if n_inside >= LEAST_VALUES:
                text = _about_signs(key, channel, inside / n_inside, outside / max(n_outside, 1))
                if text:
                    found.setdefault(key, Finding(f"map {key}", text))
        return [*found.values()]


class FirstDistances(WarnsOnce):
    """Diagnoses the maps of the first batches, and warns of each finding once.

    On a CPU, `FEW_SAMPLES` are counted at most; on an accelerator, only the first batch is.
    """

    def __init__(self) -> None:
        super().__init__()
        self._tally: DistanceTally | None = DistanceTally()

    def look(self, mixtures: Iterable[Mixture], pixels: PixelBatch, loss: object) -> None:
        """Counts a batch that the checks have passed, and warns if something is strange.

        Args:
            mixtures: The terms.
            pixels: The batch.
            loss: The loss, which warnings name.
        """
        tally = self._tally  # another thread may end it
        if is_traced() or tally is None or pixels.prediction.is_meta:
            return
        tally.add(mixtures, pixels)
        self.warn(tally.findings(), loss)
        is_enough = tally.is_settled or tally.samples >= FEW_SAMPLES
        if is_enough or not pixels.prediction.is_cpu:
            self._tally = None


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


def _about_signs(name: str, channel: int, inside: float, outside: float) -> str:
    """Returns the finding about mean distances inside and outside a class, or an empty text."""
    if inside <= max(_STRANGE_SHARE * outside, 0):
        return ""
    remedy = (
        "compute it with segloss.maps.SignedDistanceMap, after the augmentation, from the mask "
        "that the loss gets"
    )
    return (
        f"Signed distances are negative inside their class, but those of {name!r} are "
        f"{inside:.3g} on average inside class {channel}, and {outside:.3g} outside: "
        f"{'pass its negative' if outside < 0 else remedy}."
    )
