"""Images of discs and squares on noise, for small examples."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.data import Dataset

CLASSES = 3
"""Background, disc, square."""


class Shapes(Dataset[dict[str, Tensor]]):
    """Images with a disc and a square at random places, the square in front.

    Args:
        samples: The number of images.
        side: Height and width of an image, in pixels.
        image_key: The key of the image, (3, side, side).
        label_key: The key of the label map, (side, side).
    """

    def __init__(self, samples: int, side: int, image_key: str, label_key: str) -> None:
        self.samples = samples
        self.side = side
        self.image_key = image_key
        self.label_key = label_key

    def __len__(self) -> int:
        return self.samples

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        if not 0 <= index < self.samples:
            raise IndexError(f"index must be from 0 to {self.samples - 1}, got {index}.")
        labels = draw(self.side, torch.Generator().manual_seed(index))
        colours = torch.eye(CLASSES)[labels].permute(2, 0, 1)
        noise = torch.randn(colours.shape, generator=torch.Generator().manual_seed(index))
        return {self.image_key: colours + 0.5 * noise, self.label_key: labels}


def draw(side: int, generator: torch.Generator) -> Tensor:
    """Returns a label map with a disc and a square, with random sizes and places."""
    numbers = torch.rand(6, generator=generator)
    radii = side * (0.1 + 0.15 * numbers[:2])
    (disc_y, disc_x), (square_y, square_x) = (side * numbers[2:]).split(2)
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    labels = torch.zeros(side, side, dtype=torch.long)
    labels[(y - disc_y) ** 2 + (x - disc_x) ** 2 < radii[0] ** 2] = 1
    labels[((y - square_y).abs() < radii[1]) & ((x - square_x).abs() < radii[1])] = 2
    return labels
