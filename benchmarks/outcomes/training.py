"""One recipe for all losses: a small U-Net, and the same batches for the same seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from monai.networks.nets import BasicUNet
from torch import Tensor, nn
from tqdm import tqdm

from outcomes.data import TEST, VALIDATION, Dataset
from outcomes.scores import scores
from segloss import Loss, MultiLoss, build_loss, maps


@dataclass(frozen=True)
class Recipe:
    """The settings that all runs share.

    Attributes:
        steps: The number of steps. They count as 100 epochs in the schedules of losses.
        batch_size: The number of images in a batch.
        learning_rate: The greatest learning rate; it falls to 0 along a cosine.
        features: The channels of the U-Net's stages.
    """

    steps: int = 600
    batch_size: int = 8
    learning_rate: float = 1e-3
    features: tuple[int, ...] = (16, 16, 32, 64, 128, 16)


def train_and_test(
    dataset: Dataset, config: dict[str, Any], seed: int, recipe: Recipe
) -> dict[str, Any]:
    """Trains a network, and returns its scores on the validation and the test images.

    Args:
        dataset: The data.
        config: The config of the loss, for `build_loss`. Its key "maps" names transforms of
            `segloss.maps`, with their arguments.
        seed: The seed of the network's weights and of the batches.
        recipe: The settings of the training.
    """
    torch.manual_seed(seed)
    channels = 1 if dataset.n_classes == 2 else dataset.n_classes
    network = BasicUNet(2, dataset.images.shape[1], channels, recipe.features, dropout=0.0)
    transforms = [
        getattr(maps, name)(n_classes=dataset.n_classes, mask_key="gt_polygons_image", **arguments)
        for name, arguments in config.get("maps", {}).items()
    ]
    train(network, build_loss(config), dataset, transforms, seed, recipe)
    parts = {"validation": VALIDATION, "test": TEST}
    return {name: test(network, dataset, part) for name, part in parts.items()}


def train(
    network: nn.Module,
    loss: Loss | MultiLoss,
    dataset: Dataset,
    transforms: list[Any],
    seed: int,
    recipe: Recipe,
) -> None:
    """Trains a network with the losses at their weights."""
    optimizer = torch.optim.AdamW(network.parameters(), recipe.learning_rate)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, recipe.steps)
    batches = dataset.batches(recipe.steps, recipe.batch_size, seed, transforms)
    for step, batch in enumerate(tqdm(batches, "steps", recipe.steps, leave=False)):
        logits = network(batch["image"])
        if isinstance(loss, MultiLoss):
            loss.set_epoch(100 * step / recipe.steps)
        optimizer.zero_grad()
        loss({"seg": logits}, batch, normalize=False).backward()
        optimizer.step()
        decay.step()


@torch.no_grad()
def test(network: nn.Module, dataset: Dataset, part: int) -> dict[str, Any]:
    """Returns the scores of a network on a part of the data."""
    images, labels = dataset.part(part)
    network.eval()
    predicted = torch.cat([_classes(network, chunk) for chunk in images.split(16)])
    return scores([*predicted.numpy()], [*labels.numpy()], dataset.n_classes)


def _classes(network: nn.Module, images: Tensor) -> Tensor:
    logits = network(images)
    return (logits[:, 0] > 0).long() if logits.shape[1] == 1 else logits.argmax(1)
