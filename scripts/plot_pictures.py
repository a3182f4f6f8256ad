"""Draws the pictures of docs/command_line.md, with segloss.tools.plots.

    python scripts/plot_pictures.py

The curves come from a small network that learns to find discs in noise, logged by Lightning. The
script takes a minute, and needs Lightning, Matplotlib and Pillow beside segloss.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from term_pictures import save
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from segloss import LossWrapper, MultiLoss, SegLoss, build_loss
from segloss.tools.plots import plot_curves, plot_landscape, plot_overview, plot_schedules
from segloss.training.lightning import LogLossComponents, LossSchedule

IMAGES = Path(__file__).parents[1] / "docs" / "images" / "plots"
EXAMPLES = Path(__file__).parents[1] / "examples"

SIDE = 32
EPOCHS = 12


def discs(count: int) -> TensorDataset:
    """Returns noisy images with a disc each, and their masks, (count, 1, SIDE, SIDE)."""
    generator = torch.Generator().manual_seed(0)
    row, column, radius = torch.rand(3, count, 1, 1, 1, generator=generator).mul(12).add(5)
    axis = torch.arange(float(SIDE))
    masks = torch.hypot(axis[:, None] - row - 5, axis - column - 5) < radius
    noise = torch.randn(count, 1, SIDE, SIDE, generator=generator)
    return TensorDataset(masks + 0.8 * noise, masks.float())


class FindDiscs(LightningModule):
    """Three convolutions, trained with two losses; the second one starts later."""

    def __init__(self) -> None:
        super().__init__()
        layers = [nn.Conv2d(1, 8, 5, padding=2), nn.ReLU(), nn.Conv2d(8, 8, 5, padding=2)]
        self.network = nn.Sequential(*layers, nn.ReLU(), nn.Conv2d(8, 1, 5, padding=2))
        losses = [
            LossWrapper(nn.BCEWithLogitsLoss(), name="bce"),
            SegLoss("dice", from_logits=True, bce_coef=0.0, dice_coef=1.0),
        ]
        self.loss = MultiLoss(losses, [1.0, [0.0, 0.0, 1.0]], [0, 4, 8])

    def training_step(self, batch: Sequence[Tensor], index: int) -> Tensor:
        """Returns the loss of a batch."""
        images, masks = batch
        return self.loss({"seg": self.network(images)}, {"gt_polygons_image": masks})[0]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Returns Adam."""
        return torch.optim.Adam(self.parameters(), 2e-3)


def train(folder: Path) -> Path:
    """Trains the network, and returns the path of the log."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=EPOCHS,
        logger=CSVLogger(folder, name="", version=""),
        callbacks=[LossSchedule(), LogLossComponents()],
        log_every_n_steps=1,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(FindDiscs(), DataLoader(discs(256), batch_size=16, shuffle=True))
    return folder / "metrics.csv"


def main(arguments: Sequence[str] | None = None) -> None:
    """Draws all pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=IMAGES, help="the folder for the pictures")
    folder = parser.parse_args(arguments).output
    brain = build_loss(EXAMPLES / "brain_tissue.yaml")
    save(plot_schedules(brain), folder / "schedules.png")
    save(plot_landscape(brain.loss_funcs[0]), folder / "landscape.png")
    save(plot_overview(brain), folder / "brain_tissue.png")
    save(
        plot_overview(build_loss(EXAMPLES / "building_footprints.yaml")),
        folder / "building_footprints.png",
    )
    with tempfile.TemporaryDirectory() as log:
        save(plot_curves(train(Path(log))), folder / "curves.png")


if __name__ == "__main__":
    main()
