"""A data set in one file, and its training batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

VOID = 255
"""The label of pixels that do not count."""

PARTS = ("training", "validation", "test")
"""The parts of a split; the number of a part is its index."""

Batch = dict[str, Tensor]


@dataclass
class Dataset:
    """Images of one size with their labels.

    Attributes:
        name: The name of the data set.
        images: (N, channels, H, W), in [-1, 1].
        labels: (N, H, W), classes or `VOID`.
        split: (N,), the index of each image's part in `PARTS`.
    """

    name: str
    images: Tensor
    labels: Tensor
    split: Tensor

    @classmethod
    def load(cls, path: Path) -> Dataset:
        """Reads an .npz file: `image` (N, H, W, channels), `label` (N, H, W) and `split` (N,)."""
        arrays = np.load(path)
        images = torch.from_numpy(arrays["image"]).movedim(-1, 1).float() / 127.5 - 1
        labels, split = torch.from_numpy(arrays["label"]), torch.from_numpy(arrays["split"])
        return cls(path.stem, images, labels, split)

    @property
    def n_classes(self) -> int:
        """The number of classes, with the background."""
        return int(self.labels[self.labels != VOID].max()) + 1

    @property
    def shares(self) -> list[float]:
        """The share of each class in the training pixels that count."""
        labels = self.part("training")[1]
        counts = torch.bincount(labels[labels != VOID].long(), minlength=self.n_classes)
        shares: list[float] = (counts / counts.sum()).tolist()
        return shares

    @property
    def rarest(self) -> int:
        """The class with the smallest share of the training pixels."""
        return int(np.argmin(self.shares))

    def part(self, part: str) -> tuple[Tensor, Tensor]:
        """Returns the images and labels of a part."""
        chosen = self.split == PARTS.index(part)
        return self.images[chosen], self.labels[chosen]

    def batches(
        self, steps: int, batch_size: int, crop: int, seed: int, transforms: Sequence[Any] = ()
    ) -> Iterator[Batch]:
        """Yields crops of training images, flipped and turned at random.

        They depend only on the seed.

        Args:
            steps: The number of batches.
            batch_size: The number of images in a batch.
            crop: The side of the crops in pixels, at most the shorter side of the images.
            seed: The seed.
            transforms: Transforms of `segloss.maps` with the mask under `gt_polygons_image`.
        """
        images, labels = self.part("training")
        generator = torch.Generator().manual_seed(seed)
        order = torch.empty(0, dtype=torch.long)
        for _ in range(steps):
            while len(order) < batch_size:
                order = torch.cat([order, torch.randperm(len(images), generator=generator)])
            chosen, order = order[:batch_size], order[batch_size:]
            samples = [
                _sample(images[i], labels[i], crop, generator, transforms) for i in chosen.tolist()
            ]
            yield {key: torch.stack([sample[key] for sample in samples]) for key in samples[0]}


def _sample(
    image: Tensor, labels: Tensor, crop: int, generator: torch.Generator, transforms: Sequence[Any]
) -> Batch:
    def chance(options: int) -> int:
        return int(torch.randint(0, options, (), generator=generator))

    side = min(crop, *labels.shape)
    for axis in (-2, -1):
        start = chance(labels.shape[axis] - side + 1)
        image, labels = (each.narrow(axis, start, side) for each in (image, labels))
    turns, flip = chance(4), chance(2)
    image, labels = (each.rot90(turns, (-2, -1)) for each in (image, labels))
    if flip:
        image, labels = image.flip(-1), labels.flip(-1)
    sample = {"image": image, "gt_polygons_image": labels.contiguous()}
    for transform in transforms:
        sample = transform(**sample)
    return sample
