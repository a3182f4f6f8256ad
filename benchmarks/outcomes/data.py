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

TRAIN, VALIDATION, TEST = 0, 1, 2
"""The parts of a split."""

Batch = dict[str, Tensor]


@dataclass
class Dataset:
    """Images of one size with their labels.

    Attributes:
        name: The name of the data set.
        images: (N, channels, H, W), in [-1, 1].
        labels: (N, H, W), classes or `VOID`.
        split: (N,), the part of each image.
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

    def part(self, part: int) -> tuple[Tensor, Tensor]:
        """Returns the images and labels of a part."""
        chosen = self.split == part
        return self.images[chosen], self.labels[chosen]

    def batches(
        self, steps: int, batch_size: int, seed: int, transforms: Sequence[Any] = ()
    ) -> Iterator[Batch]:
        """Yields training batches, flipped and turned by chance; they depend on the seed alone.

        Args:
            steps: The number of batches.
            batch_size: The number of images in a batch.
            seed: The seed.
            transforms: Transforms of `segloss.maps` with the mask under `gt_polygons_image`.
        """
        images, labels = self.part(TRAIN)
        generator = torch.Generator().manual_seed(seed)
        order = torch.empty(0, dtype=torch.long)
        for _ in range(steps):
            while len(order) < batch_size:
                order = torch.cat([order, torch.randperm(len(images), generator=generator)])
            chosen, order = order[:batch_size], order[batch_size:]
            samples = [
                _sample(images[i], labels[i], generator, transforms) for i in chosen.tolist()
            ]
            yield {key: torch.stack([sample[key] for sample in samples]) for key in samples[0]}


def _sample(
    image: Tensor, labels: Tensor, generator: torch.Generator, transforms: Sequence[Any]
) -> Batch:
    turns, flip = torch.randint(0, 4, (), generator=generator), torch.rand((), generator=generator)
    image, labels = (each.rot90(int(turns), (-2, -1)) for each in (image, labels))
    if flip < 0.5:
        image, labels = image.flip(-1), labels.flip(-1)
    sample = {"image": image, "gt_polygons_image": labels.contiguous()}
    for transform in transforms:
        sample = transform(**sample)
    return sample
