"""One recipe for all losses: a small U-Net, and the same batches for the same seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from monai.networks.nets import BasicUNet
from torch import Tensor, nn
from torch.nn.functional import pad

from outcomes.data import Dataset
from outcomes.losses import Contender
from outcomes.scores import scores


@dataclass(frozen=True)
class Settings:
    """The settings that all runs share.

    Attributes:
        steps: The number of steps.
        batch_size: The number of images in a batch.
        crop: The side of training crops, in pixels.
        learning_rate: The greatest learning rate; it falls to 0 along a cosine.
        features: The channels of the U-Net's stages, and of its last one. Its first stage has half
            the resolution of the images: a pixel of it is a square of four.
    """

    steps: int = 1000
    batch_size: int = 8
    crop: int = 128
    learning_rate: float = 5e-3
    features: tuple[int, ...] = (16, 16, 32, 64, 64, 16)


def train_and_test(
    dataset: Dataset, contender: Contender, seed: int, settings: Settings
) -> dict[str, Any]:
    """Trains a network, and returns its scores on the validation and the test images.

    Args:
        dataset: The data.
        contender: The loss.
        seed: The seed of the network's weights and of the batches.
        settings: The settings of the training.
    """
    torch.manual_seed(seed)
    channels = max(contender.channels, 2)  # all losses of a seed draw the same weights
    network: nn.Module = nn.Sequential(
        nn.PixelUnshuffle(2),
        BasicUNet(
            2,
            4 * dataset.images.shape[1],
            4 * channels,
            settings.features,
            dropout=0.0,
            norm="batch",
        ),
        nn.PixelShuffle(2),
    )
    if contender.channels == 1:
        network = _Foreground(network)
    train(network, contender, dataset, seed, settings)
    return {part: test(network, dataset, part) for part in ("validation", "test")}


class _Foreground(nn.Module):
    """A network of one channel, with the weights of the second of two."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images)
        return logits[:, 1:]


def train(
    network: nn.Module, contender: Contender, dataset: Dataset, seed: int, settings: Settings
) -> None:
    """Trains a network."""
    optimizer = torch.optim.AdamW(network.parameters(), settings.learning_rate)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.steps)
    batches = dataset.batches(
        settings.steps, settings.batch_size, settings.crop, seed, contender.transforms
    )
    for step, batch in enumerate(batches):
        loss = contender.loss(network(batch["image"]), batch, step / settings.steps)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        decay.step()


@torch.no_grad()
def test(network: nn.Module, dataset: Dataset, part: str) -> dict[str, Any]:
    """Returns the scores of a network on a part of the data."""
    images, labels = dataset.part(part)
    network.eval()
    predicted = torch.cat([_classes(network, chunk) for chunk in images.split(8)])
    return scores([*predicted.numpy()], [*labels.numpy()], dataset.n_classes)


def _classes(network: nn.Module, images: Tensor) -> Tensor:
    """Returns the likeliest class of each pixel; sides grow to multiples of 32 on the way."""
    height, width = images.shape[-2:]
    padded = pad(images, (0, -width % 32, 0, -height % 32), "replicate")
    logits: Tensor = network(padded)[..., :height, :width]
    return (logits[:, 0] > 0).long() if logits.shape[1] == 1 else logits.argmax(1)
