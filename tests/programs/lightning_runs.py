"""Short runs of Lightning's Trainer without files, which the tests of its programs share.

As a script, it trains the module of `lightning_module.py` on some devices, and writes what each
rank ends with to a folder: `python -m tests.programs.lightning_runs DEVICES FOLDER`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from example_parts.shapes import CLASSES, Shapes
from lightning.pytorch import LightningDataModule, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader

Sample = dict[str, Tensor]


def trainer(**options: Any) -> Trainer:
    plain: dict[str, Any] = {
        "accelerator": "cpu",
        "devices": 1,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    return Trainer(**{**plain, **options})


def loader(samples: list[Sample], batch_size: int = 4) -> DataLoader[Sample]:
    return DataLoader(samples, batch_size)  # type: ignore[arg-type]


def shapes(number: int, label: str, side: int = 32) -> list[Sample]:
    """Images with a disc and a square, and label maps of three classes."""
    return list(Shapes(number, side, "image", label))


def ignoring(samples: list[Sample], label: str) -> list[Sample]:
    """The samples with ignored pixels: none, some, most or all, by turns."""
    for sample, rows in zip(samples, 10 * [0, 9, 30, 32, 0, 20], strict=False):
        sample[label][:rows] = 255
    return samples


class ShapesData(LightningDataModule):
    """Images of shapes, under a name that a config can give."""

    def __init__(self, label: str) -> None:
        super().__init__()
        self.label = label

    def train_dataloader(self) -> DataLoader[Sample]:
        return loader(ignoring(shapes(16, self.label), self.label))

    def val_dataloader(self) -> DataLoader[Sample]:
        return loader(shapes(8, self.label))


def network(channels: int = CLASSES) -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 8, 5, padding=2), nn.ReLU(), nn.Conv2d(8, channels, 5, padding=2)
    return nn.Sequential(*layers)


def train_on(devices: int, folder: Path) -> None:
    """Trains in float64 on batches of four samples, of which each rank has its part."""
    from programs.lightning_module import Segmentation

    torch.set_num_threads(1)
    samples = ignoring(shapes(24, "label", side=16), "label")
    module = Segmentation(network(), CLASSES, ignore_index=255, region_reduction="batch")
    run = trainer(max_epochs=2, devices=devices, strategy="ddp", precision="64-true")
    run.fit(module, loader(samples, 4 // devices))
    torch.save(module.state_dict(), folder / f"{run.global_rank}.pt")


if __name__ == "__main__":
    train_on(int(sys.argv[1]), Path(sys.argv[2]))
