"""Trains the SemanticSegmentationTask of torchgeo with a compound loss."""

import torch
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader
from torchgeo.trainers import SemanticSegmentationTask

from segloss import CompoundLoss


class CompoundTask(SemanticSegmentationTask):
    """The task of torchgeo with a loss that ignores the same pixels as its metrics."""

    def configure_losses(self):
        """Sets the loss of logits (N, C, H, W) and masks (N, H, W)."""
        ignore_index = self.hparams["ignore_index"]
        self.criterion = CompoundLoss(mode="multiclass", ignore_index=ignore_index)


if __name__ == "__main__":
    masks = torch.randint(0, 4, (8, 64, 64))
    samples = [{"image": torch.randn(3, 64, 64), "mask": mask} for mask in masks]
    loader = DataLoader(samples, batch_size=4)
    task = CompoundTask(model="fcn", num_classes=4, ignore_index=0)
    Trainer(max_epochs=2).fit(task, loader, loader)
