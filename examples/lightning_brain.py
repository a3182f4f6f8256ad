"""Trains the network of brain_tissue.py with Lightning: the same data, loss and settings.

Callbacks compute the norms of the losses before training, set their weights over the epochs, and
log each loss. The output folder gets metrics.csv and checkpoint.ckpt. `--resume` continues from the
checkpoint, with the same results as without the interruption. With several processes:
`--devices 2`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from brain_tissue import (
    HERE,
    TISSUES,
    BrainDataset,
    BrainSettings,
    load_brain,
    split,
    transforms,
)
from example_parts.configuration import command_line, load_config, mistakes_as_messages, parse
from example_parts.networks import build_unet
from example_parts.output_folder import OutputFolder, output_folder
from example_parts.training import seed_of
from lightning.pytorch import LightningDataModule, LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from segloss import build_loss
from segloss.training.lightning import (
    ComputeWeightNormLossesCallback,
    LogLossComponents,
    LossSchedule,
)

Batch = dict[str, Tensor]


class BrainModule(LightningModule):
    """The U-Net, its loss, and Dice on the test slab."""

    sums: Tensor

    def __init__(self, settings: BrainSettings) -> None:
        super().__init__()
        self.save_hyperparameters(asdict(settings))
        self.settings = settings.training
        self.model = build_unet(settings.model, in_channels=1, classes=1 + len(TISSUES))
        self.loss = build_loss({"loss_params": settings.loss_params})
        self.register_buffer("sums", torch.zeros(2, len(TISSUES)), persistent=False)

    def loss_inputs(self, batch: Batch) -> tuple[Batch, Batch]:
        """Returns the inputs of the losses for a batch, in training and for the norms."""
        return {"seg": self.model(batch["image"])}, batch

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Returns the sum of the losses."""
        total: Tensor = self.loss(*self.loss_inputs(batch))[0]
        self.log("total", total.detach(), prog_bar=True, batch_size=len(batch["image"]))
        return total

    def configure_optimizers(self) -> dict[str, Any]:
        """Returns AdamW, with the learning rate of the config for each step."""
        optimizer = torch.optim.AdamW(
            self.parameters(), lr=1.0, weight_decay=self.settings.weight_decay
        )
        steps = self.trainer.estimated_stepping_batches / self.settings.epochs

        def rate(step: int) -> float:
            return self.settings.learning_rate_at(step / steps)

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_test_epoch_start(self) -> None:
        """Clears the sums of an earlier test."""
        self.sums.zero_()

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Adds up the overlap of prediction and truth, and the sizes of both."""
        prediction, truth = self.model(batch["image"]).argmax(1), batch["gt_polygons_image"][:, 0]
        for i, label in enumerate(TISSUES):
            predicted, actual = prediction == label, truth == label
            self.sums[0, i] += (predicted & actual).sum()
            self.sums[1, i] += predicted.sum() + actual.sum()

    def on_test_epoch_end(self) -> None:
        """Logs the Dice score of each tissue over all slices and processes."""
        overlap, size = self.trainer.strategy.reduce(self.sums.clone(), reduce_op="sum")
        scores = 2 * overlap / size.clamp(min=1)
        for (name, _), score in zip(TISSUES.values(), scores, strict=True):
            self.log(f"dice/{name}", score, sync_dist=True)
        self.log("dice/mean", scores.mean(), sync_dist=True)


class BrainData(LightningDataModule):
    """Slices, with an order and augmentation that depend only on the seed and the epoch."""

    def __init__(self, settings: BrainSettings, *, quiet: bool = False) -> None:
        super().__init__()
        self.settings = settings
        brain = load_brain(settings.data.tissue_threshold, quiet=quiet)
        self.training, self.testing = split(brain, settings.data)
        self.plain, self.augmented = transforms(self.training, settings.augmentation)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Returns the batches of the current epoch; the Trainer calls it for each epoch."""
        epoch = self.trainer.current_epoch if self.trainer is not None else 0
        seed = seed_of(self.settings.seed, epoch)
        slices = BrainDataset(self.training, self.augmented, seed)
        order = torch.randperm(len(slices), generator=torch.Generator().manual_seed(seed))
        return DataLoader(Subset(slices, order.tolist()), self.settings.training.batch_size)

    def test_dataloader(self) -> DataLoader[Batch]:
        """Returns the slices of the test slab."""
        return DataLoader(BrainDataset(self.testing, self.plain), 8)


def main(arguments: Sequence[str] | None = None) -> dict[str, float]:
    """Trains and tests with the options of the command line, and returns the Dice scores."""
    options = parse(brain_command_line(), arguments)
    with output_folder(options.output) as folder:
        return run_example(options, folder)


def run_example(options: argparse.Namespace, folder: OutputFolder) -> dict[str, float]:
    """Trains and tests, and returns the Dice scores."""
    checkpoint = options.output / "checkpoint.ckpt"
    with mistakes_as_messages():
        settings = load_config(BrainSettings, options.config, options.overrides)
        if options.resume and not checkpoint.is_file():
            raise FileNotFoundError(
                f"There is nothing to resume: no checkpoint at {str(checkpoint)!r}. Run without "
                "--resume first, or name the folder of the earlier run with --output."
            )
        seed_everything(settings.seed)
        module, data = BrainModule(settings), BrainData(settings, quiet=options.quiet)
        folder.take()
    trainer = make_trainer(settings, options)
    trainer.fit(module, data, ckpt_path=checkpoint if options.resume else None)
    (scores,) = trainer.test(module, data, verbose=trainer.is_global_zero)
    return dict(scores)


def make_trainer(settings: BrainSettings, options: argparse.Namespace) -> Trainer:
    """Returns a Trainer with the callbacks for the losses, and a checkpoint after each epoch."""
    return Trainer(
        max_epochs=settings.training.epochs,
        accelerator="cpu" if settings.training.device == "cpu" else "auto",
        devices=options.devices,
        strategy="ddp" if options.devices > 1 else "auto",
        deterministic="warn",
        reload_dataloaders_every_n_epochs=1,
        log_every_n_steps=1,
        num_sanity_val_steps=0,
        enable_progress_bar=not options.quiet,
        enable_model_summary=False,
        logger=CSVLogger(options.output, name="", version=""),
        callbacks=[
            ComputeWeightNormLossesCallback(),
            LossSchedule(fractional=True),
            LogLossComponents(),
            ModelCheckpoint(options.output, "checkpoint", enable_version_counter=False),
        ],
    )


def brain_command_line() -> argparse.ArgumentParser:
    """Returns the command line of the examples, with the number of processes."""
    command = command_line(__doc__, HERE / "brain_tissue.yaml", Path("runs/lightning_brain"))
    command.add_argument(
        "--devices", type=int, default=1, metavar="N", help="number of processes (1)"
    )
    command.add_argument("--quiet", action="store_true", help="show no progress bar")
    return command


if __name__ == "__main__":
    main()
